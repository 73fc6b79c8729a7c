"""Sockets prepared before their attempt is due: all but connect().

So an arrival that is due finds its socket() and bind() done, which may take long: a socket() that has to grow the
descriptor table stalls for milliseconds.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final

from loadgen.outcomes import Syscall, error_key
from loadgen.worker.backoff import NO_PORT
from loadgen.worker.strategies import SourcePorts
from loadgen.worker.survived import close

#: The C type, without the Python class that socket.socket wraps around it.
Socket: Final = socket.SocketType
#: Non-blocking from birth, which saves an fcntl(2) for each socket (socket(2)).
STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
DATAGRAM: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC

#: A socket, its pair, and its port if loadgen chose it; or None, the pair, and the error's key.
Prepared = tuple[socket.SocketType | None, int, int]


class SocketPool:
    """Sockets for the next attempts.

    families: of the target of each pair. turns: returns the pairs of the next attempts, at most as many as asked for.
    kind: STREAM or DATAGRAM.

    `ready` has the sockets in order; a caller that takes some from its head deletes them there.
    """

    def __init__(
        self, families: Sequence[int], ports: SourcePorts, turns: Callable[[int], list[int]], *, kind: int = STREAM
    ) -> None:
        self._families, self._ports, self._turns, self._kind = families, ports, turns, kind
        self.ready: list[Prepared] = []

    def fill(self, count: int) -> None:
        """Prepare sockets until `count` are ready, or as many as have a port.

        Each loop makes one kind of call for the whole batch. Going through all calls connection by connection costs
        a quarter more, because each call then finds the caches full of another's code.
        """
        if count <= len(self.ready):
            return
        fresh = self._sockets(count - len(self.ready))
        prepare, ready = self._ports.prepare, self.ready
        denied: set[int] = set()
        for sock, pair, key in fresh:
            if sock is None:
                ready.append((None, pair, key))
                continue
            if pair in denied:  # one search of a full range is enough to know
                close(sock)
                continue
            try:
                port = prepare(sock, pair)
            except OSError as error:
                close(sock)
                ready.append((None, pair, error_key(Syscall.SETSOCKOPT, error.errno or 0)))
                continue
            if port < 0:
                close(sock)
                key = error_key(Syscall.BIND, -port)
                ready.append((None, pair, key))
                if key in NO_PORT:
                    denied.add(pair)
            else:
                ready.append((sock, pair, port))

    def _sockets(self, count: int) -> list[Prepared]:
        """Return plain sockets for the next turns."""
        families, kind = self._families, self._kind
        fresh: list[Prepared] = []
        for pair in self._turns(count):
            try:
                fresh.append((Socket(families[pair], kind), pair, 0))
            except OSError as error:
                fresh.append((None, pair, error_key(Syscall.SOCKET, error.errno or 0)))
        return fresh

    def give_back(self, needless: Sequence[Prepared]) -> None:
        """Close sockets that were prepared and are not needed: nothing was attempted, so nothing is counted.

        Each port goes to the head of its queue, the last taken first, so the queue keeps its order.
        """
        for sock, pair, port in reversed(needless):
            if sock is not None:
                close(sock)
                if port:
                    self._ports.unused(pair, port)

    def clear(self) -> None:
        """Close all of them."""
        self.give_back(self.ready)
        self.ready.clear()
