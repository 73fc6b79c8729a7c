"""The search against simulated targets: exact, noisy, soft, tiring, and without any limit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.find.goal import Goal, NextTrial, SearchEnd, SearchStage, Trial, Undecided
from loadgen.find.search import SPLIT_AFTER, UNKNOWN_MAX, known, step, trials_without_noise
from loadgen.results.schema.find import FindKind, TrialStatus

HELD, FAILED, UNKNOWN = TrialStatus
#: A run at one value; true when its expectations hold.
Target = Callable[[float], bool]

goals = st.builds(
    lambda start, factor, trials, precision, whole, agree: Goal(
        start=float(start), stop=float(start * factor), trials_max=trials, precision=precision, whole=whole, agree=agree
    ),
    st.integers(1, 1000),
    st.integers(2, 5000),
    st.integers(1, 60),
    st.sampled_from([0.001, 0.02, 0.3, 1.0]),
    st.booleans(),
    st.integers(1, 3),
)
outcomes = st.lists(st.sampled_from(TrialStatus), min_size=60, max_size=60)


def search(goal: Goal, target: Target) -> tuple[SearchEnd, list[Trial]]:
    trials: list[Trial] = []
    while isinstance(following := step(goal, trials), NextTrial):
        trials.append(Trial(following.value, HELD if target(following.value) else FAILED))
    return following, trials


def record(*trials: tuple[float, str]) -> list[Trial]:
    """Return trials written as (100, "++-?")."""
    signs = {"+": HELD, "-": FAILED, "?": UNKNOWN}
    return [Trial(float(value), signs[sign]) for value, text in trials for sign in text]


def lead(trials: Sequence[Trial], value: float | None) -> int:
    counts = [trial.outcome for trial in trials if trial.value == value]
    return counts.count(HELD) - counts.count(FAILED)


def somewhere(chance: random.Random, goal: Goal) -> float:
    """Return a limit between twice the start and nine tenths of the stop, evenly by its logarithm."""
    return exp(chance.uniform(log(2 * goal.start), log(0.9 * goal.stop)))


# Targets without noise.


@pytest.mark.parametrize("agree", [1, 2, 3])
@pytest.mark.parametrize("precision", [0.005, 0.02, 0.1, 1.0])
def test_without_noise_the_limit_is_found_in_few_trials(agree: int, precision: float) -> None:
    for seed in range(100):
        goal = Goal(1.0, 1e6, 100, precision=precision, agree=agree)
        limit = somewhere(random.Random(seed), goal)
        end, trials = search(goal, lambda value, limit=limit: value <= limit)  # type: ignore[misc]
        assert end.kind is FindKind.FOUND
        assert end.low is not None
        assert end.high is not None
        assert end.value == end.low <= limit < end.high <= end.low * (1 + precision)
        assert (end.low_settled, end.high_settled, end.against, end.because) == (True, True, 0, None)
        assert end.trials == len(trials) <= trials_without_noise(goal)


def test_the_most_trials_without_noise() -> None:
    """A million to one is 20 doublings, 2 % of a factor of two are 6 halvings, two ends are confirmed."""
    assert trials_without_noise(Goal(1, 1e6, 100)) == 1 + 20 + 6 + 3
    assert trials_without_noise(Goal(500, 1000, 100, precision=1)) == 1 + 1 + 0 + 3


@pytest.mark.parametrize("stop", [2, 3, 7, 60, 200])
def test_every_whole_limit_is_found(stop: int) -> None:
    goal = Goal(1, stop, 100, whole=True, precision=0.001)
    for limit in range(1, stop):
        end, trials = search(goal, lambda value, limit=limit: value <= limit)  # type: ignore[misc]
        assert (end.kind, end.value, end.high) == (FindKind.FOUND, limit, limit + 1)
        assert all(trial.value.is_integer() for trial in trials)
        assert len(trials) <= trials_without_noise(goal)


@pytest.mark.parametrize(("start", "stop"), [(1, 2), (1, 1000), (300, 301), (0.001, 0.5)])
def test_a_target_without_a_limit(start: float, stop: float) -> None:
    """The last value is enough to know that all hold, the first one that none does."""
    goal = Goal(start, stop, 100)
    end, trials = search(goal, lambda _: True)
    assert (end.kind, end.value, end.low, end.high) == (FindKind.ABOVE, stop, stop, None)
    assert lead(trials, stop) == 2
    end, trials = search(goal, lambda _: False)
    assert (end.kind, end.value, end.low, end.high) == (FindKind.BELOW, None, None, start)
    assert [trial.value for trial in trials] == [start, start]


def test_values_are_as_round_as_the_interval_allows() -> None:
    _, trials = search(Goal(1000, 64000, 100), lambda value: value <= 5430)
    assert [trial.value for trial in trials] == [
        *(1000, 2000, 4000, 8000),
        *(5700, 4800, 5200, 5440, 5320, 5380),
        *(5380, 5440),
    ]


# Noise.


@pytest.mark.parametrize(("agree", "sure", "ended"), [(2, 95, 97), (3, 99, 99)])
@pytest.mark.parametrize("stop", [1000.0, 1_000_000.0])
def test_one_trial_in_twenty_errs(agree: int, sure: int, ended: int, stop: float) -> None:
    """With these 100 seeds; the decision record has the shares of a thousand."""
    found = right = 0
    for seed in range(100):
        chance = random.Random(seed)
        goal = Goal(1.0, stop, 100, agree=agree)
        limit = somewhere(chance, goal)
        end, _ = search(goal, lambda value, c=chance, limit=limit: (value <= limit) != (c.random() < 0.05))  # type: ignore[misc]
        found += end.kind is FindKind.FOUND
        right += end.low is not None and end.high is not None and end.low <= limit < end.high
    assert found >= ended
    assert right >= sure


@pytest.mark.parametrize("softness", [0.01, 0.03])
@pytest.mark.parametrize("errs", [0.0, 0.05])
def test_a_soft_limit(softness: float, errs: float) -> None:
    """Around the limit the share of trials that hold falls from 1 to 0; the value is off by no more than that."""
    right = wide = 0
    for seed in range(100):
        chance = random.Random(seed)
        goal = Goal(1.0, 1000.0, 100)
        limit = somewhere(chance, goal)

        def target(value: float, chance: random.Random = chance, limit: float = limit) -> bool:
            share = min(max(0.5 - (value / limit - 1) / (2 * softness), 0.0), 1.0)
            return (chance.random() < share) != (chance.random() < errs)

        end, trials = search(goal, target)
        low, high = limit * (1 - softness), limit * (1 + softness)
        right += end.value is not None and low / (1 + goal.precision) <= end.value <= high
        if end.because is Undecided.OUTCOMES_DISAGREE:
            wide += 1
            assert end.low_settled
            assert end.high_settled
            split = {trial.value for trial in trials if abs(lead(trials, trial.value)) < goal.agree}
            assert any((end.low or 0) < value < (end.high or 0) for value in split)
    assert right >= (95 if errs else 99)
    assert wide <= 25


def test_an_end_that_narrowing_never_moved_needs_one_trial_more() -> None:
    """A wrong failure at 8 sends all later trials below it, where they hold: that is one in 64 for a true one."""
    narrowed = record((1, "+"), (2, "+"), (4, "+"), (8, "-"), (5.7, "+"), (6.7, "+"), (7.3, "+"), (7.7, "+"))
    narrowed += record((7.8, "+"), (7.9, "++"), (8, "-"))
    goal = Goal(1, 1000, 100)
    assert step(goal, narrowed) == NextTrial(8.0, SearchStage.CONFIRMING)
    end = step(goal, [*narrowed, *record((8, "-"))])
    assert isinstance(end, SearchEnd)
    assert (end.kind, end.low, end.high) == (FindKind.FOUND, 7.9, 8)
    assert step(goal, [*narrowed, *record((8, "++"))]) == NextTrial(8.0, SearchStage.CONFIRMING)
    assert step(goal, [*narrowed, *record((8, "+++"))]) == NextTrial(16.0, SearchStage.DOUBLING)


def test_a_contradiction_at_an_end_moves_the_search() -> None:
    goal = Goal(100, 800, 50, precision=0.5)
    trials = record((100, "+"), (200, "+"), (400, "-"), (280, "+"))
    assert step(goal, trials) == NextTrial(280.0, SearchStage.CONFIRMING)
    tied = [*trials, *record((280, "-"))]
    assert step(goal, tied) == NextTrial(280.0, SearchStage.CONFIRMING)
    assert step(goal, [*tied, *record((280, "-"))]) == NextTrial(200.0, SearchStage.CONFIRMING)
    assert step(goal, [*tied, *record((280, "++"))]) == NextTrial(400.0, SearchStage.CONFIRMING)


def test_a_value_without_a_lead_is_left_alone() -> None:
    """The interval then goes from what surely holds to what surely fails, and says that it is wider than asked for."""
    goal = Goal(100, 1000, 50, precision=0.5)
    trials = record((100, "+"), (200, "++"), (400, "--"), (280, "+-" * SPLIT_AFTER))
    end = step(goal, trials)
    assert isinstance(end, SearchEnd)
    assert (end.kind, end.because) == (FindKind.UNDECIDED, Undecided.OUTCOMES_DISAGREE)
    assert (end.value, end.low, end.high) == (200, 200, 400)
    # Where the ends around it are as close as asked for, it changes nothing.
    found = step(Goal(100, 1000, 50, precision=1.0), trials)
    assert isinstance(found, SearchEnd)
    assert found.kind is FindKind.FOUND


@pytest.mark.parametrize(("trials", "following"), [("+-" * 3, 200.0), ("+-" * 2, 100.0)])
def test_a_start_without_a_lead_does_not_stop_the_search(trials: str, following: float) -> None:
    answer = step(Goal(100, 1000, 50), record((100, trials)))
    assert isinstance(answer, NextTrial)
    assert answer.value == following


@pytest.mark.parametrize("agree", [1, 2, 3])
def test_coins_end_with_what_their_trials_say(agree: int) -> None:
    """A coin may look like a limit. The answer is then as the record has it, contradictions counted."""
    kinds = set()
    for seed in range(100):
        chance = random.Random(seed)
        end, trials = search(Goal(1.0, 1000.0, 60, agree=agree), lambda _, c=chance: c.random() < 0.5)  # type: ignore[misc]
        kinds.add(end.kind)
        if end.low_settled:
            assert lead(trials, end.low) >= agree
        if end.high_settled:
            assert -lead(trials, end.high) >= agree
        if end.kind is not FindKind.UNDECIDED:
            assert end.low_settled or end.kind is FindKind.BELOW
            assert end.high_settled or end.kind is FindKind.ABOVE
        against = [
            trial
            for trial in trials
            if (trial.outcome is FAILED and end.low is not None and trial.value <= end.low)
            or (trial.outcome is HELD and end.high is not None and trial.value >= end.high)
        ]
        assert end.against == len(against)
    assert FindKind.UNDECIDED in kinds


@pytest.mark.parametrize(("fall", "found_least"), [(0.0005, 100), (0.003, 100), (0.01, 20), (0.02, 0)])
def test_a_target_that_tires(fall: float, found_least: int) -> None:
    """The limit falls with each trial. What is found was below it then, and is as close to it now as was asked for."""
    found = 0
    for seed in range(100):
        goal = Goal(1.0, 1000.0, 60)
        limit = somewhere(random.Random(seed), goal)
        limits: list[float] = []

        def target(value: float, limit: float = limit, limits: list[float] = limits) -> bool:
            limits.append(limit * (1 - fall) ** len(limits))
            return value <= limits[-1]

        end, trials = search(goal, target)
        if end.kind is FindKind.FOUND:
            found += 1
            assert end.value is not None
            last = max(index for index, trial in enumerate(trials) if trial.value == end.value)
            assert limits[-1] / (1 + goal.precision) < end.value <= limits[last]
        elif end.kind is FindKind.BELOW:
            assert limits[-1] < goal.start
        else:
            assert end.because is Undecided.TRIALS_USED_UP
    assert found >= found_least


# Unknown outcomes, bounds, resuming.


def test_an_unknown_outcome_is_on_neither_side_and_repeated() -> None:
    goal = Goal(1, 100, 50)
    trials = record((1, "+"), (2, "?"))
    assert step(goal, trials) == NextTrial(2.0, SearchStage.DOUBLING)
    assert step(goal, [*trials, *record((2, "?+"))]) == NextTrial(4.0, SearchStage.DOUBLING)


def test_trials_that_do_not_work_end_the_search() -> None:
    goal = Goal(1, 100, 50)
    end = step(goal, record((1, "+"), (2, "?" * UNKNOWN_MAX)))
    assert isinstance(end, SearchEnd)
    assert (end.kind, end.because) == (FindKind.UNDECIDED, Undecided.TRIALS_DO_NOT_WORK)
    assert (end.value, end.low, end.low_settled, end.high, end.trials) == (None, 1, False, None, 1)


@given(goals, outcomes)
def test_whatever_happens_trials_are_bounded_and_in_bounds(goal: Goal, outcomes: list[TrialStatus]) -> None:
    trials: list[Trial] = []
    for outcome in outcomes:
        following = step(goal, trials)
        if isinstance(following, SearchEnd):
            break
        assert len(trials) < goal.trials_max
        assert goal.start <= following.value <= goal.stop
        assert following.value.is_integer() or not goal.whole
        trials.append(Trial(following.value, outcome))
    end = step(goal, trials)
    assert isinstance(end, SearchEnd)
    assert end == known(goal, trials)
    assert end.trials == sum(trial.outcome is not UNKNOWN for trial in trials)
    assert end.low is None or end.high is None or end.low < end.high
    assert (end.because is None) == (end.kind is not FindKind.UNDECIDED)
    if end.because is Undecided.TRIALS_USED_UP:
        assert len(trials) == goal.trials_max


@given(goals, outcomes)
def test_no_trial_is_made_that_a_settled_value_implies(goal: Goal, outcomes: list[TrialStatus]) -> None:
    trials: list[Trial] = []
    for outcome in outcomes:
        following = step(goal, trials)
        if isinstance(following, SearchEnd):
            break
        for value in {trial.value for trial in trials}:
            assert not (lead(trials, value) >= goal.agree and following.value < value)
            assert not (-lead(trials, value) >= goal.agree and following.value > value)
        trials.append(Trial(following.value, outcome))


@given(goals, outcomes, st.randoms())
def test_a_resumed_search_goes_on_as_it_would_have(
    goal: Goal, outcomes: list[TrialStatus], chance: random.Random
) -> None:
    """From any beginning of its record. Not even the order matters, but for trials that did not work."""
    trials: list[Trial] = []
    steps: list[NextTrial] = []
    for outcome in outcomes:
        following = step(goal, trials)
        if isinstance(following, SearchEnd):
            break
        steps.append(following)
        trials.append(Trial(following.value, outcome))
    read = [Trial(json.loads(json.dumps(trial.value)), TrialStatus(trial.outcome.value)) for trial in trials]
    assert [step(goal, read[:count]) for count in range(len(read))] == steps
    worked = [trial for trial in trials if trial.outcome is not UNKNOWN]
    assert step(goal, chance.sample(worked, len(worked))) == step(goal, worked)


def test_what_is_known_before_the_end() -> None:
    goal = Goal(1, 100, 50)
    nothing = known(goal, [])
    assert (nothing.kind, nothing.because) == (FindKind.UNDECIDED, Undecided.NOT_FINISHED)
    assert (nothing.value, nothing.low, nothing.high, nothing.trials) == (None, None, None, 0)
    some = known(goal, record((1, "+"), (2, "++"), (4, "-")))
    assert (some.value, some.low, some.low_settled, some.high, some.high_settled) == (2, 2, True, 4, False)


# Records that no single search made.


def test_settled_values_that_contradict_each_other_are_reported() -> None:
    """The interval is the widest that the record leaves open, and no trial is spent on it."""
    trials = record((10, "++"), (20, "++"), (30, "--"), (40, "++"), (50, "--"), (60, "--"), (35, "+"))
    end = step(Goal(10, 100, 50), trials)
    assert isinstance(end, SearchEnd)
    assert (end.kind, end.because) == (FindKind.UNDECIDED, Undecided.NOT_MONOTONIC)
    assert (end.value, end.low, end.high) == (20, 20, 50)
    end = step(Goal(30, 40, 50), trials)
    assert isinstance(end, SearchEnd)
    assert (end.because, end.value, end.low, end.high) == (Undecided.NOT_MONOTONIC, None, None, None)


def test_unsettled_values_that_contradict_each_other_are_repeated() -> None:
    goal = Goal(10, 100, 50)
    trials = record((10, "+"), (30, "-"), (40, "+"))
    assert step(goal, trials) == NextTrial(30.0, SearchStage.CONFIRMING)
    answer = step(goal, [*trials, *record((30, "-"))])
    assert isinstance(answer, NextTrial)
    assert 10 < answer.value < 30, "40 is implied now"


def test_trials_outside_the_bounds_only_count() -> None:
    trials = record((1, "--"), (500, "++"))
    assert step(Goal(10, 100, 50), trials) == NextTrial(10.0, SearchStage.DOUBLING)
    end = step(Goal(10, 100, 4), trials)
    assert isinstance(end, SearchEnd)
    assert (end.because, end.trials) == (Undecided.TRIALS_USED_UP, 0)


@given(
    goals, st.lists(st.builds(Trial, st.integers(1, 5_000_000), st.sampled_from(TrialStatus)), max_size=20), outcomes
)
def test_any_record_can_be_gone_on_from(goal: Goal, trials: list[Trial], outcomes: list[TrialStatus]) -> None:
    for outcome in outcomes:
        following = step(goal, trials)
        if isinstance(following, SearchEnd):
            break
        assert goal.start <= following.value <= goal.stop
        trials.append(Trial(following.value, outcome))
    end = known(goal, trials)
    assert end.low is None or end.high is None or end.low < end.high
    assert end.value in (None, end.low)
