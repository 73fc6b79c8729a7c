"""The lines of a run that the live charts are drawn from, thinned so that days of it fit into memory.

At most `LINES_MAX` lines are kept. When there would be more, neighbours are merged pairwise, and from then on twice as
many lines go into each, see `loadgen.results.thinning`. Histograms are coarse from the start; a report has finer ones.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from loadgen.results.schema.line import Line
from loadgen.results.thinning import coarse_line, halved, merged

LINES_MAX: Final = 400
#: Of a plan with more (source, target) pairs only the last line keeps the counts of each.
_PAIRS_MAX: Final = 256


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
        line = coarse_line(line)
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
