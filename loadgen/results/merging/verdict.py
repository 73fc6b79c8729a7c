"""The verdict on a run of several agents, made from those on its agents and from the sums.

A limit of one host (its ports, its descriptors, its loadgen) is an agent's: the verdict is that of the agents that met
it, and names them. Anything else was met by all of them together, at a target or on the way there: of it the sums tell
more than any agent knows, such as the counters of an agent that listens for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import structs

from loadgen.capacity.limits import LIMITS
from loadgen.results.schema.run import AgentResult, Confidence, RunSummary, VerdictResult

#: Limits that one agent meets alone although no arrival waits for the resource.
_OF_ONE_HOST: Final = frozenset({"port-search", "generator", "paused", "port-held", "time-wait", "neighbours"})
#: Agents that a sentence names.
_NAMES_MAX: Final = 5
#: From the surest.
_CONFIDENCE: Final[Sequence[Confidence]] = ("certain", "likely", "open")


def of_one_host(limit: str) -> bool:
    """Return whether a limit is of one host, so that each agent has its own."""
    return LIMITS[limit].of_this_host or LIMITS[limit].uses_ports or limit in _OF_ONE_HOST


def decide(of_sums: VerdictResult, summary: RunSummary, agents: Sequence[AgentResult]) -> VerdictResult:
    """Return the verdict on the whole.

    of_sums: the verdict on the sums, as on any run. summary: the sums. agents: with their own verdicts.
    """
    groups = _groups(agents)
    if not summary.complete or not groups:
        return _with_findings(of_sums, groups, agents) if groups else of_sums
    limit = max(groups, key=lambda name: sum(_missing(agent) for agent in groups[name]))
    if not of_one_host(limit):
        shared = of_sums if of_sums.limit != "none" and not of_one_host(of_sums.limit) else None
        if shared:
            rest = {name: met for name, met in groups.items() if not _is_decided(met, shared)}
            return _with_findings(shared, rest, agents)
    return _of_agents(limit, groups, of_sums, agents)


def _groups(agents: Sequence[AgentResult]) -> dict[str, list[AgentResult]]:
    """Return the agents that met a limit by its name, without those that met none."""
    groups: dict[str, list[AgentResult]] = {}
    for agent in agents:
        if agent.verdict.limit != "none":
            groups.setdefault(agent.verdict.limit, []).append(agent)
    return groups


def _is_decided(met: Sequence[AgentResult], shared: VerdictResult) -> bool:
    """Return whether the verdict of each of these agents was open, and the sums show which of its candidates it was."""
    return all(agent.verdict.confidence == "open" and shared.limit in agent.verdict.candidates for agent in met)


def _missing(agent: AgentResult) -> int:
    """Return the connections of its share that an agent did not keep."""
    return agent.arrivals.scheduled - agent.outcomes.established + agent.open.lost


def _of_agents(
    limit: str, groups: Mapping[str, Sequence[AgentResult]], of_sums: VerdictResult, agents: Sequence[AgentResult]
) -> VerdictResult:
    """Return the verdict of the agents that met a limit; the one that it cost most speaks for them."""
    met = sorted(groups[limit], key=_missing, reverse=True)
    first = met[0].verdict
    text = f"{_named(met, agents)} met a limit. {met[0].name}: {first.text}"
    candidates = tuple(dict.fromkeys(name for agent in met for name in agent.verdict.candidates))
    confidence = max((agent.verdict.confidence or "open" for agent in met), key=_CONFIDENCE.index)
    return structs.replace(
        first,
        text=" ".join((text, *_others(limit, groups, agents))),
        predicted=of_sums.predicted,
        observed=of_sums.observed,
        evidence=tuple(f"{agent.name}: {fact}" for agent in met for fact in agent.verdict.evidence),
        confidence=confidence,
        candidates=candidates if confidence == "open" else (),
        decide_by=tuple(dict.fromkeys(look for agent in met for look in agent.verdict.decide_by)),
        findings=(*_others(limit, groups, agents), *first.findings),
    )


def _with_findings(
    verdict: VerdictResult, groups: Mapping[str, Sequence[AgentResult]], agents: Sequence[AgentResult]
) -> VerdictResult:
    findings = _others(verdict.limit, groups, agents)
    text = " ".join((verdict.text, *findings))
    return structs.replace(verdict, text=text, findings=(*findings, *verdict.findings))


def _others(limit: str, groups: Mapping[str, Sequence[AgentResult]], agents: Sequence[AgentResult]) -> tuple[str, ...]:
    """Return a sentence on each other limit that agents met."""
    return tuple(
        f"{_named(met, agents)} met {name}: {met[0].verdict.text}" for name, met in groups.items() if name != limit
    )


def _named(met: Sequence[AgentResult], agents: Sequence[AgentResult]) -> str:
    """Return agents in words: "agent a", "agents a and b (2 of 5)", "every agent"."""
    names = [agent.name for agent in met]
    if len(names) == len(agents):
        return "Every agent"
    if len(names) == 1:
        return f"Agent {names[0]} (1 of {len(agents)})"
    shown = ", ".join(names[:-1][:_NAMES_MAX])
    last = f"{len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX + 1 else names[-1]
    return f"Agents {shown} and {last} ({len(names)} of {len(agents)})"
