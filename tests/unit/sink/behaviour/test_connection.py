"""One accepted connection with a behaviour, on a clock that the test sets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from select import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadgen.clock import NS_PER_S
from loadgen.model import SinkBehaviour, Speaks
from loadgen.sink.behaviour.connection import AcceptedConnection
from loadgen.sink.behaviour.listener import Listener
from loadgen.sink.behaviour.tls import server_context
from loadgen.sink.certificates import issue
from loadgen.sink.counts import SurvivedFailures
from loadgen.sink.memory import CONNECTION_MAX, PROCESS_MAX, SCARCE, HeldBytes

T0 = 1_000 * NS_PER_S
MS = 1_000_000
HELD = EPOLLIN | EPOLLRDHUP
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class ConnectedPair:
    """An accepted connection on one end of a socket pair, and its client on the other."""

    def __init__(
        self, behaviour: SinkBehaviour, closes_after: int | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self.client, self._sock = socket.socketpair()
        self.memory = HeldBytes()
        self.client.setblocking(False)
        self._sock.setblocking(False)
        self.connection = AcceptedConnection(
            self._sock.fileno(),
            Listener(behaviour, context),
            closes_after,
            T0,
            failures=SurvivedFailures(),
            memory=self.memory,
        )

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
    assert pair.connection.interest(T0) & EPOLLOUT
    received = bytearray()
    while part := pair.received():
        received += part
        pair.connection.on_events(EPOLLOUT, T0)
    assert received.endswith(b"x" * 4_000_000)
    assert pair.connection.interest(T0) == HELD
    assert not pair.connection.ended


@pytest.mark.parametrize("pair", [SinkBehaviour(), SinkBehaviour(speaks=Speaks.HTTP, body_bytes=1_000)], indirect=True)
def test_answers_to_equal_requests_are_whole_and_in_order_when_the_client_reads_late(pair: ConnectedPair) -> None:
    """The ordinary answer changes nothing that the caller has to know; one that does not fit does."""
    pair.send(REQUEST, T0)
    answer = pair.received()
    asked = changed = 0
    while not changed:
        pair.client.sendall(REQUEST)
        changed = pair.connection.on_events(EPOLLIN, T0)
        asked += 1
        assert asked < 100_000
    assert pair.connection.interest(T0) & EPOLLOUT
    assert 0 < pair.connection.held <= len(answer)
    pair.client.sendall(REQUEST * 2)
    received = bytearray()
    for _ in range(100):
        if events := pair.connection.interest(T0) & (EPOLLIN | EPOLLOUT):
            pair.connection.on_events(events, T0)
        received += pair.received()
    assert received == answer * (asked + 2)
    assert pair.connection.held == 0


@pytest.mark.parametrize("pair", [SinkBehaviour(delay_s=1.0)], indirect=True)
def test_a_connection_ends_when_the_client_hangs_up(pair: ConnectedPair) -> None:
    pair.send(b"a", T0)
    pair.connection.on_events(EPOLLHUP, T0)
    assert pair.connection.ended


def test_a_connection_can_close_at_once(pairs: list[ConnectedPair]) -> None:
    pairs.append(ConnectedPair(SinkBehaviour(speaks=Speaks.HTTP), closes_after=0))
    pairs[0].connection.on_timer(T0)
    assert pairs[0].connection.ended


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    return server_context(issue(["sink.test"]), Speaks.HTTP)


def secured(pair: ConnectedPair, now: int) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Do the handshake as a client that trusts everybody."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl._create_unverified_context().wrap_bio(incoming, outgoing)
    for _ in range(3):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        if data := outgoing.read():
            pair.send(data, now)
        incoming.write(pair.received())
    return client, incoming, outgoing


@pytest.mark.parametrize("speaks", [Speaks.ECHO, Speaks.HTTP])
@pytest.mark.parametrize(
    "more", [{"delay_s": 1.0}, {"close_after_requests": 2, "delay_s": 1.0}, {"close_after_s": 9.0}]
)
@pytest.mark.parametrize("broken", ["not TLS", "wrong MAC", "no record"])
def test_a_tls_session_that_fails_while_an_answer_waits_ends_with_an_alert(
    pairs: list[ConnectedPair], context: ssl.SSLContext, speaks: Speaks, more: dict[str, Any], broken: str
) -> None:
    pairs.append(pair := ConnectedPair(SinkBehaviour(speaks=speaks, tls=True, **more), context=context))
    client, incoming, outgoing = secured(pair, T0)
    client.write(REQUEST)
    pair.send(outgoing.read(), T0)
    client.write(REQUEST)
    data = bytearray(outgoing.read())
    data[-1] ^= 1
    pair.send(
        {"not TLS": b"\0garbage", "wrong MAC": bytes(data), "no record": bytes(data[:5]) + b"\0" * 50_000}[broken], T0
    )
    for now in (T0, T0 + 2 * NS_PER_S, T0 + 10 * NS_PER_S):
        pair.connection.on_timer(now)
        assert pair.connection.ended
        pair.connection.close_now()
    incoming.write(pair.received())
    with pytest.raises(ssl.SSLError, match="alert"):
        list(iter(partial(client.read, 1 << 20), b""))


@pytest.mark.parametrize(
    "pair",
    [
        SinkBehaviour(speaks=Speaks.HTTP, body_bytes=16 << 20),
        SinkBehaviour(speaks=Speaks.HTTP, body_bytes=0),
        SinkBehaviour(speaks=Speaks.HTTP, body_bytes=1_000, delay_s=1.0),
    ],
    indirect=True,
)
@pytest.mark.parametrize(("used", "held_max"), [(0, 2 * CONNECTION_MAX), (PROCESS_MAX, 4 * SCARCE)])
def test_a_client_that_asks_for_much_and_reads_nothing_is_held_in_bounds(
    pair: ConnectedPair, used: int, held_max: int
) -> None:
    """Thousands of requests in one piece; when others hold much, each connection may hold little."""
    pair.memory.used = used
    pair.client.setblocking(True)
    pair.client.settimeout(0.01)
    with suppress(TimeoutError):
        pair.client.sendall(REQUEST * 2_400)
    for now in (T0, T0 + NS_PER_S, T0 + 2 * NS_PER_S):
        for _ in range(100):
            if events := pair.connection.interest(now) & (EPOLLIN | EPOLLOUT):
                pair.connection.on_events(events, now)
            else:
                pair.connection.on_timer(now)
            assert pair.connection.held < held_max
    assert not pair.connection.ended


@given(
    st.sampled_from([0, 1, 1_000, 100_000, 3_000_000]),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from([0, PROCESS_MAX]),
)
@example(size=100_000, requests=36, delay_s=0.0, used=PROCESS_MAX)  # the last bytes in the last part of a turn
@settings(max_examples=25)
def test_every_request_is_answered_whatever_the_room(size: int, requests: int, delay_s: float, used: int) -> None:
    """Whole and in order, to a client that reads at last; and every wait has an event or a timer that ends it."""
    pair = ConnectedPair(SinkBehaviour(speaks=Speaks.HTTP, body_bytes=size, delay_s=delay_s))
    pair.memory.used = used
    requests = min(requests, 1 + 20_000_000 // (size + 1))
    pair.client.sendall(REQUEST * requests)
    pair.client.shutdown(socket.SHUT_WR)
    now, received, headers = T0, 0, 0
    while not pair.connection.ended:
        events, due = pair.connection.interest(now), pair.connection.due_ns(now)
        if events:
            pair.connection.on_events(events & (EPOLLIN | EPOLLOUT), now)
        else:
            assert due
            now = due
            pair.connection.on_timer(now)
        while part := pair.received():
            received += len(part)
            headers += part.count(b"HTTP/1.1 200 OK")
    while part := pair.received():
        received += len(part)
        headers += part.count(b"HTTP/1.1 200 OK")
    pair.close()
    head = len(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n")
    assert received == requests * (head + size)
    assert 0 < headers <= requests
    assert pair.connection.held == 0
