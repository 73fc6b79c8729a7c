"""The spread of the runs of one cell, and the test of whether two cells differ by more than noise.

Pure. A number of one run says nothing about the next run; the median of several and their range do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from loadgen.model import Ceiling
from loadgen.results.measures import Find, measure
from loadgen.results.schema.run import RunSummary

#: Medians closer than this share of the larger one are called equal, even when the ranges are apart.
NOISE: Final = 0.05
#: The same where one side is a single run: there is no range, and machines have other work to do.
NOISE_OF_ONE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over the runs of a cell."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of these values: at least one finite number, none below 0."""
        return cls(float(median(values)), float(min(values)), float(max(values)), len(values))

    def share_of_difference(self, other: Spread) -> float:
        """Return the difference of the medians as a share of the larger one, 0 to 1; 0 when both are 0."""
        larger = max(abs(self.median), abs(other.median))
        return abs(self.median - other.median) / larger if larger else 0.0

    def is_noise(self, other: Spread) -> bool:
        """Return whether the difference may be noise: the medians are too close, or the ranges are.

        Ranges of a few runs keep clear of each other by chance once in a while, and a matrix compares many. So
        what lies between them has to be more than the wider of them, or one has to begin at twice the other's end.
        """
        share = self.share_of_difference(other)
        if min(self.runs, other.runs) == 1:
            return share < NOISE_OF_ONE
        end, begin = min(self.high, other.high), max(self.low, other.low)
        apart = begin - end > max(self.high - self.low, other.high - other.low) or (begin > end and begin >= 2 * end)
        return share < NOISE or not apart


#: Figures of a cell.
_FIGURES: Final = (
    "rate_per_s",
    "established",
    "failed",
    "recycled",
    "time_wait_peak",
    "connect_p50_us",
    "connect_p99_us",
)


def spread_of(runs: Sequence[RunSummary], find: Find) -> Spread | None:
    """Return one figure over runs; those that lack it do not count, and None is returned when all do."""
    values = [value for run in runs if (value := find(run)) is not None]
    return Spread.of(values) if values else None


def figures(runs: Sequence[RunSummary]) -> dict[str, Spread]:
    """Return every figure that at least one of these runs has."""
    spreads = {name: spread_of(runs, measure(name).find) for name in _FIGURES}
    return {name: spread for name, spread in spreads.items() if spread is not None}


def predicted(runs: Sequence[RunSummary]) -> Ceiling | None:
    """Return the ceiling that was predicted for these runs, the same for each; None for runs without churn."""
    return next((run.churn.ceiling for run in runs if run.churn and run.churn.ceiling), None)


def as_predicted(runs: Sequence[RunSummary]) -> bool | None:
    """Return whether the prediction held in more than half of the runs that have one; None where none has."""
    came_true = [run.churn.as_predicted for run in runs if run.churn and run.churn.as_predicted is not None]
    return sum(came_true) > len(came_true) / 2 if came_true else None
