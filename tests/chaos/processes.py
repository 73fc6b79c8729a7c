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
    """The processes of a run by what they do. The sampler of counters is a thread of the orchestrator."""

    orchestrator: Process | None
    zygote: Process | None
    sinks: tuple[Process, ...]
    workers: tuple[Process, ...]

    def one(self, role: str, index: int) -> Process | None:
        """Return a process of this role, by an index that is taken modulo their number."""
        several = {"worker": self.workers, "sink": self.sinks}.get(role)
        if several is None:
            return self.orchestrator if role == "orchestrator" else self.zygote
        return several[index % len(several)] if several else None


def roles(mark: str, sinks: int) -> Roles:
    """Tell the processes of a trial apart. sinks: as many as the scenario asks for; they are forked before workers."""
    found = marked(mark)
    orchestrator = next((one for one in found if _is_orchestrator(one.command)), None)
    zygote = next(
        (one for one in found if orchestrator and one.parent == orchestrator.pid and "zygote" in one.command), None
    )
    forked = tuple(one for one in found if zygote and one.parent == zygote.pid)
    return Roles(orchestrator, zygote, forked[:sinks], forked[sinks:])


def _is_orchestrator(command: str) -> bool:
    return " -m loadgen run " in command and not command.startswith(("strace ", "unshare ", "/usr/bin/strace "))


def end(mark: str) -> None:
    """Kill every process of a trial that is left."""
    for process in marked(mark):
        process.kill(signal.SIGKILL)
