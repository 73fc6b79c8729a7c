"""Requests of HTTP/1.1 (RFC 9112) as a server reads them: where they end, and what an answer has to know of them.

llhttp (httptools) parses. A head is cut off the input at its empty line, so its size is bounded however it arrives, and
one that is equal to an earlier head needs no parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import httptools

#: The end of each head, and of each body in chunks (RFC 9112 2.1, 7.1).
END: Final = b"\r\n\r\n"
#: Heads that are remembered. With HEAD_MAX of http.py they are 1 MiB at most.
_REMEMBERED: Final = 64
#: Ends of request lines, and whether a connection stays open unless the client says otherwise.
_PERSISTENT: Final = {b" HTTP/1.1": True, b" HTTP/1.0": False}
#: A method, known to llhttp or not, and a line with one (RFC 9110 5.6.2, RFC 9112 3).
_METHOD: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_REQUEST_LINE: Final = re.compile(_METHOD.pattern + rb" \S+ HTTP/1\.[01]\r\n")
_HEAD_OF_CHUNKS: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class BadRequestError(Exception):
    """Input that is no request, or one that cannot be read. status: of the answer."""

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """keeps_alive: the connection stays open after the answer. body_bytes: length of the body; None: it is in chunks.

    awaits_continue: the body comes after an answer with status 100 (RFC 9110 10.1.1).
    """

    method: bytes
    keeps_alive: bool
    awaits_continue: bool
    body_bytes: int | None


@lru_cache(_REMEMBERED)
def request_head(head: bytes) -> RequestHead:
    """Parse a head that begins with its request line and ends with END.

    Raises: BadRequestError; its status is 505 for other versions of HTTP, 501 for an unknown method or transfer coding.
    """
    fields = _Fields(head)
    if not fields.complete:
        raise BadRequestError
    version = head[: head.index(b"\r\n")][-len(b" HTTP/1.1") :]
    if version not in _PERSISTENT:
        raise BadRequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if fields.codings not in (b"", b"chunked"):
        raise BadRequestError(HTTPStatus.NOT_IMPLEMENTED)
    if fields.hosts > 1 or (_PERSISTENT[version] and not fields.hosts):  # RFC 9112 3.2
        raise BadRequestError
    return RequestHead(
        fields.method,
        _PERSISTENT[version] and fields.keeps_alive,
        _PERSISTENT[version] and fields.expectation == b"100-continue",
        None if fields.codings else fields.length,
    )


def require_possible(beginning: bytes) -> None:
    """Check that this may be the beginning of a head.

    Raises: BadRequestError with the status that request_head would give, whatever follows.
    """
    _Fields(beginning)


class _Fields:
    """Fields that llhttp finds in a head. complete: it was read to its end."""

    def __init__(self, data: bytes) -> None:
        self.complete = self.keeps_alive = False
        self.method = self.codings = self.expectation = b""
        self.hosts = self.length = 0
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # the sink stays with HTTP, as any server may
            pass
        except httptools.HttpParserInvalidMethodError:
            if b"\r\n" in data or not _METHOD.match(data):  # else more of the line is needed to tell
                is_method = _REQUEST_LINE.match(data)
                raise BadRequestError(HTTPStatus.NOT_IMPLEMENTED if is_method else HTTPStatus.BAD_REQUEST) from None
        except httptools.HttpParserError:
            unknown_coding = self.codings not in (b"", b"chunked")
            raise BadRequestError(HTTPStatus.NOT_IMPLEMENTED if unknown_coding else HTTPStatus.BAD_REQUEST) from None
        finally:
            del self._parser  # it refers to this object

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        match name.lower():
            case b"host":
                self.hosts += 1
            case b"content-length":
                self.length = int(value)
            case b"transfer-encoding":
                self.codings = value.strip().lower() if not self.codings else self.codings + b", " + value
            case b"expect":
                self.expectation = value.strip().lower()

    def on_headers_complete(self) -> None:
        """Note what only the parser knows, as long as it does."""
        self.complete = True
        self.method = self._parser.get_method()
        self.keeps_alive = self._parser.should_keep_alive()


class ChunkedBody:
    """Finds the end of a body in chunks; nothing of it is kept."""

    def __init__(self) -> None:
        self.complete = False
        #: Without `on_header` it keeps no trailers either.
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_HEAD_OF_CHUNKS)

    def on_message_complete(self) -> None:
        """Note the end."""
        self.complete = True

    def skip(self, data: bytes, at: int) -> int:
        """Read the body from `data[at:]`; return where it ends or, unless `complete`, where to go on with more data.

        Raises: BadRequestError.
        """
        view = memoryview(data)
        while not self.complete:
            # The parser does not say where a body ends, but it ends with END: what follows has to stay out of it.
            found = data.find(END, at)
            stop = found + len(END) if found >= 0 else max(len(data) - len(END) + 1, at)
            try:
                self._parser.feed_data(view[at:stop])
            except httptools.HttpParserError:
                raise BadRequestError from None
            at = stop
            if found < 0:
                break
        return at
