"""A comparison on a terminal: at any width, and never a claim without its caveats."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from loadgen.compare.comparable import Side, Subject
from loadgen.compare.comparison import CompareResult, Group, compare
from loadgen.views.text import compare as compare_text
from tests import samples


def subject(name: str, rate: float = 1000.0, **changes: Any) -> Subject:
    rates = {"rate_per_s.established_mean": rate, "rate_per_s.established_peak": rate}
    return samples.subject(name, {**rates, **changes})


def result(*sides: tuple[Subject, ...]) -> CompareResult:
    base, *others = (Side(label, runs) for label, runs in zip("ABC", sides, strict=False))
    names = {label: ",".join(one.name for one in runs) for label, runs in zip("ABC", sides, strict=False)}
    return CompareResult(names, (Group(tuple(compare(base, other) for other in others)),))


def plain(found: CompareResult, width: int = 80) -> list[str]:
    return [line for _, line in compare_text.lines(found, width)]


def test_the_verdict_comes_first_then_who_is_who() -> None:
    said = plain(result((subject("results/a"),), (subject("results/b", 100.0),)))
    assert said[0].startswith("B is worse than A: rate 100/s instead of 1,000/s (-90 %).")
    assert "A (base)     results/a" in said
    assert "B            results/b" in said
    assert "differs      nothing in scenario, plan and host" in said
    (rate,) = [line for line in said if line.startswith("rate ")]
    assert rate.split() == ["rate", "1,000/s", "100/s", "-90.0", "%", "worse"]


@pytest.mark.parametrize("width", [60, 72, 80, 100])
def test_it_fits(width: int) -> None:
    runs = tuple(subject(f"results/run-{n}", 1000.0 + n) for n in range(3))
    others = tuple(
        replace(subject(f"results/other-{n}", 123456.7 + n), host=samples.host({"kernel": "6.2"})) for n in range(3)
    )
    said = plain(result(runs, others), width)
    assert all(len(line) <= width for line in said)
    assert any("better (!)" in line for line in said), "what matters most is never cut"


def test_a_range_where_there_is_room() -> None:
    found = result((subject("a", 1000.0), subject("b", 1100.0)), (subject("c", 1000.0),))
    assert any("1,050/s (1,000/s to 1,100/s)" in line for line in plain(found, 100))
    assert not any(" to 1,100/s" in line for line in plain(found, 60))


def test_directories_stay_in_one_piece() -> None:
    said = plain(result((subject("results/" + "x" * 80), subject("results/y")), (subject("b"),)), 60)
    assert f"A (base)     results/{'x' * 80}" in said
    assert "             results/y" in said


def test_a_claim_with_caveats_is_marked_on_its_line() -> None:
    doubtful = subject("b", 10.0, **{"generator.trustworthy": False, "generator.reasons": ["late"]})
    said = plain(result((subject("a"),), (doubtful,)))
    assert any(line.startswith("caveats      b was limited by loadgen itself") for line in said)
    claims = [line for line in said if line.endswith(("better", "worse", "changed", "(!)"))]
    assert claims
    assert all(line.endswith(" (!)") for line in claims)
    assert any(line.endswith("same") for line in said), "there is no doubt about what is the same"


def test_several_others_have_a_table_each() -> None:
    said = plain(result((subject("a"),), (subject("b", 10.0),), (subject("c"),)))
    heads = [line.split() for line in said if line.startswith("figure")]
    assert heads == [["figure", "A", "B", "change"], ["figure", "A", "C", "change"]]
    assert any(line.startswith("C and A have the same figures") for line in said)


def test_cells_have_their_settings_above_them() -> None:
    one = result((subject("a"),), (subject("b"),)).groups[0]
    groups = tuple(replace(one, settings={"sources.strategy": value}) for value in ("late", "kernel"))
    said = plain(CompareResult({"A": "a", "B": "b"}, groups, ("strategy bind: run in A only",)))
    assert [line for line in said if line.startswith("strategy ")] == ["strategy late", "strategy kernel"]
    assert "left out     strategy bind: run in A only" in said


def test_of_many_cells_only_what_differs_is_shown() -> None:
    one = result((subject("a"),), (replace(subject("b", 10.0), scenario={f"key{n}": n for n in range(9)}),)).groups[0]
    two = result((subject("a"),), (subject("b"),)).groups[0]
    groups = (replace(one, settings={"connections": 1}), replace(two, settings={"connections": 2}))
    found = CompareResult({"A": "a", "B": "b"}, groups)
    said = plain(found)
    rows = len(two.comparisons[0].rows)
    figures = [line for line in said if line.endswith(("worse", "changed", "same", "within noise"))]
    assert [line.split()[0] for line in figures] == ["rate", "peak", str(rows - 2), str(rows)]
    assert "             and 7 more; --json has all of them" in said


def test_many_differences_are_counted() -> None:
    other = replace(subject("b"), scenario={f"key{n}": n for n in range(40)})
    said = " ".join(" ".join(plain(result((subject("a"),), (other,)))).split())
    assert "scenario key0: not set -> 0" in said
    assert "and 29 more; --json has all of them" in said


def test_other_peoples_names_drive_no_terminal() -> None:
    out = io.StringIO()
    compare_text.render(result((subject("a\x1b[31m"),), (subject("b\u202e", 1.0),)), Console(file=out, width=80))
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()
