"""The books of connections that make exchanges, with sockets that only pretend to connect; see tests/lab as well."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from loadgen.clock import now_ns
from loadgen.model import CloseMode, Endpoint, Heartbeat
from loadgen.outcomes import describe
from loadgen.protocols import LastReply, ReplyReader
from loadgen.results.block import consistent_totals
from loadgen.worker.epoll.connector import READ_SIZE
from loadgen.worker.epoll.exchange import REPLY_MAX
from loadgen.worker.settings import churn, hold


@dataclass(frozen=True)
class Line:
    """A line, numbered unless it is empty, and another line back that begins with "ok"."""

    text: bytes = b"ask %d\n"

    def request(self, number: int) -> bytes:
        return self.text % number if b"%" in self.text else self.text

    def reply(self, request: bytes, received: bytes) -> bool | None:
        assert request == self.text or b"%" in self.text
        return received.startswith(b"ok") if received.endswith(b"\n") else None


Make = Callable[..., Any]


@pytest.fixture
def make(make: Make) -> Make:
    """Make a stage whose connections exchange lines."""
    return partial(make, exchange=Line())


def churning(exchanges: int = 1, close: CloseMode = CloseMode.FIN) -> dict[str, Any]:
    """Return what a stage in churn is made with."""
    schedule = churn(close, exchanges=exchanges, open_max=5, searched_ports=9)
    return {"schedule": schedule, "close": close}


# --- Held: one exchange as soon as it is open -----------------------------------------------------


def test_a_connection_makes_one_exchange_and_is_held(make: Make) -> None:
    stage = make()
    stage.connector.open_batch((0,) * 2)
    assert [stage.heard(0), stage.heard(1)] == [b"ask 0\n", b"ask 1\n"]
    assert (stage.lifecycle.idle, stage.lifecycle.room) == (False, 8)
    stage.say(b"ok\n", 1)
    assert (stage.replies, stage.lifecycle.idle, stage.lifecycle.room) == (1, False, 9)
    stage.say(b"ok\n")
    assert (stage.replies, stage.lifecycle.idle, stage.lifecycle.room) == (2, True, 10)
    assert (stage.recorder.open, stage.recorder.lost, stage.heard()) == (2, 0, b"nothing")


def test_one_that_was_answered_late_makes_it_too(make: Make) -> None:
    stage = make(errno.EINPROGRESS, errno.EALREADY)
    stage.connector.open_batch((0,))
    assert (stage.recorder.in_flight, stage.lifecycle.room, stage.heard()) == (1, 9, b"nothing")
    stage.connector.drain_events()
    assert (stage.recorder.in_flight, stage.lifecycle.room, stage.heard()) == (0, 9, b"ask 0\n")
    stage.say(b"ok\n")
    assert stage.lifecycle.idle


def test_a_reply_may_come_in_pieces(make: Make) -> None:
    stage = make()
    stage.connector.open_batch((0,))
    for piece in (b"o", b"k", b" and more", b"\n"):
        assert stage.replies == 0
        stage.say(piece)
    assert (stage.replies, stage.recorder.wrong) == (1, 0)


def test_a_wrong_reply_ends_the_connection_as_planned(make: Make) -> None:
    stage = make()
    stage.connector.open_batch((0,))
    stage.say(b"no\n")
    assert (stage.recorder.wrong, stage.recorder.closed, stage.recorder.lost, stage.replies) == (1, 1, 0, 0)
    assert stage.lifecycle.idle
    assert stage.heard() == b"ask 0\n"
    assert stage.heard() == b""  # closed


def test_a_reply_that_does_not_end_is_wrong(make: Make) -> None:
    stage = make()
    stage.connector.open_batch((0,))
    stage.peers[0].setblocking(True)
    left = REPLY_MAX
    while left:
        stage.say(b"x" * min(left, 65536))
        left -= min(left, 65536)
    assert (stage.recorder.wrong, stage.recorder.open) == (0, 1)
    stage.say(b"x")
    assert (stage.recorder.wrong, stage.recorder.open) == (1, 0)


def test_the_other_side_may_speak_first(make: Make) -> None:
    stage = make(exchange=Line(b""))
    stage.connector.open_batch((0,))
    assert (stage.heard(), stage.lifecycle.idle) == (b"nothing", False)
    stage.say(b"ok, hello\n")
    assert (stage.replies, stage.lifecycle.idle) == (1, True)


def test_what_nobody_asked_for_is_thrown_away(make: Make) -> None:
    stage = make()
    stage.connector.open_batch((0,))
    stage.say(b"ok\n")
    stage.say(b"no\n")
    assert (stage.replies, stage.recorder.wrong, stage.recorder.open) == (1, 0, 1)


def length_heard(stage: Any) -> int:
    """Return how many bytes have come at the other end, which reads on as long as there is more to send."""
    heard = 0
    for _ in range(100):
        heard += len(stage.heard().removesuffix(b"nothing"))
        stage.connector.drain_events()
    return heard


def test_a_request_that_does_not_fit_is_sent_bit_by_bit(make: Make) -> None:
    stage = make(exchange=Line(b"x" * 900_000))
    stage.connector.open_batch((0,))
    assert (length_heard(stage), stage.recorder.lost) == (900_000, 0)
    stage.say(b"ok\n")
    assert stage.replies == 1


def test_so_is_the_request_that_follows_a_reply(make: Make) -> None:
    stage = make(exchange=Line(b"x" * 900_000), **churning(2))
    stage.connector.open_batch((0,))
    for replies in (1, 2):
        assert (length_heard(stage), stage.recorder.lost) == (900_000, 0)
        stage.say(b"ok\n")
        assert stage.replies == replies


def test_an_exchange_that_takes_too_long_is_lost(make: Make) -> None:
    stage = make()
    stage.connector.open_batch((0,) * 2)
    stage.say(b"ok\n", 1)
    stage.connector.expire(now_ns())
    assert stage.recorder.lost == 0
    stage.connector.expire(now_ns() + 10**9)
    assert (stage.recorder.lost, stage.recorder.open, stage.lifecycle.idle) == (1, 1, True)


@pytest.mark.parametrize("settings", [{}, churning()])
def test_a_connection_that_ends_before_its_reply_is_lost(make: Make, settings: dict[str, Any]) -> None:
    stage = make(**settings)
    stage.connector.open_batch((0,))
    stage.heard()
    stage.peers[0].close()
    stage.connector.drain_events()
    assert (stage.recorder.lost, stage.recorder.closed, stage.lifecycle.idle) == (1, 0, True)


def test_nothing_to_say_is_nothing_to_wait_for(make: Make) -> None:
    stage = make(exchange=None)
    stage.connector.open_batch((0,) * 3)
    assert (stage.lifecycle.idle, stage.lifecycle.room, stage.recorder.open) == (True, 10, 3)


def test_a_bug_in_a_protocol_ends_the_worker_and_says_which(make: Make) -> None:
    class Faulty(Line):
        def reply(self, request: bytes, received: bytes) -> bool | None:
            raise KeyError(len(request + received))

    stage = make(exchange=Faulty())
    stage.connector.open_batch((0,))
    with pytest.raises(SystemExit, match=r"cannot read a reply: KeyError\(9\)"):
        stage.say(b"ok\n")
    without = make(exchange=Line(b"%z"))
    with pytest.raises(SystemExit, match="cannot make request 0: ValueError"):
        without.connector.open_batch((0,))


# --- Churn: so many exchanges, then the end -------------------------------------------------------


def test_so_many_exchanges_one_after_the_other_and_then_the_close(make: Make) -> None:
    stage = make(**churning(3))
    stage.connector.open_batch((0,))
    for number in range(3):
        assert stage.heard() == b"ask %d\n" % number
        assert (stage.recorder.closed, stage.lifecycle.room) == (0, 4)
        stage.say(b"ok\n")
    assert (stage.replies, stage.recorder.closed, stage.lifecycle.room, stage.heard()) == (3, 1, 5, b"")


def test_after_a_wrong_reply_there_are_no_more(make: Make) -> None:
    stage = make(**churning(3, CloseMode.TARGET))
    stage.connector.open_batch((0,))
    stage.say(b"no\n")
    assert (stage.recorder.wrong, stage.recorder.closed, stage.recorder.lost) == (1, 1, 0)


@pytest.mark.parametrize("close", list(CloseMode))
def test_at_the_end_of_the_duration_the_exchange_under_way_is_the_last(make: Make, close: CloseMode) -> None:
    """Whoever was to close first: the connection is closed from here, as planned."""
    stage = make(**churning(1000, close))
    stage.lifecycle.until_ns = now_ns() + 10**18
    stage.connector.open_batch((0,))
    stage.say(b"ok\n")
    assert (stage.replies, stage.recorder.closed, stage.heard()) == (1, 0, b"ask 0\nask 1\n")
    stage.lifecycle.until_ns = now_ns()
    stage.say(b"ok\n")
    assert (stage.replies, stage.recorder.closed, stage.recorder.lost, stage.lifecycle.idle) == (2, 1, 0, True)


def test_after_the_end_of_the_duration_the_last_exchange_ends_a_connection_as_ever(make: Make) -> None:
    """With `target` it waits for the other side, which closes after as many exchanges."""
    stage = make(**churning(1, CloseMode.TARGET))
    stage.lifecycle.until_ns = now_ns()
    stage.connector.open_batch((0,))
    stage.say(b"ok\n")
    assert (stage.replies, stage.recorder.closed, stage.lifecycle.idle, stage.heard()) == (1, 0, False, b"ask 0\n")
    stage.peers[0].close()
    stage.connector.drain_events()
    assert (stage.recorder.closed, stage.recorder.lost) == (1, 0)


def test_every_exchange_has_the_whole_timeout(make: Make) -> None:
    stage = make(**churning(2))
    stage.connector.open_batch((0,) * 2)
    begun_ns = now_ns()
    while now_ns() == begun_ns:
        pass
    stage.say(b"ok\n")
    stage.connector.expire(begun_ns + 10**9)
    assert stage.recorder.lost == 1  # the one that has waited since it was opened
    assert stage.recorder.open == 1


def test_all_that_end_in_one_turn_are_closed_and_counted_in_it(make: Make) -> None:
    stage = make(**churning())
    stage.connector.open_batch((0,) * 3)
    for peer in (stage.peers[0], stage.peers[2]):
        peer.sendall(b"ok\n")
    stage.connector.drain_events()
    assert (stage.replies, stage.recorder.closed, stage.recorder.open, stage.lifecycle.room) == (2, 2, 1, 4)
    assert [stage.heard(peer) for peer in range(3)] == [b"ask 0\n", b"ask 1\n", b"ask 2\n"]
    assert [stage.heard(peer) for peer in range(3)] == [b"", b"nothing", b""]


def test_the_target_may_close_with_its_last_reply(make: Make) -> None:
    stage = make(**churning(1, CloseMode.TARGET))
    stage.connector.open_batch((0,))
    stage.heard()
    stage.peers[0].sendall(b"ok\n")
    stage.peers[0].shutdown(socket.SHUT_WR)
    stage.connector.drain_events()
    assert (stage.replies, stage.recorder.closed, stage.recorder.lost, stage.lifecycle.idle) == (1, 1, 0, True)


@dataclass(frozen=True)
class SecondIsLong(Line):
    """The second request of all does not fit into a socket's buffer."""

    def request(self, number: int) -> bytes:
        return super().request(number).rjust(900_000 if number == 1 else 0, b".")


