"""HTTP/1.1 (RFC 9112) as a server: every request gets the same answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from typing import Final

from loadgen.sink.behaviour.answers import Filler, Piece
from loadgen.sink.behaviour.http_request import (
    END,
    BadRequestError,
    ChunkedBody,
    RequestHead,
    request_head,
    require_possible,
)

#: Status codes of responses without a body and without Content-Length (RFC 9110 8.6, 15.4.5).
WITHOUT_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
#: Bytes of a request's head.
HEAD_MAX: Final = 16_384
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: Requests that are remembered with their responses, and bytes of each: 256 KiB in all.
_KNOWN_MAX: Final = 64
_KNOWN_BYTES: Final = 4_096
#: Bodies up to this size are one piece with their head.
_JOINED_MAX: Final = 4_096


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@cache
def _response(status: int, size: int, *, bodiless: bool, last: bool) -> tuple[Piece, ...]:
    """Return a response. bodiless: leave the body out, though not its length; last: the connection ends with it."""
    lines = [f"HTTP/1.1 {status} {_reason(status)}"]
    if status not in WITHOUT_BODY:
        lines += ["Content-Type: text/plain", f"Content-Length: {size}"]
    if last:
        lines.append("Connection: close")
    head, body = "\r\n".join([*lines, "", ""]).encode(), Filler(size)
    if not size or bodiless or status in WITHOUT_BODY:
        return (head,)
    return (head + bytes(body),) if size <= _JOINED_MAX else (head, body)


class HttpService:
    """State shared by all connections of one address.

    status, body_bytes: of every response. requests_max: the response to that request of a connection is its last, and
    carries `Connection: close`. known: requests that were all of a read, and their responses, see `remember`.
    """

    def __init__(self, status: int, body_bytes: int, requests_max: int | None) -> None:
        self._status, self._body_bytes = status, body_bytes
        self.requests_max = requests_max
        self.known: dict[bytes, bytes] = {}

    def response(self, head: RequestHead, *, last: bool) -> tuple[Piece, ...]:
        """Return the response to a request."""
        # CONNECT would open a tunnel to any address the client names.
        status = HTTPStatus.METHOD_NOT_ALLOWED if head.method == b"CONNECT" else self._status
        return _response(status, self._body_bytes, bodiless=head.method == b"HEAD", last=last)

    def remember(self, request: bytes, response: tuple[Piece, ...]) -> None:
        """Keep a request and its response for the next that is equal, as most are, if it always gets the same."""
        if self.requests_max is None and isinstance(response[-1], bytes) and len(request) <= _KNOWN_BYTES:
            if len(self.known) == _KNOWN_MAX:
                self.known.clear()
            self.known[request] = response[-1]


class HttpResponder:
    """HTTP of one connection."""

    __slots__ = ("_at", "_awaited", "_body_left", "_chunks", "_data", "_head", "_requests_left", "_service", "finished")

    def __init__(self, service: HttpService) -> None:
        self._service, self._requests_left = service, service.requests_max
        #: Input, and how far it has been read.
        self._data, self._at = b"", 0
        #: The request whose body is being read, and what is left of that: bytes, or chunks.
        self._head: RequestHead | None = None
        self._body_left = 0
        self._chunks: ChunkedBody | None = None
        #: The client sends the body after an answer with status 100.
        self._awaited = False
        self.finished = False

    @property
    def held(self) -> int:
        """Bytes of input kept for later: of requests that are incomplete, or whose turn has not come."""
        return len(self._data) - self._at

    def quick(self, data: bytes) -> bytes | None:
        """Return the response to a request that is the whole of a read, if an equal one was before."""
        return None if self._data or self._head else self._service.known.get(data)

    def receive(self, data: bytes) -> Iterator[Piece]:
        """Yield a response for each complete request; a malformed request gets status 400 or another 4xx or 5xx."""
        if self.finished:
            return
        kept = len(self._data)
        whole = not kept and self._head is None
        self._data += data
        try:
            while not self.finished and (head := self._next_request()):
                pieces = self._answer(head)
                if whole and not (self.held or self.finished):
                    self._service.remember(data, pieces)
                whole = False
                yield from pieces
            if not self.finished:
                self._wait(begins=self._at >= kept, ended=not data)
            if self._awaited:
                self._awaited = False
                yield _CONTINUE
        except BadRequestError as error:
            self.finished = True
            yield from _response(error.status, 0, bodiless=False, last=True)
        self._data, self._at = b"" if self.finished else self._data[self._at :], 0

    def _next_request(self) -> RequestHead | None:
        """Return the head of the next request once that is complete; None: more data is needed."""
        if self._head is None:
            self._head = self._next_head()
        if (head := self._head) is None:
            return None
        self._awaited &= not self.held
        if self._chunks:
            self._at = self._chunks.skip(self._data, self._at)
            if not self._chunks.complete:
                return None
            self._chunks = None
        elif self._body_left:
            step = min(self._body_left, self.held)
            self._at += step
            self._body_left -= step
            if self._body_left:
                return None
        self._head = None
        return head

    def _next_head(self) -> RequestHead | None:
        data = self._data
        while data.startswith(b"\r\n", self._at):  # RFC 9112 2.2
            self._at += 2
        found = data.find(END, self._at)
        end = len(data) if found < 0 else found + len(END)
        if end - self._at > HEAD_MAX:
            raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if found < 0:
            return None
        head = request_head(data[self._at : end])
        self._at = end
        if head.body_bytes is None:
            self._chunks = ChunkedBody()
        self._body_left = head.body_bytes or 0
        self._awaited = head.awaits_continue and head.body_bytes != 0
        return head

    def _answer(self, head: RequestHead) -> tuple[Piece, ...]:
        if self._requests_left is not None:
            self._requests_left -= 1
        self.finished = not head.keeps_alive or self._requests_left == 0
        return self._service.response(head, last=self.finished)

    def _wait(self, *, begins: bool, ended: bool) -> None:
        """Take what is left as the beginning of a request. begins: it came just now; ended: nothing follows.

        Raises: BadRequestError if it cannot be one.
        """
        if self._head is None and self.held and (begins or ended):
            require_possible(self._data[self._at :])
        if ended and (self._head or self.held):
            raise BadRequestError
        self.finished = ended
