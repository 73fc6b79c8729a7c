"""`ss` of iproute2: all of its columns and options that list sockets of TCP and UDP, with and without header.

A row has up to seven parts, the first two of which may be missing: Netid where several kinds are listed, State unless
`state` lets only one through.

    tcp   ESTAB  0  0  10.0.0.1:40010  10.0.0.7:80  users:(("nginx",pid=7,fd=3)) timer:(keepalive,9sec,0) uid:33 ino:4
             cubic wscale:7,7 rto:204 ...

Lines of -i and -m that follow belong to their row. Sockets of other kinds are skipped.

Sources: ss(8); misc/ss.c of iproute2: sock_state_print(), proc_ctx_print(), print_ms_timer().
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.base import DIGITS, Format, last_filled
from loadgen.explain.formats.endpoints import CUT, Endpoints, Numbers, decimal, why_not
from loadgen.explain.formats.listing_command import ListingCommand, listing_command
from loadgen.explain.formats.sockets import (
    STATES,
    TCP,
    TIMERS,
    UDP,
    UNTOLD,
    ListingWriter,
    Shows,
    SocketDetail,
    agree,
)
from loadgen.kernel.sockdiag import TcpState

#: A kind of socket of which no ports are kept here.
_OTHER: Final = -1
_OTHERS: Final = (
    "u_str u_dgr u_seq p_raw p_dgr nl raw icmp icmp6 sctp dccp mptcp v_str v_dgr v_seq tipc ti_st ti_rd ti_sq ti_dg"
    " xdp ???"
)
_NETIDS: Final[dict[str, int]] = {"tcp": TCP, "udp": UDP} | dict.fromkeys(re.split(" ", _OTHERS), _OTHER)
_ANY_NETID: Final = "|".join(map(re.escape, _NETIDS))
_ANY_STATE: Final = "|".join(sorted(STATES, key=len, reverse=True))
_HEADER: Final = re.compile(r"\s*(?:Netid\s+)?(?:State\s+)?Recv-Q\s+Send-Q\s+Local Address:Port\s*Peer Address:Port")
_ROW: Final = re.compile(rf"\s*(?:(?:{_ANY_NETID})\s+)?(?:{_ANY_STATE})\s+\d+\s+\d+\s+\S")
#: A row without Netid and State.
_STATELESS: Final = re.compile(
    r"\s*\d{1,10}\s+\d{1,10}\s+[^\s:]\S{0,300}:[\w*-]{1,40}\s+\S{1,300}:[\w*-]{1,40}(?:\s|$)"
)
#: The beginning of a line of -i, -m, -e or -p below its row.
_BELOW: Final = re.compile(
    r"\s*(?:[a-z][a-z0-9_]{1,15}\s+){0,6}"
    r"(?:skmem:\(|mem:\(|wscale:|rto:|rtt:|ato:|mss:|cwnd:|bbr:\(|users:\(\(|timer:\(|uid:|ino:|sk:|cgroup:|tcp-ulp-"
    r"|inet-sockopt:|backoff:|bytes_|segs_|send |lastsnd:|rcv_|subflows|token:|<->|-->|<--|---)"
)
_USERS: Final = "users:(("
_USER: Final = re.compile(r'"(?P<command>.*?)",(?:pid=)?(?P<pid>[^,)]*)')
_FIELDS: Final = re.compile(
    r"(?:^|(?<=\s))(?:ino:(?P<inode>\d+)|uid:(?P<uid>\d+)|timer:\((?P<timer>\w+),(?P<time>[^,)]*),(?P<again>\d+)\))"
)
_TIME: Final = re.compile(r"(?:(\d{1,7})min)?(?:(\d{1,9})(?:sec|\.))?(?:(\d{1,9})ms)?")
#: Characters in which a user, and without the users all other fields stand; behind them are those of -i and -m with -O.
_USER_MAX: Final = 200
_DETAILS_MAX: Final = 600
_NO_STATE: Final = "its state is not told: paste the command line above it as well, or list all states with ss -tan"
_USE_NUMBERS: Final = ": run ss with -n"


def begins(line: str) -> bool:
    """Return True for a header of ss, or a row of it."""
    head = line.lstrip()[:1]
    if head.isdecimal():
        return bool(_STATELESS.match(line))
    return bool(_ROW.match(line) or ("Recv-Q" in line and _HEADER.match(line)))


class SsReader:
    """Reads one listing of ss."""

    what = "ss"

    def __init__(self, evidence: Evidence, file: str) -> None:
        self._writer, self._file = ListingWriter(evidence, file), file
        self._evidence = evidence
        self._endpoints, self._numbers = Endpoints(), Numbers()
        self._command: ListingCommand | None = None
        self._header = ""
        self._first = self._last = 0
        self._named_users = False
        self._row = 0  # line of the last one, -1 where nothing of it is kept

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take rows, the lines below them, and one header at the beginning."""
        begin = at
        if not self._first:
            self._first = first + at
            self._command = listing_command("ss", self._evidence, self._file, self._first)
            if _HEADER.match(lines[at]):
                self._header = lines[at]
                at += 1
        self._writer.flush()
        rows, numbers, endpoints = self._writer.rows, self._numbers, self._endpoints
        while at < len(lines):
            line, number = lines[at], first + at
            if line[:1] in "\t " and self._below(line):
                at += 1
                continue
            fields = line.split(None, 5)
            if fields and (state := STATES.get(fields[0])):
                if len(fields) == 5:  # nearly all rows of nearly all listings, so without the calls of `_take`
                    local, peer = endpoints[fields[3]], endpoints[fields[4]]
                    rqueue, wqueue = numbers[fields[1]], numbers[fields[2]]
                    if local and peer and local[0] == peer[0] and rqueue >= 0 <= wqueue:
                        rows.append((UNTOLD, state, rqueue, wqueue, local, peer, number))
                        self._row = number
                        at += 1
                        continue
                self._take(UNTOLD, state, fields[1:], number)
            elif len(fields) > 1 and (kind := _NETIDS.get(fields[0])) is not None:
                if state := STATES.get(fields[1]):
                    self._take(kind, state, [*fields[2:-1], *fields[-1].split(None, 1)], number)
                elif self._header and "State" not in self._header and fields[1].isdigit():
                    self._take(kind, 0, fields[1:], number)
                else:
                    break
            elif fields and "State" not in self._header and _STATELESS.match(line):
                self._take(UNTOLD, 0, [*fields[:4], " ".join(fields[4:])], number)
            elif skipped := self._writer.skip(lines, at, number, self._is_row):
                at += skipped
                continue
            elif not self._below(line):
                break
            at += 1
        if filled := last_filled(lines, begin, at):
            self._last = first + filled - 1
        return at

    def _take(self, kind: int, state: int, fields: Sequence[str], number: int) -> None:
        """Take a row: queues, local, peer, and all else in one field."""
        self._row = -1
        if kind == _OTHER:
            return
        if len(fields) < 4:
            self._writer.refuse(number, CUT)
            return
        if fields[3] == "*":  # of netlink, which has no port
            return
        rqueue, wqueue = self._numbers[fields[0]], self._numbers[fields[1]]
        local, peer = self._endpoints[fields[2]], self._endpoints[fields[3]]
        detail = self._detail(fields[4], SocketDetail()) if len(fields) > 4 and fields[4] else None
        if rqueue < 0 or wqueue < 0:
            self._writer.refuse(number, CUT)
        elif not (local and peer):
            why = why_not(fields[2], fields[3])
            self._writer.refuse(number, why if why == CUT else why + _USE_NUMBERS)
        elif not agree(local, peer):
            self._writer.refuse(number, CUT)
        elif not (state := state or self._state_of(detail)):
            self._writer.refuse(number, _NO_STATE)
        else:
            self._writer.rows.append((kind, state, rqueue, wqueue, local, peer, number))
            self._row = number
            if detail:
                self._writer.details[number] = detail

    def _state_of(self, detail: SocketDetail | None) -> int:
        """Return the state of a row that does not tell it: `state` had to be given, so that it is the same in all."""
        if self._command and self._command.state:
            return self._command.state
        return int(TcpState.TIME_WAIT) if detail and detail.timer == TIMERS["timewait"] else 0

    def _below(self, line: str) -> bool:
        """Take a line below a row; return False if it is none. Below TIME-WAIT, -i prints a tab and nothing more."""
        if not (self._row and (_BELOW.match(line) or (line[:1] == "\t" and line.isspace()))):
            return False
        text = line.lstrip()
        if self._row > 0 and text.startswith(("users:", "timer:", "uid:", "ino:")):
            detail = self._writer.details.get(self._row) or SocketDetail()
            self._writer.details[self._row] = self._detail(text, detail)
        return True

    def _detail(self, text: str, detail: SocketDetail) -> SocketDetail:
        """Read users, timer, uid and inode into the detail."""
        if (begin := text.find(_USERS)) >= 0:
            end = text.find("))", begin)
            while end >= 0 and not text[end + 2 : end + 3].isspace() and end + 2 < len(text):
                end = text.find("))", end + 1)  # within the name of a process
            if user := _USER.match(text, begin + len(_USERS), begin + _USER_MAX):
                self._named_users = True
                detail.pid = self._writer.process(user["command"], user["pid"])
            text = f"{text[:begin]} {text[end + 2 :] if end >= 0 else ''}"
        text = text[:_DETAILS_MAX]
        for found in _FIELDS.finditer(text):
            if found["inode"]:
                detail.inode = max(decimal(found["inode"]), 0)
            elif found["uid"]:
                detail.uid = max(decimal(found["uid"]), 0)
            elif found["timer"] in TIMERS:
                detail.timer = TIMERS[found["timer"]]
                detail.expires_ms = milliseconds(found["time"])
                detail.retransmits = max(decimal(found["again"], 0xFF), 0)
        return detail

    def _is_row(self, line: str) -> bool:
        return bool(_ROW.match(line) or ("State" not in self._header and _STATELESS.match(line)))

    def finish(self) -> None:
        """Write the listing."""
        if self._command:
            self.what = self._command.text
        states = self._writer.states()
        endpoints = self._endpoints
        modern = endpoints.bracketed or "Process" in self._header
        old = endpoints.unbracketed or bool(self._header)
        self._writer.finish(
            self.what,
            (self._first, self._last),
            self._shows(states),
            untold=self._transport(states),
            any_family=socket.AF_INET if old and not modern else socket.AF_INET6,
        )

    def _transport(self, states: frozenset[int]) -> int:
        """Return the transport of rows without Netid: the only kind that was asked for.

        UDP has two states. One of them, UNCONN, TCP has only with ss -B, for what is bound; a listing with both only
        and without an option that says more is thus of UDP, and one of connected sockets alone of TCP.
        """
        options = self._command.options if self._command else frozenset()
        if options & {"t", "u"} and not options >= {"t", "u"}:
            return UDP if "u" in options else TCP
        return UDP if TcpState.CLOSE in states and states <= {TcpState.CLOSE, TcpState.ESTABLISHED} else TCP

    def _shows(self, states: frozenset[int]) -> Shows:
        listeners, time_wait = TcpState.LISTEN in states, TcpState.TIME_WAIT in states
        owners = self._named_users
        if command := self._command:
            owners |= "p" in command.options
            if command.filtered:
                return Shows(listeners, time_wait or command.state == TcpState.TIME_WAIT, owners, False)
            everything = "a" in command.options and "l" not in command.options
            return Shows(listeners or bool({"a", "l"} & command.options), time_wait or everything, owners, True)
        # Listeners are listed with all others only by -a. A text without header may be a part that grep let through.
        everything = bool(self._header) and listeners and bool(states - {TcpState.LISTEN, TcpState.CLOSE})
        return Shows(listeners, time_wait or everything, owners, "State" in self._header)


def milliseconds(text: str) -> int:
    """Return the time of a timer: "119min", "1min12sec", "4.208ms" (4 s and 208 ms), "200ms"; 0 if it is none."""
    found = _TIME.fullmatch(text)
    if not found:
        return 0
    minutes, seconds, rest = (int(part or 0) for part in found.groups())
    return min((minutes * 60 + seconds) * 1000 + rest, 0xFFFF_FFFF)


SS: Final = Format(
    "ss",
    "`ss` with any options that list sockets, with and without header",
    begins,
    SsReader,
    heads=DIGITS | {name[0] for name in (*_NETIDS, *STATES)} | frozenset("NSR"),
)