def test_a_reply_to_half_a_request_leaves_nothing_to_the_next_connection(make: Make) -> None:
    """Which gets the same descriptor."""
    stage = make(exchange=SecondIsLong(), **churning(2))
    stage.connector.open_batch((0,))
    stage.say(b"ok\n")
    stage.say(b"ok\n")
    assert (stage.replies, stage.recorder.closed) == (2, 1)
    stage.connector.open_batch((0,))
    stage.say(b"ok\n", 1)
    assert stage.heard(1) == b"ask 2\nask 3\n"
    stage.say(b"ok\n", 1)
    assert (stage.replies, stage.recorder.closed, stage.recorder.lost) == (4, 2, 0)


# --- Heartbeat: again and again -------------------------------------------------------------------


def test_a_beat_that_is_answered_wrongly_is_counted_and_the_next_one_sent(make: Make) -> None:
    stage = make(schedule=hold(Heartbeat(1.0, 1.0)))
    stage.connector.open_batch((0,))
    assert (stage.lifecycle.idle, stage.heard()) == (True, b"nothing")
    stage.connector.heartbeat.begin(0)
    for second in (1, 2):
        stage.connector.heartbeat.beat(second * 10**9)
        assert stage.heard() == b"ask %d\n" % (second - 1)
        stage.say(b"no\n")
    assert (stage.recorder.beats, stage.recorder.wrong, stage.recorder.open, stage.recorder.missed) == (2, 2, 1, 0)


