"""Goes through the lines of a file: each piece goes to the format that recognises it; the rest is noted as unread."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final

from loadgen.explain import text
from loadgen.explain.dispatch import Dispatch
from loadgen.explain.evidence import Evidence, Piece
from loadgen.explain.formats import FORMATS, Format, FormatReader
from loadgen.explain.formats.base import last_filled

#: Allocations between two collections of garbage while a file is read. A listing makes millions of objects and no
#: cycle; with the default of 700 the collector takes a quarter of the time.
_ALLOCATIONS: Final = 200_000


def read(evidence: Evidence, stream: BinaryIO, file: str, formats: Sequence[Format] = FORMATS) -> None:
    """Read a file into the evidence. file: its name for the places. Raises: OSError of the stream."""
    reader = _Reader(evidence, file, formats)
    first = 1
    with _collecting_rarely():
        for lines in text.lines(stream):
            reader.feed(lines, first)
            first += len(lines)
        reader.finish()


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    youngest, *older = gc.get_threshold()
    gc.set_threshold(max(youngest, _ALLOCATIONS) if youngest else 0, *older)
    try:
        yield
    finally:
        gc.set_threshold(youngest, *older)


class _Reader:
    """The reader of one file: which piece is being read, and since when."""

    def __init__(self, evidence: Evidence, file: str, formats: Sequence[Format]) -> None:
        self._evidence, self._file, self._dispatch = evidence, file, Dispatch(formats)
        self._piece: tuple[Format, FormatReader] | None = None
        self._began = self._ended = 0
        self._unread: tuple[int, int] | None = None
        self._unread_before = len(evidence.unread)

    def feed(self, lines: Sequence[str], first: int) -> None:
        """Take lines, of which the first has this number."""
        at = 0
        while at < len(lines):
            end = self._piece[1].feed(lines, at, first) if self._piece else at
            if end > at:
                if filled := last_filled(lines, at, end):
                    self._ended = first + filled - 1
                at = end
                continue
            if not lines[at] or lines[at].isspace():
                at += 1  # The piece may go on behind it: mails and web pages double line ends.
                continue
            self._end_piece()
            end = self._begin(lines, at, first)
            if end == at:
                self._note_unread(first + at)
                end = at + 1
            at = end

    def _begin(self, lines: Sequence[str], at: int, first: int) -> int:
        """Begin a piece; return the index behind the lines that it took, `at` if no format takes any."""
        for candidate in self._dispatch.candidates(lines, at):
            if not candidate.begins(lines[at]):
                continue
            reader = candidate.reader(self._evidence, self._file)
            end = reader.feed(lines, at, first)
            if end > at:
                self._end_unread()
                self._piece = (candidate, reader)
                self._began, self._ended = first + at, first + last_filled(lines, at, end) - 1
                return end
        return at

    def _note_unread(self, number: int) -> None:
        self._unread = (self._unread[0] if self._unread else number, number)

    def _end_unread(self) -> None:
        if self._unread:
            self._evidence.note_unread(self._file, *self._unread)
            self._unread = None

    def _end_piece(self) -> None:
        if self._piece:
            candidate, reader = self._piece
            reader.finish()
            self._evidence.note_piece(Piece(candidate.name, reader.what, self._file, self._began, self._ended))
            self._piece = None

    def finish(self) -> None:
        """End what is open; nothing follows."""
        self._end_piece()
        self._end_unread()
        # A format notes rows of its own that it cannot read, some of them only at the end of its piece.
        unread = self._evidence.unread
        unread[self._unread_before :] = sorted(unread[self._unread_before :], key=lambda one: one.first)
