"""The rows: what each strategy binds, who picks the port, what a port is shared between, and how it ends.

A TCP connection is a four-tuple. The kernel can pick the source port early, in bind(), when it does not know the
destination yet, or late, in connect(), when it does; or loadgen picks it. The choice decides how many connections
fit, which call fails when no more do, and what each one costs.

UDP sockets have a four-tuple as well, but the kernel does not keep them apart by it. A port that the kernel picks
is one that no other socket has on the address, so it serves one target. With SO_REUSEADDR or SO_REUSEPORT the
kernel also gives out ports that are taken, even for a four-tuple that exists, and of two such sockets the one
connected last gets all datagrams. So over UDP only strategies that name each port once set such an option.

Sources: __inet_hash_connect(), net/ipv4/inet_hashtables.c; inet_csk_get_port(), net/ipv4/inet_connection_sock.c;
udp_lib_get_port(), net/ipv4/udp.c; ip(7), socket(7). `loadgen facts` tries out what the rows claim.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, StrEnum
from errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN, errorcode
from typing import TYPE_CHECKING, Final

from loadgen.outcomes import Outcome, Syscall, outcome_of
from loadgen.strategies.options import NO_PORT, PORT_RANGE, REUSEADDR, REUSEPORT, SocketOption

if TYPE_CHECKING:
    from loadgen.model import Endpoint


class Strategy(StrEnum):
    """How the source port of a new connection is chosen, by whom, and when; docs/strategies.md has them all."""

    KERNEL = "kernel"
    BIND = "bind"
    REUSEADDR = "reuseaddr"
    LATE = "late"
    LATE_RANGE = "late-range"
    EXPLICIT = "explicit"
    EXCLUSIVE = "exclusive"
    REUSEPORT = "reuseport"

    @property
    def row(self) -> StrategyRow:
        """Everything known of the strategy."""
        return TABLE[self]

    def over(self, transport: Transport) -> TransportRules:
        """The strategy's rules for a transport. Raises: ValueError where the transport does not offer it."""
        rules = TABLE[self].tcp if transport is Transport.TCP else TABLE[self].udp
        if rules is None:
            raise ValueError(f"strategy {self} over {transport}: {TABLE[self].udp_refusal}")
        return rules


class Transport(StrEnum):
    """The transport protocol: TCP, or UDP over sockets that are each connected to one target."""

    TCP = "tcp"
    UDP = "udp"


class Binding(Enum):
    """The parts of the source that bind() fixes before connect(), and the side that picks the port."""

    NOTHING = "nothing; connect() takes the address of the route, and picks the port"
    ADDRESS = "the address; connect() picks the port when it knows the target"
    ADDRESS_AND_PORT = "the address and a port that the kernel picks before it knows the target"
    OUR_PORT = "the address and a port that loadgen picks"
    ONE_PORT_RANGE = "the address; connect() picks from a range of one port, which loadgen picked"

    @property
    def call(self) -> str:
        """The call as the docs show it; "" where there is none."""
        if self is Binding.NOTHING:
            return ""
        return "bind(address, port)" if self is Binding.OUR_PORT else "bind(address, 0)"


class PortScope(Enum):
    """The space within which a source port is used once at a time: N ports carry N connections in each space."""

    PAIR = "(source, target)"
    SOURCE = "source"
    HOST = "host"

    def spaces(self, pairs: Collection[tuple[str, Endpoint]]) -> int:
        """Return how many times the ports can be used by these (source, target) pairs."""
        if self is PortScope.PAIR:
            return len(pairs)
        return len({source for source, _ in pairs}) if self is PortScope.SOURCE else 1


class TimeWaitReuse(Enum):
    """When a four-tuple in TIME-WAIT may be taken over by a new connection; see `loadgen.capacity.time_wait`."""

    NEVER = "never"
    """bind() finds the port in use for the whole of TIME-WAIT."""
    AUTOBIND_REUSE = "at once, with ip_autobind_reuse=1"
    """Like NEVER; like AT_ONCE where net.ipv4.ip_autobind_reuse is 1."""
    AT_ONCE = "at once"
    """bind() names the port with SO_REUSEADDR or SO_REUSEPORT: only TCP timestamps are needed."""
    TW_REUSE = "as tcp_tw_reuse says"
    """connect() picks the port: TCP timestamps, tcp_tw_reuse and tcp_tw_reuse_delay decide."""


