"""Rows of a listing of sockets, whatever printed them, as tables of `loadgen.kernel.sockdiag.SOCKET`.

The readers of ss, netstat and /proc/net append a tuple for each row; what only some rows have is beside them. The
tables grow in place, 72 bytes and a line number for each socket: a listing of 200 MB has two or three million.
"""

from __future__ import annotations

import re
import socket
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen.explain.evidence import SOCKETS_MAX, Evidence, SocketListing
from loadgen.explain.formats.endpoints import ANY_FAMILY, ENDPOINT, decimal
from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState
from loadgen.watch.owners import SocketOwners

#: Transport of a row, state, rqueue, wqueue, source and destination as `ENDPOINT`, number of its line.
Row: TypeAlias = tuple[int, int, int, int, bytes, bytes, int]
Lines: TypeAlias = npt.NDArray[np.uint32]

TCP: Final = int(socket.IPPROTO_TCP)
UDP: Final = int(socket.IPPROTO_UDP)
#: The text does not say it in this row.
UNTOLD: Final = 0

#: States as ss, netstat and BusyBox spell them.
STATES: Final[dict[str, int]] = {
    spelling: int(state)
    for state, spellings in {
        TcpState.ESTABLISHED: "ESTAB ESTABLISHED",
        TcpState.SYN_SENT: "SYN-SENT SYN_SENT",
        TcpState.SYN_RECV: "SYN-RECV SYN_RECV SYN-RCVD SYN_RCVD",
        TcpState.FIN_WAIT1: "FIN-WAIT-1 FIN_WAIT1 FIN-WAIT1 FIN_WAIT_1",
        TcpState.FIN_WAIT2: "FIN-WAIT-2 FIN_WAIT2 FIN-WAIT2 FIN_WAIT_2",
        TcpState.TIME_WAIT: "TIME-WAIT TIME_WAIT",
        TcpState.CLOSE: "UNCONN CLOSE CLOSED",
        TcpState.CLOSE_WAIT: "CLOSE-WAIT CLOSE_WAIT",
        TcpState.LAST_ACK: "LAST-ACK LAST_ACK",
        TcpState.LISTEN: "LISTEN",
        TcpState.CLOSING: "CLOSING",
    }.items()
    for spelling in spellings.split()
}
#: inet_diag's number of each timer, as ss and netstat name them.
TIMERS: Final = {"off": 0, "on": 1, "keepalive": 2, "timewait": 3, "persist": 4, "probe": 4, "unknown": 5}

#: Rows that are collected before they become part of a table.
_BATCH: Final = 50_000
#: Distinct processes that are told apart.
_PROCESSES_MAX: Final = 100_000
#: Characters of a command that are kept.
_COMMAND_MAX: Final = 64
#: Pids of our own making begin above PID_MAX_LIMIT of the kernel (include/linux/threads.h).
_OWN_PIDS: Final = 1 << 22
#: Lines that stand for something left out, or are empty, between rows.
_LEFT_OUT: Final = re.compile(
    r"\W*(?:\.{2,}|\u2026|(?:<|\[|\()?\s*(?:snip\w*|cut|omitted|truncated|skipped|more)\b.{0,40}"
    r"|[\d,]+ more (?:lines?|rows?|entries|sockets))?\W*",
    re.IGNORECASE,
)
_LEFT_OUT_MAX: Final = 8
_LEFT_OUT_CHARACTERS: Final = 80
_PLAIN: Final = np.dtype((np.void, SOCKET.itemsize))


@dataclass(slots=True)
class SocketDetail:
    """Fields of a row that few listings have. pid: 0: not told."""

    inode: int = 0
    uid: int = 0
    pid: int = 0
    timer: int = 0
    expires_ms: int = 0
    retransmits: int = 0


class Shows(NamedTuple):
    """Values of `SocketListing`."""

    listeners: bool
    time_wait: bool
    owners: bool
    whole: bool


class _GrowingTable:
    """Sockets of one transport, and their lines."""

    def __init__(self) -> None:
        self._sockets, self._lines = bytearray(), bytearray()

    def add(self, sockets: Sockets, lines: Lines) -> None:
        self._sockets += sockets.tobytes()
        self._lines += lines.tobytes()

    def __len__(self) -> int:
        return len(self._sockets) // SOCKET.itemsize

    def take(self) -> tuple[Sockets, Lines]:
        """Return the sockets, which may be changed, and their lines."""
        return np.frombuffer(self._sockets, SOCKET), np.frombuffer(self._lines, np.uint32)


