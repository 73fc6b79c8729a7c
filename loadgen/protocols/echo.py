"""Echo: send some bytes and expect them back; the cheapest proof that a connection works end to end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Echo:
    """size: bytes to send, 1 to 65,536. They contain the request's number, so that an old reply is not mistaken."""

    size: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 65_536:
            raise ValueError("write a size from 1 to 65,536")

    def request(self, number: int) -> bytes:
        """Return the number, padded with dots to the size."""
        return number.to_bytes(8, "big").rjust(self.size, b".")[-self.size :]

    def reply(self, request: bytes, received: bytes) -> bool | None:
        """Return True once the whole request came back, False for other data, None while it is incomplete."""
        if not request.startswith(received[: len(request)]):
            return False
        return True if len(received) >= len(request) else None
