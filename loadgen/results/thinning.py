"""Lines of a series merged with their neighbours, so that a series of any length fits into memory.

Of two merged lines the running totals are those of the later one, and counts of an interval are added up. So no count
is ever missing, only its time is known less exactly. Changes of phase stay in place, and so does the first line.

Of a histogram eight neighbouring buckets become one, which is 6 % wide: it keeps memory and drawing small, and on a
chart the difference is not visible. A summary is made from all lines as they were written, see `loadgen.results.fold`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from loadgen.results import histogram
from loadgen.results.block import Latency
from loadgen.results.fold import Fold
from loadgen.results.schema.line import LatencyNs, Line, Sparse

T = TypeVar("T")

#: Values in the lines that are kept, each about 100 bytes in memory. 60 lines of a short run have 20,000.
VALUES_MAX: Final = 800_000
#: Counts of (source, target) pairs that are kept, each about 150 bytes.
PAIRS_MAX: Final = 400_000
KINDS: Final = LatencyNs.__struct_fields__
#: Buckets of a histogram that become one, the fifth of them: a latency is off by a 32nd at most.
_COARSE: Final = 8
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
        *latency, lag = (_of_groups(row.nonzero()[0], row[row > 0]) for row in counts)
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
        self._lines = list(halved(let_go(self._lines)))
        # Phases that take turns, as in no series of ours, would keep all lines, and every line would try again.
        if len(self._lines) > max(0.75 * before, _PHASES_MAX):
            self._lines = list(halved(let_go(self._lines), across=True))

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


def _of_groups(groups: NDArray[Any], counts: NDArray[np.int64], width: int = _COARSE) -> Sparse:
    return histogram.Packed(groups * width + width // 2, counts)


def coarse(histogram_ns: Sparse, width: int = _COARSE) -> Sparse:
    """Return a sparse histogram with the counts of `width` neighbouring buckets in the middle one of them."""
    if not histogram_ns:
        return histogram_ns
    buckets, counts = histogram.arrays(histogram_ns)
    return _of_groups(*_added_up(buckets // width, counts), width)


def coarse_line(line: Line, width: int = _COARSE) -> Line:
    """Return a line with coarse histograms."""
    latency = LatencyNs(**{kind: coarse(line.latency_ns.of(kind), width) for kind in KINDS})
    return structs.replace(line, latency_ns=latency, lag_ns=coarse(line.lag_ns, width))


def merged(earlier: Line, later: Line) -> Line:
    """Return two neighbouring lines as one line for both intervals."""
    latency = {kind: _sum(earlier.latency_ns.of(kind), later.latency_ns.of(kind)) for kind in KINDS}
    return structs.replace(later, latency_ns=LatencyNs(**latency), lag_ns=_sum(earlier.lag_ns, later.lag_ns))


def let_go(items: list[T]) -> Iterator[T]:
    """Yield what is in a list, which is empty in the end: memory never has all of it and of what is made of it."""
    items.reverse()
    while items:
        yield items.pop()


def halved(lines: Iterator[Line], *, across: bool = False) -> Iterator[Line]:
    """Yield neighbours of one phase merged pairwise; the first line, there has to be one, stays as it is.

    across: of any phases.
    """
    yield next(lines)
    waiting: Line | None = None
    for line in lines:
        if waiting is None:
            waiting = line
        elif across or waiting.phase is line.phase:
            yield merged(waiting, line)
            waiting = None
        else:
            yield waiting
            waiting = line
    if waiting is not None:
        yield waiting


def _sum(first: Sparse, second: Sparse) -> Sparse:
    if not first or not second:
        return first or second
    (buckets, counts), (more_buckets, more_counts) = histogram.arrays(first), histogram.arrays(second)
    buckets, counts = np.concatenate((buckets, more_buckets)), np.concatenate((counts, more_counts))
    order = np.argsort(buckets)
    return histogram.Packed(*_added_up(buckets[order], counts[order]))


def _added_up(values: NDArray[np.int16], counts: NDArray[np.int64]) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return each value once, and the sum of its counts. values: in order, not empty."""
    first = np.flatnonzero(np.diff(values, prepend=-1))
    return values[first], np.add.reduceat(counts, first)


def _values(line: Line) -> int:
    """Return about how many values a line has, without the counts of pairs."""
    kernel, sink = line.kernel, line.sink
    sides = [side for side in (kernel, kernel.sink, kernel.gateway) if side is not None]
    return (
        len(line.__struct_fields__)
        + sum(len(line.latency_ns.of(kind)) for kind in KINDS)
        + len(line.lag_ns)
        + len(line.worker_cpu_s)
        + 4 * len(line.errors)
        + sum(len(side.now) + len(side.delta) + len(side.states or ()) for side in sides)
        + (4 * len(sink.sources or ()) + len(sink.failures) if sink else 0)
    )
