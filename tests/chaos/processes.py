"""The processes of a run, seen in /proc: which is which, and which are left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: An environment variable that every process of a trial inherits: so none is overlooked, whoever its parent is by now.
MARK: Final = "LOADGEN_CHAOS"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    parent: int
    started: int

    def kill(self, number: int) -> bool:
        """Send a signal if it still is that process; return whether it was sent."""
        if of(self.pid) != self:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    @property
    def command(self) -> str:
        """Its command line, "" once it is gone."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""


def of(pid: int) -> Process | None:
    """Return the process with this pid; None if there is none, or only a zombie."""
    try:
        # The name in parentheses may hold anything; what follows the last one is numbers (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), int(fields[19]))


def marked(mark: str) -> list[Process]:
    """Return the processes whose environment has this mark, oldest first."""
    return sorted(_marked(f"{MARK}={mark}".encode()), key=lambda process: (process.started, process.pid))


def _marked(entry: bytes) -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:  # ended, or another user's
                continue
            if entry in environment.split(b"\0") and (process := of(int(name))):
                yield process


@dataclass(frozen=True, slots=True)
class Roles:
    """The processes of a run by what they do. sampler: a thread of the orchestrator, the youngest it has."""

    orchestrator: Process | None
    sampler: Process | None
    zygote: Process | None
    sinks: tuple[Process, ...]
    workers: tuple[Process, ...]

    def one(self, role: str, index: int) -> Process | None:
        """Return a process of this role, by an index that is taken modulo their number."""
        several = {"worker": self.workers, "sink": self.sinks}.get(role)
        if several is None:
            return {"orchestrator": self.orchestrator, "sampler": self.sampler}.get(role, self.zygote)
        return several[index % len(several)] if several else None


def roles(first: int, sinks: int) -> Roles:
    """Tell the processes of a run apart. first: pid of its first; sinks: as many as it has, forked before workers."""
    found = of(first)
    orchestrator = found if found and _is_orchestrator(found.command) else None
    zygote = next((one for one in _children(first) if "zygote" in one.command), None) if orchestrator else None
    forked = tuple(_children(zygote.pid)) if zygote else ()
    return Roles(orchestrator, _youngest_thread(first) if zygote else None, zygote, forked[:sinks], forked[sinks:])


def _youngest_thread(pid: int) -> Process | None:
    """Return the thread that a process began last, which has a directory in /proc as a process has; None without."""
    try:
        threads = [thread for task in os.listdir(f"/proc/{pid}/task") if task != str(pid) and (thread := of(int(task)))]
    except OSError:
        return None
    return max(threads, key=lambda thread: (thread.started, thread.pid), default=None)


def _children(pid: int) -> list[Process]:
    """Return the processes that a process has forked, the oldest first (proc_pid_task(5), children)."""
    pids: list[str] = []
    with suppress(OSError):  # the process has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):  # a thread of it has
                pids += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    found = [process for child in pids if (process := of(int(child)))]
    return sorted(found, key=lambda process: (process.started, process.pid))


def _is_orchestrator(command: str) -> bool:
    """Return True for loadgen itself, False for a command that is about to become it."""
    return " -m loadgen run " in command and not command.startswith(("strace ", "unshare "))


def end(mark: str) -> None:
    """Kill every process of a trial that is left."""
    for process in marked(mark):
        process.kill(signal.SIGKILL)
