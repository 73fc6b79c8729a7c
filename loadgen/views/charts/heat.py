"""Heat maps: how full each (source, target) was, and how latencies were spread, over time.

A heat map is a chart with `heat`: `x` has the edges of its columns in seconds, one more than there are
columns; `cells` has a list for each row, with None where nothing was measured and 0 where nothing was.
Rows have names in `rows`, from the top, or cut the log axis `range` into equal steps, from the bottom.
`scale` is what the palest and the deepest colour stand for, in the unit `cell_unit`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from loadgen import format as fmt
from loadgen.results.block import PairColumn
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
    """Which lines end a column, so that at most `limit` are left, each of about as many lines.

    t_s: rising, not empty. Returns: int64, strictly rising; the last is that of the last line.
    """
    ends = steps(t_s)
    if len(ends) <= limit:
        return ends
    return ends[np.linspace(0, len(ends), limit + 1).astype(np.int64)[1:] - 1]


def peaks(values: Floats, ends: Indices) -> Floats:
    """The highest value of each column: float64 (rows, columns) of (rows, lines); NaN where none was measured."""
    found: Floats = np.fmax.reduceat(values, starts_of(ends), axis=1)
    return found


def opened(line: Mapping[str, Any]) -> Floats:
    """Open connections of each pair as a line says; NaN where it does not."""
    try:
        found = np.array([pair[PairColumn.OPEN] for pair in fmt.items(line, "pairs")], dtype=np.float64)
    except (TypeError, ValueError, LookupError, OverflowError):  # a file that somebody edited
        return np.array([])
    # Lists in the place of numbers have a dimension of their own.
    return np.where(np.isfinite(found), found, math.nan) if found.ndim == 1 else np.array([])


def occupancy(t_s: Floats, lines: Sequence[Floats], plan: Mapping[str, Any]) -> Chart | None:
    """Open connections of each (source, target) as a share of its four-tuples, the fullest first.

    lines: what `opened` makes of each line. plan: plan.json; without its `capacity_per_pair` the cells are
    connections. None when nothing was ever open.
    """
    pairs = table(lines)
    if not len(t_s) or t_s[-1] <= 0 or not np.fmax.reduce(pairs, axis=None, initial=0) > 0:
        return None
    capacity = fmt.number(plan.get("capacity_per_pair"))
    values = pairs / capacity * 100 if capacity and capacity > 0 else pairs
    ends = grouped(t_s)
    # Rows that are equally full on paper stay in the order of the plan, and do not change places all the time.
    highest = np.fmax.reduce(values, axis=1, initial=0)
    order = np.argsort(-np.round(highest), kind="stable")[:ROWS_MAX]
    labels, toward = _labels(plan, len(values))
    unit = "percent" if capacity and capacity > 0 else "count"
    said = fmt.percent(float(highest.max()) / 100) if unit == "percent" else fmt.count(float(highest.max()))
    return {
        "id": "occupancy",
        "title": "Open connections of each "
        + (f"source toward {toward}" if toward else "source and target")
        + (f", of {fmt.count(capacity)} four-tuples" if unit == "percent" else "")
        + (f": the fullest {ROWS_MAX} of {len(values)}" if len(values) > ROWS_MAX else ""),
        "label": f"Heat map of open connections by source and target over time; the fullest came to {said}.",
        "heat": True,
        "unit": "count",
        "cell_unit": unit,
        "scale": [0, 100 if unit == "percent" and highest.max() > 10 else _round_above(float(highest.max()))],
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
    buckets = found.table(np.searchsorted(ends, np.arange(len(t_s))), len(ends))
    used = np.flatnonzero(buckets.any(axis=1))
    low, high = (int(decade) for decade in _STEPS[used[[0, -1]]] // STEPS_PER_DECADE)
    counts = np.zeros(((high + 1 - low) * STEPS_PER_DECADE, len(ends)), dtype=np.int64)
    np.add.at(counts, _STEPS[used] - low * STEPS_PER_DECADE, buckets[used])
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


def _labels(plan: Mapping[str, Any], pairs: int) -> tuple[list[str], str]:
    """The names of the pairs in the order of `Plan.pairs`, and the target if it is the only one, else ""."""
    sources = [str(source) for source in fmt.items(plan, "sources")]
    endpoints = [fmt.part(target, "endpoint") for target in fmt.items(plan, "targets")]
    targets = [(str(end.get("address")), str(end.get("port"))) for end in endpoints]
    routes = [str(source) for source in fmt.items(plan, "routes")]
    named = (
        list(zip(routes, targets, strict=False))
        if routes
        else [(source, end) for end in targets for source in sources if (":" in source) == (":" in end[0])]
    )
    if len(named) != pairs:
        return [f"pair {number}" for number in range(1, pairs + 1)], ""
    if len(targets) == 1:
        return [_short(source) for source, _ in named], _short(_endpoint(*targets[0]))
    return [_short(f"{source} → {_endpoint(*end)}") for source, end in named], ""


def _endpoint(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


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
