"""A tree of processes seen from outside: its memory, its processor time, and which of them are what."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.host import sockets_now
from loadgen.errors import LoadgenError

#: Time between two looks at processes, where a case asks for it.
LOOK_EVERY_S = 1.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

T = TypeVar("T")


def descendants(parents: Mapping[int, int], ancestor: int) -> list[int]:
    """`ancestor` and every process below it. parents: process id -> its parent's."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = [ancestor]
    for pid in found:  # grows meanwhile
        found += children.get(pid, [])
    return found


def pss_bytes(smaps_rollup: str) -> int:
    """Memory of one process, bytes, what it shares divided by the number of sharers; 0 if the text has none."""
    for line in smaps_rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def tree(pid: int) -> list[int]:
    """A process and all below it, as they are now."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(
                _fields(stat.read_text(errors="replace"))[1]
            )  # a name may be any bytes
        except OSError:  # ended meanwhile
            continue
    return descendants(parents, pid)


def memory_of(pid: int) -> int:
    """Memory of a process and all below it, bytes: the sum of their Pss. Those that just ended count 0.

    What the kernel needs for their sockets is not in it.
    """
    total = 0
    for one in tree(pid):
        try:
            total += pss_bytes(Path("/proc", str(one), "smaps_rollup").read_text())
        except OSError:  # ended meanwhile
            continue
    return total


def cpu_of(pid: int) -> float:
    """Processor time of a process and all below it so far, s. Those that just ended count 0."""
    total = 0.0
    for one in tree(pid):
        try:
            total += cpu_s(Path("/proc", str(one), "stat").read_text(errors="replace"))
        except OSError:  # ended meanwhile
            continue
    return total


@dataclass(frozen=True, slots=True)
class Group:
    """Processes of one kind at one moment. bytes: the sum of their Pss; cpu_s: since they began."""

    count: int = 0
    bytes: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: Group) -> Group:
        return Group(self.count + other.count, self.bytes + other.bytes, self.cpu_s + other.cpu_s)


@dataclass(frozen=True, slots=True)
class Look:
    """loadgen's processes at one moment, at_s on time.monotonic(); sockets: of the namespace, both ends."""

    at_s: float
    sockets: int
    workers: Group
    sinks: Group


def kind_of(maps: str) -> str:
    """worker, sink, or other, from the text of /proc/<pid>/maps: each maps the block that it writes to.

    The orchestrator maps the blocks of both, the zygote those of neither.
    """
    worker, sink = "/memfd:loadgen-workers" in maps, "/memfd:loadgen-sinks" in maps
    return "other" if worker == sink else "worker" if worker else "sink"


def cpu_s(stat: str) -> float:
    """User and system time of a process so far, from the text of /proc/<pid>/stat; whole ticks, so to 10 ms."""
    fields = _fields(stat)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def look(pid: int) -> Look:
    """The workers and the sinks below a running `loadgen run`."""
    groups = {kind: Group() for kind in ("worker", "sink", "other")}
    at_s, sockets = time.monotonic(), sockets_now()
    for one in tree(pid):
        proc = Path("/proc", str(one))
        try:
            kind = kind_of((proc / "maps").read_text())
            if kind != "other":
                memory = pss_bytes((proc / "smaps_rollup").read_text())
                groups[kind] += Group(1, memory, cpu_s((proc / "stat").read_text()))
        except OSError:  # ended meanwhile
            continue
    return Look(at_s, sockets, groups["worker"], groups["sink"])


def while_held(looks: Sequence[Look], connections: int) -> tuple[Look, Look]:
    """The first and the last look at which all connections were there, the very first of these left out.

    It may fall into the moment in which the last connections are accepted. Both ends of a connection are
    sockets of the namespace.

    Raises: LoadgenError when fewer than three looks saw all of them.
    """
    held = [look for look in looks if look.sockets >= 2 * connections]
    if len(held) < 3:
        raise LoadgenError(f"{len(held)} looks saw {connections:,} connections held; three is the least")
    return held[1], held[-1]


@contextmanager
def watched(see: Callable[[], T]) -> Iterator[list[T]]:
    """Meanwhile, see() every LOOK_EVERY_S, its results added to the list.

    A thread of the harness does it, on the cores of what is measured. For the memory of 110 processes it takes
    about 90 ms of processor time, on two cores a twentieth of what there is, which loadgen lacks and C does not.
    """
    seen: list[T] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            seen.append(see())

    thread = threading.Thread(target=watch, name="watch")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _fields(stat: str) -> list[str]:
    # The name, in brackets, may have brackets itself; the state, the parent and the rest follow the last one.
    return stat.rpartition(")")[2].split()
