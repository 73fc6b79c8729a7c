"""The charts of a run, from the lines of series.jsonl. Pure arithmetic, no HTML.

A chart is a plain dict that the page's script draws: x and y columns of equal length, with None where
nothing was measured. Times are seconds since the run began, latencies microseconds. How the columns
are read, differenced and thinned, in this order, is in columns.py. Here are the charts of the run over time,
and what puts all of them together; a live page calls that every few seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np

from loadgen import format as fmt
from loadgen.model import Plan
from loadgen.results.schema.event import Event
from loadgen.results.schema.run import SteadyResult
from loadgen.views.charts import agents, gateway, health, heat, intervals, kernel, latency
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
    times_s,
)
from loadgen.views.charts.latency import LATENCIES

#: More colours than this cannot be told apart; the rest of the errors become one series.
ERROR_KINDS_MAX: Final = 5
#: A predicted ceiling more than this many times the highest rate would press the rates onto the axis.
CEILING_SCALE_MAX: Final = 10
EVENTS_MARKED_MAX: Final = 50

#: Every chart there can be and the section it belongs to, in the order in which a page has them.
SLOTS: Final = (
    ("connections", "run"),
    ("rate", "run"),
    ("errors", "run"),
    ("time-wait", "run"),
    ("time-wait-rate", "run"),
    ("agents", "agents"),
    ("occupancy", "occupancy"),
    *((f"latency-{kind}", "latency") for kind in LATENCIES),
    ("percentiles", "curve"),
    ("latency-map-connect", "map"),
    ("latency-map-exchange", "map"),
    ("cost", "cost"),
    ("kernel-counters", "kernel"),
    ("kernel-sockets", "kernel"),
    ("gateway", "kernel"),
    ("gateway-entries", "kernel"),
    ("lag", "generator"),
    ("worker-cpu", "generator"),
)


def connections(series: Series) -> Chart | None:
    """Established and open over time, with the sink's own count of open ones when there is a sink.

    In churn the established connections are soon too many to see an open one beside them: there it is those in
    flight, and the rates show the rest.
    """
    if not series:
        return None
    t_s, churn = times_s(series), churned(series)
    curves = [
        ("in flight", "grey", column(series, lambda line: line.in_flight))
        if churn
        else ("established", "grey", column(series, lambda line: line.established)),
        ("open", "blue", column(series, lambda line: line.open)),
    ]
    sink = column(series, lambda line: line.sink.open if line.sink else None)
    if not np.isnan(sink).all():
        curves.append(("open, as the sink sees it", "orange", sink))
    columns = [values for *_, values in curves]
    keep = thin(columns)
    return {
        "id": "connections",
        "title": "Connections at a time" if churn else "Connections",
        "label": f"Line chart of connections over {fmt.seconds(t_s[-1])}; "
        f"at most {fmt.count(float(columns[1].max()))} open at once.",
        "unit": "count",
        "x": plain(t_s[keep], 3),
        "y": [plain(values[keep], 0) for values in columns],
        "series": [{"label": label, "tone": tone, "dash": tone != "blue"} for label, tone, _ in curves],
    }


def pace(series: Series, ceiling_per_s: float | None = None) -> Chart | None:
    """Established and failed per second; in churn also closed, and the predicted ceiling where there is one."""
    churn = churned(series)
    t_s = times_s(series)
    tones = {"established": "blue", "failed": "red"}
    if churn:
        tones = {"established": "blue", "closed": "orange", "failed": "red"}
    ends_s, _ = rates(t_s, t_s)
    if len(ends_s) == 0:
        return None
    columns = [rates(t_s, counters(series, attrgetter(name)))[1] for name in tones]
    window = busy(*columns)
    ends_s, columns = ends_s[window], [values[window] for values in columns]
    keep = thin(columns, POINTS_MAX - 1)
    chart: Chart = {
        "id": "rate",
        "title": "Opened and closed per second" if churn else "Rate while connecting",
        "label": "Line chart of connections per second; "
        + ", ".join(f"{name} at most {fmt.rate(c.max())}" for name, c in zip(tones, columns, strict=True))
        + ".",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": name, "tone": tone, "dash": tone == "orange"} for name, tone in tones.items()],
    }
    return _under(chart, ceiling_per_s, max(c.max() for c in columns)) if churn and ceiling_per_s else chart


def _under(chart: Chart, ceiling_per_s: float, highest: float) -> Chart:
    """The chart with a flat line at the ceiling, or with a word about it where the line would be far off."""
    ceiling = fmt.rate(ceiling_per_s)
    label = f"{chart['label']} Predicted ceiling: {ceiling}."
    if ceiling_per_s > CEILING_SCALE_MAX * highest:
        return {**chart, "title": f"{chart['title']} (predicted ceiling {ceiling}, off this scale)", "label": label}
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
        for error in line.errors:
            name = _short(fmt.visible(f"{error.syscall} {error.errno}"))
            kinds.setdefault(name, np.zeros(len(series)))[index] += error.times
    if not kinds:
        return None
    ranked = sorted(kinds, key=lambda name: (-kinds[name].max(), name))
    shown, rest = ranked[:ERROR_KINDS_MAX], ranked[ERROR_KINDS_MAX:]
    grown = {name: np.maximum.accumulate(kinds[name]) for name in ranked}
    if rest:
        shown.append(f"{len(rest)} other kinds" if len(rest) > 1 else rest[0])
        grown[shown[-1]] = np.sum([grown[name] for name in rest], axis=0)
    t_s = times_s(series)
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
    """All charts of one run, asked for once or again and again while the series grows."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._latencies = {kind: PerLine(intervals.latency(kind)) for kind in LATENCIES}
        self._lag = PerLine(lambda line: intervals.interval(line.lag_ns))
        self._opened, self._worker_cpu_s = PerLine(heat.opened), PerLine(health.worker_cpu_s)

    def everything(self, series: Series, events: Sequence[Event]) -> dict[str, Any]:
        """Everything that the page's script draws: {charts, phases, marks}; marks are the times of events.

        Only lines that are new since the last call are read; those before must not change.
        """
        t_s = times_s(series)
        ends = steps(t_s) if series else np.array([], dtype=np.int64)
        ends_s = t_s[ends]
        measured = {kind: intervals.together(read.of(series), ends) for kind, read in self._latencies.items()}
        ceiling_per_s = self._plan.ceiling.per_s if self._plan.ceiling else None
        drawn = [
            connections(series),
            pace(series, ceiling_per_s),
            failures(series),
            kernel.time_wait(series),
            kernel.time_wait_pace(series),
            agents.opened(t_s, self._opened.of(series), self._plan),
            heat.occupancy(t_s, self._opened.of(series), self._plan),
            *latency.latencies(ends_s, measured),
            latency.percentile_curve(measured),
            *heat.latency_maps(ends_s, measured),
            health.cost(series, churn=self._plan.churn is not None),
            kernel.trouble(series),
            kernel.sockets(series),
            gateway.pace(series),
            gateway.entries(series),
            health.lag(ends_s, intervals.together(self._lag.of(series), ends)),
            health.worker_cpu(t_s, self._worker_cpu_s.of(series)),
        ]
        return {
            "charts": [chart for chart in drawn if chart],
            "phases": spans(series),
            "marks": [event.t_s for event in events[:EVENTS_MARKED_MAX]],
        }


def everything(
    series: Series, events: Sequence[Event], plan: Plan, steady: SteadyResult | None = None
) -> dict[str, Any]:
    """All charts of a series that is complete; see `Drawing`. steady: its steady part, a band beside the phases."""
    drawn = Drawing(plan).everything(series, events)
    if steady and steady.reached:
        drawn["phases"].append({"name": "steady", "from": steady.from_s, "to": steady.to_s})
    return drawn
