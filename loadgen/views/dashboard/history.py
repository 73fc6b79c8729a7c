"""The lines of a run that the live charts are drawn from, thinned so that days of it fit into memory.

At most `LINES_MAX` lines are kept. When there would be more, neighbours are merged pairwise, and from then on twice as
many lines go into each, see `loadgen.results.thinning`. Histograms are coarse from the start, so that a line of many is
hardly longer than one; a report has finer ones, and the figures beside the charts are exact.

Each line is kept as one value of bytes. As objects, its numbers would lie among those of the charts that are drawn at
the same time, and the few that stay would keep whole pages of memory from being used again. Not as JSON, in which
histograms take thirty times the memory when they are read. Of the kernel a line keeps what charts show.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from loadgen.results.schema.line import Line
from loadgen.results.thinning import coarse_line, halved, let_go, merged
from loadgen.views.charts.kernel import drawn

LINES_MAX: Final = 240
#: Of a plan with more (source, target) pairs only the last line keeps the counts of each.
_PAIRS_MAX: Final = 256
#: Buckets of a histogram that become one: a latency is off by an eighth at most, half a row of a heat map.
_WIDTH: Final = 32


class History:
    """The lines of one run, in rising order of time."""

    def __init__(self, limit: int = LINES_MAX) -> None:
        """limit: lines to be kept, beside one for each change of phase; at least 4."""
        self._limit = max(limit, 4)
        #: All but the last line, and the last one.
        self._packed: list[bytes] = []
        self._last: Line | None = None
        #: Lines of the series that are merged into one, and those that are in the last one.
        self._stride, self._in_last = 1, 0

    @property
    def packed(self) -> tuple[bytes, ...]:
        """The lines as `lines_of` reads them, which takes its time and can be done in another thread."""
        return (*self._packed, _packed(self._last)) if self._last else ()

    def add(self, line: Line) -> None:
        """Take a line of the series."""
        line, last = structs.replace(coarse_line(line, _WIDTH), kernel=drawn(line.kernel), tenths_s=()), self._last
        if last and len(line.pairs) > _PAIRS_MAX:
            last = structs.replace(last, pairs=())
        if last and self._packed and self._in_last < self._stride and last.phase is line.phase:
            self._last = merged(last, line)
            self._in_last += 1
            return
        if last:
            self._packed.append(_packed(last))
        self._last, self._in_last = line, 1
        if len(self._packed) >= self._limit:
            self._halve()

    def _halve(self) -> None:
        # One by one: of all lines as objects some would be kept, all over the memory that the others took for a moment.
        assert self._last is not None
        self._packed.append(_packed(self._last))
        self._packed = [_packed(line) for line in halved(map(_unpacked, let_go(self._packed)))]
        self._last = _unpacked(self._packed.pop())
        self._stride *= 2
        self._in_last = self._stride


def _packed(line: Line) -> bytes:
    return pickle.dumps(line, pickle.HIGHEST_PROTOCOL)


def _unpacked(packed: bytes) -> Line:
    line: Line = pickle.loads(packed)
    return line


def lines_of(packed: Iterable[bytes]) -> list[Line]:
    """Return lines that a history has kept."""
    return list(map(_unpacked, packed))
