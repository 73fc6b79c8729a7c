"""One run that opens more and more connections in steps and closes none, judged step by step.

A step opens what is missing to its value, and then waits: its plateau. The expectations are held against what happened
since the step before, its plateau included. The first step that fails ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, Final

from msgspec.structs import replace

from loadgen import format as fmt
from loadgen.errors import UsageError
from loadgen.model import Plan
from loadgen.results import summary as summaries
from loadgen.results.block import Latency
from loadgen.results.fold import NOTHING, Fold
from loadgen.results.quantiles import quantiles_of
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FailedCondition
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import ErrorCount, RunSummary
from loadgen.scenario import FindSpec, ScenarioSpec
from loadgen.scenario.expect import Expectation
from loadgen.scenario.fields import STAGES_MAX

#: Intervals of a plateau, at least: one line is then sure to be in it, after the last connections were answered.
_INTERVALS_MIN: Final = 3
#: Connections that are due before the first plateau beyond its value, none of which begins.
_SPARE: Final = 0.5
#: Shortest stage of a schedule that a scenario can have, see `loadgen.scenario.sections.StageSpec`.
_STAGE_MIN_S: Final = 0.001
#: A step is judged as a run that ends with it.
_AS_IF_ENDED: Final = (Event(event="ended", text="the step came to its end"),)


@dataclass(frozen=True, slots=True)
class OpeningStep:
    """A number of open connections. opened_s, to_s: when the last of them is due and when the plateau ends, seconds."""

    value: float
    opened_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that was judged.

    failed: expectations that it did not meet. figures: the summary of its part of the run.
    """

    step: OpeningStep
    failed: tuple[FailedCondition, ...]
    figures: RunSummary

    @property
    def reason(self) -> str | None:
        """Why it failed; None if it held."""
        if not self.failed:
            return None
        return "; ".join(f"expected {row.expression}, observed {fmt.scalar(row.observed)}" for row in self.failed)


def stepped(scenario: ScenarioSpec, find: FindSpec) -> list[OpeningStep]:
    """Return the steps from the lowest value to the highest, each as much above the one before as the precision says.

    Raises: UsageError for a scenario without a rate, with plateaus that are too short, or with too many steps.
    """
    if scenario.arrival is None or scenario.arrival.rate_per_s is None or scenario.arrival.ramp_s:
        raise UsageError(
            "find.mode continuous opens at one rate; write arrival: {rate: 2000/s}, without ramp or stages"
        )
    least_s = round(_INTERVALS_MIN * scenario.interval_s, 9)
    if scenario.hold_s < least_s:
        raise UsageError(f"find.mode continuous holds each step for `hold`; write at least hold: {least_s:g}s")
    steps: list[OpeningStep] = []
    at_s, open_, value = 0.0, 0.0, find.start.number
    while True:
        # A moment for half a connection at the start: rounding then never puts the last one into the next step.
        due = value - open_ if steps else value + _SPARE
        opened_s = at_s + max(due / scenario.arrival.rate_per_s, _STAGE_MIN_S)
        at_s = opened_s + scenario.hold_s
        steps.append(OpeningStep(value, opened_s, at_s))
        if 2 * len(steps) >= STAGES_MAX:
            raise UsageError(
                f"these are more than {len(steps)} steps; write a higher find.from, a lower find.to or a coarser "
                "find.precision"
            )
        if value >= find.stop.number:
            return steps
        open_, value = value, min(max(value + 1, floor(value * (1 + find.precision))), find.stop.number)


def in_steps(scenario: ScenarioSpec, steps: Sequence[OpeningStep]) -> ScenarioSpec:
    """Return the scenario that opens these steps, one after the other."""
    arrival = scenario.arrival
    assert arrival
    assert arrival.rate_per_s
    stages: list[dict[str, str]] = []
    began_s, open_ = 0.0, -_SPARE
    for step in steps:
        rate = f"{(step.value - open_) / (step.opened_s - began_s):.9f}/s"
        stages.append({"from": rate, "to": rate, "over": _duration(step.opened_s - began_s)})
        stages.append({"from": "0/s", "to": "0/s", "over": _duration(step.to_s - step.opened_s)})
        began_s, open_ = step.to_s, step.value
    # A schedule ends with a rate above 0, see `loadgen.arrivals`.
    stages.append({"from": rate, "to": rate, "over": _duration(_STAGE_MIN_S)})
    changed = type(arrival).model_validate({"stages": stages})
    return scenario.model_copy(update={"arrival": changed, "connections": int(steps[-1].value)})


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.6f}ms"


class StepJudge:
    """Judges each step by the last line of its plateau. stop: called once, at the first step that fails.

    host: returns the facts of the host, which a verdict needs; called when there is something to judge.
    """

    def __init__(
        self,
        steps: Sequence[OpeningStep],
        expectations: Sequence[Expectation],
        *,
        host: Callable[[], Host],
        stop: Callable[[], None],
    ) -> None:
        self.results: list[StepResult] = []
        self._steps, self._expectations, self._host, self._stop = list(steps), expectations, host, stop
        self._whole, self._part = Fold(), Fold()
        self._base = NOTHING

    def add(self, plan: Plan, line: Line) -> None:
        """Take the next line of the series."""
        while self._is_open and line.t_s > self._steps[len(self.results)].to_s:
            # What this line counts belongs to the next step, or to the end of the run.
            self._judge(plan)
        self._whole.add(line)
        self._part.add(line)

    @property
    def _is_open(self) -> bool:
        return len(self.results) < len(self._steps) and not (self.results and self.results[-1].failed)

    def _judge(self, plan: Plan) -> None:
        figures = self._figures(plan)
        failed = tuple(
            FailedCondition(expression=row.expression, observed=row.observed)
            for row in summaries.held(self._expectations, figures)
            if not row.passed
        )
        self.results.append(StepResult(self._steps[len(self.results)], failed, figures))
        self._base, self._part = self._whole.last or NOTHING, Fold()
        if failed:
            self._stop()

    def _figures(self, plan: Plan) -> RunSummary:
        """Return the summary so far, with what happened since the step before in place of the totals."""
        whole = summaries.of_fold(plan, self._host(), self._whole, _AS_IF_ENDED, run="")
        line, base, latency = self._whole.last or NOTHING, self._base, self._part.latency
        before = {error[:3]: error.times for error in base.errors}
        errors = tuple(
            ErrorCount(syscall=error.syscall, errno=error.errno, outcome=error.outcome, count=times)
            for error in line.errors
            if (times := error.times - before.get(error[:3], 0)) > 0
        )
        measured: dict[str, Any] = {
            row.name.lower(): quantiles_of(latency[row]) for row in (Latency.LATENESS, Latency.CONNECT, Latency.ARRIVAL)
        }
        if latency[Latency.EXCHANGE].any():
            measured["exchange"] = quantiles_of(latency[Latency.EXCHANGE])
        return replace(
            whole,
            outcomes=replace(
                whole.outcomes,
                established=line.established - base.established,
                failed=line.failed - base.failed,
            ),
            errors=errors,
            open=replace(whole.open, lost=line.lost - base.lost),
            latency_us=replace(whole.latency_us, **measured),
        )
