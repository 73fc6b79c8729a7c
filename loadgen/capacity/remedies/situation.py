"""The situation that remedies are computed for: a plan, its host, a shortage; and the same plan after a change.

A remedy is first a `PlanChange`. `Situation.after` makes the plan that loadgen would make of the changed scenario, by
the arithmetic of `loadgen.capacity.ports` and `loadgen.capacity.time_wait`, or says that loadgen would refuse it. So a
figure is what `loadgen plan --set ...` says, and a change that would be refused is no remedy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice
from typing import Final

from msgspec.structs import replace as replace_fields

from loadgen.capacity import ports
from loadgen.capacity.processes import RESERVED_DESCRIPTORS, descriptors_per_worker, workers_needed
from loadgen.capacity.remedies.remedy import Remedy
from loadgen.capacity.time_wait import ceiling
from loadgen.errors import LoadgenError
from loadgen.kernel.host import HostFacts
from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Strategy, Target, Transport, family_of
from loadgen.scenario.fields import ADDRESSES_MAX, TARGETS_MAX
from loadgen.strategies import TABLE

PORT_RANGE: Final = "net.ipv4.ip_local_port_range"


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A change of a plan; a field that is None or empty changes nothing.

    sources, targets: beside those of the plan. ports: of the scenario. port_range: ip_local_port_range.
    """

    strategy: Strategy | None = None
    ports: PortRange | None = None
    port_range: PortRange | None = None
    close: CloseMode | None = None
    sources: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, object]:
        """Keys of the scenario and their values, but for the addresses of sources and targets."""
        keys: dict[str, object] = {}
        if self.strategy:
            keys["sources.strategy"] = self.strategy.value
        if self.ports:
            keys["sources.ports"] = str(self.ports)
        if self.close:
            keys["close"] = self.close.value
        return keys

    @property
    def every_sysctl(self) -> dict[str, str]:
        """The sysctls, ip_local_port_range among them."""
        widened = self.port_range
        return {**self.sysctls, **({PORT_RANGE: f"{widened.low} {widened.high}"} if widened else {})}


class PortHolderKind(Enum):
    """Kinds of sockets that have a port that a service wants to listen on."""

    UNKNOWN = "unknown"
    LISTENER = "a listener"
    CONNECTION = "an outgoing connection"
    TIME_WAIT = "a connection in TIME-WAIT"


