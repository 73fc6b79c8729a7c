"""The share of one agent in a scenario: pure arithmetic on scenarios, without a host.

All shares together are the scenario: connections, concurrency and arrivals are divided by weight, and their sums are
exact. What is meant of one process or of one connection stays as it is: workers, in_flight, hold, timeout.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, Final

from msgspec import structs

from loadgen import arrivals
from loadgen.cluster.messages import Portion
from loadgen.errors import UsageError
from loadgen.model import Stage
from loadgen.scenario import Guests, ScenarioSpec
from loadgen.scenario.sections import Arrival, StageSpec

#: Distance to the next arrival, in arrivals, that keeps it from being counted: ten times the tolerance with which
#: `loadgen.arrivals` counts one that misses the end by rounding alone.
_CLEAR: Final = 1e-5
#: Addresses that all interfaces which agents name as their sources may have together.
_ADDRESSES_OF_INTERFACES: Final = 1024


def portions_of(weights: Mapping[str, int]) -> tuple[Portion, ...]:
    """Return the portion of each agent that opens connections, by its name, in this order; weights of 1 or more."""
    values = tuple(weights.values())
    return tuple(
        Portion(
            name=name,
            index=index,
            of=len(values),
            before=sum(values[:index]),
            weight=weight,
            total=sum(values),
            weights=values,
        )
        for index, (name, weight) in enumerate(weights.items())
    )


def dealt(scenario: ScenarioSpec, names: Sequence[str]) -> tuple[Portion, ...]:
    """Return the portion of each agent as the scenario divides itself; that of one that only listens is nothing.

    Raises: UsageError for a name in the scenario that is of none of these agents, and where all of them only listen.
    """
    specs = scenario.agents.shares if scenario.agents else ()
    named = [("agents.shares", spec.name) for spec in specs]
    named += [("sink.agents", pattern) for target in scenario.targets for pattern in target.agents]
    for key, pattern in named:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"{key}: no agent is called {pattern}; there are {', '.join(names)}. Start one with --name, or correct "
                "the name"
            )
    opening = [name for name in names if not scenario.only_listens(name)]
    if not opening:
        raise UsageError(
            f"sink.agents: {', '.join(names)} only listen, and no agent is left to open a connection; start another, "
            f"or give one a share of the load, agents: {{shares: [{{name: {names[0]}}}]}}"
        )
    chosen = {name: scenario.agents.of(name) if scenario.agents else None for name in opening}
    portions = portions_of({name: spec.weight if spec else 1 for name, spec in chosen.items()})
    by_name = {portion.name: portion for portion in portions}
    last = portions[-1]
    nothing = structs.replace(last, index=last.of, before=last.total, weight=0)
    return tuple(by_name.get(name) or structs.replace(nothing, name=name) for name in names)


def parts(whole: int, weights: Sequence[int]) -> list[int]:
    """Return a whole number divided by weight: of equal weights as `arrivals.part` does, the first ones larger.

    Each part is its share rounded up or down. Raises: ValueError without a weight above 0.
    """
    total = sum(weights)
    if total < 1:
        raise ValueError(f"nothing can be divided by the weights {weights}")
    return _seated([Fraction(whole * weight, total) for weight in weights], whole)


def _seated(shares: Sequence[Fraction], seats: int) -> list[int]:
    """Return each share rounded, with that sum: up where the fraction is largest, the first ones where several are.

    Source: the method of the largest remainder (Hamilton).
    """
    sizes = [math.floor(share) for share in shares]
    by_fraction = sorted(range(len(shares)), key=lambda index: sizes[index] - shares[index])
    for index in by_fraction[: seats - sum(sizes)]:
        sizes[index] += 1
    return sizes


def settings_of(portion: Portion) -> tuple[str, ...]:
    """Return what a portion puts in place of a scenario's own, as --set takes it, to be applied after all others."""
    ends = {"sources.addresses": portion.sources, "targets": portion.targets}
    return tuple(f"{key}={json.dumps(value)}" for key, value in ends.items() if value is not None)


def share_of(scenario: ScenarioSpec, portion: Portion) -> ScenarioSpec:
    """Return the share of one agent: its connections, its arrivals, and no expectation.

    The first agent alone has the probes. Sources and targets are those that the scenario has for the agent, or for all.
    An agent of weight 0 opens nothing: it listens at the targets whose sink names it.

    Raises: UsageError for a scenario that cannot be divided, for a share of nothing, and for a portion whose numbers
        contradict each other.
    """
    if portion.weight == 0 and portion.total and scenario.only_listens(portion.name):
        return scenario.serving(portion.name, _guests_of(scenario, portion.name, own=0))
    weights = _weights_of(portion)
    _require_listened_at(scenario, portion.name)
    whole, scenario = scenario, scenario.of_agent(portion.name)
    if scenario.matrix or scenario.repeat > 1:
        key = "matrix" if scenario.matrix else "repeat"
        raise UsageError(f"{key}: a run on several agents is one run; leave {key} out, or run it without agents")
    changes: dict[str, object] = {} if portion.index == 0 else {"probes": ()}
    if scenario.connections is not None:
        changes["connections"] = _part(scenario.connections, "connections", portion, weights)
    if scenario.churn:
        concurrency = _part(scenario.churn.concurrency, "churn.concurrency", portion, weights)
        changes["churn"] = scenario.churn.model_copy(update={"concurrency": concurrency})
    own = parts(whole.most_open, weights)[portion.index]
    guests = _guests_of(whole, portion.name, own=own) if whole.listens(portion.name) else Guests()
    if scenario.arrival is None:
        return scenario.shared(changes, 0.0, guests)
    changes["arrival"] = _scaled(scenario.arrival, Fraction(portion.weight, portion.total))
    _, carry = arrivals.interleaved((), before=portion.before, weight=portion.weight, total=portion.total)
    if scenario.churn:
        carry = _carry_of_churn(scenario.stages, scenario.churn_s, carry, portion, weights)
    return scenario.shared(changes, carry, guests)


