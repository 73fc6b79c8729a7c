"""Responders: bytes received in, answers out, and when the exchange is finished. No sockets here.

Answers are made one at a time, when the caller asks for the next: a few bytes of input may ask for many large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from loadgen.model import SinkBehaviour, Speaks
from loadgen.sink.behaviour.answers import Piece


class Responder(Protocol):
    """The sink's side of one connection.

    finished: no further answers follow; close the connection once the pending ones are sent.
    """

    finished: bool

    @property
    def held(self) -> int:
        """Bytes of input kept for later."""

    def quick(self, data: bytes) -> bytes | None:
        """Return the answer to this data where that is known, small, and leaves the responder as it is; else None.

        Where it returns an answer, `receive` would return the same.
        """

    def receive(self, data: bytes) -> Iterable[Piece]:
        """Return the answers to this data, made while it is iterated over; empty data is the client's end of file.

        The answers to one call have to be exhausted before the next.
        """


class EchoResponder:
    """Send back all data. bytes_max, requests_max: finish after this much; each read counts as one request."""

    def __init__(self, bytes_max: int | None, requests_max: int | None) -> None:
        self._bytes_left, self._requests_left = bytes_max, requests_max
        self.finished = False
        self.held = 0

    def quick(self, data: bytes) -> bytes | None:
        """Return the data of an echo without limits."""
        return data if self._bytes_left is None and self._requests_left is None else None

    def receive(self, data: bytes) -> Iterator[Piece]:
        """Return the same data."""
        if not data or self.finished:
            self.finished = True
            return
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
            self.finished |= self._bytes_left <= 0
        if self._requests_left is not None:
            self._requests_left -= 1
            self.finished |= self._requests_left <= 0
        yield data


class SilentResponder:
    """Read and never answer. requests_max: finish after this many reads."""

    def __init__(self, requests_max: int | None) -> None:
        self._requests_left = requests_max
        self.finished = False
        self.held = 0

    def quick(self, _data: bytes) -> bytes | None:
        """Return None: reads are counted."""
        return None

    def receive(self, data: bytes) -> Iterable[Piece]:
        """Return no answers."""
        if self._requests_left is not None:
            self._requests_left -= 1
            self.finished |= self._requests_left <= 0
        self.finished |= not data
        return ()


def responder_factory(behaviour: SinkBehaviour) -> Callable[[int | None], Responder]:
    """Return a function that makes the responder of one connection; its argument is `bytes_max` of an echo."""
    if behaviour.speaks is Speaks.ECHO:
        return lambda bytes_max: EchoResponder(bytes_max, behaviour.close_after_requests)
    if behaviour.speaks is Speaks.NOTHING:
        return lambda _: SilentResponder(behaviour.close_after_requests)
    # Imported when the sink starts listening: later it may have no free descriptor to read a module with.
    from loadgen.sink.behaviour.http import HttpResponder, HttpService

    service = HttpService(behaviour.status, behaviour.body_bytes, behaviour.close_after_requests)
    return lambda _: HttpResponder(service)
