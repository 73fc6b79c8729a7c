"""How far the runs of one cell lie apart, and when two cells differ by more than that.

Pure. A number of one run says nothing about the next run; the median of several and their range do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from loadgen.results.measures import measure

Json = Mapping[str, Any]

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
        """values: at least one finite number, none below 0."""
        return cls(float(median(values)), float(min(values)), float(max(values)), len(values))

    def to_json(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        return {"median": self.median, "low": self.low, "high": self.high, "runs": self.runs}

    def share_of_difference(self, other: Spread) -> float:
        """The difference of the medians as a share of the larger one, 0 to 1; 0 when both are 0."""
        larger = max(abs(self.median), abs(other.median))
        return abs(self.median - other.median) / larger if larger else 0.0

    def is_noise(self, other: Spread) -> bool:
        """Whether these two cannot be told apart: the medians are too close, or the ranges are.

        Ranges of a few runs keep clear of each other by chance once in a while, and a matrix compares many. So
        what lies between them has to be more than the wider of them, or one has to begin at twice the other's end.
        """
        share = self.share_of_difference(other)
        if min(self.runs, other.runs) == 1:
            return share < NOISE_OF_ONE
        end, begin = min(self.high, other.high), max(self.low, other.low)
        apart = begin - end > max(self.high - self.low, other.high - other.low) or (begin > end and begin >= 2 * end)
        return share < NOISE or not apart


def number(value: object) -> float | None:
    """A finite number, or None: true and false, text and NaN are no measurements."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number past 1.8e308
        return None


#: What is told of a cell.
_FIGURES: Final = (
    "rate_per_s",
    "established",
    "failed",
    "recycled",
    "time_wait_peak",
    "connect_p50_us",
    "connect_p99_us",
)


def spread_of(runs: Sequence[Json], find: Callable[[Json], Any]) -> Spread | None:
    """One figure over runs; those that lack it do not count, and None is when all do."""
    values = []
    for run in runs:
        try:
            value = number(find(run))
        except (ArithmeticError, LookupError, TypeError, AttributeError):
            continue
        if value is not None:
            values.append(value)
    return Spread.of(values) if values else None


def figures(runs: Sequence[Json]) -> dict[str, Spread]:
    """Every figure that at least one of these runs has."""
    found = {name: spread_of(runs, measure(name).find) for name in _FIGURES}
    return {name: spread for name, spread in found.items() if spread is not None}


def predicted(runs: Sequence[Json]) -> dict[str, Any] | None:
    """What the arithmetic foretold for these runs, the same for each; None for runs without churn.

    `per_s` and `established` are None where nothing limits them.
    """
    for run in runs:
        ceiling = (run.get("churn") or {}).get("ceiling")
        if isinstance(ceiling, Mapping):
            return {key: ceiling.get(key) for key in ("per_s", "established", "because")}
    return None


def as_predicted(runs: Sequence[Json]) -> bool | None:
    """Whether the prediction held in most of the runs that say so; half of them against it are enough."""
    said = [one for run in runs if isinstance(one := (run.get("churn") or {}).get("as_predicted"), bool)]
    return sum(said) > len(said) / 2 if said else None
