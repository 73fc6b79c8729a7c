"""Some bytes, and the same bytes back: the cheapest proof that a connection is alive from end to end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Echo:
    """size: bytes to send, 1 to 65,536. They carry the number of the request, so no old reply is taken for it."""

    size: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 65_536:
            raise ValueError("write a size from 1 to 65,536")

    def request(self, number: int) -> bytes:
        """The number, padded with dots to the size."""
        return number.to_bytes(8, "big").rjust(self.size, b".")[-self.size :]

    def reply(self, request: bytes, received: bytes) -> bool | None:
        """Whether all of it came back."""
        if not request.startswith(received[: len(request)]):
            return False
        return True if len(received) >= len(request) else None
