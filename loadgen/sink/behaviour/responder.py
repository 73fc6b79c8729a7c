"""What a sink answers to what it hears: bytes in, answers out, and when it has said enough. No socket in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from loadgen.model import Manners, Speaks


class Speech(Protocol):
    """One side of one connection.

    over: nothing more will be said; the connection is to be closed once the answers are sent.
    """

    over: bool

    def hear(self, data: bytes) -> Sequence[bytes]:
        """The answers to what has come, each whole; empty data: the client has said all it had to say."""


class Echo:
    """Sends back what it hears. bytes_max, requests_max: how much until it has said enough; each read is a request."""

    def __init__(self, bytes_max: int | None, requests_max: int | None) -> None:
        self._bytes_left, self._requests_left = bytes_max, requests_max
        self.over = False

    def hear(self, data: bytes) -> Sequence[bytes]:
        """The same again."""
        if not data or self.over:
            self.over = True
            return ()
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
            self.over |= self._bytes_left <= 0
        if self._requests_left is not None:
            self._requests_left -= 1
            self.over |= self._requests_left <= 0
        return (data,)


class Nothing:
    """Hears and never answers. requests_max: so many reads until it has heard enough."""

    def __init__(self, requests_max: int | None) -> None:
        self._requests_left = requests_max
        self.over = False

    def hear(self, data: bytes) -> Sequence[bytes]:
        """Nothing."""
        if self._requests_left is not None:
            self._requests_left -= 1
            self.over |= self._requests_left <= 0
        self.over |= not data
        return ()


def speaker(manners: Manners) -> Callable[[int | None], Speech]:
    """What makes the speech of a connection with these manners, from the bytes_max of an echo that closes first."""
    if manners.speaks is Speaks.ECHO:
        return lambda bytes_max: Echo(bytes_max, manners.close_after_requests)
    if manners.speaks is Speaks.NOTHING:
        return lambda _: Nothing(manners.close_after_requests)
    from loadgen.sink.behaviour.http import (
        Http,  # now, for those sinks that speak it: later a descriptor may be wanting
    )

    return lambda _: Http(manners.status, manners.body_bytes, manners.close_after_requests)
