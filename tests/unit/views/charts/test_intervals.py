from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results import histogram
from loadgen.views.charts import intervals
from tests.samples import bare_line

sparse = st.dictionaries(st.integers(0, histogram.BUCKETS - 1).map(str), st.integers(1, 10_000), max_size=40)


@given(st.lists(sparse, max_size=6))
def test_quantiles_are_those_of_the_dense_histogram(lines: list[dict[str, int]]) -> None:
    """The oracle is histogram.quantile_ns, which the recorder's numbers are read with everywhere else."""
    found = intervals.together(list(map(intervals.interval, lines)), np.arange(len(lines)))
    assert found.quantiles_us.shape == (3, len(lines))
    for index, counts in enumerate(lines):
        dense = histogram.dense(counts)
        if not dense.any():
            assert np.isnan(found.quantiles_us[:, index]).all()
            continue
        expected = [histogram.quantile_ns(dense, q) / 1e3 for q in (0.5, 0.99)] + [histogram.max_ns(dense) / 1e3]
        assert found.quantiles_us[:, index].tolist() == expected
    whole = sum((histogram.dense(counts) for counts in lines), np.zeros(histogram.BUCKETS, dtype=np.int64))
    assert found.whole().tolist() == whole.tolist()


@given(st.lists(sparse, min_size=1, max_size=8), st.data())
def test_lines_put_together_lose_no_value_and_no_maximum(lines: list[dict[str, int]], data: st.DataObject) -> None:
    inner = data.draw(st.sets(st.integers(0, len(lines) - 1)))
    ends = np.array(sorted(inner | {len(lines) - 1}))
    read = [intervals.interval(counts) for counts in lines]
    found = intervals.together(read, ends)
    rows = data.draw(st.integers(1, histogram.BUCKETS))
    row_of = np.arange(histogram.BUCKETS) * rows // histogram.BUCKETS
    table = found.table(row_of, np.arange(len(ends)))
    start = 0
    for column, end in enumerate(ends.tolist()):
        summed = np.sum([histogram.dense(counts) for counts in lines[start : end + 1]], axis=0)
        assert table[:, column].tolist() == np.bincount(row_of, summed).tolist()
        start = end + 1
    start = 0
    for column, end in enumerate(ends.tolist()):
        tops = [intervals.values_us()[one.marks[-1]] for one in read[start : end + 1] if one]
        assert found.quantiles_us[-1, column] == max(tops) if tops else np.isnan(found.quantiles_us[-1, column])
        start = end + 1


def test_the_median_of_a_step_is_that_of_its_line_with_the_most_values() -> None:
    """A line of one value, at a change of phase, does not pull it down."""
    read = [intervals.interval(counts) for counts in ({"1780": 500}, {"500": 1})]
    found = intervals.together(read, np.array([1]))
    assert found.quantiles_us[0].tolist() == [1001.4715]


def test_an_empty_histogram_is_none() -> None:
    assert intervals.interval({}) is None


def test_the_order_of_buckets_does_not_matter() -> None:
    """A live page merges lines, and appends buckets that are new."""
    interval = intervals.interval({"1780": 1, "300": 2})
    assert interval is not None
    assert interval.buckets.tolist() == [300, 1780]
    assert interval.counts.tolist() == [2, 1]


def test_a_latency_is_read_by_its_name() -> None:
    line = bare_line(latency_ns={"connect": {"1780": 3}})
    interval = intervals.latency("connect")(line)
    assert interval is not None
    assert interval.total == 3
    assert intervals.latency("arrival")(line) is None
