"""The quantiles of a latency are those of its histogram, in microseconds."""

from __future__ import annotations

import numpy as np

from loadgen.results import histogram
from loadgen.results.quantiles import quantiles_of


def test_quantiles_are_in_microseconds() -> None:
    counts = histogram.dense({})
    histogram.add(counts, np.array([1_000_000] * 99 + [5_000_000], dtype=np.int64))
    found = quantiles_of(counts)
    assert (found.count, found.p50, found.p99) == (100, 1001.5, 1001.5)
    assert found.max == found.p999 > 4980


def test_nothing_measured_is_zero() -> None:
    found = quantiles_of(histogram.dense({}))
    assert (found.count, found.p50, found.max) == (0, 0.0, 0.0)
