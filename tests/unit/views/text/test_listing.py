"""The list of runs on a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.results.listing import ListedRun, RunKind
from loadgen.views.text import listing

RESULTS = Path("results")
RUN = ListedRun(
    path=RESULTS / "20260131T120000Z-small-00aa",
    name="20260131T120000Z-small-00aa",
    scenario="small",
    started_at="2026-01-31T12:00:00+00:00",
    kind=RunKind.RUN,
    established=28232,
    rate_per_s=1234.5,
    limit="four-tuples",
    headline="28,232 of 30,000 connections opened.",
    expect_passed=True,
)


def plain(*runs: ListedRun, width: int = 80) -> list[str]:
    return [line for _, line in listing.lines(runs, RESULTS, width)]


def test_a_run() -> None:
    assert plain(RUN, width=100) == [
        "2026-01-31 12:00  results/20260131T120000Z-small-00aa",
        "                  28,232 established, 1,234/s, limit four-tuples, expectations met",
        "                  28,232 of 30,000 connections opened.",
    ]


def test_no_limit_and_expectations_that_failed() -> None:
    assert "no limit, EXPECTATIONS FAILED" in plain(replace(RUN, limit="none", expect_passed=False))[1]
    assert plain(replace(RUN, expect_passed=None))[1].endswith("limit four-tuples")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (RunKind.MATRIX, "  matrix"),
        (RunKind.RUNNING, "  running"),
        (RunKind.UNFINISHED, "  UNFINISHED"),
        (RunKind.BROKEN, "  BROKEN"),
    ],
)
def test_what_is_no_plain_run_says_so(kind: RunKind, said: str) -> None:
    assert plain(replace(RUN, kind=kind))[0].endswith(f"00aa{said}")


def test_the_reason_stands_instead_of_the_headline() -> None:
    one = ListedRun(
        RUN.path, RUN.name, None, RUN.started_at, RunKind.BROKEN, problem="summary.json: not JSON\n\x1b[31m"
    )
    assert plain(one)[1:] == ["                  summary.json: not JSON \\x1b[31m"]
    assert [tone for tone, _ in listing.lines([one], RESULTS, 80)] == ["verdict", "bad"]


def test_long_sentences_take_two_lines_and_names_stay_whole() -> None:
    said = plain(replace(RUN, headline="word " * 100, path=RESULTS / ("x" * 90)), width=60)
    assert said[0].endswith("x" * 90)
    assert len(said) == 5
    assert all(len(line) <= 60 for line in said[1:])
    assert said[-1].endswith("…")


def test_nothing() -> None:
    assert plain() == ["no runs in results"]


def test_none_of_a_scenario() -> None:
    (line,) = listing.lines([], RESULTS, 80, scenario="a\nb")
    assert line == ("row", "no runs of scenario a\\nb in results")


def test_a_name_with_a_line_feed_and_an_escape_stays_on_its_line() -> None:
    said = plain(replace(RUN, path=RESULTS / "a\n\x1b[31m"))
    assert said[0] == "2026-01-31 12:00  results/a\\n\\x1b[31m"
    assert not any("\n" in line for line in said)
