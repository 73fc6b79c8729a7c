"""From a scenario to its plan on this host: ScenarioSpec + HostFacts -> Assessment, and its Plan.

Pure arithmetic. Every resource is assessed, so that the nearest limit is known; a plan that cannot work is refused
before the first socket, with the number that is short and the change that helps.

    four-tuples   (sources) x (targets) x (usable source ports), the wall that loadgen is about
    descriptors   one for each connection in a worker, one more in a sink
    memory        some kilobytes of kernel memory for each end
    the rest      processes, connection tracking, accept queues, TIME-WAIT
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from loadgen.arrivals import due_within
from loadgen.capacity import addresses, demands, nat, neighbours, ports, processes, tracking
from loadgen.capacity.allowances import Allowances
from loadgen.capacity.assessment import Assessment
from loadgen.capacity.demands import ProcessCounts
from loadgen.capacity.limits import LIMIT_OF_OUTCOME
from loadgen.capacity.processes import RESERVED_DESCRIPTORS
from loadgen.capacity.resources import (
    HOST_DESCRIPTORS,
    MEMORY,
    SINK_DESCRIPTORS,
    WORKER_DESCRIPTORS,
    Resource,
    Shortage,
)
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
    PortRange,
    Strategy,
    sharded_spaces_of,
)
from loadgen.scenario import ScenarioSpec
from loadgen.strategies import PortScope

#: Resources that a report shows beside the plan; the others matter only where they are short.
_HEADROOM: Final = (
    "four-tuples",
    WORKER_DESCRIPTORS,
    SINK_DESCRIPTORS,
    HOST_DESCRIPTORS,
    MEMORY,
)


def make_plan(
    scenario: ScenarioSpec,
    sources: Sequence[str],
    facts: HostFacts,
    allowances: Allowances,
    limits: HostLimits | None = None,
) -> Plan:
    """Return the plan of a scenario on this host; arguments as of `assess`.

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
    """Compare the demand of a scenario with each resource of this host; a shortage is part of the result.

    sources: its source addresses, interface names resolved. limits: further limits of the host, where known.

    Raises: HostError when the host lacks a feature, a family or a route, so that there is nothing to count;
        CapacityError where loopback has not enough addresses to add; UsageError when the scenario asks for a
        combination that cannot be.
    """
    limits = limits or HostLimits()
    if not scenario.most_open:
        return _of_guests(scenario, facts, allowances, limits)
    notes = _of_named_listeners(scenario)
    strategy = ports.strategy_of(scenario.sources.strategy, facts, notes)
    transport, targets = scenario.transport, scenario.every_target
    if not sources:
        raise HostError("the scenario names no source address that this host has")
    addresses.require_families(sources, targets, facts)
    routes = addresses.routes_of(strategy, sources, targets, facts)
    port_blocking = allowances.in_lab or allowances.port_blocking
    port_range = ports.ports_of(scenario.sources.ports, strategy, facts, port_blocking=port_blocking)
    supply = ports.supply_of(strategy, transport, port_range, sources, targets, routes, facts)
    if allowances.extend_sources and not routes and supply.usable:
        per_source = supply.usable * (len(targets) if supply.scope is PortScope.PAIR else 1)
        sources = addresses.extended(sources, math.ceil(scenario.most_open / per_source), notes)
        supply = ports.supply_of(strategy, transport, port_range, sources, targets, routes, facts)
    counts = _process_counts(scenario, strategy, supply, facts, notes)
    if supply.scope is PortScope.PAIR:
        notes += processes.first_filled(scenario.most_open, supply.pairs, targets, supply.usable)
    search = supply.search(strategy, transport)
    if search and scenario.most_open > search.in_all:
        notes.append(f"{search.sentence}, and this plan goes beyond; late-range does without it")
    plan = replace(
        _plan_of(scenario, counts, strategy, port_range, allowances, notes),
        sources=tuple(sources),
        skipped_ports=supply.skipped,
        capacity_per_pair=supply.usable,
        routes=routes,
        port_blocking=port_blocking,
    )
    plan = replace(plan, notes=(*plan.notes, *neighbours.notes(plan, facts, limits)))
    if plan.churn:
        plan = replace(plan, ceiling=ceiling(plan, plan.churn, facts.sysctls))
    resources = (
        *demands.of_time_wait(plan, facts),
        *_of_four_tuples(plan, supply, facts, limits),
        *demands.of_search(plan, search, facts),
        *demands.of_descriptors(plan, counts, facts),
        *demands.of_watches(plan, counts, facts),
        *demands.of_ports_for_workers(plan, counts),
        *demands.of_memory(plan, counts, facts, limits),
        *demands.of_processes(counts, limits),
        *tracking.of_tracking(plan, facts),
        *neighbours.of_neighbours(plan, facts, limits),
        *nat.of_nat(plan, facts),
        *demands.of_tables(plan, counts, facts),
    )
    excused = scenario.expects_failure or allowances.force
    absent = addresses.absent(facts)
    absence_excused = allowances.force or scenario.expects("source-address")
    return _foretold(Assessment(plan, facts, resources, absent, excused, absence_excused))


