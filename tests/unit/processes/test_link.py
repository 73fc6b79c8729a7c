"""The channel between the orchestrator and a process: complete messages, and detection of its end."""

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


def test_an_end_is_known_by_its_descriptor_without_a_question() -> None:
    """strace cannot show it here: the object has what it was told and not what the kernel says."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    link = Link.at(theirs.detach())
    assert link._sock.type is socket.SOCK_SEQPACKET
    assert link.send(do="start")
    assert ours.recv(100) == b'{"do": "start"}'
    ours.close()
    link.close()


@settings(max_examples=30)
@given(st.dictionaries(st.text("abc", min_size=1), st.integers(-(2**63), 2**63) | st.text() | st.none()))
def test_a_message_arrives_unchanged(message: dict[str, int | str | None]) -> None:
    ours, theirs = Link.pair()
    assert ours.send(**message)
    assert theirs.receive() == message
    ours.close()
    theirs.close()


def test_a_long_message_arrives_complete(ends: tuple[Link, Link]) -> None:
    """Its length is the maximum of the reason why a worker failed."""
    ours, theirs = ends
    assert ours.send(text="x" * 100_000)
    assert theirs.receive() == {"text": "x" * 100_000}


def test_messages_sent_before_the_end_are_received(ends: tuple[Link, Link]) -> None:
    ours, theirs = ends
    ours.send(report="drained")
    ours.close()
    assert [theirs.receive() for _ in range(3)] == [{"report": "drained"}, None, None]


def test_sending_to_a_closed_end_returns_false(ends: tuple[Link, Link]) -> None:
    ours, theirs = ends
    theirs.close()
    assert ours.send(do="stop") is False
    assert ours.receive() is None


def test_the_other_side_exited_with_messages_unread(ends: tuple[Link, Link]) -> None:
    """Then the kernel reports ECONNRESET instead of an end of file (unix(7))."""
    ours, theirs = ends
    ours.send(do="start")
    theirs.close()
    assert ours.receive() is None
    assert ours.send(do="stop") is False


def test_an_end_can_be_passed_on_as_a_descriptor(ends: tuple[Link, Link]) -> None:
    ours, theirs = ends
    copy = Link(socket.socket(fileno=socket.dup(theirs.fileno())))
    theirs.close()
    ours.send(do="start")
    assert copy.receive() == {"do": "start"}
    copy.close()
    assert ours.receive() is None
