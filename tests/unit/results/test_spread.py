"""Runs of one cell, and when two cells differ by more than they do."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Ceiling
from loadgen.results import spread
from loadgen.results.schema import files
from loadgen.results.schema.run import RunSummary
from loadgen.results.spread import Spread
from tests import samples

values = st.lists(st.floats(0, 1e9), min_size=1, max_size=20)


@given(values)
def test_the_median_lies_within_the_range(found: list[float]) -> None:
    one = Spread.of(found)
    assert one.low == min(found) <= one.median <= max(found) == one.high
    assert one.runs == len(found)


@given(values, values)
def test_noise_is_the_same_from_both_sides_and_nothing_differs_from_itself(one: list[float], two: list[float]) -> None:
    left, right = Spread.of(one), Spread.of(two)
    assert left.is_noise(right) is right.is_noise(left)
    assert left.is_noise(left)
    assert 0 <= left.share_of_difference(right) <= 1


@pytest.mark.parametrize(
    ("one", "two", "noise"),
    [
        ((100.0, 110.0), (90.0, 105.0), True),  # the ranges meet
        ((100.0, 110.0), (110.0, 130.0), True),  # in one point
        ((100.0, 100.0), (104.0, 104.0), True),  # apart, but by under 5 %
        ((100.0, 100.0), (106.0, 106.0), False),
        ((0.0, 0.0), (0.0, 0.0), True),
        ((0.0, 0.0), (1.0, 1.0), False),
        ((100.0,), (60.0,), True),  # a single run
        ((100.0,), (60.0, 60.0, 60.0), True),  # on one side
        ((100.0,), (50.0,), False),
        ((0.0,), (5.0,), False),
        ((100.0, 110.0), (119.0, 122.0), True),  # between them lies less than the wider range
        ((100.0, 110.0), (121.0, 124.0), False),
        ((0.0, 0.0), (5.0, 17.0), False),  # it begins at more than twice the other's end
        ((8.0, 10.0), (19.0, 40.0), True),
        ((8.0, 10.0), (20.0, 40.0), False),
    ],
)
def test_what_is_noise(one: tuple[float, ...], two: tuple[float, ...], noise: bool) -> None:
    assert Spread.of(one).is_noise(Spread.of(two)) is noise


HELD: Final = samples.summary()
CEILING: Final = Ceiling(per_s=100.0, established=None, because="ports")


def churn(**changes: Any) -> RunSummary:
    """A run that churned, with these values of its churn."""
    paths = {f"churn.{key}": value for key, value in changes.items()}
    return samples.summary({"churn.ceiling": files.plain(CEILING), **paths}, "churn")


def test_the_figures_of_runs_that_held_and_of_runs_that_churned() -> None:
    run = samples.summary({"rate_per_s.established_mean": 10.0, "kernel.delta": {}, "kernel.peak": {}})
    found = spread.figures([run, run])
    assert found["rate_per_s"] == Spread(10.0, 10.0, 10.0, 2)
    assert (found["recycled"].median, found["time_wait_peak"].median) == (0.0, 0.0)
    kernel = {"kernel.delta": {"TcpExt.TWRecycled": 7}, "kernel.peak": {"sockstat.tcp_tw": 9}}
    found = spread.figures([samples.summary({**kernel, "churn.sustained_per_s": 99.0}, "churn")])
    assert [found[name].median for name in ("rate_per_s", "recycled", "time_wait_peak")] == [99.0, 7.0, 9.0]


def test_a_figure_that_nothing_was_measured_of_is_left_out() -> None:
    nothing = samples.summary({"latency_us.connect.count": 0})
    assert "connect_p50_us" not in spread.figures([nothing])
    assert spread.figures([nothing, HELD])["connect_p50_us"].runs == 1


def test_a_prediction_without_a_limit_keeps_its_reason() -> None:
    assert spread.predicted([HELD]) is None
    assert spread.predicted([HELD, churn()]) == CEILING


@pytest.mark.parametrize(
    ("judged", "most"),
    [([], None), ([None], None), ([True], True), ([True, False], False), ([True, True, False], True), ([False], False)],
)
def test_most_runs_decide_whether_it_was_as_predicted(judged: list[bool | None], most: bool | None) -> None:
    assert spread.as_predicted([HELD, *(churn(as_predicted=one) for one in judged)]) is most
