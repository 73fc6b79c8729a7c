"""The channel between the orchestrator and a process: whole messages, and an end that is noticed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.processes.link import Link


@pytest.fixture
def ends() -> Iterator[tuple[Link, Link]]:
    ours, theirs = Link.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_stay_apart_and_in_order_in_both_directions(ends: tuple[Link, Link]) -> None:
    for sender, receiver in (ends, ends[::-1]):
        for number in range(5):
            assert sender.send(do="start", at_ns=number, text="é\n") is True
        assert [receiver.receive() for _ in range(5)] == [
            {"do": "start", "at_ns": number, "text": "é\n"} for number in range(5)
        ]


@settings(max_examples=30)
@given(st.dictionaries(st.text("abc", min_size=1), st.integers(-(2**63), 2**63) | st.text() | st.none()))
def test_a_message_arrives_as_it_was_sent(message: dict[str, int | str | None]) -> None:
    ours, theirs = Link.pair()
    assert ours.send(**message)
    assert theirs.receive() == message
    ours.close()
    theirs.close()


def test_a_long_message_is_whole(ends: tuple[Link, Link]) -> None:
    """As long as the reason why a worker failed may ever be."""
    ours, theirs = ends
    assert ours.send(text="x" * 100_000)
    assert theirs.receive() == {"text": "x" * 100_000}


def test_what_was_sent_before_the_end_is_read_before_the_end(ends: tuple[Link, Link]) -> None:
    ours, theirs = ends
    ours.send(report="drained")
    ours.close()
    assert [theirs.receive() for _ in range(3)] == [{"report": "drained"}, None, None]


def test_nobody_is_there_to_read(ends: tuple[Link, Link]) -> None:
    ours, theirs = ends
    theirs.close()
    assert ours.send(do="stop") is False
    assert ours.receive() is None


def test_the_other_side_died_without_reading(ends: tuple[Link, Link]) -> None:
    """Then the kernel says ECONNRESET instead of an end of file (unix(7))."""
    ours, theirs = ends
    ours.send(do="start")
    theirs.close()
    assert ours.receive() is None
    assert ours.send(do="stop") is False


def test_an_end_can_be_handed_over_by_its_descriptor(ends: tuple[Link, Link]) -> None:
    ours, theirs = ends
    copy = Link(socket.socket(fileno=socket.dup(theirs.fileno())))
    theirs.close()
    ours.send(do="start")
    assert copy.receive() == {"do": "start"}
    copy.close()
    assert ours.receive() is None
