"""Lines for a terminal: wrapped, labelled, and styled without a change of a letter."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from loadgen.format import visible
from loadgen.views.text import layout


@given(st.text(max_size=300), st.integers(30, 100))
def test_a_paragraph_keeps_to_its_width_and_drives_no_terminal(text: str, width: int) -> None:
    for line in layout.wrapped(text, "label  ", width):
        assert len(line) <= width
        assert line == visible(line)
        assert not set("\n\t") & set(line)


def test_a_label_stands_before_the_first_line() -> None:
    assert layout.labelled("sources", "one two three", 22, "bad") == [
        ("bad", "sources      one two"),
        ("bad", "             three"),
    ]
    assert layout.labelled("empty", "", 60) == [("", "empty")]


def test_several_texts_share_a_label() -> None:
    assert layout.listed("notes", ["a", "b"], 60) == [("", "notes        a"), ("", "             b")]
    assert layout.numbered("remedies", ["a", "b"], 60) == [("", "remedies     1. a"), ("", "             2. b")]


@pytest.mark.parametrize(("width", "expected"), [(20, 40), (80, 80), (200, 100)])
def test_lines_are_neither_too_short_nor_too_long(width: int, expected: int) -> None:
    assert layout.width_of(Console(file=io.StringIO(), width=width)) == expected
    assert layout.width_of(Console(file=io.StringIO(), width=width), 140) == min(max(width, 40), 140)


@pytest.mark.parametrize("tone", layout.STYLES)
def test_a_style_changes_no_letter(tone: str) -> None:
    file = io.StringIO()
    layout.show([(tone, "label        [b]text[/b] :smile:")], Console(file=file, width=20, force_terminal=False))
    assert file.getvalue() == "label        [b]text[/b] :smile:\n"


def shown(count: int, **options: Any) -> list[str]:
    file = io.StringIO()
    made = Console(file=file, width=80, height=10, color_system=None, **options)
    layout.show([("", f"line {number}") for number in range(count)], made, verdict="no limit was met")
    return file.getvalue().splitlines()


def test_a_verdict_that_scrolls_away_is_said_once_more() -> None:
    assert shown(9, force_terminal=True)[-1] == "line 8", "all of it is seen, and a prompt below"
    assert shown(10, force_terminal=True)[-2:] == ["line 9", "verdict      no limit was met"]
    assert shown(100)[-1] == "line 99", "whoever reads a file begins at its head"


def test_the_log_of_a_ci_job_ends_with_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert shown(30)[-1] == "verdict      no limit was met"
    assert shown(12)[-1] == "line 11"
