"""How far a phase is, how long it still takes, and how many attempts per second are due; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadgen.model import Phase, Plan, Stage
from loadgen.results.schema.line import Line


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Time until the end of a phase: planned, or estimated from the time since the line before."""

    seconds: float
    estimated: bool


def due_per_s(stages: Sequence[Stage], at_s: float) -> float | None:
    """The rate of the schedule at this instant; None without a schedule, 0 after its last stage."""
    if not stages:
        return None
    begins_s = 0.0
    for stage in stages:
        if stage.duration_s is None:
            return stage.rate_start_per_s
        if at_s < begins_s + stage.duration_s:
            passed = (at_s - begins_s) / stage.duration_s
            return stage.rate_start_per_s + (stage.rate_end_per_s - stage.rate_start_per_s) * passed
        begins_s += stage.duration_s
    return 0.0


def settled(line: Line) -> int:
    """Attempts that have come to their end, those included that were never begun."""
    return line.established + line.failed + line.not_started


def share(plan: Plan, line: Line, *, began_s: float) -> float:
    """How much of its phase is done, 0 to 1; of closing, how much is still to be closed. began_s: when it began."""
    if plan.churn and line.phase is Phase.CHURN:
        done, whole = line.t_s, plan.churn.duration_s
    elif line.phase is Phase.HOLD:
        done, whole = line.t_s - began_s, plan.hold_s
    elif line.phase is Phase.RAMP:
        done, whole = settled(line), plan.connections
    else:
        done, whole = line.open, plan.connections
    return float(min(max(done / whole, 0.0), 1.0)) if whole else 1.0


def left(
    plan: Plan,
    line: Line,
    *,
    began_s: float,
    last_due_s: float | None,
    settled_per_s: float,
    closed_per_s: float,
) -> TimeLeft | None:
    """Time until the phase of this line ends; None where it is unknown.

    began_s: when the phase began. last_due_s: when the schedule ends, None without one. The rates are those since
    the line before: attempts that came to their end, and by how much fewer connections are open.
    """
    phase, t_s = line.phase, line.t_s
    if phase is Phase.HOLD:
        return TimeLeft(max(plan.hold_s - (t_s - began_s), 0.0), estimated=False)
    if phase is Phase.CHURN and plan.churn:
        return TimeLeft(max(plan.churn.duration_s - t_s, 0.0), estimated=False)
    if phase is Phase.DRAIN:
        return _at_rate(line.open, closed_per_s)
    if phase is not Phase.RAMP:
        return None
    if last_due_s is not None and t_s < last_due_s:
        return TimeLeft(last_due_s - t_s, estimated=False)
    return _at_rate(max(plan.connections - settled(line), 0), settled_per_s)


def _at_rate(ahead: int, per_s: float) -> TimeLeft | None:
    if not ahead:
        return TimeLeft(0.0, estimated=False)
    return TimeLeft(ahead / per_s, estimated=True) if per_s > 0 else None