def test_a_beat_waits_for_a_request_that_is_still_being_sent(make: Make) -> None:
    stage = make(schedule=hold(Heartbeat(1.0, 1.0)), exchange=Line(b"x" * 900_000))
    stage.connector.open_batch((0,))
    stage.connector.heartbeat.begin(0)
    for second in (1, 2, 3):
        stage.connector.heartbeat.beat(second * 10**9)
    assert (stage.recorder.beats, stage.recorder.missed) == (1, 2)
    got = 0
    for _ in range(100):
        got += len(stage.heard().removesuffix(b"nothing"))
        stage.connector.drain_events()
    assert got == 900_000
    stage.say(b"ok\n")
    assert stage.replies == 1


# --- Replies that are read piece by piece, and replies that are the last ----------------------------


class Lines:
    """Reads a line piece by piece: "ok" is right; "last ..." is the last one; "?" is no line."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def read(self, data: bytes) -> bool | LastReply | None:
        self.pieces.append(data)
        line = b"".join(self.pieces)
        if b"?" in line:
            return LastReply.UNREADABLE
        if not line.endswith(b"\n"):
            return None
        right = b"ok" in line
        return (LastReply.RIGHT if right else LastReply.WRONG) if line.startswith(b"last") else right

    def end(self) -> bool | None:
        return True if self.pieces == [b"ok", b" till the end"] else None


@dataclass(frozen=True)
class Read(Line):
    """Each reply is left to a reader of its own."""

    def reply(self, request: bytes, received: bytes) -> bool | LastReply | ReplyReader | None:  # type: ignore[override]
        assert request
        reader = Lines()
        verdict = reader.read(received)
        return reader if verdict is None else verdict

    def last_request(self, number: int) -> bytes:
        return b"last %d\n" % number


def ends_of(stage: Any) -> tuple[int, int, dict[tuple[str, str], int]]:
    """Return the connections closed as planned, the wrong replies, and what connections were lost by."""
    stage.recorder.publish()
    errors = consistent_totals(stage.block)["errors"]
    kinds = {slot: describe(int(stage.block["error_keys"][slot])) for slot in errors.nonzero()[0]}
    lost = {(kind.syscall, kind.errno): int(errors[slot]) for slot, kind in kinds.items()}
    return stage.recorder.closed, stage.recorder.wrong, lost


def test_a_connection_whose_next_request_cannot_be_sent_is_lost(make: Make) -> None:
    stage = make(**churning(3))
    stage.connector.open_batch((0,))
    stage.peers[0].sendall(b"ok\n")
    stage.peers[0].close()
    stage.connector.drain_events()
    assert (stage.replies, ends_of(stage)) == (1, (0, 0, {("send", "EPIPE"): 1}))


def test_a_reader_takes_the_pieces_and_is_gone_with_its_reply(make: Make) -> None:
    stage = make(exchange=Read(), **churning(2))
    stage.connector.open_batch((0,))
    for piece in (b"o", b"k", b" and more", b"\n", b"ok"):
        stage.say(piece)
    assert (stage.replies, stage.recorder.wrong, stage.recorder.closed) == (1, 0, 0)
    stage.say(b"\n")
    assert (stage.replies, ends_of(stage)) == (2, (1, 0, {}))


@pytest.mark.parametrize(
    ("settings", "said", "replies", "ends"),
    [
        ({}, b"last ok\n", 1, (0, 0, {("recv", "EOF"): 1})),
        ({}, b"last\n", 0, (1, 1, {})),
        ({}, b"?", 0, (0, 1, {("recv", "EPROTO"): 1})),
        (churning(1), b"last ok\n", 1, (1, 0, {})),
        (churning(2), b"last ok\n", 1, (0, 0, {("recv", "EOF"): 1})),
        (churning(2), b"last\n", 0, (1, 1, {})),
        (churning(1, CloseMode.TARGET), b"last ok\n", 1, (0, 0, {})),  # the end of file is still to come
        (churning(1, CloseMode.TARGET), b"?", 0, (0, 1, {("recv", "EPROTO"): 1})),
    ],
)
@pytest.mark.parametrize("cut", [0, 1])
def test_after_the_last_reply_a_connection_can_do_no_more(
    make: Make, settings: dict[str, Any], said: bytes, replies: int, ends: Any, cut: int
) -> None:
    stage = make(exchange=Read(), **settings)
    stage.connector.open_batch((0,))
    for piece in (said[:cut], said[cut:]):
        if piece:
            stage.say(piece)
    assert (stage.replies, ends_of(stage)) == (replies, ends)


#: What becomes of a connection whose other side sends an end of file after a reply.
END_OF_FILE_AFTER_A_REPLY = pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({}, (0, 0, {("recv", "EOF"): 1})),
        (churning(1), (1, 0, {})),
        (churning(1, CloseMode.TARGET), (1, 0, {})),
        (churning(2), (0, 0, {("recv", "EOF"): 1})),
    ],
)


@END_OF_FILE_AFTER_A_REPLY
@pytest.mark.parametrize(("pieces", "replies"), [((b"ok", b" till the end"), 1), ((b"ok", b" till"), 0)])
def test_the_end_of_file_may_be_the_end_of_the_reply(
    make: Make, settings: dict[str, Any], ends: Any, pieces: Sequence[bytes], replies: int
) -> None:
    stage = make(exchange=Read(), **settings)
    stage.connector.open_batch((0,))
    for piece in pieces:
        stage.say(piece)
    stage.heard()
    stage.peers[0].close()
    stage.connector.drain_events()
    assert stage.replies == replies
    assert ends_of(stage) == (ends if replies else (0, 0, {("recv", "EOF"): 1}))
    assert stage.lifecycle.idle


@END_OF_FILE_AFTER_A_REPLY
def test_a_reply_and_the_end_of_file_behind_it_are_one_event(make: Make, settings: dict[str, Any], ends: Any) -> None:
    stage = make(**settings)
    stage.connector.open_batch((0,))
    stage.heard()
    stage.peers[0].sendall(b"ok\n")
    stage.peers[0].shutdown(socket.SHUT_WR)
    stage.connector.drain_events()
    assert (stage.replies, ends_of(stage)) == (1, ends)


def test_an_end_of_file_behind_more_than_is_read_at_once_is_not_taken_for_the_next(make: Make) -> None:
    stage = make()
    stage.connector.open_batch((0,))
    stage.heard()
    stage.peers[0].setblocking(True)
    stage.peers[0].sendall(b"ok" + b"x" * (READ_SIZE - 2) + b"\n")
    stage.peers[0].shutdown(socket.SHUT_WR)
    stage.connector.drain_events()
    assert (stage.replies, stage.recorder.open) == (0, 1)
    stage.connector.drain_events()
    assert (stage.replies, stage.recorder.lost) == (1, 1)


@pytest.mark.parametrize(
    ("said", "replies", "ends"),
    [
        (b"last ok\n", 1, (0, 0, {("recv", "EOF"): 1})),
        (b"last\n", 0, (0, 1, {("recv", "EOF"): 1})),
        (b"?", 0, (0, 1, {("recv", "EPROTO"): 1})),
    ],
)
def test_a_beat_whose_reply_is_the_last_loses_the_connection(make: Make, said: bytes, replies: int, ends: Any) -> None:
    stage = make(exchange=Read(), schedule=hold(Heartbeat(1.0, 1.0)))
    stage.connector.open_batch((0,))
    stage.connector.heartbeat.begin(0)
    stage.connector.heartbeat.beat(10**9)
    stage.say(said)
    assert (stage.replies, ends_of(stage)) == (replies, ends)


@pytest.mark.parametrize(("close", "last"), [(CloseMode.TARGET, b"last 1\n"), (CloseMode.FIN, b"ask 1\n")])
def test_the_last_request_before_the_target_is_to_close_may_say_so(make: Make, close: CloseMode, last: bytes) -> None:
    stage = make(exchange=Read(), **churning(2, close))
    stage.connector.open_batch((0,))
    assert stage.heard() == b"ask 0\n"
    stage.say(b"ok\n")
    assert stage.heard() == last


def test_a_protocol_may_depend_on_the_target(make: Make) -> None:
    class Named:
        def at(self, target: Endpoint, host: str, *, secured: bool) -> Line:
            return Line(f"{target} {host} {secured}\n".encode())

    stage = make(exchange=Named())
    stage.connector.open_batch((0,))
    assert stage.heard() == b"127.0.0.1:9000  False\n"
