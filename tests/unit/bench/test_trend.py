"""The slope of samples with noise, jumps and outliers, and what can be said of it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.trend import trend


@given(st.floats(-1e6, 1e6), st.floats(-100, 100), st.integers(3, 60))
def test_of_a_straight_line_it_is_the_slope(base: float, per_h: float, count: int) -> None:
    times = [7.0 * n for n in range(count)]
    found = trend(times, [base + per_h * time / 3600 for time in times])
    assert found.per_h == pytest.approx(per_h, abs=1e-3)
    assert found.low <= found.per_h + 1e-3
    assert found.per_h - 1e-3 <= found.high


def test_outliers_and_one_jump_change_little() -> None:
    """A fifth of the samples is far off, and once, early, the process takes some more for good."""
    noise = random.Random(1)
    times = [float(n) for n in range(600)]
    values = [noise.gauss(50, 0.01) + (5 if n < 30 else 0) + (80 if n % 5 == 0 else 0) for n in range(600)]
    assert abs(trend(times, values).per_h) < 0.2
    assert abs(trend(times[30:], values[30:]).per_h) < 0.1


def test_noise_without_growth_is_flat_and_growth_within_noise_is_found() -> None:
    noise = random.Random(2)
    times = [2.0 * n for n in range(300)]
    still = [noise.gauss(50, 0.02) for _ in times]
    assert trend(times, still).judged(1.0) == "flat"
    grown = [value + 3 * time / 3600 for time, value in zip(times, still, strict=True)]
    assert trend(times, grown).judged(1.0) == "grows"
    assert trend(times, grown).judged(10.0) == "flat"


def test_what_the_samples_cannot_tell_is_open() -> None:
    noise = random.Random(3)
    times = [2.0 * n for n in range(12)]
    assert trend(times, [noise.gauss(50, 1) for _ in times]).judged(1.0) == "open"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_samples_say_nothing(count: int) -> None:
    found = trend(list(range(count)), [5.0] * count)
    assert (found.low, found.high, found.judged(1.0)) == (-math.inf, math.inf, "open")


def test_many_samples_are_thinned() -> None:
    """An hour of them once a second, and the end counts as well as the beginning."""
    found = trend([float(n) for n in range(3600)], [n / 3600 for n in range(3600)])
    assert found.per_h == pytest.approx(1.0)
