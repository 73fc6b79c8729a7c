"""Figures out of lines: what is per second, what is since the line before, what lasts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results.schema.line import Line
from loadgen.views.live.figures import Failures, Recall, TimeWait
from loadgen.views.live.schedule import TimeLeft

from .samples import CHURN, PACED, PLAN, churning, line


def test_the_rate_is_that_since_the_line_before_and_close_lines_are_one() -> None:
    steps = [(0.5, 1_000), (1.0, 4_000), (1.01, 4_500), (2.0, 5_000)]
    recall = Recall()
    rates = [recall.figures(PLAN, line(t_s, established=n)).pace.established_per_s for t_s, n in steps]
    assert rates == [2_000, 6_000, 6_000, 1_000]


@given(st.lists(st.tuples(st.floats(0.001, 5), st.integers(0, 1000)), min_size=1, max_size=20))
def test_rates_times_their_time_are_the_whole(steps: list[tuple[float, int]]) -> None:
    """Whatever lines are shown and passed over, and however close they are: nothing is counted twice or lost."""
    recall = Recall()
    t_s, established, shown, before_s = 0.0, 0, 0.0, 0.0
    for step_s, more in steps:
        t_s, established = t_s + step_s, established + more
        pace = recall.figures(PLAN, line(t_s, established=established, open=0)).pace
        if t_s - before_s > 0.05:
            shown += pace.established_per_s * (t_s - before_s)
            before_s, counted = t_s, established
            assert shown == pytest.approx(counted, abs=1e-6 * counted + 1e-6)


def test_errors_have_their_rate_by_kind_even_of_one_errno() -> None:
    recall = Recall()
    recall.figures(PLAN, line(1.0, errors=[["connect", "EX", "a", 10]], failed=10))
    found = recall.figures(PLAN, line(3.0, errors=[["connect", "EX", "b", 40], ["connect", "EX", "a", 30]], failed=70))
    assert found.failures == (Failures("connect", "EX", "b", 40, 20.0), Failures("connect", "EX", "a", 30, 10.0))
    assert found.pace.failed_per_s == 30.0


def test_what_was_measured_in_lines_that_nobody_saw_is_in_the_next() -> None:
    recall = Recall()
    recall.figures(PLAN, line(1.0))
    slow = {"2900": 97}  # about 450 ms
    recall.pass_over(line(1.5, latency_ns={"connect": slow}, lag_ns=slow))
    found = recall.figures(PLAN, line(2.0))
    assert found.pace.spreads["connect"].p50_us > 400_000
    assert found.lag is not None
    assert found.lag.p99_us > 400_000
    after = recall.figures(PLAN, line(3.0, lag_ns={}))
    assert after.pace.spreads["connect"].p99_us == pytest.approx(1001, abs=1)
    assert after.lag is None
    assert set(after.pace.spreads) == {"connect"}


def test_processor_time_is_known_from_the_second_line_on() -> None:
    recall = Recall()
    assert recall.figures(PLAN, line(1.0, cpu_s=3.0)).pace.cpu_cores is None
    assert recall.figures(PLAN, line(3.0, cpu_s=6.0)).pace.cpu_cores == 1.5


def test_a_phase_began_with_the_last_line_of_the_one_before() -> None:
    assert Recall().figures(PLAN, line(4.0, "hold")).left == TimeLeft(30.0, estimated=False)
    recall = Recall()
    recall.figures(PLAN, line(3.0))
    recall.pass_over(line(4.0))
    recall.pass_over(line(5.0, "hold"))
    found = recall.figures(PLAN, line(14.0, "hold"))
    assert found.left == TimeLeft(20.0, estimated=False)
    assert found.share == pytest.approx(1 / 3)


def test_closing_takes_as_long_as_its_rate_says() -> None:
    recall = Recall()
    recall.figures(PLAN, line(10.0, "hold"))
    assert recall.figures(PLAN, line(11.0, "drain", open=20_000)).left == TimeLeft(4.0, estimated=True)


@pytest.mark.parametrize(
    ("of", "due_per_s"),
    [
        (line(1.0), 5_000.0),  # the mean of the first second of a ramp to 20,000/s in two
        (line(1.0, started=90_000, not_started=10_000), None),
        (line(1.0, "hold"), None),
    ],
)
def test_a_rate_is_due_while_something_is_to_be_started(of: Line, due_per_s: float | None) -> None:
    assert Recall().figures(PACED, of).due_per_s == due_per_s


def test_a_schedule_says_when_its_ramp_ends() -> None:
    """20,000 connections in the two seconds of the ramp, then 80,000 at 20,000/s."""
    assert Recall().figures(PACED, line(2.0)).left == TimeLeft(4.0, estimated=False)


def test_time_wait_is_of_both_sides() -> None:
    assert Recall().figures(CHURN, churning()).time_wait == TimeWait(100, 7, 900)
    here = {"now": {"sockstat.tcp_tw": 5}}
    assert Recall().figures(PLAN, line(kernel=here)).time_wait == TimeWait(5, None, 0)
    assert Recall().figures(PLAN, line()).time_wait is None


def test_another_plan_has_other_spaces() -> None:
    recall = Recall()
    recall.figures(PLAN, line())
    alone = replace(PLAN, sources=("127.0.0.9",))
    found = recall.figures(alone, line(2.0, pairs=[[1, 0, 1]]))
    assert [one.name for one in found.occupancy.fullest] == ["127.0.0.9"]
