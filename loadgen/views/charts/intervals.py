"""The histograms of a series, line by line: quantiles, and sums over stretches of time. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.results import histogram
from loadgen.views.charts.columns import Floats, Indices, Series

#: A log axis has no zero, and below a microsecond lies nothing that a reader of a chart asks for.
LATENCY_US_MIN: Final = 1.0
#: No line counts so many connections; what does is damaged, and could overflow a sum.
_COUNT_MAX: Final = 1 << 40
#: As the keys of `histogram.sparse` are written.
_BUCKETS: Final = {str(bucket): bucket for bucket in range(histogram.BUCKETS)}


@cache
def values_us() -> Floats:
    """What each bucket is reported as, in microseconds; float64 (BUCKETS,), rising."""
    return np.array([histogram.value_ns(bucket) for bucket in range(histogram.BUCKETS)]) / 1e3


@dataclass(frozen=True, slots=True)
class Interval:
    """One histogram of one line, not empty.

    buckets: int16, those in use, rising; counts: int64, how many values are in each of them; total: in all.
    marks: the buckets of p50, p99 and the maximum.
    """

    buckets: NDArray[np.int16]
    counts: NDArray[np.int64]
    total: int
    marks: tuple[int, int, int]


def interval(line: Mapping[str, Any], *keys: str) -> Interval | None:
    """The histogram that a line has at `keys`; None when it is missing, unreadable or empty."""
    found: object = line
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not found:
        return None
    try:
        buckets = np.fromiter(map(_BUCKETS.__getitem__, found), dtype=np.int16, count=len(found))
        counts = np.array([*found.values()])
    except (KeyError, ValueError):  # no bucket; or values of no one shape
        return None
    if counts.dtype != np.int64 or counts.ndim != 1 or counts.min() < 0 or not 0 < counts.max() <= _COUNT_MAX:
        return None
    if not counts.all() or (buckets[1:] <= buckets[:-1]).any():  # never written so, but a file can be edited
        order = np.argsort(buckets)
        order = order[counts[order] > 0]
        buckets, counts = buckets[order], counts[order]
    cumulated = counts.cumsum()
    total = int(cumulated[-1])
    p50, p99 = buckets[cumulated.searchsorted([_rank(total, 0.5), _rank(total, 0.99)])].tolist()
    return Interval(buckets, counts, total, (p50, p99, int(buckets[-1])))


@dataclass(frozen=True)
class Intervals:
    """One kind of histogram over a run, a column for each step of time.

    quantiles_us: float64 (3, columns), p50, p99 and maximum; NaN where nothing was measured.
    found: the histograms it was made of; columns: int64, which column each of them belongs to.
    """

    quantiles_us: Floats
    found: Sequence[Interval]
    columns: Indices

    def whole(self) -> NDArray[np.int64]:
        """The run in one histogram, int64 (BUCKETS,)."""
        return self.table(np.zeros(self.quantiles_us.shape[1], dtype=np.int64), 1)[:, 0]

    def table(self, group_of: Indices, groups: int) -> NDArray[np.int64]:
        """Columns put together: int64 (BUCKETS, groups). group_of: for each column, to which group it goes."""
        if not self.found:
            return np.zeros((histogram.BUCKETS, groups), dtype=np.int64)
        buckets = np.concatenate([one.buckets for one in self.found]).astype(np.int64)
        counts = np.concatenate([one.counts for one in self.found])
        column_of = np.repeat(group_of[self.columns], [len(one.buckets) for one in self.found])
        # The sums stay far below 2**53, up to which the floats that bincount makes are exact.
        summed = np.bincount(buckets * groups + column_of, weights=counts, minlength=histogram.BUCKETS * groups)
        return summed.astype(np.int64).reshape(histogram.BUCKETS, groups)


def together(lines: Sequence[Interval | None], ends: Indices) -> Intervals:
    """The intervals of all lines, those of a step of time put together; `ends` are the lines that end one.

    A change of phase writes a line a few milliseconds after the last one. A median of so little is noise: p50
    and p99 of a step are those of its line with the most values, and its maximum is that of all its lines.
    """
    quantiles = np.full((3, len(ends)), math.nan)
    there = [index for index, one in enumerate(lines) if one]
    found = [one for one in lines if one]
    columns = np.searchsorted(ends, np.array(there, dtype=np.int64))
    if found:
        marks = values_us()[np.array([one.marks for one in found]).T]
        busiest_last = np.argsort([one.total for one in found], kind="stable")
        quantiles[:, columns[busiest_last]] = marks[:, busiest_last]
        np.fmax.at(quantiles[-1], columns, marks[-1])
    return Intervals(quantiles, found, columns)


def read(series: Series, *keys: str) -> Intervals:
    """The histograms that each line has at `keys`, a column for each line."""
    return together([interval(line, *keys) for line in series], np.arange(len(series)))


def quantiles_us(counts: NDArray[np.int64], shares: Floats) -> Floats:
    """Quantiles of one histogram in microseconds; counts: int64 (BUCKETS,), not empty."""
    cumulated = np.cumsum(counts)
    ranks = [_rank(int(cumulated[-1]), share) for share in shares.tolist()]
    return values_us()[np.searchsorted(cumulated, ranks)]


def _rank(total: int, share: float) -> int:
    """The nearest rank, as in histogram.quantile_ns, which says what the factor is for."""
    return max(math.ceil(share * total * (1 - 1e-12)), 1)
