"""The histograms of a series, line by line: quantiles, and sums over stretches of time. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.results import histogram
from loadgen.results.schema.line import Line, Sparse
from loadgen.views.charts.columns import Floats, Indices

#: A log axis has no zero, and below a microsecond lies nothing that a reader of a chart asks for.
LATENCY_US_MIN: Final = 1.0


@cache
def values_us() -> Floats:
    """The value that each bucket is reported as, in microseconds; float64 (BUCKETS,), rising."""
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


def interval(histogram_ns: Sparse) -> Interval | None:
    """The values of a sparse histogram; None when it is empty."""
    if not histogram_ns:
        return None
    buckets, counts = histogram.arrays(histogram_ns)
    cumulated = counts.cumsum()
    total = int(cumulated[-1])
    p50, p99 = buckets[cumulated.searchsorted([_rank(total, 0.5), _rank(total, 0.99)])].tolist()
    return Interval(buckets, counts, total, (p50, p99, int(buckets[-1])))


@dataclass(frozen=True)
class Intervals:
    """One kind of histogram over a run, a column for each step of time.

    quantiles_us: float64 (3, columns), p50, p99 and maximum; NaN where nothing was measured.
    lines: the histograms it was made of; columns: int64, the column that each of them belongs to.
    """

    quantiles_us: Floats
    lines: Sequence[Interval]
    columns: Indices

    def whole(self) -> NDArray[np.int64]:
        """The run in one histogram, int64 (BUCKETS,)."""
        counts = np.zeros(histogram.BUCKETS, dtype=np.int64)
        for line in self.lines:
            counts[line.buckets] += line.counts
        return counts

    def table(self, row_of: Indices, group_of: Indices) -> NDArray[np.int64]:
        """Buckets and columns put together, int64 (rows, groups).

        row_of: the row of each bucket, int64 (BUCKETS,); group_of: the group of each column. Both rise from 0 on.

        Line by line, as an array with all buckets would take 100 times the memory that is needed, for a moment.
        """
        counts = np.zeros((row_of[-1] + 1, group_of[-1] + 1), dtype=np.int64)
        for line, group in zip(self.lines, group_of[self.columns].tolist(), strict=True):
            np.add.at(counts[:, group], row_of[line.buckets], line.counts)
        return counts


def together(lines: Sequence[Interval | None], ends: Indices) -> Intervals:
    """The intervals of all lines, those of a step of time put together; `ends` are the lines that end one.

    A change of phase writes a line a few milliseconds after the last one. A median of so few values is noise: p50
    and p99 of a step are those of its line with the most values, and its maximum is that of all its lines.
    """
    quantiles = np.full((3, len(ends)), math.nan)
    measured = [line for line in lines if line]
    places = [place for place, line in enumerate(lines) if line]
    columns = np.searchsorted(ends, np.array(places, dtype=np.int64))
    if measured:
        marks = values_us()[np.array([line.marks for line in measured]).T]
        busiest_last = np.argsort([line.total for line in measured], kind="stable")
        quantiles[:, columns[busiest_last]] = marks[:, busiest_last]
        np.fmax.at(quantiles[-1], columns, marks[-1])
    return Intervals(quantiles, measured, columns)


def latency(kind: str) -> Callable[[Line], Interval | None]:
    """Return a reader of the latency of this name from a line."""
    return lambda line: interval(line.latency_ns.of(kind))


def quantiles_us(counts: NDArray[np.int64], shares: Floats) -> Floats:
    """Quantiles of one histogram in microseconds; counts: int64 (BUCKETS,), not empty."""
    cumulated = np.cumsum(counts)
    ranks = [_rank(int(cumulated[-1]), share) for share in shares.tolist()]
    return values_us()[np.searchsorted(cumulated, ranks)]


def _rank(total: int, share: float) -> int:
    """The nearest rank, as in histogram.quantile_ns, which says what the factor is for."""
    return max(math.ceil(share * total * (1 - 1e-12)), 1)
