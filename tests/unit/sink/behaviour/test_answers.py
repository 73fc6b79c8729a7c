"""Answers that wait: in order, in parts, and what they take of memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.sink.behaviour.answers import Filler, PendingAnswers

pieces = st.binary(max_size=20) | st.integers(0, 200_000).map(Filler)


@given(st.lists(pieces), st.integers(1, 100_000))
def test_pieces_come_out_whole_and_in_order_in_parts_of_the_room(added: list[bytes | Filler], room: int) -> None:
    answers = PendingAnswers()
    for piece in added:
        answers.add(5, piece)
    assert len(answers) == sum(len(piece) > 0 for piece in added)
    parts = list(iter(lambda: bytes(answers.take(5, room)), b""))
    assert b"".join(parts) == b"".join(map(bytes, added))
    assert max(map(len, parts), default=0) <= max(room, 20)
    assert (len(answers), answers.held) == (0, 0)


def test_a_piece_is_taken_when_it_is_due() -> None:
    answers = PendingAnswers()
    answers.add(5, b"a")
    answers.add(7, Filler(1))
    assert answers.take(4, 10) == b""
    assert answers.due_ns == 5
    assert answers.take(6, 10) == b"a"
    assert answers.due_ns == 7
    assert answers.take(6, 10) == b""
    assert answers.take(7, 10) == b"x"


def test_a_body_takes_no_memory_and_every_piece_some() -> None:
    answers = PendingAnswers()
    answers.add(0, Filler(1 << 40))
    assert 0 < answers.held < 1_000
    small = answers.held
    answers.add(0, b"x" * 10_000)
    assert answers.held == 2 * small + 10_000
    answers.clear()
    assert (answers.held, answers.due_ns) == (0, None)
