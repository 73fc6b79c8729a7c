"""JSON documents in pasted text: of loadgen, of `ip -j` and of `nft -j`, on one line or pretty-printed over many.

A document is followed bracket by bracket, so that text that merely begins as JSON is let go at the first line that is
none, and nothing is decoded twice. JSON of other programs is left to other formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from loadgen.explain.evidence import Evidence, Unread, Where
from loadgen.explain.formats.base import Format

#: Characters of a document; a longer one is not read.
DOCUMENT_MAX: Final = 64 << 20
#: No document of ours is deeper.
_DEPTH_MAX: Final = 64
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
#: The rest of JSON once its strings are taken out.
_REST: Final = re.compile(r'[\[\]{}:,\s\d.eE+\-truefalsn"]*')
_BEGINS: Final = re.compile(r'\s*(?:\[\s*)?(?:\{\s*(?:"|$)|$)|\s*[\[{]\s*$')
#: A document on one line that has none of these is none of ours, so that a log of JSON lines costs nothing.
_MARKS: Final = re.compile(r'"(?:schema|ifname|nftables|dst|sysctls)"\s*:')

#: Writes a document into the evidence; returns what it is in words, "" if it is not its own. Raises: ValueError, it is
#: of its own kind and cannot be read, for the reason in the message.
Write = Callable[[object, Evidence, Where], str]


def json_format(name: str, covers: str, writers: Sequence[Write]) -> Format:
    """Return the format of documents that these writers know, asked in their order."""
    return Format(name, covers, _may_begin, lambda evidence, file: JsonReader(evidence, file, writers))


def _may_begin(line: str) -> bool:
    if line[:1] not in "{[ \t" or not _BEGINS.match(line):
        return False
    return not line.rstrip().endswith(("}", "]")) or len(line) < 3 or bool(_MARKS.search(line))


class JsonReader:
    """Reads documents of one kind that follow each other.

    open: lines of a document that is not complete; depth: its open brackets; began: the line of its first.
    """

    what = "JSON"

    def __init__(self, evidence: Evidence, file: str, writers: Sequence[Write]) -> None:
        self._evidence, self._file, self._writers = evidence, file, writers
        self._open: list[str] = []
        self._depth = self._size = self._began = 0
        self._known = ""

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take whole documents, and the beginning of one that goes on behind these lines; see `FormatReader`."""
        while at < len(lines):
            carried = bool(self._open)
            if not carried and (not _may_begin(lines[at]) or not lines[at].strip()):
                return at
            end = self._follow(lines, at, first)
            if not self._open and end == at:
                return at  # it is none; a part that was carried here is noted as unread
            if self._depth:
                return end
            if not self._complete(carried=carried):
                return at
            at = end
        return at

    def _follow(self, lines: Sequence[str], at: int, first: int) -> int:
        """Add lines to the open document up to its last bracket; return the index behind, `at` if it is no JSON."""
        if not self._open:
            self._began, self._depth, self._size = first + at, 0, 0
        end = at
        while end < len(lines):
            line = lines[end]
            depth = self._depth_behind(line)
            if depth is None or self._size + len(line) > DOCUMENT_MAX:
                self._give_up(first + end - 1, carried=first + at > self._began, too_long=depth is not None)
                return at
            self._open.append(line)
            self._size += len(line) + 1
            self._depth = depth
            end += 1
            if not depth:
                break
        return end

    def _depth_behind(self, line: str) -> int | None:
        """Return how many brackets are open behind a line; None if it is no JSON, or ends below zero."""
        rest = _STRING.sub("", line)
        if not _REST.fullmatch(rest) or '"' in rest:
            return None
        depth = self._depth
        for character in rest:
            if character in "[{":
                depth += 1
            elif character in "]}":
                depth -= 1
            elif depth == 0 and not character.isspace():
                return None
            if not 0 <= depth <= _DEPTH_MAX:
                return None
        return depth

    def _give_up(self, last: int, *, carried: bool, too_long: bool) -> None:
        if carried or too_long:
            why = f"JSON of more than {DOCUMENT_MAX >> 20} MiB" if too_long else "JSON that is cut off"
            self._evidence.unread.append(Unread(self._file, self._began, max(last, self._began), why))
        self._open, self._depth = [], 0

    def _complete(self, *, carried: bool) -> bool:
        """Write the complete document; return False if it is none of ours and may be offered to other formats."""
        text, self._open = "\n".join(self._open), []
        last = self._began + text.count("\n")
        try:
            document: object = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return self._refuse(last, "JSON that is cut off or not valid", carried=carried)
        where = Where(self._file, self._began)
        for write in self._writers:
            try:
                what = write(document, self._evidence, where)
            except ValueError as error:
                return self._refuse(last, str(error), carried=True)
            if what:
                self.what = self._known = what
                return True
        return self._refuse(last, "JSON of a program that is not known here", carried=carried)

    def _refuse(self, last: int, why: str, *, carried: bool) -> bool:
        if carried:
            self._evidence.unread.append(Unread(self._file, self._began, last, why))
        return carried

    def finish(self) -> None:
        """Say that a document has no end."""
        if self._open:
            self._give_up(self._began + len(self._open) - 1, carried=True, too_long=False)
