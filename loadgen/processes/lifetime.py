"""The life of a process: death with its parent, the descriptor limit, and whether it is stopped or how it ended."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent: int) -> None:
    """Request SIGKILL for when the thread that forked this process ends; exit if it has ended already.

    The request does not survive a fork, nor a change of credentials such as entering a user
    namespace (prctl(2), PR_SET_PDEATHSIG), so it has to be repeated after both.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:
        os._exit(0)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one and return it (getrlimit(2), RLIMIT_NOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Stops:
    """For how long processes have been seen stopped, by SIGSTOP, a terminal or a debugger."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, int]] = {}

    def look(self, pid: int) -> int:
        """Return how many looks in a row, this one included, found the process stopped and without progress."""
        stopped = _stopped(pid)
        before, looks = self._seen.get(pid, ("", 0))
        looks = 0 if not stopped else looks + 1 if stopped == before else 1
        self._seen[pid] = stopped, looks
        return looks


def is_stopped(pid: int) -> bool:
    """Return True if a process is stopped; False also where /proc does not say."""
    return bool(_stopped(pid))


def _stopped(pid: int) -> str:
    """Return the CPU time of a process that is stopped, as text that is never empty; else "".

    A program that is traced is in state t whenever it makes a system call, and yet gets on.
    Source: proc_pid_stat(5), fields 3, 14 and 15.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()  # a name may be any bytes
    except OSError:
        return ""
    return f"{fields[11]} {fields[12]}" if fields[0] in ("T", "t") else ""


def ended_in_words(exit_code: int) -> str:
    """Return how a process ended, as a predicate: "was killed by SIGKILL".

    exit_code: for a signal its negated number, as in subprocess.
    """
    if exit_code >= 0:
        return f"ended with code {exit_code}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"was killed by signal {-exit_code}"
