"""Sides laid over each other: every line at the same times, and nothing that was counted is lost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results import histogram
from loadgen.results.schema.line import Line
from loadgen.views.charts.compare import TONES, Drawn, everything
from tests.samples import bare_line


def series(established: list[int], *, step_s: float = 1.0, latency_us: int = 0, failed: int = 0) -> list[Line]:
    """One line per count; all of them are open."""
    bucket = str(histogram.bucket_of(np.array([latency_us * 1000]))[0]) if latency_us else ""
    return [
        bare_line(
            round((index + 1) * step_s, 6),
            established=count,
            open=count,
            failed=failed,
            latency_ns={"connect": {bucket: 100}} if bucket else {},
        )
        for index, count in enumerate(established)
    ]


def charts(*sides: list[Line]) -> dict[str, dict[str, Any]]:
    drawn = [Drawn("ABCDEF"[index], [one], 0) for index, one in enumerate(sides)]
    found = everything(drawn)
    json.dumps(found, allow_nan=False)
    return {chart["id"]: chart for chart in found}


def test_each_side_is_a_line_with_its_colour() -> None:
    found = charts(series([10, 20], latency_us=50), series([5, 9]), series([1, 2], latency_us=500))
    assert list(found) == ["open", "established", "rate", "percentiles-connect"]
    for name in ("open", "established", "rate"):
        assert [(one["label"], one["tone"]) for one in found[name]["series"]] == list(zip("ABC", TONES, strict=False))
    curve = found["percentiles-connect"]["series"]
    assert [(one["label"], one["tone"]) for one in curve] == [("A", "blue"), ("C", "green")], "as in the others"


def test_columns_are_as_long_as_their_times() -> None:
    for chart in charts(series([10, 20, 30], failed=3), series([5, 9], step_s=0.7, latency_us=90)).values():
        assert {len(column) for column in chart["y"]} == {len(chart["x"])}
        assert len(chart["y"]) == len(chart["series"])


def test_a_shorter_run_ends_earlier() -> None:
    found = charts(series([10, 20, 30, 40]), series([10, 20]))["open"]
    assert found["x"] == [0, 1, 2, 3, 4]
    assert found["y"] == [[0, 10, 20, 30, 40], [0, 10, 20, None, None]]


def test_rates_are_taken_from_counts_at_the_same_times() -> None:
    found = charts(series([10, 30], step_s=1.0), series([10, 20, 30, 40], step_s=0.5))["rate"]
    assert found["x"] == [0, 0.5, 1, 1.5, 2]
    assert found["y"] == [[10, 10, 10, 20, 20], [20, 20, 20, 20, 20]]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.floats(0.05, 3), st.floats(0.05, 3))
def test_nothing_that_was_established_is_lost(steps: list[int], one_s: float, other_s: float) -> None:
    counts = np.cumsum(steps).tolist()
    found = charts(series(counts, step_s=one_s), series(counts, step_s=other_s))
    if counts[-1] == 0:
        assert "rate" not in found
        return
    widths = np.diff(found["rate"]["x"])
    for column in found["rate"]["y"]:
        seen = np.array([0.0 if value is None else value for value in column[1:]])
        assert float((seen * widths).sum()) == pytest.approx(counts[-1], rel=0.02, abs=1)


def test_a_curve_is_of_all_runs_of_a_side() -> None:
    fast, slow = series([100], latency_us=10), series([100], latency_us=1000)
    (curve,) = [one for one in everything([Drawn("A", [fast, slow], 0)]) if one["id"] == "percentiles-connect"]
    assert curve["y"][0][0] == pytest.approx(10, rel=0.05)
    assert [value for value in curve["y"][0] if value is not None][-1] == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("sides", [([],), ([], []), ([bare_line(0.0)], [])])
def test_of_nothing_nothing_is_drawn(sides: tuple[list[Line], ...]) -> None:
    assert charts(*sides) == {}


def test_one_side_may_have_nothing() -> None:
    found = charts(series([10, 20]), [])
    assert found["open"]["y"] == [[0, 10, 20], [0, None, None]]


def test_a_long_run_is_no_more_points_than_a_page_has() -> None:
    found = charts(series(list(range(5000))), series(list(range(3000))))
    assert all(len(chart["x"]) <= 601 for chart in found.values())
