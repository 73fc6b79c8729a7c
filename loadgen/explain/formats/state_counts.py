"""Sockets counted by state, with awk, `uniq -c`, or `grep TIME_WAIT | wc -l` behind ss or netstat.

Tickets have the sum more often than the listing. It is one of all TCP sockets only if the command line filters nothing
else, so it counts only right behind such a command line; counts without one may be of one port or one peer, and are
left unread with the remedy. The readings have the names of /proc/net: sockstat's tw counts what is in TIME-WAIT, and
CurrEstab of snmp is ESTABLISHED and CLOSE-WAIT (tcp_set_state() in net/ipv4/tcp.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.base import DIGITS, Format
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.sockets import STATES
from loadgen.kernel.sockdiag import TcpState

_NUMBER: Final = re.compile(r"\s{0,8}(?P<count>[0-9]{1,9})\s*")
_COUNT: Final = re.compile(
    r"\s{0,16}(?:(?P<after>[\w.()-]{1,30})\s{1,30}(?P<count>[0-9]{1,9})"
    r"|(?P<first>[0-9]{1,9})\s(?P<before>[\w.()-]{1,30}))\s*"
)
_LISTED: Final = re.compile(
    r"(?:sudo\s)?\s*(?:/\S{0,40}/)?(?P<tool>ss|netstat)(?P<options>(?:\s+-[a-zA-Z]{1,12}){0,6})"
    r"(?P<state>\s+state\s+time-wait)?\s*(?P<pipe>\|.{1,400})"
)
_AWK: Final = re.compile(r"\|\s*awk\s+'(?P<program>[^']*)'\s*(?P<rest>(?:\|\s*(?:sort|uniq|head)\b[^|]{0,40})*)")
#: A program of awk that looks at addresses or ports, or compares.
_CHOOSES: Final = re.compile(r"[~:]|==|!=|[0-9]{3}")
_GREP: Final = re.compile(r"e?grep(?:\s+-(?P<options>[icwE]{1,4}))*\s+[\"']?TIME[-_]WAIT[\"']?", re.IGNORECASE)
#: Options that leave out no TCP socket.
_ALL_OPTIONS: Final = {"ss": frozenset("antpoemiH"), "netstat": frozenset("antpeoWTv")}


@dataclass(frozen=True, slots=True)
class SocketCount:
    """A count that a command line prints.

    by_state: a line for each state; else one number, of TIME-WAIT. header: lines of it that are no socket.
    complete: a state that has no line has no socket.
    """

    by_state: bool
    header: int = 0
    complete: bool = False


def counted(command: str) -> SocketCount | None:
    """Return what a command line counts; None if it counts something else, or some of the sockets only."""
    listed = _LISTED.fullmatch(command)
    if not listed:
        return None
    options = set(listed["options"]) - {"-", " ", "\t"}
    if options - _ALL_OPTIONS[listed["tool"]]:
        return None
    every_state = listed["tool"] == "netstat" or "a" in options
    if awk := _AWK.fullmatch(listed["pipe"].strip()):
        sums = "++" in awk["program"] or "+=" in awk["program"] or "uniq" in awk["rest"]
        if _CHOOSES.search(awk["program"]) or listed["state"] or not sums:
            return None
        return SocketCount(by_state=True, complete=every_state and "head" not in awk["rest"])
    return _of_filters(listed, options) if every_state or listed["state"] else None


def _of_filters(listed: re.Match[str], options: set[str]) -> SocketCount | None:
    header = 0 if "H" in options or listed["tool"] != "ss" else 1
    chosen, summed = listed["state"] is not None, False
    for part in listed["pipe"].split("|")[1:]:
        words = part.strip()
        grep = _GREP.fullmatch(words)
        if summed or not (grep or words in ("wc -l", "tail -n +2")):
            return None
        if grep:
            chosen, header, summed = True, 0, "c" in (grep["options"] or "")
        elif words == "wc -l":
            summed = True
        else:
            header = 0
    return SocketCount(by_state=False, header=header) if chosen and summed else None


class _StateCountsReader(ReadingLines):
    """Reads the counts of one command."""

    what = "sockets by state"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._counted: SocketCount | None = None
        self._states: dict[int, int] = {}
        self._began: Where | None = None
        self._last = 0

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if self._began is None:
            self._counted = counted(self.evidence.command_before(self.file, where.line))
        elif self._counted and not self._counted.by_state:
            return False
        state, count = _state_and_count(line)
        if self._counted and not self._counted.by_state:
            number = _NUMBER.fullmatch(line)
            if not number:
                return False
            state, count = TcpState.TIME_WAIT, max(int(number["count"]) - self._counted.header, 0)
        elif count is None or (state is None and not (self._counted or self._states)):
            return False  # words of a header are counted by some, between the states
        self._began, self._last = self._began or where, where.line
        if state is not None:
            self._states[state] = self._states.get(state, 0) + (count or 0)
        return True

    def finish(self) -> None:
        """See `FormatReader`."""
        if self._began and not self._counted:
            why = "counts of sockets, of all or of some: paste the command line that made them as well"
            self.evidence.note_unread(self.file, self._began.line, self._last, why)
        elif self._began and self._counted:
            self._keep(self._counted, self._began)
        super().finish()

    def _keep(self, what: SocketCount, where: Where) -> None:
        resting = self._states.get(TcpState.TIME_WAIT, 0 if what.complete and self._states else None)
        if resting is not None:
            self.keep_counter("sockstat.tcp_tw", resting, "now", where)
        open_states = [self._states.get(state) for state in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)]
        if what.complete and self._states:
            self.keep_counter("Tcp.CurrEstab", sum(count or 0 for count in open_states), "now", where)


def _state_and_count(line: str) -> tuple[int | None, int | None]:
    """Return the state of a line and its count; None for a word that is no state, and for a line that is no count."""
    found = _COUNT.fullmatch(line)
    if not found:
        return None, None
    word, count = (found["after"], found["count"]) if found["count"] else (found["before"], found["first"])
    return STATES.get(word), int(count)


def _begins(line: str) -> bool:
    return len(line) < 64 and (bool(_NUMBER.fullmatch(line)) or _state_and_count(line)[0] is not None)


STATE_COUNTS: Final = Format(
    "state-counts",
    "sockets counted by state with awk, uniq or wc behind ss or netstat",
    _begins,
    _StateCountsReader,
    heads=DIGITS | {state[0] for state in STATES},
)
