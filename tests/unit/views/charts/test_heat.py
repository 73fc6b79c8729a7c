from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Plan
from loadgen.results import histogram
from loadgen.results.schema.line import Line
from loadgen.views.charts import heat, intervals
from loadgen.views.charts.columns import Chart
from tests import samples
from tests.samples import bare_line

PLAN = samples.plan(
    {
        "sources": ["10.0.0.1", "10.0.0.2", "fd00::1"],
        "targets": [
            {"endpoint": {"address": "10.0.9.9", "port": 80}, "sink": True},
            {"endpoint": {"address": "fd00::9", "port": 443}, "sink": True},
        ],
        "routes": [],
        "capacity_per_pair": 1000,
    }
)


def lines(*opened: tuple[int, ...]) -> list[Line]:
    """A line per second, with these connections open of each pair."""
    return [bare_line(t + 1.0, pairs=[[0, 0, count] for count in counts]) for t, counts in enumerate(opened)]


def drawn(series: list[Line], plan: Plan) -> Chart | None:
    t_s = np.array([line.t_s for line in series])
    return heat.occupancy(t_s, [heat.opened(line) for line in series], plan)


@given(
    st.lists(st.floats(0.001, 3), min_size=1, max_size=300),
    st.integers(1, 40),
)
def test_columns_are_bounded_and_cover_every_line(took_s: list[float], limit: int) -> None:
    t_s = np.cumsum(took_s)
    ends = heat.grouped(t_s, limit)
    assert 1 <= len(ends) <= limit
    assert np.all(np.diff(ends) > 0)
    assert ends[-1] == len(t_s) - 1


@given(st.data())
def test_no_maximum_is_lost_when_columns_are_put_together(data: st.DataObject) -> None:
    """Of each row the highest value is still there, in the column that its line went into."""
    length = data.draw(st.integers(1, 200))
    row = st.lists(st.floats(0, 1e6) | st.just(math.nan), min_size=length, max_size=length)
    values = np.array(data.draw(st.lists(row, min_size=1, max_size=4)))
    ends = heat.grouped(np.arange(1.0, length + 1), data.draw(st.integers(1, 30)))
    found = heat.peaks(values, ends)
    assert found.shape == (len(values), len(ends))
    for before, after in zip(values, found, strict=True):
        if np.isnan(before).all():
            assert np.isnan(after).all()
            continue
        highest = int(np.nanargmax(before))
        assert after[np.searchsorted(ends, highest)] == before[highest] == np.nanmax(after)


def test_occupancy_is_a_share_of_the_capacity_with_the_fullest_first() -> None:
    chart = drawn(lines((100, 200, 0), (500, 1000, 250)), PLAN)
    assert chart is not None
    assert chart["rows"] == ["10.0.0.2 → 10.0.9.9:80", "10.0.0.1 → 10.0.9.9:80", "fd00::1 → [fd00::9]:443"]
    assert chart["cells"] == [[20, 100], [10, 50], [0, 25]]
    assert chart["x"] == [0, 1, 2]
    assert (chart["cell_unit"], chart["scale"]) == ("percent", [0, 100])
    assert "100 %" in chart["label"]


def test_of_one_target_the_rows_are_the_sources() -> None:
    chart = drawn(lines((1, 2)), replace(PLAN, sources=PLAN.sources[:2], targets=PLAN.targets[:1]))
    assert chart is not None
    assert chart["rows"] == ["10.0.0.1", "10.0.0.2"]
    assert "each source toward 10.0.9.9:80, of 1,000 four-tuples" in chart["title"]
    assert chart["scale"] == [0, 0.2], "what is hardly full at all has a scale of its own"


def test_routes_name_the_source_of_each_target() -> None:
    chart = drawn(lines((1, 2)), replace(PLAN, routes=("10.0.0.7", "fd00::7")))
    assert chart is not None
    assert set(chart["rows"]) == {"10.0.0.7 → 10.0.9.9:80", "fd00::7 → [fd00::9]:443"}


