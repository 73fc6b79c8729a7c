"""The table of kernel versions agrees with the facts."""

from __future__ import annotations

from loadgen import facts
from loadgen.facts.base import order_of
from loadgen.facts.kernels import CHANGES

#: The first version of the table; facts that are older are true of every kernel in use.
_FIRST = (4, 2)


def test_changes_are_in_the_order_of_versions() -> None:
    versions = [order_of(change.version) for change in CHANGES]
    assert versions == sorted(versions)
    assert versions[0] == _FIRST


def test_every_fact_that_names_a_first_kernel_is_in_a_row_of_that_version() -> None:
    named = {(change.version, number) for change in CHANGES for number in change.facts}
    since = {(fact.since, fact.number) for fact in facts.all_facts() if fact.since and order_of(fact.since) >= _FIRST}
    assert since - named == set()


def test_rows_name_facts_that_exist() -> None:
    numbers = {fact.number for fact in facts.all_facts()}
    assert {number for change in CHANGES for number in change.facts} <= numbers


def test_rows_are_complete() -> None:
    for change in CHANGES:
        assert change.what
        assert change.source
        assert change.meaning.endswith(".")
