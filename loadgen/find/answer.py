"""The trials of a search folded into its summary.

Pure, and used by the search itself and by `loadgen report`, so that a search that was cut off is summarised by the
same code from the same files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Final

from msgspec import structs

from loadgen.find.goal import Goal, SearchEnd, Trial, Undecided
from loadgen.find.search import known
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import (
    FIND_SCHEMA,
    FindKind,
    FindPlan,
    FindSummary,
    FindVerdict,
    SearchResult,
    TrialResult,
    TrialStatus,
)
from loadgen.results.schema.run import ExpectationResult
from loadgen.results.settings import named, short_keys
from loadgen.scenario.expect import Expectation

#: Events of the search itself.
ENDED: Final = "ended"
INTERRUPTED: Final = "interrupted"
RESUMED: Final = "resumed"
#: No further trial begins because of `find.time`.
TIME_USED_UP: Final = "time-used-up"

_WHY: Final = {
    Undecided.TRIALS_USED_UP: "the trials were used up",
    Undecided.OUTCOMES_DISAGREE: "trials of one value do not agree",
    Undecided.NOT_MONOTONIC: "a value that fails lies below one that holds",
    Undecided.TRIALS_DO_NOT_WORK: "trials did not work",
    Undecided.NOT_FINISHED: "the search has not come to its end",
}


def goal_of(plan: FindPlan) -> Goal:
    """Return the goal of each search of a plan. Raises: UsageError for a plan that loadgen did not write."""
    return Goal(
        start=plan.start,
        stop=plan.stop,
        trials_max=plan.trials_max,
        precision=plan.precision,
        whole=plan.whole,
        agree=plan.agree,
    )


def trials_of(trials: Sequence[TrialResult], cell: int) -> list[Trial]:
    """Return the trials of one cell as the search has them."""
    return [Trial(trial.value, trial.outcome) for trial in trials if trial.cell == cell]


def summarise(plan: FindPlan, trials: Sequence[TrialResult], events: Sequence[Event], *, run: str) -> FindSummary:
    """Return the summary of a search from the contents of its directory. run: name of the directory."""
    late = any(event.event == TIME_USED_UP for event in _since_resumed(events))
    searches = tuple(_search(plan, trials, cell, late=late) for cell in range(len(plan.cells)))
    only = searches[0] if len(searches) == 1 else None
    reasons = _incomplete(events)
    limits = {search.limit for search in searches}
    return FindSummary(
        schema=FIND_SCHEMA,
        scenario=plan.scenario,
        run=run,
        started_at=plan.started_at,
        duration_s=taken_s(trials, events),
        complete=not reasons,
        incomplete_because="; ".join(reasons) or None,
        key=plan.key,
        unit=plan.unit,
        start=plan.start,
        stop=plan.stop,
        precision=plan.precision,
        agree=plan.agree,
        mode=plan.mode,
        kind=only.kind if only else None,
        value=only.value if only else None,
        low=only.low if only else None,
        high=only.high if only else None,
        limit=only.limit if only else None,
        predicted=only.predicted if only else None,
        trials=tuple(trials),
        searches=searches,
        effects=_effects(plan, searches),
        expect=_expectations(plan, searches),
        verdict=FindVerdict(limit=limits.pop() if len(limits) == 1 else "mixed", text=_headline(plan, searches)),
    )


def taken_s(trials: Sequence[TrialResult], events: Sequence[Event]) -> float:
    """Return the seconds that a search has taken; of one that was killed, at least those of its trials."""
    in_runs_s = sum({trial.run: trial.duration_s for trial in trials}.values())
    return max([round(in_runs_s, 6), *(event.t_s for event in events)])


def value_text(plan: FindPlan | FindSummary, value: float | None) -> str:
    """Return a value of the key that varied, with its unit: 28,190/s."""
    if value is None:
        return "nothing"
    number = f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.4g}"
    return f"{number}{plan.unit}"


def _since_resumed(events: Sequence[Event]) -> Sequence[Event]:
    return events[max((n for n, event in enumerate(events) if event.event == RESUMED), default=0) :]


def _incomplete(events: Sequence[Event]) -> list[str]:
    since = _since_resumed(events)
    reasons = [event.text for event in since if event.event == INTERRUPTED]
    if not reasons and not any(event.event == ENDED for event in since):
        reasons.append("the search was cut off")
    return reasons


def _search(plan: FindPlan, trials: Sequence[TrialResult], cell: int, *, late: bool) -> SearchResult:
    """Return the result for one cell. late: whether the time of the search was used up."""
    own = [trial for trial in trials if trial.cell == cell]
    end = known(goal_of(plan), trials_of(trials, cell))
    failing = [trial for trial in own if trial.outcome is TrialStatus.FAILED and trial.value == end.high]
    limits = Counter(trial.limit or "none" for trial in failing)
    limit = "none" if not limits else next(iter(limits)) if len(limits) == 1 else "mixed"
    first = failing[0] if failing and limit != "mixed" else None
    predictions = [trial.predicted for trial in own if trial.predicted is not None]
    lasting = [trial.for_ever for trial in own if trial.for_ever is not None]
    kind, because = _kind(plan, end, own)
    if late and because == _WHY[Undecided.NOT_FINISHED]:
        because = "the time was used up"
    result = SearchResult(
        settings=plan.cells[cell].settings,
        kind=kind,
        value=end.low if kind is not FindKind.UNDECIDED else end.value,
        low=end.low,
        high=end.high,
        limit=limit,
        remedy=first.remedy if first else None,
        predicted=next((trial.predicted for trial in failing), None) or (predictions[-1] if predictions else None),
        for_ever=lasting[-1] if lasting else None,
        against=end.against,
        trials=tuple(own),
        text="",
    )
    return _with_text(plan, result, because, failing)


def _kind(plan: FindPlan, end: SearchEnd, trials: Sequence[TrialResult]) -> tuple[FindKind, str]:
    """Return how a search ended, and why nothing was decided; "" where it was."""
    if plan.mode == "continuous":
        return _kind_of_steps(plan, end, trials)
    if end.kind is FindKind.UNDECIDED:
        return FindKind.UNDECIDED, _WHY[end.because] if end.because else "trials do not agree"
    return end.kind, ""


def _kind_of_steps(plan: FindPlan, end: SearchEnd, trials: Sequence[TrialResult]) -> tuple[FindKind, str]:
    """Return the same of runs that go up in steps: each names a step that holds and one that fails."""
    runs = {trial.run for trial in trials if trial.outcome is not TrialStatus.UNKNOWN}
    if len(runs) < plan.agree:
        return FindKind.UNDECIDED, _WHY[Undecided.NOT_FINISHED]
    # A run may end before a step fails: a worker was lost, or loadgen was killed between two lines of its record.
    if end.high is None and end.low is not None and end.low >= plan.stop:
        return FindKind.ABOVE, ""
    if end.low is None and end.high is not None and end.high <= plan.start:
        return FindKind.BELOW, ""
    if end.low is None or end.high is None:
        return FindKind.UNDECIDED, "a run ended before one of its steps failed"
    if not goal_of(plan).is_close(end.low, end.high):
        return FindKind.UNDECIDED, "the runs do not agree"
    return FindKind.FOUND, ""


def _with_text(plan: FindPlan, result: SearchResult, because: str, failing: Sequence[TrialResult]) -> SearchResult:
    low, high = value_text(plan, result.low), value_text(plan, result.high)
    match result.kind:
        case FindKind.FOUND:
            text = f"{plan.key}: {low} holds and {high} fails"
        case FindKind.BELOW:
            text = f"{plan.key}: not even {value_text(plan, plan.start)} holds"
        case FindKind.ABOVE:
            text = f"{plan.key}: {value_text(plan, plan.stop)}, the highest that was to be tried, holds"
        case _ if because == _WHY[Undecided.OUTCOMES_DISAGREE]:
            text = f"{plan.key}: {low} holds and {high} fails; in between, trials of one value do not agree"
        case _ if result.low is None and result.high is None:
            text = f"{plan.key}: nothing is known, because {because}"
        case _:
            known_so_far = [f"{low} held"] if result.low is not None else []
            known_so_far += [f"{high} failed"] if result.high is not None else []
            text = f"{plan.key}: undecided, because {because}; {' and '.join(known_so_far)} so far"
    parts = [text + "."]
    if result.limit not in ("none", "mixed"):
        parts.append(f"The limit behind it: {result.limit}.")
    elif failing:
        parts.append(f"It fails with: {failing[0].reason}.")
    if result.predicted is not None:
        parts.append(f"The plan predicted {value_text(plan, result.predicted)}.")
    if result.for_ever is not None:
        parts.append(
            f"That is true of a run as long as these trials: each port rests for longer, and "
            f"{value_text(plan, result.for_ever)} is what the plan says can go on for ever."
        )
    return structs.replace(result, text=" ".join(parts))


def _headline(plan: FindPlan, searches: Sequence[SearchResult]) -> str:
    if len(searches) == 1:
        return searches[0].text
    effects = _effects(plan, searches)
    if effects:
        return effects[0]
    found = sum(search.kind is FindKind.FOUND for search in searches)
    return f"{plan.key}: {found} of {len(searches)} searches found a limit, and no two of them can be compared."


def _effects(plan: FindPlan, searches: Sequence[SearchResult]) -> tuple[str, ...]:
    """Return what each value changes beside the first of its list, the greatest change first."""
    settings = [search.settings for search in searches]
    short = short_keys(settings)
    rows: list[tuple[float, str]] = []
    for search in searches:
        for key, value in search.settings.items():
            first = settings[0].get(key)
            if value == first:
                continue
            other = next((one for one in searches if dict(one.settings) == {**search.settings, key: first}), None)
            if other is None or FindKind.UNDECIDED in (search.kind, other.kind):
                continue
            under = {name: each for name, each in search.settings.items() if name != key}
            where = f", with {named(under, short)}" if under else ""
            rows.append(_effect(plan, f"{short[key]}={value}", first, search, other, where))
    return tuple(text for _, text in sorted(rows, key=lambda row: -row[0]))


def _effect(
    plan: FindPlan, name: str, first: object, search: SearchResult, other: SearchResult, where: str
) -> tuple[float, str]:
    """Return the factor between two decided searches, infinite where one has no value, and the sentence about it."""
    here, there = search.value, other.value
    if here is None or there is None:
        kept, lost = (f"{first}", name) if here is None else (name, f"{first}")
        value = value_text(plan, there if here is None else here)
        factor = 0.0 if here == there else inf
        start = value_text(plan, plan.start)
        if not factor:
            return factor, f"not even {start} holds with {name} or {first}{where}."
        return factor, f"{plan.key}: {value} with {kept}, and not even {start} with {lost}{where}."
    # The highest value that was to be tried may be less than what would hold.
    here_text, there_text = (
        f"{value_text(plan, one.value)}{' or more' if one.kind is FindKind.ABOVE else ''}" for one in (search, other)
    )
    apart = (search.high is not None and search.high < there) or (other.high is not None and other.high < here)
    if not apart:
        return 0.0, f"{name} makes no difference beyond the precision: {there_text} and {here_text}{where}."
    verb = "lifts" if here > there else "lowers"
    return max(here / there, there / here), f"{name} {verb} {plan.key} from {there_text} to {here_text}{where}."


def _expectations(plan: FindPlan, searches: Sequence[SearchResult]) -> tuple[ExpectationResult, ...]:
    """Return whether each value is as high as it was to be at least, then the conditions on the answers."""
    rows = [_answered(Expectation.of_answer(text), searches) for text in plan.expect]
    if plan.at_least is None:
        return tuple(rows)
    least = [
        ExpectationResult(
            expression=f"{plan.key} >= {value_text(plan, plan.at_least)}",
            passed=search.value is not None and search.value >= plan.at_least,
            observed=search.value,
        )
        for search in searches
    ]
    return (*least, *rows)


def _answered(expectation: Expectation, searches: Sequence[SearchResult]) -> ExpectationResult:
    """Return whether the answer of a search, or of that of a cell, meets a condition; a value that is null does not."""
    search = searches[expectation.cell or 0]
    key = expectation.path.rpartition(".")[2]
    passed, observed = replace(expectation, path=key).check({key: getattr(search, key)})
    return ExpectationResult(expression=expectation.text, passed=passed, observed=observed)
