"""`netstat` of net-tools and of BusyBox, as far as it lists sockets: -an, -anp, -W -neopa, -ltn and the like.

    tcp   0  0 10.0.0.1:40010  10.0.0.7:80  ESTABLISHED 33  4421984  22572/nginx: worker  keepalive (7198.61/0/0)

User and Inode (-e), PID/Program name (-p) and Timer (-o) may be missing. Rows of Unix and other sockets are skipped.

Without -W, net-tools shortens an address that has no room in its column, and BusyBox the port: what is left may be
another one. A column that is exactly full may have been shortened, so such a row is unread, unless another row of the
listing is longer. The Send-Q of a listener is 0, whatever its backlog: /proc/net/tcp does not have it. Over tcp6, some
versions write an IPv4-mapped address as IPv4; it becomes a row of IPv4.

netstat of macOS and of Windows prints other columns, which are left alone.

Sources: netstat(8); addr_do_one(), tcp_do_one(), udp_do_one() in netstat.c of net-tools 2.10; networking/netstat.c of
BusyBox 1.35.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import BACKLOG_UNKNOWN, Evidence
from loadgen.explain.formats.base import Format, last_filled
from loadgen.explain.formats.endpoints import CUT, Endpoints, Numbers, decimal, why_not
from loadgen.explain.formats.listing_command import ListingCommand, listing_command
from loadgen.explain.formats.sockets import (
    STATES,
    TCP,
    TIMERS,
    UDP,
    ListingWriter,
    Shows,
    SocketDetail,
    agree,
)
from loadgen.kernel.sockdiag import TcpState

_PROTOCOLS: Final = {"tcp": TCP, "tcp6": TCP, "udp": UDP, "udp6": UDP}
#: Protocols without ports that are kept here.
_OTHERS: Final = frozenset(
    (
        "unix",
        "raw",
        "raw6",
        "udplite",
        "udplite6",
        "sctp",
        "sctp6",
        "dccp",
        "dccp6",
        "l2cap",
        "rfcomm",
        "netrom",
        "ax25",
    )
)
_ACTIVE: Final = re.compile(r"\s*Active Internet connections \((servers and established|w/o servers|only servers)\)\s*")
_HEADER: Final = re.compile(
    r"\s*Proto\s+Recv-Q\s+Send-Q\s+(?P<local>Local Address\s+)Foreign Address\s+State\b(?P<rest>.*)"
)
_OTHER_HEADER: Final = re.compile(
    r"\s*(?:Active (?:UNIX domain|Bluetooth|IPX|X\.25|AX\.25|NET/ROM) (?:sockets|connections)"
    r"|Proto\s+RefCnt\s+Flags\s|Proto\s+Destination\s+Source\s)"
)
_FORBIDDEN: Final = re.compile(
    r"\s*(?:\(No info could be read for \"-p\".*|(?:\(Not all processes could be identified, non-owned process info"
    r"|will not be shown, you would have to be root to see it all\.\))\s*)"
)
#: With bounds: without them, a line of many colons takes seconds.
_ROW: Final = re.compile(r"\s*(?:tcp6?|udp6?)\s+\d{1,20}\s+\d{1,20}\s+\S{1,300}:\S{1,40}\s+\S{1,300}:\S{1,40}(?:\s|$)")
#: What follows the state.
_REST: Final = re.compile(
    r"(?:(?P<user>[^\s/]+)\s+(?P<inode>\d+)(?:\s+|$))?(?P<process>-(?=\s|$)|\d+/.*?)?\s*"
    r"(?:(?P<timer>off|on|on2|keepalive|timewait|probe|unkn-\d+)"
    r"\s+\((?P<seconds>\d{1,9})\d*\.(?P<hundredths>\d\d)\d*/(?P<again>\d+)/\d+\))?\s*"
)
_REST_MAX: Final = 400
#: Width of a column, where no header tells it.
_WIDTH: Final = 23
_SHORTENED: Final = "the address may be shortened: run netstat with -W, or ss"
_NO_SUCH_STATE: Final = "not a state of TCP: run netstat with LC_ALL=C, or ss"
_USE_NUMBERS: Final = ": run netstat with -n"


def _header(line: str) -> re.Match[str] | None:
    """Return the match of a line of the header of Internet sockets."""
    if "Recv-Q" in line:
        return _HEADER.match(line)
    if "Active" in line:
        return _ACTIVE.fullmatch(line)
    return _FORBIDDEN.fullmatch(line) if "(No" in line or "root" in line else None


def begins(line: str) -> bool:
    """Return True for a header of netstat, or a row of it."""
    return bool(
        _is_row(line)
        or _header(line)
        or ("Active" in line and _OTHER_HEADER.match(line))
        or (line.startswith("unix ") and "[" in line)
    )


def _may_be_shortened(protocol: str, text: str, width: int) -> bool:
    """Return True if a part of this endpoint may be missing.

    BusyBox, which calls TCP over IPv6 "tcp", leaves out the end, so a port of five digits is whole.
    """
    is_busybox = not protocol.endswith("6") and text.count(":") > 1
    return len(text) == width and not (is_busybox and text[-6] == ":")


def _is_row(line: str) -> bool:
    return bool(_ROW.match(line))


class NetstatReader:
    """Reads one listing of netstat."""

    what = "netstat"

    def __init__(self, evidence: Evidence, file: str) -> None:
        self._writer, self._file = ListingWriter(evidence, file), file
        self._evidence = evidence
        self._endpoints, self._numbers = Endpoints(), Numbers()
        self._command: ListingCommand | None = None
        self._active, self._header, self._columns = "", False, ""
        self._width, self._is_wide = _WIDTH, False
        self._first = self._last = 0
        self._forbidden, self._named_processes = 0, False

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take headers at the beginning, rows, and sections of other sockets."""
        begin = at
        if not self._first:
            self._first = first + at
            self._command = listing_command("netstat", self._evidence, self._file, self._first)
        self._writer.flush(keep=0)
        rows, numbers, endpoints, width = self._writer.rows, self._numbers, self._endpoints, self._width
        while at < len(lines):
            line, number = lines[at], first + at
            fields = line.split(None, 6)
            kind = _PROTOCOLS.get(fields[0]) if fields else None
            if kind and len(fields) > 2 and fields[1].isdigit():
                if len(fields) == 6 and len(fields[3]) < width and len(fields[4]) < width:
                    # Nearly all rows of nearly all listings, so without the calls of `_take`.
                    state = STATES.get(fields[5], 0)
                    local, peer = endpoints[fields[3]], endpoints[fields[4]]
                    rqueue, wqueue = numbers[fields[1]], numbers[fields[2]]
                    usable = rqueue >= 0 <= wqueue and state != TcpState.LISTEN
                    if state and local and peer and local[0] == peer[0] and usable:
                        rows.append((kind, state, rqueue, wqueue, local, peer, number))
                        at += 1
                        continue
                self._take(kind, fields, number)
            elif header := _header(line):
                if not self._take_header(header):
                    break  # of the next listing
                width = self._width
            elif skipped := self._writer.skip(lines, at, number, _is_row):
                at += skipped
                continue
            elif not (fields and (fields[0] in _OTHERS or _OTHER_HEADER.match(line))):
                break
            at += 1
        if filled := last_filled(lines, begin, at):
            self._last = first + filled - 1
        return at

    def _take_header(self, header: re.Match[str]) -> bool:
        """Take a line of the header; return False if the listing has one already, or rows."""
        begun = self._header or self._writer.count or self._writer.unread
        if header.re is _FORBIDDEN:
            self._forbidden = 1
        elif begun or (header.re is _ACTIVE and self._active):
            return False
        elif header.re is _ACTIVE:
            self._active = header[1]
        else:
            self._header, self._columns = True, header["rest"]
            self._width = len(header["local"]) - 1
        return True

    def _take(self, kind: int, fields: Sequence[str], number: int) -> None:
        """Take a row: protocol, queues, local, foreign, state, all else."""
        if len(fields) < 5:
            self._writer.refuse(number, CUT)
            return
        rqueue, wqueue = self._numbers[fields[1]], self._numbers[fields[2]]
        local, peer = self._endpoints[fields[3]], self._endpoints[fields[4]]
        state = STATES.get(fields[5], 0) if len(fields) > 5 else 0
        rest = fields[6] if state and len(fields) > 6 else "" if state else " ".join(fields[5:])
        longest, shortened = max(len(fields[3]), len(fields[4])), False
        if longest >= self._width:
            self._is_wide |= longest > self._width
            shortened = any(_may_be_shortened(fields[0], text, self._width) for text in fields[3:5])
        if kind == UDP and not state:
            state = int(TcpState.CLOSE)
        if not (local and peer):
            why = _SHORTENED if shortened else why_not(fields[3], fields[4])
            self._writer.refuse(number, why if why in (_SHORTENED, CUT) else why + _USE_NUMBERS)
        elif not state:
            self._writer.refuse(number, _NO_SUCH_STATE if len(fields) > 5 else CUT)
        elif rqueue < 0 or wqueue < 0 or not agree(local, peer):
            self._writer.refuse(number, CUT)
        else:
            if shortened and not self._is_wide:
                self._writer.doubtful.append(number)
            if state == TcpState.LISTEN:
                wqueue = BACKLOG_UNKNOWN
            self._writer.rows.append((kind, state, rqueue, wqueue, local, peer, number))
            if rest and (detail := self._detail(rest)):
                self._writer.details[number] = detail

    def _detail(self, text: str) -> SocketDetail | None:
        """Read user, inode, process and timer; None: the text has other words."""
        found = _REST.fullmatch(text[:_REST_MAX])
        if not found:
            return None
        detail = SocketDetail()
        user, inode, process, timer, seconds, hundredths, again = found.groups()
        if inode:
            detail.inode, detail.uid = max(self._numbers[inode], 0), max(self._numbers[user], 0)
        if process and process != "-":
            pid, _, command = process.partition("/")
            detail.pid = self._writer.process(command.strip(), pid)
            self._named_processes = True
        if timer and timer != "off":
            detail.timer = TIMERS.get(timer, TIMERS["unknown"])
            detail.expires_ms = min(int(seconds) * 1000 + int(hundredths) * 10, 0xFFFF_FFFF)
            detail.retransmits = max(decimal(again, 0xFF), 0)
        return detail

    def finish(self) -> None:
        """Write the listing; a piece of other sockets only has none."""
        if self._command:
            self.what = self._command.text
        if self._writer.doubtful and not self._is_wide:
            self._writer.refuse_doubtful(_SHORTENED)
        if self._header or self._writer.count:
            states = self._writer.states()
            self._writer.finish(self.what, (self._first, self._last), self._shows(states), forbidden=self._forbidden)

    def _shows(self, states: frozenset[int]) -> Shows:
        listeners, time_wait = TcpState.LISTEN in states, TcpState.TIME_WAIT in states
        owners = self._named_processes or "PID/Program" in self._columns
        filtered = bool(self._command and self._command.filtered)
        if self._active:
            return Shows(self._active != "w/o servers", self._active != "only servers", owners, not filtered)
        if self._command and not filtered:
            options = self._command.options
            return Shows(listeners or bool({"a", "l"} & options), "l" not in options, owners, True)
        return Shows(listeners, time_wait, owners, self._header and not filtered)


NETSTAT: Final = Format(
    "netstat",
    "`netstat` of net-tools and BusyBox with any options that list sockets",
    begins,
    NetstatReader,
    heads=frozenset("tuPA(w"),
)
