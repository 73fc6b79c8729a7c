"""Findings as a table of any width."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.console import Console

from loadgen import facts
from loadgen.facts.base import Cost, Fact, FactFinding, FactVerdict


def make(number: str, *, expected: str = "ok", since: str = "") -> Fact:
    return Fact(
        number, f"title of {number}", expected, since, f"source of {number}", f"meaning of {number}.", lambda: "ok"
    )


FINDINGS = [
    FactFinding(make("1.1"), "ok", FactVerdict.HOLDS, "", 0.01),
    FactFinding(
        make("2.3", expected="one: ok; two: bind EADDRINUSE", since="6.18"),
        "one: ok; two: connect EADDRNOTAVAIL",
        FactVerdict.DIFFERS,
        "Linux 6.1.0 is older than 6.18",
        0.25,
    ),
    FactFinding(make("10.1"), "", FactVerdict.NOT_RUN, "needs a second user id; run as root", 1.5),
]


def with_cost(finding: FactFinding) -> FactFinding:
    fact = dataclasses.replace(finding.fact, cost_what="taken port")
    return dataclasses.replace(finding, fact=fact, cost=Cost(each_ns=38.249, count=1000, ratio=24.1259))


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("finding", FINDINGS[:2], ids=["holds", "differs"])
def test_a_cost_is_shown_below_its_fact(finding: FactFinding, width: int) -> None:
    text = rendered([with_cost(finding)], width)
    for word in ("38.2", "ns", "taken", "1,000", "24.1"):
        assert word in text.split()


def rendered(findings: list[FactFinding], width: int, *, color: bool = False) -> str:
    out = io.StringIO()
    facts.render(
        findings, Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None)
    )
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 79, 80, 100, 250])
def test_the_table_is_complete_and_fits(width: int) -> None:
    text = rendered(FINDINGS, width)
    assert max(map(len, text.splitlines())) <= min(width, 100)
    flowed = " ".join(text.split())
    for part in (
        "2.3",
        "differs",
        "not run",
        "6.18",
        "EADDRNOTAVAIL",
        "second",
    ):
        assert part in flowed
    assert "of 3 facts 1 hold, 1 differ, 1 could not be run" in flowed


@pytest.mark.parametrize("width", [60, 100])
def test_the_table_of_the_real_facts_fits(width: int) -> None:
    """No word of a title or an expectation is too long for its column."""
    findings = [FactFinding(fact, fact.expected, FactVerdict.HOLDS, "", 0.1) for fact in facts.all_facts()]
    findings += [FactFinding(fact, "something else", FactVerdict.DIFFERS, "", 0.1) for fact in facts.all_facts()[::5]]
    text = rendered(findings, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_differences_are_highlighted() -> None:
    lines = rendered(FINDINGS, 100, color=True).splitlines()
    assert any("\x1b[1;31mdiffers" in line for line in lines)
    assert not any("\x1b[1;31m" in line for line in lines if "1.1" in line)


def test_brackets_in_a_fact_are_not_markup() -> None:
    finding = FactFinding(make("1.1"), "[red]::1[/red]", FactVerdict.DIFFERS, "", 0.1)
    assert "[red]::1[/red]" in "".join(rendered([finding], 100).split())


def test_the_list_names_every_fact() -> None:
    out = io.StringIO()
    facts.render_list(facts.all_facts(), Console(file=out, width=100))
    numbers = [line.split()[0] for line in out.getvalue().splitlines() if re.match(r"\d", line)]
    assert numbers == [fact.number for fact in facts.all_facts()]
