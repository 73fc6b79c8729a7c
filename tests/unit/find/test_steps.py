"""Steps of one run: how many connections are due when, and how each plateau is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.arrivals import due_ns, due_within
from loadgen.clock import NS_PER_S
from loadgen.errors import UsageError
from loadgen.find.steps import OpeningStep, StepJudge, in_steps, stepped
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.scenario import FindSpec, ScenarioSpec, parse
from loadgen.scenario.expect import Expectation
from tests import samples

TEXT = """\
name: steps
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 100
arrival: {rate: 1000/s}
hold: 300ms
interval: 100ms
expect: [outcomes.failed == 0]
find: {vary: connections, from: 100, to: 200, mode: continuous, precision: 10%}
"""


def scenario(*overrides: str) -> tuple[ScenarioSpec, FindSpec]:
    whole = parse(TEXT, overrides=overrides)
    assert whole.find
    return whole, whole.find


def test_each_step_is_as_much_above_the_one_before_as_the_precision_says() -> None:
    steps = stepped(*scenario())
    assert [step.value for step in steps] == [100, 110, 121, 133, 146, 160, 176, 193, 200]
    assert (steps[0].opened_s, steps[0].to_s) == pytest.approx((0.1005, 0.4005))
    assert (steps[1].opened_s, steps[1].to_s) == pytest.approx((0.4105, 0.7105))


def test_steps_of_less_than_one_connection_are_of_one() -> None:
    assert [step.value for step in stepped(*scenario("find.from=3", "find.to=6", "find.precision=1%"))] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("overrides", "fix"),
    [
        (["arrival={rate: 1000/s, ramp: 1s}"], "without ramp or stages"),
        (["arrival={stages: [{to: 1000/s, over: 1s}, {to: 1000/s, over: 1s}]}"], "without ramp or stages"),
        (["hold=200ms"], "write at least hold: 0.3s"),
        (["find.to=1000000", "find.precision=0.1%"], "write a higher find.from, a lower find.to or a coarser"),
    ],
)
def test_what_cannot_go_up_in_steps(overrides: list[str], fix: str) -> None:
    with pytest.raises(UsageError, match=fix):
        stepped(*scenario(*overrides))


def test_a_scenario_without_a_rate_cannot_go_up_in_steps() -> None:
    text = TEXT.replace("arrival: {rate: 1000/s}\n", "")
    whole = parse(text)
    assert whole.find
    with pytest.raises(UsageError, match=r"write arrival: \{rate: 2000/s\}"):
        stepped(whole, whole.find)


@settings(max_examples=60)
@given(
    st.integers(1, 30_000),
    st.floats(1.05, 30.0),
    st.floats(0.02, 0.5),
    st.floats(0.7, 50_000.0),
    st.integers(300, 3_000),
)
def test_exactly_the_value_is_due_in_each_plateau(
    start: int, factor: float, precision: float, rate: float, hold_ms: int
) -> None:
    """To the connection: the last is due when its plateau begins, and none before the plateau is over."""
    stop = start + max(int(start * (factor - 1)), 1)
    bounds = (f"find.from={start}", f"find.to={stop}", f"find.precision={precision * 100:.4f}%")
    whole, find = scenario(*bounds, f"arrival.rate={rate:.4f}/s", f"hold={hold_ms}ms", f"connections={stop}")
    steps = stepped(whole, find)
    changed = in_steps(whole, steps)
    assert changed.connections == stop
    dues = due_ns(changed.stages, stop)
    for step in steps:
        value = int(step.value)
        assert due_within(changed.stages, step.opened_s) == value, "all of them when it begins"
        assert due_within(changed.stages, step.to_s) == value, "and no more until its end"
        assert dues[value - 1] <= step.opened_s * NS_PER_S
    assert np.all(np.diff(dues) >= 0)


# --- The judge ----------------------------------------------------------------------------------------------------


PLAN = samples.plan({"connections": 121})
STEPS = [OpeningStep(100.0, 0.1, 0.4), OpeningStep(110.0, 0.5, 0.8), OpeningStep(121.0, 0.9, 1.2)]


def line(t_s: float, established: int, failed: int = 0, **changes: Any) -> Line:
    errors = [["connect", "EADDRNOTAVAIL", "no-free-four-tuple", failed]] if failed else []
    counted = {"started": established + failed, "established": established, "failed": failed, "open": established}
    latency = {row: {"100": established} for row in ("lateness", "connect", "arrival")}
    pairs = [[established, failed, established], *[[0, 0, 0]] * (len(PLAN.pairs) - 1)]
    return samples.bare_line(
        t_s, "ramp", **{**counted, "errors": errors, "latency_ns": latency, "pairs": pairs, **changes}
    )


class Judged:
    """A judge of some expectations, and how often it stopped the run."""

    def __init__(self, *expect: str) -> None:
        self.stops = 0
        parsed = [Expectation.parse(text) for text in expect or ("outcomes.failed == 0",)]
        self.judge = StepJudge(STEPS, parsed, host=Host, stop=self.stop)

    def stop(self) -> None:
        self.stops += 1

    def add(self, *lines: Line) -> list[tuple[float, bool]]:
        """The steps that are judged after these lines, each with whether it held."""
        for each in lines:
            self.judge.add(PLAN, each)
        return [(result.step.value, not result.failed) for result in self.judge.results]


def test_a_step_is_judged_when_its_plateau_is_over() -> None:
    it = Judged()
    assert it.add(line(0.1, 100), line(0.3, 100), line(0.4, 100)) == []
    assert it.add(line(0.5, 105)) == [(100.0, True)]
    assert it.add(line(0.8, 110), line(0.9, 121)) == [(100.0, True), (110.0, True)]
    assert it.stops == 0


def test_the_first_step_that_fails_ends_the_run_once() -> None:
    it = Judged()
    it.add(line(0.3, 100), line(0.5, 106), line(0.7, 107, 3))
    assert it.stops == 0
    assert it.add(line(0.9, 107, 5)) == [(100.0, True), (110.0, False)]
    assert it.add(line(1.3, 107, 14), line(1.4, 107, 14)) == [(100.0, True), (110.0, False)]
    assert it.stops == 1
    assert it.judge.results[1].reason == "expected outcomes.failed == 0, observed 3"


def test_a_line_after_the_plateau_belongs_to_the_next_step() -> None:
    it = Judged()
    assert it.add(line(0.3, 100), line(0.45, 102, 2), line(0.85, 108, 2)) == [(100.0, True), (110.0, False)]


def test_a_step_has_what_happened_since_the_one_before() -> None:
    it = Judged("outcomes.established >= 5")
    lost = {"lost": 2}
    it.add(line(0.3, 98, 2), line(0.5, 103, 2, **lost), line(0.75, 106, 4, **lost), line(0.85, 106, 4, **lost))
    first, second = (result.figures for result in it.judge.results)
    assert (first.outcomes.established, first.outcomes.failed, first.open.lost) == (98, 2, 0)
    assert (second.outcomes.established, second.outcomes.failed, second.open.lost) == (8, 2, 2)
    assert [(row.errno, row.count) for row in first.errors] == [("EADDRNOTAVAIL", 2)]
    assert [(row.errno, row.count) for row in second.errors] == [("EADDRNOTAVAIL", 2)]
    assert second.complete, "the end on purpose is no cut"


def test_errors_of_an_earlier_step_are_not_those_of_a_later_one() -> None:
    it = Judged("errors.connect.EADDRNOTAVAIL <= 2")
    assert it.add(line(0.3, 98, 2), line(0.75, 108, 2), line(0.85, 108, 2)) == [(100.0, True), (110.0, True)]


def test_an_interval_longer_than_a_plateau_judges_each_step_once() -> None:
    it = Judged()
    assert it.add(line(0.35, 100), line(1.25, 121)) == [(100.0, True), (110.0, True), (121.0, True)]
    assert it.add(line(1.5, 121, 9)) == [(100.0, True), (110.0, True), (121.0, True)]
    assert it.stops == 0
