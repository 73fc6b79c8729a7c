"""Strategies: who chooses the source port of a new four-tuple, and when.

A TCP connection is a four-tuple. The kernel can pick the source port early, in bind(), when it does
not know the destination yet, or late, in connect(), when it does; or loadgen picks it. The choice
decides how many connections fit, which call fails when no more do, and what each one costs.

Each strategy is an object with one verb, `prepare`, called on a fresh socket just before connect().
It returns the source port it took, 0 when the kernel will choose, or the negated errno of a bind()
that failed. A setsockopt() that fails raises its OSError: the kernel lacks a feature that the plan
had promised.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Container, Sequence
from errno import EADDRINUSE
from typing import Final, Protocol

from loadgen.model import PortRange, Strategy

#: ip(7), Linux 4.2: bind() takes the address only, connect() the port. socket.IP_BIND_ADDRESS_NO_PORT.
IP_BIND_ADDRESS_NO_PORT: Final = 24
#: ip(7), Linux 6.3: where this one socket's automatic port may come from. Not in Python 3.11's socket.
IP_LOCAL_PORT_RANGE: Final = 51

#: How many ports held by somebody else `explicit` passes over before it gives an attempt up.
EXPLICIT_TRIES: Final = 10


class SourcePorts(Protocol):
    """What the connector asks of a strategy."""

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Set options and bind as the strategy wants, for the (source, target) number `pair`."""

    def release(self, pair: int, port: int) -> None:
        """Take back the port that `prepare` returned; only called for ports above 0."""

    @property
    def retried(self) -> int:
        """How many bind() calls met a port held by another socket and went on to the next."""


class Kernel:
    """connect() alone: the kernel chooses everything, and the source address too.

    Past half of the range each connect() first walks every taken port of one parity
    (__inet_hash_connect(), net/ipv4/inet_hashtables.c), so the last half costs a hundred times the first.
    """

    retried = 0

    def prepare(self, sock: socket.SocketType, pair: int) -> int:  # noqa: ARG002  # the verb's signature
        """Nothing to prepare."""
        return 0

    def release(self, pair: int, port: int) -> None:
        """Nothing was taken."""


class Late:
    """bind() to the source address only; connect() picks the port when it knows the target.

    A plain bind((address, 0)) would take a port before the target is known, so that a port is spent
    once for each source instead of once for each four-tuple. IP_BIND_ADDRESS_NO_PORT prevents that.
    SO_REUSEADDR changes nothing for the connection itself, but lets a server that starts later bind
    a port on which one of these connections happens to live.
    """

    retried = 0

    def __init__(self, sources: Sequence[str]) -> None:
        self._addresses = [(source, 0) for source in sources]

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Bind the address and no port. EADDRNOTAVAIL here means that the address is on no interface."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)  # SOL_IP for AF_INET6 sockets, too
        try:
            sock.bind(self._addresses[pair])
        except OSError as error:
            return -(error.errno or 0)
        return 0

    def release(self, pair: int, port: int) -> None:
        """The kernel owns the port."""


class LateRange(Late):
    """`late`, and the port comes from this shard's own slice of the range.

    Setting IP_LOCAL_PORT_RANGE also makes the kernel walk the slice in single steps behind its last
    choice instead of one parity after the other, which keeps the cost of connect() flat until the
    last port; so it is worth setting even where one worker has the whole range.
    """

    def __init__(self, sources: Sequence[str], ports: PortRange) -> None:
        super().__init__(sources)
        # A u32, high bound above low bound; a Python int of that size does not fit setsockopt's int.
        self._range = struct.pack("=I", ports.high << 16 | ports.low)

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """As `late`, after narrowing the ports to the slice."""
        sock.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, self._range)
        return super().prepare(sock, pair)


class PortRing:
    """Free ports of one (source, target) space, first in first out.

    Fresh ports are given out in order; released ones queue behind them, so a four-tuple rests as
    long as possible before it is used again. Memory grows with the ports released, not with the range.
    """

    __slots__ = ("_fresh", "_high", "_released", "_skipped")

    def __init__(self, ports: PortRange, skipped: Container[int] = ()) -> None:
        self._fresh, self._high, self._skipped = ports.low, ports.high, skipped
        self._released: deque[int] = deque()

    def allocate(self) -> int:
        """The port that has rested longest, or 0 when every port is in use."""
        while self._fresh <= self._high:
            port = self._fresh
            self._fresh = port + 1
            if port not in self._skipped:
                return port
        return self._released.popleft() if self._released else 0

    def release(self, port: int) -> None:
        """Put a port at the end of the queue."""
        self._released.append(port)


class Explicit:
    """bind((address, port)) with a port of our own choosing.

    SO_REUSEADDR lets the port carry one connection to each of many targets. SO_REUSEPORT is set with
    it because the kernel checks a port with only SO_REUSEADDR sockets against every one of them
    (inet_csk_get_port(), Linux 6.8 and later), which costs more the more targets share it.

    A port bound like this is closed to every other process's automatic choice, on all addresses of
    the host, until the last such socket is gone.
    """

    def __init__(self, sources: Sequence[str], ports: PortRange, skipped: Container[int] = ()) -> None:
        self._sources = list(sources)
        self._rings = [PortRing(ports, skipped) for _ in sources]
        self.retried = 0

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Bind the next free port; one that another socket holds goes to the back of the queue."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ring, source = self._rings[pair], self._sources[pair]
        number = 0
        for attempt in range(EXPLICIT_TRIES):
            port = ring.allocate()
            if not port:
                break
            try:
                sock.bind((source, port))
            except OSError as error:
                ring.release(port)
                number = error.errno or 0
                if number != EADDRINUSE:
                    return -number
                self.retried += attempt < EXPLICIT_TRIES - 1
            else:
                return port
        return -(number or EADDRINUSE)

    def release(self, pair: int, port: int) -> None:
        """Queue the port for the same (source, target) again."""
        self._rings[pair].release(port)


def strategy_for(
    strategy: Strategy, sources: Sequence[str], ports: PortRange, skipped: Container[int] = ()
) -> SourcePorts:
    """The strategy of one shard.

    sources: the source address of each (source, target) pair, in the order of the pairs.
    ports: the shard's slice; skipped: ports in it that are reserved or held by a listener.
    """
    match strategy:
        case Strategy.KERNEL:
            return Kernel()
        case Strategy.LATE:
            return Late(sources)
        case Strategy.LATE_RANGE:
            return LateRange(sources, ports)
        case Strategy.EXPLICIT:
            return Explicit(sources, ports, skipped)
