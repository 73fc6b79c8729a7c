"""A reader of formats whose lines are read one by one, and the bound on how many readings it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from loadgen.explain.evidence import Evidence, Where

#: Readings of one piece that are kept: no account needs more addresses, routes or rules.
KEPT_MAX: Final = 100_000
_Reading = TypeVar("_Reading")


class LineReader:
    """Reads a piece line by line; a format says in `take` what one line means."""

    what = ""

    def __init__(self, evidence: Evidence, file: str) -> None:
        self.evidence, self.file = evidence, file
        self._kept = 0
        self._beyond: tuple[int, int] | None = None

    def take(self, line: str, where: Where) -> bool:
        """Read a line into the evidence; return False if it is none of this piece."""
        raise NotImplementedError

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take lines as long as they are of this piece; see `FormatReader`."""
        while at < len(lines) and self.take(lines[at], Where(self.file, first + at)):
            at += 1
        return at

    def finish(self) -> None:
        """Say which lines were too many."""
        if self._beyond:
            why = f"not kept: beyond the first {KEPT_MAX:,} of {self.what}"
            self.evidence.note_unread(self.file, *self._beyond, why)

    def keep(self, readings: list[_Reading], reading: _Reading, where: Where) -> None:
        """Add a reading to those of the evidence, as long as there is room."""
        if self._kept < KEPT_MAX:
            self._kept += 1
            readings.append(reading)
            return
        self._beyond = (self._beyond[0] if self._beyond else where.line, where.line)

    def refuse(self, where: Where, why: str) -> None:
        """Note a line that belongs to the piece and cannot be read."""
        self.evidence.note_unread(self.file, where.line, where.line, why)
