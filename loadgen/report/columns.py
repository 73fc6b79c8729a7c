"""Columns of a chart out of the lines of series.jsonl: reading, differences, fewer points. Pure arithmetic.

Thinning happens last and never before differences are taken: a rate out of two points that were left
over would be a mean, and the peak that a reader looks for would be gone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.metrics import histogram
from loadgen.report import words

POINTS_MAX: Final = 600

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Series = Sequence[Mapping[str, Any]]


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
    keep = {0, length - 1}
    buckets = (limit - 2) // (2 * len(columns))
    edges = np.linspace(0, length, buckets + 1).astype(np.int64).tolist()
    for low, high in itertools.pairwise(edges):
        for column in columns:
            window = column[low:high]
            if not np.isnan(window).all():
                keep.update((low + int(np.nanargmin(window)), low + int(np.nanargmax(window))))
    return np.array(sorted(keep), dtype=np.int64)


def rates(t_s: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """How quickly a cumulative count grew: (end of each step in seconds, growth per second in it).

    A change of phase writes a line of its own, a few milliseconds after the last one; a rate over so
    short a time is noise. So a step lasts at least half of a usual interval, and what is left over at
    the end belongs to the last step. Nothing is lost: rate times step, summed, is the final count.
    """
    t_s, counts = np.concatenate(([0.0], t_s)), np.concatenate(([0.0], counts))
    if t_s[-1] <= 0:
        return np.array([]), np.array([])
    step_s_min = float(np.median(np.diff(t_s)[np.diff(t_s) > 0])) / 2
    ends = [0]
    for index in range(1, len(t_s)):
        if t_s[index] - t_s[ends[-1]] >= step_s_min:
            ends.append(index)
    if ends[-1] != len(t_s) - 1:
        ends[-1] = len(t_s) - 1
    if ends[0] != 0:  # one short step only: it was moved to the end and the beginning went with it
        ends.insert(0, 0)
    return t_s[ends[1:]], np.diff(counts[ends]) / np.diff(t_s[ends])


def busy(*columns: Floats) -> slice:
    """From the start to one step past the last in which anything happened.

    Ten minutes of holding are a flat zero that would squeeze five seconds of ramp into the left edge.
    """
    active = np.flatnonzero(np.any(np.array(columns) != 0, axis=0))
    return slice(0, int(active[-1]) + 2 if len(active) else None)


def usable(series: Series) -> list[Mapping[str, Any]]:
    """The lines whose time is a number and does not run backwards."""
    kept: list[Mapping[str, Any]] = []
    latest = 0.0
    for line in series:
        t_s = words.number(line.get("t_s"))
        if t_s is not None and t_s >= latest:
            latest = t_s
            kept.append(line)
    return kept


def column(series: Series, *keys: str) -> Floats:
    """One value of each line, NaN where it is missing: `column(series, "sink", "open")`."""
    found: list[float] = []
    for line in series:
        value: object = line
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        measured = words.number(value)
        found.append(math.nan if measured is None else measured)
    return np.array(found, dtype=np.float64)


def counters(series: Series, *keys: str) -> Floats:
    """As `column`, for something that only grows: a line without it repeats the line before, from 0."""
    values = column(series, *keys)
    return np.maximum.accumulate(np.where(np.isnan(values), 0.0, values)) if len(values) else values


def counts_of(line: Mapping[str, Any], kind: str) -> NDArray[np.int64]:
    """One interval's histogram of one latency; an unreadable one counts as empty."""
    try:
        return histogram.dense(words.part(line.get("latency_ns"), kind))
    except (ValueError, OverflowError):
        return np.zeros(histogram.BUCKETS, dtype=np.int64)


def plain(values: Floats, digits: int) -> list[float | int | None]:
    """A column as JSON numbers: rounded to so many digits after the point, None for NaN."""
    rounded = np.round(values, digits).tolist()
    return [None if math.isnan(v) else int(v) if v == int(v) else v for v in rounded]


def significant(values: Floats) -> list[float | int | None]:
    """A column as JSON numbers with three significant digits, None for NaN."""
    return [None if math.isnan(v) else float(f"{v:.3g}") for v in values.tolist()]


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
