"""JSON documents in pasted text: of loadgen, of `ip -j` and of `nft -j`, on one line or pretty-printed over many.

A document is followed bracket by bracket, so that text that merely begins as JSON is let go at the first line that is
none, and nothing is decoded twice. JSON of other programs is left to other formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.base import Format
from loadgen.explain.text import LINE_MAX, LONG_MAX

#: Characters of a document; a longer one is not read.
DOCUMENT_MAX: Final = LONG_MAX
#: No document of ours is deeper.
_DEPTH_MAX: Final = 64
#: A string; of one without an end the quotation mark is kept.
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|(").*')
#: The rest of JSON once its strings are taken out.
_REST: Final = re.compile(r"[\[\]{}:,\s\d.eE+\-truefalsn]*")
_NO_BRACKETS: Final = re.compile(r"[^\[\]{}]+")
_BEGINS: Final = re.compile(r'\s*(?:\[\s*)?(?:\{\s*(?:"|$)|$)|\s*[\[{]\s*$')
#: A document without one of these in its first lines is none of ours, so that a log of JSON lines costs nothing.
_MARKS: Final = re.compile(r'"(?:schema|ifname|nftables|dst|started_at)"\s*:')
_MARKED_WITHIN: Final = 10

#: Writes a document into the evidence; returns what it is in words, "" if it is not its own. Raises: ValueError, it is
#: of its own kind and cannot be read, for the reason in the message.
Write = Callable[[object, Evidence, Where], str]


def json_format(name: str, covers: str, writers: Sequence[Write]) -> Format:
    """Return the format of documents that these writers know, asked in their order."""
    return Format(
        name, covers, _may_begin, lambda evidence, file: JsonReader(evidence, file, writers), heads=frozenset("{[")
    )


def _may_begin(line: str) -> bool:
    return line.strip()[:1] in ("{", "[") and bool(_BEGINS.match(line))


def _is_marked(lines: Sequence[str], at: int) -> bool:
    return any(map(_MARKS.search, lines[at : at + _MARKED_WITHIN]))


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why lines are no document. is_ours: they belong to no other format."""

    text: str
    is_ours: bool = False


_CUT_OFF: Final = _Refusal("JSON that is cut off or not valid")
_TOO_LONG: Final = _Refusal(f"JSON of more than {LONG_MAX >> 20} MiB", is_ours=True)
_UNKNOWN: Final = _Refusal("JSON of a program that is not known here")


class JsonReader:
    """Reads documents of one kind that follow each other.

    open: lines of a document that is not complete; depth: its open brackets; began: the line of its first.
    """

    what = "JSON"

    def __init__(self, evidence: Evidence, file: str, writers: Sequence[Write]) -> None:
        self._evidence, self._file, self._writers = evidence, file, writers
        self._open: list[str] = []
        self._depth = self._size = self._began = 0

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take whole documents, and the beginning of one that goes on behind these lines; see `FormatReader`."""
        while at < len(lines):
            carried = bool(self._open)
            if not carried:
                if not (_may_begin(lines[at]) and _is_marked(lines, at)):
                    return at
                self._began, self._depth, self._size = first + at, 0, 0
            # Beyond the usual length a line is kept for us alone, and offered to no other format.
            is_long = len(lines[at]) > LINE_MAX
            end, why = self._follow(lines, at)
            if not why and self._depth:
                return end
            why = why or self._complete()
            if why:
                if carried or is_long or why.is_ours:
                    end = max(end, at + is_long)
                    last = max(first + end - 1, self._began)
                    self._evidence.note_unread(self._file, self._began, last, why.text)
                    return end
                return at
            at = end
        return at

    def _follow(self, lines: Sequence[str], at: int) -> tuple[int, _Refusal | None]:
        """Add lines to the open document up to its last bracket, or to the end of the lines.

        Returns: the index behind the last line that belongs to it, and why it is none if it broke there.
        """
        for end in range(at, len(lines)):
            line = lines[end]
            depth = _depth_behind(line, self._depth)
            if depth is None or self._size + len(line) > DOCUMENT_MAX:
                self._open, self._depth = [], 0
                return end, _CUT_OFF if depth is None else _TOO_LONG
            self._open.append(line)
            self._size += len(line) + 1
            self._depth = depth
            if not depth:
                return end + 1, None
        return len(lines), None

    def _complete(self) -> _Refusal | None:
        """Write the complete document; return why that is not possible."""
        text, self._open = "\n".join(self._open), []
        try:
            document: object = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return _CUT_OFF
        where = Where(self._file, self._began)
        for write in self._writers:
            try:
                what = write(document, self._evidence, where)
            except ValueError as error:
                return _Refusal(str(error), is_ours=True)
            if what:
                self.what = what
                return None
        return _UNKNOWN

    def finish(self) -> None:
        """Say that a document has no end."""
        if self._open:
            last = self._began + len(self._open) - 1
            self._evidence.note_unread(self._file, self._began, last, _CUT_OFF.text)


def _depth_behind(line: str, depth: int) -> int | None:
    """Return how many brackets are open behind a line; None if it is no JSON, or none of the same document."""
    rest = _STRING.sub(r"\1", line).strip()
    if not _REST.fullmatch(rest):
        return None
    brackets = _NO_BRACKETS.sub("", rest)
    if not depth and rest[:1] not in ("{", "["):
        return None
    for at, bracket in enumerate(brackets):
        depth += 1 if bracket in "[{" else -1
        if not 0 <= depth <= _DEPTH_MAX or (not depth and at + 1 < len(brackets)):
            return None
    return depth if depth or rest[-1:] in ("}", "]") else None
