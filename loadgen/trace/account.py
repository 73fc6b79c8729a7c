"""The account of a way on this host: the ports it has, the error it ends with, its TIME-WAIT, and what helps.

The same arithmetic as a plan's (`loadgen.capacity`), for the sockets of another program. A program that names its
ports does not tell how many it would name: then the capacity is unknown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadgen.capacity import ports, time_wait
from loadgen.capacity.limits import LIMIT_OF_OUTCOME, LIMITS
from loadgen.capacity.remedies import Remedy, Situation
from loadgen.capacity.remedies.situation import PlanChange, use
from loadgen.capacity.time_wait import rest_of
from loadgen.errors import HostError
from loadgen.kernel import host, missing, missing_help
from loadgen.kernel.host import HostFacts
from loadgen.model import Churn, CloseMode, Endpoint, Plan, PortRange, Target
from loadgen.strategies import PortScope, Strategy, Transport, TransportRules
from loadgen.trace.ways import FAST_OPEN, Way

#: A churn of no particular length: only its ceiling per second is asked for.
_CHURN: Final = Churn(duration_s=60.0)
#: The limit of a program whose ports rest: it ends in the same error as one that holds them all.
_RESTING: Final = "time-wait"
#: The limit of a program whose source address cannot be used, and the errno that says so, as it does of ports.
_SOURCE, _NO_ADDRESS = "source-address", "EADDRNOTAVAIL"
#: Strategies to change to from one that names its ports and shares none of them.
_SHARING: Final = (Strategy.EXPLICIT, Strategy.LATE)
_ANY: Final = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True)
class PortAccount:
    """The ports of a way.

    ports: the range they come from; None: the program names them. capacity: connections that one space has ports
    for; None: as many as ports that the program names. scope: of such a space. search_long_from: connections in a
    space from which on the kernel searches long for a port; None: never. because: in words.
    """

    ports: PortRange | None
    capacity: int | None
    scope: PortScope
    search_long_from: int | None
    because: str


@dataclass(frozen=True, slots=True)
class WayAccount:
    """Everything that is known of a way on this host.

    ports, ends_with, limit: None and "" where the strategy is not known, or none of the table.
    rest_s, rest_because: how long a port rests after a connection that the program closed first; None: not TCP.
    churn_per_s: connections per second that can go on for ever in one space, if so; None: no limit, or not known.
    descriptors: the process's soft limit of open files; 0: not known.
    unusable: why the source address cannot be used on this host, so that EADDRNOTAVAIL is not about ports; "": it can.
    """

    way: Way
    ports: PortAccount | None = None
    ends_with: str = ""
    limit: str = ""
    rest_s: float | None = None
    rest_because: str = ""
    churn_per_s: float | None = None
    remedies: tuple[Remedy, ...] = ()
    descriptors: int = 0
    unusable: str = ""


def of_ways(ways: Sequence[Way], descriptors: dict[int, int]) -> list[WayAccount]:
    """Return the account of each way in the network namespace of this process.

    descriptors: soft limits of open files, by pid. Raises: HostError if the kernel does not report a fact.
    """
    facts: dict[tuple[Transport, Endpoint | None], HostFacts] = {}
    found = []
    for way in ways:
        target = Endpoint(way.target, way.target_port) if way.target else None
        key = (way.transport, target)
        if key not in facts:
            facts[key] = _facts(*key)
        account = of_way(way, facts[key], target, descriptors.get(way.pid, 0))
        found.append(_with_source(account, next(iter(facts[key].default_sources), "")))
    return found


def _with_source(account: WayAccount, default_source: str) -> WayAccount:
    """Return the account of a way whose EADDRNOTAVAIL comes from its address and not from its ports, if that is so.

    default_source: of connect() alone to the target; "": it has none.
    """
    way = account.way
    refused = sum(way.failed.get((name, _NO_ADDRESS), 0) for name in ("bind", "connect"))
    if not refused or refused < way.count:  # what connects at times can use its address
        return account
    address = way.source if way.source not in _ANY else default_source
    if not address and way.target and ipaddress.ip_address(way.target.partition("%")[0]).is_loopback:
        address = way.target  # connect() takes the very same as its source
    if not address:
        if not way.target:
            return account
        return replace(account, unusable=f"no address of this host can reach {way.target}", limit=_SOURCE, remedies=())
    try:
        reasons = missing.reasons((address,), freebind="IP_FREEBIND" in way.beside)
    except OSError:
        return account
    if not reasons:
        return account
    remedies = tuple(Remedy(one.program or one.sentence) for one in missing_help.helps(reasons[0]))
    return replace(account, unusable=missing_help.because(reasons[0]), limit=_SOURCE, remedies=remedies)


def _facts(transport: Transport, target: Endpoint | None) -> HostFacts:
    try:
        return host.read((), [target] if target else [], transport)
    except HostError:
        if target is None:
            raise
        return host.read((), [], transport)  # the target has a zone that is no interface of this namespace


def of_way(way: Way, facts: HostFacts, target: Endpoint | None, descriptors: int = 0) -> WayAccount:
    """Return the account of a way, from the facts of its namespace.

    facts: with the default source of the target, where there is one. target: of one of its sockets; None: not known.
    """
    if way.strategy is None or (way.transport is Transport.UDP and way.strategy.row.udp is None):
        return WayAccount(way, descriptors=descriptors)
    rules = way.strategy.over(way.transport)
    source = way.source if way.source not in _ANY else next(iter(facts.default_sources), "")
    account = _ports(way, way.strategy, rules, facts)
    resting_s, because = (None, "")
    if way.transport is Transport.TCP:
        resting_s, because = rest_of(
            way.strategy.row.time_wait, facts.sysctls, loopback=lambda: _is_loopback(source, way)
        )
    limit = LIMIT_OF_OUTCOME[rules.outcome]
    if resting_s and way.churns and way.close in (None, CloseMode.FIN):
        limit = _RESTING
    per_s = round(account.capacity / resting_s, 3) if account.capacity is not None and resting_s else None
    return WayAccount(
        way,
        account,
        _ends_with(way, rules),
        limit,
        resting_s,
        because,
        per_s,
        tuple(_remedies(way, way.strategy, limit, account, facts, source, target)),
        descriptors,
    )


def _ends_with(way: Way, rules: TransportRules) -> str:
    """Return the system call and errno. With MSG_FASTOPEN there is no connect(); its errors come from sendto()."""
    ends = rules.ends_text
    if FAST_OPEN in way.beside and not any(call.startswith("connect(") for call in way.calls):
        return ends.replace("connect ", "sendto ")
    return ends


def _ports(way: Way, strategy: Strategy, rules: TransportRules, facts: HostFacts) -> PortAccount:
    if strategy.row.names_ports:
        named = way.named_range or (way.source_port or 0, way.source_port or 0)
        if way.named == 1 and way.count > 1:
            return PortAccount(None, 1, rules.scope, None, f"it always names port {named[0]}")
        seen = f"port {named[0]}" if way.named <= 1 else f"{way.named:,} from {named[0]} to {named[1]}"
        return PortAccount(None, None, rules.scope, None, f"as many as ports that the program names (seen: {seen})")
    narrowed = _narrowed(facts.port_range, way.ports)
    # A program that leaves several ports to the kernel has it search them, as `late` does.
    searching = Strategy.LATE if strategy.row.narrows_range and len(narrowed) > 1 else strategy
    supply = ports.supply_of(searching, way.transport, narrowed, (), (), (), facts)
    search = supply.search(searching, way.transport)
    left_out = len(narrowed) - supply.usable
    because = f"{narrowed} of {'IP_LOCAL_PORT_RANGE' if way.ports else 'ip_local_port_range'}"
    because += f" less {left_out:,} that cannot be had" if left_out else ""
    return PortAccount(narrowed, supply.usable, rules.scope, search.of_space if search else None, because)


def _narrowed(automatic: PortRange, asked: tuple[int, int] | None) -> PortRange:
    """Return the ports that a socket with IP_LOCAL_PORT_RANGE may get: each end counts only inside the sysctl's range.

    Source: inet_sk_get_local_port_range(), net/ipv4/inet_connection_sock.c.
    """
    low, high = asked or (0, 0)
    low = low if low in automatic else automatic.low
    high = high if high in automatic else automatic.high
    return PortRange(low, high) if low <= high else automatic


def _is_loopback(source: str, way: Way) -> bool:
    """Return whether either end is a loopback address, which is how the kernel decides; False: not, or not known."""
    ends = (source.partition("%")[0], way.target.partition("%")[0])
    return any(ipaddress.ip_address(end).is_loopback for end in ends if end)


def _remedies(
    way: Way,
    strategy: Strategy,
    limit: str,
    account: PortAccount,
    facts: HostFacts,
    source: str,
    target: Endpoint | None,
) -> Iterable[Remedy]:
    """Yield what would move the limit of a way, computed as for a plan that wants twice its ports."""
    shared = way.targets > 1 or not way.churns  # for one target, ports that rest are not fewer
    if account.scope is PortScope.SOURCE and way.transport is Transport.TCP and shared:
        for other in _SHARING if strategy.row.names_ports else _SHARING[-1:]:
            if ports.lacking_option(other, facts) is None:
                gain = max(way.targets - 1, 0) * (account.capacity or 0)
                text = f"{use(PlanChange(strategy=other))}: each port serves every target"
                yield Remedy(text, gain=gain or None)
    if account.ports is None:
        yield Remedy("let the program name more ports, or bind more source addresses")
        return
    if not account.capacity:
        return
    if way.ports and len(account.ports) < len(facts.port_range):
        gain = len(facts.port_range) - len(account.ports)
        yield Remedy(f"widen IP_LOCAL_PORT_RANGE of the program's sockets to {facts.port_range}", gain=gain)
        return
    if target is None or not source:
        return
    plan = Plan(
        name="trace",
        connections=2 * account.capacity,
        sources=(source,),
        targets=(Target(target, sink=False),),
        strategy=strategy,
        ports=account.ports,
        skipped_ports=(),
        capacity_per_pair=account.capacity,
        stages=(),
        hold_s=0.0,
        close=CloseMode.FIN,
        timeout_s=0.0,
        in_flight_max=1,
        interval_s=1.0,
        workers=1,
        sinks=0,
        routes=() if strategy.row.binds_address else (source,),
        transport=way.transport,
    )
    if way.churns:
        plan = replace(plan, churn=_CHURN, ceiling=time_wait.ceiling(plan, _CHURN, facts.sysctls))
    for remedy in LIMITS[limit].remedies(Situation(plan, facts, account.capacity)):
        # Its gain would be that of the duration, which says nothing about a program.
        worded = remedy.for_program
        if worded:
            yield replace(worded, gain=None) if way.churns else worded
