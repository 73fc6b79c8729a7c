"""Heat maps: how full each (source, target) was, and how latencies were spread, over time.

A heat map is a chart with `heat`: `x` has the edges of its columns in seconds, one more than there are
columns; `cells` has a list for each row, with None where nothing was measured and 0 where nothing was.
Rows have names in `rows`, from the top, or cut the log axis `range` into equal steps, from the bottom.
`scale` has the values of the palest and the deepest colour, in the unit `cell_unit`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from loadgen import format as fmt
from loadgen.model import Plan
from loadgen.results.schema.line import Line
from loadgen.views.charts.columns import Chart, Floats, Indices, plain, significant, starts_of, steps, table
from loadgen.views.charts.intervals import LATENCY_US_MIN, Intervals, values_us

COLUMNS_MAX: Final = 120
ROWS_MAX: Final = 60
#: Steps of the log axis of a latency map in each decade; one is 26 % of the value, or a few pixels.
STEPS_PER_DECADE: Final = 10
#: The step that each bucket of a histogram belongs to, from a microsecond on; int64 (BUCKETS,).
_STEPS: Final = (np.log10(np.maximum(values_us(), LATENCY_US_MIN)) * STEPS_PER_DECADE).astype(np.int64)
_LABEL_CHARACTERS_MAX: Final = 90


def grouped(t_s: Floats, limit: int = COLUMNS_MAX) -> Indices:
    """The lines that end a column, so that at most `limit` are left, each of about as many lines.

    t_s: rising, not empty. Returns: int64, strictly rising; the last is that of the last line.
    """
    ends = steps(t_s)
    if len(ends) <= limit:
        return ends
    return ends[np.linspace(0, len(ends), limit + 1).astype(np.int64)[1:] - 1]


def peaks(values: Floats, ends: Indices) -> Floats:
    """The highest value of each column: float64 (rows, columns) of (rows, lines); NaN where none was measured."""
    highest: Floats = np.fmax.reduceat(values, starts_of(ends), axis=1)
    return highest


def opened(line: Line) -> Floats:
    """Open connections of each pair; empty in a line that does not say."""
    return np.array([pair.open for pair in line.pairs], dtype=np.float64)


def occupancy(t_s: Floats, lines: Sequence[Floats], plan: Plan) -> Chart | None:
    """Open connections of each (source, target) as a share of its four-tuples, the fullest first.

    lines: `opened` of each line. None when no connection was ever open.
    """
    pairs = table(lines)
    if not len(t_s) or t_s[-1] <= 0 or not np.fmax.reduce(pairs, axis=None, initial=0) > 0:
        return None
    capacity = plan.capacity_per_pair
    values = pairs / np.array([[most] for _, most in plan.owners]) * 100 if capacity else pairs
    ends = grouped(t_s)
    # Rows that are equally full on paper stay in the order of the plan, and do not change places all the time.
    highest = np.fmax.reduce(values, axis=1, initial=0)
    order = np.argsort(-np.round(highest), kind="stable")[:ROWS_MAX]
    labels, toward = _labels(plan)
    unit = "percent" if capacity else "count"
    fullest = fmt.percent(float(highest.max()) / 100) if capacity else fmt.count(float(highest.max()))
    return {
        "id": "occupancy",
        "title": "Open connections of each "
        + (f"source toward {toward}" if toward else "source and target")
        + (f", of {fmt.count(capacity)} four-tuples" if capacity else "")
        + (f": the fullest {ROWS_MAX} of {len(values)}" if len(values) > ROWS_MAX else ""),
        "label": f"Heat map of open connections by source and target over time; the fullest came to {fullest}.",
        "heat": True,
        "unit": "count",
        "cell_unit": unit,
        "scale": [0, 100 if capacity and highest.max() > 10 else _round_above(float(highest.max()))],
        "x": plain(np.concatenate(([0.0], t_s[ends])), 3),
        "rows": [labels[row] for row in order],
        "cells": [_cells(row) for row in peaks(values[order], ends)],
    }


def latency_map(kind: str, title: str, t_s: Floats, found: Intervals) -> Chart | None:
    """How many values of a latency fell into each step of a log axis, over time; None when nothing was measured.

    t_s: when each step of time ended. The columns add up: no value is lost, and a single slow one still has its cell.
    """
    if not len(found.columns):
        return None
    first, last = int(found.columns[0]), int(found.columns[-1])
    begins_s = float(t_s[first - 1]) if first else 0.0
    if t_s[last] <= begins_s:
        return None
    ends = first + grouped(t_s[first : last + 1] - begins_s)
    steps_used = found.table(_STEPS, np.searchsorted(ends, np.arange(last + 1)))
    used = np.flatnonzero(steps_used.any(axis=1))
    low, high = (int(decade) for decade in used[[0, -1]] // STEPS_PER_DECADE)
    counts = np.zeros(((high + 1 - low) * STEPS_PER_DECADE, len(ends)), dtype=np.int64)
    counts[used - low * STEPS_PER_DECADE] = steps_used[used]
    slowest = fmt.latency(float(np.nanmax(found.quantiles_us[-1])))
    return {
        "id": f"latency-map-{kind}",
        "title": title,
        "label": f"Heat map of {kind} latency over time: how many were how slow; the slowest took {slowest}.",
        "heat": True,
        "unit": "latency",
        "cell_unit": "count",
        "log_scale": True,
        "scale": [1, int(counts.max())],
        "range": [10.0**low, 10.0 ** (high + 1)],
        "x": plain(np.concatenate(([begins_s], t_s[ends])), 3),
        "cells": counts.tolist(),
    }


def _labels(plan: Plan) -> tuple[list[str], str]:
    """The names of the pairs in the order of `Plan.pairs`, and the target if it is the only one, else ""."""
    if len(plan.targets) == 1:
        return [_short(place) for place in plan.places], _short(str(plan.targets[0].endpoint))
    named = zip(plan.places, plan.pairs, strict=True)
    return [_short(f"{place} → {target}") for place, (_, target) in named], ""


def _short(name: str) -> str:
    return fmt.visible(name)[:_LABEL_CHARACTERS_MAX]


def _cells(values: Floats) -> list[float | int | None]:
    """A row with three significant digits; whole numbers take less room than floats."""
    return [None if v is None else int(v) if v == int(v) else v for v in significant(values)]


def _round_above(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... that is not below."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(float(f"{step * power:.3g}") for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9))


def latency_maps(t_s: Floats, found: Mapping[str, Intervals]) -> Sequence[Chart | None]:
    """The maps of connect and of exchange, where they were measured."""
    titles = {"connect": "Connect latency: how many were how slow", "exchange": "Exchanges: how many were how slow"}
    return [latency_map(kind, titles[kind], t_s, found[kind]) for kind in titles]
