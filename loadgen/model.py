"""The nouns that every module shares: endpoints, port ranges, stages of arrival, the plan, the shard.

Frozen and made of plain values, so that a plan can be pickled to another process, written as JSON
and compared in a test. Nothing here reads a file or a clock, and the kernel is asked for one thing only,
the number of an interface (`Endpoint.sockaddr`).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from errno import ENODEV
from functools import cached_property
from typing import Annotated, Any, Final, cast

from msgspec import Meta, Struct

from loadgen.secret import revealed
from loadgen.strategies import Strategy as Strategy
from loadgen.strategies import Transport as Transport


class CloseMode(StrEnum):
    """How a connection ends, which decides who keeps TIME-WAIT (RFC 9293 3.6).

    fin: we close first and keep it. rst: we reset (SO_LINGER 0) and neither side keeps it. target: the other
    side closes first and keeps it, on its own four-tuples.
    """

    FIN = "fin"
    RST = "rst"
    TARGET = "target"


class Topology(StrEnum):
    """How the network of a lab looks.

    loopback: one namespace with nothing but `lo`. veth: two namespaces and a virtual cable between them,
    the load on one end and the sinks on the other, so that no address is a loopback address.
    segment: the same two, but every address is on the cable and has to be resolved (ARP, neighbour discovery), so
    that the table of neighbours fills. nat: as veth, with a third namespace between them, a gateway that translates
    the addresses of the load.
    """

    LOOPBACK = "loopback"
    VETH = "veth"
    SEGMENT = "segment"
    NAT = "nat"

    @property
    def has_cable(self) -> bool:
        """True if load and sinks have namespaces of their own."""
        return self is not Topology.LOOPBACK


class NatKind(StrEnum):
    """The statement of nft(8) that translates: to addresses by name, or to the address of the gateway's interface."""

    SNAT = "snat"
    MASQUERADE = "masquerade"


class NatFlag(StrEnum):
    """Flags of that statement, as nft(8) spells them.

    random: a port that may not stay starts the search at a random one, which kernels since 5.0 do anyway.
    fully-random: no port stays. persistent: a client has one address for all destinations.
    """

    RANDOM = "random"
    FULLY_RANDOM = "fully-random"
    PERSISTENT = "persistent"


#: Direct descriptors of one io_uring. More make the kernel's 256 lists of what is under way longer.
DIRECT_DESCRIPTORS_MAX: Final = 32_768


class Engine(StrEnum):
    """The engine that opens and watches connections: a system call for each step, or batches by io_uring(7)."""

    EPOLL = "epoll"
    IO_URING = "io_uring"


class Speaks(StrEnum):
    """The answer of a sink of ours to the bytes it receives.

    echo: sends it back. http: answers each request, HTTP/1.1. nothing: reads it and never answers.
    """

    ECHO = "echo"
    HTTP = "http"
    NOTHING = "nothing"


class ProbeKind(StrEnum):
    """The attempt that a probe makes: connect, listen, or listen again on the port of a server that has just ended."""

    CONNECT = "connect"
    LISTEN = "listen"
    RESTART = "restart"


class ProbeWhen(StrEnum):
    """When a probe runs: while the load is held, just before it is closed, or after all of it is."""

    HOLD = "hold"
    AFTER = "after"


class Phase(StrEnum):
    """Phase of a run: opening, holding, opening and closing all the time, closing, or finished."""

    RAMP = "ramp"
    HOLD = "hold"
    CHURN = "churn"
    DRAIN = "drain"
    DONE = "done"


