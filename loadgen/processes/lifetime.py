"""The life of a process: death with its parent, the descriptor limit, and whether it is stopped or how it ended."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from loadgen import shortage

_PR_SET_PDEATHSIG: Final = 1
#: Signals that a terminal, a shell, timeout(1), systemd or a container's runtime sends to all processes of a group.
_OF_GROUPS: Final = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
)
_PR_SET_NO_NEW_PRIVS: Final = 38


def die_with_parent(parent: int) -> None:
    """Request SIGKILL for when the thread that forked this process ends; exit if it has ended already.

    The request does not survive a fork, nor a change of credentials such as entering a user
    namespace (prctl(2), PR_SET_PDEATHSIG), so it has to be repeated after both.

    Raises: HostError if the call is refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with shortage.needing("prctl(PR_SET_PDEATHSIG)"):
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:
        os._exit(0)


@contextmanager
def holding_signals_back() -> Iterator[None]:
    """Hold back the signals of groups from a process that is started in this block, until it ignores them.

    A mask of signals is inherited through fork() and execve() (signal(7)); a new interpreter that is interrupted would
    print a traceback before any code of ours can prevent it. What is sent to this process comes after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_GROUPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals_of_groups() -> None:
    """Ignore them, in this process and those it forks: the orchestrator decides what a signal means.

    It ends them by closing their links; if it is killed, the kernel ends them, see `die_with_parent`.
    """
    for number in _OF_GROUPS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_GROUPS)


def gain_no_privileges() -> None:
    """See to it that neither this process nor one that it starts gains privileges by executing a file.

    Set-user-ID bits and file capabilities then have no effect (prctl(2), PR_SET_NO_NEW_PRIVS, Linux 3.5; inherited).
    """
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one; return the limit (getrlimit(2), RLIMIT_NOFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a filter of system calls forbids it; Python makes a ValueError of EPERM
        return soft
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


def is_stopped_by_signal(pid: int) -> bool:
    """Return True if a process is stopped, and not traced (state T); False also where /proc does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False


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
