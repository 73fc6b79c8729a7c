"""A change of level and a trend are told from noise by ranks alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from loadgen.results.change import change_point, ranks, trend

SEQUENCES = st.lists(st.integers(0, 20), min_size=2, max_size=30)


def noise(seed: int, n: int = 40) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(100.0, 10.0, n)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


@pytest.mark.parametrize(("n", "p"), [(8, 2 / 70), (10, 2 / 252), (12, 2 / 924)])
def test_the_clearest_split_is_as_probable_as_the_number_of_splits_says(n: int, p: float) -> None:
    found = change_point(np.repeat([1.0, 2.0], n // 2))
    assert found
    assert found.at == n // 2
    assert found.p == pytest.approx(p, rel=0.3)
    assert (found.p <= 0.01) == (n >= 10)


def test_of_long_sequences_the_probability_is_pettitts() -> None:
    """Its statistic for a split in the middle is n^2 / 4."""
    found = change_point(np.repeat([1.0, 2.0], 40))
    assert found
    assert found.at == 40
    assert found.p == pytest.approx(2 * math.exp(-6 * 1600**2 / (80**3 + 80**2)))


@pytest.mark.parametrize("n", [10, 40, 100])
def test_noise_is_taken_for_a_change_or_a_trend_as_often_as_the_probability_says(n: int) -> None:
    sequences = [noise(seed, n) for seed in range(100)]
    points = [change_point(values) for values in sequences]
    assert sum(point is not None and point.p <= 0.01 for point in points) <= 3
    assert sum(trend(values).p <= 0.01 for values in sequences) <= 3


@pytest.mark.parametrize("at", [8, 20, 32])
def test_a_change_is_found_where_it_is_whatever_the_outliers(at: int) -> None:
    values = noise(1)
    values[at:] -= 60.0
    values[3] = 1e9
    found = change_point(values)
    assert found
    assert found.p <= 0.01
    assert found.at == at


def test_an_outlier_at_the_end_is_not_the_place() -> None:
    values = noise(3)
    values[20:] += 60.0
    values[-1] = 1e9
    found = change_point(values)
    assert found
    assert found.at == 20


def test_a_trend_has_its_whole_rise() -> None:
    found = trend(noise(2) - np.linspace(0.0, 50.0, 40))
    assert found.p < 0.001
    assert found.rise == pytest.approx(-50.0, rel=0.2)


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0], [7.0] * 50])
def test_what_does_not_vary_does_not_change(values: list[float]) -> None:
    assert change_point(np.array(values)) is None
    assert (trend(np.array(values)).rise, trend(np.array(values)).p) == (0.0, 1.0)


@given(SEQUENCES)
def test_only_the_order_of_the_values_counts(values: list[int]) -> None:
    plain, bent = np.array(values, dtype=np.float64), np.exp(np.array(values))
    found, other = change_point(plain), change_point(bent)
    assert (found and found.p) == (other and other.p)
    assert trend(plain).p == trend(bent).p


@given(SEQUENCES)
def test_a_probability_is_one_and_a_change_lies_within(values: list[int]) -> None:
    found = change_point(np.array(values, dtype=np.float64))
    assert found is None or (0 < found.p <= 1 and 1 <= found.at < len(values))
    assert 0 <= trend(np.array(values, dtype=np.float64)).p <= 1