def family_of(address: str) -> int:
    """Return AF_INET or AF_INET6 for a literal IP address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


#: ip(7), ipv6(7): address and port, for some of IPv6 also flow label and scope.
Sockaddr = tuple[str, int] | tuple[str, int, int, int]


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One end of a connection: a literal IP address and a TCP port (0 means "not chosen yet")."""

    address: str
    port: int

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return family_of(self.address)

    @property
    def sockaddr(self) -> Sockaddr:
        """The address in the form that socket.bind() and socket.connect() take.

        Of a link-local address (fe80::1%eth0) with the number that its zone has in this namespace: of two values
        Python makes scope 0, whatever the text says. Raises: OSError ENODEV when there is no such interface.
        """
        literal, _, zone = self.address.partition("%")
        if not zone:
            return (literal, self.port)
        try:
            return (literal, self.port, 0, socket.if_nametoindex(zone))
        except OSError as error:  # Python's own, without a number
            raise OSError(ENODEV, f"there is no interface {zone!r}") from error

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports `low` to `high`, both included, as in ip_local_port_range."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high <= 65535:
            raise ValueError(f"{self.low}-{self.high} is no port range; 1 <= low <= high <= 65535")

    def __len__(self) -> int:
        return self.high - self.low + 1

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the arrival schedule: the rate goes in a straight line from start to end.

    `duration_s` None means "until every connection is due" and is only allowed in the last stage.
    """

    rate_start_per_s: float
    rate_end_per_s: float
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class SinkBehaviour:
    """How a sink of ours serves its connections; the defaults are a plain echo without faults.

    tls: do a TLS handshake first, with a certificate made for the run. reset: reset each connection that was
    accepted. drop: share (0 to 1) of connections to reset; over UDP, of datagrams to ignore. delay_s: delay of each
    answer. close_after_s, close_after_requests: when to close, counted from accept(). read_per_s: bytes to read per
    second and connection. status, body_bytes: the HTTP response.
    """

    speaks: Speaks = Speaks.ECHO
    tls: bool = False
    reset: bool = False
    drop: float = 0.0
    delay_s: float = 0.0
    close_after_s: float | None = None
    close_after_requests: int | None = None
    read_per_s: int | None = None
    status: int = 200
    body_bytes: int = 0


class Target(Struct, frozen=True, rename={"behaviour": "manners"}):
    """One destination; `sink` says that loadgen itself is to listen there.

    backlog: argument of that sink's listen(); None: the maximum. accept_after_s: seconds from the start until it
    begins to accept; None: never. behaviour: of that sink; "manners" in plan.json. weight: its share of the
    connections, beside the weights of the others. host: the name that the endpoint's address was found under; "": it
    was given as an address.
    """

    endpoint: Endpoint
    sink: bool
    backlog: int | None = None
    accept_after_s: float | None = 0.0
    behaviour: SinkBehaviour = SinkBehaviour()
    weight: int = 1
    host: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A small experiment by another process, beside the load or after it; see `loadgen.control.probe`.

    sink: the probe listens at its target itself, for as long as it lasts.
    ports: what the strategy may use, or the one port to listen on.
    uid: the user to become first; None: stay who we are.
    """

    name: str
    when: ProbeWhen
    kind: ProbeKind
    count: int
    strategy: Strategy
    source: str
    target: Endpoint
    sink: bool
    ports: PortRange
    uid: int | None
    reuseaddr: bool


#: Of a plan that is read back, which may be anyone's.
_Seconds = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of a connection: the name of a protocol in `loadgen.protocols`, and its options as plain values.

    "tcp" carries nothing. With any other a connection that is held makes one exchange as soon as it is open, or one
    at every heartbeat; and in churn as many as `Churn.exchanges` before it is closed.
    """

    protocol: str = "tcp"
    #: A value that is not to be written is a `loadgen.secret.Secret`.
    options: Mapping[str, Any] = field(default_factory=dict)

    def filled(self) -> Mapping[str, Any]:
        """Return the options as they are sent, for a process that sends them: never to be printed or written."""
        return cast(Mapping[str, Any], revealed(self.options))

    def __bool__(self) -> bool:
        """True when anything is sent."""
        return self.protocol != "tcp"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS on every connection, before anything else is sent.

    server_name: for SNI and the check of the certificate; "": the target's host name, else its address.
    alpn: protocols to offer. ca: certificates to trust, PEM; "": the system's. verify: whether the certificate has to
    be good. resume: whether to offer the session of an earlier connection to the same target.
    """

    server_name: str = ""
    alpn: tuple[str, ...] = ()
    ca: str = ""
    verify: bool = True
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Churn:
    """Connections that are closed as soon as they have done their work, and replaced, for a duration.

    exchanges: how many each of them makes before it is closed, where the traffic has any.
    arrivals: how many are due in an open loop; None: a closed loop, where the next begins when one is over.
    """

    duration_s: float
    exchanges: int = 1
    arrivals: int | None = None


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """The phases of a load, in seconds: a pause, the rise to it, the part that is measured, and the fall from it.

    In churn the rate rises, stays and falls; held connections are opened, held and closed.
    Source: RFC 9411 4.3.4 has these phases under the same names, and a fifth, in which results are collected.
    """

    init_s: _Seconds
    ramp_s: _Seconds
    sustain_s: _Seconds
    ramp_down_s: _Seconds


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When held connections make an exchange: a share of them (0 to 1), each once every so often."""

    every_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Nat:
    """The translation that the gateway of a lab makes, see `loadgen.lab.nat`.

    addresses: outside addresses, those of a family in order and without gaps. ports: None: those that the kernel
    takes. timeouts: seconds by setting of the gateway, {"nf_conntrack_tcp_timeout_close": 1}.
    """

    kind: NatKind
    addresses: tuple[str, ...]
    ports: PortRange | None = None
    flags: tuple[NatFlag, ...] = ()
    timeouts: Mapping[str, int] = field(default_factory=dict)

    def pool(self, family: int) -> tuple[str, ...]:
        """Return the addresses of one family."""
        return tuple(address for address in self.addresses if family_of(address) == family)


class Ceiling(Struct, frozen=True, omit_defaults=True):
    """The churn that TIME-WAIT allows; made by `loadgen.capacity.time_wait`."""

    per_s: Annotated[float, Meta(ge=0)] | None
    """connections per second that can go on for ever, all spaces of ports together; null: no limit"""
    established: Annotated[int, Meta(ge=0)] | None
    """the most in the duration of the plan, first use of every port included; null: no limit"""
    because: str
    """the same in words"""
    rest_s: Annotated[float, Meta(ge=0)] = 0.0
    """seconds for which a port rests after its connection; absent: it does not, or TIME-WAIT has no room for all"""


@dataclass(frozen=True, slots=True)
class Headroom:
    """One line of the plan: what a resource is asked for, and what this host has of it."""

    resource: str
    needed: int
    available: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The limit that a plan meets first, or would; made by `loadgen.capacity`.

    limit: as a run's verdict names it. resource: the line of the plan. at: connections that fit.
    at_s: when the next one is due; None where there is no schedule, or the limit is not met.
    possible: whether what is asked for stays below it. slack: how many more than `at` a run may find.
    """

    limit: str
    resource: str
    at: int
    at_s: float | None
    possible: bool
    slack: int = 0


