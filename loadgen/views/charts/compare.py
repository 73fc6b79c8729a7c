"""The charts of a comparison: one line for each side, laid over each other. Pure arithmetic, no HTML.

Sides have lines at different times. So each is read off at the same times, a grid no finer than their own
intervals; what only grows is read off before rates are taken, and nothing of it is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen import format as fmt
from loadgen.results.schema.line import Line
from loadgen.views.charts import intervals
from loadgen.views.charts.columns import (
    POINTS_MAX,
    Chart,
    Floats,
    Series,
    backwards,
    busy,
    column,
    counters,
    plain,
    times_s,
)
from loadgen.views.charts.latency import by_percentile

#: A running count of a line.
Count = Callable[[Line], float]
#: In the order of the sides; the base is blue.
TONES: Final = ("blue", "orange", "green", "purple", "red", "grey")


@dataclass(frozen=True, slots=True)
class Drawn:
    """One side: over time its middle run, over percentiles all its runs."""

    label: str
    #: The lines of each run.
    runs: Sequence[Series]
    #: The index of the one that is shown over time.
    middle: int


def everything(sides: Sequence[Drawn]) -> list[Chart]:
    """Every chart that the sides give, in the order of the page."""
    lines = {side.label: side.runs[side.middle] for side in sides}
    grid_s = _grid_s(list(lines.values()))
    drawn: list[Chart | None] = []
    if len(grid_s) > 1:
        established = "Established connections over time"
        drawn = [
            _over_time("open", "Open connections", "count", lines, grid_s, lambda line: line.open),
            _over_time("established", established, "count", lines, grid_s, lambda line: line.established),
            _pace("rate", "Established per second", lines, grid_s, lambda line: line.established),
            _pace("failed", "Failed per second", lines, grid_s, lambda line: line.failed),
        ]
    runs = {side.label: side.runs for side in sides}
    kinds = {"connect": "Connect (established - started)", "exchange": "Exchange (reply read - request written)"}
    curves = [_curve(f"percentiles-{kind}", title, runs, kind) for kind, title in kinds.items()]
    return [chart for chart in (*drawn, *curves) if chart]


def _grid_s(lines: Sequence[Series]) -> Floats:
    """Times from 0 to the end of the longest run; steps as long as the shortest interval, if there are not too many."""
    times = [times_s(series) for series in lines]
    ends_s = [float(t_s[-1]) for t_s in times if len(t_s)]
    if not ends_s or max(ends_s) <= 0:
        return np.array([])
    steps = [np.diff(np.concatenate(([0.0], t_s))) for t_s in times if len(t_s)]
    step_s = min(float(np.median(step[step > 0])) for step in steps if (step > 0).any())
    points = min(math.ceil(max(ends_s) / step_s) + 1, POINTS_MAX)
    return np.linspace(0, max(ends_s), max(points, 2))


def _read_off(lines: Series, value: Count, grid_s: Floats, *, grows: bool) -> Floats:
    """A column at the times of the grid, from 0 on; NaN past its end."""
    t_s = np.concatenate(([0.0], times_s(lines)))
    values = counters(lines, value) if grows else column(lines, value)
    read = np.interp(grid_s, t_s, np.concatenate(([0.0], values)))
    # The last step of the grid may begin within the run and end past it.
    end_s = t_s[-1] + (grid_s[1] - grid_s[0] if grows else 0.0)
    return np.where(grid_s <= end_s + 1e-9, read, math.nan)


def _over_time(
    name: str, title: str, unit: str, lines: Mapping[str, Series], grid_s: Floats, value: Count
) -> Chart | None:
    columns = [_read_off(series, value, grid_s, grows=False) for series in lines.values()]
    if not any(np.nanmax(values, initial=0) > 0 for values in columns):
        return None
    most = (f"{label} at most {fmt.count(np.nanmax(c))}" for label, c in zip(lines, columns, strict=True))
    return {
        "id": name,
        "title": title,
        "label": f"Line chart of {title.lower()}, side by side: {', '.join(most)}.",
        "unit": unit,
        "x": plain(grid_s, 3),
        "y": [plain(values, 0) for values in columns],
        "series": _series(list(lines)),
    }


def _pace(name: str, title: str, lines: Mapping[str, Series], grid_s: Floats, value: Count) -> Chart | None:
    step_s = grid_s[1] - grid_s[0]
    columns = [np.diff(_read_off(series, value, grid_s, grows=True)) / step_s for series in lines.values()]
    highest = [float(np.nanmax(values, initial=0)) for values in columns]
    if max(highest) <= 0:
        return None
    window = busy(*(np.nan_to_num(values) for values in columns))
    ends_s, columns = grid_s[1:][window], [values[window] for values in columns]
    most = (f"{label} at most {fmt.rate(value)}" for label, value in zip(lines, highest, strict=True))
    return {
        "id": name,
        "title": title,
        "label": f"Line chart of connections {title.lower()}, side by side: {', '.join(most)}.",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(ends_s, 3)],
        "y": [backwards(plain(values, 1)) for values in columns],
        "series": _series(list(lines)),
    }


def _curve(name: str, title: str, runs: Mapping[str, Sequence[Series]], kind: str) -> Chart | None:
    """Latency by percentile. All runs of a side are one curve."""
    totals = {label: np.sum([_whole(run, kind) for run in side], axis=0) for label, side in runs.items()}
    series = dict(zip(runs, _series(list(runs)), strict=True))
    return by_percentile(name, f"{title} by percentile", f"{kind} latency, side by side,", totals, series)


def _whole(run: Series, kind: str) -> NDArray[np.int64]:
    """The latency of a whole run in one histogram."""
    read = intervals.latency(kind)
    return intervals.together([read(line) for line in run], np.arange(len(run))).whole()


def _series(labels: Sequence[str]) -> list[dict[str, object]]:
    """A line for each; a side has the same colour in every chart, also where another has no line."""
    return [{"label": label, "tone": tone, "dash": False} for label, tone in zip(labels, TONES, strict=False)]
