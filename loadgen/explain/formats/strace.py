"""strace: the calls about sockets, as ways to connect, and as complaints about failures that belong to none.

The program's own output often stands between the lines of strace, so that one trace is several pieces. What was
followed so far is kept with the evidence and goes on in the next piece of the same file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from loadgen.explain.evidence import TEXT_MAX, Complaint, Evidence, Where
from loadgen.explain.formats.base import Format
from loadgen.outcomes import Syscall
from loadgen.trace.follow import CallFailure, Follower
from loadgen.trace.strace import OPENERS, StraceLines, may_begin
from loadgen.trace.sums import WaySum
from loadgen.trace.ways import Way

_NAME: Final = "strace"
#: accept() is none of the calls that connect; its errnos are about the listening program.
_SYSCALLS: Final = {
    "socket": Syscall.SOCKET,
    "bind": Syscall.BIND,
    "connect": Syscall.CONNECT,
    "epoll_ctl": Syscall.REGISTER,
}


class StraceTrace:
    """The trace in one file: the lines read so far, what they said, and the ways noted last."""

    def __init__(self, evidence: Evidence, file: str) -> None:
        self._evidence, self._file = evidence, file
        self._lines = StraceLines()
        self._follower = Follower(failed=self._complain)
        self._noted: list[Way] = []
        self._services: Counter[tuple[int, str]] = Counter()

    def read(self, line: str, number: int) -> bool:
        """Take a line; return False for one that is not of strace."""
        call = self._lines.read(line, number)
        if call is None:
            return False
        self._follower.follow(call)
        return True

    def note(self) -> None:
        """Put the ways so far into the evidence, in place of those that were noted before."""
        known = {id(way) for way in self._noted}
        self._noted = [replace(way, file=self._file) for way in self._follower.ways]
        self._evidence.ways[:] = [way for way in self._evidence.ways if id(way) not in known] + self._noted
        for one in self._follower.services:
            for (name, errno), count in one.failed.items():
                for _ in range(count - self._services[id(one), errno]):
                    self._complain_of_service(one, name, errno)
                self._services[id(one), errno] = count

    def _complain_of_service(self, one: WaySum, name: str, errno: str) -> None:
        text = next((call for call in reversed(one.calls) if errno in call), f"{name} {errno}")
        self._evidence.complain(
            Complaint(
                program=one.command,
                syscalls=frozenset({_SYSCALLS[name]}),
                errno=errno,
                text=text[:TEXT_MAX],
                where=Where(self._file, one.line),
                source=one.source.address if one.source else "",
                source_port=one.source.port if one.source else None,
                transport=one.profile.transport,
            )
        )

    def _complain(self, failure: CallFailure) -> None:
        if failure.of_way:
            return
        syscall = _SYSCALLS.get(failure.name)
        source, target = failure.source, failure.target
        self._evidence.complain(
            Complaint(
                program=failure.command,
                syscalls=frozenset({syscall} if syscall else ()),
                errno=failure.errno,
                text=failure.call.text[:TEXT_MAX],
                where=Where(self._file, failure.call.line),
                source=source.address if source else "",
                source_port=source.port if source else None,
                target=target.address if target else "",
                target_port=target.port if target else 0,
                listening=failure.listening,
                transport=failure.transport,
            )
        )


class StraceReader:
    """Reads a piece of a trace."""

    what = "strace"

    def __init__(self, evidence: Evidence, file: str) -> None:
        self._trace = evidence.carried.setdefault((_NAME, file), StraceTrace(evidence, file))

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take lines as long as they are of strace."""
        assert isinstance(self._trace, StraceTrace)
        while at < len(lines) and self._trace.read(lines[at], first + at):
            at += 1
        return at

    def finish(self) -> None:
        """Note the ways so far."""
        assert isinstance(self._trace, StraceTrace)
        self._trace.note()


STRACE: Final = Format(
    name=_NAME,
    covers="strace, with -f, -t, -tt, -ttt, -r, -T, -y, -yy, -o and -X",
    begins=may_begin,
    reader=StraceReader,
    heads=frozenset(),
    words=frozenset(map(str.lower, OPENERS)),
)