def _foretold(assessment: Assessment) -> Assessment:
    """Return the assessment with its headroom and prediction in the plan."""
    headroom = tuple(
        Headroom(resource.name, resource.needed or 0, resource.available, resource.note)
        for resource in assessment.resources
        if resource.name in _HEADROOM
    )
    return replace(assessment, plan=replace(assessment.plan, headroom=headroom, prediction=assessment.prediction))


def _of_guests(scenario: ScenarioSpec, facts: HostFacts, allowances: Allowances, limits: HostLimits) -> Assessment:
    """Compare what others will open to the sinks of a host with what it has; it opens no connection itself.

    The assessment is of the connections of the others, and so is the prediction; the plan has none of its own.
    """
    counts = _sinks_of_guests(scenario, facts)
    strategy = scenario.sources.strategy
    plan = _plan_of(scenario, counts, strategy, facts.port_range, allowances, [])
    if plan.churn:
        plan = replace(plan, churn=replace(plan.churn, arrivals=0))
    served = replace(plan, connections=scenario.guests.connections)
    resources = (
        *demands.of_descriptors(served, counts, facts),
        *demands.of_watches(served, counts, facts),
        *demands.of_memory(served, counts, facts, limits),
        *demands.of_processes(counts, limits),
        *(() if plan.churn else tracking.of_tracking(served, facts)),
        *demands.of_tables(served, counts, facts),
    )
    excused = scenario.expects_failure or allowances.force
    assessment = _foretold(Assessment(served, facts, resources, None, excused))
    return replace(assessment, plan=replace(assessment.plan, connections=0))


def _sinks_of_guests(scenario: ScenarioSpec, facts: HostFacts) -> ProcessCounts:
    accepted, of_sink = scenario.guests.connections, facts.descriptors - RESERVED_DESCRIPTORS
    sinks, short = processes.sinks_of(scenario, scenario.every_target, accepted, of_sink)
    return ProcessCounts(
        workers=0,
        sinks=processes.sinks_for_cores(scenario, sinks, accepted, facts),
        per_worker=0,
        per_sink=of_sink,
        fixed_workers=True,
        fixed_sinks=bool(scenario.sinks),
        share=Fraction(1),
        short=short,
        opens=False,
    )


def _of_named_listeners(scenario: ScenarioSpec) -> list[str]:
    """Return a note where a run on one host has targets at which a certain agent is to listen."""
    named = [target.address for target in scenario.targets if target.agents]
    if not named:
        return []
    return [f"this run has no agents, so loadgen listens at {', '.join(named)} itself, as with sink: true"]