# A plan that is read back may be anyone's. More than this no kernel has, and what is computed of it takes for ever.
_Connections = Annotated[int, Meta(ge=0, le=1 << 40)]
_Processes = Annotated[int, Meta(ge=0, le=1 << 16)]


@dataclass(frozen=True)
class Plan:
    """Everything a worker must know, and what the arithmetic said; made by `loadgen.capacity`.

    ports: what the strategy may use, partitioned between workers where it allows that.
    skipped_ports: ports inside `ports` that cannot be used (reserved, or held by a listener), sorted.
    connections: how many to open; in churn, how many may be open at a time.
    capacity_per_pair: the most connections of one (source, target), all workers together.
    in_flight_max: attempts one worker may have unanswered at once.
    sinks: sink processes, 0 when loadgen listens at no target itself.
    routes: where connect() alone chooses, the source address it takes for each target; else empty.
    descriptor_limit: what the workers' limit of open files is lowered to; None: left as it is.
    freebind: whether sources may be on no interface of this host (IP_FREEBIND), as long as they are routed to it.
    own_ports: whether the scenario names `ports`; else they are those of ip_local_port_range. in_lab: in a namespace of
    its own. port_blocking: whether ports of ip_local_port_range may be bound by number, in a lab or by permission.
    heartbeat: of connections that are held; None: they make one exchange, if the traffic has any.
    churn, ceiling: of a plan that opens and closes all the time; else None.
    profile: the phases that the scenario names; plan.json has it only where it names some. What follows from them
    for the schedule is in stages, hold_s and churn.
    prediction: the limit that is met first; None in a run directory of a version that made none.
    guests: connections that other hosts of a run hold at its sinks at a time, at most; plan.json has it only where
    there are any. A plan that opens none itself has no workers and no sources.
    arrival_carry: area under the rate that is there at the start, in arrivals, 0 <= arrival_carry < 1. More than 0
    where the plan is a share of a run on several hosts, see `arrivals.interleaved`; plan.json has it only then.
    agents: of a run of several agents, the plan of each; the rest is then their sum, see `loadgen.results.merging`.
    nat: the translation of a lab's gateway; plan.json has it only where there is one.
    """

    name: str
    connections: _Connections
    sources: tuple[str, ...]
    targets: tuple[Target, ...]
    strategy: Strategy
    ports: PortRange
    skipped_ports: tuple[int, ...]
    capacity_per_pair: _Connections
    stages: tuple[Stage, ...]
    hold_s: float
    close: CloseMode
    timeout_s: float
    in_flight_max: _Connections
    interval_s: float
    workers: _Processes
    sinks: _Processes
    routes: tuple[str, ...] = ()
    descriptor_limit: int | None = None
    freebind: bool = False
    own_ports: bool = False
    in_lab: bool = False
    port_blocking: bool = False
    engine: Engine = Engine.EPOLL
    transport: Transport = Transport.TCP
    traffic: Traffic = Traffic()
    tls: Tls | None = None
    heartbeat: Heartbeat | None = None
    churn: Churn | None = None
    ceiling: Ceiling | None = None
    profile: LoadProfile | None = None
    expect: tuple[str, ...] = ()
    headroom: tuple[Headroom, ...] = ()
    notes: tuple[str, ...] = ()
    prediction: Prediction | None = None
    arrival_carry: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    guests: _Connections = 0
    agents: tuple[AgentPlan, ...] = ()
    nat: Nat | None = None

    # Computed once: 65,536 sources take some 15 ms, and a worker asks nine times before its first connect().
    @cached_property
    def pairs(self) -> tuple[tuple[str, Endpoint], ...]:
        """Every (source, target) of one family, target by target: the spaces of four-tuples to fill.

        With agents those of the first agent, then those of the next.
        """
        if self.agents:
            return tuple(pair for agent in self.agents for pair in agent.plan.pairs)
        return pairs_of(self.sources, self.targets, self.routes)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields alone: a worker computes the pairs as soon as it would read them from a pickle."""
        return {name: value for name, value in self.__dict__.items() if name != "pairs"}

    @property
    def weighted(self) -> bool:
        """True when the targets have different weights."""
        return len({target.weight for target in self.targets}) > 1

    @property
    def weights(self) -> tuple[int, ...]:
        """The weight of each pair, which is that of its target; see `Target.weight`."""
        weight_of = {target.endpoint: target.weight for target in self.targets}
        return tuple(weight_of[endpoint] for _, endpoint in self.pairs)

    @property
    def only_listens(self) -> bool:
        """True of a share whose sinks serve other hosts, and which opens no connection."""
        return bool(self.guests) and not self.workers

    @property
    def scheduled(self) -> int | None:
        """Attempts planned; None in a closed loop, which has no schedule."""
        return self.churn.arrivals if self.churn else self.connections

    @property
    def owners(self) -> tuple[tuple[str, int], ...]:
        """For each pair the name of its agent, "" where there is none, and the most connections of that pair."""
        if self.agents:
            return tuple((agent.name, most) for agent in self.agents for _, most in agent.plan.owners)
        return (("", self.capacity_per_pair),) * len(self.pairs)

    @property
    def places(self) -> tuple[str, ...]:
        """For each pair its source, and with several agents whose it is: "a: 10.0.0.1"."""
        owners = zip(self.pairs, self.owners, strict=True)
        return tuple(f"{agent}: {source}" if agent else source for (source, _), (agent, _) in owners)

    @property
    def capacity(self) -> int:
        """The most connections of all: per four-tuple space, or per source where ports are not shared."""
        if self.agents:
            return sum(agent.plan.capacity for agent in self.agents)
        return self.capacity_per_pair * self.spaces

    @property
    def shares_ports(self) -> bool:
        """True when one source port can carry connections to several targets at once."""
        return self.strategy.over(self.transport).shares_ports

    @property
    def spaces(self) -> int:
        """How many times the ports can be used, see `strategies.PortScope`."""
        return self.strategy.over(self.transport).scope.spaces(self.pairs)

    @property
    def sharded_spaces(self) -> int:
        """The spaces that the workers divide evenly between them, see `sharded_spaces_of`."""
        return sharded_spaces_of(self.strategy, self.pairs, self.transport)


@dataclass(frozen=True)
class AgentPlan:
    """The plan of one agent's share. name: of the agent."""

    name: str
    plan: Plan


