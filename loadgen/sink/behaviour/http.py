"""HTTP/1.1 (RFC 9112) as a server: every request gets the same answer. h11 does the parsing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

import h11

from loadgen.sink.behaviour.answers import Filler, Piece

#: Status codes of responses without a body and without Content-Length (RFC 9110 8.6, 15.4.5).
WITHOUT_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


class HttpResponder:
    """status, body_bytes: of every response. requests_max: the last response carries `Connection: close`."""

    def __init__(self, status: int, body_bytes: int, requests_max: int | None) -> None:
        self._status, self._body_bytes, self._requests_left = status, body_bytes, requests_max
        self._connection = h11.Connection(h11.SERVER)
        self._method = b""
        self.finished = False

    @property
    def held(self) -> int:
        """Bytes of input kept for later: of requests that are incomplete, or whose turn has not come."""
        return len(self._connection.trailing_data[0])

    def receive(self, data: bytes) -> Iterator[Piece]:
        """Yield a response for each complete request; a malformed request gets status 400 or another 4xx or 5xx."""
        if self.finished:
            return
        try:
            self._connection.receive_data(data)
            while not self.finished and (pieces := self._step()) is not None:
                yield from pieces
        except h11.LocalProtocolError:  # no answer is allowed in this state
            self.finished = True
        except h11.RemoteProtocolError as error:
            self.finished = True
            if self._connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                yield from self._answer(error.error_status_hint, 0, last=True)

    def _step(self) -> Sequence[Piece] | None:
        """Return what the next h11 event has for an answer, if anything; None: more data is needed."""
        connection = self._connection
        event = connection.next_event()
        if event is h11.NEED_DATA or event is h11.PAUSED:
            if connection.they_are_waiting_for_100_continue:
                return [connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b""]
            return None
        if isinstance(event, h11.Request):
            self._method = event.method
        elif isinstance(event, h11.EndOfMessage):
            if self._requests_left is not None:
                self._requests_left -= 1
            # CONNECT would open a tunnel to any address the client names.
            status = HTTPStatus.METHOD_NOT_ALLOWED if self._method == b"CONNECT" else self._status
            pieces = self._answer(status, self._body_bytes, last=self._requests_left == 0)
            if connection.our_state is h11.DONE:
                connection.start_next_cycle()
            else:
                self.finished = True
            return pieces
        elif isinstance(event, h11.ConnectionClosed):
            self.finished = True
        return ()

    def _answer(self, status: int, size: int, *, last: bool) -> list[Piece]:
        bare = status in WITHOUT_BODY
        headers = [] if bare else [("Content-Type", "text/plain"), ("Content-Length", str(size))]
        if last:
            headers.append(("Connection", "close"))
        send = self._connection.send
        pieces: list[Piece] = [send(h11.Response(status_code=status, reason=_reason(status), headers=headers)) or b""]
        if size and not bare and self._method != b"HEAD":
            body = h11.Data(data=Filler(size))  # type: ignore[arg-type]  # "any object with a length", says h11's manual
            pieces += self._connection.send_with_data_passthrough(body) or ()
        send(h11.EndOfMessage())  # has no bytes after a body with Content-Length
        return pieces
