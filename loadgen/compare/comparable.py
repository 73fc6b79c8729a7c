"""The conditions of a comparison: reasons to refuse it, and caveats.

Pure. A comparison is refused when the figures of the two sides mean different things. A caveat is another possible
reason for a difference than the one under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from loadgen.compare.differences import Flat, Part, between, host_of
from loadgen.model import Plan
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import RunSummary

#: Ports that others had put into TIME-WAIT before a run began: this share of them is no accident.
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
    """Of the first line of a series: sockets in TIME-WAIT, less those that have entered it since the start."""
    kernel = first_line.kernel
    return float(max(kernel.now.get("sockstat.tcp_tw", 0) - kernel.delta.get("TcpExt.TW", 0), 0))


def refusals(base: Side, other: Side) -> list[str]:
    """Why these two cannot be compared; empty when they can."""
    found = [
        f"{run.name} opened nothing, so it has no figures{_because(run)}"
        for run in (*base.runs, *other.runs)
        if not run.summary.arrivals.started
    ]
    for side in (base, other):
        told = next((run for run in side.runs if _settings(run) != _settings(side.runs[0])), None)
        if told is not None:
            found.append(f"{told.name} and {side.runs[0].name} are no repetitions: their scenarios differ")
    found += _unlike(
        base,
        other,
        "connections",
        lambda run: "opened and closed all the time (churn)" if _churns(run) else "held open",
    )
    found += _unlike(base, other, "transport", lambda run: run.plan.transport.value)
    return found


def caveats(base: Side, other: Side) -> list[str]:
    """Return the possible reasons for a difference that the scenarios do not name."""
    runs = (*base.runs, *other.runs)
    found: list[str] = []
    for name, keys in (("hosts", _HARDWARE), ("kernels", ("kernel",)), ("versions", _VERSIONS)):
        differ = [said for key in keys for said in _unlike(base, other, key, _of_host(key))]
        if differ:
            found.append(f"the {name} differ: {'; '.join(differ)}")
    found += _unmeant_sysctls(base, other)
    found += _unlike(base, other, "connections", lambda run: f"{run.plan.connections:,}")
    found += _unlike(base, other, "what connections carry", _carried)
    for run in runs:
        if not run.summary.complete:
            found.append(f"{run.name} is incomplete{_because(run)}")
        if not run.summary.generator.trustworthy:
            reasons = "; ".join(run.summary.generator.reasons) or "its summary does not say why"
            found.append(f"{run.name} was limited by loadgen itself, so its figures may be about that: {reasons}")
        if run.time_wait_before > CONTAMINATED_SHARE * max(run.plan.capacity_per_pair, 1):
            found.append(
                f"{run.name} began with {run.time_wait_before:,.0f} sockets in TIME-WAIT that were not its own; "
                "give it a lab, or wait a minute before it"
            )
    return list(dict.fromkeys(found))


def _unlike(base: Side, other: Side, what: str, find: Callable[[Subject], str | None]) -> list[str]:
    """That something is not the same in all runs of both sides, and what it is on each."""
    values = [_distinct(filter(None, map(find, side.runs))) for side in (base, other)]
    if not all(values) or len(_distinct([*values[0], *values[1]])) == 1:
        return []
    said = (f"{' and '.join(one)} in {side.label}" for one, side in zip(values, (base, other), strict=True))
    return [f"{what}: {', '.join(said)}"]


def _unmeant_sysctls(base: Side, other: Side) -> list[str]:
    """Sysctls that differ between hosts, without a scenario that says so."""
    first, second = base.runs[0], other.runs[0]
    if not first.host.sysctls or not second.host.sysctls:
        return []
    meant = {key.removeprefix("lab.") for run in (first, second) for key in run.scenario or {}}
    differ = between(Part.HOST, host_of(first.host), host_of(second.host))
    # One that only one of them has was not asked for by the other's version of loadgen.
    there = [one.key for one in differ if one.base is not None and one.other is not None]
    names = [key for key in there if key.startswith("sysctls.") and key not in meant]
    listed = ", ".join(name.removeprefix("sysctls.") for name in names)
    return [f"sysctls differ that no scenario sets: {listed}"] if names else []


def _of_host(key: str) -> Callable[[Subject], str | None]:
    def find(run: Subject) -> str | None:
        found = host_of(run.host).get(key)
        return None if found is None else str(found)

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
