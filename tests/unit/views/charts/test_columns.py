"""What is made of a line once; reading, rates and thinning are in tests/unit/test_report.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.views.charts import columns


def test_a_line_that_was_read_is_not_read_again() -> None:
    asked: list[int] = []

    def make(line: Mapping[str, Any]) -> int:
        asked.append(line["n"])
        return int(line["n"]) * 2

    series = [{"n": 1}, {"n": 2}]
    read = columns.PerLine(make)
    assert list(read.of(series)) == [2, 4]
    series += [{"n": 3}]
    assert list(read.of(series)) == [2, 4, 6]
    assert asked == [1, 2, 3]


def test_a_line_that_was_replaced_is_read_again_and_all_after_it() -> None:
    first, second, third = {"n": 1}, {"n": 2}, {"n": 3}
    read = columns.PerLine(lambda line: line["n"])
    assert list(read.of([first, second, third])) == [1, 2, 3]
    assert list(read.of([first, {"n": 5}, third])) == [1, 5, 3]
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


@pytest.mark.parametrize("value", [None, True, "3", [3], math.nan, math.inf, 10**400])
def test_what_is_no_number_is_a_hole_in_a_column(value: object) -> None:
    found = columns.column([{"a": {"b": 1}}, {"a": {"b": value}}, {"a": 7}, {"a": {"b": 2.5}}], "a", "b")
    assert np.array_equal(found, [1, np.nan, np.nan, 2.5], equal_nan=True)
    assert np.array_equal(columns.column([{"a": 1}, {"a": value}], "a"), [1, np.nan], equal_nan=True)
