"""What the live charts are drawn from: the lines of a run, thinned so that days of it fit into memory.

At most `LINES_MAX` lines are kept. When there would be more, neighbours are merged pairwise, and from then on twice as
many lines go into each: running totals are those of the later one, and what is new in an interval is added up. So
nothing that was counted is ever missing, only when it was within a longer interval. Changes of phase stay in place.

Of a histogram eight neighbouring buckets become one, which is 6 % wide: it keeps memory and drawing small, and on a
chart nobody sees the difference. The report is made from the lines as they were written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

Line = dict[str, Any]

LINES_MAX: Final = 400
#: So many buckets of a histogram become one.
_COARSE: Final = 8
#: Of a plan with more (source, target) pairs only the last line keeps the counts of each.
_PAIRS_MAX: Final = 256


class History:
    """The lines of one run, in rising order of time."""

    def __init__(self, limit: int = LINES_MAX) -> None:
        """limit: lines to be kept, beside one for each change of phase; at least 4."""
        self._limit = max(limit, 4)
        self._lines: list[Line] = []
        #: How many lines go into one, and how many are in the last.
        self._stride, self._in_last = 1, 0

    @property
    def lines(self) -> list[Line]:
        """A list of its own, of lines that nobody changes any more: another thread may read it."""
        return list(self._lines)

    def add(self, line: Line) -> None:
        """Take a line of the series, which stays as it is."""
        line = {
            **line,
            "latency_ns": {kind: coarse(counts) for kind, counts in line["latency_ns"].items()},
            "lag_ns": coarse(line["lag_ns"]),
        }
        if self._lines and len(line["pairs"]) > _PAIRS_MAX:
            self._lines[-1] = {**self._lines[-1], "pairs": []}
        if len(self._lines) > 1 and self._in_last < self._stride and self._lines[-1]["phase"] == line["phase"]:
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
    kinds = {**earlier["latency_ns"], **later["latency_ns"]}
    return {
        **later,
        "latency_ns": {
            kind: _sum(earlier["latency_ns"].get(kind, {}), later["latency_ns"].get(kind, {})) for kind in kinds
        },
        "lag_ns": _sum(earlier["lag_ns"], later["lag_ns"]),
    }


def halved(lines: list[Line]) -> list[Line]:
    """Neighbours of one phase merged pairwise; the first line stays as it is."""
    kept, single = lines[:1], True
    for line in lines[1:]:
        if not single and kept[-1]["phase"] == line["phase"]:
            kept[-1], single = merged(kept[-1], line), True
        else:
            kept.append(line)
            single = False
    return kept


def coarse(counts: Mapping[str, int]) -> dict[str, int]:
    """A sparse histogram with the counts of eight neighbouring buckets in one of them, the fifth."""
    found: Counter[int] = Counter()
    for bucket, count in counts.items():
        found[int(bucket) // _COARSE] += count
    return {str(group * _COARSE + _COARSE // 2): count for group, count in found.items()}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    total = dict(one)
    for bucket, count in other.items():
        total[bucket] = total.get(bucket, 0) + count
    return total
