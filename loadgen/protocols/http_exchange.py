"""HTTP/1.1 (RFC 9112) as a client: the bytes of a request, and a reader of the response. No sockets here.

The request to a target is always the same, so it is rendered once. A response that is byte for byte the last one has
the same verdict, so only those that differ are parsed: a server's Date changes once a second. httptools does the
parsing, with a parser for each response that is being read and none in between.

Requests are never pipelined. So bytes after a response belong to no request; they make it unreadable, as the next
response could not be told from them.
"""

from __future__ import annotations

import zlib
from typing import Any, Final, TypeVar

from httptools import HttpParserError, HttpResponseParser

from loadgen.protocols.base import LastReply, ReplyReader
from loadgen.protocols.http import Http

V = TypeVar("V", bool, LastReply)

#: Maximum length of the status line, of a header's name and of its value; maximum number of headers. As in aiohttp.
LINE_MAX: Final = 8190
HEADERS_MAX: Final = 128
#: RFC 9110 8.6: methods with which a request without a body says so.
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
#: RFC 9110 15.2: final responses begin here.
_FINAL: Final = 200
_SWITCHING_PROTOCOLS: Final = 101
#: Informational responses that the parser knows to have no body.
_INFORMATIONAL: Final = (100, 102, 103)
_GZIP: Final = (b"gzip", b"x-gzip")
_DEFLATE: Final = b"deflate"
#: wbits of zlib's manual: with a header of gzip or zlib, whichever it is; without one, as some servers send deflate.
_ANY_HEADER, _NO_HEADER = 47, -15


