"""The course of a run while it churns or holds: a bounded list of points, so that any part of it can be summed.

A point stands for one line of the series or for several: when there are too many points, each takes in its neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.model import Phase
from loadgen.results import histogram
from loadgen.results.schema.line import ErrorTally, Line

#: Latencies that can be summed over a part of a run.
LATENCIES: Final = ("connect", "arrival", "exchange")
#: Points that are kept at most; half as many at least, once a run has had that many lines.
POINTS_MAX: Final = 512
_KEPT: Final = frozenset({Phase.CHURN, Phase.HOLD})


@dataclass(frozen=True, slots=True)
class Point:
    """An instant: counts so far; and since the point before, the latencies, and the fewest and most open at a line."""

    t_s: float = 0.0
    established: int = 0
    failed: int = 0
    lost: int = 0
    open: int = 0
    open_low: int = 0
    open_high: int = 0
    errors: tuple[ErrorTally, ...] = ()
    #: In the order of LATENCIES.
    latencies: tuple[Mapping[str, int], ...] = ()

    @classmethod
    def of(cls, line: Line) -> Point:
        """Return the point of a line."""
        latencies = (histogram.packed(line.latency_ns.of(name)) for name in LATENCIES)
        return cls(
            line.t_s,
            line.established,
            line.failed,
            line.lost,
            line.open,
            line.open,
            line.open,
            line.errors,
            tuple(latencies),
        )

    def after(self, before: Point) -> Point:
        """Return one point that stands for the one before and this one."""
        sums = (
            histogram.pack(histogram.dense(one) + histogram.dense(other))
            for one, other in zip(before.latencies, self.latencies, strict=True)
        )
        return replace(
            self,
            open_low=min(before.open_low, self.open_low),
            open_high=max(before.open_high, self.open_high),
            latencies=tuple(sums),
        )


class Course:
    """The points of the lines in which a run churned or held, in constant memory.

    begin: the instant before the first of them: the end of the ramp, or the start of the run.
    """

    def __init__(self, points_max: int = POINTS_MAX) -> None:
        """points_max: 2 or more, an even number."""
        self.begin = Point()
        self._points: list[Point] = []
        self._points_max = points_max
        #: Lines that a point stands for, and those that the last one stands for so far.
        self._stride, self._in_last = 1, 1

    @property
    def points(self) -> Sequence[Point]:
        """In order of time; the last may stand for fewer lines than the others."""
        return self._points

    def add(self, line: Line) -> None:
        """Take the next line of the series."""
        if line.phase is Phase.RAMP:
            self.begin = replace(Point.of(line), latencies=())
        if line.phase not in _KEPT:
            return
        point = Point.of(line)
        if self._points and self._in_last < self._stride:
            self._points[-1] = point.after(self._points[-1])
            self._in_last += 1
            return
        if len(self._points) == self._points_max:
            self._points = [
                second.after(first) for first, second in zip(self._points[::2], self._points[1::2], strict=True)
            ]
            self._stride *= 2
        self._points.append(point)
        self._in_last = 1


def summed(points: Sequence[Point]) -> NDArray[np.int64]:
    """Return the latencies of all these points together: int64 (len(LATENCIES), BUCKETS)."""
    sums = np.zeros((len(LATENCIES), histogram.BUCKETS), dtype=np.int64)
    for point in points:
        for row, sparse in zip(sums, point.latencies, strict=True):
            histogram.accumulate(row, sparse)
    return sums
