"""Requests in HTTP/1.1 and the reading of responses, with h11 as the judge of what a response is."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.protocols.base import LastReply
from loadgen.protocols.http import Http
from loadgen.protocols.http_exchange import HEADERS_MAX, LINE_MAX, HttpExchange, ResponseReader, rendered

OK: Final = b"HTTP/1.1 200 OK\r\n"
HELLO: Final = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n"


def read(data: bytes, http: Http | None = None, *, cuts: Sequence[int] = (), ends: bool = False) -> Any:
    """Return the verdict on a response that comes in pieces, with or without the end of file after it."""
    reader = ResponseReader(http or Http(expect="hello"))
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        if start < end and (verdict := reader.read(data[start:end])) is not None:
            assert end == len(data) or verdict is LastReply.UNREADABLE or not data[end:].strip()
            return verdict
    return reader.end() if ends else None


# --- Requests -------------------------------------------------------------------------------------------


def test_a_request_has_the_headers_that_http_needs_and_no_others() -> None:
    assert rendered(Http(path="/a?b"), "site:9000") == b"GET /a?b HTTP/1.1\r\nHost: site:9000\r\n\r\n"
    assert rendered(Http(method="POST"), "a") == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    assert rendered(Http(body="ä"), "a").endswith("Content-Length: 2\r\n\r\nä".encode())


@pytest.mark.parametrize(
    ("given_", "absent"),
    [
        ({"host": "b"}, b"Host: a"),
        ({"content-length": "9"}, b"Content-Length: 4"),
        ({"Transfer-Encoding": "chunked"}, b"Content-Length"),
    ],
)
def test_a_header_of_the_scenario_replaces_one_that_http_needs(given_: dict[str, str], absent: bytes) -> None:
    request = rendered(Http(method="POST", headers=given_, body="body"), "a")
    assert all(f"\r\n{name}: {value}\r\n".encode() in request for name, value in given_.items())
    assert absent not in request


@pytest.mark.parametrize("headers", [{}, {"connection": "keep-alive"}])
def test_the_last_request_asks_for_the_close(headers: dict[str, str]) -> None:
    exchange = HttpExchange(Http(headers=headers), "a")
    assert exchange.last_request(7) == b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert b"close" not in exchange.request(7)


@given(
    st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PATCH"]),
    st.dictionaries(
        st.from_regex(r"X-[a-z]{1,5}", fullmatch=True), st.from_regex(r"([!-~]([ -~]*[!-~])?)?", fullmatch=True)
    ),
    st.text(max_size=20),
)
def test_h11_reads_the_request_that_was_meant(method: str, headers: dict[str, str], body: str) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(rendered(Http(method=method, path="/x?y=z", headers=headers, body=body), "site.example"))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (method.encode(), b"/x?y=z")
    wanted = {"host": "site.example"} | {name.lower(): value for name, value in headers.items()}
    assert dict(request.headers).items() >= {name.encode(): value.encode() for name, value in wanted.items()}.items()
    got = b""
    while isinstance(event := server.next_event(), h11.Data):
        got += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert (got, server.trailing_data[0]) == (body.encode(), b"")


# --- Responses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (HELLO, True),
        (CHUNKED, True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HELLO, True),
        (HELLO.replace(b"\r\n", b"\n"), True),  # RFC 9112 2.2
        (HELLO.replace(b"200", b"404"), False),
        (HELLO.replace(b"hello", b"world"), False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", False),
        (HELLO.replace(b"\r\n\r\n", b"\r\nConnection: Close\r\n\r\n"), LastReply.RIGHT),
        (HELLO.replace(b"\r\n\r\n", b"\r\nconnection: x , close\r\n\r\n"), LastReply.RIGHT),
        (HELLO.replace(b"\r\n\r\n", b"\r\nConnection: x\r\nConnection: close\r\n\r\n"), LastReply.RIGHT),
        (HELLO.replace(b"1.1", b"1.0"), LastReply.RIGHT),
        (HELLO.replace(b"1.1", b"1.0").replace(b"200", b"500"), LastReply.WRONG),
        (HELLO.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), True),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n\x81\x00", LastReply.WRONG),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", LastReply.WRONG),
        (OK + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello", True),  # offered, not switched
        (HELLO + HELLO, LastReply.UNREADABLE),
        (HELLO + b"x", LastReply.UNREADABLE),
        (HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"x", LastReply.UNREADABLE),
        (HELLO.replace(b"5", b"five"), LastReply.UNREADABLE),
        (HELLO.replace(b"1.1", b"2.0"), LastReply.UNREADABLE),
        (b"HTTP/2 200\r\n\r\n", LastReply.UNREADABLE),
        (b"HTTP/1.1 199 What\r\n\r\n" + HELLO, LastReply.UNREADABLE),
        (b"220 mail.example ESMTP\r\n\r\n", LastReply.UNREADABLE),
        (b"\x15\x03\x01\x00\x02\x02\x46", LastReply.UNREADABLE),
        (HELLO[:-1], None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ],
)
def test_the_verdict_on_a_response(response: bytes, verdict: object) -> None:
    assert read(response) is verdict
    assert read(response[:20] + response[20:], cuts=(10, 20, 40)) is verdict


def test_a_body_may_end_with_the_connection() -> None:
    assert read(OK + b"\r\nhello") is None
    assert read(OK + b"\r\nhello", ends=True) is True
    assert read(OK + b"Transfer-Encoding: gzip\r\n\r\nhello", ends=True) is True
    assert read(OK + b"\r\nhello", Http(max_body=4), ends=True) is False
    for incomplete in (HELLO[:-1], CHUNKED[:-2], OK, b"", b"HTTP/1.1 100 Continue\r\n\r\n"):
        assert read(incomplete, ends=True) is None


def test_a_response_to_head_has_no_body() -> None:
    head = Http(method="HEAD")
    assert read(HELLO.removesuffix(b"hello"), head) is True
    assert read(CHUNKED[: CHUNKED.index(b"\r\n\r\n") + 4], head) is True
    assert read(OK + b"\r\n", head) is True
    assert read(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n", head) is True
    assert read(HELLO, head) is LastReply.UNREADABLE


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate"])
def test_expect_is_looked_for_in_what_was_compressed(coding: str) -> None:
    body = b"well, hello" * 50
    compress = zlib.compress if coding == "deflate" else gzip.compress
    head = OK + f"Content-Encoding: {coding}\r\n".encode()

    def framed(data: bytes) -> bytes:
        return head + b"Content-Length: %d\r\n\r\n" % len(data) + data

    packed = compress(body)
    assert read(framed(packed), cuts=(90, 91, 100)) is True
    assert read(framed(packed), Http(max_body=len(body)), cuts=(95,)) is True
    assert read(framed(packed), Http(max_body=len(body) - 1)) is False
    assert read(framed(packed), Http(expect="other")) is False
    assert read(framed(packed[:-1])) is False  # cut off
    assert read(framed(b"x" + packed)) is False
    assert read(framed(b"")) is False
    assert read(framed(b""), Http()) is True
    several = read(framed(compress(b"hel") + compress(b"lo")))
    assert several is (coding != "deflate")


def test_deflate_may_come_without_its_header() -> None:
    packed = zlib.compress(b"hello")[2:-4]
    assert read(OK + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed) is True


def test_a_body_that_is_too_long_is_read_to_its_end_and_not_kept() -> None:
    reader = ResponseReader(Http(expect="a", max_body=1000))
    assert reader.read(OK + b"Content-Length: 10000000\r\n\r\n") is None
    for _ in range(99):
        assert reader.read(b"a" * 100_000) is None
    assert len(reader._body) == 0
    assert reader.read(b"a" * 100_000) is False


def test_a_bomb_is_not_unpacked() -> None:
    packed = gzip.compress(bytes(50_000_000))
    reader = ResponseReader(Http(expect="a", max_body=1000))
    assert reader.read(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed) is False
    assert reader._bytes == 1001


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        (b"HTTP/1.1 200 " + b"x" * LINE_MAX + b"\r\n", True),
        (b"HTTP/1.1 200 " + b"x" * (LINE_MAX + 1) + b"\r\n", LastReply.UNREADABLE),
        (OK + b"A: " + b"x" * LINE_MAX + b"\r\n", True),
        (OK + b"A: " + b"x" * (LINE_MAX + 1) + b"\r\n", LastReply.UNREADABLE),
        (OK + b"A" * (LINE_MAX + 1) + b": x\r\n", LastReply.UNREADABLE),
        (OK + b"A: x\r\n" * (HEADERS_MAX - 1), True),
        (OK + b"A: x\r\n" * HEADERS_MAX, LastReply.UNREADABLE),
    ],
)
def test_headers_are_bounded(head: bytes, verdict: object) -> None:
    assert read(head + b"Content-Length: 5\r\n\r\nhello", cuts=range(0, len(head), 5000)) is verdict


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 ", OK + b"A", OK + b"A: ", CHUNKED[:-2] + b"Trailer: ", CHUNKED[:53]])
def test_a_line_without_end_is_unreadable_before_it_takes_memory(start: bytes) -> None:
    reader = ResponseReader(Http())
    assert reader.read(start) is None
    pieces = 0
    while (verdict := reader.read(b"x" * 100)) is None:
        pieces += 1
    assert verdict is LastReply.UNREADABLE
    assert pieces * 100 <= 2 * LINE_MAX


def test_a_response_like_the_last_one_has_its_verdict_and_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = HttpExchange(Http(expect="hello"), "a")
    replies = [HELLO, HELLO.replace(b"200", b"500"), HELLO.replace(b"1.1", b"1.0"), HELLO + b"x"]
    first = [exchange.reply(b"", reply) for reply in replies]
    assert first == [True, False, LastReply.RIGHT, LastReply.UNREADABLE]
    for reply, verdict in zip(replies, first, strict=True):
        assert exchange.reply(b"", reply) is verdict
        with monkeypatch.context() as patched:
            patched.setattr("loadgen.protocols.http_exchange.ResponseReader", None)
            assert exchange.reply(b"", reply) is verdict
    reader = exchange.reply(b"", HELLO[:-1])
    assert isinstance(reader, ResponseReader)
    assert reader.read(b"o") is True


# --- h11 ------------------------------------------------------------------------------------------------


def judged_by_h11(data: bytes, http: Http, *, ends: bool) -> Any:
    """Return the verdict that h11's reading of these bytes leads to."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=http.method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    if ends:
        client.receive_data(b"")
    status, body = 0, bytearray()
    try:
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                return None
            if event is h11.PAUSED:
                return LastReply.WRONG
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None if ends else LastReply.UNREADABLE
    if client.trailing_data[0].strip(b"\r\n"):
        return LastReply.UNREADABLE
    right = http.right(status, body)
    if ends or client.their_state is h11.DONE:
        return right
    return LastReply.RIGHT if right else LastReply.WRONG


