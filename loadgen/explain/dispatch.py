"""Chooses the formats that a line may begin, so that only these are asked, in the order of their table.

Most lines of a log begin nothing. `Format.heads` and `Format.words` tell it by the first character of a line and by
the words in it, and whole runs of lines are searched for words at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from loadgen.explain.formats.base import Format
from loadgen.explain.word_scan import WordScan

#: Lines, and characters, that are searched at once.
_LINES: Final = 2048
_CHARACTERS: Final = 1 << 18


class FormatTable:
    """Formats by the first characters and the words of lines. A set of formats is a number with a bit for each."""

    def __init__(self, formats: Sequence[Format]) -> None:
        self.formats = tuple(formats)
        self.all = (1 << len(self.formats)) - 1
        self._any = 0
        by_word: dict[str, int] = {}
        heads: dict[str, int] = {}
        for place, one in enumerate(self.formats):
            if one.heads is None:
                self._any |= 1 << place
            for head in one.heads or ():
                heads[head] = heads.get(head, 0) | 1 << place
            for word in one.words:
                by_word[word] = by_word.get(word, 0) | 1 << place
        self._by_head = {head: bits | self._any for head, bits in heads.items()}
        self.scan = WordScan(by_word) if by_word else None
        self._chosen: dict[int, tuple[Format, ...]] = {}

    def by_head(self, line: str) -> int:
        """Return the formats that may begin with the first character of a line that is not blank."""
        head = line[:1]
        if head.isspace():
            head = line.lstrip()[:1]
        if not head.isascii() and head not in self._by_head:
            head = "0" if head.isdecimal() else head  # \d is a digit of any script
        return self._by_head.get(head, self._any)

    def chosen(self, bits: int) -> tuple[Format, ...]:
        """Return the formats of a set, in their order."""
        found = self._chosen.get(bits)
        if found is None:
            found = tuple(one for place, one in enumerate(self.formats) if bits >> place & 1)
            self._chosen[bits] = found
        return found


@lru_cache(maxsize=8)
def _table_of(formats: tuple[Format, ...]) -> FormatTable:
    return FormatTable(formats)


class Dispatch:
    """Looks at the lines of one file, run by run."""

    def __init__(self, formats: Sequence[Format]) -> None:
        self._table = _table_of(tuple(formats))
        self._lines: Sequence[str] = ()
        self._begin = self._end = 0
        self._found: dict[int, int] = {}

    def candidates(self, lines: Sequence[str], at: int) -> tuple[Format, ...]:
        """Return the formats that may begin with the line at this index, in their order: `begins` is False of others.

        lines: must not change as long as it is asked about.
        """
        if lines is not self._lines or not self._begin <= at < self._end:
            self._look_at(lines, at)
        return self._table.chosen(self._table.by_head(lines[at]) | self._found.get(at - self._begin, 0))

    def _look_at(self, lines: Sequence[str], at: int) -> None:
        """Search the lines from this index on for words."""
        self._lines, self._begin = lines, at
        run: list[str] = []
        characters = 0
        for line in lines[at : at + _LINES]:
            characters += len(line)
            if run and characters > _CHARACTERS:
                break
            run.append(line)
        self._end = at + len(run)
        if len(run) == 1 and characters > _CHARACTERS:  # no format has so long a line but JSON
            self._found = {0: self._table.all}
        else:
            self._found = self._table.scan.find(run) if self._table.scan else {}
