"""docs/facts.md is made from the facts."""

from __future__ import annotations

from pathlib import Path

from loadgen import facts
from loadgen.facts import kernels, page
from loadgen.facts.base import Fact

DOCS = Path(__file__).parents[3] / "docs" / "facts.md"


def test_the_page_under_docs_is_the_one_that_is_made() -> None:
    assert DOCS.read_text() == page.page(), "make schemas writes it anew"


def test_every_fact_and_every_change_has_its_row() -> None:
    lines = page.page().splitlines()
    assert [line for line in lines if line.startswith(("| 1.1 |", "| 14.5 |"))] != []
    for row in (*map(page.fact_row, facts.all_facts()), *map(page.change_row, kernels.CHANGES)):
        assert lines.count(row) == 1


def test_a_bar_in_a_cell_is_escaped() -> None:
    fact = Fact("1.1", "a | b", "ok", "", "ip(7)", "m.", lambda: "ok")
    assert page.fact_row(fact) == r"| 1.1 | a \| b | ok | any | m. | ip(7) |"
