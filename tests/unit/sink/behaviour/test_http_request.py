"""Heads of requests, and where bodies in chunks end. Beside h11 they are in test_http.py."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sink.behaviour.http_request import (
    BadRequestError,
    ChunkedBody,
    RequestHead,
    request_head,
    require_possible,
)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestHead(b"GET", True, False, 0)),
        (b"HEAD / HTTP/1.0\r\n\r\n", RequestHead(b"HEAD", False, False, 0)),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", RequestHead(b"GET", False, False, 0)),
        (b"GET / HTTP/1.1\r\nHOST: a\r\nConnection: a, close\r\n\r\n", RequestHead(b"GET", False, False, 0)),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 7 \r\n\r\n", RequestHead(b"PUT", True, False, 7)),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", RequestHead(b"PUT", True, False, None)),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nExpect: 100-Continue\r\n\r\n",
            RequestHead(b"PUT", True, True, 7),
        ),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", RequestHead(b"CONNECT", True, False, 0)),
    ],
)
def test_what_an_answer_has_to_know(head: bytes, expected: RequestHead) -> None:
    assert request_head(head) == expected
    for end in range(len(head)):
        require_possible(head[:end])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"how do you do\r\n\r\n", 400),
        (b"BREW? / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
    ],
)
def test_a_head_that_is_refused_names_its_status(head: bytes, status: int) -> None:
    assert refusal(request_head, head) == HTTPStatus(status)
    assert {refusal(require_possible, head[:end]) for end in range(len(head))} <= {None, HTTPStatus(status)}


def refusal(check: Callable[[bytes], object], data: bytes) -> HTTPStatus | None:
    try:
        check(data)
    except BadRequestError as error:
        return error.status
    return None


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=4), st.binary(max_size=20), st.integers(1, 50))
def test_a_body_in_chunks_ends_where_it_ends(parts: list[bytes], following: bytes, size: int) -> None:
    """Whatever is in it, whatever follows, and however it is cut."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])
    chunks, data, at = ChunkedBody(), b"", 0
    for begin in range(0, len(body + following), size):
        data += (body + following)[begin : begin + size]
        at = chunks.skip(data, at)
        assert chunks.complete == (len(data) >= len(body))
        assert at <= len(body)
        if chunks.complete:
            break
    assert at == len(body)


@pytest.mark.parametrize("body", [b"what\r\n", b"3\r\nabcdef\r\n", b"-1\r\n\r\n"])
def test_what_is_no_chunk_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        ChunkedBody().skip(body + b"more", 0)