@dataclass(frozen=True, slots=True)
class Situation:
    """A plan, its host, and the shortage.

    short: connections that were asked for and cannot open, or did not.
    resource, note: the line of the plan that is short, and what it says beside its numbers; "": a run met the limit.
    errnos: names of all errors that a run saw. target: the target that failed, in words.
    time_wait: sockets in TIME-WAIT while connections were opened, or of a plan, before the run.
    listening: ports at which another program could not listen. close_wait: connections that the other side has closed
    and the program has not. holder: what has the first port of `listening`.
    """

    plan: Plan
    facts: HostFacts
    short: int
    resource: str = ""
    note: str = ""
    errnos: frozenset[str] = frozenset()
    target: str = ""
    time_wait: int = 0
    listening: tuple[int, ...] = ()
    close_wait: int = 0
    holder: PortHolderKind = PortHolderKind.UNKNOWN

    def sysctl(self, name: str) -> str:
        """Return a setting of the run's namespace, "" where it is unknown."""
        return self.facts.sysctls.get(name, "")

    @property
    def asked_ports(self) -> PortRange | None:
        """The `ports` of the scenario; None: it leaves them to ip_local_port_range."""
        plan = self.plan
        return plan.ports if plan.own_ports or plan.ports != self.facts.port_range else None

    @property
    def port_blocking(self) -> bool:
        """True if ports of ip_local_port_range may be bound by number; a plan that does so already had permission."""
        automatic, own = self.facts.port_range, self.plan.ports
        inside = own.low <= automatic.high and automatic.low <= own.high
        return self.plan.port_blocking or (self.plan.strategy.row.names_ports and inside)

    @property
    def outside(self) -> list[PortRange]:
        """The ports beside ip_local_port_range that any user may bind, as one or two ranges, the wider first."""
        automatic, low = self.facts.port_range, widest_range(self.facts.unprivileged_port_start).low
        spans = [(low, automatic.low - 1), (automatic.high + 1, 65_535)]
        return sorted((PortRange(*span) for span in spans if span[0] <= span[1]), key=len, reverse=True)

    def after(self, change: PlanChange) -> Plan | None:
        """Return the plan of the changed scenario; None where loadgen would refuse it."""
        plan = self.plan
        facts = replace(
            self.facts,
            port_range=change.port_range or self.facts.port_range,
            sysctls={**self.facts.sysctls, **change.sysctls},
        )
        strategy = change.strategy or plan.strategy
        sources, targets = (*plan.sources, *change.sources), (*plan.targets, *change.targets)
        if len(sources) > ADDRESSES_MAX or len(targets) > TARGETS_MAX or not self.offers(strategy):
            return None
        binds = strategy.row.binds_address
        if change.sources and not binds:  # they are those of the routes
            return None
        if change.strategy and plan.routes and binds and _several_routes(plan.routes):
            return None  # it would bind each address for each target, and some of these have no route
        try:
            used = ports.ports_of(change.ports or self.asked_ports, strategy, facts, port_blocking=self.port_blocking)
        except LoadgenError:
            return None
        routes = () if binds else (*plan.routes, *(plan.routes[:1] * len(change.targets)))
        supply = ports.supply_of(strategy, plan.transport, used, sources, targets, routes, facts)
        changed = replace(
            plan,
            strategy=strategy,
            ports=used,
            own_ports=bool(change.ports or self.asked_ports),
            close=change.close or plan.close,
            sources=sources,
            targets=targets,
            routes=routes,
            skipped_ports=supply.skipped,
            capacity_per_pair=supply.usable,
        )
        if strategy.row.slices_ports and self._workers_of(changed) > max(supply.usable, 1):
            return None
        return replace(changed, ceiling=ceiling(changed, changed.churn, facts.sysctls)) if changed.churn else changed

    def _workers_of(self, changed: Plan) -> int:
        """Return the least workers that a plan is known to have: each takes a slice of the ports, at least one."""
        plan = self.plan
        if not plan.strategy.row.slices_ports:  # else they fit into the ports that the plan has already
            return plan.workers
        limit = plan.descriptor_limit or self.facts.descriptors
        each = descriptors_per_worker(plan.engine, limit) if limit > RESERVED_DESCRIPTORS else 0
        return workers_needed(plan.connections, changed.sharded_spaces, each) if each > 0 else 1

    def offers(self, strategy: Strategy) -> bool:
        """Return True if the transport offers a strategy and this kernel has its options."""
        offered = self.plan.transport is Transport.TCP or strategy.row.udp is not None
        return offered and ports.lacking_option(strategy, self.facts) is None

    def available(self) -> Iterator[Strategy]:
        """Yield the strategies that are offered here, in the order of the table."""
        return (name for name in TABLE if self.offers(name))

    def change_to(self, strategy: Strategy) -> PlanChange | None:
        """Return the change to another strategy, with `ports` that it can keep to; None where there are none."""
        for choice in (None, self.facts.port_range, *(self.outside if strategy.row.names_ports else ())):
            change = PlanChange(strategy=strategy, ports=choice)
            if self.after(change):
                return change
        return None


RemedyMaker = Callable[[Situation], Iterator[Remedy]]


def use(change: PlanChange) -> str:
    """Return the change of strategy in words, for the scenario and for the owner of a program."""
    assert change.strategy
    how = f" with `ports: {change.ports}`" if change.ports else ""
    program = change.strategy.row.program
    return f"use {change.strategy}{how}" + (f" (a program: {program})" if program else "")


def in_program(change: PlanChange) -> str:
    """Return the change of strategy for the owner of a program alone, in the imperative."""
    assert change.strategy
    return change.strategy.row.program or f"use {change.strategy}"


def widest_range(unprivileged_port_start: int) -> PortRange:
    """Return the widest range that ip_local_port_range can be set to, well-known ports left out."""
    return PortRange(max(unprivileged_port_start, 1024), 65_535)


