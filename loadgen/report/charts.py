"""Which charts a run has, from the lines of series.jsonl. Pure arithmetic, no HTML.

A chart is a plain dict that the page's script draws: x and y columns of equal length, with None where
nothing was measured. Times are seconds since the run began, latencies microseconds. How the columns
are read, differenced and thinned, in this order, is in columns.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.metrics import histogram
from loadgen.report import words
from loadgen.report.columns import (
    POINTS_MAX,
    Floats,
    Series,
    busy,
    column,
    counters,
    counts_of,
    plain,
    rates,
    significant,
    spans,
    thin,
    usable,
)

#: A log axis has no zero, and below a microsecond lies nothing that a reader of a chart asks for.
LATENCY_US_MIN: Final = 1.0
#: More colours than this cannot be told apart; the rest of the errors become one series.
ERROR_KINDS_MAX: Final = 5
#: 1/(1-q) up to which the percentile curve goes: 99.999 %.
CURVE_END_MAX: Final = 100_000
LATENCIES: Final = ("lateness", "connect", "arrival", "handshake", "exchange")
#: A predicted ceiling higher than so many times the highest rate would press the rates onto the axis.
CEILING_SCALE_MAX: Final = 10
#: The counters of TIME-WAIT: their names in the kernel, in a legend, and their colours.
_TIME_WAIT_COUNTERS: Final = (
    ("TcpExt.TW", "entered", "blue"),
    ("TcpExt.TWRecycled", "recycled", "green"),
    ("TcpExt.TCPTimeWaitOverflow", "overflow: the table was full", "red"),
)

Chart = dict[str, Any]


def churned(series: Series) -> bool:
    """Whether connections were opened and closed all the time."""
    return any(line.get("phase") == "churn" for line in series)


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
        "label": f"Line chart of connections over {words.seconds(t_s[-1])}; "
        f"at most {words.count(highest)} {'open at once' if there[1] else labels[0][0]}.",
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
        + ", ".join(f"{name} at most {words.rate(c.max())}" for name, c in zip(names, columns, strict=True))
        + ".",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [_backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": name, "tone": tone, "dash": tone == "orange"} for name, tone in names.items()],
    }
    return _under(chart, ceiling_per_s, max(c.max() for c in columns)) if churn and ceiling_per_s else chart


def _under(chart: Chart, ceiling_per_s: float, highest: float) -> Chart:
    """The chart with a flat line at the ceiling, or with a word about it where the line would be far off."""
    said = words.rate(ceiling_per_s)
    label = f"{chart['label']} Predicted ceiling: {said}."
    if ceiling_per_s > CEILING_SCALE_MAX * highest:
        return {**chart, "title": f"{chart['title']} (predicted ceiling {said}, off this scale)", "label": label}
    return {
        **chart,
        "label": label,
        "y": [*chart["y"], [ceiling_per_s] * len(chart["x"])],
        "series": [*chart["series"], {"label": "predicted ceiling", "tone": "grey", "dash": True}],
    }


def time_wait(series: Series) -> Chart | None:
    """Sockets in TIME-WAIT over time, of both sides where each has a namespace; None when there were none."""
    columns = [column(series, "kernel", *side, "now", "sockstat.tcp_tw") for side in ((), ("sink",))]
    there = [not np.isnan(values).all() for values in columns]
    highest = max((float(np.nanmax(c)) for c, yes in zip(columns, there, strict=True) if yes), default=0.0)
    if highest <= 0:
        return None
    keep = thin(columns)
    # Without a namespace for the sinks the one number holds both sides.
    labels = [("clients' side" if there[1] else "in TIME-WAIT", "blue"), ("sinks' side", "orange")]
    return {
        "id": "time-wait",
        "title": "Sockets in TIME-WAIT",
        "label": f"Line chart of sockets in TIME-WAIT; at most {words.count(highest)} at once.",
        "unit": "count",
        "x": plain(column(series, "t_s")[keep], 3),
        "y": [plain(c[keep], 0) for c, yes in zip(columns, there, strict=True) if yes],
        "series": [
            {"label": label, "tone": tone, "dash": tone == "orange"}
            for (label, tone), yes in zip(labels, there, strict=True)
            if yes
        ],
    }


def time_wait_pace(series: Series) -> Chart | None:
    """How often per second the kernel put a socket into TIME-WAIT, took one out early, or had no room.

    In churn only, where it goes on all the time. A counter that never moved has no line.
    """
    t_s = column(series, "t_s")
    ends_s, _ = rates(t_s, t_s)
    if len(ends_s) == 0 or not churned(series):
        return None
    found: list[tuple[str, str, bool, Floats]] = []
    for side, where in (((), ""), (("sink",), ", sinks' side")):
        for name, label, tone in _TIME_WAIT_COUNTERS:
            grown = counters(series, "kernel", *side, "delta", name)
            if grown.any():
                found.append((label + where, "purple" if side and tone == "blue" else tone, bool(side), grown))
    if not found:
        return None
    columns = [rates(t_s, grown)[1] for *_, grown in found]
    keep = thin(columns, POINTS_MAX - 1)
    return {
        "id": "time-wait-rate",
        "title": "TIME-WAIT per second",
        "label": "Line chart of changes of TIME-WAIT per second: "
        + ", ".join(f"{label} {words.count(grown[-1])}" for label, _, _, grown in found)
        + " in all.",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [_backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": label, "tone": tone, "dash": dash} for label, tone, dash, _ in found],
    }


def _short(name: str) -> str:
    """A legend has room for the name of a system call and an errno, not for a paragraph."""
    return name if len(name) <= 60 else name[:59] + "…"


def _backwards(values: list[float | int | None]) -> list[float | int | None]:
    """A rate holds for the step that ends with it, so the first one begins at 0."""
    return [values[0], *values]


def failures(series: Series) -> Chart | None:
    """Failures per second by system call and errno, stacked; None when nothing failed."""
    kinds: dict[str, Floats] = {}
    for index, line in enumerate(series):
        for error in words.items(line, "errors"):
            amount = words.number(error[-1]) if isinstance(error, list | tuple) and len(error) >= 3 else None
            if amount:
                name = _short(words.visible(f"{error[0]} {error[1]}"))
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
        + ", ".join(f"{name} {words.count(grown[name].max())}" for name in shown)
        + ".",
        "unit": "rate",
        "stacked": True,
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [_backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": name, "tone": tone} for name, tone in zip(shown, tones, strict=False)],
    }


def latencies(series: Series) -> tuple[list[Chart], dict[str, NDArray[np.int64]]]:
    """p50, p99 and maximum of each interval, one chart for each latency, all on the same log axis.

    Returns: the charts, and each latency's histogram over the whole run: reading the histograms is
    what takes long here, so it is done once.
    """
    titles = {
        "lateness": "Lateness (started - due): our own delay",
        "connect": "Connect (established - started)",
        "arrival": "Arrival (established - due)",
        "exchange": "Exchange (reply read - request written)",
        "handshake": "TLS handshake (secured - established)",
    }
    t_s = column(series, "t_s")
    found: list[Chart] = []
    totals = {kind: np.zeros(histogram.BUCKETS, dtype=np.int64) for kind in LATENCIES}
    for kind in LATENCIES:
        values = np.full((3, len(series)), math.nan)
        for index, line in enumerate(series):
            if words.part(line.get("latency_ns"), kind):
                counts = counts_of(line, kind)
                if counts.any():
                    totals[kind] += counts
                    values[:, index] = (
                        histogram.quantile_ns(counts, 0.5) / 1e3,
                        histogram.quantile_ns(counts, 0.99) / 1e3,
                        histogram.max_ns(counts) / 1e3,
                    )
        measured = np.flatnonzero(~np.isnan(values[0]))
        if len(measured) == 0:
            continue
        # Only while connections are being opened is there anything to see; a held run would
        # squeeze it into the left edge.
        window = slice(int(measured[0]), int(measured[-1]) + 1)
        values, at_s = np.maximum(values[:, window], LATENCY_US_MIN), t_s[window]
        keep = thin(list(values), POINTS_MAX // 2)
        found.append(
            {
                "id": f"latency-{kind}",
                "title": titles[kind],
                "label": f"Line chart of {kind} latency in each interval; the largest maximum is "
                f"{words.latency(np.nanmax(values[2]))}.",
                "unit": "latency",
                "log": True,
                "small": True,
                "x": plain(at_s[keep], 3),
                "y": [significant(values[row][keep]) for row in range(3)],
                "series": [
                    {"label": "p50", "tone": "blue"},
                    {"label": "p99", "tone": "orange"},
                    {"label": "max", "tone": "grey", "dash": True},
                ],
            }
        )
    everything = [v for chart in found for values in chart["y"] for v in values if v is not None]
    for chart in found:
        chart["range"] = _decades(everything)
    return found, totals


def percentile_curve(totals: Mapping[str, NDArray[np.int64]]) -> Chart | None:
    """Each latency of the whole run against 1/(1-q), so that 90 %, 99 %, 99.9 % are equal steps."""
    totals = {kind: counts for kind, counts in totals.items() if counts.any()}
    if not totals:
        return None
    end = min(max(int(counts.sum()) for counts in totals.values()), CURVE_END_MAX)
    # 40 points a decade are closer than a pixel's worth of difference on paper.
    x = np.logspace(0, math.log10(max(end, 10)), 40 * math.ceil(math.log10(max(end, 10))) + 1)
    y: list[list[float | int | None]] = []
    for counts in totals.values():
        n = int(counts.sum())
        # Past 1 - 1/n every percentile is the maximum, which is no curve any more.
        curve = [histogram.quantile_ns(counts, 1 - 1 / v) / 1e3 if v <= n * 1.001 else math.nan for v in x]
        y.append(significant(np.maximum(np.array(curve), LATENCY_US_MIN)))
    tones = {"lateness": "grey", "connect": "blue", "arrival": "orange", "exchange": "green", "handshake": "purple"}
    return {
        "id": "percentiles",
        "title": "Latency of the whole run by percentile",
        "label": "Line chart of latency against percentile, both on log scales: "
        + ", ".join(
            f"{kind} p99 {words.latency(histogram.quantile_ns(counts, 0.99) / 1e3)}" for kind, counts in totals.items()
        )
        + ".",
        "unit": "latency",
        "log": True,
        "percentiles": True,
        "x": [float(f"{v:.6g}") for v in x.tolist()],
        "y": y,
        "series": [{"label": kind, "tone": tones[kind], "dash": kind == "lateness"} for kind in totals],
        "range": _decades([v for values in y for v in values if v is not None]),
    }


def _decades(values: Sequence[float]) -> list[float]:
    """The powers of ten around the values, at least one decade apart."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**low, 10.0 ** max(high, low + 1)]


def everything(series: Series, events: Series, ceiling_per_s: float | None = None) -> dict[str, Any]:
    """All that the page's script draws: {charts, phases, marks}; marks are the times of events.

    ceiling_per_s: what was predicted to be the most that can go on for ever; None: no limit.
    """
    lines = usable(series)
    intervals, totals = latencies(lines)
    over_time = [
        connections(lines),
        pace(lines, ceiling_per_s),
        failures(lines),
        time_wait(lines),
        time_wait_pace(lines),
    ]
    charts = [*over_time, *intervals, percentile_curve(totals)]
    marks = [t_s for event in events[:50] if (t_s := words.number(event.get("t_s"))) is not None]
    return {"charts": [chart for chart in charts if chart], "phases": spans(lines), "marks": marks}
