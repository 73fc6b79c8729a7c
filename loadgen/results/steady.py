"""The steady part of a run: where the rate and the failures of churn, or the number of held connections, do not change.

The candidate is the part after the ramp and before the fall, and in churn after the ports first ran out, because until
then each of them served for the first time. In churn it is cut at the change points that a test finds, the part
before each left out: see `loadgen.results.change`. What is left is steady if it is long enough, and neither changes
again nor drifts. Held connections are held or not: nothing is cut there, and a change is the end of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from loadgen import format as fmt
from loadgen.model import Plan
from loadgen.results.course import Course, Point, summed
from loadgen.results.fold import NOTHING, Fold
from loadgen.results.quantiles import quantiles_of
from loadgen.results.schema.run import (
    ErrorCount,
    RatePerS,
    RunSummary,
    SteadyLatencyUs,
    SteadyResult,
)
from loadgen.results.signals import changed, drifts, of_churn, of_hold

#: Fewer intervals show no change with the significance that is asked for: the clearest split of nine values has a
#: probability of 3 %, of ten 0.8 %.
INTERVALS_MIN: Final = 10
#: What is left after a change is at least this share of the candidate; less says nothing about the rest of the run.
LEFT_MIN: Final = 0.25
#: Change points that are cut at most; a run with more is not steady.
CUTS_MAX: Final = 4
#: Lines come this share of an interval late or early.
_JITTER: Final = 0.1
#: Workers tell latencies ten times a second, later than counts: intervals that begin so soon after the beginning of the
#: part may have some from before it, where the latencies were others if something changed.
_TOLD_S: Final = 0.15
#: Keys that an expectation finds of a part that is not steady.
_OF_ANY: Final = ("reached", "reason", "from_s", "to_s", "changed_at_s")


def found(plan: Plan, series: Fold) -> SteadyResult | None:
    """Return the steady part of a run, or why there is none.

    None: the run neither churned nor held; or too shortly to tell, where neither a profile nor an expectation asks.
    """
    course, last = series.course, series.last or NOTHING
    if plan.only_listens:
        return None
    edges = _spaced(_churned(plan, course) if plan.churn else [course.begin, *course.points])
    asked = plan.profile is not None or any(text.startswith("steady.") for text in plan.expect)
    if len(edges) < (2 if asked else INTERVALS_MIN + 1):
        return None
    part = _Part(plan, edges, last.first_denied_s)
    return _result(course, part, part.reason())


def over_steady(summary: RunSummary) -> RunSummary | None:
    """Return the summary with the figures of the steady part alone; None where none was reached.

    Of churn: outcomes.established and failed, errors, open.lost, rate_per_s, latency_us.connect, arrival and exchange,
    churn.mean_per_s and sustained_per_s. Held connections were opened before their steady part, so what is about the
    opening stays, open.lost included: a target that closes connections as soon as there are too many of them does so
    while they are opened. latency_us.exchange is of the part. All else is of the whole run, the sums of `arrivals`
    included.
    """
    steady = summary.steady
    if steady is None or not steady.reached:
        return None
    if summary.churn is None:
        return replace(summary, latency_us=replace(summary.latency_us, exchange=steady.latency_us.exchange))
    per_s = steady.established_per_s
    return replace(
        summary,
        outcomes=replace(summary.outcomes, established=steady.established, failed=steady.failed, in_flight=0),
        errors=steady.errors,
        open=replace(summary.open, lost=steady.lost),
        rate_per_s=RatePerS(established_mean=per_s, established_peak=steady.established_per_s_high),
        latency_us=replace(
            summary.latency_us,
            connect=steady.latency_us.connect,
            arrival=steady.latency_us.arrival,
            exchange=steady.latency_us.exchange,
        ),
        churn=replace(summary.churn, mean_per_s=per_s, sustained_per_s=per_s),
    )


def without_unsteady(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a plain summary without the figures of a part that is not steady: no expectation holds of them."""
    steady = summary.get("steady")
    if not steady or steady["reached"]:
        return summary
    return {**summary, "steady": {key: value for key, value in steady.items() if key in _OF_ANY}}


def _churned(plan: Plan, course: Course) -> list[Point]:
    """Return the instants of the candidate in churn: after the rise, before the fall."""
    assert plan.churn
    from_s, to_s = 0.0, plan.churn.duration_s
    if plan.profile:
        from_s, to_s = plan.profile.ramp_s, plan.profile.ramp_s + plan.profile.sustain_s
    elif plan.stages:
        from_s = sum(stage.duration_s or 0.0 for stage in plan.stages[:-1])
    jitter_s = _JITTER * plan.interval_s
    edges = [edge for edge in (course.begin, *course.points) if from_s - jitter_s <= edge.t_s <= to_s + jitter_s]
    return edges if from_s else edges[1:]  # in the first interval the workers start


def _spaced(edges: Sequence[Point]) -> list[Point]:
    """Return the instants without those that are close to the one before: a change of phase is beside an interval."""
    if len(edges) < 2:
        return list(edges)
    usual_s = float(np.median(np.diff([edge.t_s for edge in edges])))
    kept = [edges[0]]
    for edge in edges[1:]:
        if edge.t_s - kept[-1].t_s >= usual_s / 2 > 0:
            kept.append(edge)
        elif len(kept) > 1 and edge.t_s > kept[-1].t_s:
            kept[-1] = edge
    return kept