@dataclass(frozen=True, slots=True)
class TransportRules:
    """A strategy over one transport.

    options: switched on before bind(), in this order. scope: the space of a port; loadgen's own ring of ports, where
    there is one, belongs to the same space. ends: the system call and errno of the attempt that finds no port.
    cliff_at: share of the ports in use from which on the kernel's search is long; None: the cost is flat.
    """

    options: tuple[SocketOption, ...]
    scope: PortScope
    ends: tuple[Syscall, int]
    cliff_at: float | None = None

    @property
    def shares_ports(self) -> bool:
        """True if one source port carries a connection to each of several targets at once."""
        return self.scope is PortScope.PAIR

    @property
    def outcome(self) -> Outcome:
        """The outcome of an attempt that finds no port."""
        return outcome_of(*self.ends)

    @property
    def ends_text(self) -> str:
        """The system call and errno in words: "connect EADDRNOTAVAIL"."""
        syscall, number = self.ends
        return f"{syscall.name.lower()} {errorcode[number]}"


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """One strategy.

    binding: of the source, by bind(). tcp, udp: rules of each transport; udp is None where UDP does not offer the
    strategy, for the reason in `udp_refusal`. time_wait: when TCP may take over a four-tuple in TIME-WAIT.
    instead: the strategy to fall back to on a kernel without one of the options. one_user: sockets of other users have
    no part in its ports. summary: a line for the docs. program: the same for the author of a program, in the
    imperative; "" where no remedy names the strategy.
    """

    binding: Binding
    tcp: TransportRules
    udp: TransportRules | None
    time_wait: TimeWaitReuse
    summary: str
    udp_refusal: str = ""
    instead: Strategy | None = None
    one_user: bool = False
    program: str = ""

    @property
    def binds_address(self) -> bool:
        """True if the scenario chooses the source address; else it is that of the route."""
        return self.binding is not Binding.NOTHING

    @property
    def names_ports(self) -> bool:
        """True if bind() gets a port number, which closes that port to the automatic choice of other sockets."""
        return self.binding is Binding.OUR_PORT

    @property
    def binds_port(self) -> bool:
        """True if bind() takes the port, so that a search for a free one, or the check of ours, is time in bind()."""
        return self.binding in (Binding.ADDRESS_AND_PORT, Binding.OUR_PORT)

    @property
    def narrows_range(self) -> bool:
        """True if IP_LOCAL_PORT_RANGE shows the kernel one port at a time."""
        return self.binding is Binding.ONE_PORT_RANGE

    @property
    def slices_ports(self) -> bool:
        """True if loadgen picks the port, each worker from its own slice; else the kernel searches the whole range."""
        return self.names_ports or self.narrows_range

    @property
    def since(self) -> str:
        """The first Linux version that has every option; "" where all have."""
        return max((option.since for option in self.tcp.options), key=_version, default="")

    def calls(self, rules: TransportRules) -> str:
        """Return the system calls of one connection, as the docs list them."""
        calls = [*(option.name for option in rules.options), self.binding.call, "connect()"]
        return ", ".join(call for call in calls if call)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")) if text else ()


_NO_FOUR_TUPLE: Final = (Syscall.CONNECT, EADDRNOTAVAIL)
_NO_PORT_IN_BIND: Final = (Syscall.BIND, EADDRINUSE)
_NO_PORT_IN_CONNECT: Final = (Syscall.CONNECT, EAGAIN)

