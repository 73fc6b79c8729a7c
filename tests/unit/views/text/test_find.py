"""The summary of a search on a terminal."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from loadgen.results.schema.find import FindSummary, TrialResult
from loadgen.views.text import find
from tests import searches
from tests.golden import same_as_golden
from tests.searches import INTERRUPTED, fails, holds, numbered, plan, unknown


def plain(summary: FindSummary, width: int = 80) -> list[str]:
    text = [line for _, line in find.lines(summary, "results/x/report.html", width)]
    assert all(len(line) <= width for line in text), text
    return text


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", ["found", "reuse"])
def test_a_search_reads_as_it_was_approved(name: str, width: int) -> None:
    summary = searches.summary() if name == "found" else searches.reuse()
    same_as_golden(f"text/find-{name}-{width}.txt", "\n".join(plain(summary, width)) + "\n")


@pytest.mark.parametrize(("wall", "interval"), [(10.0, "less than 50/s (below)"), (9e3, "2,000/s or more (above)")])
def test_the_ends_of_the_range(wall: float, interval: str) -> None:
    found = plain(searches.summary(searches.made(plan(), wall)))
    assert f"found        {interval}" in found
    assert not any(line.startswith("sure ") for line in found)


@pytest.mark.parametrize(
    ("trials", "interval"),
    [
        ([], "nothing (undecided)"),
        (holds(50.0), "50/s or more (undecided)"),
        (fails(50.0), "less than 50/s (undecided)"),
        (holds(50.0) + fails(100.0), "50/s to 100/s (undecided)"),
    ],
)
def test_what_is_known_of_a_search_that_was_interrupted(trials: list[TrialResult], interval: str) -> None:
    found = plain(searches.summary(numbered(*trials), INTERRUPTED))
    assert f"found        {interval}" in found
    assert any(line.startswith("INCOMPLETE") and INTERRUPTED.text[:11] in line for line in found)


def test_a_trial_that_did_not_work_says_why_below_its_row() -> None:
    evil = "the lab was refused \x1b[2J" + " and so on" * 20
    found = plain(searches.summary(numbered(*holds(50.0), *unknown(100.0, reason=evil)), INTERRUPTED), 60)
    at = next(n for n, line in enumerate(found) if "unknown" in line)
    assert "the lab was refused" in found[at + 1]
    assert "\x1b" not in "".join(found)


def test_trials_that_contradict_the_answer_are_counted() -> None:
    trials = numbered(*holds(196.0, 196.0, 196.0, 50.0), *fails(198.0, 198.0, 198.0), *fails(100.0))
    summary = searches.summary(trials)
    (search,) = summary.searches
    assert search.against == 1
    assert "1 of 8 trials against it; more sure with --set find.agree=3" in find.sureness(summary, search)


def test_at_least() -> None:
    of = plan(at_least=300.0)
    found = plain(searches.summary(searches.made(of, 196.0), of=of))
    assert any(line.startswith("expect") and "arrival.rate >= 300/s" in line and "FAIL" in line for line in found)


def test_a_long_limit_and_a_long_value_stay_in_their_line() -> None:
    trials = [replace(each, limit="x" * 90, remedy="y " * 90) for each in searches.made(plan(), 196.0)]
    plain(searches.summary(trials), 60)
