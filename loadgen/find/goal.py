"""The question of a search, its trials, and its answer: plain values that a record can hold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Final

from loadgen.errors import UsageError
from loadgen.results.schema.find import FindKind, TrialStatus

#: Smallest precision of a goal; floats have 16 digits.
PRECISION_MIN: Final = 1e-6


class SearchStage(StrEnum):
    """The purpose of a trial: to find a value that fails, to narrow the interval, or to repeat a value."""

    DOUBLING = "doubling"
    NARROWING = "narrowing"
    CONFIRMING = "confirming"


class Undecided(StrEnum):
    """The reason for which a search did not find a limit."""

    TRIALS_USED_UP = "trials-used-up"
    #: Between low and high are split values, so the two are not as close as the goal says.
    OUTCOMES_DISAGREE = "outcomes-disagree"
    #: A settled failure lies below a settled hold.
    NOT_MONOTONIC = "not-monotonic"
    #: The last trials, `search.UNKNOWN_MAX` of them, did not work. To go on, leave them out of the record.
    TRIALS_DO_NOT_WORK = "trials-do-not-work"
    #: The search has not ended yet, see `known`.
    NOT_FINISHED = "not-finished"


@dataclass(frozen=True, slots=True)
class Goal:
    """The question of a search.

    start, stop: bounds of the value, both are possible answers. precision: largest distance of the ends, as a share of
    the lower. whole: only whole numbers, of which neighbours are close enough. agree: lead that settles a value.
    trials_max: all trials, those of unknown outcome included.

    Raises: UsageError if there is nothing to search.
    """

    start: float
    stop: float
    trials_max: int
    precision: float = 0.02
    whole: bool = False
    agree: int = 2

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.stop) and 0 < self.start < self.stop):
            raise UsageError(
                f"no search from {self.start:g} to {self.stop:g}; give two numbers above 0, the lower first"
            )
        if self.whole and not (float(self.start).is_integer() and float(self.stop).is_integer()):
            raise UsageError(f"no search from {self.start:g} to {self.stop:g}: the key takes whole numbers only")
        if not PRECISION_MIN <= self.precision <= 1:
            raise UsageError(
                f"no search to a precision of {self.precision:g}; give {PRECISION_MIN:g} to 1, 0.02 is 2 %"
            )
        if self.agree < 1 or self.trials_max < 1:
            raise UsageError("a search needs at least one trial, and at least one to settle a value")

    def is_close(self, low: float, high: float) -> bool:
        """Return whether these ends need not be narrowed."""
        return high <= low * (1 + self.precision) or (self.whole and high - low <= 1)


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as the record has it."""

    value: float
    outcome: TrialStatus


@dataclass(frozen=True, slots=True)
class NextTrial:
    """The trial to make now; the value lies within the goal's bounds, and is whole where the goal says so."""

    value: float
    purpose: SearchStage


@dataclass(frozen=True, slots=True)
class SearchEnd:
    """The answer of a search, and the facts to judge it by.

    value: the highest value that holds for sure; None where none is settled. low, high: the highest value that held
    and the lowest that failed, between which the limit is, each settled or not; None where there is none; if the record
    is not monotonic, the settled ends around all that contradicts itself. trials: those that held or failed within the
    goal's bounds; against: those of them that contradict low and high.
    """

    kind: FindKind
    value: float | None
    low: float | None
    high: float | None
    low_settled: bool
    high_settled: bool
    trials: int
    against: int
    because: Undecided | None = None
