"""Lines for a terminal: wrapped, labelled, and styled without a change of a letter."""

from __future__ import annotations

import io

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


@pytest.mark.parametrize(("width", "expected"), [(40, 60), (80, 80), (200, 100)])
def test_lines_are_neither_too_short_nor_too_long(width: int, expected: int) -> None:
    assert layout.width_of(Console(file=io.StringIO(), width=width)) == expected
    assert layout.width_of(Console(file=io.StringIO(), width=width), 140) == min(max(width, 60), 140)


@pytest.mark.parametrize("tone", layout.STYLES)
def test_a_style_changes_no_letter(tone: str) -> None:
    file = io.StringIO()
    layout.show([(tone, "label        [b]text[/b] :smile:")], Console(file=file, width=20, force_terminal=False))
    assert file.getvalue() == "label        [b]text[/b] :smile:\n"
