"""Reading of lines, rates and thinning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results.schema.line import Line
from loadgen.views.charts import columns
from tests.samples import bare_line


def test_a_line_that_was_read_is_not_read_again() -> None:
    asked: list[int] = []

    def make(line: Line) -> int:
        asked.append(line.open)
        return line.open * 2

    series = [bare_line(open=1), bare_line(open=2)]
    read = columns.PerLine(make)
    assert list(read.of(series)) == [2, 4]
    series += [bare_line(open=3)]
    assert list(read.of(series)) == [2, 4, 6]
    assert asked == [1, 2, 3]


def test_a_line_that_was_replaced_is_read_again_and_all_after_it() -> None:
    first, second, third = (bare_line(open=count) for count in (1, 2, 3))
    read = columns.PerLine(lambda line: line.open)
    assert list(read.of([first, second, third])) == [1, 2, 3]
    assert list(read.of([first, bare_line(open=5), third])) == [1, 5, 3]
    assert list(read.of([first])) == [1]
    assert list(read.of([])) == []
    assert list(read.of([third, second])) == [3, 2]


def test_rows_of_different_length_are_filled_up() -> None:
    found = columns.table([np.array([1.0, 2.0]), np.array([]), np.array([3.0])])
    assert np.array_equal(found, [[1, np.nan, 3], [2, np.nan, np.nan]], equal_nan=True)
    assert columns.table([]).shape == (0, 0)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_steps_cover_every_line(took_s: list[float]) -> None:
    ends = columns.steps(np.cumsum(took_s))
    assert ends[-1] == len(took_s) - 1
    assert np.all(np.diff(ends) > 0)
    starts = columns.starts_of(ends)
    assert starts[0] == 0
    assert np.array_equal(starts[1:], ends[:-1] + 1)


def test_decades_surround_the_values() -> None:
    assert columns.decades([None, 30.0, 2_000.0]) == [10, 10_000]
    assert columns.decades([100.0]) == [100, 1000]


def test_a_value_that_a_line_lacks_is_a_hole_in_a_column() -> None:
    series = [bare_line(sink={"accepted": 3, "open": 1}), bare_line(), bare_line(sink={"accepted": 3, "open": 2})]
    found = columns.column(series, lambda line: line.sink.open if line.sink else None)
    assert np.array_equal(found, [1, np.nan, 2], equal_nan=True)
    grown = columns.counters(series[1:], lambda line: line.sink.accepted if line.sink else None)
    assert grown.tolist() == [0, 3]


values = st.floats(-1e12, 1e12) | st.just(math.nan)


@given(st.lists(st.tuples(values, values), max_size=400), st.integers(6, 120))
def test_thinning_keeps_extremes_order_and_a_bound(rows: list[tuple[float, float]], limit: int) -> None:
    found = list(np.array(rows, dtype=np.float64).reshape(-1, 2).T)
    keep = columns.thin(found, limit)
    assert len(keep) <= limit
    assert np.all(np.diff(keep) > 0)
    if rows:
        assert keep[0] == 0
        assert keep[-1] == len(rows) - 1
    for column in found:
        if not np.isnan(column).all():
            assert np.nanmin(column[keep]) == np.nanmin(column)
            assert np.nanmax(column[keep]) == np.nanmax(column)


def test_thinning_keeps_a_single_spike_of_each_stretch() -> None:
    flat = np.zeros(10_000)
    flat[777::1000] = 5.0
    assert np.count_nonzero(flat[columns.thin([flat])]) == 10


def test_thinning_needs_room_for_one_bucket() -> None:
    with pytest.raises(ValueError, match="extremes of 3 columns"):
        columns.thin([np.zeros(100)] * 3, 7)


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.integers(0, 10_000)), min_size=1, max_size=60))
def test_rates_lose_no_connection(steps: list[tuple[float, int]]) -> None:
    """Rate times time, summed, is the final count, however uneven the lines are."""
    t_s = np.cumsum([step for step, _ in steps])
    counts = np.cumsum([float(grown) for _, grown in steps])
    ends_s, rates = columns.rates(t_s, counts)
    assert ends_s[-1] == t_s[-1]
    assert np.sum(rates * np.diff(np.concatenate(([0.0], ends_s)))) == pytest.approx(counts[-1], abs=1e-6)


def test_a_line_at_a_change_of_phase_makes_no_false_peak() -> None:
    ends_s, rates = columns.rates(np.array([0.5, 1.0, 1.003, 1.5]), np.array([50.0, 100.0, 150.0, 200.0]))
    assert ends_s.tolist() == [0.5, 1.0, 1.5]
    assert rates.tolist() == [100, 100, 200]
