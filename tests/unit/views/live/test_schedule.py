"""Rates that are due, shares of phases, and time left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.arrivals import due_within
from loadgen.model import Stage
from loadgen.results.schema.line import Line
from loadgen.views.live.schedule import TimeLeft, due_per_s, left, share

from .samples import CHURN, PACED, PLAN, churning, line

RATES = st.floats(0, 1e5)
STAGES = st.lists(st.builds(Stage, RATES, RATES, st.floats(0.1, 100)), min_size=1, max_size=4)


def left_of(plan: Any, of: Line, **known: Any) -> TimeLeft | None:
    usual: dict[str, Any] = {"began_s": 0.0, "last_due_s": None, "settled_per_s": 0.0, "closed_per_s": 0.0}
    return left(plan, of, **(usual | known))


@given(STAGES, st.floats(0, 1))
def test_the_rate_due_is_the_slope_of_what_is_due(stages: list[Stage], where: float) -> None:
    """Within a stage the rate in the middle of two instants is the mean between them."""
    begins_s = sum(stage.duration_s or 0 for stage in stages[:-1])
    last_s = stages[-1].duration_s or 0
    low_s, high_s = begins_s + last_s * where / 2, begins_s + last_s * (0.5 + where / 2)
    due = due_within(stages, high_s) - due_within(stages, low_s)
    rate = due_per_s(stages, (low_s + high_s) / 2)
    assert rate is not None
    assert rate * (high_s - low_s) == pytest.approx(due, abs=1.1 + 1e-6 * due)


def test_after_the_last_stage_nothing_is_due_unless_it_has_no_end() -> None:
    ended = [Stage(10.0, 20.0, 2.0)]
    assert [due_per_s(ended, at_s) for at_s in (0.0, 1.0, 2.0, 9.0)] == [10.0, 15.0, 0.0, 0.0]
    assert due_per_s([*ended, Stage(30.0, 30.0, None)], 1e9) == 30.0
    assert due_per_s([Stage(5.0, 5.0, 0.0), Stage(7.0, 7.0, None)], 0.0) == 7.0
    assert due_per_s([], 1.0) is None


@pytest.mark.parametrize(
    ("plan", "of", "began_s", "expected"),
    [
        (PLAN, line(failed=1_000, not_started=4_000), 0.0, 0.3),
        (PLAN, line(14.0, "hold"), 5.0, 0.3),
        (replace(PLAN, hold_s=0.0), line(14.0, "hold"), 14.0, 1.0),
        (PLAN, line(40.0, "hold"), 5.0, 1.0),
        (PLAN, line(phase="drain"), 0.0, 0.25),
        (PLAN, line(phase="done", open=0), 0.0, 0.0),
        (CHURN, churning(27.0), 0.0, 0.9),
        (CHURN, churning(31.0), 0.0, 1.0),
        (CHURN, churning(31.0, "drain", open=4), 0.0, 0.25),
    ],
)
def test_each_phase_has_its_own_measure(plan: Any, of: Line, began_s: float, expected: float) -> None:
    assert share(plan, of, began_s=began_s) == pytest.approx(expected)


def test_a_ramp_ends_by_its_schedule_and_after_that_by_its_rate() -> None:
    assert left_of(PACED, line(2.0), last_due_s=6.0, settled_per_s=1.0) == TimeLeft(4.0, estimated=False)
    assert left_of(PACED, line(7.0), last_due_s=6.0, settled_per_s=25_000) == TimeLeft(3.0, estimated=True)
    assert left_of(PLAN, line(), settled_per_s=50_000) == TimeLeft(1.5, estimated=True)
    assert left_of(PLAN, line()) is None, "at a standstill nobody knows"
    assert left_of(PLAN, line(established=100_000)) == TimeLeft(0.0, estimated=False)


def test_other_phases_end_by_the_clock_or_by_what_is_open() -> None:
    assert left_of(PLAN, line(14.0, "hold"), began_s=4.0) == TimeLeft(20.0, estimated=False)
    assert left_of(PLAN, line(99.0, "hold"), began_s=4.0) == TimeLeft(0.0, estimated=False)
    assert left_of(CHURN, churning(10.0)) == TimeLeft(20.0, estimated=False)
    assert left_of(PLAN, line(phase="drain"), closed_per_s=50_000) == TimeLeft(0.5, estimated=True)
    assert left_of(PLAN, line(phase="drain"), closed_per_s=-1) is None
    assert left_of(PLAN, line(phase="done")) is None
