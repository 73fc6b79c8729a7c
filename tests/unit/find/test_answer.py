"""The answer of a search follows from its plan, its trials and its events alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.find import answer
from loadgen.results import search_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FindKind, FindSummary, SearchResult, TrialResult
from loadgen.results.schema.matrix_plan import CellPlan
from tests import searches
from tests.searches import ENDED, INTERRUPTED, LATE, RESUMED, fails, holds, numbered, plan, unknown


def only(summary: FindSummary) -> SearchResult:
    """The one search; what it found stands at the top as well."""
    (search,) = summary.searches
    for key in ("kind", "value", "low", "high", "limit", "predicted"):
        assert getattr(summary, key) == getattr(search, key)
    assert summary.verdict.text == search.text
    return search


def test_found() -> None:
    summary = searches.summary()
    search = only(summary)
    assert search.kind is FindKind.FOUND
    assert search.low is not None
    assert search.high is not None
    assert search.value == search.low <= 196 < search.high <= search.low * 1.02
    assert (search.limit, search.remedy, search.predicted) == ("time-wait", "close with RST: +100", 200.0)
    assert (summary.complete, summary.incomplete_because, summary.duration_s) == (True, None, 99.5)
    assert search.trials == summary.trials
    assert f"{answer.value_text(summary, search.low)} holds" in search.text
    assert "time-wait" in search.text
    assert "200/s" in search.text


@pytest.mark.parametrize(
    ("wall", "kind", "value", "edges"),
    [(10.0, FindKind.BELOW, None, (None, 50.0)), (9000.0, FindKind.ABOVE, 2000.0, (2000.0, None))],
)
def test_the_ends_of_the_range(wall: float, kind: FindKind, value: float | None, edges: tuple[Any, Any]) -> None:
    of = plan()
    search = only(searches.summary(searches.made(of, wall)))
    assert (search.kind, search.value, (search.low, search.high)) == (kind, value, edges)
    assert ("not even 50/s holds" in search.text) == (kind is FindKind.BELOW)
    assert ("2,000/s, the highest that was to be tried, holds" in search.text) == (kind is FindKind.ABOVE)


@pytest.mark.parametrize(
    ("trials", "events", "changes", "because"),
    [
        (holds(50.0, 100.0) + fails(200.0), (ENDED,), {"trials_max": 4}, "the search has not come to its end"),
        (holds(50.0, 100.0, 100.0) + fails(200.0), (ENDED,), {"trials_max": 4}, "the trials were used up"),
        (holds(50.0, 100.0) + fails(200.0), (LATE, ENDED), {}, "the time was used up"),
        (
            holds(50.0, 50.0, 200.0, 200.0) + fails(100.0, 100.0),
            (ENDED,),
            {},
            "a value that fails lies below one that holds",
        ),
        (holds(50.0, 100.0) + unknown(200.0, 200.0, 200.0), (ENDED,), {}, "trials did not work"),
        (holds(50.0, 100.0) + fails(200.0), (INTERRUPTED,), {}, "the search has not come to its end"),
    ],
)
def test_undecided_says_why(
    trials: list[TrialResult], events: Sequence[Event], changes: dict[str, Any], because: str
) -> None:
    search = only(searches.summary(numbered(*trials), *events, of=plan(**changes)))
    assert search.kind is FindKind.UNDECIDED
    assert f"undecided, because {because}; " in search.text
    low, high = (answer.value_text(plan(), value) for value in (search.low, search.high))
    assert (f"{low} held" in search.text) == (search.low is not None)
    assert (f"{high} failed" in search.text) == (search.high is not None)


def test_trials_that_do_not_agree_decide_nothing() -> None:
    trials = numbered(*holds(50.0, 50.0), *fails(2000.0, 2000.0), *(holds(300.0) * 3), *(fails(300.0) * 3))
    search = only(searches.summary(trials, of=plan(trials_max=10)))
    assert search.kind is FindKind.UNDECIDED
    assert (search.low, search.high) == (50.0, 2000.0)
    assert "do not agree" in search.text or "used up" in search.text


def test_nothing_is_known_of_a_search_without_a_trial() -> None:
    search = only(searches.summary((), INTERRUPTED))
    assert (search.kind, search.value, search.low, search.high) == (FindKind.UNDECIDED, None, None, None)
    assert search.text == "arrival.rate: nothing is known, because the search has not come to its end."


def test_a_value_that_held_and_is_not_sure_is_no_answer() -> None:
    search = only(searches.summary(numbered(*holds(50.0, 100.0), *fails(200.0)), INTERRUPTED))
    assert (search.value, search.low, search.high) == (None, 100.0, 200.0)


@pytest.mark.parametrize(
    ("events", "because"),
    [
        ((ENDED,), None),
        ((LATE, ENDED), None),
        ((INTERRUPTED,), INTERRUPTED.text),
        ((), "the search was cut off"),
        ((INTERRUPTED, RESUMED), "the search was cut off"),
        ((INTERRUPTED, RESUMED, INTERRUPTED), INTERRUPTED.text),
        ((INTERRUPTED, RESUMED, ENDED), None),
        ((ENDED, RESUMED), "the search was cut off"),
    ],
)
def test_how_it_ended_is_that_of_the_last_time(events: Sequence[Event], because: str | None) -> None:
    of = plan()
    summary = answer.summarise(of, searches.made(of, 196.0), events, run="r")
    assert (summary.complete, summary.incomplete_because) == (because is None, because)


def test_time_that_was_used_up_before_it_was_resumed_is_no_reason_any_more() -> None:
    trials = numbered(*holds(50.0, 100.0), *fails(200.0))
    search = only(searches.summary(trials, LATE, ENDED, RESUMED, INTERRUPTED))
    assert "has not come to its end" in search.text


def test_a_search_that_was_killed_took_as_long_as_its_trials_at_least() -> None:
    trials = numbered(*holds(50.0, 100.0), *fails(200.0))
    summary = answer.summarise(plan(), trials, (), run="r")
    assert summary.duration_s == 3 * 3.25
    both = numbered(*holds(50.0, run="trials/1"), *fails(100.0, run="trials/1"))
    assert answer.taken_s(both, ()) == 3.25, "two steps of one run"
    assert answer.taken_s(both, (ENDED,)) == 99.5


def test_without_a_limit_it_says_the_reason() -> None:
    of = plan()
    trials = searches.made(
        of, 196.0, each=lambda made: files.convert(files.plain(made) | {"limit": "none"}, TrialResult)
    )
    search = only(searches.summary(trials))
    assert search.limit == "none"
    assert "It fails with: expected outcomes.failed == 0, observed 9." in search.text


def test_limits_that_differ_are_mixed_and_have_no_remedy() -> None:
    trials = [*holds(196.0, 196.0, 196.0), *fails(198.0, 198.0), *fails(198.0, limit="backlog")]
    search = only(searches.summary(numbered(*holds(50.0), *trials)))
    assert (search.kind, search.limit, search.remedy) == (FindKind.FOUND, "mixed", None)
    assert "It fails with" in search.text


def test_a_rate_that_holds_only_as_long_as_the_trials_is_called_that() -> None:
    of = plan()
    trials = searches.made(
        of, 196.0, each=lambda made: files.convert(files.plain(made) | {"for_ever": 1.7}, TrialResult)
    )
    search = only(searches.summary(trials))
    assert search.for_ever == 1.7
    assert "1.7/s is what the plan says can go on for ever" in search.text


@pytest.mark.parametrize(
    ("at_least", "wall", "passed", "observed"),
    [(100.0, 196.0, True, True), (300.0, 196.0, False, True), (60.0, 10.0, False, False), (2000.0, 9e3, True, True)],
)
def test_at_least(at_least: float, wall: float, passed: bool, observed: bool) -> None:
    of = plan(at_least=at_least)
    summary = searches.summary(searches.made(of, wall), of=of)
    (row,) = summary.expect
    assert row.expression == f"arrival.rate >= {answer.value_text(of, at_least)}"
    assert (row.passed, row.observed == summary.value, row.observed is not None) == (passed, True, observed)


# --- Steps of one run ---------------------------------------------------------------------------------------------


def stepped(*runs: tuple[float | None, float | None], **changes: Any) -> SearchResult:
    """The search of these runs, each with its last step that held and the one that failed."""
    trials: list[TrialResult] = []
    for number, (held, failed) in enumerate(runs, 1):
        own = {"run": f"trials/{number}", "stage": "step"}
        trials += holds(held, **own) if held is not None else []
        trials += fails(failed, **own) if failed is not None else []
    of = plan(key="connections", unit="", whole=True, start=500.0, mode="continuous", **changes)
    return only(searches.summary(numbered(*trials), of=of))


def test_runs_that_agree_on_the_step() -> None:
    search = stepped((990.0, 1009.0), (990.0, 1009.0))
    assert (search.kind, search.value, search.low, search.high) == (FindKind.FOUND, 990.0, 990.0, 1009.0)


@pytest.mark.parametrize(
    ("runs", "changes", "kind"),
    [
        ([(2000.0, None), (2000.0, None)], {}, FindKind.ABOVE),
        ([(None, 500.0), (None, 500.0)], {}, FindKind.BELOW),
        ([(990.0, 1009.0)], {}, FindKind.UNDECIDED),
        ([(990.0, 1009.0), (700.0, 714.0)], {}, FindKind.UNDECIDED),
        ([(990.0, None)], {"agree": 1}, FindKind.UNDECIDED),
        ([(990.0, None), (990.0, None)], {}, FindKind.UNDECIDED),
        ([(None, 700.0)], {"agree": 1}, FindKind.UNDECIDED),
        ([(990.0, 1009.0)], {"agree": 1}, FindKind.FOUND),
    ],
)
def test_runs_that_went_up(runs: list[tuple[Any, Any]], changes: dict[str, Any], kind: FindKind) -> None:
    """One that was cut off between two steps says neither that the highest holds nor that the lowest fails."""
    assert stepped(*runs, **changes).kind is kind


# --- A search for each cell ---------------------------------------------------------------------------------------


def test_what_a_setting_lifts() -> None:
    summary = searches.reuse(66.0, 196.0)
    assert [search.kind for search in summary.searches] == [FindKind.FOUND] * 2
    assert (summary.kind, summary.value, summary.low, summary.high) == (None, None, None, None)
    low, high = (answer.value_text(summary, search.value) for search in summary.searches)
    assert summary.effects == (f"tcp_tw_reuse=1 lifts arrival.rate from {low} to {high}.",)
    assert summary.verdict.text == summary.effects[0]
    assert summary.verdict.limit == "time-wait"


@pytest.mark.parametrize(
    ("walls", "said"),
    [
        ((196.0, 66.0), "tcp_tw_reuse=1 lowers arrival.rate from"),
        ((196.0, 196.0), "tcp_tw_reuse=1 makes no difference beyond the precision"),
        ((10.0, 10.0), "not even 50/s holds with tcp_tw_reuse=1 or 0"),
        ((10.0, 9e3), "2,000/s with tcp_tw_reuse=1, and not even 50/s with 0"),
        ((9e3, 10.0), "2,000/s with 0, and not even 50/s with tcp_tw_reuse=1"),
        ((66.0, 9e3), "to 2,000/s or more"),
    ],
)
def test_what_a_setting_does(walls: tuple[float, float], said: str) -> None:
    (effect,) = searches.reuse(*walls).effects
    assert said in effect


def test_a_cell_that_is_not_decided_has_no_effect() -> None:
    of = searches.matrix_plan()
    trials = searches.made(of, 66.0)
    summary = searches.summary(trials, INTERRUPTED, of=of)
    assert [search.kind for search in summary.searches] == [FindKind.FOUND, FindKind.UNDECIDED]
    assert summary.effects == ()
    assert "1 of 2 searches found a limit" in summary.verdict.text


def test_the_greatest_effect_comes_first_and_says_what_else_is_set() -> None:
    cells = tuple(CellPlan(settings={"close": close, "sources.count": n}) for close in ("fin", "rst") for n in (1, 2))
    of = plan(cells=cells)
    summary = searches.summary(searches.made(of, 100.0, 200.0, 110.0, 900.0), of=of)
    assert len(summary.effects) == 4
    assert summary.effects[0].startswith("count=2 lifts")
    assert summary.effects[0].endswith(", with close rst.")
    assert summary.effects[1].startswith("close=rst lifts")


# --- From the files -----------------------------------------------------------------------------------------------


@given(st.floats(20, 3000), st.integers(1, 3), st.floats(0.005, 0.3))
def test_the_files_say_the_same(wall: float, agree: int, precision: float) -> None:
    """Numbers are the same again after JSON, so the answer is the same to the letter."""
    of = plan(agree=agree, precision=precision)
    trials = searches.made(of, wall)
    read = [files.read(files.line_of(each), TrialResult) for each in trials]
    again = files.read(files.pretty(of).encode(), type(of))
    assert answer.summarise(again, read, (ENDED,), run="r") == answer.summarise(of, trials, (ENDED,), run="r")


def test_a_directory_says_the_same(tmp_path: Path) -> None:
    of = searches.matrix_plan(at_least=60.0)
    writer = search_directory.SearchWriter(tmp_path, of.scenario)
    writer.write_begin("name: ceiling\n", of)
    trials = searches.made(of, 66.0, 196.0)
    for each in trials:
        writer.append_trial(each)
    writer.append_event(ENDED)
    writer.close()
    read = search_directory.read(writer.path)
    again = answer.summarise(read.plan, read.trials, read.events, run="r")
    assert again == answer.summarise(of, trials, (ENDED,), run="r")
    assert files.read_summary(files.pretty(again).encode()) == again


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "/s", "nothing"),
        (28190.0, "/s", "28,190/s"),
        (0.5, "s", "0.5s"),
        (462.137, "/s", "462.1/s"),
        (12.0, "", "12"),
        (1000.4, "", "1,000"),
    ],
)
def test_a_value_has_its_unit(value: float | None, unit: str, text: str) -> None:
    assert answer.value_text(plan(unit=unit), value) == text
