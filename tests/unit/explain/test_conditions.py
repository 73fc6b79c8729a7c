"""Conditions of --fail-if, held against an answer."""

from __future__ import annotations

import pytest

from loadgen.explain.conditions import ExplainCondition
from tests.unit.explain.samples import NGINX, RANGE, explained, listing, space

FULL = (NGINX, RANGE, listing(*space("ESTAB", 60), *space("TIME-WAIT", 40, low=40_060)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("used > 80%", "--fail-if used > 80%: 100%"),
        ("free < 10", "--fail-if free < 10: 0 free"),
        ("in_use >= 60", "--fail-if in_use >= 60: 60 in use"),
        ("time_wait > 39", "--fail-if time_wait > 39: 40 in TIME-WAIT"),
        ("findings > 0", "--fail-if findings > 0: 1 finding"),
        ("limit == four-tuples", "--fail-if limit == four-tuples: four-tuples"),
        ("limit != time-wait", "--fail-if limit != time-wait: four-tuples"),
        ("candidate == 'four-tuples'", "--fail-if candidate == 'four-tuples': four-tuples"),
        ("used > 100%", ""),
        ("limit == time-wait", ""),
        ("unread > 0", ""),
    ],
)
def test_a_condition_is_met_or_not(text: str, said: str) -> None:
    assert ExplainCondition.parse(text).violation(explained(*FULL)) == said


def test_an_open_finding_names_candidates_and_no_limit() -> None:
    answer = explained(NGINX)
    assert ExplainCondition.parse("limit == four-tuples").violation(answer) == ""
    assert ExplainCondition.parse("candidate == time-wait").violation(answer)


def test_without_a_space_there_is_nothing_to_compare() -> None:
    assert ExplainCondition.parse("used > 0%").violation(explained(NGINX)) == ""


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "write NAME OP VALUE"),
        ("usedd > 1%", "write NAME OP VALUE"),
        ("used > 1", "write a share"),
        ("free < -1", "write a whole number"),
        ("limit == nonsense", "a limit of docs/verdict.md"),
        ("limit > four-tuples", "write == or !="),
    ],
)
def test_what_is_no_condition_says_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        ExplainCondition.parse(text)
