"""Source ports of a plan: the strategy that this kernel supports, the range, and its usable ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadgen import format as fmt
from loadgen.capacity.time_wait import rest_s
from loadgen.errors import HostError, UsageError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import BoundPorts, HostLimits
from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Strategy, Target, Transport, pairs_of
from loadgen.strategies import TABLE, PortScope
from loadgen.strategies.options import NO_PORT, PORT_RANGE, SocketOption

#: A source address and a target; None where a port serves one target only.
_Space = tuple[str, Endpoint | None]
#: A retry gets a port that leaves TIME-WAIT within this time (loadgen.worker.backoff).
_SOON_S = 1.0


def strategy_of(asked: Strategy, facts: HostFacts, notes: list[str]) -> Strategy:
    """Return the strategy, or the nearest that this kernel supports. Raises: HostError where it supports none."""
    row = asked.row
    lacking = lacking_option(asked, facts)
    if lacking is None:
        return asked
    if row.instead is None:
        sharing = (name for name, row in TABLE.items() if row.tcp.shares_ports and not row.one_user)
        others = " or ".join(f"`{name}`" for name in sharing if lacking_option(name, facts) is None)
        raise HostError(f"Linux {facts.kernel} has no {lacking.name} ({lacking.since}); use `strategy:` {others}")
    slow = ", which slows down past half of the range" if row.instead.row.tcp.cliff_at else ""
    notes.append(f"Linux {facts.kernel} has no {lacking.name} ({lacking.since}): using {row.instead}{slow}")
    return strategy_of(row.instead, facts, notes)


def lacking_option(strategy: Strategy, facts: HostFacts) -> SocketOption | None:
    """Return an option of the strategy that this kernel lacks, None where it has all of them."""
    supported = {PORT_RANGE: facts.port_range_option, NO_PORT: facts.late_bind}
    return next((option for option in reversed(strategy.row.tcp.options) if not supported.get(option, True)), None)


def ports_of(asked: PortRange | None, strategy: Strategy, facts: HostFacts, *, port_blocking: bool) -> PortRange:
    """Return the range to take ports from.

    asked: by the scenario. port_blocking: whether ports of ip_local_port_range may be bound by number.

    Raises: UsageError where the strategy cannot keep to what is asked; HostError where this host does not allow it.
    """
    automatic = facts.port_range
    ports = asked or automatic
    if not strategy.row.slices_ports:
        if ports != automatic:
            raise UsageError(
                f"strategy {strategy} takes ports from ip_local_port_range ({automatic}) and cannot keep to {ports}; "
                "leave `ports` out, or use late-range or explicit"
            )
    elif strategy.row.narrows_range:
        if ports.low not in automatic or ports.high not in automatic:
            raise HostError(
                f"ports {ports} reach outside ip_local_port_range ({automatic}), where the kernel silently ignores "
                "IP_LOCAL_PORT_RANGE; keep inside, widen the sysctl (in a lab: lab.sysctls), or use explicit"
            )
    else:
        if ports.low < facts.unprivileged_port_start and not facts.privileged:
            raise HostError(
                f"ports {ports} begin below ip_unprivileged_port_start ({facts.unprivileged_port_start}); "
                "begin there, or run as root"
            )
        overlap = ports.low <= automatic.high and automatic.low <= ports.high
        if overlap and not port_blocking:
            raise HostError(
                f"strategy {strategy} would bind ports inside ip_local_port_range ({automatic}), and a bound port is "
                "closed to every other process's automatic choice on all addresses of this host; choose `ports` "
                "outside that range, run in a lab, or give --allow-port-blocking"
            )
    return ports


def skipped_of(
    ports: PortRange, strategy: Strategy, transport: Transport, targets: Sequence[Target], facts: HostFacts
) -> tuple[int, ...]:
    """Return the ports of the range that no connection can get, or should not.

    A listener's port is closed to automatic choice on all addresses, and to bind() on its own. In UDP every socket
    listens, so their ports are left to them: where both had SO_REUSEADDR, bind() would succeed and one of the two
    get the other's datagrams. What ip_local_reserved_ports holds back is held back from automatic choice only: that
    is its purpose.
    """
    others = facts.datagram_ports if transport is Transport.UDP else facts.listeners
    closed = set(others) | {target.endpoint.port for target in targets if target.sink}
    if not strategy.row.names_ports:
        closed |= set(facts.reserved_ports)
    return tuple(sorted(port for port in closed if port in ports))


def lost_to_parity(ports: PortRange, strategy: Strategy, transport: Transport) -> int:
    """Return the number of ports of a range that the kernel's own search may never reach: 1 of an odd range, else 0.

    The search goes in steps of two and rounds the length down to even (__inet_hash_connect() and
    inet_csk_find_open_port()). In UDP it begins anywhere and misses none (udp_lib_get_port()).
    """
    searches = strategy.over(transport).cliff_at is not None
    return len(ports) % 2 if searches and len(ports) > 1 else 0


#: Taken ports that a search may walk through without being long: 30 us, as each takes 0.06 us (measured on Linux 6.18).
_SEARCH_MIN: Final = 500


@dataclass(frozen=True, slots=True)
class PortSearch:
    """Where the kernel's own search for a source port gets long: it walks through taken ports for each connection.

    of_space: connections of one space (`strategies.PortScope`) from which on it does; in_all: of the whole plan, when
    its spaces fill evenly. space: in words.
    """

    of_space: int
    in_all: int
    space: str

    @property
    def sentence(self) -> str:
        """The occupancy in words."""
        return f"the kernel's search for a source port is long from {self.of_space:,} connections {self.space} on"


@dataclass(frozen=True, slots=True)
class PortSupply:
    """The source ports that a strategy can use, and the number of times it can use each.

    skipped: ports of the range that no connection can get. usable: ports of each space, see
    `strategies.PortScope`. pairs: (source, target) of one family.
    """

    scope: PortScope
    skipped: tuple[int, ...]
    usable: int
    pairs: tuple[tuple[str, Endpoint], ...]

    @property
    def spaces(self) -> int:
        """Number of times that each port can be used at once."""
        return self.scope.spaces(self.pairs)

    @property
    def capacity(self) -> int:
        """The most connections that can be open at once."""
        return self.usable * self.spaces

    def search(self, strategy: Strategy, transport: Transport) -> PortSearch | None:
        """Return where the search of a strategy gets long; None where it never does."""
        begins_at = strategy.over(transport).cliff_at
        if begins_at is None:
            return None
        of_space = int(self.usable * begins_at)
        if of_space < _SEARCH_MIN:
            return None
        return PortSearch(of_space, of_space * self.spaces, _SPACE_IN_WORDS[self.scope])

    @property
    def counted(self) -> str:
        """The capacity as a product, in words."""
        match self.scope:
            case PortScope.PAIR:
                return f"{self.usable:,} for each of {fmt.many(self.spaces, 'pair')} of source and target"
            case PortScope.SOURCE:
                return f"{self.usable:,} for each of {fmt.many(self.spaces, 'source')}, all targets together"
            case PortScope.HOST:
                return f"{self.usable:,} for all sources and targets together"


_SPACE_IN_WORDS: Final = {
    PortScope.PAIR: "of a source and target",
    PortScope.SOURCE: "of a source",
    PortScope.HOST: "in all",
}


def supply_of(
    strategy: Strategy,
    transport: Transport,
    ports: PortRange,
    sources: Sequence[str],
    targets: Sequence[Target],
    routes: Sequence[str],
    facts: HostFacts,
) -> PortSupply:
    """Return what a strategy can use of a range; `routes` as in `Plan`. Every capacity is this arithmetic."""
    skipped = skipped_of(ports, strategy, transport, targets, facts)
    usable = max(len(ports) - len(skipped) - lost_to_parity(ports, strategy, transport), 0)
    return PortSupply(strategy.over(transport).scope, skipped, usable, pairs_of(sources, targets, routes))


@dataclass(frozen=True, slots=True)
class Held:
    """Four-tuples of a plan that other sockets of the namespace hold.

    taken: all of them. resting: of these in TIME-WAIT alone. bound: of these by sockets that are bound and never
    connected, which close their port to automatic choice on every address.
    """

    taken: int
    resting: int
    bound: int

    @property
    def sentence(self) -> str:
        """The numbers in words."""
        parts = [f"{self.taken:,} are taken by other sockets of this host, {self.resting:,} of these in TIME-WAIT"]
        if self.bound:
            parts.append(f"{self.bound:,} bound and not connected (`ss` does not show these)")
        return ", ".join(parts)


def held_by_others(plan: Plan, limits: HostLimits, sysctls: dict[str, str]) -> Held:
    """Return how many of the plan's four-tuples other sockets of this namespace hold.

    Where a port serves one target only, a socket that holds it on the source address holds it for all targets.
    TIME-WAIT is left out where the strategy may take the port over at once, or within a second.
    """
    resting_s, _ = rest_s(replace(plan, close=CloseMode.FIN), sysctls)
    pairs = set(plan.pairs)
    sources = {source for source, _ in pairs}
    usable = set(range(plan.ports.low, plan.ports.high + 1)).difference(plan.skipped_ports)
    open_ports: dict[_Space, set[int]] = {}
    resting: dict[_Space, set[int]] = {}
    for held in limits.in_use:
        space: _Space = (held.source, held.target if plan.shares_ports else None)
        if held.source not in sources or (plan.shares_ports and (held.source, held.target) not in pairs):
            continue
        open_ports.setdefault(space, set()).update(usable.intersection(held.ports))
        if resting_s > _SOON_S:
            resting.setdefault(space, set()).update(usable.intersection(held.resting))
    bound: dict[_Space, set[int]] = {}
    for source, target in pairs if limits.bound else ():
        closed = usable & _closed_by(limits.bound, source, plan.strategy)
        if closed:
            bound[source, target if plan.shares_ports else None] = closed

    def count(*kinds: dict[_Space, set[int]]) -> int:
        spaces = {space for kind in kinds for space in kind}
        return sum(len(set().union(*(kind.get(space, ()) for kind in kinds))) for space in spaces)

    taken, not_resting = count(open_ports, resting, bound), count(open_ports, bound)
    return Held(taken, taken - not_resting, not_resting - count(open_ports))


def _closed_by(bound: Sequence[BoundPorts], source: str, strategy: Strategy) -> set[int]:
    """Return the ports that bound, unconnected sockets close to connections from an address.

    The kernel's choice in connect() leaves out a port that any socket has bound, whatever the address; bind() finds
    it in use on the same address, or where the other is bound to all of them. (Two sockets with SO_REUSEADDR could
    share it; whether the other has it, the kernel does not tell.)
    """
    by_bind = strategy.row.binds_port
    everywhere = ("::" if ":" in source else "0.0.0.0", source)
    return {port for one in bound if not by_bind or one.address in everywhere for port in one.ports}
