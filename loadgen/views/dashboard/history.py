"""The lines of a run that the live charts are drawn from, thinned so that days of it fit into memory.

At most `LINES_MAX` lines are kept. When there would be more, neighbours are merged pairwise, and from then on twice as
many lines go into each: running totals are those of the later one, and counts of an interval are added up. So
no count is ever missing, only its time is known less exactly. Changes of phase stay in place.

Of a histogram eight neighbouring buckets become one, which is 6 % wide: it keeps memory and drawing small, and on a
chart the difference is not visible. The report is made from the lines as they were written.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from msgspec import structs

from loadgen.results import histogram
from loadgen.results.schema.line import LatencyNs, Line, Sparse

LINES_MAX: Final = 400
#: Buckets of a histogram that become one.
_COARSE: Final = 8
#: Of a plan with more (source, target) pairs only the last line keeps the counts of each.
_PAIRS_MAX: Final = 256
#: The names of these, once for all lines: a name of its own for each count would be half of the memory.
_NAMES: Final = [str(bucket) for bucket in range(_COARSE // 2, histogram.BUCKETS, _COARSE)]
_KINDS: Final = LatencyNs.__struct_fields__


class History:
    """The lines of one run, in rising order of time."""

    def __init__(self, limit: int = LINES_MAX) -> None:
        """limit: lines to be kept, beside one for each change of phase; at least 4."""
        self._limit = max(limit, 4)
        self._lines: list[Line] = []
        #: Lines of the series that are merged into one, and those that are in the last one.
        self._stride, self._in_last = 1, 0

    @property
    def lines(self) -> list[Line]:
        """A copy of the list; lines never change, so that another thread may read it."""
        return list(self._lines)

    def add(self, line: Line) -> None:
        """Take a line of the series."""
        line = structs.replace(
            line,
            latency_ns=LatencyNs(**{kind: coarse(line.latency_ns.of(kind)) for kind in _KINDS}),
            lag_ns=coarse(line.lag_ns),
        )
        if self._lines and len(line.pairs) > _PAIRS_MAX:
            self._lines[-1] = structs.replace(self._lines[-1], pairs=())
        if len(self._lines) > 1 and self._in_last < self._stride and self._lines[-1].phase is line.phase:
            self._lines[-1] = merged(self._lines[-1], line)
            self._in_last += 1
            return
        self._lines.append(line)
        self._in_last = 1
        if len(self._lines) > self._limit:
            self._lines = halved(self._lines)
            self._stride *= 2
            self._in_last = self._stride


def merged(earlier: Line, later: Line) -> Line:
    """Two neighbouring lines as one line for both intervals."""
    latency = {kind: _sum(earlier.latency_ns.of(kind), later.latency_ns.of(kind)) for kind in _KINDS}
    return structs.replace(later, latency_ns=LatencyNs(**latency), lag_ns=_sum(earlier.lag_ns, later.lag_ns))


def halved(lines: list[Line]) -> list[Line]:
    """Neighbours of one phase merged pairwise; the first line stays as it is."""
    kept, single = lines[:1], True
    for line in lines[1:]:
        if not single and kept[-1].phase is line.phase:
            kept[-1], single = merged(kept[-1], line), True
        else:
            kept.append(line)
            single = False
    return kept


def coarse(counts: Sparse) -> Sparse:
    """A sparse histogram with the counts of eight neighbouring buckets in one of them, the fifth."""
    groups: Counter[int] = Counter()
    for bucket, count in counts.items():
        groups[int(bucket) // _COARSE] += count
    return {_NAMES[group]: count for group, count in groups.items()}


def _sum(first: Sparse, second: Sparse) -> Sparse:
    return Counter(first) + Counter(second)