#: From the strategy that is best for most purposes to the one that most programs use.
TABLE: Final[dict[Strategy, StrategyRow]] = {
    Strategy.LATE_RANGE: StrategyRow(
        binding=Binding.ONE_PORT_RANGE,
        tcp=TransportRules((REUSEADDR, NO_PORT, PORT_RANGE), PortScope.PAIR, _NO_FOUR_TUPLE),
        udp=TransportRules((NO_PORT, PORT_RANGE), PortScope.SOURCE, _NO_PORT_IN_CONNECT),
        time_wait=TimeWaitReuse.TW_REUSE,
        instead=Strategy.LATE,
        summary="bind() fixes the address, connect() gets a range of one port, which loadgen picked",
        program="set IP_BIND_ADDRESS_NO_PORT and IP_LOCAL_PORT_RANGE before bind(address, 0)",
    ),
    Strategy.LATE: StrategyRow(
        binding=Binding.ADDRESS,
        tcp=TransportRules((REUSEADDR, NO_PORT), PortScope.PAIR, _NO_FOUR_TUPLE, cliff_at=0.5),
        udp=TransportRules((NO_PORT,), PortScope.SOURCE, _NO_PORT_IN_CONNECT),
        time_wait=TimeWaitReuse.TW_REUSE,
        summary="bind() fixes the address, connect() searches the range for a port",
        program="set IP_BIND_ADDRESS_NO_PORT before bind(address, 0)",
    ),
    Strategy.EXPLICIT: StrategyRow(
        binding=Binding.OUR_PORT,
        tcp=TransportRules((REUSEADDR, REUSEPORT), PortScope.PAIR, _NO_FOUR_TUPLE),
        udp=TransportRules((REUSEADDR,), PortScope.PAIR, _NO_PORT_IN_BIND),
        time_wait=TimeWaitReuse.AT_ONCE,
        summary="bind() names a port that loadgen picked, shared between targets and closed to other processes",
        program="set SO_REUSEADDR before bind(address, port), with a port of its own choice",
    ),
    Strategy.REUSEPORT: StrategyRow(
        binding=Binding.OUR_PORT,
        tcp=TransportRules((REUSEPORT,), PortScope.PAIR, _NO_FOUR_TUPLE),
        udp=TransportRules((REUSEPORT,), PortScope.PAIR, _NO_PORT_IN_BIND),
        time_wait=TimeWaitReuse.AT_ONCE,
        one_user=True,
        summary="as explicit, shared with sockets of the same user only",
        program="set SO_REUSEPORT before bind(address, port), with a port of its own choice",
    ),
    Strategy.EXCLUSIVE: StrategyRow(
        binding=Binding.OUR_PORT,
        tcp=TransportRules((), PortScope.SOURCE, _NO_PORT_IN_BIND),
        udp=TransportRules((), PortScope.SOURCE, _NO_PORT_IN_BIND),
        time_wait=TimeWaitReuse.NEVER,
        summary="bind() names a port that loadgen picked, and shares it with no other socket",
        program="call bind(address, port) with a port of its own choice",
    ),
    Strategy.BIND: StrategyRow(
        binding=Binding.ADDRESS_AND_PORT,
        tcp=TransportRules((), PortScope.SOURCE, _NO_PORT_IN_BIND, cliff_at=0.5),
        udp=TransportRules((), PortScope.SOURCE, _NO_PORT_IN_BIND),
        time_wait=TimeWaitReuse.NEVER,
        summary="bind() searches for a port before the target is known",
    ),
    Strategy.REUSEADDR: StrategyRow(
        # The classic advice against the wall of `bind`. It stopped helping in Linux 4.11: the kernel shares ports of
        # its own choice only with net.ipv4.ip_autobind_reuse = 1, and then only once every port is taken.
        binding=Binding.ADDRESS_AND_PORT,
        tcp=TransportRules((REUSEADDR,), PortScope.SOURCE, _NO_PORT_IN_BIND, cliff_at=0.25),
        udp=None,
        udp_refusal="with SO_REUSEADDR the kernel gives one UDP port to several sockets, and the last one gets all "
        "datagrams",
        time_wait=TimeWaitReuse.AUTOBIND_REUSE,
        summary="as bind, with SO_REUSEADDR, which no longer helps since Linux 4.11",
    ),
    Strategy.KERNEL: StrategyRow(
        binding=Binding.NOTHING,
        tcp=TransportRules((), PortScope.PAIR, _NO_FOUR_TUPLE, cliff_at=0.5),
        # connect() takes the port before it takes the address, so the port has to be free on every address.
        udp=TransportRules((), PortScope.HOST, _NO_PORT_IN_CONNECT),
        time_wait=TimeWaitReuse.TW_REUSE,
        summary="connect() alone: the kernel chooses address and port, as for most programs",
    ),
}
