"""One accepted connection with a behaviour, on a clock that the test sets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from select import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP

import pytest

from loadgen.clock import NS_PER_S
from loadgen.model import SinkBehaviour, Speaks
from loadgen.sink.behaviour.connection import AcceptedConnection
from loadgen.sink.behaviour.listener import Listener

T0 = 1_000 * NS_PER_S
MS = 1_000_000
HELD = EPOLLIN | EPOLLRDHUP
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class ConnectedPair:
    """An accepted connection on one end of a socket pair, and its client on the other."""

    def __init__(self, behaviour: SinkBehaviour, closes_after: int | None = None) -> None:
        self.client, self._sock = socket.socketpair()
        self.client.setblocking(False)
        self._sock.setblocking(False)
        self.connection = AcceptedConnection(self._sock.fileno(), Listener(behaviour), closes_after, T0)

    def send(self, data: bytes, now: int) -> None:
        self.client.sendall(data)
        self.connection.on_events(EPOLLIN, now)

    def received(self) -> bytes:
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.client.close()
        self._sock.close()


@pytest.fixture
def pairs() -> Iterator[list[ConnectedPair]]:
    opened: list[ConnectedPair] = []
    yield opened
    for pair in opened:
        pair.close()


@pytest.fixture
def pair(pairs: list[ConnectedPair], request: pytest.FixtureRequest) -> ConnectedPair:
    """Return a pair with the behaviour that the test is parametrized with."""
    pairs.append(ConnectedPair(request.param))
    return pairs[0]


@pytest.mark.parametrize("pair", [SinkBehaviour(delay_s=0.05)], indirect=True)
def test_an_answer_is_sent_after_its_delay(pair: ConnectedPair) -> None:
    pair.send(b"a", T0)
    pair.send(b"b", T0 + 10 * MS)
    assert pair.connection.due_ns(T0 + 10 * MS) == T0 + 50 * MS
    pair.connection.on_timer(T0 + 49 * MS)
    assert pair.received() == b""
    pair.connection.on_timer(T0 + 50 * MS)
    assert pair.received() == b"a"
    assert pair.connection.due_ns(T0 + 50 * MS) == T0 + 60 * MS
    pair.connection.on_timer(T0 + 70 * MS)
    assert pair.received() == b"b"
    assert pair.connection.due_ns(T0 + 70 * MS) is None


@pytest.mark.parametrize("pair", [SinkBehaviour(delay_s=3600.0)], indirect=True)
def test_reading_stops_while_too_many_answers_are_pending(pair: ConnectedPair) -> None:
    read = 0
    while pair.connection.interest(T0) & EPOLLIN:
        pair.send(b"x" * 50_000, T0)
        read += 50_000
        assert read < 1_000_000
    assert pair.connection.interest(T0) == 0
    assert pair.connection.due_ns(T0) == T0 + 3600 * NS_PER_S


@pytest.mark.parametrize("pair", [SinkBehaviour(read_per_s=1_000)], indirect=True)
def test_a_slow_reader_reads_fifty_bytes_in_fifty_milliseconds(pair: ConnectedPair) -> None:
    assert pair.connection.interest(T0) == HELD
    pair.send(b"x" * 120, T0)
    assert pair.received() == b"x" * 50
    assert pair.connection.interest(T0) == EPOLLRDHUP
    assert pair.connection.due_ns(T0) == T0 + 50 * MS
    assert pair.connection.interest(T0 + 50 * MS) == HELD
    pair.connection.on_events(EPOLLIN, T0 + 50 * MS)
    assert pair.received() == b"x" * 50


@pytest.mark.parametrize("pair", [SinkBehaviour(read_per_s=1)], indirect=True)
def test_a_slow_reader_reads_at_full_speed_after_end_of_file(pair: ConnectedPair) -> None:
    pair.send(b"x" * 100, T0)
    pair.client.shutdown(socket.SHUT_WR)
    pair.connection.on_events(EPOLLRDHUP, T0)
    assert pair.connection.interest(T0) == HELD
    pair.connection.on_events(HELD, T0)
    assert pair.received() == b"x" * 100
    assert pair.connection.ended


@pytest.mark.parametrize("pair", [SinkBehaviour(read_per_s=0)], indirect=True)
def test_a_connection_that_never_reads_ends_with_the_client(pair: ConnectedPair) -> None:
    assert pair.connection.interest(T0) == EPOLLRDHUP
    assert pair.connection.due_ns(T0) is None
    pair.connection.on_events(EPOLLRDHUP, T0)
    assert pair.connection.ended


@pytest.mark.parametrize("pair", [SinkBehaviour(close_after_s=5.0)], indirect=True)
def test_a_connection_closes_at_its_time(pair: ConnectedPair) -> None:
    pair.send(b"a", T0 + NS_PER_S)
    assert pair.connection.due_ns(T0 + NS_PER_S) == T0 + 5 * NS_PER_S
    pair.connection.on_timer(T0 + 5 * NS_PER_S - 1)
    assert not pair.connection.ended
    pair.connection.on_timer(T0 + 5 * NS_PER_S)
    assert pair.connection.ended
    assert pair.received() == b"a"


@pytest.mark.parametrize("pair", [SinkBehaviour(close_after_requests=1, delay_s=1.0)], indirect=True)
def test_the_last_answer_is_sent_before_the_end(pair: ConnectedPair) -> None:
    pair.send(b"a", T0)
    assert pair.connection.interest(T0) == 0
    assert not pair.connection.ended
    pair.connection.on_timer(T0 + NS_PER_S)
    assert pair.received() == b"a"
    assert pair.connection.ended


@pytest.mark.parametrize("pair", [SinkBehaviour(speaks=Speaks.HTTP, body_bytes=4_000_000)], indirect=True)
def test_a_large_answer_continues_when_the_socket_is_writable(pair: ConnectedPair) -> None:
    pair.send(REQUEST, T0)
    assert pair.connection.interest(T0) == EPOLLOUT  # and nothing is read meanwhile
    received = bytearray()
    while part := pair.received():
        received += part
        pair.connection.on_events(EPOLLOUT, T0)
    assert received.endswith(b"x" * 4_000_000)
    assert pair.connection.interest(T0) == HELD
    assert not pair.connection.ended


@pytest.mark.parametrize("pair", [SinkBehaviour(delay_s=1.0)], indirect=True)
def test_a_connection_ends_when_the_client_hangs_up(pair: ConnectedPair) -> None:
    pair.send(b"a", T0)
    pair.connection.on_events(EPOLLHUP, T0)
    assert pair.connection.ended


def test_a_connection_can_close_at_once(pairs: list[ConnectedPair]) -> None:
    pairs.append(ConnectedPair(SinkBehaviour(speaks=Speaks.HTTP), closes_after=0))
    pairs[0].connection.on_timer(T0)
    assert pairs[0].connection.ended
