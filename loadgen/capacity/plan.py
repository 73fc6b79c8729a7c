"""What a scenario will take of this host, and whether it fits: ScenarioSpec + HostFacts -> Assessment, and its Plan.

Pure arithmetic. Every resource is judged, so that the first that is met is known; a plan that cannot work is refused
before the first socket, with the number that is short and the change that mends it.

    four-tuples   (sources) x (targets) x (usable source ports), the wall that loadgen is about
    descriptors   one for each connection in a worker, one more in a sink
    memory        some kilobytes of kernel memory for each end
    the rest      processes, connection tracking, accept queues, TIME-WAIT
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from loadgen.arrivals import due_within
from loadgen.capacity import addresses, demands, ports, processes
from loadgen.capacity.allowances import Allowances
from loadgen.capacity.assessment import Assessment
from loadgen.capacity.demands import Crew
from loadgen.capacity.processes import RESERVED_DESCRIPTORS
from loadgen.capacity.resources import Resource, Shortage
from loadgen.capacity.time_wait import ceiling
from loadgen.errors import HostError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimits
from loadgen.model import (
    Churn,
    Endpoint,
    Engine,
    Headroom,
    Heartbeat,
    Plan,
    Strategy,
    Transport,
    pairs_of,
    sharded_spaces_of,
)
from loadgen.scenario import ScenarioSpec

#: Resources that a report shows beside the plan; the others matter only where they are short.
_HEADROOM: Final = (
    "four-tuples",
    "descriptors per worker",
    "descriptors per sink",
    "descriptors of the host",
    "memory, bytes",
)


def make_plan(
    scenario: ScenarioSpec,
    sources: Sequence[str],
    facts: HostFacts,
    allowances: Allowances,
    limits: HostLimits | None = None,
) -> Plan:
    """The plan of a scenario on this host; arguments as of `assess`.

    Raises: CapacityError when a resource is too small; HostError when the host lacks an address or a
        feature; UsageError when the scenario asks for a combination that cannot be.
    """
    return assess(scenario, sources, facts, allowances, limits).insist()


def assess(
    scenario: ScenarioSpec,
    sources: Sequence[str],
    facts: HostFacts,
    allowances: Allowances,
    limits: HostLimits | None = None,
) -> Assessment:
    """What a scenario takes of this host, resource by resource, whether there is enough of it or not.

    sources: its source addresses, interface names resolved. limits: what else is known of the host.

    Raises: HostError when the host lacks a feature, a family or a route, so that there is nothing to count;
        CapacityError where loopback has not enough addresses to add; UsageError when the scenario asks for a
        combination that cannot be.
    """
    limits = limits or HostLimits()
    notes: list[str] = []
    strategy = ports.strategy_of(scenario.sources.strategy, facts, notes)
    transport, targets = scenario.transport, scenario.every_target
    if not sources:
        raise HostError("the scenario names no source address that this host has")
    addresses.require_families(sources, targets)
    routes: tuple[str, ...] = ()
    if not strategy.row.binds_address:
        addresses.require_kernel_source(sources, targets, facts)
        routes = facts.default_sources
    port_range = ports.ports_of(scenario, strategy, facts, allowances)
    skipped = ports.skipped_of(port_range, strategy, transport, targets, facts)
    usable = max(len(port_range) - len(skipped) - ports.lost_to_parity(port_range, strategy, transport), 0)
    if allowances.extend_sources and not routes and usable:
        per_source = usable * (len(targets) if strategy.over(transport).shares_ports else 1)
        sources = addresses.extended(sources, math.ceil(scenario.most_open / per_source), notes)
    every_pair = pairs_of(sources, targets, routes)
    sharded = sharded_spaces_of(strategy, every_pair, transport)
    crew = _crew(scenario, strategy, sharded, usable, every_pair, facts, notes)
    if strategy.over(transport).shares_ports:
        notes += processes.first_filled(scenario.most_open, every_pair, targets, usable)
    plan = Plan(
        name=scenario.name,
        connections=scenario.most_open,
        sources=tuple(sources),
        targets=targets,
        strategy=strategy,
        ports=port_range,
        skipped_ports=skipped,
        capacity_per_pair=usable,
        stages=scenario.arrival.stages if scenario.arrival else (),
        hold_s=scenario.hold_s,
        close=scenario.close,
        timeout_s=scenario.timeout_s,
        in_flight_max=scenario.in_flight,
        interval_s=scenario.interval_s,
        workers=crew.workers,
        sinks=crew.sinks,
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
        notes=tuple(notes),
    )
    if plan.churn:
        plan = replace(plan, ceiling=ceiling(plan, plan.churn, facts.sysctls))
    resources = (
        *demands.of_time_wait(plan, facts),
        *_of_four_tuples(scenario, plan, facts, limits),
        *demands.of_descriptors(plan, crew, facts),
        *demands.of_ports_for_workers(plan, crew),
        *demands.of_memory(plan, crew, facts, limits),
        *demands.of_processes(crew, limits),
        *demands.of_tables(plan, crew, facts),
    )
    headroom = tuple(
        Headroom(one.name, one.needed or 0, one.available, one.note) for one in resources if one.name in _HEADROOM
    )
    excused = scenario.expects_failure or allowances.force
    absent = addresses.absent(facts, freebind=scenario.sources.freebind)
    found = Assessment(replace(plan, headroom=headroom), resources, absent, excused)
    return replace(found, plan=replace(found.plan, prediction=found.prediction))


def _of_four_tuples(scenario: ScenarioSpec, plan: Plan, facts: HostFacts, limits: HostLimits) -> tuple[Resource, ...]:
    """The wall, and the nearer one where others have a part of the ports."""
    shares, transport = plan.shares_ports, plan.transport
    limit = "four-tuples" if shares and transport is Transport.TCP else "source-ports"
    needed, room, usable = plan.connections, plan.capacity, plan.capacity_per_pair
    remedy = ports.more_four_tuples(scenario, plan.strategy, needed - room, usable, plan.ports)
    shortage = Shortage("four-tuples", needed, room, remedy, excusable=True) if needed > room else None
    note = ports.counted(usable, plan.spaces, plan.strategy, transport)
    wall = Resource("four-tuples", limit, needed, room, room, note, shortage, slack=1)
    taken, resting = ports.held_by_others(plan, limits.in_use, facts.sysctls)
    if not taken:
        return (wall,)
    limit = "time-wait" if 2 * resting >= taken else "port-held"
    note = f"{taken:,} are taken by other sockets of this host, {resting:,} of these in TIME-WAIT"
    left = max(room - taken, 0)
    return Resource("four-tuples left by others", limit, needed, left, left, note, slack=taken), wall


def _crew(
    scenario: ScenarioSpec,
    strategy: Strategy,
    sharded: int,
    usable: int,
    pairs: Sequence[processes.Pair],
    facts: HostFacts,
    notes: list[str],
) -> Crew:
    """How many processes, and what each may open. Raises: HostError where io_uring is asked for and is not there."""
    of_worker = min(facts.descriptors, scenario.descriptors or facts.descriptors) - RESERVED_DESCRIPTORS
    if scenario.engine is Engine.IO_URING:
        if facts.no_io_uring:
            raise HostError(f"engine io_uring cannot be used: {facts.no_io_uring}; write `engine: epoll`")
        of_worker = processes.direct_descriptors(of_worker)
        notes.append("engine io_uring sends 64 connect() at a time, so a connect time is up to 64 times that of one")
    targets = scenario.every_target
    share, of_sink = processes.share_of_sinks(pairs, targets), facts.descriptors - RESERVED_DESCRIPTORS
    workers, short = processes.workers_of(scenario, strategy, sharded, usable, of_worker, facts)
    sinks, short_of_sinks = processes.sinks_of(scenario, targets, share, of_sink)
    return Crew(
        workers=workers,
        sinks=processes.sinks_for_cores(scenario, sinks, share, facts),
        per_worker=of_worker,
        per_sink=of_sink,
        fixed_workers=bool(scenario.workers),
        fixed_sinks=bool(scenario.sinks),
        share=share,
        short=short | short_of_sinks,
    )


def _heartbeat(scenario: ScenarioSpec) -> Heartbeat | None:
    spec = scenario.heartbeat
    return Heartbeat(float(spec.every_s), spec.share) if spec else None


def _churn(scenario: ScenarioSpec) -> Churn | None:
    spec = scenario.churn
    if spec is None:
        return None
    duration_s = float(spec.duration_s)
    arrivals = due_within(scenario.arrival.stages, duration_s) if scenario.arrival else None
    return Churn(duration_s, spec.exchanges, arrivals)


def sink_endpoints(plan: Plan) -> tuple[Endpoint, ...]:
    """Where loadgen itself has to listen."""
    return tuple(target.endpoint for target in plan.targets if target.sink)