class ListingWriter:
    """Collects the rows of one listing, and writes it into the evidence.

    rows: append to it, and call `flush` now and then. details: of the rows at these lines. doubtful: lines of rows that
    may turn out wrong.
    """

    def __init__(self, evidence: Evidence, file: str) -> None:
        self.rows: list[Row] = []
        self.details: dict[int, SocketDetail] = {}
        self.doubtful = array("I")
        self.unread = 0
        self._left_out = False
        self._evidence, self._file = evidence, file
        self._tables = {TCP: _GrowingTable(), UDP: _GrowingTable(), UNTOLD: _GrowingTable()}
        self._dropped = 0
        self._pids: dict[str, int] = {}
        self._commands: dict[int, str] = {}
        self._inodes: dict[int, int] = {}
        self._owned, self._owners = array("I"), array("I")

    @property
    def count(self) -> int:
        """Rows so far."""
        return len(self.rows) + sum(map(len, self._tables.values())) + self._dropped

    def refuse(self, line: int, why: str) -> None:
        """Note a row that cannot be read."""
        self._evidence.note_unread(self._file, line, line, why)
        self.unread += 1

    def skip(self, lines: Sequence[str], at: int, number: int, is_row: Callable[[str], bool]) -> int:
        """Pass over lines that are empty or say that rows are left out, if a row is behind them; return how many.

        at: where they begin, number: of this line.
        """
        skipped = _left_out(lines, at, is_row)
        for index, line in enumerate(lines[at : at + skipped]):
            if line and not line.isspace():
                self._evidence.note_unread(self._file, number + index, number + index)
                self._left_out = True
        return skipped

    def process(self, command: str, pid: str) -> int:
        """Return the pid of a process; one of our own making if its text is no number; 0 if there are too many."""
        number = decimal(pid, _OWN_PIDS)
        if number <= 0:
            number = self._pids.setdefault(command, _OWN_PIDS + 1 + len(self._pids))
        if number not in self._commands:
            if len(self._commands) >= _PROCESSES_MAX:
                return 0
            self._commands[number] = command[:_COMMAND_MAX]
        return number

    def flush(self, *, keep: int = 1) -> None:
        """Make a table of the rows if they are many, except for the last `keep`, to which details may still come."""
        if len(self.rows) >= max(_BATCH, keep + 1):
            self._flush(keep)

    def _flush(self, keep: int = 0) -> None:
        rows, self.rows = self.rows[: len(self.rows) - keep], self.rows[len(self.rows) - keep :]
        room = max(SOCKETS_MAX - sum(map(len, self._tables.values())), 0)
        self._dropped += max(len(rows) - room, 0)
        del rows[room:]
        if not rows:
            self.details.clear()
            return
        kinds, states, rqueues, wqueues, sources, destinations, numbers = zip(*rows, strict=True)
        sockets = np.zeros(len(rows), SOCKET)
        source = np.frombuffer(b"".join(sources), ENDPOINT)
        destination = np.frombuffer(b"".join(destinations), ENDPOINT)
        sockets["family"] = np.where(source["family"] == ANY_FAMILY, destination["family"], source["family"])
        sockets["source"], sockets["source_port"] = source["address"], source["port"]
        sockets["destination"], sockets["destination_port"] = destination["address"], destination["port"]
        sockets["state"], sockets["rqueue"], sockets["wqueue"] = states, rqueues, wqueues
        lines = np.array(numbers, np.uint32)
        self._add_details(sockets, lines)
        distinct = set(kinds)
        for kind in distinct:
            if len(distinct) == 1:
                self._tables[kind].add(sockets, lines)
            else:
                mask = np.array(kinds) == kind
                self._tables[kind].add(sockets.view(_PLAIN)[mask].view(SOCKET), lines[mask])

    def _add_details(self, sockets: Sockets, lines: Lines) -> None:
        last = int(lines[-1])
        details = {line: detail for line, detail in self.details.items() if line <= last}
        if not details:
            return
        self.details = {line: detail for line, detail in self.details.items() if line > last}
        for detail in details.values():
            if detail.pid:
                detail.inode = detail.inode or self._inodes.setdefault(detail.pid, 0xFFFF_FFFF - len(self._inodes))
                self._owned.append(detail.inode)
                self._owners.append(detail.pid)
        places = np.searchsorted(lines, np.fromiter(details, np.uint32))
        for name in ("inode", "uid", "timer", "expires_ms", "retransmits"):
            sockets[name][places] = [getattr(detail, name) for detail in details.values()]

    def states(self) -> frozenset[int]:
        """Return the states of the rows so far that are not of UDP."""
        self._flush()
        return frozenset(
            int(state) for kind in (TCP, UNTOLD) for state in np.unique(self._tables[kind].take()[0]["state"])
        )

    def finish(
        self,
        what: str,
        lines: tuple[int, int],
        shows: Shows,
        *,
        untold: int = TCP,
        any_family: int = socket.AF_INET6,
        forbidden: int = 0,
        swapped: bool = False,
    ) -> None:
        """Write the listing into the evidence, unless all of its rows were refused.

        untold: the transport of rows that do not say it. any_family: of "*". forbidden: see `SocketOwners`. swapped:
        the bytes of each word of an address are in the other order.
        """
        self._flush()
        if self.unread and not self.count:
            return
        if not len(self._tables[untold]):
            self._tables[untold], self._tables[UNTOLD] = self._tables[UNTOLD], self._tables[untold]
        if len(self._tables[UNTOLD]):
            self._tables[untold].add(*self._tables[UNTOLD].take())
        udp, tcp = self._tables[UDP], self._tables[TCP]
        owned, first = np.unique(np.array(self._owned, np.uint32), return_index=True)
        listing = SocketListing(what, self._file, *lines, dropped=self._dropped)
        listing.tcp, listing.tcp_lines = self._taken(tcp, any_family, swapped)
        listing.udp, listing.udp_lines = self._taken(udp, any_family, swapped)
        listing.unread = self.unread
        listing.owners = SocketOwners(owned, np.array(self._owners, np.uint32)[first], forbidden, True)
        listing.commands = self._commands
        listing.shows_listeners, listing.shows_time_wait, listing.shows_owners, whole = shows
        listing.whole = whole and not self.unread and not self._left_out
        self._evidence.listings.append(listing)

    def refuse_doubtful(self, why: str) -> None:
        """Refuse the rows at the doubtful lines."""
        self._flush()
        for line in self.doubtful:
            self.refuse(line, why)
        for kind, table in self._tables.items():
            sockets, lines = table.take()
            keep = ~np.isin(lines, np.array(self.doubtful, np.uint32))
            self._tables[kind] = _GrowingTable()
            self._tables[kind].add(sockets.view(_PLAIN)[keep].view(SOCKET), lines[keep])
        self.doubtful = array("I")

    def has_address(self, *addresses: bytes) -> bool:
        """Return True if a socket has one of these source or destination addresses, of 16 bytes."""
        self._flush()
        wanted = [np.frombuffer(address, np.uint8) for address in addresses]
        return any(
            bool((table.take()[0][name] == address).all(axis=1).any())
            for table in self._tables.values()
            for name in ("source", "destination")
            for address in wanted
        )

    @staticmethod
    def _taken(table: _GrowingTable, any_family: int, swapped: bool) -> tuple[Sockets, Lines]:
        sockets, lines = table.take()
        family = sockets["family"]
        family[family == ANY_FAMILY] = any_family
        if swapped:
            for name in ("source", "destination"):
                sockets[name] = sockets[name].reshape(-1, 4, 4)[:, :, ::-1].reshape(-1, 16)
        return sockets, lines


def agree(source: bytes, destination: bytes) -> bool:
    """Return True if these may be the two ends of one socket: of one family, or one of them is all addresses."""
    return (
        source[0] == destination[0]
        or ANY_FAMILY in (source[0], destination[0])
        or not (any(source[2:18]) and any(destination[2:18]))
    )


def _left_out(lines: Sequence[str], at: int, is_row: Callable[[str], bool]) -> int:
    """Return the number of lines from `at` on that are empty or say that rows are left out, with a row behind them.

    Empty ones at the end of these lines count as well: the next lines tell whether the listing goes on.
    """
    for end in range(at, min(at + _LEFT_OUT_MAX + 1, len(lines))):
        if len(line := lines[end].strip()) > _LEFT_OUT_CHARACTERS or not _LEFT_OUT.fullmatch(line):
            return end - at if is_row(lines[end]) else 0
    behind = lines[at : at + _LEFT_OUT_MAX + 1]
    return len(behind) if len(behind) <= _LEFT_OUT_MAX and not "".join(behind).strip() else 0
