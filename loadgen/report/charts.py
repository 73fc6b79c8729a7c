"""From the lines of series.jsonl to the columns of a chart. Pure arithmetic, no HTML.

A chart is a plain dict that the page's script draws: x and y columns of equal length, with None where
nothing was measured. Times are seconds since the run began, latencies microseconds.

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
#: A log axis has no zero, and below a microsecond lies nothing that a reader of a chart asks for.
LATENCY_US_MIN: Final = 1.0
#: More colours than this cannot be told apart; the rest of the errors become one series.
ERROR_KINDS_MAX: Final = 5
#: 1/(1-q) up to which the percentile curve goes: 99.999 %.
CURVE_END_MAX: Final = 100_000
LATENCIES: Final = ("lateness", "connect", "arrival")

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Series = Sequence[Mapping[str, Any]]
Chart = dict[str, Any]


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


def connections(series: Series) -> Chart | None:
    """Established and open over time, with the sink's own count of open ones when there is a sink."""
    t_s = column(series, "t_s")
    columns = [column(series, "established"), column(series, "open"), column(series, "sink", "open")]
    labels = [("established", "grey"), ("open", "blue"), ("open, as the sink sees it", "orange")]
    there = [not np.isnan(values).all() for values in columns]
    if len(t_s) == 0 or not any(there[:2]):
        return None
    keep = thin(columns)
    highest = float(np.nanmax(columns[1] if there[1] else columns[0]))
    return {
        "id": "connections",
        "title": "Connections",
        "label": f"Line chart of connections over {words.seconds(t_s[-1])}; "
        f"at most {words.count(highest)} {'open at once' if there[1] else 'established'}.",
        "unit": "count",
        "x": plain(t_s[keep], 3),
        "y": [plain(c[keep], 0) for c, yes in zip(columns, there, strict=True) if yes],
        "series": [
            {"label": label, "tone": tone, "dash": tone != "blue"}
            for (label, tone), yes in zip(labels, there, strict=True)
            if yes
        ],
    }


def pace(series: Series) -> Chart | None:
    """Established and failed per second."""
    t_s = column(series, "t_s")
    ends_s, established = rates(t_s, counters(series, "established"))
    _, failed = rates(t_s, counters(series, "failed"))
    if len(ends_s) == 0:
        return None
    window = busy(established, failed)
    ends_s, established, failed = ends_s[window], established[window], failed[window]
    keep = thin([established, failed], POINTS_MAX - 1)
    return {
        "id": "rate",
        "title": "Rate while connecting",
        "label": f"Line chart of connections per second; established at most "
        f"{words.rate(established.max())}, failed at most {words.rate(failed.max())}.",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [_backwards(plain(values[keep], 1)) for values in (established, failed)],
        "series": [{"label": "established", "tone": "blue"}, {"label": "failed", "tone": "red"}],
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
    tones = {"lateness": "grey", "connect": "blue", "arrival": "orange"}
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


def everything(series: Series, events: Series) -> dict[str, Any]:
    """All that the page's script draws: {charts, phases, marks}; marks are the times of events."""
    lines = usable(series)
    intervals, totals = latencies(lines)
    charts = [connections(lines), pace(lines), failures(lines), *intervals, percentile_curve(totals)]
    marks = [t_s for event in events[:50] if (t_s := words.number(event.get("t_s"))) is not None]
    return {"charts": [chart for chart in charts if chart], "phases": spans(lines), "marks": marks}