_token = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
_value = st.from_regex(r"([!-~]([ -~]{0,20}[!-~])?)?", fullmatch=True)
_framing: Final = {"content-length", "transfer-encoding", "connection", "content-encoding", "upgrade", "keep-alive"}


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, str, bool]:
    """A response with what may come before and after it; the method it answers; True if the end of file follows."""
    method = draw(st.sampled_from(["GET", "GET", "HEAD"]))
    data = b"".join(
        b"HTTP/1.1 %d Info\r\nX: y\r\n\r\n" % status
        for status in draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    )
    status = draw(st.sampled_from([200, 200, 200, 204, 206, 304, 404, 500]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    data += b"HTTP/%s %d Reason\r\n" % (version, status)
    headers = draw(st.lists(st.tuples(_token.filter(lambda name: name.lower() not in _framing), _value), max_size=4))
    if draw(st.booleans()):
        # h11 knows no keep-alive of HTTP/1.0.
        options = ["close", "Close", "x, close", "upgrade", *(["keep-alive"] if version == b"1.1" else [])]
        headers.append(("Connection", draw(st.sampled_from(options))))
    body = draw(st.one_of(st.binary(max_size=40), st.just(b"hello"), st.just(b"hello HTTP/1.1 200 OK\r\n\r\n")))
    bodiless = method == "HEAD" or status in (204, 304)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    ends = draw(st.booleans())
    if framing == "length":
        headers.append(("Content-Length", str(len(body))))
    elif framing == "chunked" and version == b"1.1":
        headers.append(("Transfer-Encoding", "chunked"))
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
        parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"
    data += "".join(f"{name}: {value}\r\n" for name, value in headers).encode() + b"\r\n"
    if not bodiless:
        data += body
    if draw(st.booleans()):
        return data[: draw(st.integers(1, len(data)))], method, ends
    return data + draw(st.sampled_from([b"", b"", b"", b"x", HELLO])), method, ends


@given(responses(), st.lists(st.integers(1, 400), max_size=5))
def test_the_verdict_is_that_of_h11_however_the_response_is_cut(
    response: tuple[bytes, str, bool], cuts: list[int]
) -> None:
    data, method, ends = response
    http = Http(method=method, status=(200, 204), expect="" if method == "HEAD" else "hello")
    reader, verdict = ResponseReader(http), None
    places = [0, *sorted(cut for cut in set(cuts) if cut < len(data)), len(data)]
    seen = 0
    for start, end in pairwise(places):
        verdict, seen = reader.read(data[start:end]), end
        if verdict is not None:
            break
    if verdict is None and ends:
        verdict = reader.end()
        assert verdict is judged_by_h11(data, http, ends=True)
    else:
        assert verdict is judged_by_h11(data[:seen], http, ends=False)
