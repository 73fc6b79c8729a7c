"""Charts of latencies: quantiles of each interval over time, and the percentile curve of the whole run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen import format as fmt
from loadgen.views.charts import intervals
from loadgen.views.charts.columns import POINTS_MAX, Chart, Floats, decades, plain, significant, thin
from loadgen.views.charts.intervals import LATENCY_US_MIN as LATENCY_US_MIN
from loadgen.views.charts.intervals import Intervals
from loadgen.views.summary_rows import LATENCIES as LATENCIES

Counts = NDArray[np.int64]

#: 1/(1-q) up to which the percentile curve goes: 99.999 %.
CURVE_END_MAX: Final = 100_000
_TITLES: Final = {
    "lateness": "Lateness (started - due): our own delay",
    "bind": "bind() that takes a port",
    "connect": "Connect (established - started)",
    "network": "Network (the kernel's round trip of the handshake)",
    "arrival": "Arrival (established - due)",
    "exchange": "Exchange (reply read - request written)",
    "handshake": "TLS handshake (secured - established)",
}
_TONES: Final = {
    "lateness": "grey",
    "bind": "red",
    "connect": "blue",
    "arrival": "orange",
    "exchange": "green",
    "handshake": "purple",
    "network": "blue",
}
#: Companions of another line.
_DASHED: Final = ("lateness", "arrival", "network")


def quantiles(name: str, title: str, what: str, t_s: Floats, found: Intervals) -> Chart | None:
    """p50, p99 and maximum of each step of time on a log axis; None when nothing was measured.

    name, title: of the chart. what: is measured, for the description. t_s: when each step ended. Only while
    something was measured is there anything to see; a held run would squeeze it into the left edge.
    """
    values = found.quantiles_us
    measured = np.flatnonzero(~np.isnan(values[0]))
    if len(measured) == 0:
        return None
    window = slice(int(measured[0]), int(measured[-1]) + 1)
    values, at_s = np.maximum(values[:, window], LATENCY_US_MIN), t_s[window]
    keep = thin(list(values), POINTS_MAX // 2)
    return {
        "id": name,
        "title": title,
        "label": f"Line chart of {what} in each interval; the largest maximum is "
        f"{fmt.latency(float(np.nanmax(values[2])))}.",
        "unit": "latency",
        "log": True,
        "small": True,
        "range": decades(values[:, keep][~np.isnan(values[:, keep])].tolist()),
        "x": plain(at_s[keep], 3),
        "y": [significant(row[keep]) for row in values],
        "series": [
            {"label": "p50", "tone": "blue"},
            {"label": "p99", "tone": "orange"},
            {"label": "max", "tone": "grey", "dash": True},
        ],
    }


def latencies(t_s: Floats, found: Mapping[str, Intervals]) -> list[Chart]:
    """One chart for each latency that was measured, all on the same axis. found: by kind of latency."""
    charts = [
        chart
        for kind in found
        if (chart := quantiles(f"latency-{kind}", _TITLES[kind], f"{kind} latency", t_s, found[kind]))
    ]
    ends = [end for chart in charts for end in chart["range"]]
    return [{**chart, "range": [min(ends), max(ends)]} for chart in charts]


def percentile_curve(found: Mapping[str, Intervals]) -> Chart | None:
    """Each latency of the whole run by percentile."""
    series = {kind: {"label": kind, "tone": _TONES[kind], "dash": kind in _DASHED} for kind in found}
    whole = {kind: one.whole() for kind, one in found.items()}
    return by_percentile("percentiles", "Latency of the whole run by percentile", "latency", whole, series)


def by_percentile(
    name: str, title: str, what: str, found: Mapping[str, Counts], series: Mapping[str, Mapping[str, object]]
) -> Chart | None:
    """Latency against 1/(1-q), so that 90 %, 99 %, 99.9 % are equal steps; None when nothing was measured.

    name, title: of the chart. what: is measured, for the description. found: the histogram of each line, and
    series: its label, tone and dash, both by the same keys; a line without a measurement is left out.
    """
    totals = {label: counts for label, counts in found.items() if counts.any()}
    if not totals:
        return None
    end = max(min(max(int(counts.sum()) for counts in totals.values()), CURVE_END_MAX), 10)
    # 40 points a decade are closer than a pixel's worth of difference on paper.
    x = np.logspace(0, math.log10(end), 40 * math.ceil(math.log10(end)) + 1)
    curves: list[Floats] = []
    for counts in totals.values():
        values = np.maximum(intervals.quantiles_us(counts, 1 - 1 / x), LATENCY_US_MIN)
        # Past 1 - 1/n every percentile is the maximum, which is no curve any more.
        curves.append(np.where(x <= counts.sum() * 1.001, values, math.nan))
    y = [significant(curve) for curve in curves]
    p99 = np.array([0.99])
    return {
        "id": name,
        "title": title,
        "label": f"Line chart of {what} against percentile, both on log scales: "
        + ", ".join(
            f"{label} p99 {fmt.latency(float(intervals.quantiles_us(counts, p99)[0]))}"
            for label, counts in totals.items()
        )
        + ".",
        "unit": "latency",
        "log": True,
        "percentiles": True,
        "x": [float(f"{v:.6g}") for v in x.tolist()],
        "y": y,
        "series": [dict(series[label]) for label in totals],
        "range": decades(v for values in y for v in values),
    }