class _Part:
    """The rest of the candidate, and why it is not steady; `begin` moves on with each cut."""

    def __init__(self, plan: Plan, edges: Sequence[Point], first_denied_s: float | None) -> None:
        self._plan, self.edges = plan, edges
        self.begin, self.end = 0, len(edges) - 1
        self.changed_at_s: list[float] = []
        self._told = ""
        self._whole_s = edges[-1].t_s - edges[0].t_s
        if plan.churn and first_denied_s is not None and first_denied_s <= edges[-1].t_s:
            self.begin = next(at for at, edge in enumerate(edges) if edge.t_s >= first_denied_s or at == self.end - 1)
            self.changed_at_s.append(first_denied_s)
            self._told = f"the ports first ran out at {fmt.seconds(first_denied_s)}"
        self._ran_out = bool(self.changed_at_s)
        self._signals = of_churn(edges) if plan.churn else of_hold(edges)

    @property
    def left_s(self) -> float:
        """How long what is left is, seconds."""
        return self.edges[self.end].t_s - self.edges[self.begin].t_s

    def reason(self) -> str | None:
        """Cut what changes, and return why the rest is not steady; None if it is."""
        for _ in range(CUTS_MAX + 1):
            if short := self._short():
                return short
            change = changed(self._signals, self.begin, self.end)
            if change is None:
                return self._drift() or self._idle()
            signal, at = change
            told = signal.told(self.begin, at, self.end)
            self._told = f"{told} at {fmt.seconds(self.edges[at].t_s)}"
            self.changed_at_s.append(self.edges[at].t_s)
            if not self._plan.churn:
                return self._told
            self.begin = at
        return f"it still changed after {CUTS_MAX} cuts: {self._told}"

    def _short(self) -> str:
        """Return that too little is left; "" if it is enough."""
        intervals = self.end - self.begin
        interval_s = self.left_s / intervals if intervals else 0.0
        needs = []
        if intervals < INTERVALS_MIN:
            needs.append(f"{INTERVALS_MIN} intervals of {fmt.seconds(interval_s)}")
        if self.left_s < LEFT_MIN * self._whole_s:
            needs.append(f"a quarter of {fmt.seconds(self._whole_s)}")
        rest_s = self._plan.ceiling.rest_s if self._plan.ceiling else 0.0
        if self._ran_out and self.left_s < rest_s:
            needs.append(f"the {fmt.seconds(rest_s)} for which a port rests, so that the rate comes in waves")
        if not needs:
            return ""
        left = f"{fmt.seconds(self.left_s)} {'are left' if self._told else 'are there'}, less than {needs[-1]}"
        return f"{self._told}, and {left}" if self._told else left

    def _drift(self) -> str:
        """Return that a signal rises or falls all the time; "" if none does."""
        return next((signal.drift(self.begin, self.end) for signal in drifts(self._signals, self.begin, self.end)), "")

    def _idle(self) -> str | None:
        """Return that there is nothing to be steady; None if there is."""
        first, last = self.edges[self.begin], self.edges[self.end]
        if self._plan.churn and last.established <= first.established:
            return f"{self._told}, and no connection opened after that" if self._told else "no connection opened"
        return None if self._plan.churn or last.open else "no connection was open"


def _result(course: Course, part: _Part, reason: str | None) -> SteadyResult:
    first, last = part.edges[part.begin], part.edges[part.end]
    points = [point for point in course.points if first.t_s < point.t_s <= last.t_s]
    established, failed = _more(first.established, last.established), _more(first.failed, last.failed)
    per_s = _rates(part.edges[part.begin :])
    began_s = (first.t_s, *(point.t_s for point in points))
    told = [point for point, at_s in zip(points, began_s, strict=False) if at_s >= first.t_s + _TOLD_S]
    connect, arrival, exchange = summed(told)
    return SteadyResult(
        reached=reason is None,
        reason=reason,
        from_s=first.t_s,
        to_s=last.t_s,
        changed_at_s=tuple(part.changed_at_s),
        established=established,
        failed=failed,
        lost=_more(first.lost, last.lost),
        established_per_s=round(established / part.left_s, 3) if part.left_s else 0.0,
        established_per_s_low=round(min(per_s, default=0.0), 3),
        established_per_s_high=round(max(per_s, default=0.0), 3),
        failed_share=round(failed / (established + failed), 6) if failed else 0.0,
        open_low=min(point.open_low for point in points),
        open_high=max(point.open_high for point in points),
        errors=_errors(first, last),
        latency_us=SteadyLatencyUs(
            connect=quantiles_of(connect),
            arrival=quantiles_of(arrival),
            exchange=quantiles_of(exchange) if exchange.any() else None,
        ),
    )


def _more(before: int, after: int) -> int:
    return max(after - before, 0)


def _rates(edges: Sequence[Point]) -> list[float]:
    return [
        _more(before.established, after.established) / (after.t_s - before.t_s) for before, after in pairwise(edges)
    ]


def _errors(first: Point, last: Point) -> tuple[ErrorCount, ...]:
    before = {error[:3]: error.times for error in first.errors}
    return tuple(
        ErrorCount(syscall=error.syscall, errno=error.errno, outcome=error.outcome, count=times)
        for error in last.errors
        if (times := error.times - before.get(error[:3], 0)) > 0
    )
