"""Sockets of a strategy: options and bind() before connect(), and which source port comes next.

The rows of `loadgen.strategies` say what each strategy does; `setup_of` makes data of a row for the pairs and ports
of one shard, which is what the io_uring engine writes its submissions from. `strategy_for` makes an object of it for
the epoll engine, with the verb `prepare`, called on a fresh socket just before connect(). It returns the source port
it took, 0 when the kernel will choose, or the negated errno of a bind() that failed. A setsockopt() that fails raises
its OSError: the kernel lacks a feature that the plan had promised.

Rows are read when a shard is set up, never per connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from errno import EADDRINUSE, EAFNOSUPPORT, EINVAL
from functools import partial
from typing import Final, Protocol

from loadgen.clock import now_ns
from loadgen.model import Endpoint, PortRange, Strategy, Transport
from loadgen.strategies import Binding, PortScope
from loadgen.strategies.options import IP_LOCAL_PORT_RANGE, PORT_RANGE
from loadgen.worker.port_ring import PortRing, RestingRing

# Looked up once here instead of for each connection.
_SOL_IP: Final = socket.SOL_IP

#: The return value of `another` when the next port needs a fresh socket.
NEW_SOCKET: Final = -1

#: Ports an attempt tries before it fails, when each turns out to be held by another process.
TRIES: Final = 10

#: An address as socket.bind() takes it.
_Address = tuple[str | int, ...]
#: bind(2) as a strategy calls it; returns 0 or the errno.
_Bind = Callable[[socket.SocketType, _Address], int]


class SourcePorts(Protocol):
    """Source ports as the connector asks a strategy for them."""

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Set options and bind as the strategy wants, for the (source, target) number `pair`."""

    def another(self, sock: socket.SocketType, pair: int) -> int:
        """Return the port to try after connect() found the last one taken (EADDRNOTAVAIL).

        0: there is no other; NEW_SOCKET: there may be, for a socket that is not bound yet.
        """

    def release(self, pair: int, port: int) -> None:
        """Take back a port that was in use, or that another process uses; only called for ports above 0."""

    def unused(self, pair: int, port: int) -> None:
        """Take back a port that was never asked for; it is the next again."""

    def denied(self, pair: int, ports: Sequence[int]) -> None:
        """Take back the ports that one attempt was denied, in the order of trying."""

    @property
    def retried(self) -> int:
        """Number of times a port was taken by another socket, and the next one was tried."""


@dataclass(frozen=True)
class PortSetup:
    """The row of a strategy with the pairs and ports of one shard.

    options: (level, number) of socket options that are set to 1.
    narrows: whether IP_LOCAL_PORT_RANGE shows the kernel one port at a time, or all of `ports` when none is free.
    binds: whether bind() is called; names_port: with a port of ours, else with port 0; binds_port: whether it takes
    the port, see StrategyRow.
    asked: the port that bind() asks for when none is free, so that it is the kernel that says no; 0: any.
    asks_openly: whether it asks without the options, with which the kernel would say yes.
    rings: free ports for each (source, target), one object for all pairs that share ports; empty where the kernel
    picks them. freebind: whether an address that is only routed to this host may be bound, see
    `loadgen.worker.freebind`.
    """

    sources: tuple[str, ...]
    ports: PortRange
    options: tuple[tuple[int, int], ...]
    narrows: bool
    binds: bool
    names_port: bool
    binds_port: bool
    asked: int
    asks_openly: bool
    rings: tuple[PortRing, ...]
    freebind: bool


def setup_of(
    strategy: Strategy,
    sources: Sequence[str],
    ports: PortRange,
    skipped: Container[int] = (),
    *,
    churn: bool = False,
    transport: Transport = Transport.TCP,
    freebind: bool = False,
) -> PortSetup:
    """Return the setup of one shard.

    sources: the source address of each (source, target) pair, in the order of the pairs.
    ports: the shard's slice; skipped: ports in it that are reserved or held by a listener.
    churn: whether ports will come back into TIME-WAIT, see RestingRing; UDP has none.

    Raises: ValueError for a strategy that the transport does not offer.
    """
    row, rules = strategy.row, strategy.over(transport)
    ring = RestingRing if churn and transport is Transport.TCP else PortRing
    rings: tuple[PortRing, ...] = ()
    if row.slices_ports:
        shared = {} if rules.scope is PortScope.PAIR else {source: ring(ports, skipped) for source in sources}
        rings = tuple(shared.get(source) or ring(ports, skipped) for source in sources)
    asked = next((port for port in range(ports.low, ports.high + 1) if port not in skipped), ports.low)
    return PortSetup(
        sources=tuple(sources),
        ports=ports,
        options=tuple((option.level, option.number) for option in rules.options if option != PORT_RANGE),
        narrows=row.narrows_range,
        binds=row.binds_address,
        names_port=row.names_ports,
        binds_port=row.binds_port,
        asked=asked if row.names_ports else 0,
        asks_openly=transport is Transport.UDP,
        rings=rings,
        freebind=freebind,
    )


