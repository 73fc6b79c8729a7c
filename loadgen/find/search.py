"""The search for the highest value that holds: which value to try next, and when both ends of the answer are sure.

Pure: each step is a function of the goal and of all trials so far, so an interrupted search goes on from its record.
A trial is a run at one value; it holds or fails its expectations, and may err.

Steering is cheap, the ends are sure. One trial a value steers: the value doubles until one fails, then the interval
is halved until it is as narrow as the goal says. Then both ends are confirmed: a value is settled when one outcome
leads the other by `Goal.agree` trials. A trial that contradicts makes a tie, and ties are repeated; where the other
outcome wins, the search goes on from there. All below a settled hold and above a settled failure is implied by it.

The error: if each trial at a value errs with probability p < 1/2, a lead of k is the wrong one with probability
e = p^k / (p^k + (1-p)^k), and takes k * (1-2e) / (1-2p) trials on average (gambler's ruin; Wald, Sequential Tests of
Statistical Hypotheses, Ann. Math. Stat. 16, 1945). That is for one value; a search tries many, and its most harmful
error is an early one, which all later trials then crowd against. So an end that the halvings never moved, while the
other came up to it, needs a lead of one more. At p = 1/2, a coin, no lead means anything, and a coin cannot be told
from a limit: see `SearchEnd.against`. A value without a lead after SPLIT_AFTER * agree trials is split and left alone.

It is assumed that higher is harder. The search never tries a value outside its interval, so it does not see a gap
below. A record put together from several searches can contradict itself; that is said, and not resolved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, inf, log, log1p, log2
from typing import Final

from loadgen.find.goal import Goal, NextTrial, SearchEnd, SearchStage, Trial, Undecided
from loadgen.results.schema.find import FindKind, TrialStatus

#: Trials without a lead, as a multiple of `Goal.agree`, after which a value is called split and left alone.
SPLIT_AFTER: Final = 3
#: Trials in a row that did not work, after which the search ends: the next one would not work either.
UNKNOWN_MAX: Final = 3
#: The middle of an interval is the roundest number between these shares of it, by its logarithm.
_MIDDLE: Final = (0.45, 0.55)
#: An end stands alone when its neighbour on the far side is this many intervals away: about four halvings.
_ALONE: Final = 10


def step(goal: Goal, trials: Sequence[Trial]) -> NextTrial | SearchEnd:
    """Return the next trial, or the end of the search.

    Trials outside the goal's bounds say nothing about it, they only count towards `trials_max`.
    """
    standing = _Standing.of(goal, trials)
    if standing.contradictory:
        return standing.end(goal, Undecided.NOT_MONOTONIC)
    following = _following(goal, standing)
    if following is None:
        return standing.end(goal)
    if len(trials) >= goal.trials_max:
        return standing.end(goal, Undecided.TRIALS_USED_UP)
    last = trials[-UNKNOWN_MAX:]
    if len(last) == UNKNOWN_MAX and all(trial.outcome is TrialStatus.UNKNOWN for trial in last):
        return standing.end(goal, Undecided.TRIALS_DO_NOT_WORK)
    return following


def known(goal: Goal, trials: Sequence[Trial]) -> SearchEnd:
    """Return the end of the search, or what it knows so far: undecided, because it is not finished."""
    following = step(goal, trials)
    if isinstance(following, SearchEnd):
        return following
    return _Standing.of(goal, trials).end(goal, Undecided.NOT_FINISHED)


def trials_without_noise(goal: Goal) -> int:
    """Return the most trials that a search takes whose trials never err."""
    doubling = 1 + ceil(log2(goal.stop / goal.start))
    halvings = log(log(2) / log1p(goal.precision)) / -log(_MIDDLE[1])
    return doubling + ceil(max(halvings, 0.0)) + 2 * goal.agree - 1


@dataclass(frozen=True, slots=True)
class _Tally:
    """The trials of one value that held or failed."""

    value: float
    held: int
    failed: int
    settled: bool
    split: bool

    @property
    def lead(self) -> int:
        """Trials that held less those that failed."""
        return self.held - self.failed


@dataclass(frozen=True, slots=True)
class _Standing:
    """The interval as the trials have it; doubtful and split values lie between its ends."""

    tallies: Sequence[_Tally]
    low: _Tally | None
    high: _Tally | None
    doubtful: Sequence[_Tally] = ()
    split: Sequence[_Tally] = ()
    contradictory: bool = False

    @classmethod
    def of(cls, goal: Goal, trials: Sequence[Trial]) -> _Standing:
        """Return where a search stands."""
        tallies = _tallies(goal, trials)
        settled = [tally for tally in tallies if tally.settled]
        holds = max((tally.value for tally in settled if tally.lead > 0), default=-inf)
        fails = min((tally.value for tally in settled if tally.lead < 0), default=inf)
        if fails < holds:
            return cls(tallies, *_ends(settled), contradictory=True)
        # A settled value implies all beyond it, whatever their own trials were.
        in_question = [tally for tally in tallies if holds <= tally.value <= fails]
        low, high = _ends([tally for tally in in_question if not tally.split])
        above, below = (low.value if low else -inf), (high.value if high else inf)
        inside = [tally for tally in in_question if above < tally.value < below]
        doubtful = [tally for tally in inside if not tally.split]
        return cls(tallies, low, high, doubtful, [tally for tally in inside if tally.split])

    def end(self, goal: Goal, because: Undecided | None = None) -> SearchEnd:
        """Return what is known; without a reason the search has come to its own end."""
        low, high = self.low, self.high
        if because is None and self.split and not (low and high and goal.is_close(low.value, high.value)):
            because = Undecided.OUTCOMES_DISAGREE
        whole = FindKind.FOUND if low and high else FindKind.ABOVE if low else FindKind.BELOW
        below = [tally for tally in self.tallies if low and tally.value <= low.value]
        above = [tally for tally in self.tallies if high and tally.value >= high.value]
        return SearchEnd(
            kind=FindKind.UNDECIDED if because else whole,
            value=low.value if low and low.settled else None,
            low=low.value if low else None,
            high=high.value if high else None,
            low_settled=bool(low and low.settled),
            high_settled=bool(high and high.settled),
            trials=sum(tally.held + tally.failed for tally in self.tallies),
            against=sum(tally.failed for tally in below) + sum(tally.held for tally in above),
            because=because,
        )

    def unsure(self, goal: Goal) -> list[_Tally]:
        """Return the ends that need more trials, low first."""
        low, high = self.low, self.high
        if low is None or high is None:
            return [end for end in (low, high) if end and not end.settled]
        held = [tally.value for tally in self.tallies if tally.lead > 0 and tally.value < low.value]
        failed = [tally.value for tally in self.tallies if tally.lead < 0 and tally.value > high.value]
        # Without a neighbour it is an end that the doubling found.
        below, above = (held[-1] if held else low.value / 2), (failed[0] if failed else high.value * 2)
        far = _ALONE * log(high.value / low.value)
        leads = (goal.agree + (log(low.value / below) > far), goal.agree + (log(above / high.value) > far))
        return [end for end, lead in zip((low, high), leads, strict=True) if abs(end.lead) < lead]


def _tallies(goal: Goal, trials: Sequence[Trial]) -> list[_Tally]:
    """Count the trials within the bounds by value, in ascending order."""
    counts = Counter((float(trial.value), trial.outcome) for trial in trials if goal.start <= trial.value <= goal.stop)
    tallies = []
    for value in sorted({value for value, outcome in counts if outcome is not TrialStatus.UNKNOWN}):
        held, failed = counts[value, TrialStatus.HELD], counts[value, TrialStatus.FAILED]
        settled = abs(held - failed) >= goal.agree
        split = not settled and held + failed >= SPLIT_AFTER * goal.agree
        tallies.append(_Tally(value, held, failed, settled, split))
    return tallies


def _ends(tallies: Sequence[_Tally]) -> tuple[_Tally | None, _Tally | None]:
    """Return the highest hold below all failures, and the lowest failure above all holds."""
    highest = max((tally.value for tally in tallies if tally.lead > 0), default=-inf)
    lowest = min((tally.value for tally in tallies if tally.lead < 0), default=inf)
    low = [tally for tally in tallies if tally.lead > 0 and tally.value < lowest]
    high = [tally for tally in tallies if tally.lead < 0 and tally.value > highest]
    return (low[-1] if low else None), (high[0] if high else None)


def _following(goal: Goal, standing: _Standing) -> NextTrial | None:
    """Return the trial that gets the search on; None when there is nothing left to try."""
    if standing.doubtful:
        doubtful = min(standing.doubtful, key=lambda tally: (abs(tally.lead), tally.value))
        return NextTrial(doubtful.value, SearchStage.CONFIRMING)
    ends = [end for end in (standing.low, standing.high) if end]
    corners = sorted(tally.value for tally in (*ends, *standing.split))
    if standing.low is None and goal.start not in corners:
        return NextTrial(float(goal.start), SearchStage.DOUBLING)
    if standing.high is None and corners[-1] < goal.stop:
        return NextTrial(float(min(2 * corners[-1], goal.stop)), SearchStage.DOUBLING)
    # What lies between two split values disagrees as they do, so only the outer parts are narrowed.
    parts = list(pairwise(corners))
    for low, high in (*parts[:1], *parts[-1:]):
        if not goal.is_close(low, high):
            return NextTrial(_middle(goal, low, high), SearchStage.NARROWING)
    unsure = standing.unsure(goal)
    return NextTrial(unsure[0].value, SearchStage.CONFIRMING) if unsure else None


def _middle(goal: Goal, low: float, high: float) -> float:
    """Return the roundest number near the geometric middle of an interval that is not close."""
    least, middle, most = (low * (high / low) ** share for share in (_MIDDLE[0], 0.5, _MIDDLE[1]))
    for digits in range(1, 17):
        rounded = float(f"{middle:.{digits}g}")
        if least <= rounded <= most and (not goal.whole or rounded.is_integer()):
            return rounded
    return float(min(max(round(middle), floor(low) + 1), ceil(high) - 1)) if goal.whole else middle
