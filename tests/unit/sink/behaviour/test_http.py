"""HTTP/1.1 responses of a sink, parsed by h11 as a client, and beside those of h11 as a server."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.sink.behaviour.answers import Filler, Piece
from loadgen.sink.behaviour.http import HttpResponder, HttpService

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def parsed(answers: Iterable[Piece], *methods: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """Parse the answers as a client that sent these requests; return (status, headers, body) of each."""
    responses = []
    data = b"".join(map(bytes, answers))
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
        responses.append((response.status_code, dict(response.headers), body))
        data = client.trailing_data[0]
    assert data == b""
    return responses


def test_http_answers_with_its_status_and_body() -> None:
    http = HttpResponder(HttpService(503, 5, None))
    ((status, headers, body),) = parsed(http.receive(REQUEST), b"GET")
    assert (status, body) == (503, b"xxxxx")
    assert headers[b"content-length"] == b"5"
    assert b"connection" not in headers
    assert not http.finished


def test_http_takes_requests_in_any_pieces() -> None:
    for size in (1, 7, 1000):
        http, data = HttpResponder(HttpService(200, 3, None)), REQUEST * 3
        answers = [answer for at in range(0, len(data), size) for answer in http.receive(data[at : at + size])]
        assert [status for status, _, _ in parsed(answers, b"GET", b"GET", b"GET")] == [200] * 3


def test_answers_are_made_one_at_a_time_and_their_bodies_take_no_memory() -> None:
    http = HttpResponder(HttpService(200, 1 << 40, None))
    answers = iter(http.receive(REQUEST * 100))
    for left in range(99, -1, -1):
        assert bytes(next(answers)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert next(answers) == Filler(1 << 40)
        assert http.held == left * len(REQUEST)
    assert list(answers) == []


def test_http_skips_request_bodies() -> None:
    http = HttpResponder(HttpService(200, 0, None))
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    sized = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
    assert len(list(http.receive(chunked + sized + REQUEST))) == 3


def test_http_sends_100_continue_on_request() -> None:
    http = HttpResponder(HttpService(200, 0, None))
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    (interim,) = http.receive(head)
    assert interim == CONTINUE
    assert list(http.receive(b"a")) == []
    (answer,) = http.receive(b"b")
    assert bytes(answer).startswith(b"HTTP/1.1 200 OK\r\n")
    (answer,) = http.receive(head + b"ab")
    assert bytes(answer).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"what?\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: what\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),  # an unknown method
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"DESCRIBE / RTSP/1.0\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),  # HTTP/0.9
        (b"GET /" + b"a" * 100_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 16_384 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdefg", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS, which waits for an answer
    ],
)
def test_http_refuses_a_malformed_request_and_closes(request_: bytes, status: int) -> None:
    http = HttpResponder(HttpService(200, 5, None))
    ((received_status, headers, body),) = parsed(http.receive(request_), b"GET")
    assert (received_status, headers[b"connection"], body) == (status, b"close", b"")
    assert http.finished
    assert http.held == 0


@pytest.mark.parametrize(
    "beginning",
    [
        b"\r",
        b"GE",
        b"WHAT",
        REQUEST[:-1],
        REQUEST + REQUEST[:-2],
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
    ],
)
def test_http_waits_for_the_rest_of_a_request_and_refuses_one_that_ends_early(beginning: bytes) -> None:
    http = HttpResponder(HttpService(200, 0, None))
    responses = len(list(http.receive(beginning)))
    assert not http.finished
    ((status, _, _),) = parsed(http.receive(b""), b"GET")
    assert (status, responses, http.finished) == (400, beginning.count(b"\r\n\r\nGET"), True)


def test_empty_lines_before_a_request_are_ignored() -> None:
    http = HttpResponder(HttpService(200, 0, None))
    assert len(list(http.receive(b"\r\n\r\n" + REQUEST + b"\r\n" + REQUEST))) == 2


def test_a_request_that_was_there_before_is_known_at_once_as_long_as_it_comes_alone() -> None:
    service = HttpService(200, 5, None)
    first, other = HttpResponder(service), HttpResponder(service)
    assert first.quick(REQUEST) is None
    (response,) = first.receive(REQUEST)
    assert first.quick(REQUEST) == other.quick(REQUEST) == response
    assert other.quick(REQUEST * 2) is other.quick(REQUEST[:-1]) is None
    list(first.receive(REQUEST.replace(b"/ ", b"/b ")))
    assert first.quick(REQUEST) == response  # two kinds of requests in turn
    list(other.receive(REQUEST[:10]))
    assert other.quick(REQUEST) is None
    list(other.receive(REQUEST[10:]))
    assert other.quick(REQUEST) == response
    list(first.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"))
    assert first.quick(REQUEST) is None  # it is the request's body


def test_requests_that_are_all_different_or_long_take_no_memory() -> None:
    service = HttpService(200, 0, None)
    http = HttpResponder(service)
    for number in range(1_000):
        list(http.receive(REQUEST.replace(b"/", b"/%d" % number, 1)))
        assert 0 < len(service.known) <= 64
    request = REQUEST.replace(b"/", b"/" + b"a" * 8_000, 1)
    assert len(list(http.receive(request))) == 1
    assert http.quick(request) is None


@pytest.mark.parametrize(
    ("status", "body_bytes", "requests_max", "request_"),
    [
        (200, 1_000_000, None, REQUEST),
        (200, 5, 3, REQUEST),
        (200, 5, None, b"GET / HTTP/1.0\r\n\r\n"),
        (200, 5, None, b"what?\r\n\r\n"),
    ],
)
def test_a_response_that_is_large_or_ends_the_connection_is_never_known_at_once(
    status: int, body_bytes: int, requests_max: int | None, request_: bytes
) -> None:
    service = HttpService(status, body_bytes, requests_max)
    list(HttpResponder(service).receive(request_))
    assert HttpResponder(service).quick(request_) is None


def test_http_announces_the_close_in_the_last_response() -> None:
    http = HttpResponder(HttpService(200, 1, 2))
    answers = list(http.receive(REQUEST * 5))
    responses = parsed(answers, b"GET", b"GET")
    assert [headers.get(b"connection") for _, headers, _ in responses] == [None, b"close"]
    assert http.finished
    assert list(http.receive(REQUEST)) == []


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
)
def test_http_closes_when_the_client_asks_for_it(request_: bytes) -> None:
    http = HttpResponder(HttpService(200, 1, None))
    ((_, headers, body),) = parsed(http.receive(request_), b"GET")
    assert (headers[b"connection"], body) == (b"close", b"x")
    assert http.finished


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_has_no_content_length(status: int) -> None:
    ((_, headers, body),) = parsed(HttpResponder(HttpService(status, 5, None)).receive(REQUEST), b"GET")
    assert (b"content-length" in headers, body) == (False, b"")


def test_a_response_to_head_has_content_length_and_no_body() -> None:
    http = HttpResponder(HttpService(200, 5, None))
    answers = list(http.receive(REQUEST.replace(b"GET", b"HEAD")))
    assert parsed(answers, b"HEAD")[0][1][b"content-length"] == b"5"
    assert not http.finished


def test_connect_is_refused() -> None:
    http = HttpResponder(HttpService(200, 5, None))
    (answer,) = http.receive(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert bytes(answer).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


def test_a_status_without_a_standard_phrase() -> None:
    (answer,) = HttpResponder(HttpService(299, 0, None)).receive(REQUEST)
    assert bytes(answer).startswith(b"HTTP/1.1 299 \r\n")


#: Lines of requests, sensible and not, in any order.
_LINES = (
    *(b"GET / HTTP/1.1", b"HEAD / HTTP/1.0", b"CONNECT a:1 HTTP/1.1", b"PRI * HTTP/2.0", b"Host: a", b""),
    *(b"Upgrade: h2c\r\nConnection: upgrade", b"Expect: 100-continue", b"Connection: close"),
    *(b"Content-Length: 3", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n"),
)
_PARTS = st.sampled_from([line + b"\r\n" for line in _LINES])


@given(st.lists(_PARTS | st.binary(max_size=50), max_size=12), st.sampled_from([None, 1, 2]))
def test_no_input_raises_anything_and_each_answer_is_a_response(chunks: list[bytes], requests_max: int | None) -> None:
    http = HttpResponder(HttpService(200, 5, requests_max))
    for chunk in [*filter(None, chunks), b""]:
        for answer in http.receive(chunk):
            assert bytes(answer)[:9] in (b"HTTP/1.1 ", b"xxxxx", b"")


class H11Responder:
    """The oracle: what HttpResponder is to answer, by h11."""

    def __init__(self, status: int, body_bytes: int, requests_max: int | None) -> None:
        self._status, self._body_bytes, self._requests_left = status, body_bytes, requests_max
        self._connection = h11.Connection(h11.SERVER)
        self._method = b""
        self.finished = False

    def receive(self, data: bytes) -> bytes:
        if self.finished:
            return b""
        answers = b""
        try:
            self._connection.receive_data(data)
            while not self.finished and (more := self._step()) is not None:
                answers += more
        except h11.RemoteProtocolError as error:
            self.finished = True
            answers += self._answer(error.error_status_hint, 0, last=True)
        return answers

    def _step(self) -> bytes | None:
        connection = self._connection
        event = connection.next_event()
        if event is h11.NEED_DATA or event is h11.PAUSED:
            if connection.they_are_waiting_for_100_continue:
                return connection.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
            return None
        if isinstance(event, h11.Request):
            self._method = event.method
        elif isinstance(event, h11.EndOfMessage):
            if self._requests_left is not None:
                self._requests_left -= 1
            status = 405 if self._method == b"CONNECT" else self._status
            answer = self._answer(status, self._body_bytes, last=self._requests_left == 0)
            if connection.our_state is h11.DONE:
                connection.start_next_cycle()
            else:
                self.finished = True
            return answer
        elif isinstance(event, h11.ConnectionClosed):
            self.finished = True
        return b""

    def _answer(self, status: int, size: int, *, last: bool) -> bytes:
        bare = status in (204, 304)
        headers = [] if bare else [("Content-Type", "text/plain"), ("Content-Length", str(size))]
        if last:
            headers.append(("Connection", "close"))
        send = self._connection.send
        response = h11.Response(status_code=status, reason=HTTPStatus(status).phrase, headers=headers)
        data = send(response) or b""
        if size and not bare and self._method != b"HEAD":
            data += send(h11.Data(data=b"x" * size)) or b""
        return data + (send(h11.EndOfMessage()) or b"")


def _chunked(parts: list[bytes], extension: bytes, trailer: bytes) -> bytes:
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0" + extension + b"\r\n" + trailer + b"\r\n"


_BODIES = st.binary(max_size=30) | st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n" + REQUEST, b"\n\r\n\r\n\r"])
#: The rest of a request after its request line and some of its fields.
_RESTS = st.one_of(
    st.just(b"\r\n"),
    _BODIES.map(lambda body: b"Content-Length: %d\r\n\r\n%s" % (len(body), body)),
    st.builds(
        _chunked,
        st.lists(_BODIES.filter(bool), max_size=3),
        st.sampled_from([b"", b";a=b"]),
        st.sampled_from([b"", b"Trailer: x\r\n"]),
    ),
    st.sampled_from([b"Content-Length: -1\r\n\r\n", b"Transfer-Encoding: what\r\n\r\n", b"No field\r\n\r\n"]),
)
_HOSTS = st.sampled_from([b"Host: a\r\n"] * 8 + [b"", b"Host: a\r\nHost: b\r\n"])
_FIELDS = st.sampled_from(
    [b""] * 6
    + [b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"connection: a, Close\r\n", b"Cookie: a=b\r\n"]
    + [b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n"]
)
_LINES_OF_REQUESTS = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"HEAD /a?b HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n"] * 3
    + [b"OPTIONS * HTTP/1.1\r\n", b"PUT http://a/ HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"what?\r\n"]
)
_REQUESTS = st.builds(lambda *parts: b"".join(parts), _LINES_OF_REQUESTS, _HOSTS, _FIELDS, _RESTS)


@settings(max_examples=300)
@given(
    st.lists(_REQUESTS, max_size=5).map(b"".join),
    st.integers(0, 40),
    st.lists(st.integers(0, 400), max_size=12),
    st.sampled_from([(200, 5, None), (204, 5, None), (404, 0, 2), (200, 5_000, 1)]),
)
def test_the_answers_are_those_of_h11_wherever_the_requests_are_cut(
    data: bytes, missing: int, cuts: list[int], site: tuple[int, int, int | None]
) -> None:
    """Two connections of one address, so that the second meets requests that the first has made."""
    data = data[: len(data) - missing]
    places = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places) if start < end]
    service = HttpService(*site)
    for _ in range(2):
        http, oracle = HttpResponder(service), H11Responder(*site)
        answered = expected = b""
        for piece in [*pieces, b""]:
            answer = http.quick(piece) if piece else None
            answered += b"".join(map(bytes, http.receive(piece))) if answer is None else answer
            expected += oracle.receive(piece)
            # RFC 9110 10.1.1: none is due once a part of the body has come. h11 counts from the first whole chunk.
            answered, expected = answered.replace(CONTINUE, b""), expected.replace(CONTINUE, b"")
            assert answered.startswith(expected), "no answer yet"  # to what is no request it comes earlier
        assert answered == expected
        assert http.finished
        assert oracle.finished