def strategy_for(
    strategy: Strategy,
    sources: Sequence[str],
    ports: PortRange,
    skipped: Container[int] = (),
    *,
    churn: bool = False,
    transport: Transport = Transport.TCP,
    record_bind: Callable[[int], None] | None = None,
) -> SourcePorts:
    """Return the object that prepares the sockets of one shard; arguments and exceptions as of `setup_of`.

    record_bind: called with the nanoseconds that each bind() took which takes a port, one that failed included.
    """
    bind = partial(_timed_bind, record_bind) if record_bind and strategy.row.binds_port else _bind
    setup = setup_of(strategy, sources, ports, skipped, churn=churn, transport=transport)
    match strategy.row.binding:
        case Binding.NOTHING:
            return UnboundSocket()
        case Binding.ADDRESS | Binding.ADDRESS_AND_PORT:
            return BoundAddress(setup, bind)
        case Binding.ONE_PORT_RANGE:
            return OnePortRange(setup)
        case Binding.OUR_PORT:
            return BoundPort(setup, bind)


class _KernelPicksPort:
    """Common part of strategies that leave the port to the kernel."""

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


class UnboundSocket(_KernelPicksPort):
    """connect() alone: the kernel chooses everything, and the source address too.

    Past half of the range each connect() first walks every taken port of one parity
    (__inet_hash_connect(), net/ipv4/inet_hashtables.c), so the last half costs a hundred times the first.
    """

    def prepare(self, sock: socket.SocketType, pair: int) -> int:  # noqa: ARG002  # the protocol's
        """Nothing to prepare."""
        return 0


class BoundAddress(_KernelPicksPort):
    """bind((address, 0)): the source address is fixed, the kernel picks the port.

    Without IP_BIND_ADDRESS_NO_PORT it picks the port here, before it knows the target, so that a port is spent once
    for each source instead of once for each four-tuple. With it, connect() picks the port. SO_REUSEADDR beside it
    changes nothing for the connection itself, but lets a server that starts later bind a port on which one of these
    connections happens to live.
    """

    def __init__(self, setup: PortSetup, bind: _Bind) -> None:
        self._addresses = [Endpoint(source, 0).sockaddr for source in setup.sources]
        self._options = setup.options
        self._bind = bind

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Set the options and bind the address. EADDRNOTAVAIL here means that the address is on no interface."""
        for level, number in self._options:
            sock.setsockopt(level, number, 1)
        return -self._bind(sock, self._addresses[pair])


class _OwnRings:
    """Common part of strategies whose ports come from loadgen's own rings."""

    def __init__(self, setup: PortSetup) -> None:
        self._options, self._rings = setup.options, setup.rings
        self.retried = 0

    def release(self, pair: int, port: int) -> None:
        """Queue the port for the same (source, target) again."""
        self._rings[pair].release(port)

    def unused(self, pair: int, port: int) -> None:
        """The port is the next of its (source, target) again."""
        self._rings[pair].unused(port)

    def denied(self, pair: int, ports: Sequence[int]) -> None:
        """Where they go depends on whose they may be; see the rings."""
        self._rings[pair].denied(ports)