def _require_listened_at(scenario: ScenarioSpec, name: str) -> None:
    """Check that an agent with targets of its own can listen where others count on it. Raises: UsageError."""
    spec = scenario.agents.of(name) if scenario.agents else None
    listens = {target.address for target in spec.targets if target.sink} if spec and spec.targets else None
    for target in scenario.targets:
        if listens is not None and target.is_listened_at_by(name) and target.address not in listens:
            raise UsageError(
                f"agents.shares: agent {name} is to listen at {target.address} for the others, which is not among the "
                "targets of its own; add it there with sink: true, or have another agent listen"
            )


def _guests_of(scenario: ScenarioSpec, name: str, *, own: int) -> Guests:
    """Return what comes from others to the sinks of one agent, rather too much than too little.

    own: connections that the agent opens itself.
    """
    shares = scenario.agents.shares if scenario.agents else ()
    sources = [scenario.sources, *(scenario.with_ends_of(spec).sources for spec in shares if spec.sources is not None)]
    addresses = sum(block.count for each in sources for block in each.blocks)
    addresses += _ADDRESSES_OF_INTERFACES if any(each.interfaces for each in sources) else 0
    return Guests(math.ceil((scenario.most_open - own) * _share_that_goes_to(scenario, name)), addresses)


def _share_that_goes_to(scenario: ScenarioSpec, name: str) -> Fraction:
    """Return the share of the connections that goes to the sinks of one agent; 1 where that is not known before."""
    ends = [target.destination for target in scenario.targets]
    several = len({":" in end.address for end in ends}) > 1 or any(end.name for end in ends)
    if several or any(spec.targets for spec in (scenario.agents.shares if scenario.agents else ())):
        return Fraction(1)
    weights = [target.weight * len(target.destination.ports) for target in scenario.targets]
    listened = [target.is_listened_at_by(name) for target in scenario.targets]
    return Fraction(sum(itertools.compress(weights, listened)), sum(weights))


def _weights_of(portion: Portion) -> tuple[int, ...]:
    """Return the weights of all agents. Raises: UsageError where they are not those that the portion counts with."""
    weights = portion.weights or (portion.weight,) * portion.of
    own = weights[portion.index] if 0 <= portion.index < len(weights) else None
    known = portion.of, portion.before, portion.weight, portion.total
    if min(weights, default=0) < 1 or known != (len(weights), sum(weights[: portion.index]), own, sum(weights)):
        raise UsageError(
            f"agent {portion.name}: its weights contradict each other ({', '.join(map(str, weights))}; it is number "
            f"{portion.index} of {portion.of}, with {portion.weight} after {portion.before} of {portion.total}); a "
            "coordinator of another version may have sent them"
        )
    return weights


def _part(whole: int, key: str, portion: Portion, weights: Sequence[int]) -> int:
    """Return an agent's part of a number. Raises: UsageError if that is nothing."""
    part = parts(whole, weights)[portion.index]
    if not part:
        raise UsageError(
            f"{key}: {whole:,} for {portion.of:,} agents leave nothing to agent {portion.name}; write more of them, or "
            "use fewer agents"
        )
    return part


def _scaled(arrival: Arrival, share: Fraction) -> Arrival:
    """Return an arrival schedule with its rates multiplied."""

    def of(rate_per_s: float | None) -> float | None:
        return None if rate_per_s is None else float(Fraction(rate_per_s) * share)

    def stage_of(stage: StageSpec) -> StageSpec:
        rates = {"rate_start_per_s": of(stage.rate_start_per_s), "rate_end_per_s": of(stage.rate_end_per_s)}
        return stage.model_copy(update=rates)

    written = None if arrival.written is None else tuple(map(stage_of, arrival.written))
    changes: dict[str, Any] = {"rate_per_s": of(arrival.rate_per_s), "written": written}
    return arrival.model_copy(update=changes)


def _carry_of_churn(
    stages: Sequence[Stage], duration_s: float, carry: float, portion: Portion, weights: Sequence[int]
) -> float:
    """Return the carry with which exactly the agent's part of the arrivals is due in the duration of the churn.

    Agents of equal weight have theirs by taking turns. Of others each rounds on its own, which may make one arrival
    more or less of the whole; the carry nearest to the usual one with which none is lost or doubled prevents that.

    Raises: UsageError if no arrival is due on this agent.
    """
    whole = arrivals.due_within(stages, duration_s)
    area = max(Fraction(arrivals.area_within(stages, duration_s)), Fraction(whole))
    shares = [area * weight / portion.total for weight in weights]
    mine, share = _seated(shares, whole)[portion.index], shares[portion.index]
    if not mine:
        raise UsageError(
            f"arrival: {whole:,} arrivals for {portion.of:,} agents leave nothing to agent {portion.name}; write a "
            "higher rate or a longer churn.duration, or use fewer agents"
        )
    if len(set(weights)) == 1:
        return carry
    least, most = float(mine - share), float(mine + 1 - share) - _CLEAR
    return max(0.0, min(max(carry, least), most))
