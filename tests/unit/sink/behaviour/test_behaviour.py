"""What sinks with manners answer, and when: no network, and a clock that the test sets."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from itertools import pairwise
from select import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP

import h11
import pytest

from loadgen.clock import NS_PER_S
from loadgen.model import Manners, Speaks
from loadgen.sink.behaviour.connection import Guest
from loadgen.sink.behaviour.connections import Guests
from loadgen.sink.behaviour.http import Http
from loadgen.sink.behaviour.listener import Door
from loadgen.sink.behaviour.responder import Echo, Nothing, speaker
from loadgen.sink.behaviour.tls import Cipher, server_context
from loadgen.sink.certificates import Certificates, issue

T0 = 1_000 * NS_PER_S
MS = 1_000_000
HELD = EPOLLIN | EPOLLRDHUP
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


# --- Speech -----------------------------------------------------------------------------------------


def test_an_echo_without_limits_says_everything_again() -> None:
    echo = Echo(None, None)
    assert [echo.hear(data) for data in (b"a", b"bc")] == [(b"a",), (b"bc",)]
    assert not echo.over
    assert echo.hear(b"") == ()
    assert echo.over


def test_an_echo_has_said_enough_after_its_bytes_or_its_requests() -> None:
    by_bytes, by_requests = Echo(3, None), Echo(None, 2)
    for echo, heard in ((by_bytes, [b"ab", b"cd"]), (by_requests, [b"a", b"b"])):
        assert echo.hear(heard[0]) == (heard[0],)
        assert not echo.over
        assert echo.hear(heard[1]) == (heard[1],)
        assert echo.over
        assert echo.hear(b"more") == ()


def test_nothing_hears_and_counts() -> None:
    nothing = Nothing(2)
    assert [nothing.hear(b"a"), nothing.over, nothing.hear(b"b"), nothing.over] == [(), False, (), True]
    endless = Nothing(None)
    endless.hear(b"a" * 100)
    assert not endless.over
    endless.hear(b"")
    assert endless.over


@pytest.mark.parametrize("speaks", Speaks)
def test_every_word_of_a_scenario_has_its_speech(speaks: Speaks) -> None:
    made = speaker(Manners(speaks=speaks, close_after_requests=1))(None)
    assert type(made) is {Speaks.ECHO: Echo, Speaks.HTTP: Http, Speaks.NOTHING: Nothing}[speaks]
    made.hear(REQUEST)
    assert made.over


# --- HTTP -------------------------------------------------------------------------------------------


def parsed(answers: Sequence[bytes], *methods: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """The (status, headers, body) of all answers, read by a client that sent these requests."""
    found = []
    data = b"".join(answers)
    for method in methods:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        body = b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA
            if isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
        found.append((response.status_code, dict(response.headers), body))
        data = client.trailing_data[0]
    assert data == b""
    return found


def test_http_answers_with_its_status_and_body() -> None:
    http = Http(503, 5, None)
    ((status, headers, body),) = parsed(http.hear(REQUEST), b"GET")
    assert (status, body) == (503, b"xxxxx")
    assert headers[b"content-length"] == b"5"
    assert b"connection" not in headers
    assert not http.over


def test_http_takes_requests_in_any_pieces() -> None:
    for size in (1, 7, 1000):
        http, data = Http(200, 3, None), REQUEST * 3
        answers = [answer for at in range(0, len(data), size) for answer in http.hear(data[at : at + size])]
        assert [status for status, _, _ in parsed(answers, b"GET", b"GET", b"GET")] == [200] * 3


def test_http_reads_over_bodies() -> None:
    http = Http(200, 0, None)
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    sized = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
    assert len(http.hear(chunked + sized + REQUEST)) == 3


def test_http_lets_a_client_that_asks_continue() -> None:
    http = Http(200, 0, None)
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    (go_on,) = http.hear(head)
    assert go_on.startswith(b"HTTP/1.1 100 ")
    (answer,) = http.hear(b"ab")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"what?\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: what\r\n\r\n", 501),
        (b"GET /" + b"a" * 100_000, 431),
    ],
)
def test_http_refuses_what_is_no_request_and_closes(request_: bytes, status: int) -> None:
    http = Http(200, 5, None)
    ((found, headers, body),) = parsed(http.hear(request_), b"GET")
    assert (found, headers[b"connection"], body) == (status, b"close", b"")
    assert http.over


def test_http_closes_after_the_last_request_and_says_so() -> None:
    http = Http(200, 1, 2)
    answers = http.hear(REQUEST * 5)
    found = parsed(answers, b"GET", b"GET")
    assert [headers.get(b"connection") for _, headers, _ in found] == [None, b"close"]
    assert http.over
    assert http.hear(REQUEST) == ()


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
)
def test_http_closes_when_the_client_wants_it(request_: bytes) -> None:
    http = Http(200, 1, None)
    ((_, headers, body),) = parsed(http.hear(request_), b"GET")
    assert (headers[b"connection"], body) == (b"close", b"x")
    assert http.over


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_says_nothing_of_its_length(status: int) -> None:
    ((_, headers, body),) = parsed(Http(status, 5, None).hear(REQUEST), b"GET")
    assert (b"content-length" in headers, body) == (False, b"")


def test_head_has_the_length_and_no_body() -> None:
    http = Http(200, 5, None)
    answers = http.hear(REQUEST.replace(b"GET", b"HEAD"))
    assert parsed(answers, b"HEAD")[0][1][b"content-length"] == b"5"
    assert not http.over


def test_nobody_gets_a_tunnel() -> None:
    http = Http(200, 5, None)
    (answer,) = http.hear(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


def test_a_status_without_a_name_of_its_own() -> None:
    (answer,) = Http(299, 0, None).hear(REQUEST)
    assert answer.startswith(b"HTTP/1.1 299 \r\n")


# --- Doors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drop", "every"), [(0.1, 10), (0.25, 4), (1.0, 1), (0.29, None), (0.0, 0)])
def test_a_share_is_spread_evenly(drop: float, every: int | None) -> None:
    door = Door(Manners(drop=drop))
    turned_away = [number for number in range(1, 301) if door.turns_away()]
    if every is None:
        assert abs(len(turned_away) - 300 * drop) < 1
        assert {later - earlier for earlier, later in pairwise(turned_away)} == {3, 4}
    else:
        assert turned_away == (list(range(every, 301, every)) if every else [])


def test_reset_turns_everybody_away() -> None:
    door = Door(Manners(reset=True))
    assert all(door.turns_away() for _ in range(10))


# --- Guests, one at a time ----------------------------------------------------------------------------


class Visit:
    """A guest on one end of a pair of sockets, and its client on the other."""

    def __init__(self, manners: Manners, closes_after: int | None = None) -> None:
        self.client, self._sock = socket.socketpair()
        self.client.setblocking(False)
        self._sock.setblocking(False)
        self.guest = Guest(self._sock.fileno(), Door(manners), closes_after, T0)

    def says(self, data: bytes, now: int) -> None:
        self.client.sendall(data)
        self.guest.happened(EPOLLIN, now)

    def heard(self) -> bytes:
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.client.close()
        self._sock.close()


@pytest.fixture
def visits() -> Iterator[list[Visit]]:
    made: list[Visit] = []
    yield made
    for visit in made:
        visit.close()


@pytest.fixture
def visit(visits: list[Visit], request: pytest.FixtureRequest) -> Visit:
    """With the manners that the test is parametrized with."""
    visits.append(Visit(request.param))
    return visits[0]


@pytest.mark.parametrize("visit", [Manners(delay_s=0.05)], indirect=True)
def test_an_answer_waits_for_its_time(visit: Visit) -> None:
    visit.says(b"a", T0)
    visit.says(b"b", T0 + 10 * MS)
    assert visit.guest.due_ns(T0 + 10 * MS) == T0 + 50 * MS
    visit.guest.wake(T0 + 49 * MS)
    assert visit.heard() == b""
    visit.guest.wake(T0 + 50 * MS)
    assert visit.heard() == b"a"
    assert visit.guest.due_ns(T0 + 50 * MS) == T0 + 60 * MS
    visit.guest.wake(T0 + 70 * MS)
    assert visit.heard() == b"b"
    assert visit.guest.due_ns(T0 + 70 * MS) is None


@pytest.mark.parametrize("visit", [Manners(delay_s=3600.0)], indirect=True)
def test_who_sends_without_end_is_not_read_without_end(visit: Visit) -> None:
    read = 0
    while visit.guest.interest(T0) & EPOLLIN:
        visit.says(b"x" * 50_000, T0)
        read += 50_000
        assert read < 1_000_000
    assert visit.guest.interest(T0) == 0
    assert visit.guest.due_ns(T0) == T0 + 3600 * NS_PER_S


@pytest.mark.parametrize("visit", [Manners(read_per_s=1_000)], indirect=True)
def test_a_slow_reader_reads_fifty_bytes_in_fifty_milliseconds(visit: Visit) -> None:
    assert visit.guest.interest(T0) == HELD
    visit.says(b"x" * 120, T0)
    assert visit.heard() == b"x" * 50
    assert visit.guest.interest(T0) == EPOLLRDHUP
    assert visit.guest.due_ns(T0) == T0 + 50 * MS
    assert visit.guest.interest(T0 + 50 * MS) == HELD
    visit.guest.happened(EPOLLIN, T0 + 50 * MS)
    assert visit.heard() == b"x" * 50


@pytest.mark.parametrize("visit", [Manners(read_per_s=1)], indirect=True)
def test_a_slow_reader_hurries_at_the_end(visit: Visit) -> None:
    visit.says(b"x" * 100, T0)
    visit.client.shutdown(socket.SHUT_WR)
    visit.guest.happened(EPOLLRDHUP, T0)
    assert visit.guest.interest(T0) == HELD
    visit.guest.happened(HELD, T0)
    assert visit.heard() == b"x" * 100
    assert visit.guest.gone


@pytest.mark.parametrize("visit", [Manners(read_per_s=0)], indirect=True)
def test_who_never_reads_waits_for_the_end_alone(visit: Visit) -> None:
    assert visit.guest.interest(T0) == EPOLLRDHUP
    assert visit.guest.due_ns(T0) is None
    visit.guest.happened(EPOLLRDHUP, T0)
    assert visit.guest.gone


@pytest.mark.parametrize("visit", [Manners(close_after_s=5.0)], indirect=True)
def test_a_guest_closes_at_its_time(visit: Visit) -> None:
    visit.says(b"a", T0 + NS_PER_S)
    assert visit.guest.due_ns(T0 + NS_PER_S) == T0 + 5 * NS_PER_S
    visit.guest.wake(T0 + 5 * NS_PER_S - 1)
    assert not visit.guest.gone
    visit.guest.wake(T0 + 5 * NS_PER_S)
    assert visit.guest.gone
    assert visit.heard() == b"a"


@pytest.mark.parametrize("visit", [Manners(close_after_requests=1, delay_s=1.0)], indirect=True)
def test_the_last_answer_is_sent_before_the_end(visit: Visit) -> None:
    visit.says(b"a", T0)
    assert visit.guest.interest(T0) == 0
    assert not visit.guest.gone
    visit.guest.wake(T0 + NS_PER_S)
    assert visit.heard() == b"a"
    assert visit.guest.gone


@pytest.mark.parametrize("visit", [Manners(speaks=Speaks.HTTP, body_bytes=4_000_000)], indirect=True)
def test_an_answer_too_large_for_the_socket_goes_on_when_there_is_room(visit: Visit) -> None:
    visit.says(REQUEST, T0)
    assert visit.guest.interest(T0) == EPOLLOUT  # and nothing more is read meanwhile
    received = bytearray()
    while part := visit.heard():
        received += part
        visit.guest.happened(EPOLLOUT, T0)
    assert received.endswith(b"x" * 4_000_000)
    assert visit.guest.interest(T0) == HELD
    assert not visit.guest.gone


@pytest.mark.parametrize("visit", [Manners(delay_s=1.0)], indirect=True)
def test_a_client_that_is_gone_is_waited_for_no_longer(visit: Visit) -> None:
    visit.says(b"a", T0)
    visit.guest.happened(EPOLLHUP, T0)
    assert visit.guest.gone


def test_who_is_to_close_at_once_does_so(visits: list[Visit]) -> None:
    visits.append(Visit(Manners(speaks=Speaks.HTTP), closes_after=0))
    visits[0].guest.wake(T0)
    assert visits[0].guest.gone


# --- Guests, all of them ------------------------------------------------------------------------------


def test_alarms_of_those_who_left_do_not_pile_up() -> None:
    """Of a thousand connections a second with a delay of an hour."""
    closed: list[int] = []

    def close(fd: int) -> None:
        closed.append(fd)
        os.close(fd)

    guests, door = Guests(close, None), Door(Manners(close_after_s=3600.0))
    for _ in range(5_000):
        ours, theirs = socket.socketpair()
        fd = ours.detach()
        guests.admit(fd, door, T0)
        assert fd in guests
        theirs.close()
        guests.serve(T0)
        assert fd not in guests
        assert len(guests._alarms) < 1_100
    assert len(closed) == 5_000
    os.close(guests.fileno())


def test_what_is_due_is_done_in_its_order_and_once() -> None:
    guests = Guests(os.close, None)
    pairs = []
    for delay_s in (0.3, 0.1, 0.2):
        ours, theirs = socket.socketpair()
        guests.admit(ours.detach(), Door(Manners(delay_s=delay_s)), T0)
        theirs.setblocking(False)
        theirs.sendall(b"a")
        pairs.append(theirs)
    assert guests.due_ns is None
    assert not guests.act(T0 + NS_PER_S)
    guests.serve(T0)
    for now, answered in ((0.1, 1), (0.2, 2), (0.3, 0)):
        assert guests.due_ns == T0 + int(now * NS_PER_S)
        assert guests.act(T0 + int(now * NS_PER_S))
        assert pairs[answered].recv(10) == b"a"
    assert guests.due_ns is None
    for theirs in pairs:
        theirs.close()
    guests.serve(T0)
    os.close(guests.fileno())


# --- TLS ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return issue(["sink.test"])


class Client:
    """The other end of a Cipher, in memory as well."""

    def __init__(self, certificates: Certificates) -> None:
        self.context = ssl.create_default_context(cadata=certificates.ca_pem)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname="sink.test")

    def shake_hands(self, cipher: Cipher) -> None:
        for _ in range(3):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            assert cipher.receive(self.outgoing.read()) == b""
            self.incoming.write(cipher.outgoing())
            if cipher.ready:
                return
        raise AssertionError("no handshake")


def test_a_cipher_takes_and_gives(certificates: Certificates) -> None:
    cipher, client = Cipher(server_context(certificates, Speaks.ECHO)), Client(certificates)
    client.shake_hands(cipher)
    client.tls.write(b"hello")
    data = client.outgoing.read()
    assert cipher.receive(data[:7]) == b""
    assert cipher.receive(data[7:]) == b"hello"
    cipher.send(b"welcome")
    client.incoming.write(cipher.outgoing())
    assert client.tls.read(100) == b"welcome"
    cipher.goodbye()
    client.incoming.write(cipher.outgoing())
    assert client.tls.read(100) == b""
    assert not cipher.ended


def test_a_cipher_hears_a_goodbye_and_an_end_of_file(certificates: Certificates) -> None:
    for polite in (True, False):
        cipher, client = Cipher(server_context(certificates, Speaks.ECHO)), Client(certificates)
        client.shake_hands(cipher)
        client.tls.write(b"last words")
        if polite:
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.unwrap()
        assert cipher.receive(client.outgoing.read()) == b"last words"
        assert cipher.ended == polite
        assert cipher.receive(b"") == b""
        assert cipher.ended


def test_a_cipher_refuses_what_is_no_tls(certificates: Certificates) -> None:
    cipher = Cipher(server_context(certificates, Speaks.ECHO))
    with pytest.raises(ssl.SSLError):
        cipher.receive(b"GET / HTTP/1.1\r\n\r\n")
    cipher.goodbye()
    assert not cipher.ready


def test_a_context_is_made_once_so_that_tickets_are_good_everywhere(certificates: Certificates) -> None:
    assert server_context(certificates, Speaks.HTTP) is server_context(certificates, Speaks.HTTP)
    assert server_context(certificates, Speaks.HTTP).num_tickets > 0


def test_a_key_of_somebody_else_is_refused(certificates: Certificates) -> None:
    other = Certificates("", certificates.certificate_pem, issue(["sink.test"]).key_pem)
    with pytest.raises(ssl.SSLError):
        server_context(other, Speaks.ECHO)
