"""Strategies: who chooses the source port of a new four-tuple, and when.

A TCP connection is a four-tuple. The kernel can pick the source port early, in bind(), when it does
not know the destination yet, or late, in connect(), when it does; or loadgen picks it. The choice
decides how many connections fit, which call fails when no more do, and what each one costs.

Each strategy is an object with one verb, `prepare`, called on a fresh socket just before connect().
It returns the source port it took, 0 when the kernel will choose, or the negated errno of a bind()
that failed. A setsockopt() that fails raises its OSError: the kernel lacks a feature that the plan
had promised.

In UDP a four-tuple is not what the kernel keeps apart. Whoever leaves the port to it gets one that no
other socket has on the address, so a port serves one target. And SO_REUSEADDR or SO_REUSEPORT make it
give out ports that are taken, even for a four-tuple that exists: of two such sockets the one connected
last gets all datagrams. So there only the strategies that name each port once set such an option.
"""

from __future__ import annotations

import socket
from collections.abc import Container, Sequence
from errno import EADDRINUSE, EAFNOSUPPORT, EINVAL
from typing import Final, Protocol

from loadgen.kernel.abi import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
from loadgen.model import Endpoint, PortRange, Strategy, Transport
from loadgen.worker.port_ring import PortRing, RestingRing

# Looked up once here instead of several times for each connection. The SOL_IP options are those of
# AF_INET6 sockets, too: at IPPROTO_IPV6 the same numbers mean something else.
_SOL_IP: Final = socket.SOL_IP
_SOL_SOCKET: Final = socket.SOL_SOCKET
_SO_REUSEADDR: Final = socket.SO_REUSEADDR
_SO_REUSEPORT: Final = socket.SO_REUSEPORT

#: What `another` answers when the next port needs a fresh socket.
NEW_SOCKET: Final = -1

#: How many ports an attempt tries that turn out to be held by somebody else before it has failed.
TRIES: Final = 10


class SourcePorts(Protocol):
    """What the connector asks of a strategy."""

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Set options and bind as the strategy wants, for the (source, target) number `pair`."""

    def another(self, sock: socket.SocketType, pair: int) -> int:
        """The port to try after connect() found the last one taken (EADDRNOTAVAIL).

        0: there is no other; NEW_SOCKET: there may be, for a socket that is not bound yet.
        """

    def release(self, pair: int, port: int) -> None:
        """Take back a port that was in use, or that somebody else uses; only called for ports above 0."""

    def unused(self, pair: int, port: int) -> None:
        """Take back a port that was never asked for; it is the next again."""

    def denied(self, pair: int, ports: Sequence[int]) -> None:
        """Take back the ports that one attempt was denied, in the order of trying."""

    @property
    def retried(self) -> int:
        """How many times a port was taken by another socket, and the next one was tried."""


class _NoChoice:
    """What strategies share that leave the port to the kernel."""

    retried = 0

    def another(self, sock: socket.SocketType, pair: int) -> int:  # noqa: ARG002  # the protocol's
        """The kernel has looked at every port already."""
        return 0

    def release(self, pair: int, port: int) -> None:
        """The kernel owns the port."""

    def unused(self, pair: int, port: int) -> None:
        """The kernel owns the port."""

    def denied(self, pair: int, ports: Sequence[int]) -> None:
        """The kernel owns the ports."""


class Kernel(_NoChoice):
    """connect() alone: the kernel chooses everything, and the source address too.

    Past half of the range each connect() first walks every taken port of one parity
    (__inet_hash_connect(), net/ipv4/inet_hashtables.c), so the last half costs a hundred times the first.
    """

    def prepare(self, sock: socket.SocketType, pair: int) -> int:  # noqa: ARG002  # the protocol's
        """Nothing to prepare."""
        return 0


class Early(_NoChoice):
    """bind((address, 0)): the kernel takes a port before it knows the target.

    So the port is spent for every target at once, and a range serves one source exactly once.
    SO_REUSEADDR ("reuseaddr") is the classic advice against that. It stopped helping in Linux 4.11:
    the kernel shares ports on its own choice only with net.ipv4.ip_autobind_reuse = 1, and then only
    once every port is taken.
    """

    def __init__(self, sources: Sequence[str], *, reuse: bool) -> None:
        self._addresses = [Endpoint(source, 0).sockaddr for source in sources]
        self._reuse = reuse

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Bind an address and whatever port the kernel finds; EADDRINUSE means that it found none."""
        if self._reuse:
            sock.setsockopt(_SOL_SOCKET, _SO_REUSEADDR, 1)
        return -_bind(sock, self._addresses[pair])


