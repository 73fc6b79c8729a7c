"""A comparison of two kernels on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from loadgen.facts import comparison
from loadgen.views.text import facts as facts_text
from tests.golden import same_as_golden
from tests.unit.facts.test_comparison import A, B, Facts, record, written


def rendered(tmp_path: Path, width: int, a: Facts = A, b: Facts = B) -> str:
    # Named as a user would, so that the text is the same wherever the tests run.
    result = comparison.compare(written(tmp_path / "a", "6.1.0", a), written(tmp_path / "b", "6.18.44", b))
    named = comparison.FactsComparison(("6.1.json", "6.18.json"), result.a, result.b, result.pairs)
    out = io.StringIO()
    facts_text.render(named, Console(file=out, width=width))
    return out.getvalue()


def test_it_reads_as_approved(tmp_path: Path) -> None:
    same_as_golden("text/facts-compare.txt", rendered(tmp_path, 100))


@pytest.mark.parametrize("width", [60, 79, 250])
def test_it_fits_any_width(tmp_path: Path, width: int) -> None:
    longer = {**A, "3.1": record(seen="four connections, then connect EADDRNOTAVAIL; " * 4)}
    assert max(map(len, rendered(tmp_path, width, longer).splitlines())) <= min(width, 100)


def test_nothing_that_differs_is_one_sentence_and_the_two_sides(tmp_path: Path) -> None:
    text = rendered(tmp_path, 100, {"1.1": record()}, {"1.1": record()})
    assert text.splitlines()[0] == "1 fact: 1 the same, 0 different"
    assert len(text.splitlines()) == 4


def test_a_file_of_somebody_else_cannot_move_the_cursor(tmp_path: Path) -> None:
    attack = {"1.1": record(seen="\x1b[2J\n[red]x[/red]", title="\x1b]0;x\x07")}
    text = rendered(tmp_path, 100, attack, {"1.1": record()})
    assert "\x1b" not in text
    assert "[red]x[/red]" in text