def _plan_of(
    scenario: ScenarioSpec,
    counts: ProcessCounts,
    strategy: Strategy,
    port_range: PortRange,
    allowances: Allowances,
    notes: Sequence[str],
) -> Plan:
    """Return the plan without its sources, and what depends on them."""
    return Plan(
        name=scenario.name,
        connections=scenario.most_open,
        sources=(),
        targets=scenario.every_target,
        strategy=strategy,
        ports=port_range,
        skipped_ports=(),
        capacity_per_pair=0,
        stages=scenario.stages,
        hold_s=scenario.held_s,
        close=scenario.close,
        timeout_s=scenario.timeout_s,
        in_flight_max=scenario.in_flight,
        interval_s=scenario.interval_s,
        workers=counts.workers,
        sinks=counts.sinks,
        descriptor_limit=scenario.descriptors,
        freebind=scenario.sources.freebind,
        own_ports=scenario.sources.ports is not None,
        in_lab=allowances.in_lab,
        engine=scenario.engine,
        transport=scenario.transport,
        nat=scenario.nat,
        traffic=scenario.traffic,
        tls=scenario.tls.tls if scenario.tls else None,
        heartbeat=_heartbeat(scenario),
        churn=_churn(scenario),
        profile=scenario.phases,
        arrival_carry=scenario.arrival_carry,
        guests=scenario.guests.connections,
        expect=tuple(expectation.text for expectation in scenario.expect),
        notes=tuple(notes),
    )


def _of_four_tuples(plan: Plan, supply: ports.PortSupply, facts: HostFacts, limits: HostLimits) -> tuple[Resource, ...]:
    """Return the limit of four-tuples, after the nearer one where other sockets hold some of the ports."""
    limit = LIMIT_OF_OUTCOME[plan.strategy.over(plan.transport).outcome]
    needed, room = plan.connections, supply.capacity
    # In an open loop the schedule asks for connections, and `concurrency` is an upper bound that need not be reached.
    bounded = plan.churn is not None and plan.churn.arrivals is not None
    needed = min(needed, room) if bounded else needed
    shortage = Shortage("four-tuples", needed, room, excusable=True) if needed > room else None
    wall = Resource("four-tuples", limit, needed, room, room, supply.counted, shortage, slack=1)
    held = ports.held_by_others(plan, limits, facts.sysctls)
    if not held.taken:
        return (wall,)
    limit = "time-wait" if 2 * held.resting >= held.taken else "port-held"
    left = max(room - held.taken, 0)
    needed = min(needed, left) if bounded else needed
    name, slack = "four-tuples left by others", held.taken
    return Resource(name, limit, needed, left, left, held.sentence, slack=slack, resting=held.resting), wall


def _process_counts(
    scenario: ScenarioSpec, strategy: Strategy, supply: ports.PortSupply, facts: HostFacts, notes: list[str]
) -> ProcessCounts:
    """Return the number of processes and the descriptors of each. Raises: HostError where io_uring is not available."""
    if scenario.engine is Engine.IO_URING:
        if facts.no_io_uring:
            raise HostError(f"engine io_uring cannot be used: {facts.no_io_uring}; write `engine: epoll`")
        notes.append("engine io_uring sends 64 connect() at a time, so a connect time is up to 64 times that of one")
    targets, pairs, usable = scenario.every_target, supply.pairs, supply.usable
    sharded = sharded_spaces_of(strategy, pairs, scenario.transport)
    limit = min(facts.descriptors, scenario.descriptors or facts.descriptors)
    of_worker = processes.descriptors_per_worker(scenario.engine, limit)
    share, of_sink = processes.share_of_sinks(pairs, targets), facts.descriptors - RESERVED_DESCRIPTORS
    share += Fraction(scenario.guests.connections, scenario.most_open)
    accepted = math.ceil(scenario.most_open * share)
    workers, short = processes.workers_of(scenario, strategy, sharded, usable, of_worker, facts)
    sinks, short_of_sinks = processes.sinks_of(scenario, targets, accepted, of_sink)
    return ProcessCounts(
        workers=workers,
        sinks=processes.sinks_for_cores(scenario, sinks, accepted, facts),
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
    carry, stages = scenario.arrival_carry, scenario.stages
    arrivals = due_within(stages, scenario.churn_s, carry=carry) if stages else None
    return Churn(scenario.churn_s, spec.exchanges, arrivals)


def sink_endpoints(plan: Plan) -> tuple[Endpoint, ...]:
    """Return the endpoints at which loadgen itself listens."""
    return tuple(target.endpoint for target in plan.targets if target.sink)
