"""The rows of the table of limits agree with the outcomes, the host's counters and docs/verdict.md."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from loadgen import outcomes
from loadgen.capacity.limits import EVERY_LIMIT, LIMIT_OF_OUTCOME, LIMITS, LimitRow
from loadgen.outcomes import Outcome
from loadgen.strategies import TABLE

PAGE = Path(__file__).parents[3] / "docs" / "verdict.md"
#: What a verdict knows when it fills in a sentence.
FIELDS = {"target", "not_started", "window", "not_started_too", "because", "doubt", "pause", "translator"}


def test_names_are_those_that_a_scenario_may_compare_with() -> None:
    """In the order of nearness, too."""
    assert tuple(LIMITS) == outcomes.LIMITS


def test_every_failure_points_at_one_limit() -> None:
    """And an outcome at no more than one, or the table would hide a row."""
    pointed = [outcome for row in EVERY_LIMIT.values() for outcome in row.outcomes]
    assert sorted(pointed) == sorted(set(Outcome) - {Outcome.ESTABLISHED})
    assert set(LIMIT_OF_OUTCOME) == set(pointed)


def test_each_way_of_running_out_of_ports_points_at_a_limit_that_plans_know() -> None:
    """Whatever the strategy and the transport."""
    for row in TABLE.values():
        for rules in (row.tcp, row.udp):
            if rules:
                limit = LIMITS[LIMIT_OF_OUTCOME[rules.outcome]]
                assert limit.uses_ports
                assert limit.planned


@pytest.mark.parametrize("row", EVERY_LIMIT.values(), ids=EVERY_LIMIT)
def test_a_row_names_what_there_is(row: LimitRow) -> None:
    assert {name for _, name, _, _ in string.Formatter().parse(row.sentence) if name} <= FIELDS
    assert row.explains <= set(EVERY_LIMIT)
    assert row.name in row.explains
    assert row.planned or not (row.uses_ports or row.of_this_host)


def test_readers_see_the_table() -> None:
    """Write the lines of a failure's message into the page."""
    table = "\n".join(f"| `{row.name}` | {row.meaning} | {row.shown_by} | {row.helps} |" for row in LIMITS.values())
    assert table in PAGE.read_text(), table
