"""The format: takes log lines that are about connecting, each with the lines of its stack trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import Complaint, Evidence
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.logs import blocks, table, traces

#: Lines of a message that are read; those of a longer one are taken, and not read.
_LINES_MAX: Final = 400


def _begins(line: str) -> bool:
    return table.has_sign(line) or traces.begins(line)


class LogReader:
    """Reads messages one after the other."""

    def __init__(self, evidence: Evidence, file: str) -> None:
        self._evidence, self._file = evidence, file
        self.what = "log lines"
        self._programs: list[str] = []
        self._last: Complaint | None = None
        #: The last line taken, where the message it belongs to may go on in the next call.
        self._before = ""

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take messages as long as one follows the other."""
        while at < len(lines):
            if self._before and traces.continues(lines[at], self._before):
                self._before = lines[at]
                at += 1
                continue
            end = self._message(lines, at, first)
            if end == at:
                break
            at = end
            self._before = lines[at - 1]
        return at

    def _message(self, lines: Sequence[str], at: int, first: int) -> int:
        """Read the message that begins at a line; return the index behind it, `at` where none does."""
        line = lines[at]
        head = traces.begins(line)
        if not head and not table.has_sign(line):
            return at
        end = _end(lines, at)
        read = blocks.read(lines[at : min(end, at + _LINES_MAX)], self._file, first + at)
        if not read.understood:
            return at
        for complaint in read.complaints:
            self._note(complaint)
        return end

    def _note(self, complaint: Complaint) -> None:
        last = self._last
        if last and blocks.repeats(last, complaint):
            return
        self._last = complaint
        name = complaint.program
        if name and name not in self._programs and len(self._programs) < 5:
            self._programs.append(name)
            self.what = f"log lines of {', '.join(self._programs)}"
        self._evidence.complain(complaint)

    def finish(self) -> None:
        """Nothing is left: each message is read as a whole."""


def _end(lines: Sequence[str], at: int) -> int:
    """Return the index behind the last line of the message that begins at `at`."""
    end, before = at + 1, lines[at]
    # Behind a line of a logger may stand the exception that it speaks of.
    if end < len(lines) and traces.announces(before) and traces.begins(lines[end]) and not lines[end][:1].isspace():
        before, end = lines[end], end + 1
    awaits, chained = traces.is_python(before), False
    while end < len(lines):
        line = lines[end]
        if not line or line.isspace():
            following = lines[end + 1] if end + 1 < len(lines) else ""
            # A blank line stands between chained tracebacks of Python, and above the exception that ended node.
            between = traces.chains(following) or (chained and traces.is_python(following))
            if awaits or not (between or _follows_blank(following, lines[at])):
                break
        elif chained and traces.is_python(line):
            awaits, chained = True, False
        elif traces.continues(line, before):
            chained = chained or traces.chains(line)
        elif awaits and before[:1].isspace():
            awaits = False
        elif not (traces.begins(line) and lines[at].startswith("node:")):
            break
        before = line or before
        end += 1
    return end


def _follows_blank(line: str, head: str) -> bool:
    if head.startswith("node:"):
        return traces.begins(line) or line.startswith("Node.js v")
    return head.startswith("panic:") and line.startswith("goroutine ")


_PROGRAMS: Final = ", ".join(dict.fromkeys(row.program for row in table.ROWS if row.program))
LOGS: Final = Format(
    "log",
    f"log lines and stack traces: {_PROGRAMS}, and others",
    _begins,
    LogReader,
    heads=frozenset(),
    words=frozenset((*table.SIGNS, *traces.SIGNS)),
)
