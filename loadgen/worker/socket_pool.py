"""Sockets made ready before their attempt is due: all but connect().

So that an arrival that is due finds its socket() and bind() done, which may take long: a socket() that
has to grow the descriptor table stalls for milliseconds.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN
from typing import Final

from loadgen.clock import now_ns
from loadgen.outcomes import Syscall, error_key
from loadgen.worker.backoff import Exhaustion
from loadgen.worker.strategies import SourcePorts

#: The C type, without the Python class that socket.socket wraps around it.
Socket: Final = socket.SocketType
#: Non-blocking from birth, which saves an fcntl(2) for each socket (socket(2)).
STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
DATAGRAM: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
#: Failures that say: no port is left, and the whole range was searched to find that out. EAGAIN is what
#: connect() answers in UDP (inet_autobind(), net/ipv4/af_inet.c).
DENIALS: Final = frozenset(
    {
        error_key(Syscall.BIND, EADDRINUSE),
        error_key(Syscall.CONNECT, EADDRINUSE),
        error_key(Syscall.CONNECT, EADDRNOTAVAIL),
        error_key(Syscall.CONNECT, EAGAIN),
    }
)

#: A socket, its pair, and its port if we chose it; or None, the pair, and the error's key.
Prepared = tuple[socket.SocketType | None, int, int]


class Ready:
    """Sockets for the next attempts, round robin over the pairs.

    families: of the target of each pair. first_pair: where the round begins. exhausted: pairs that are to be
    passed over for now; one that was denied last is asked with a single socket. kind: STREAM or DATAGRAM.
    order: the pairs in another order than round robin, without end; those passed over give way to the next in number.

    `waiting` is what is ready, in order; whoever takes some from its head deletes them there.
    """

    def __init__(
        self,
        families: Sequence[int],
        ports: SourcePorts,
        exhausted: Exhaustion,
        *,
        first_pair: int,
        kind: int = STREAM,
        order: Iterator[int] | None = None,
    ) -> None:
        self._order = order
        self._families, self._ports, self._exhausted, self._kind = families, ports, exhausted, kind
        self._next_pair = first_pair if order is None else next(order)
        self.waiting: list[Prepared] = []

    def make(self, count: int) -> None:
        """See to it that `count` are waiting, or as many as have a port.

        Each loop makes one kind of call for the whole batch. Going through all calls connection by
        connection costs a quarter more, because each call then finds the caches full of another's code.
        """
        fresh = self._sockets(count - len(self.waiting))
        prepare, ready = self._ports.prepare, self.waiting
        denied: set[int] = set()
        for sock, pair, key in fresh:
            if sock is None:
                ready.append((None, pair, key))
                continue
            if pair in denied:  # one search of a full range is enough to know
                sock.close()
                continue
            try:
                port = prepare(sock, pair)
            except OSError as error:
                sock.close()
                ready.append((None, pair, error_key(Syscall.SETSOCKOPT, error.errno or 0)))
                continue
            if port < 0:
                sock.close()
                key = error_key(Syscall.BIND, -port)
                ready.append((None, pair, key))
                if key in DENIALS:
                    denied.add(pair)
            else:
                ready.append((sock, pair, port))

    def _sockets(self, count: int) -> list[Prepared]:
        """Plain sockets for the next pairs that may be tried."""
        pair, pairs, families, kind = self._next_pair, len(self._families), self._families, self._kind
        fresh: list[Prepared] = []
        exhausted, order = self._exhausted, self._order
        now = now_ns() if exhausted.active else 0
        asked: set[int] = set()
        for _ in range(count):
            if exhausted.active:
                for _ in range(pairs):
                    if pair not in asked and exhausted.may_try(pair, now):
                        if exhausted.doubtful(pair):
                            asked.add(pair)
                        break
                    pair = pair + 1 if pair + 1 < pairs else 0
                else:
                    break
            try:
                fresh.append((Socket(families[pair], kind), pair, 0))
            except OSError as error:
                fresh.append((None, pair, error_key(Syscall.SOCKET, error.errno or 0)))
            pair = next(order) if order else pair + 1 if pair + 1 < pairs else 0
        self._next_pair = pair
        return fresh

    def give_back(self, needless: Sequence[Prepared]) -> None:
        """Give up sockets that were made ready: nothing was attempted, so nothing is counted.

        Each port goes to the head of its queue, the last taken first, so the order stays that in which they rested.
        """
        for sock, pair, port in reversed(needless):
            if sock is not None:
                sock.close()
                if port:
                    self._ports.unused(pair, port)

    def clear(self) -> None:
        """Give up all of them."""
        self.give_back(self.waiting)
        self.waiting.clear()
