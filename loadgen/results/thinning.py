"""Lines of a series merged with their neighbours, so that a series of any length fits into memory.

Of two merged lines the running totals are those of the later one, and counts of an interval are added up. So no count
is ever missing, only its time is known less exactly. Changes of phase stay in place, and so does the first line.

Of a histogram eight neighbouring buckets become one, which is 6 % wide: it keeps memory and drawing small, and on a
chart the difference is not visible. A summary is made from all lines as they were written, see `loadgen.results.fold`.
"""

from __future__ import annotations

import sys
from typing import Final

from msgspec import structs

from loadgen.results import histogram
from loadgen.results.schema.line import LatencyNs, Line, Sparse

#: Values in the lines that are kept, each about 100 bytes in memory. 60 lines of a short run have 20,000.
VALUES_MAX: Final = 800_000
#: Counts of (source, target) pairs that are kept, each about 150 bytes.
PAIRS_MAX: Final = 400_000
KINDS: Final = LatencyNs.__struct_fields__
#: Buckets of a histogram that become one, the fifth of them.
_COARSE: Final = 8
#: By name, and each name once for all lines: a name of its own for each count would be half of the memory.
_COARSE_OF: Final = {str(b): sys.intern(str(b // _COARSE * _COARSE + _COARSE // 2)) for b in range(histogram.BUCKETS)}


class Thinned:
    """The lines of a series, in rising order of time, as many as fit; without too many, all of them as they are.

    When there are too many values, neighbours are merged pairwise, and from then on twice as many lines go into each.
    When there are too many counts of pairs, every other line loses them. Reading a line costs the same at any length.
    """

    def __init__(self, values_max: int = VALUES_MAX, pairs_max: int = PAIRS_MAX) -> None:
        self._values_max, self._pairs_max = values_max, pairs_max
        self._lines: list[Line] = []
        self._values = self._pairs = 0
        #: Lines of the series that are merged into one, and those that become the next one.
        self._stride, self._next = 1, _Bundle()
        #: One of this many lines keeps its counts of pairs, and those before the last one that do not.
        self._pairs_stride, self._without_pairs = 1, 0

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines that are kept."""
        return (*self._lines, *self._next.lines)

    def add(self, line: Line) -> None:
        """Take the next line."""
        last = self._next.last
        if last and (self._next.count == self._stride or last.phase is not line.phase or not self._lines):
            self._append(*self._next.lines)
            self._next = _Bundle()
        self._next.add(line)

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
            self._lines = halved(self._lines)
            self._values = sum(map(_values, self._lines))
            self._pairs = sum(len(line.pairs) for line in self._lines)
            self._stride *= 2

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


class _Bundle:
    """Neighbouring lines that become one."""

    def __init__(self) -> None:
        self.count = 0
        self.last: Line | None = None
        self._histograms: list[dict[str, int]] = []

    @property
    def lines(self) -> tuple[Line, ...]:
        """The one line; none before the first was added. One line alone stays as it is."""
        if self.last is None:
            return ()
        if self.count == 1:
            return (self.last,)
        *latency, lag = self._histograms
        made = LatencyNs(**{kind: dict(counts) for kind, counts in zip(KINDS, latency, strict=True)})
        return (structs.replace(self.last, latency_ns=made, lag_ns=dict(lag)),)

    def add(self, line: Line) -> None:
        """Take the next line."""
        self.count += 1
        if self.count == 2 and self.last is not None:
            self._histograms = [{} for _ in _histograms_of(self.last)]
            self._count(self.last)
        self.last = line
        if self.count > 1:
            self._count(line)

    def _count(self, line: Line) -> None:
        for counts, added in zip(self._histograms, _histograms_of(line), strict=True):
            add_coarse(counts, added)


def _histograms_of(line: Line) -> list[Sparse]:
    return [*(line.latency_ns.of(kind) for kind in KINDS), line.lag_ns]


def add_coarse(counts: dict[str, int], added: Sparse) -> None:
    """Add a sparse histogram to `counts`, eight neighbouring buckets in one."""
    for bucket, count in added.items():
        group = _COARSE_OF[bucket]
        counts[group] = counts.get(group, 0) + count


def coarse(histogram_ns: Sparse) -> Sparse:
    """Return a sparse histogram with the counts of eight neighbouring buckets in one of them, the fifth."""
    counts: dict[str, int] = {}
    add_coarse(counts, histogram_ns)
    return counts


def coarse_line(line: Line) -> Line:
    """Return a line with coarse histograms."""
    latency = LatencyNs(**{kind: coarse(line.latency_ns.of(kind)) for kind in KINDS})
    return structs.replace(line, latency_ns=latency, lag_ns=coarse(line.lag_ns))


def merged(earlier: Line, later: Line) -> Line:
    """Return two neighbouring lines as one line for both intervals."""
    latency = {kind: _sum(earlier.latency_ns.of(kind), later.latency_ns.of(kind)) for kind in KINDS}
    return structs.replace(later, latency_ns=LatencyNs(**latency), lag_ns=_sum(earlier.lag_ns, later.lag_ns))


def halved(lines: list[Line]) -> list[Line]:
    """Return neighbours of one phase merged pairwise; the first line stays as it is."""
    kept, single = lines[:1], True
    for line in lines[1:]:
        if not single and kept[-1].phase is line.phase:
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
