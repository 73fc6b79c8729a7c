"""Plan, host and events of a run of several agents, made from those of its agents. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from msgspec import structs

from loadgen.model import AgentPlan, Ceiling, Churn, Plan, Prediction, Stage, Target
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host

_Value = TypeVar("_Value")

#: Events that stand once in the whole, whatever the number of agents that have them.
_OF_THE_WHOLE: Final = frozenset({"started", "ended"})


@dataclass(frozen=True, slots=True)
class Share:
    """The run of one agent. offset_s: when it started, seconds after the first of all."""

    name: str
    plan: Plan
    host: Host
    events: Sequence[Event]
    offset_s: float = 0.0

    @property
    def ended(self) -> bool:
        """True if the run came to its planned end, or was interrupted and came to an end after that."""
        return any(event.event == "ended" for event in self.events)


def plan_of(name: str, shares: Sequence[tuple[str, Plan]], expect: Sequence[str] = ()) -> Plan:
    """Return the plan of the whole: sums, unions, and the plan of each agent. expect: the conditions on the whole.

    What a single value stands for (strategy, timeout, close) is that of the first agent that opens connections.
    """
    plans = [plan for _, plan in shares]
    opening = [plan for plan in plans if not plan.only_listens] or plans
    first = opening[0]
    return replace(
        first,
        name=name,
        connections=sum(plan.connections for plan in plans),
        sources=_union(source for plan in plans for source in plan.sources),
        targets=_targets(plans),
        skipped_ports=tuple(sorted({port for plan in plans for port in plan.skipped_ports})),
        capacity_per_pair=max(plan.capacity_per_pair for plan in opening),
        stages=_stages(opening),
        hold_s=max(plan.hold_s for plan in opening),
        interval_s=max(plan.interval_s for plan in plans),
        workers=sum(plan.workers for plan in plans),
        sinks=sum(plan.sinks for plan in plans),
        routes=(),
        churn=_churn(opening),
        ceiling=_ceiling(opening),
        expect=tuple(expect),
        headroom=tuple(
            replace(line, resource=f"{agent}: {line.resource}") for agent, plan in shares for line in plan.headroom
        ),
        notes=_notes(shares),
        prediction=_prediction(shares),
        arrival_carry=0.0,
        guests=0,
        agents=tuple(AgentPlan(agent, plan) for agent, plan in shares),
    )


def _union(values: Iterable[_Value]) -> tuple[_Value, ...]:
    return tuple(dict.fromkeys(values))


def _targets(plans: Sequence[Plan]) -> tuple[Target, ...]:
    """Return each target once; it is a sink of loadgen if one of the agents listens there."""
    targets: dict[str, Target] = {}
    for plan in plans:
        for target in plan.targets:
            known = targets.setdefault(str(target.endpoint), target)
            if target.sink and not known.sink:
                targets[str(target.endpoint)] = target
    return tuple(targets.values())


def _stages(plans: Sequence[Plan]) -> tuple[Stage, ...]:
    """Return the rates of all agents together; () where their stages are not of the same lengths."""
    lengths = {tuple(stage.duration_s for stage in plan.stages) for plan in plans}
    if len(lengths) != 1:
        return ()
    return tuple(
        Stage(
            sum(stage.rate_start_per_s for stage in stages),
            sum(stage.rate_end_per_s for stage in stages),
            stages[0].duration_s,
        )
        for stages in zip(*(plan.stages for plan in plans), strict=True)
    )


def _churn(plans: Sequence[Plan]) -> Churn | None:
    churns = [plan.churn for plan in plans if plan.churn]
    if not churns:
        return None
    arrivals = [churn.arrivals for churn in churns if churn.arrivals is not None]
    return replace(
        churns[0],
        duration_s=max(churn.duration_s for churn in churns),
        arrivals=sum(arrivals) if len(arrivals) == len(churns) else None,
    )


def _ceiling(plans: Sequence[Plan]) -> Ceiling | None:
    """Return the sum of what the ports of each agent allow; None unless every agent has a figure."""
    ceilings = [plan.ceiling for plan in plans if plan.ceiling]
    if not ceilings or len(ceilings) != len(plans):
        return None
    per_s = [ceiling.per_s for ceiling in ceilings if ceiling.per_s is not None]
    established = [ceiling.established for ceiling in ceilings if ceiling.established is not None]
    return Ceiling(
        per_s=sum(per_s) if len(per_s) == len(ceilings) else None,
        established=sum(established) if len(established) == len(ceilings) else None,
        because=f"{len(ceilings)} agents; each: {ceilings[0].because}",
        rest_s=max(ceiling.rest_s for ceiling in ceilings),
    )


def _notes(shares: Sequence[tuple[str, Plan]]) -> tuple[str, ...]:
    """Return each remark once: without a name where every agent has it."""
    owners: dict[str, list[str]] = {}
    for agent, plan in shares:
        for note in plan.notes:
            owners.setdefault(note, []).append(agent)
    return tuple(
        note if len(agents) == len(shares) else f"{', '.join(agents)}: {note}" for note, agents in owners.items()
    )


def _prediction(shares: Sequence[tuple[str, Plan]]) -> Prediction | None:
    """Return the limit of the agent that meets its own with the smallest part of its share, and what fits in all.

    One that only listens has its part in what it can serve.
    """
    all_foretold = [(agent, plan, plan.prediction) for agent, plan in shares if plan.prediction]
    if len(all_foretold) != len(shares):
        return None
    serving = [row for row in all_foretold if row[1].only_listens and not row[2].possible]
    foretold = [row for row in all_foretold if not row[1].only_listens] or all_foretold
    if serving:
        return _of_serving(serving, sum(plan.connections for _, plan, _ in foretold))
    short = [row for row in foretold if not row[2].possible]
    agent, _, first = min(short or foretold, key=lambda row: row[2].at / max(row[1].connections, 1))
    times = [predicted.at_s for _, _, predicted in short if predicted.at_s is not None]
    fits = sum(
        predicted.at if short and not predicted.possible else plan.connections for _, plan, predicted in foretold
    )
    return Prediction(
        limit=first.limit,
        resource=f"{agent}: {first.resource}",
        at=fits if short else sum(predicted.at for _, _, predicted in foretold),
        at_s=min(times, default=None),
        possible=not short,
        slack=sum(predicted.slack for _, _, predicted in foretold),
    )


def _of_serving(serving: Sequence[tuple[str, Plan, Prediction]], connections: int) -> Prediction:
    """Return the limit of the agent that can serve the smallest part of what comes to it, for all connections."""
    agent, plan, first = min(serving, key=lambda row: row[2].at / max(row[1].guests, 1))
    elsewhere = max(connections - plan.guests, 0)
    return replace(first, resource=f"{agent}: {first.resource}", at=min(first.at + elsewhere, connections))


def host_of(shares: Sequence[Share]) -> Host:
    """Return the facts that all hosts have in common; sums where a sum has a meaning, and nothing where they differ.

    started_at: of the first.
    """
    hosts = [share.host for share in shares]
    first, defaults = hosts[0], Host()
    common = {
        name: getattr(first, name)
        if len({repr(getattr(host, name)) for host in hosts}) == 1
        else getattr(defaults, name)
        for name in Host.__struct_fields__
    }
    started = [host.started_at for host in hosts if host.started_at]
    cpus = [host.cpus for host in hosts if host.cpus is not None]
    common |= {
        "started_at": min(started, default=None),
        "cpus": sum(cpus) if len(cpus) == len(hosts) else None,
        "sysctls": _common(host.sysctls for host in hosts),
        "libraries": _common(host.libraries for host in hosts),
    }
    return Host(**common)


def _common(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return what stands in all of them with the same value."""
    first, *others = mappings
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def events_of(shares: Sequence[Share]) -> list[Event]:
    """Return the events of all agents in order of time, each with the name of its agent.

    One that did not come to its end adds "agent-lost"; "ended" stands at the end if all of them did.
    """
    interrupted = max(shares, key=lambda share: sum(event.event == "interrupted" for event in share.events))
    events = [event for share in shares for event in _events_of(share, told=share is interrupted)]
    events.sort(key=lambda event: event.t_s)
    starts = [event for share in shares for event in share.events if event.event == "started"]
    if starts:
        events.insert(0, min(starts, key=lambda event: event.at_ns or 0))
    if all(share.ended for share in shares):
        events.append(Event(event="ended", text="the run came to its end", t_s=max(map(_last_s, shares))))
    return events


def _events_of(share: Share, *, told: bool) -> Iterable[Event]:
    """Yield the events of one agent. told: its interrupts stand for those of all, each of which had the same."""
    for event in share.events:
        if told or event.event != "interrupted":
            yield from event_of(share.name, event, share.offset_s)
    if not share.ended:
        text = f"agent {share.name} was lost: its run did not come to an end"
        yield Event(event="agent-lost", text=text, t_s=_last_s(share))


def event_of(name: str, event: Event, offset_s: float = 0.0) -> Iterable[Event]:
    """Yield an event of an agent as one of the whole, unless it is one that the whole has of its own."""
    if event.event not in _OF_THE_WHOLE:
        of_probe = f"{name}/{event.name}" if event.name is not None else None
        yield structs.replace(event, text=f"{name}: {event.text}", name=of_probe, t_s=event.t_s + offset_s)


def _last_s(share: Share) -> float:
    return max((event.t_s for event in share.events), default=0.0) + share.offset_s