def _several_routes(routes: Sequence[str]) -> bool:
    """Return True if connect() takes different addresses of one family for different targets."""
    different = set(routes)
    return len({family_of(source) for source in different}) < len(different)


# --- Further addresses ----------------------------------------------------------------------------

#: The reader fills in the address and the interface.
ADD_ADDRESS: Final = "ip address add ADDRESS/{bits} dev INTERFACE"
#: With freebind a route is enough.
ROUTE_ADDRESS: Final = "ip route add local ADDRESS/{bits} dev lo"
ADDRESS_BITS: Final = {4: 32, 6: 128}
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
#: Networks whose addresses a scenario may use without asking: loopback, RFC 2544's for benchmarks, and in a lab those
#: that a cable has.
_FREE: Final = (_LOOPBACK, ipaddress.ip_network("198.18.0.0/15"))
_FREE_IN_LAB: Final = (ipaddress.ip_network("2001:2::/48"), ipaddress.ip_network("fd00::/8"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def last_source(plan: Plan) -> Address:
    """Return the highest source address, of the family that most targets have."""
    families = [target.endpoint.family for target in plan.targets]
    sources = [source for source in plan.sources if family_of(source) in families]
    family = max((family_of(source) for source in sources or plan.sources), key=families.count)
    return max(ipaddress.ip_address(source) for source in plan.sources if family_of(source) == family)


def following(last: Address, plan: Plan, count: int) -> tuple[str, ...]:
    """Return addresses after one, none of them a target's; fewer where the address space ends."""
    taken = {target.endpoint.address for target in plan.targets}
    number, end, found = int(last), (1 << ADDRESS_BITS[last.version]) - 1, list[str]()
    while len(found) < count and number < end:
        number += 1
        address = str(type(last)(number))
        if address not in taken:
            found.append(address)
    return tuple(found)


def may_take(plan: Plan, last: Address, addresses: Sequence[str]) -> bool:
    """Return True if the addresses after one are free to use: they cannot be those of another host."""
    networks = (*_FREE, *(_FREE_IN_LAB if plan.in_lab else ()))
    network = next((network for network in networks if last in network), None)
    return network is not None and all(ipaddress.ip_address(address) in network for address in addresses)


def are_loopback(addresses: Sequence[str]) -> bool:
    """Return True if these exist without set-up: 127.0.0.0/8."""
    return all(ipaddress.ip_address(address) in _LOOPBACK for address in addresses)


def in_ranges(addresses: Sequence[str]) -> list[str]:
    """Return addresses as `sources.addresses` takes them, neighbours as ranges."""
    ranges: list[list[Address]] = []
    for address in sorted(map(ipaddress.ip_address, addresses), key=lambda one: (one.version, int(one))):
        if ranges and ranges[-1][1].version == address.version and int(ranges[-1][1]) + 1 == int(address):
            ranges[-1][1] = address
        else:
            ranges.append([address, address])
    return [str(low) if low == high else f"{low}-{high}" for low, high in ranges]


def further_targets(plan: Plan, count: int) -> tuple[tuple[Target, ...], dict[str, object]]:
    """Return further targets at other ports of the first one's address, and the setting that adds them.

    The setting is empty where loadgen does not listen there itself, or where a plan does not show how its scenario
    lists several targets; then which ones to add is for the reader to say.
    """
    first, used = plan.targets[0], {target.endpoint.port for target in plan.targets}
    port = first.endpoint.port
    if len(plan.targets) == 1 and first.sink and not first.host and port + count <= 65_535:
        added = tuple(_at_port(first, port + number) for number in range(1, count + 1))
        return added, {"targets.0.address": f"{first.endpoint}-{port + count}"}
    free = (port for port in range(1, 65_536) if port not in used)
    return tuple(replace_fields(_at_port(first, port), sink=False) for port in islice(free, count)), {}


def _at_port(target: Target, port: int) -> Target:
    return replace_fields(target, endpoint=Endpoint(target.endpoint.address, port))
