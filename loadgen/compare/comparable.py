"""The conditions of a comparison: reasons to refuse it, and caveats.

Pure. A comparison is refused when the figures of the two sides mean different things. A caveat is another possible
reason for a difference than the one under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from loadgen.compare.differences import Flat, Part, between, host_of
from loadgen.kernel import snmp
from loadgen.model import Plan
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import RunSummary

#: Share of the ports in TIME-WAIT before a run began, from which on it affects the run.
CONTAMINATED_SHARE: Final = 0.01

_HARDWARE: Final = ("machine", "cpu_model", "cpus")
_VERSIONS: Final = ("loadgen", "python", "libraries.numpy", "libraries.uvloop")


@dataclass(frozen=True, slots=True)
class Subject:
    """One run as a comparison reads it."""

    #: Its directory, as it was given.
    name: str
    summary: RunSummary
    plan: Plan
    host: Host
    #: By dotted key; None where there is none that can be read.
    scenario: Flat | None = None
    #: Sockets in TIME-WAIT before the run had made any.
    time_wait_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """Runs that repeat one thing, under a letter."""

    label: str
    runs: tuple[Subject, ...]


def time_wait_before(first_line: Line) -> float:
    """Return the sockets in TIME-WAIT of the first line of a series, less those that entered it since the start."""
    kernel = first_line.kernel
    return float(max(kernel.now.get("sockstat.tcp_tw", 0) - snmp.entered_time_wait(kernel.delta), 0))


def refusals(base: Side, other: Side) -> list[str]:
    """Return the reasons for which two sides cannot be compared; empty when they can."""
    reasons = [
        f"{run.name} opened nothing, so it has no figures{_because(run)}"
        for run in (*base.runs, *other.runs)
        if not run.summary.arrivals.started
    ]
    for side in (base, other):
        other_scenario = next((run for run in side.runs if _settings(run) != _settings(side.runs[0])), None)
        if other_scenario is not None:
            reasons.append(f"{other_scenario.name} and {side.runs[0].name} are no repetitions: their scenarios differ")
    reasons += _unlike(
        base,
        other,
        "connections",
        lambda run: "opened and closed all the time (churn)" if _churns(run) else "held open",
    )
    reasons += _unlike(base, other, "transport", lambda run: run.plan.transport.value)
    return reasons


def caveats(base: Side, other: Side) -> list[str]:
    """Return the possible reasons for a difference that the scenarios do not name."""
    runs = (*base.runs, *other.runs)
    reasons: list[str] = []
    for name, keys in (("hosts", _HARDWARE), ("kernels", ("kernel",)), ("versions", _VERSIONS)):
        differences = [sentence for key in keys for sentence in _unlike(base, other, key, _of_host(key))]
        if differences:
            reasons.append(f"the {name} differ: {'; '.join(differences)}")
    reasons += _unmeant_sysctls(base, other)
    reasons += _unlike(base, other, "connections", lambda run: f"{run.plan.connections:,}")
    reasons += _unlike(base, other, "what connections carry", _carried)
    for run in runs:
        if not run.summary.complete:
            reasons.append(f"{run.name} is incomplete{_because(run)}")
        if not run.summary.generator.trustworthy:
            because = "; ".join(run.summary.generator.reasons) or "its summary does not say why"
            reasons.append(f"{run.name} was limited by loadgen itself, so its figures may be about that: {because}")
        if run.time_wait_before > CONTAMINATED_SHARE * max(run.plan.capacity_per_pair, 1):
            reasons.append(
                f"{run.name} began with {run.time_wait_before:,.0f} sockets in TIME-WAIT that were not its own; "
                "give it a lab, or wait a minute before it"
            )
    return list(dict.fromkeys(reasons))


def _unlike(base: Side, other: Side, what: str, find: Callable[[Subject], str | None]) -> list[str]:
    """Return a sentence with the values of both sides where they are not the same in all runs, else nothing."""
    values = [_distinct(filter(None, map(find, side.runs))) for side in (base, other)]
    if not all(values) or len(_distinct([*values[0], *values[1]])) == 1:
        return []
    texts = (f"{' and '.join(of_side)} in {side.label}" for of_side, side in zip(values, (base, other), strict=True))
    return [f"{what}: {', '.join(texts)}"]


def _unmeant_sysctls(base: Side, other: Side) -> list[str]:
    """Return a sentence on sysctls that differ between the hosts and that no scenario sets."""
    first, second = base.runs[0], other.runs[0]
    if not first.host.sysctls or not second.host.sysctls:
        return []
    meant = {key.removeprefix("lab.") for run in (first, second) for key in run.scenario or {}}
    differ = between(Part.HOST, host_of(first.host), host_of(second.host))
    # A sysctl of only one side was not read by the other side's version of loadgen.
    on_both = [row.key for row in differ if row.base is not None and row.other is not None]
    names = [key for key in on_both if key.startswith("sysctls.") and key not in meant]
    listed = ", ".join(name.removeprefix("sysctls.") for name in names)
    return [f"sysctls differ that no scenario sets: {listed}"] if names else []


def _of_host(key: str) -> Callable[[Subject], str | None]:
    def find(run: Subject) -> str | None:
        value = host_of(run.host).get(key)
        return None if value is None else str(value)

    return find


def _settings(run: Subject) -> object:
    """Return the settings of a run: its scenario, or where that cannot be read its plan."""
    plan = run.plan
    if run.scenario is None:
        return plan.connections, plan.strategy, plan.targets, plan.sources, plan.hold_s, plan.churn
    return run.scenario


def _churns(run: Subject) -> bool:
    return run.plan.churn is not None


def _carried(run: Subject) -> str:
    traffic = run.summary.traffic
    return f"{traffic.protocol}{' over TLS' if traffic.tls else ''}" if traffic else "nothing"


def _because(run: Subject) -> str:
    reason = run.summary.incomplete_because
    return f": {reason}" if reason else ""


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
