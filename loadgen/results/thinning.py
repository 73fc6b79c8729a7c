"""Lines of a series merged with their neighbours, so that a series of any length fits into memory.

Of two merged lines the running totals are those of the later one, and counts of an interval are added up. So no count
is ever missing, only its time is known less exactly. Changes of phase stay in place, and so does the first line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from loadgen.results.schema.line import LatencyNs, Line, Sparse

#: Values in the lines that are kept, each about 100 bytes in memory. 60 lines of a short run have 20,000.
VALUES_MAX: Final = 800_000
#: Counts of (source, target) pairs that are kept, each about 150 bytes.
PAIRS_MAX: Final = 400_000
KINDS: Final = LatencyNs.__struct_fields__


class Thinned:
    """The lines of a series, in rising order of time, as many as fit; without too many, all of them as they are.

    When there are too many values, neighbours are merged pairwise, and from then on twice as many lines go into each.
    When there are too many counts of pairs, every other line loses them. Reading a line costs the same at any length.
    """

    def __init__(self, values_max: int = VALUES_MAX, pairs_max: int = PAIRS_MAX) -> None:
        self._values_max, self._pairs_max = values_max, pairs_max
        self._lines: list[Line] = []
        self._values = self._pairs = 0
        #: Lines of the series that are merged into one, and those that are in the last one.
        self._stride, self._in_last = 1, 0
        #: One of so many lines keeps its counts of pairs, and those before the last one that do not.
        self._pairs_stride, self._without_pairs = 1, 0

    @classmethod
    def of(cls, series: Iterable[Line]) -> tuple[Line, ...]:
        """Return the lines that are kept of a series."""
        thinned = cls()
        for line in series:
            thinned.add(line)
        return thinned.lines

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines that are kept."""
        return tuple(self._lines)

    def add(self, line: Line) -> None:
        """Take the next line."""
        if len(self._lines) > 1 and self._in_last < self._stride and self._lines[-1].phase is line.phase:
            self._values -= _values(self._lines[-1])
            self._pairs -= len(self._lines[-1].pairs)
            line = merged(self._lines.pop(), line)
            self._in_last += 1
        else:
            self._in_last = 1
            self._leave_last()
        self._lines.append(line)
        self._values += _values(line)
        self._pairs += len(line.pairs)
        if self._pairs > self._pairs_max:
            self._halve_pairs()
        if self._values > self._values_max and len(self._lines) > len(halves := halved(self._lines)):
            self._lines = halves
            self._values = sum(map(_values, halves))
            self._pairs = sum(len(line.pairs) for line in halves)
            self._stride *= 2
            self._in_last = self._stride

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
    return Counter(first) + Counter(second)


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