def test_of_many_pairs_the_fullest_are_shown_and_said() -> None:
    sources = tuple(f"10.0.{n // 250}.{n % 250 + 1}" for n in range(300))
    plan = replace(PLAN, sources=sources, targets=PLAN.targets[:1])
    chart = drawn(lines(tuple(range(300))), plan)
    assert chart is not None
    assert len(chart["rows"]) == len(chart["cells"]) == heat.ROWS_MAX
    assert set(chart["rows"]) <= set(sources[300 - 2 * heat.ROWS_MAX :])
    assert f"the fullest {heat.ROWS_MAX} of 300" in chart["title"]


@pytest.mark.parametrize("series", [[], lines((0, 0, 0)), [bare_line(0.0, pairs=[[0, 0, 5]] * 3)], [bare_line()]])
def test_without_open_connections_there_is_no_map(series: list[Line]) -> None:
    assert drawn(series, PLAN) is None


def test_lines_that_do_not_say_are_holes() -> None:
    chart = drawn([*lines((10, 20, 0)), bare_line(2.0), bare_line(3.0, pairs=[[0, 0, 30], [0, 0, 0], [0, 0, 0]])], PLAN)
    assert chart is not None
    assert chart["cells"] == [[1, None, 3], [2, None, 0], [0, None, 0]]
    json.dumps(chart, allow_nan=False)


def of(*counts: dict[str, int]) -> intervals.Intervals:
    return intervals.together(list(map(intervals.interval, counts)), np.arange(len(counts)))


def test_a_latency_map_counts_every_value_between_decades() -> None:
    """A millisecond three times in the first second, then a microsecond once, in the third."""
    found = of({"1780": 3}, {}, {"500": 1}, {})
    chart = heat.latency_map("connect", "Connect", np.array([1.0, 2.0, 3.0, 4.0]), found)
    assert chart is not None
    assert chart["range"] == [1, 10_000]
    assert chart["x"] == [0, 1, 2, 3], "the last second, where nothing was measured, is not drawn"
    assert len(chart["cells"]) == 4 * heat.STEPS_PER_DECADE
    rows, columns = np.nonzero(chart["cells"])
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 2), (30, 0)]
    assert chart["cells"][30][0] == 3
    assert chart["scale"] == [1, 3]


def test_a_latency_map_begins_where_something_was_measured() -> None:
    chart = heat.latency_map("exchange", "Exchange", np.array([1.0, 2.0]), of({}, {"1780": 1}))
    assert chart is not None
    assert chart["x"] == [1, 2]
    assert heat.latency_map("exchange", "Exchange", np.array([1.0]), of({})) is None
    assert heat.latency_map("exchange", "Exchange", np.array([0.0]), of({"1780": 1})) is None


@given(
    st.lists(st.dictionaries(st.integers(0, 4000).map(str), st.integers(1, 99), max_size=5), min_size=1, max_size=400)
)
def test_a_bounded_latency_map_loses_no_value(counts: list[dict[str, int]]) -> None:
    chart = heat.latency_map("connect", "Connect", np.arange(1.0, len(counts) + 1), of(*counts))
    total = sum(sum(found.values()) for found in counts)
    if chart is None:
        assert total == 0
        return
    assert sum(map(sum, chart["cells"])) == total
    assert len(chart["x"]) - 1 <= heat.COLUMNS_MAX


@given(st.integers(0, histogram.VALUE_NS_MAX))
def test_a_row_of_a_latency_map_holds_its_values(value_ns: int) -> None:
    counts = np.zeros(histogram.BUCKETS, dtype=np.int64)
    histogram.add(counts, np.array([value_ns]))
    chart = heat.latency_map("connect", "Connect", np.array([1.0]), of(histogram.sparse(counts)))
    assert chart is not None
    (row,) = np.flatnonzero(np.array(chart["cells"])[:, 0]).tolist()
    low, high = chart["range"]
    below, above = (low * (high / low) ** (edge / len(chart["cells"])) for edge in (row, row + 1))
    value_us = max(histogram.quantile_ns(counts, 1) / 1e3, 1)
    assert below * (1 - 1e-9) <= value_us < above * (1 + 1e-9)
