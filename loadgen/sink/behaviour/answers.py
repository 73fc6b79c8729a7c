"""Answers of one connection that wait for their time and for room. A body is only its size until it is sent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

#: Parts that an answer can be taken in.
PART_MAX: Final = 65_536
_FILLING: Final = memoryview(b"x" * PART_MAX)
#: Memory of a piece beside its bytes: a tuple, two numbers and an object.
_PIECE_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Filler:
    """The body of an answer: this many bytes, all the same, that take no memory."""

    size: int

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"x" * self.size


Piece = bytes | Filler


class PendingAnswers:
    """Pieces of answers in their order. held: memory that they take, bytes."""

    __slots__ = ("_pieces", "held")

    def __init__(self) -> None:
        #: (due_ns, piece)
        self._pieces: deque[tuple[int, Piece]] = deque()
        self.held = 0

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def due_ns(self) -> int | None:
        """When the first piece is due; None: there is none."""
        return self._pieces[0][0] if self._pieces else None

    def add(self, due_ns: int, piece: Piece) -> None:
        """Append a piece, which is due no earlier than those before it; an empty one is left out."""
        if piece:
            self._pieces.append((due_ns, piece))
            self.held += _weight(piece)

    def take(self, now: int, room: int) -> bytes | memoryview:
        """Remove and return the next part that is due, of a filler at most `room` bytes; empty: none is due."""
        if not self._pieces or self._pieces[0][0] > now:
            return b""
        due_ns, piece = self._pieces[0]
        size = min(room, PART_MAX)
        if isinstance(piece, Filler) and piece.size > size:
            self._pieces[0] = due_ns, Filler(piece.size - size)
            return _FILLING[:size]
        self._pieces.popleft()
        self.held -= _weight(piece)
        return _FILLING[: piece.size] if isinstance(piece, Filler) else piece

    def clear(self) -> None:
        """Forget all pieces."""
        self._pieces.clear()
        self.held = 0


def _weight(piece: Piece) -> int:
    return _PIECE_BYTES + (0 if isinstance(piece, Filler) else len(piece))
