"""Columns of a chart from the lines of series.jsonl: reading, differences, fewer points. Pure arithmetic.

Thinning happens last, never before differences are taken: a rate between two points that were kept
would be a mean, and the peak that a reader looks for would be gone.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from loadgen.model import Phase
from loadgen.results.schema.line import Line

POINTS_MAX: Final = 600

Chart = dict[str, Any]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Series = Sequence[Line]
Made = TypeVar("Made")


def thin(columns: Sequence[Floats], limit: int = POINTS_MAX) -> Indices:
    """Return the rows to keep so that at most `limit` are left and no column loses an extreme.

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
    """Return whether connections were opened and closed all the time."""
    return any(line.phase is Phase.CHURN for line in series)


class PerLine(Generic[Made]):
    """Values made from each line of a series, once: a live page asks for all of them again every second."""

    def __init__(self, make: Callable[[Line], Made]) -> None:
        self._make = make
        self._lines: list[Line] = []
        self._made: list[Made] = []

    def of(self, series: Series) -> Sequence[Made]:
        """One value for each line. They are made anew from the first line that is not the same object as last time."""
        known = sum(1 for _ in itertools.takewhile(bool, map(operator.is_, self._lines, series)))
        self._made[known:] = map(self._make, series[known:])
        self._lines[known:] = series[known:]
        return self._made


def column(series: Series, value: Callable[[Line], float | None]) -> Floats:
    """One value of each line, NaN for None."""
    return np.array([value(line) for line in series], dtype=np.float64)


def times_s(series: Series) -> Floats:
    """The times of the lines, seconds after the start, rising."""
    return column(series, lambda line: line.t_s)


def table(rows: Sequence[Floats]) -> Floats:
    """Rows of different length as float64 (longest, rows), NaN where one is too short."""
    found = np.full((len(rows), max(map(len, rows), default=0)), math.nan)
    for index, row in enumerate(rows):
        found[index, : len(row)] = row
    transposed: Floats = found.T
    return transposed


def counters(series: Series, value: Callable[[Line], float | None]) -> Floats:
    """A `column` of something that only grows: a line without it repeats the line before, from 0."""
    values = column(series, value)
    return np.maximum.accumulate(np.where(np.isnan(values), 0.0, values)) if len(values) else values


def plain(values: Floats, digits: int) -> list[float | int | None]:
    """A column as JSON numbers: rounded to `digits` after the point, None for NaN."""
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
    known = [value for value in values if value is not None]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return [10.0**low, 10.0 ** max(high, low + 1)]


def spans(series: Series) -> list[dict[str, Any]]:
    """The phases as [{name, from, to}] in seconds; a line belongs to the interval that ends with it."""
    spans: list[dict[str, Any]] = []
    before_s = 0.0
    for line in series:
        if not spans or spans[-1]["name"] != line.phase:
            spans.append({"name": line.phase, "from": before_s, "to": line.t_s})
        spans[-1]["to"] = before_s = line.t_s
    return [span for span in spans if span["to"] > span["from"]]


#: Colours that can be told apart; past them the lines are dashed.
_TONES: Final = ("blue", "orange", "green", "purple", "red", "grey")


def distinct(names: Sequence[str]) -> list[dict[str, Any]]:
    """The series of a line chart that has a line for each of several like things."""
    return [
        {"label": name, "tone": _TONES[index % len(_TONES)], "dash": index >= len(_TONES)}
        for index, name in enumerate(names)
    ]
