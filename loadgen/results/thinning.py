"""Lines of a series merged with their neighbours, so that a series of any length fits into memory.

Of two merged lines the running totals are those of the later one, and counts of an interval are added up. So no count
is ever missing, only its time is known less exactly. Changes of phase stay in place, and so does the first line.

Of a histogram eight neighbouring buckets become one, which is 6 % wide: it keeps memory and drawing small, and on a
chart the difference is not visible. A summary is made from all lines as they were written, see `loadgen.results.fold`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from loadgen.results import histogram
from loadgen.results.block import Latency
from loadgen.results.fold import Fold
from loadgen.results.schema.line import LatencyNs, Line, Sparse

#: Values in the lines that are kept, each about 100 bytes in memory. 60 lines of a short run have 20,000.
VALUES_MAX: Final = 800_000
#: Counts of (source, target) pairs that are kept, each about 150 bytes.
PAIRS_MAX: Final = 400_000
KINDS: Final = LatencyNs.__struct_fields__
#: Buckets of a histogram that become one, the fifth of them.
_COARSE: Final = 8
#: By name, and each name once for all lines: a name of its own for each count would be half of the memory.
_NAMES: Final = [str(group * _COARSE + _COARSE // 2) for group in range(histogram.BUCKETS // _COARSE)]
_COARSE_OF: Final = {str(bucket): _NAMES[bucket // _COARSE] for bucket in range(histogram.BUCKETS)}
#: More lines than a run has phases, each of which may leave one that has no neighbour.
_PHASES_MAX: Final = 16


class Thinned:
    """The lines of a series, in rising order of time, as many as fit; without too many, all of them as they are.

    When there are too many values, neighbours are merged pairwise, and from then on twice as many lines go into each.
    When there are too many counts of pairs, every other line loses them. Reading a line costs the same at any length.

    fold: that of all lines that were added, whose totals are what a line of several is made from.
    """

    def __init__(self, values_max: int = VALUES_MAX, pairs_max: int = PAIRS_MAX) -> None:
        self.fold = Fold()
        self._values_max, self._pairs_max = values_max, pairs_max
        self._lines: list[Line] = []
        self._values = self._pairs = 0
        #: Lines of the series that are merged into one; how many the next one has, and the totals before these.
        self._stride, self._count, self._before = 1, 0, self.fold.histograms.copy()
        #: One of this many lines keeps its counts of pairs, and those before the last one that do not.
        self._pairs_stride, self._without_pairs = 1, 0

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines that are kept."""
        last = self.fold.last
        return (*self._lines, self._bundled(last)) if last else ()

    def add(self, line: Line) -> None:
        """Take the next line. Raises: ValueError as `Fold.add`."""
        last = self.fold.last
        if last and (self._count == self._stride or last.phase is not line.phase or not self._lines):
            self._append(self._bundled(last))
            self._count, self._before = 0, self.fold.histograms.copy()
        self.fold.add(line)
        self._count += 1

    def _bundled(self, last: Line) -> Line:
        """Return the lines of the bundle as one, the last of them with the counts of all; one alone stays as it is."""
        if self._count == 1:
            return last
        counts = (self.fold.histograms - self._before).reshape(len(Latency) + 1, -1, _COARSE).sum(axis=2)
        *latency, lag = map(_sparse, counts)
        made = {row.name.lower(): found for row, found in zip(Latency, latency, strict=True)}
        return structs.replace(last, latency_ns=LatencyNs(**made), lag_ns=lag)

    def _append(self, line: Line) -> None:
        self._leave_last()
        self._lines.append(line)
        self._values += _values(line)
        self._pairs += len(line.pairs)
        if self._pairs > self._pairs_max:
            self._halve_pairs()
        if self._values > self._values_max:
            if self._stride == 1:
                self._lines[1:] = map(coarse_line, self._lines[1:])
            self._halve()
            self._values = sum(map(_values, self._lines))
            self._pairs = sum(len(line.pairs) for line in self._lines)
            self._stride *= 2

    def _halve(self) -> None:
        before = len(self._lines)
        self._lines = halved(self._lines)
        # Phases that take turns, as in no series of ours, would keep all lines, and every line would try again.
        if len(self._lines) > max(0.75 * before, _PHASES_MAX):
            self._lines = halved(self._lines, across=True)

    def _leave_last(self) -> None:
        """Decide whether the line that was the last one keeps its counts of pairs."""
        self._without_pairs += 1
        if self._without_pairs >= self._pairs_stride:
            self._without_pairs = 0
        elif self._lines:
            self._pairs -= len(self._lines[-1].pairs)
            self._lines[-1] = structs.replace(self._lines[-1], pairs=())

    def _halve_pairs(self) -> None:
        """Keep the counts of pairs in every other line that has them, and in the last one."""
        having = [index for index, line in enumerate(self._lines) if line.pairs]
        for index in having[1:-1:2]:
            self._lines[index] = structs.replace(self._lines[index], pairs=())
        self._pairs = sum(len(line.pairs) for line in self._lines)
        self._pairs_stride *= 2


def _sparse(counts: NDArray[np.int64]) -> Sparse:
    """Return the counts of groups of buckets as a sparse histogram."""
    used = np.flatnonzero(counts)
    return {_NAMES[group]: count for group, count in zip(used.tolist(), counts[used].tolist(), strict=True)}


def coarse(histogram_ns: Sparse) -> Sparse:
    """Return a sparse histogram with the counts of eight neighbouring buckets in one of them, the fifth."""
    counts: dict[str, int] = {}
    for bucket, count in histogram_ns.items():
        group = _COARSE_OF[bucket]
        counts[group] = counts.get(group, 0) + count
    return counts


def coarse_line(line: Line) -> Line:
    """Return a line with coarse histograms."""
    latency = LatencyNs(**{kind: coarse(line.latency_ns.of(kind)) for kind in KINDS})
    return structs.replace(line, latency_ns=latency, lag_ns=coarse(line.lag_ns))


def merged(earlier: Line, later: Line) -> Line:
    """Return two neighbouring lines as one line for both intervals."""
    latency = {kind: _sum(earlier.latency_ns.of(kind), later.latency_ns.of(kind)) for kind in KINDS}
    return structs.replace(later, latency_ns=LatencyNs(**latency), lag_ns=_sum(earlier.lag_ns, later.lag_ns))


def halved(lines: list[Line], *, across: bool = False) -> list[Line]:
    """Return neighbours of one phase merged pairwise; the first line stays as it is. across: of any phases."""
    kept, single = lines[:1], True
    for line in lines[1:]:
        if not single and (across or kept[-1].phase is line.phase):
            kept[-1], single = merged(kept[-1], line), True
        else:
            kept.append(line)
            single = False
    return kept


def _sum(first: Sparse, second: Sparse) -> Sparse:
    counts = dict(first)
    for bucket, count in second.items():
        counts[bucket] = counts.get(bucket, 0) + count
    return counts


def _values(line: Line) -> int:
    """Return about how many values a line has, without the counts of pairs."""
    kernel, sink = line.kernel, line.sink
    sides = (kernel, kernel.sink) if kernel.sink else (kernel,)
    return (
        len(line.__struct_fields__)
        + sum(len(line.latency_ns.of(kind)) for kind in KINDS)
        + len(line.lag_ns)
        + len(line.worker_cpu_s)
        + 4 * len(line.errors)
        + sum(len(side.now) + len(side.delta) + len(side.states or ()) for side in sides)
        + (4 * len(sink.sources or ()) + len(sink.failures) if sink else 0)
    )
