"""Registration and selection of facts, and the facts themselves without running them."""

from __future__ import annotations

import re

import pytest

from loadgen import facts
from loadgen.errors import UsageError
from loadgen.facts import base
from loadgen.facts.base import Experiment, Fact
from loadgen.facts.sections import SECTIONS


def make(number: str, run: Experiment) -> Fact:
    return Fact(number, f"title of {number}", "ok", "", f"source of {number}", f"meaning of {number}.", run)


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        ((), ["1.1", "1.10", "2.1", "10.1"]),
        (("1",), ["1.1", "1.10"]),
        (("1.1",), ["1.1"]),
        (("10.",), ["10.1"]),
        (("2", "1.10"), ["1.10", "2.1"]),
    ],
)
def test_a_selection_compares_parts_of_the_number(selection: tuple[str, ...], numbers: list[str]) -> None:
    candidates = [make(number, lambda: "ok") for number in ("1.1", "1.10", "2.1", "10.1")]
    assert [fact.number for fact in base.select(candidates, selection)] == numbers


@pytest.mark.parametrize("number", ["3", "1.2", "", "parity", "1.1.1"])
def test_an_unknown_number_is_a_usage_error(number: str) -> None:
    with pytest.raises(UsageError, match="--list"):
        base.select([make("1.1", lambda: "ok")], (number,))


def test_no_number_is_used_twice() -> None:
    facts.all_facts()
    with pytest.raises(ValueError, match=r"two facts 1\.1"):
        base.fact("1.1", "again", expected="", meaning="", source="")(lambda: "")


def test_sections_and_facts_are_numbered_without_gaps() -> None:
    sections: dict[int, list[int]] = {}
    for fact in facts.all_facts():
        section, number = fact.order
        sections.setdefault(section, []).append(number)
    assert list(sections) == [section.number for section in SECTIONS]
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sections.values())


@pytest.mark.parametrize("fact", facts.all_facts(), ids=lambda fact: fact.number)
def test_every_fact_is_complete(fact: Fact) -> None:
    assert fact.title
    assert fact.expected
    assert fact.meaning.endswith(".")
    assert re.search(r"\([1-8]\)|RFC \d|\.[ch]\b|\.sh|\.rst|\b[0-9a-f]{12}\b", fact.source), "where is it written?"
    assert re.fullmatch(r"(\d+\.\d+)?", fact.since)
    # The facts it refers to exist: "(2.6)", "(1.1, 2.6)".
    numbers = {other.number for other in facts.all_facts()}
    for group in re.findall(r"\((\d+\.\d+(?:, \d+\.\d+)*)\)", fact.meaning):
        assert set(group.split(", ")) <= numbers


def test_a_fact_keeps_its_source_and_the_unit_of_its_cost() -> None:
    """Neither takes the place of another field."""
    by_number = {fact.number: fact for fact in facts.all_facts()}
    fact = by_number["12.3"]
    assert fact.source == "tools/testing/selftests/net/bind_bhash.c"
    assert fact.since == "6.8"
    assert "SO_REUSEADDR" in fact.cost_what
    assert by_number["1.1"].cost_what == ""
