"""Columns of a chart out of the lines of series.jsonl: reading, differences, fewer points. Pure arithmetic.

Thinning happens last and never before differences are taken: a rate out of two points that were left
over would be a mean, and the peak that a reader looks for would be gone.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from loadgen import format as fmt

POINTS_MAX: Final = 600

Chart = dict[str, Any]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Series = Sequence[Mapping[str, Any]]
Made = TypeVar("Made")


def thin(columns: Sequence[Floats], limit: int = POINTS_MAX) -> Indices:
    """Which rows to keep so that at most `limit` are left and no column loses an extreme.

    The rows are cut into buckets of nearly equal length; of each bucket stay the rows with the lowest
    and the highest value of every column, and of the whole its first and last row. All columns have the
    same length; NaN means "not measured" and is never an extreme.

    Returns: int64, strictly rising. Raises: ValueError when the limit cannot hold one bucket.
    """
    length = len(columns[0]) if columns else 0
    if limit < 2 + 2 * len(columns):
        raise ValueError(f"{limit} points cannot hold the extremes of {len(columns)} columns")
    if length <= limit:
        return np.arange(length, dtype=np.int64)
    buckets = (limit - 2) // (2 * len(columns))
    edges = np.linspace(0, length, buckets + 1).astype(np.int64)
    # One row for each bucket; a bucket that is shorter than the longest has its last index twice.
    rows = np.minimum(edges[:-1, None] + np.arange(np.diff(edges).max()), edges[1:, None] - 1)
    keep = [np.array([0, length - 1])]
    for column in columns:
        values = column[rows]
        measured = ~np.isnan(values).all(axis=1)
        lowest = np.where(np.isnan(values), np.inf, values).argmin(axis=1)
        highest = np.where(np.isnan(values), -np.inf, values).argmax(axis=1)
        keep += [rows[measured, lowest[measured]], rows[measured, highest[measured]]]
    return np.unique(np.concatenate(keep)).astype(np.int64)


def steps(t_s: Floats) -> Indices:
    """The lines that end a step: each step lasts at least half of a usual interval.

    A change of phase writes a line of its own, a few milliseconds after the last one. What is left over
    at the end belongs to the last step. t_s: rising, not empty. Returns: int64, the last is that of the last line.
    """
    times = [0.0, *t_s.tolist()]
    took_s = np.diff(times)
    step_s_min = float(np.median(took_s[took_s > 0])) / 2 if (took_s > 0).any() else 0.0
    ends, before = [], 0.0
    for index, now_s in enumerate(times[1:]):
        if now_s - before >= step_s_min:
            ends.append(index)
            before = now_s
    if not ends or ends[-1] != len(t_s) - 1:
        ends[-1:] = [len(t_s) - 1]
    return np.array(ends, dtype=np.int64)


def starts_of(ends: Indices) -> Indices:
    """The first line of each step, given the last ones."""
    return np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1] + 1))[: len(ends)]


def rates(t_s: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """How quickly a cumulative count grew: (end of each step in seconds, growth per second in it).

    A rate over the few milliseconds before a change of phase is noise, hence `steps`. Nothing is lost:
    rate times step, summed, is the final count.
    """
    if len(t_s) == 0 or t_s[-1] <= 0:
        return np.array([]), np.array([])
    ends = steps(t_s)
    ends_s = t_s[ends]
    return ends_s, np.diff(counts[ends], prepend=0.0) / np.diff(ends_s, prepend=0.0)


def busy(*columns: Floats) -> slice:
    """From the start to one step past the last in which anything happened.

    Ten minutes of holding are a flat zero that would squeeze five seconds of ramp into the left edge.
    """
    active = np.flatnonzero(np.any(np.array(columns) != 0, axis=0))
    return slice(0, int(active[-1]) + 2 if len(active) else None)


def churned(series: Series) -> bool:
    """Whether connections were opened and closed all the time."""
    return any(line.get("phase") == "churn" for line in series)


def usable(series: Series) -> list[Mapping[str, Any]]:
    """The lines whose time is a number and does not run backwards."""
    kept: list[Mapping[str, Any]] = []
    latest = 0.0
    for line in series:
        t_s = fmt.number(line.get("t_s"))
        if t_s is not None and t_s >= latest:
            latest = t_s
            kept.append(line)
    return kept


class PerLine(Generic[Made]):
    """What is made of each line of a series, made once: a live page asks for the whole again every second."""

    def __init__(self, make: Callable[[Mapping[str, Any]], Made]) -> None:
        self._make = make
        self._lines: list[Mapping[str, Any]] = []
        self._made: list[Made] = []

    def of(self, series: Series) -> Sequence[Made]:
        """One for each line. From the first line that is not the very one of the last call on they are made anew."""
        known = sum(1 for _ in itertools.takewhile(bool, map(operator.is_, self._lines, series)))
        self._made[known:] = map(self._make, series[known:])
        self._lines[known:] = series[known:]
        return self._made


def column(series: Series, *keys: str) -> Floats:
    """One value of each line, NaN where it is missing: `column(series, "sink", "open")`."""
    values: list[Any] = list(series)
    for key in keys:
        values = [value.get(key) if isinstance(value, dict) else None for value in values]
    if set(map(type, values)) <= {int, float}:  # nearly always, and then it is ten times as quick
        with suppress(OverflowError):  # a whole number past 1.8e308
            found = np.array(values, dtype=np.float64)
            return np.where(np.isfinite(found), found, math.nan)
    numbers = [fmt.number(value) for value in values]
    return np.array([math.nan if value is None else value for value in numbers], dtype=np.float64)


def table(rows: Sequence[Floats]) -> Floats:
    """Rows of different length as float64 (longest, rows), NaN where one is too short."""
    found = np.full((len(rows), max(map(len, rows), default=0)), math.nan)
    for index, row in enumerate(rows):
        found[index, : len(row)] = row
    transposed: Floats = found.T
    return transposed


def counters(series: Series, *keys: str) -> Floats:
    """As `column`, for something that only grows: a line without it repeats the line before, from 0."""
    values = column(series, *keys)
    return np.maximum.accumulate(np.where(np.isnan(values), 0.0, values)) if len(values) else values


def plain(values: Floats, digits: int) -> list[float | int | None]:
    """A column as JSON numbers: rounded to so many digits after the point, None for NaN."""
    rounded = np.round(values, digits).tolist()
    return [None if math.isnan(v) else int(v) if v == int(v) else v for v in rounded]


def significant(values: Floats) -> list[float | int | None]:
    """A column as JSON numbers with three significant digits, None for NaN."""
    return [None if math.isnan(v) else float(f"{v:.3g}") for v in values.tolist()]


def backwards(values: list[float | int | None]) -> list[float | int | None]:
    """A rate holds for the step that ends with it, so the first one begins at 0."""
    return [values[0], *values]


def decades(values: Iterable[float | None]) -> list[float]:
    """The powers of ten around the values that are there, at least one decade apart."""
    there = [value for value in values if value is not None]
    low, high = math.floor(math.log10(min(there))), math.ceil(math.log10(max(there)))
    return [10.0**low, 10.0 ** max(high, low + 1)]


def spans(series: Series) -> list[dict[str, Any]]:
    """The phases as [{name, from, to}] in seconds; a line belongs to the interval that ends with it."""
    found: list[dict[str, Any]] = []
    before = 0.0
    for line in series:
        name, t_s = str(line.get("phase", "")), float(line["t_s"])
        if not found or found[-1]["name"] != name:
            found.append({"name": name, "from": before, "to": t_s})
        found[-1]["to"] = before = t_s
    return [span for span in found if span["name"] and span["to"] > span["from"]]
