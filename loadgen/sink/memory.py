"""The memory that the connections of one sink process may take with what their clients have not read yet."""

from __future__ import annotations

from typing import Final

#: Bytes of answers that one connection may hold.
CONNECTION_MAX: Final = 262_144
#: Bytes that all connections of a process may hold before each gets `SCARCE` only.
PROCESS_MAX: Final = 64 << 20
#: Enough to go on with, and small: 20,000 connections, the most of a process with usual limits, then hold 80 MB.
SCARCE: Final = 4_096


class HeldBytes:
    """used: bytes held by all connections of this process."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0

    @property
    def allowance(self) -> int:
        """Bytes of answers that one connection may hold now; one that holds more makes and reads no more."""
        return CONNECTION_MAX if self.used < PROCESS_MAX else SCARCE