def pairs_of(
    sources: Sequence[str], targets: Sequence[Target], routes: Sequence[str] = ()
) -> tuple[tuple[str, Endpoint], ...]:
    """See `Plan.pairs`; `routes` as there."""
    if routes:
        return tuple((source, target.endpoint) for source, target in zip(routes, targets, strict=True))
    return tuple(
        (source, target.endpoint)
        for target in targets
        for family in (target.endpoint.family,)
        for source in sources
        if family_of(source) == family
    )


def sharded_spaces_of(
    strategy: Strategy, pairs: Sequence[tuple[str, Endpoint]], transport: Transport = Transport.TCP
) -> int:
    """The spaces of ports where workers have slices of them, the pairs where they have not."""
    return strategy.over(transport).scope.spaces(pairs) if strategy.row.slices_ports else len(pairs)


@dataclass(frozen=True, slots=True)
class Shard:
    """One worker's part of a plan. All shards of a plan together are exactly the plan."""

    plan: Plan
    index: int

    @property
    def count(self) -> int:
        """How many shards the plan was cut into."""
        return self.plan.workers


def canonical_address(text: str) -> str:
    """A literal IP address in its one usual spelling, IPv4-mapped IPv6 unmapped.

    Raises: ValueError for anything that is not strictly an address ("010.0.0.1" is not: RFC 6943 3.1.1).
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id and not address.scope_id.replace("-", "").replace(".", "").isalnum():
            raise ValueError(f"{text!r} has a zone that is no interface name")
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
    return str(address)
