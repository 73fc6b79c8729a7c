"""A line is offered to the formats that may begin with it, and to no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.explain import dispatch, text
from loadgen.explain.dispatch import Dispatch
from loadgen.explain.evidence import Evidence
from loadgen.explain.formats import FORMATS, Format

TESTS = Path(__file__).parents[2]
PASTED = sorted(
    path
    for folder in (TESTS / "data" / "explain", TESTS / "evidence")
    for path in folder.rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc", ".gz", ".xz", ".tar")
)


def lines_of(path: Path) -> list[str]:
    """The lines of a file, as the reader gets them."""
    with path.open("rb") as stream:
        return [line for block in text.lines(stream) for line in block]


LINES = sorted({line for path in PASTED for line in lines_of(path) if line.strip()})


def left_out(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Formats that would begin with a line and are not asked, each with the line."""
    asked = Dispatch(FORMATS)
    return [
        (one.name, line)
        for at, line in enumerate(lines)
        if line.strip()
        for one in set(FORMATS) - set(asked.candidates(lines, at))
        if one.begins(line)
    ]


def test_no_pasted_line_is_kept_from_a_format_that_begins_with_it() -> None:
    assert len(LINES) > 2_000
    assert not left_out(LINES)


@given(st.lists(st.text(max_size=80).filter(str.strip), max_size=5))
@example(["\u0664: 0100007F:1538 00000000:0000 0A"])
@example(["\u2022 net.ipv4.tcp_tw_reuse = 1"])
def test_no_text_is_kept_from_a_format_that_begins_with_it(lines: list[str]) -> None:
    assert not left_out(lines)


@given(st.data())
def test_no_damaged_line_is_kept_from_a_format_that_begins_with_it(data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(LINES))
    at, end = data.draw(st.integers(0, len(line))), data.draw(st.integers(0, len(line)))
    between = data.draw(st.sampled_from(["", " ", "\t", "\u00a0", "1", "\u0661", "K", "\u212a", "(", ": ", "'"]))
    assert not left_out([line[:at] + between + line[end:]])


@given(st.lists(st.sampled_from(LINES), max_size=20))
def test_each_line_is_judged_by_itself(lines: list[str]) -> None:
    """Whatever stands around it, and wherever the search for words began."""
    together, singly = Dispatch(FORMATS), Dispatch(FORMATS)
    assert [together.candidates(lines, at) for at in range(len(lines))] == [
        singly.candidates(lines, at) for at in reversed(range(len(lines)))
    ][::-1]


def test_formats_are_asked_in_their_order() -> None:
    found = Dispatch(FORMATS).candidates(["0: connect(3, ECONNREFUSED) kernel: "], 0)
    assert list(found) == [one for one in FORMATS if one in found]
    assert len(found) > 3


def test_a_line_of_a_log_is_offered_to_few() -> None:
    line = '2026-11-20 06:00:01.123 INFO [exec-7] c.a.Orders - Order 17 accepted in 12 ms, "OK"'
    assert len(Dispatch(FORMATS).candidates([line], 0)) < len(FORMATS) // 2


def made(name: str, heads: frozenset[str] | None, *words: str) -> Format:
    """A format that is only asked."""

    def unused(evidence: Evidence, file: str) -> None:
        raise AssertionError(evidence, file)

    return Format(name, "", bool, unused, heads=heads, words=frozenset(words))  # type: ignore[arg-type]


NARROW = made("narrow", frozenset("a0"))
WORDY = made("wordy", frozenset(), "refused")
BOTH = made("both", frozenset("#"), "timed out")
ANY = made("any", None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\t a line", [NARROW, ANY]),
        ("\u0664 in Arabic digits", [NARROW, ANY]),
        ("Connection REFUSED", [WORDY, ANY]),
        ("# refused", [WORDY, BOTH, ANY]),
        ("it timed out", [BOTH, ANY]),
        ("\u00fcber", [ANY]),
    ],
)
def test_heads_and_words_of_a_format(line: str, expected: list[Format]) -> None:
    assert list(Dispatch((NARROW, WORDY, BOTH, ANY)).candidates([line], 0)) == expected


def test_long_runs_are_searched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_LINES", 3)
    monkeypatch.setattr(dispatch, "_CHARACTERS", 20)
    lines = ["refused", "x" * 15, "y", "z", "refused", "q" * 50, "refused"]
    asked = Dispatch((WORDY,))
    assert [bool(asked.candidates(lines, at)) for at in range(7)] == [True, False, False, False, True, True, True]
