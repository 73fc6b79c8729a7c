"""What a scenario will take of this host, and whether it fits: Scenario + HostFacts -> Plan.

Pure arithmetic. A plan that cannot work is refused here, before the first socket, with the number
that is short and the change that mends it.

    four-tuples   (sources) x (targets) x (usable source ports), the wall that loadgen is about
    descriptors   one for each connection in a worker, one more in a sink
    memory        some kilobytes of kernel memory for each end
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from loadgen.arrivals import due_within, shard_sizes
from loadgen.errors import CapacityError, HostError, UsageError
from loadgen.kernel.host import HostFacts
from loadgen.model import (
    Churn,
    Endpoint,
    Engine,
    Headroom,
    Heartbeat,
    Plan,
    PortRange,
    Strategy,
    Target,
    Transport,
    pairs_of,
    sharded_spaces_of,
    spaces_of,
)
from loadgen.scenario import Scenario
from loadgen.timewait import ceiling

#: Descriptors a worker or sink needs for itself: epoll objects, event loop, link, blocks, standard streams.
RESERVED_DESCRIPTORS: Final = 64
#: Below this many connections one worker is as fast as two, and starts sooner.
_SMALL: Final = 2_000
#: Kernel memory of one end of an idle connection; 6.2 KB for both ends were measured on Linux 6.18.
_KERNEL_BYTES_PER_END: Final = 3_200
#: User memory of a held connection, and of a process that holds none yet.
_USER_BYTES_PER_END: Final = 600
_PROCESS_BYTES: Final = 25_000_000
#: What OpenSSL keeps for one end of a TLS connection, after the handshake; 30 KB were measured with OpenSSL 3.0.
_TLS_BYTES_PER_END: Final = 31_000
#: SO_REUSEPORT spreads by hash, so a sink's share is binomial: so many deviations of room are left to it.
_SINK_DEVIATIONS: Final = 6.0

Pair = tuple[str, Endpoint]

#: Direct descriptors of one ring (loadgen.uring.connector.TABLE_SIZE, which is above this layer).
_TABLE_SIZE: Final = 32_768
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the command line, and only the command line, permits.

    in_lab: the run has a namespace of its own, where it can be in nobody's way.
    """

    in_lab: bool
    port_blocking: bool = False
    extend_sources: bool = False


