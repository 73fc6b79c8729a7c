"""The figures that do not change in the steady part of a run: rate and failures of churn, the number that is held.

A signal is a sequence with a value for each interval, and the least change that counts: a thousand intervals would
show one of a thousandth, which is of no interest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen import format as fmt
from loadgen.results.change import change_point, trend
from loadgen.results.course import Point

#: A change as clear as this by chance alone is one in a hundred.
SIGNIFICANCE: Final = 0.01
#: The least change of a rate, as a share of it.
RATE_LEAST: Final = 0.1
#: The least change of the share of attempts that fail, as a share of all attempts.
FAILED_LEAST: Final = 0.01
#: The least change of the number of held connections, as a share of it.
OPEN_LEAST: Final = 0.01


@dataclass(frozen=True)
class Signal:
    """A sequence with a value for each interval.

    name: as a sentence has it. level: the mean of the intervals from one position up to another. least: the least
    change that counts, a share of the larger level if `relative`. shown: a level in words.
    """

    name: str
    values: NDArray[np.float64]
    level: Callable[[int, int], float]
    least: float
    relative: bool
    shown: Callable[[float], str]

    def counts(self, change: float, level: float) -> bool:
        """Return True if a change by this much, up or down, counts at this level."""
        return change > 0.0 and change >= self.least * (level if self.relative else 1.0)

    def told(self, begin: int, at: int, end: int) -> str:
        """Return a change of level as a clause: "the rate fell from 800/s to 471/s"."""
        before, after = self.level(begin, at), self.level(at, end)
        verb = "fell" if after < before else "rose"
        return f"{self.name} {verb} from {self.shown(before)} to {self.shown(after)}"

    def ends(self, begin: int, end: int) -> tuple[float, float]:
        """Return the levels of the first quarter and of the last."""
        quarter = max((end - begin) // 4, 1)
        return self.level(begin, begin + quarter), self.level(end - quarter, end)

    def drift(self, begin: int, end: int) -> str:
        """Return a trend as a clause: "the rate falls all the time, from about 800/s to 700/s"."""
        before, after = self.ends(begin, end)
        verb = "falls" if after < before else "rises"
        return f"{self.name} {verb} all the time, from about {self.shown(before)} to {self.shown(after)}"


def changed(signals: Sequence[Signal], begin: int, end: int) -> tuple[Signal, int] | None:
    """Return the clearest change between two positions, and the first position after it; None where nothing changes."""
    clearest: tuple[float, Signal, int] | None = None
    for signal in signals:
        point = change_point(signal.values[begin:end])
        if point is None or point.p > SIGNIFICANCE:
            continue
        at = begin + point.at
        before, after = signal.level(begin, at), signal.level(at, end)
        if signal.counts(abs(after - before), max(before, after)) and (clearest is None or point.p < clearest[0]):
            clearest = point.p, signal, at
    return clearest and clearest[1:]


def drifts(signals: Sequence[Signal], begin: int, end: int) -> Iterator[Signal]:
    """Yield the signals that rise or fall all the time between two positions."""
    for signal in signals:
        found = trend(signal.values[begin:end])
        before, after = signal.ends(begin, end)
        rises = (found.rise, after - before) if found.rise > 0 else (-found.rise, before - after)
        if found.p <= SIGNIFICANCE and signal.counts(min(rises), signal.level(begin, end)):
            yield signal


def of_churn(edges: Sequence[Point]) -> tuple[Signal, ...]:
    """Return the signals of churn: connections per second, and the share of attempts that fail."""
    t_s = np.array([edge.t_s for edge in edges])
    established = np.array([edge.established for edge in edges], dtype=np.float64)
    failed = np.array([edge.failed for edge in edges], dtype=np.float64)
    ended = established + failed

    def rate(begin: int, end: int) -> float:
        return float((established[end] - established[begin]) / (t_s[end] - t_s[begin]))

    def failing(begin: int, end: int) -> float:
        return _share(failed[end] - failed[begin], ended[end] - ended[begin])

    shares = np.array([failing(index, index + 1) for index in range(len(edges) - 1)])
    return (
        Signal("the rate", np.diff(established) / np.diff(t_s), rate, RATE_LEAST, True, fmt.rate),
        Signal("the share that failed", shares, failing, FAILED_LEAST, False, fmt.percent),
    )


def of_hold(edges: Sequence[Point]) -> tuple[Signal, ...]:
    """Return the signal of held connections: their number."""
    opened = np.array([edge.open for edge in edges[1:]], dtype=np.float64)

    def mean(begin: int, end: int) -> float:
        return float(opened[begin:end].mean())

    return (Signal("the number open", opened, mean, OPEN_LEAST, True, lambda level: fmt.count(round(level))),)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0
