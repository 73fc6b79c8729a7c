"""Each line belongs to one piece, or is unread; formats are found by their lines, in any order."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain import evidence as evidence_module
from loadgen.explain import text
from loadgen.explain.evidence import Evidence, Piece, Unread
from loadgen.explain.formats import FORMATS, Format
from tests import listings


@dataclass
class LettersReader:
    """Takes neighbouring lines that begin with one letter; a line of "?" behind it is known to be unreadable."""

    evidence: Evidence
    file: str
    letter: str
    what: str = ""
    taken: list[int] = field(default_factory=list)

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        while at < len(lines) and lines[at].startswith(self.letter):
            if lines[at] == f"{self.letter}?":
                self.evidence.note_unread(self.file, first + at, first + at, "no answer")
            self.taken.append(first + at)
            at += 1
        return at

    def finish(self) -> None:
        self.what = f"{len(self.taken)} lines"


def letters(letter: str) -> Format:
    return Format(
        name=letter,
        covers=letter,
        begins=lambda line: line.startswith(letter),
        reader=lambda evidence, file: LettersReader(evidence, file, letter),
    )


AB = (letters("a"), letters("b"))


def test_pieces_and_what_is_between_them() -> None:
    found = listings.read("x\na1\na2\nb1\n\ny\n\nz\n\na3\n", formats=AB)
    assert found.pieces == [
        Piece("a", "2 lines", "-", 2, 3),
        Piece("b", "1 lines", "-", 4, 4),
        Piece("a", "1 lines", "-", 10, 10),
    ]
    assert found.unread == [Unread("-", 1, 1), Unread("-", 6, 8)]


def test_lines_that_a_format_cannot_read_stand_in_the_order_of_their_lines() -> None:
    found = listings.read("x\na?\na?\nx\n", formats=AB)
    assert found.unread == [Unread("-", 1, 1), Unread("-", 2, 3, "no answer"), Unread("-", 4, 4)]


def test_empty_lines_alone_are_nothing() -> None:
    found = listings.read("\n \n\t\n", formats=AB)
    assert (found.pieces, found.unread) == ([], [])


def test_a_format_that_begins_and_takes_nothing_leaves_the_line_to_the_next() -> None:
    hasty = Format("hasty", "", lambda _: True, letters("nothing").reader)
    found = listings.read("a1\nx\n", formats=(hasty, *AB))
    assert ([piece.format for piece in found.pieces], found.unread) == (["a"], [Unread("-", 2, 2)])


def test_a_piece_goes_on_behind_empty_lines_and_ends_before_what_is_not_its_own() -> None:
    found = listings.read("a1\n\n\na2\n\nb1\n\nx\n", formats=AB)
    assert [(piece.what, piece.first, piece.last) for piece in found.pieces] == [("2 lines", 1, 4), ("1 lines", 6, 6)]
    assert found.unread == [Unread("-", 8, 8)]


@pytest.mark.parametrize("block", [4, 5, 9])
def test_a_piece_goes_on_through_all_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_BLOCK", block)
    found = listings.read("a1\na2\na3\na4\nx\nx\nb1\n", formats=AB)
    assert [(piece.what, piece.first, piece.last) for piece in found.pieces] == [("4 lines", 1, 4), ("1 lines", 7, 7)]
    assert found.unread == [Unread("-", 5, 6)]


@given(st.lists(st.sampled_from(["a", "b", "x", ""]), max_size=30), st.integers(4, 20))
def test_each_line_is_in_one_piece_or_unread_or_empty(lines: list[str], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_BLOCK", block)
        found = listings.read("".join(f"{line}\n" for line in lines), formats=AB)
    filled = {number for number, line in enumerate(lines, 1) if line}
    owner = {
        number: piece.format for piece in found.pieces for number in filled & {*range(piece.first, piece.last + 1)}
    }
    unread = {number for one in found.unread for number in range(one.first, one.last + 1)}
    assert {number: line for number, line in enumerate(lines, 1) if line in ("a", "b")} == owner
    assert {number for number, line in enumerate(lines, 1) if line == "x"} <= unread
    assert not unread & owner.keys()


def test_a_file_of_which_every_other_line_is_unread_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "UNREAD_MAX", 3)
    monkeypatch.setattr(evidence_module, "PIECES_MAX", 2)
    found = listings.read("a\nx\nx\n" * 5, formats=AB)
    assert (len(found.unread), found.more_unread, len(found.pieces), found.more_pieces) == (3, 4, 2, 3)


def test_garbage_is_collected_as_before_afterwards() -> None:
    before = gc.get_threshold()
    listings.read("a\n", formats=AB)
    broken = Format("broken", "", lambda line: line[9] == "", letters("a").reader)
    with pytest.raises(IndexError):
        listings.read("a\n", formats=(broken,))
    assert gc.get_threshold() == before


@given(st.binary(max_size=300))
def test_any_bytes_give_evidence_and_no_exception(data: bytes) -> None:
    """Of all formats that there are."""
    found = listings.read(data, formats=FORMATS)
    ranges = [(one.first, one.last) for one in found.unread] + [(one.first, one.last) for one in found.pieces]
    assert all(0 < first <= last for first, last in ranges)
