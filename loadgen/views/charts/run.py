"""Which charts a run has, from the lines of series.jsonl. Pure arithmetic, no HTML.

A chart is a plain dict that the page's script draws: x and y columns of equal length, with None where
nothing was measured. Times are seconds since the run began, latencies microseconds. How the columns
are read, differenced and thinned, in this order, is in columns.py. Here are the charts of the run over time,
and what puts all of them together; a live page calls that once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from loadgen import format as fmt
from loadgen.views.charts import health, heat, intervals, kernel, latency
from loadgen.views.charts.columns import (
    POINTS_MAX,
    Chart,
    Floats,
    PerLine,
    Series,
    backwards,
    busy,
    churned,
    column,
    counters,
    plain,
    rates,
    spans,
    steps,
    thin,
    usable,
)
from loadgen.views.charts.latency import LATENCIES

#: More colours than this cannot be told apart; the rest of the errors become one series.
ERROR_KINDS_MAX: Final = 5
#: A predicted ceiling higher than so many times the highest rate would press the rates onto the axis.
CEILING_SCALE_MAX: Final = 10
EVENTS_MARKED_MAX: Final = 50

#: Every chart there can be and the section it belongs to, in the order in which a page has them.
SLOTS: Final = (
    ("connections", "run"),
    ("rate", "run"),
    ("errors", "run"),
    ("time-wait", "run"),
    ("time-wait-rate", "run"),
    ("occupancy", "occupancy"),
    *((f"latency-{kind}", "latency") for kind in LATENCIES),
    ("percentiles", "curve"),
    ("latency-map-connect", "map"),
    ("latency-map-exchange", "map"),
    ("cost", "cost"),
    ("kernel-counters", "kernel"),
    ("kernel-sockets", "kernel"),
    ("lag", "generator"),
    ("worker-cpu", "generator"),
)


def connections(series: Series) -> Chart | None:
    """Established and open over time, with the sink's own count of open ones when there is a sink.

    In churn the established ones are soon so many that no open one could be seen beside them: there it
    is those in flight, and the rates tell the rest.
    """
    t_s = column(series, "t_s")
    churn = churned(series)
    first = "in_flight" if churn else "established"
    columns = [column(series, first), column(series, "open"), column(series, "sink", "open")]
    labels = [(first.replace("_", " "), "grey"), ("open", "blue"), ("open, as the sink sees it", "orange")]
    there = [not np.isnan(values).all() for values in columns]
    if len(t_s) == 0 or not any(there[:2]):
        return None
    keep = thin(columns)
    highest = float(np.nanmax(columns[1] if there[1] else columns[0]))
    return {
        "id": "connections",
        "title": "Connections at a time" if churn else "Connections",
        "label": f"Line chart of connections over {fmt.seconds(t_s[-1])}; "
        f"at most {fmt.count(highest)} {'open at once' if there[1] else labels[0][0]}.",
        "unit": "count",
        "x": plain(t_s[keep], 3),
        "y": [plain(c[keep], 0) for c, yes in zip(columns, there, strict=True) if yes],
        "series": [
            {"label": label, "tone": tone, "dash": tone != "blue"}
            for (label, tone), yes in zip(labels, there, strict=True)
            if yes
        ],
    }


def pace(series: Series, ceiling_per_s: float | None = None) -> Chart | None:
    """Established and failed per second; in churn also closed, and the predicted ceiling where there is one."""
    churn = churned(series)
    t_s = column(series, "t_s")
    names = {"established": "blue", "closed": "orange", "failed": "red"}
    if not churn:
        del names["closed"]
    ends_s, _ = rates(t_s, t_s)
    if len(ends_s) == 0:
        return None
    columns = [rates(t_s, counters(series, name))[1] for name in names]
    window = busy(*columns)
    ends_s, columns = ends_s[window], [values[window] for values in columns]
    keep = thin(columns, POINTS_MAX - 1)
    chart: Chart = {
        "id": "rate",
        "title": "Opened and closed per second" if churn else "Rate while connecting",
        "label": "Line chart of connections per second; "
        + ", ".join(f"{name} at most {fmt.rate(c.max())}" for name, c in zip(names, columns, strict=True))
        + ".",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": name, "tone": tone, "dash": tone == "orange"} for name, tone in names.items()],
    }
    return _under(chart, ceiling_per_s, max(c.max() for c in columns)) if churn and ceiling_per_s else chart


def _under(chart: Chart, ceiling_per_s: float, highest: float) -> Chart:
    """The chart with a flat line at the ceiling, or with a word about it where the line would be far off."""
    said = fmt.rate(ceiling_per_s)
    label = f"{chart['label']} Predicted ceiling: {said}."
    if ceiling_per_s > CEILING_SCALE_MAX * highest:
        return {**chart, "title": f"{chart['title']} (predicted ceiling {said}, off this scale)", "label": label}
    return {
        **chart,
        "label": label,
        "y": [*chart["y"], [ceiling_per_s] * len(chart["x"])],
        "series": [*chart["series"], {"label": "predicted ceiling", "tone": "grey", "dash": True}],
    }


def _short(name: str) -> str:
    """A legend has room for the name of a system call and an errno, not for a paragraph."""
    return name if len(name) <= 60 else name[:59] + "…"


def failures(series: Series) -> Chart | None:
    """Failures per second by system call and errno, stacked; None when nothing failed."""
    kinds: dict[str, Floats] = {}
    for index, line in enumerate(series):
        for error in fmt.items(line, "errors"):
            amount = fmt.number(error[-1]) if isinstance(error, list | tuple) and len(error) >= 3 else None
            if amount:
                name = _short(fmt.visible(f"{error[0]} {error[1]}"))
                kinds.setdefault(name, np.zeros(len(series)))[index] += amount
    if not kinds:
        return None
    ranked = sorted(kinds, key=lambda name: (-kinds[name].max(), name))
    shown, rest = ranked[:ERROR_KINDS_MAX], ranked[ERROR_KINDS_MAX:]
    grown = {name: np.maximum.accumulate(kinds[name]) for name in ranked}
    if rest:
        shown.append(f"{len(rest)} other kinds" if len(rest) > 1 else rest[0])
        grown[shown[-1]] = np.sum([grown[name] for name in rest], axis=0)
    t_s = column(series, "t_s")
    columns = [rates(t_s, grown[name])[1] for name in shown]
    ends_s = rates(t_s, grown[shown[0]])[0]
    if len(ends_s) == 0:
        return None
    window = busy(*columns)
    ends_s, columns = ends_s[window], [values[window] for values in columns]
    # A stack reads by its outline, so that one must keep its extremes too.
    keep = thin([*columns, np.sum(columns, axis=0)], POINTS_MAX - 1)
    tones = ("red", "orange", "purple", "green", "blue", "grey")
    return {
        "id": "errors",
        "title": "Failures while connecting, by system call and errno",
        "label": "Stacked area chart of failures per second: "
        + ", ".join(f"{name} {fmt.count(grown[name].max())}" for name in shown)
        + ".",
        "unit": "rate",
        "stacked": True,
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": name, "tone": tone} for name, tone in zip(shown, tones, strict=False)],
    }


class Drawing:
    """All charts of one run, asked for once or again and again while the series grows.

    ceiling_per_s: what was predicted to be the most that can go on for ever; None: no limit.
    plan: plan.json, for the names of sources and targets and their capacity; without it they have numbers.
    """

    def __init__(self, ceiling_per_s: float | None = None, plan: Mapping[str, Any] | None = None) -> None:
        self._ceiling_per_s, self._plan = ceiling_per_s, plan or {}
        self._latencies = {kind: PerLine(_reader("latency_ns", kind)) for kind in LATENCIES}
        self._lag = PerLine(_reader("lag_ns"))
        self._opened, self._worker_cpu_s = PerLine(heat.opened), PerLine(health.worker_cpu_s)

    def everything(self, series: Series, events: Series) -> dict[str, Any]:
        """All that the page's script draws: {charts, phases, marks}; marks are the times of events.

        Of a series that went on since the last call only the new lines are read through; they must not change.
        """
        lines = usable(series)
        t_s = column(lines, "t_s")
        ends = steps(t_s) if lines else np.array([], dtype=np.int64)
        ends_s = t_s[ends]
        found = {kind: intervals.together(read.of(lines), ends) for kind, read in self._latencies.items()}
        drawn = [
            connections(lines),
            pace(lines, self._ceiling_per_s),
            failures(lines),
            kernel.time_wait(lines),
            kernel.time_wait_pace(lines),
            heat.occupancy(t_s, self._opened.of(lines), self._plan),
            *latency.latencies(ends_s, found),
            latency.percentile_curve(found),
            *heat.latency_maps(ends_s, found),
            health.cost(lines),
            kernel.trouble(lines),
            kernel.sockets(lines),
            health.lag(ends_s, intervals.together(self._lag.of(lines), ends)),
            health.worker_cpu(t_s, self._worker_cpu_s.of(lines)),
        ]
        marks = [fmt.number(event.get("t_s")) for event in events[:EVENTS_MARKED_MAX]]
        return {
            "charts": [chart for chart in drawn if chart],
            "phases": spans(lines),
            "marks": [at_s for at_s in marks if at_s is not None],
        }


def everything(
    series: Series, events: Series, ceiling_per_s: float | None = None, plan: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """As `Drawing`, of a series that is complete."""
    return Drawing(ceiling_per_s, plan).everything(series, events)


def _reader(*keys: str) -> Callable[[Mapping[str, Any]], intervals.Interval | None]:
    return lambda line: intervals.interval(line, *keys)
