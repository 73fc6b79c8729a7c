"""The descriptors of traced processes: which socket one stands for, in the thread that uses it.

A socket is found by its inode, where strace names it (-y), else by the descriptor in the table of its process: threads
share one, a forked process has a copy. Where a text shows no clone(), a thread cannot be told from a process; then a
descriptor that a thread has not opened itself is that of the only other one that has it, or unknown.

Sources: clone(2), execve(2), dup(2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from loadgen.trace import arguments
from loadgen.trace.arguments import Descriptor
from loadgen.trace.sockets import TracedSocket

#: Sockets that are followed at once: some 100 MB.
SOCKETS_MAX: Final = 200_000
#: Threads that are kept apart.
_THREADS_MAX: Final = 100_000

#: Of a thread id: the pid of its process, and the name of its command; (0, ""): not known.
Namer = Callable[[int], tuple[int, str]]


@dataclass(slots=True)
class DescriptorTable:
    """The descriptors of one process that stand for sockets, and the number of threads that share them."""

    sockets: dict[int, TracedSocket] = field(default_factory=dict)
    threads: int = 1


@dataclass(slots=True)
class TracedThread:
    """A thread. process: the pid of its process."""

    table: DescriptorTable
    process: int
    command: str = ""


class DescriptorTables:
    """The tables of all processes of a text.

    closed: told of a socket, and of the thread, when the last descriptor of it is gone. left_out: sockets that were
    not followed because SOCKETS_MAX were open.
    """

    def __init__(self, namer: Namer | None, closed: Callable[[TracedThread, TracedSocket], None]) -> None:
        self._namer, self._closed = namer, closed
        self._threads: dict[int, TracedThread] = {}
        self._by_inode: dict[int, TracedSocket] = {}
        self._inode_of: dict[int, int] = {}
        self._clones = False
        self._open = 0
        self.left_out = 0

    def thread(self, pid: int) -> TracedThread | None:
        """Return a thread, which may be a new one; None: there are too many."""
        thread = self._threads.get(pid)
        if thread is None and len(self._threads) < _THREADS_MAX:
            process, command = self._namer(pid) if self._namer and pid else (0, "")
            leader = self._threads.get(process) if process and process != pid else None
            if leader:
                leader.table.threads += 1
            thread = TracedThread(leader.table if leader else DescriptorTable(), process or pid, command)
            self._threads[pid] = thread
        return thread

    def rename(self, before: int, pid: int) -> None:
        """A thread has another number from now on."""
        if before in self._threads and pid not in self._threads:
            thread = self._threads.pop(before)
            thread.process = pid if thread.process == before else thread.process
            self._threads[pid] = thread

    def every_socket(self) -> Iterator[tuple[TracedThread, TracedSocket]]:
        """Yield each open socket with a thread that has it, some of them twice."""
        for thread in self._threads.values():
            for sock in thread.table.sockets.values():
                yield thread, sock

    def find(self, thread: TracedThread, argument: str) -> tuple[Descriptor | None, TracedSocket | None]:
        """Return the descriptor that an argument names, and the socket behind it; None: none, or not known."""
        at = arguments.descriptor(argument)
        if at is None:
            return None, None
        if at.inode and at.inode in self._by_inode:
            return at, self._by_inode[at.inode]
        found = thread.table.sockets.get(at.number)
        if found:
            # A descriptor whose close() is not in the text may stand for another socket by now.
            return at, None if at.inode and self._inode_of.get(id(found), at.inode) != at.inode else found
        if self._clones or at.inode:
            return at, None
        others = {id(one.table): one.table for one in self._threads.values() if at.number in one.table.sockets}
        return at, next(iter(others.values())).sockets[at.number] if len(others) == 1 else None

    def hold(self, thread: TracedThread, at: Descriptor, sock: TracedSocket) -> bool:
        """Let a new descriptor stand for a new socket. Returns: False where too many are open."""
        self.release(thread, at.number)
        if self._open >= SOCKETS_MAX:
            self.left_out += 1
            return False
        self._open += 1
        thread.table.sockets[at.number] = sock
        if at.inode:
            self._by_inode[at.inode] = sock
            self._inode_of[id(sock)] = at.inode
        return True

    def share(self, thread: TracedThread, number: int, sock: TracedSocket | None) -> None:
        """Let a new descriptor stand for a socket that has one already, or for something else (None)."""
        if thread.table.sockets.get(number) is sock:
            return
        self.release(thread, number)
        if sock:
            sock.holders += 1
            thread.table.sockets[number] = sock

    def release(self, thread: TracedThread, number: int) -> None:
        """A descriptor is closed, or stands for something else from now on."""
        if sock := thread.table.sockets.pop(number, None):
            self._drop(thread, sock)

    def close(self, thread: TracedThread, at: Descriptor, sock: TracedSocket | None) -> None:
        """A descriptor is closed, possibly by a thread that did not open it."""
        if sock is None or at.number in thread.table.sockets:
            self.release(thread, at.number)
            return
        for other in self._threads.values():
            if other.table.sockets.get(at.number) is sock:
                self.release(other, at.number)
                return

    def leave(self, pid: int, thread: TracedThread) -> None:
        """A thread has ended, and with the last one of a process its descriptors."""
        del self._threads[pid]
        thread.table.threads -= 1
        if thread.table.threads <= 0:
            self._release_all(thread, list(thread.table.sockets))

    def execute(self, thread: TracedThread) -> None:
        """execve() closes the descriptors that are marked so."""
        self._release_all(thread, [number for number, sock in thread.table.sockets.items() if sock.cloexec])

    def fork(self, thread: TracedThread, child: int, flags: frozenset[str]) -> None:
        """A thread has started another, or a process. It may have made calls already, before clone() returned."""
        self._clones = True
        early = self._threads.pop(child, None)
        if "CLONE_FILES" in flags or "CLONE_THREAD" in flags:
            table = thread.table
            table.threads += 1
        else:
            table = DescriptorTable(dict(thread.table.sockets))
            for sock in table.sockets.values():
                sock.holders += 1
        process = thread.process if "CLONE_THREAD" in flags else child
        made = TracedThread(table, process, early.command if early and early.command else thread.command)
        self._threads[child] = made
        for number, sock in early.table.sockets.items() if early and early.table is not table else ():
            self.release(made, number)
            table.sockets[number] = sock

    def _release_all(self, thread: TracedThread, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.release(thread, number)

    def _drop(self, thread: TracedThread, sock: TracedSocket) -> None:
        sock.holders -= 1
        if sock.holders > 0:
            return
        self._open -= 1
        self._by_inode.pop(self._inode_of.pop(id(sock), 0), None)
        self._closed(thread, sock)