class Late(_NoChoice):
    """bind() to the source address only; connect() picks the port when it knows the target.

    A plain bind((address, 0)) would take a port before the target is known, so that a port is spent
    once for each source instead of once for each four-tuple. IP_BIND_ADDRESS_NO_PORT prevents that.
    SO_REUSEADDR changes nothing for the connection itself, but lets a server that starts later bind
    a port on which one of these connections happens to live.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._addresses = [Endpoint(source, 0).sockaddr for source in sources]

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Bind the address and no port. EADDRNOTAVAIL here means that the address is on no interface."""
        sock.setsockopt(_SOL_SOCKET, _SO_REUSEADDR, 1)
        sock.setsockopt(_SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        return -_bind(sock, self._addresses[pair])


class LateRange(Late):
    """`late`, and the port comes from this shard's own slice of the range, one port at a time.

    IP_LOCAL_PORT_RANGE narrows where connect() may look for this one socket. Narrowed to the slice,
    the kernel still has to search it, from a cursor that all connections of one (source, target)
    share; when several workers move that cursor, each finds its slice full of gaps, and the last
    quarter of it at half of the speed. So the slice is handed out here, oldest port first, and the
    kernel is shown a range of a single port: it has nothing to search, and unlike after a bind()
    with a port number, the port stays open to everybody else's four-tuples.
    """

    def __init__(
        self,
        sources: Sequence[str],
        ports: PortRange,
        skipped: Container[int] = (),
        *,
        per_source: bool = False,
        churn: bool = False,
    ) -> None:
        super().__init__(sources)
        self._rings = _rings(sources, ports, skipped, per_source=per_source, churn=churn)
        self._slice = _port_range_option(ports.low, ports.high)
        self.retried = 0

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """As `late`, after narrowing the range to the next free port of the pair.

        With none free the kernel is shown the whole slice, so that it is the kernel that says no.
        """
        port = self._rings[pair].allocate()
        set_option = sock.setsockopt
        set_option(_SOL_SOCKET, _SO_REUSEADDR, 1)
        set_option(_SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        set_option(_SOL_IP, IP_LOCAL_PORT_RANGE, _port_range_option(port, port) if port else self._slice)
        number = _bind(sock, self._addresses[pair])
        if number and port:
            self._rings[pair].unused(port)
        return -number or port

    def another(self, sock: socket.SocketType, pair: int) -> int:
        """The next port for a socket whose connect() found its own taken; it has bound none, so it may go on."""
        following = self._rings[pair].another()
        if following:
            sock.setsockopt(_SOL_IP, IP_LOCAL_PORT_RANGE, _port_range_option(following, following))
            self.retried += 1
        return following

    def release(self, pair: int, port: int) -> None:
        """Queue the port for the same (source, target) again."""
        self._rings[pair].release(port)

    def unused(self, pair: int, port: int) -> None:
        """The port is the next of its (source, target) again."""
        self._rings[pair].unused(port)

    def denied(self, pair: int, ports: Sequence[int]) -> None:
        """Where they go depends on whose they may be; see the rings."""
        self._rings[pair].denied(ports)


class DatagramLate(Late):
    """`late` in UDP: connect() picks a port that is free on the whole source address, or fails with EAGAIN."""

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Bind the address, and nothing that would let the kernel pick a port that is taken."""
        sock.setsockopt(_SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        return -_bind(sock, self._addresses[pair])


class DatagramLateRange(LateRange):
    """`late-range` in UDP: one ring of ports for each source, because a port serves one target."""

    def __init__(self, sources: Sequence[str], ports: PortRange, skipped: Container[int] = ()) -> None:
        super().__init__(sources, ports, skipped, per_source=True)

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """As in TCP, without SO_REUSEADDR."""
        port = self._rings[pair].allocate()
        sock.setsockopt(_SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.setsockopt(_SOL_IP, IP_LOCAL_PORT_RANGE, _port_range_option(port, port) if port else self._slice)
        number = _bind(sock, self._addresses[pair])
        if number and port:
            self._rings[pair].unused(port)
        return -number or port


def _rings(
    sources: Sequence[str], ports: PortRange, skipped: Container[int], *, per_source: bool, churn: bool
) -> list[PortRing]:
    """The ring of each pair; with `per_source` the pairs of one source share theirs."""
    ring = RestingRing if churn else PortRing
    shared = {source: ring(ports, skipped) for source in sources} if per_source else {}
    return [shared.get(source) or ring(ports, skipped) for source in sources]


def _port_range_option(low: int, high: int) -> int:
    """The u32 of IP_LOCAL_PORT_RANGE, high bound above low bound, as the C int that setsockopt() takes."""
    value = high << 16 | low
    return value - (1 << 32) if value >> 31 else value


class Explicit:
    """bind((address, port)) with a port of our own choosing.

    options: the socket options that let others have the port, too.

    `explicit` sets SO_REUSEADDR, with which a port carries one connection to each of many targets, and
    SO_REUSEPORT with it, because the kernel checks a port with only SO_REUSEADDR sockets against every
    one of them (inet_csk_get_port(), Linux 6.8 and later), which costs more the more targets share it.
    `reuseport` sets SO_REUSEPORT alone, which shares with sockets of the same user only. `exclusive`
    sets nothing: one socket per source and port, whatever the target (`per_source`).

    A port bound like this is closed to every other process's automatic choice, on all addresses of
    the host, until the last such socket is gone.
    """

    def __init__(
        self,
        sources: Sequence[str],
        ports: PortRange,
        skipped: Container[int] = (),
        *,
        options: Sequence[int] = (_SO_REUSEADDR, _SO_REUSEPORT),
        per_source: bool = False,
        churn: bool = False,
    ) -> None:
        self._sources = [(address, scope) for address, _, *scope in (Endpoint(each, 0).sockaddr for each in sources)]
        self._options = tuple(options)
        self._rings = _rings(sources, ports, skipped, per_source=per_source, churn=churn)
        asked = next((port for port in range(ports.low, ports.high + 1) if port not in skipped), ports.low)
        self._asked = [Endpoint(source, asked).sockaddr for source in sources]
        self.retried = 0

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Bind the next free port; one that another socket holds goes to the back of the queue."""
        for option in self._options:
            sock.setsockopt(_SOL_SOCKET, option, 1)
        ring, (source, scope) = self._rings[pair], self._sources[pair]
        tried: list[int] = []
        while port := (ring.another() if tried else ring.allocate()):
            self.retried += bool(tried)
            number = _bind(sock, (source, port, *scope))
            if not number:
                break
            tried.append(port)
            if number != EADDRINUSE or len(tried) == TRIES:
                break
        if tried:
            ring.denied(tried)
        if port or tried:
            return -number or port
        return -self._ask_in_vain(sock, pair)

    def _ask_in_vain(self, sock: socket.SocketType, pair: int) -> int:
        """All are in use, as far as we know; so that it is the kernel that says so, ask for one of them."""
        return _bind(sock, self._asked[pair])

    def another(self, sock: socket.SocketType, pair: int) -> int:  # noqa: ARG002  # the protocol's
        """The four-tuple is taken, and a bound socket cannot bind again."""
        self.retried += 1
        return NEW_SOCKET

    def release(self, pair: int, port: int) -> None:
        """Queue the port for the same (source, target) again."""
        self._rings[pair].release(port)

    def unused(self, pair: int, port: int) -> None:
        """The port is the next of its (source, target) again."""
        self._rings[pair].unused(port)

    def denied(self, pair: int, ports: Sequence[int]) -> None:
        """Where they go depends on whose they may be; see the rings."""
        self._rings[pair].denied(ports)


class DatagramExplicit(Explicit):
    """`explicit`, `reuseport` and `exclusive` in UDP, where sharing is what each of our sockets does only once."""

    def _ask_in_vain(self, sock: socket.SocketType, pair: int) -> int:
        """Without the flags, because with them the kernel would say yes, and two sockets have one four-tuple."""
        for option in self._options:
            sock.setsockopt(_SOL_SOCKET, option, 0)
        return super()._ask_in_vain(sock, pair)


def _bind(sock: socket.SocketType, address: tuple[str | int, ...]) -> int:
    """bind(2); 0 or the errno. An address of another family is what the kernel calls EAFNOSUPPORT."""
    try:
        sock.bind(address)
    except socket.gaierror:  # Python looks at the text before the kernel does, and its numbers are negative
        return EAFNOSUPPORT
    except OSError as error:
        return error.errno or EINVAL
    return 0


def strategy_for(
    strategy: Strategy,
    sources: Sequence[str],
    ports: PortRange,
    skipped: Container[int] = (),
    *,
    churn: bool = False,
    transport: Transport = Transport.TCP,
) -> SourcePorts:
    """The strategy of one shard.

    sources: the source address of each (source, target) pair, in the order of the pairs.
    ports: the shard's slice; skipped: ports in it that are reserved or held by a listener.
    churn: whether ports will come back into TIME-WAIT, see RestingRing; in UDP they never do.

    Raises: ValueError for a strategy that UDP has not.
    """
    if transport is Transport.UDP:
        return _over_udp(strategy, sources, ports, skipped)
    match strategy:
        case Strategy.KERNEL:
            return Kernel()
        case Strategy.LATE:
            return Late(sources)
        case Strategy.LATE_RANGE:
            return LateRange(sources, ports, skipped, churn=churn)
        case Strategy.BIND | Strategy.REUSEADDR:
            return Early(sources, reuse=strategy is Strategy.REUSEADDR)
        case Strategy.EXPLICIT:
            return Explicit(sources, ports, skipped, churn=churn)
        case Strategy.REUSEPORT:
            return Explicit(sources, ports, skipped, options=(_SO_REUSEPORT,), churn=churn)
        case Strategy.EXCLUSIVE:
            return Explicit(sources, ports, skipped, options=(), per_source=True, churn=churn)


def _over_udp(strategy: Strategy, sources: Sequence[str], ports: PortRange, skipped: Container[int]) -> SourcePorts:
    match strategy:
        case Strategy.KERNEL:
            return Kernel()
        case Strategy.LATE:
            return DatagramLate(sources)
        case Strategy.LATE_RANGE:
            return DatagramLateRange(sources, ports, skipped)
        case Strategy.BIND:
            return Early(sources, reuse=False)
        case Strategy.EXPLICIT:
            return DatagramExplicit(sources, ports, skipped, options=(_SO_REUSEADDR,))
        case Strategy.REUSEPORT:
            return DatagramExplicit(sources, ports, skipped, options=(_SO_REUSEPORT,))
        case Strategy.EXCLUSIVE:
            return DatagramExplicit(sources, ports, skipped, options=(), per_source=True)
        case Strategy.REUSEADDR:
            raise ValueError("in UDP the kernel gives a port to several sockets with SO_REUSEADDR")