def rendered(http: Http, host: str, *, last: bool = False) -> bytes:
    """Return the request. host: how the target is named in it. last: ask the target to close after its reply."""
    body = http.body.encode()
    headers = {"Host": host}
    given = {name.lower() for name in http.headers}
    if (body or http.method in _WITH_BODY) and "transfer-encoding" not in given:
        headers["Content-Length"] = str(len(body))
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | dict(http.headers)
    if last:
        headers = {name: value for name, value in headers.items() if name.lower() != "connection"}
        headers["Connection"] = "close"
    lines = [f"{http.method} {http.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class HttpExchange:
    """The exchange with one target."""

    def __init__(self, http: Http, host: str) -> None:
        self._http = http
        self._request, self._last_request = rendered(http, host), rendered(http, host, last=True)
        #: The last response that came in one piece, and its verdict.
        self._seen = b""
        self._verdict: bool | LastReply = True

    def request(self, number: int) -> bytes:  # noqa: ARG002  # always the same
        """Return the request."""
        return self._request

    def last_request(self, number: int) -> bytes:  # noqa: ARG002  # always the same
        """Return the request that asks the target to close after its reply."""
        return self._last_request

    def reply(self, request: bytes, received: bytes) -> bool | LastReply | ReplyReader | None:  # noqa: ARG002
        """Return the verdict on a response that came in one piece, or a reader that waits for more of it."""
        if received == self._seen:
            return self._verdict
        reader = ResponseReader(self._http)
        verdict = reader.read(received)
        if verdict is None:
            return reader
        self._seen, self._verdict = received, verdict
        return verdict


class ResponseReader:
    """Reads one response to a request, and the 1xx responses before it."""

    __slots__ = (
        "_body", "_bytes", "_chunked", "_coding", "_complete", "_connection", "_decoder", "_headers", "_http",
        "_in_body", "_length", "_line_bytes", "_parser", "_reason_bytes", "_spoiled", "_status", "_surplus",
    )  # fmt: skip

    def __init__(self, http: Http) -> None:
        self._http = http
        self._parser = HttpResponseParser(self)
        # As aiohttp reads responses: a line may end with LF alone (RFC 9112 2.2).
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        #: Of the response under way: status, reason, headers so far, and what they say of body and connection.
        self._status = self._reason_bytes = self._headers = 0
        self._length = self._chunked = False
        self._coding = self._connection = b""
        #: The body, kept where it is to be searched, and its decoded bytes so far.
        self._body, self._bytes = bytearray(), 0
        self._decoder: Any = None
        #: Bytes of pieces in which no line ended.
        self._line_bytes = 0
        self._in_body = self._complete = self._surplus = self._spoiled = False

    def read(self, data: bytes) -> bool | LastReply | None:
        """Take the next piece; return the verdict, None while the response is incomplete."""
        self._line_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError:  # also where `_require` has raised something
            return self._over(LastReply.WRONG if self._status == _SWITCHING_PROTOCOLS else LastReply.UNREADABLE)
        if self._surplus or self._line_bytes > 2 * LINE_MAX:
            return self._over(LastReply.UNREADABLE)
        if not self._complete:
            return None
        right = self._right()
        if self._keeps_alive():
            return self._over(right)
        return self._over(LastReply.RIGHT if right else LastReply.WRONG)

    def end(self) -> bool | None:
        """Return the verdict when the other side has sent its end of file: it may have been the end of the body."""
        return self._over(self._right()) if self._in_body and not (self._length or self._chunked) else None

    def _over(self, verdict: V) -> V:
        """Part with the parser, which refers to this object: so neither has to wait for the garbage collector."""
        del self._parser
        return verdict

    def _keeps_alive(self) -> bool:
        """Return True if the other side takes another request (RFC 9112 9.3)."""
        options = [option.strip() for option in self._connection.lower().split(b",")]
        if b"close" in options:
            return False
        return self._parser.get_http_version() == "1.1" or b"keep-alive" in options

    def _right(self) -> bool:
        too_long = self._bytes > self._http.max_body
        cut_off = self._decoder is not None and not self._decoder.eof
        return not (too_long or cut_off or self._spoiled) and self._http.right(self._status, self._body)

    # --- What the parser reports ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a response. After the one that was asked for there should be none."""
        self._surplus |= self._complete
        self._status = self._reason_bytes = self._headers = 0
        self._length = self._chunked = False
        self._coding = self._connection = b""

    def on_status(self, reason: bytes) -> None:
        """Take a part of the reason phrase."""
        self._reason_bytes += len(reason)
        _require(self._reason_bytes <= LINE_MAX)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or, after the body, a trailer."""
        self._line_bytes = 0
        self._headers += 1
        _require(self._headers <= HEADERS_MAX and len(name) <= LINE_MAX and len(value) <= LINE_MAX)
        if self._in_body:
            return
        name = name.lower()
        if name == b"connection":
            self._connection += b"," + value
        elif name == b"content-length":
            self._length = True
        elif name == b"transfer-encoding":
            self._chunked = value.lower().endswith(b"chunked")
        elif name == b"content-encoding":
            self._coding = value.strip().lower()

    def on_headers_complete(self) -> None:
        """Take the end of the headers; of a response to HEAD it is the end."""
        self._line_bytes = 0
        self._status = self._parser.get_status_code()
        _require(self._parser.get_http_version() in ("1.1", "1.0"))
        if self._status >= _FINAL:
            self._in_body = True
            self._complete = self._http.method == "HEAD"
        else:
            _require(self._status in _INFORMATIONAL)

    def on_chunk_header(self) -> None:
        """Take the line before a chunk."""
        self._line_bytes = 0

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._line_bytes = 0
        if self._complete:  # after a response to HEAD
            self._surplus = True
            return
        if self._coding in _GZIP or self._coding == _DEFLATE:
            data = self._decoded(data)
        self._bytes += len(data)
        if self._http.expect and self._bytes <= self._http.max_body:
            self._body += data

    def on_message_complete(self) -> None:
        """Take the end of a response, which may have been informational."""
        self._complete |= self._in_body

    def _decoded(self, data: bytes) -> bytes:
        """Return what a part of the body is decompressed, up to the first byte that is too many."""
        decoded = b""
        while data and not self._spoiled and (room := self._http.max_body + 1 - self._bytes - len(decoded)) > 0:
            decoder = self._decoder
            if decoder is None or (decoder.eof and self._coding in _GZIP):  # of one member or several (RFC 1952 2.2)
                bare = self._coding == _DEFLATE and data[0] & 15 != zlib.DEFLATED
                decoder = self._decoder = zlib.decompressobj(_NO_HEADER if bare else _ANY_HEADER)
            elif decoder.eof:
                self._spoiled = True
                break
            try:
                decoded += decoder.decompress(data, room)
            except zlib.error:
                self._spoiled = True
            data = decoder.unused_data
        return decoded


def _require(condition: bool) -> None:
    """Make the parser fail unless a condition holds."""
    if not condition:
        raise ValueError