def make_plan(scenario: Scenario, sources: Sequence[str], facts: HostFacts, allowances: Allowances) -> Plan:
    """The plan of a scenario on this host.

    sources: its source addresses, interface names resolved.

    Raises: CapacityError when a resource is too small; HostError when the host lacks an address or a
        feature; UsageError when the scenario asks for a combination that cannot be.
    """
    notes: list[str] = []
    strategy = _strategy(scenario.sources.strategy, facts, notes)
    transport = scenario.transport
    targets = scenario.every_target
    _require_sources(sources, facts, freebind=scenario.sources.freebind)
    _require_families(sources, targets)
    routes: tuple[str, ...] = ()
    if strategy is Strategy.KERNEL:
        _require_kernel_source(sources, targets, facts)
        routes = facts.default_sources
    ports = _ports(scenario, strategy, facts, allowances)
    skipped = _skipped(ports, strategy, transport, targets, facts)
    usable = max(len(ports) - len(skipped) - _lost_to_parity(ports, strategy, transport), 0)
    if allowances.extend_sources and not routes and usable:
        per_source = usable * (len(targets) if strategy.shares_ports(transport) else 1)
        sources = _extended(sources, math.ceil(scenario.most_open / per_source), notes)
    every_pair = pairs_of(sources, targets, routes)
    spaces, sharded = (of(strategy, every_pair, transport) for of in (spaces_of, sharded_spaces_of))
    if not scenario.expects_failure:
        _require(
            "four-tuples",
            needed=scenario.most_open,
            available=usable * spaces,
            remedy=_more_four_tuples(scenario, strategy, scenario.most_open - usable * spaces, usable, ports),
        )
    descriptors = facts.descriptors - RESERVED_DESCRIPTORS
    _require(
        "descriptors of one process",
        needed=RESERVED_DESCRIPTORS + 1,
        available=facts.descriptors,
        remedy="raise the hard limit of open files (ulimit -Hn)",
    )
    of_worker = min(facts.descriptors, scenario.descriptors or facts.descriptors) - RESERVED_DESCRIPTORS
    if scenario.engine is Engine.IO_URING:
        if facts.no_io_uring:
            raise HostError(f"engine io_uring cannot be used: {facts.no_io_uring}; write `engine: epoll`")
        of_worker = _direct_descriptors(of_worker)
        notes.append("engine io_uring sends 64 connect() at a time, so a connect time is up to 64 times that of one")
    workers = _workers(scenario, strategy, sharded, usable, of_worker, facts)
    sinks = _sinks(scenario, targets, _share_of_sinks(every_pair, targets), descriptors, facts)
    if strategy.shares_ports(transport):
        notes += _first_filled(scenario.most_open, every_pair, targets, usable)
    accepted = 0 if transport is Transport.UDP else scenario.most_open  # a datagram takes no descriptor over there
    sunk = int(accepted * _share_of_sinks(every_pair, targets))
    ends = scenario.most_open + sunk
    memory = ends * (_KERNEL_BYTES_PER_END + _USER_BYTES_PER_END) + (workers + sinks) * _PROCESS_BYTES
    memory += ends * _TLS_BYTES_PER_END if scenario.tls else 0
    _require(
        "descriptors of the whole host (fs.file-max)",
        needed=ends,
        available=facts.files_free,
        remedy="raise fs.file-max, or open fewer connections",
    )
    _require(
        "bytes of memory",
        needed=memory,
        available=facts.memory_available_bytes,
        remedy="open fewer connections, or give the machine more memory",
    )
    _require(
        "descriptors of the orchestrator, one for each process",
        needed=workers + sinks + RESERVED_DESCRIPTORS,
        available=facts.descriptors,
        remedy="raise the hard limit of open files (ulimit -Hn)",
    )
    headroom = (
        Headroom("four-tuples", scenario.most_open, usable * spaces, _counted(usable, spaces, strategy, transport)),
        Headroom(
            "descriptors per worker",
            max(shard_sizes(scenario.most_open, sharded, workers)),
            of_worker,
            f"{workers} workers",
        ),
        *((Headroom("descriptors per sink", -(-sunk // sinks), descriptors, f"{sinks} sinks"),) if sinks else ()),
        Headroom("descriptors of the host", ends, facts.files_free, "fs.file-max"),
        Headroom("memory, bytes", memory, facts.memory_available_bytes, "kernel and processes, both ends"),
    )
    plan = Plan(
        name=scenario.name,
        connections=scenario.most_open,
        sources=tuple(sources),
        targets=targets,
        strategy=strategy,
        ports=ports,
        skipped_ports=skipped,
        capacity_per_pair=usable,
        stages=scenario.arrival.stages if scenario.arrival else (),
        hold_s=scenario.hold_s,
        close=scenario.close,
        timeout_s=scenario.timeout_s,
        in_flight_max=scenario.in_flight,
        interval_s=scenario.interval_s,
        workers=workers,
        sinks=sinks,
        routes=routes,
        descriptor_limit=scenario.descriptors,
        freebind=scenario.sources.freebind,
        engine=scenario.engine,
        transport=transport,
        traffic=scenario.traffic,
        tls=scenario.tls.tls if scenario.tls else None,
        heartbeat=_heartbeat(scenario),
        churn=_churn(scenario),
        expect=tuple(expectation.text for expectation in scenario.expect),
        headroom=headroom,
        notes=tuple(notes),
    )
    return replace(plan, ceiling=ceiling(plan, plan.churn, facts.sysctls)) if plan.churn else plan


def _heartbeat(scenario: Scenario) -> Heartbeat | None:
    spec = scenario.heartbeat
    return Heartbeat(float(spec.every_s), spec.share) if spec else None


def _churn(scenario: Scenario) -> Churn | None:
    spec = scenario.churn
    if spec is None:
        return None
    duration_s = float(spec.duration_s)
    arrivals = due_within(scenario.arrival.stages, duration_s) if scenario.arrival else None
    return Churn(duration_s, spec.exchanges, arrivals)


def _require(resource: str, *, needed: int, available: int, remedy: str) -> None:
    if needed > available:
        raise CapacityError(resource, needed=needed, available=available, remedy=remedy)


def _strategy(asked: Strategy, facts: HostFacts, notes: list[str]) -> Strategy:
    if asked is Strategy.LATE_RANGE and not facts.port_range_option:
        notes.append(
            f"Linux {facts.kernel} has no IP_LOCAL_PORT_RANGE (6.3): "
            "using late, which slows down past half of the range"
        )
        asked = Strategy.LATE
    if asked is Strategy.LATE and not facts.late_bind:
        raise HostError(
            f"Linux {facts.kernel} has no IP_BIND_ADDRESS_NO_PORT (4.2); use `strategy: explicit` or `kernel`"
        )
    return asked


def _require_sources(sources: Sequence[str], facts: HostFacts, *, freebind: bool) -> None:
    if not sources:
        raise HostError("the scenario names no source address that this host has")
    if facts.missing_sources:
        missing = facts.missing_sources
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        length = 128 if ":" in missing[0] else 32
        if freebind:
            raise HostError(
                f"source address {missing[0]}{more} is not routed to this host; "
                f"add it, or a prefix around it, with: ip route add local {missing[0]}/{length} dev lo"
            )
        raise HostError(
            f"source address {missing[0]}{more} is not on this host; "
            f"add it with: ip address add {missing[0]}/{length} dev lo"
        )


def _require_families(sources: Sequence[str], targets: Sequence[Target]) -> None:
    """An interface may turn out to have no address of a target's family."""
    families = {Endpoint(source, 0).family for source in sources}
    for target in targets:
        if target.endpoint.family not in families:
            version = 6 if ":" in target.endpoint.address else 4
            raise HostError(f"no source address is IPv{version}, as {target.endpoint} is; add one to sources.addresses")


def _require_kernel_source(sources: Sequence[str], targets: Sequence[Target], facts: HostFacts) -> None:
    """connect() alone takes the source address of the route, so a scenario can only agree with it."""
    if "" in facts.default_sources:
        unreachable = targets[facts.default_sources.index("")].endpoint
        raise HostError(f"there is no route to {unreachable}; `ip route get {unreachable.address}` says more")
    chosen = sorted(set(facts.default_sources))
    if sorted(sources) != chosen:
        raise UsageError(
            "strategy kernel leaves the source address to the route, which gives "
            f"{', '.join(chosen)} for {targets[0].endpoint}; write `addresses: [{', '.join(chosen)}]`, "
            "or use late-range to choose sources yourself"
        )


def _ports(scenario: Scenario, strategy: Strategy, facts: HostFacts, allowances: Allowances) -> PortRange:
    asked, automatic = scenario.sources.ports, facts.port_range
    ports = asked or automatic
    if not strategy.slices_ports:
        if ports != automatic:
            raise UsageError(
                f"strategy {strategy} takes ports from ip_local_port_range ({automatic}) and cannot keep to {ports}; "
                "leave `ports` out, or use late-range or explicit"
            )
    elif strategy is Strategy.LATE_RANGE:
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
        if overlap and not (allowances.in_lab or allowances.port_blocking):
            raise HostError(
                f"strategy {strategy} would bind ports inside ip_local_port_range ({automatic}), and a bound port is "
                "closed to every other process's automatic choice on all addresses of this host; choose `ports` "
                "outside that range, run in a lab, or give --allow-port-blocking"
            )
    return ports


def _skipped(
    ports: PortRange, strategy: Strategy, transport: Transport, targets: Sequence[Target], facts: HostFacts
) -> tuple[int, ...]:
    """Ports of the range that no connection can get, or should not.

    A listener's port is closed to automatic choice on all addresses, and to bind() on its own. In UDP every socket
    listens, so their ports are left to them: where both had SO_REUSEADDR, bind() would succeed and one of the two
    get the other's datagrams. What ip_local_reserved_ports holds back is held back from automatic choice only: that
    is its purpose.
    """
    others = facts.datagram_ports if transport is Transport.UDP else facts.listeners
    closed = set(others) | {target.endpoint.port for target in targets if target.sink}
    if not strategy.names_ports:
        closed |= set(facts.reserved_ports)
    return tuple(sorted(port for port in closed if port in ports))


def _lost_to_parity(ports: PortRange, strategy: Strategy, transport: Transport) -> int:
    """The kernel's own search goes through a range in steps of two and rounds its length down to even
    (__inet_hash_connect() and inet_csk_find_open_port()), so one port of an odd range may never come. In UDP it
    begins anywhere and misses none (udp_lib_get_port())."""
    if transport is Transport.UDP or strategy.slices_ports:
        return 0
    return len(ports) % 2 if len(ports) > 1 else 0


def _extended(sources: Sequence[str], needed: int, notes: list[str]) -> Sequence[str]:
    """More addresses of 127.0.0.0/8, of which every one is there without set-up, until there are enough."""
    if len(sources) >= needed:
        return sources
    extended = list(sources)
    taken = set(sources)
    following = max(ipaddress.IPv4Address(source) for source in sources)
    while len(extended) < needed:
        following += 1
        if following not in _LOOPBACK or following == _LOOPBACK.broadcast_address:
            raise CapacityError(
                "source addresses",
                needed=needed,
                available=len(extended),
                remedy="start lower in 127.0.0.0/8",
            )
        if str(following) not in taken:
            extended.append(str(following))
    notes.append(f"{needed - len(sources)} more source addresses of 127.0.0.0/8 make up for the narrower port range")
    return extended


def _counted(usable: int, spaces: int, strategy: Strategy, transport: Transport) -> str:
    if strategy.shares_ports(transport):
        return f"{usable:,} for each of {spaces} pairs of source and target"
    if transport is Transport.UDP and strategy is Strategy.KERNEL:
        return f"{usable:,} for all sources and targets together"
    return f"{usable:,} for each of {spaces} sources, all targets together"


def _more_four_tuples(scenario: Scenario, strategy: Strategy, short: int, usable: int, ports: PortRange) -> str:
    """The ways past the wall, the one that needs nothing from the host first."""
    per_source = usable * (len(scenario.every_target) if strategy.shares_ports(scenario.transport) else 1)
    ways = [f"add {-(-short // per_source):,} source addresses ({per_source:,} connections each)"] if usable else []
    if scenario.sources.ports:
        ways.append(f"widen `ports` beyond {ports}, or leave it out")
    elif len(ports) < 64_512:
        ways.append(f"widen ip_local_port_range to 1024-65535 (+{64_512 - len(ports):,} for each source and target)")
    return ", or ".join(ways)


def _workers(
    scenario: Scenario, strategy: Strategy, spaces: int, usable: int, descriptors: int, facts: HostFacts
) -> int:
    """Enough that no worker runs out of descriptors, and one per core if there is something to share."""
    connections = scenario.most_open
    least = max(1, -(-connections // descriptors))
    while max(shard_sizes(connections, spaces, least)) > descriptors:
        least += 1
    if scenario.workers:
        if scenario.workers < least and not scenario.expects_failure:
            raise CapacityError(
                f"descriptors of {scenario.workers} workers",
                needed=connections,
                available=scenario.workers * descriptors,
                remedy=f"say `workers: {least}` or leave it out, or raise the hard limit of open files (ulimit -Hn)"
                + (", or `descriptors`" if scenario.descriptors else ""),
            )
        least = scenario.workers
    if strategy.slices_ports:
        _require(
            "source ports, one per worker at least",
            needed=least,
            available=usable,
            remedy=f"use at most {usable:,} workers, or a wider range",
        )
    if scenario.workers:
        return scenario.workers
    if scenario.churn:  # each connection costs the other side as much as us, so half of the cores are its
        wanted = max(least, min(facts.cpus // 2, connections))
    else:
        wanted = least if connections < _SMALL else max(least, facts.cpus)
    wanted = max(wanted, 1)
    return min(wanted, usable) if strategy.slices_ports else wanted


def _weights(pairs: Sequence[Pair], targets: Sequence[Target]) -> list[int]:
    weight_of = {target.endpoint: target.weight for target in targets}
    return [weight_of[endpoint] for _, endpoint in pairs]


def _share_of_sinks(pairs: Sequence[Pair], targets: Sequence[Target]) -> Fraction:
    """Which part of all connections goes to sinks of ours."""
    sinks = {target.endpoint for target in targets if target.sink}
    weights = _weights(pairs, targets)
    ours = sum(weight for (_, endpoint), weight in zip(pairs, weights, strict=True) if endpoint in sinks)
    return Fraction(ours, sum(weights))


def _first_filled(connections: int, pairs: Sequence[Pair], targets: Sequence[Target], usable: int) -> list[str]:
    """A note where weights ask more of a pair than it has ports; no error, because the others take over."""
    weights = _weights(pairs, targets)
    heaviest = max(weights)
    share = Fraction(connections * heaviest, sum(weights))
    if min(weights) == heaviest or share <= usable:
        return []
    source, target = pairs[weights.index(heaviest)]
    note = (
        f"the pair {source} to {target} (weight {heaviest}) fills first: its share is {math.ceil(share):,} connections "
        f"and its ports are {usable:,}; the other pairs take what is beyond them"
    )
    return [note]


def _direct_descriptors(limit: int) -> int:
    """Connections of one worker by io_uring. A table of direct descriptors is as large as the limit at most and takes
    one descriptor itself; the connector leaves half of the limit for everything else."""
    return min(limit, _TABLE_SIZE) * (limit // 2)


def _sinks(scenario: Scenario, targets: Sequence[Target], share: Fraction, descriptors: int, facts: HostFacts) -> int:
    """Enough processes that the unlucky one, too, can hold its share."""
    if not any(target.sink for target in targets):
        return 0
    expected = math.ceil(scenario.most_open * share)
    held = 0 if scenario.transport is Transport.UDP else expected  # of UDP one socket is there for everybody
    listeners = sum(target.sink for target in targets)
    _require(
        "descriptors of one sink",
        needed=RESERVED_DESCRIPTORS + listeners + 1,
        available=facts.descriptors,
        remedy="name fewer targets, or raise the hard limit of open files (ulimit -Hn)",
    )
    descriptors -= listeners
    least = 1
    while held / least + (_SINK_DEVIATIONS * math.sqrt(held / least) if least > 1 else 0) > descriptors:
        least += 1
    if scenario.sinks:
        if scenario.sinks < least:
            raise CapacityError(
                f"descriptors of {scenario.sinks} sinks",
                needed=expected,
                available=scenario.sinks * descriptors,
                remedy=f"say `sinks: {least}` or leave it out",
            )
        return scenario.sinks
    if scenario.churn:
        return max(least, facts.cpus // 2, 1)
    return least if expected < _SMALL else max(least, facts.cpus)


def sink_endpoints(plan: Plan) -> tuple[Endpoint, ...]:
    """Where loadgen itself has to listen."""
    return tuple(target.endpoint for target in plan.targets if target.sink)
