"""Latencies over time and by percentile."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.results import histogram
from loadgen.views.charts import intervals, latency


def of(*counts: dict[str, int]) -> intervals.Intervals:
    """A step of time for each of these histograms."""
    return intervals.together(list(map(intervals.interval, counts)), np.arange(len(counts)))


def test_quantiles_are_drawn_where_something_was_measured() -> None:
    times_s = np.array([1.0, 2.0, 3.0, 4.0])
    chart = latency.quantiles("x", "X", "x", times_s, of({}, {"1780": 3}, {"500": 1}, {}))
    assert chart is not None
    assert chart["x"] == [2, 3]
    assert chart["y"] == [[1000, 1], [1000, 1], [1000, 1]]
    assert "the largest maximum is 1.00 ms" in chart["label"]
    assert latency.quantiles("x", "X", "x", times_s, of({}, {}, {}, {})) is None


def test_all_latencies_have_the_same_axis() -> None:
    fast, slow = of({"500": 1}), of({"2900": 1})
    charts = latency.latencies(np.array([1.0]), {"connect": fast, "arrival": of({}), "exchange": slow})
    assert [chart["id"] for chart in charts] == ["latency-connect", "latency-exchange"]
    assert charts[0]["range"] == charts[1]["range"] == [1, 1_000_000]


def test_a_percentile_curve_ends_at_the_maximum_of_what_was_measured() -> None:
    """Past 1 - 1/n every percentile is the maximum, and is not drawn."""
    counts = np.zeros(histogram.BUCKETS, dtype=np.int64)
    histogram.add(counts, np.array([1_000_000] * 98 + [50_000_000] * 2))
    few = {"few": of({"1780": 1}).whole(), "many": counts, "none": np.zeros(histogram.BUCKETS, dtype=np.int64)}
    series = {label: {"label": label} for label in few}
    chart = latency.by_percentile("p", "P", "x", few, series)
    assert chart is not None
    assert [row["label"] for row in chart["series"]] == ["few", "many"]
    assert chart["x"][0] == 1
    assert chart["x"][-1] == 100
    one, many = chart["y"]
    assert [value for value in one if value is not None] == [1000]
    assert many[0] == pytest.approx(1000, rel=0.01)
    assert many[-1] == pytest.approx(50_000, rel=0.01)
    assert "many p99 49.9 ms" in chart["label"]


def test_the_curve_of_a_run_has_a_line_for_each_latency_that_was_measured() -> None:
    chart = latency.percentile_curve({"connect": of({"1780": 2}), "exchange": of({})})
    assert chart is not None
    assert [row["label"] for row in chart["series"]] == ["connect"]
    assert latency.percentile_curve({"connect": of({})}) is None