class OnePortRange(_OwnRings):
    """bind((address, 0)), and connect() picks from a range of one port, which is the next of the pair's ring.

    IP_LOCAL_PORT_RANGE narrows where connect() may look for this one socket. Narrowed to the slice,
    the kernel still has to search it, from a cursor that all connections of one (source, target)
    share; when several workers move that cursor, each finds its slice full of gaps, and the last
    quarter of it at half of the speed. So the slice is handed out here, oldest port first, and the
    kernel is shown a range of a single port: it has nothing to search, and unlike after a bind()
    with a port number, the port stays open to the four-tuples of other processes.
    """

    def __init__(self, setup: PortSetup) -> None:
        super().__init__(setup)
        self._addresses = [Endpoint(source, 0).sockaddr for source in setup.sources]
        self._slice = port_range_option(setup.ports.low, setup.ports.high)

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Set the options, narrow the range to the next free port of the pair, and bind the address.

        With none free the kernel is shown the whole slice, so that it is the kernel that says no.
        """
        ring = self._rings[pair]
        port = ring.allocate()
        set_option = sock.setsockopt
        try:
            for level, number in self._options:
                set_option(level, number, 1)
            set_option(_SOL_IP, IP_LOCAL_PORT_RANGE, port_range_option(port, port) if port else self._slice)
        except OSError:
            if port:
                ring.unused(port)
            raise
        try:
            sock.bind(self._addresses[pair])
        except OSError as error:
            if port:
                ring.unused(port)
            return -_errno_of(error)
        return port

    def another(self, sock: socket.SocketType, pair: int) -> int:
        """The next port for a socket whose connect() found its own taken; it has bound none, so it may go on."""
        following = self._rings[pair].another()
        if following:
            try:
                sock.setsockopt(_SOL_IP, IP_LOCAL_PORT_RANGE, port_range_option(following, following))
            except OSError:  # then it stays with the answer of connect() that it has
                self._rings[pair].unused(following)
                return 0
            self.retried += 1
        return following


def port_range_option(low: int, high: int) -> int:
    """The u32 of IP_LOCAL_PORT_RANGE, high bound above low bound, as the C int that setsockopt() takes."""
    value = high << 16 | low
    return value - (1 << 32) if value >> 31 else value


class BoundPort(_OwnRings):
    """bind((address, port)) with a port of our own choosing; the options let others have the port, too.

    SO_REUSEADDR lets a port carry one connection to each of many targets. `explicit` sets SO_REUSEPORT with it,
    because the kernel checks a port with only SO_REUSEADDR sockets against every one of them
    (inet_csk_get_port(), Linux 6.8 and later), which costs more the more targets share it.

    A port bound like this is closed to the automatic choice of every other process, on all addresses of
    the host, until the last such socket is gone.
    """

    def __init__(self, setup: PortSetup, bind: _Bind) -> None:
        super().__init__(setup)
        self._bind = bind
        addresses = (Endpoint(source, 0).sockaddr for source in setup.sources)
        self._sources = [(address, scope) for address, _, *scope in addresses]
        self._asked = setup.asked
        self._asks_openly = setup.asks_openly

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Bind the next free port; one that another socket holds goes to the back of the queue."""
        for level, number in self._options:
            sock.setsockopt(level, number, 1)
        ring, (source, scope) = self._rings[pair], self._sources[pair]
        tried: list[int] = []
        while port := (ring.another() if tried else ring.allocate()):
            self.retried += bool(tried)
            failure = self._bind(sock, (source, port, *scope))
            if not failure:
                break
            tried.append(port)
            if failure != EADDRINUSE or len(tried) == TRIES:
                break
        if tried:
            ring.denied(tried)
        if port or tried:
            return -failure or port
        return -self._ask_in_vain(sock, (source, self._asked, *scope))

    def _ask_in_vain(self, sock: socket.SocketType, address: _Address) -> int:
        """All are in use, as far as we know; ask for one of them, so that it is the kernel that says so.

        Over UDP without the options, because with them the kernel would say yes, and two sockets have one four-tuple.
        """
        if self._asks_openly:
            for level, number in self._options:
                sock.setsockopt(level, number, 0)
        return self._bind(sock, address)

    def another(self, sock: socket.SocketType, pair: int) -> int:  # noqa: ARG002  # the protocol's
        """The four-tuple is taken, and a bound socket cannot bind again."""
        self.retried += 1
        return NEW_SOCKET


def _bind(sock: socket.SocketType, address: _Address) -> int:
    """bind(2); 0 or the errno. An address of another family is what the kernel calls EAFNOSUPPORT."""
    try:
        sock.bind(address)
    except OSError as error:
        return _errno_of(error)
    return 0


def _errno_of(error: OSError) -> int:
    """Return why bind() failed. Python looks at the address before the kernel does, and its numbers are negative."""
    return EAFNOSUPPORT if isinstance(error, socket.gaierror) else error.errno or EINVAL


def _timed_bind(record: Callable[[int], None], sock: socket.SocketType, address: _Address) -> int:
    """The same, and record how long it took, in nanoseconds."""
    begun_ns = now_ns()
    failure = _bind(sock, address)
    record(now_ns() - begun_ns)
    return failure
