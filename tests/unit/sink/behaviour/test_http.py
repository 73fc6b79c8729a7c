"""HTTP/1.1 responses of a sink, parsed by h11 as a client."""

from __future__ import annotations

from collections.abc import Iterable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sink.behaviour.answers import Filler, Piece
from loadgen.sink.behaviour.http import HttpResponder

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
    http = HttpResponder(503, 5, None)
    ((status, headers, body),) = parsed(http.receive(REQUEST), b"GET")
    assert (status, body) == (503, b"xxxxx")
    assert headers[b"content-length"] == b"5"
    assert b"connection" not in headers
    assert not http.finished


def test_http_takes_requests_in_any_pieces() -> None:
    for size in (1, 7, 1000):
        http, data = HttpResponder(200, 3, None), REQUEST * 3
        answers = [answer for at in range(0, len(data), size) for answer in http.receive(data[at : at + size])]
        assert [status for status, _, _ in parsed(answers, b"GET", b"GET", b"GET")] == [200] * 3


def test_answers_are_made_one_at_a_time_and_their_bodies_take_no_memory() -> None:
    http = HttpResponder(200, 1 << 40, None)
    answers = iter(http.receive(REQUEST * 100))
    for left in range(99, -1, -1):
        assert bytes(next(answers)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert next(answers) == Filler(1 << 40)
        assert http.held == left * len(REQUEST)
    assert list(answers) == []


def test_http_skips_request_bodies() -> None:
    http = HttpResponder(200, 0, None)
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    sized = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
    assert len(list(http.receive(chunked + sized + REQUEST))) == 3


def test_http_sends_100_continue_on_request() -> None:
    http = HttpResponder(200, 0, None)
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    (interim,) = http.receive(head)
    assert bytes(interim).startswith(b"HTTP/1.1 100 ")
    (answer,) = http.receive(b"ab")
    assert bytes(answer).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"what?\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: what\r\n\r\n", 501),
        (b"GET /" + b"a" * 100_000, 431),
    ],
)
def test_http_refuses_a_malformed_request_and_closes(request_: bytes, status: int) -> None:
    http = HttpResponder(200, 5, None)
    ((received_status, headers, body),) = parsed(http.receive(request_), b"GET")
    assert (received_status, headers[b"connection"], body) == (status, b"close", b"")
    assert http.finished


def test_http_announces_the_close_in_the_last_response() -> None:
    http = HttpResponder(200, 1, 2)
    answers = list(http.receive(REQUEST * 5))
    responses = parsed(answers, b"GET", b"GET")
    assert [headers.get(b"connection") for _, headers, _ in responses] == [None, b"close"]
    assert http.finished
    assert list(http.receive(REQUEST)) == []


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
)
def test_http_closes_when_the_client_asks_for_it(request_: bytes) -> None:
    http = HttpResponder(200, 1, None)
    ((_, headers, body),) = parsed(http.receive(request_), b"GET")
    assert (headers[b"connection"], body) == (b"close", b"x")
    assert http.finished


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_has_no_content_length(status: int) -> None:
    ((_, headers, body),) = parsed(HttpResponder(status, 5, None).receive(REQUEST), b"GET")
    assert (b"content-length" in headers, body) == (False, b"")


def test_a_response_to_head_has_content_length_and_no_body() -> None:
    http = HttpResponder(200, 5, None)
    answers = list(http.receive(REQUEST.replace(b"GET", b"HEAD")))
    assert parsed(answers, b"HEAD")[0][1][b"content-length"] == b"5"
    assert not http.finished


def test_connect_is_refused() -> None:
    http = HttpResponder(200, 5, None)
    answer, _ = http.receive(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert bytes(answer).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


def test_a_status_without_a_standard_phrase() -> None:
    (answer,) = HttpResponder(299, 0, None).receive(REQUEST)
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
    http = HttpResponder(200, 5, requests_max)
    for chunk in [*filter(None, chunks), b""]:
        for answer in http.receive(chunk):
            assert bytes(answer)[:9] in (b"HTTP/1.1 ", b"xxxxx", b"")
