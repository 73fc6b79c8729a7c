"""The values that tell what was read out of pasted text, each with its place, and what could not be read.

The readers in `loadgen.explain.formats` write into an `Evidence`; `loadgen.explain.case` reads it. Nothing is judged
here, and nothing is guessed: what a text does not say is not in here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from loadgen.kernel.sockdiag import SOCKET, Sockets
from loadgen.outcomes import Syscall
from loadgen.strategies import Transport
from loadgen.trace.ways import Way
from loadgen.watch.owners import SocketOwners

#: Distinct complaints that are kept apart; further ones are counted in `Evidence.more_complaints`.
COMPLAINTS_MAX: Final = 10_000
#: Ranges of unread lines that are kept apart; the lines of further ones are counted in `Evidence.more_unread`.
UNREAD_MAX: Final = 10_000
#: Pieces that are kept; further ones are counted in `Evidence.more_pieces`.
PIECES_MAX: Final = 10_000
#: Characters of a complaint's text that are kept.
TEXT_MAX: Final = 300
#: Most sockets of one listing that are kept: 72 bytes each.
SOCKETS_MAX: Final = 4_000_000
#: wqueue of a listener whose text does not tell its backlog: netstat and /proc/net print 0, which it is not.
BACKLOG_UNKNOWN: Final = 0xFFFF_FFFF


class Where(NamedTuple):
    """A place: a file as the user named it ("-": standard input; inside an archive its path there), a line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line}" if self.file == "-" else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring lines that one format took. what: the format in words, "ss -tanp"."""

    format: str
    what: str
    file: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Unread:
    """Neighbouring lines that no format took; 0 to 0: the whole file.

    why: "" where it is none of them, else the reason and the remedy.
    """

    file: str
    first: int
    last: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line that was pasted, without its prompt. last: the last line of the piece it belongs to."""

    text: str
    file: str
    last: int


@dataclass(frozen=True, slots=True)
class SysctlReading:
    """A sysctl: its dotted name, its value with single spaces."""

    name: str
    value: str
    where: Where


@dataclass(frozen=True, slots=True)
class CounterReading:
    """A counter or gauge by the name that `loadgen.kernel` gives it: TcpExt.ListenOverflows, conntrack.drop,
    sockstat.tcp_tw, neigh.table_fulls. since: "boot", "reading" (nstat without -a counts from its last call), or
    "now" for a gauge; "": unknown.
    """

    name: str
    value: int
    since: str
    where: Where


@dataclass(frozen=True, slots=True)
class LimitReading:
    """RLIMIT_NOFILE and its like, by the name in /proc/PID/limits: "Max open files". None: unlimited, or not told."""

    name: str
    soft: int | None
    hard: int | None
    where: Where


@dataclass(frozen=True, slots=True)
class AddressReading:
    """An address on an interface. flags: of ip-address(8), lower case: tentative, dadfailed, deprecated.

    device: "" where the text does not tell. shows_flags: False for a text without them, as of ifconfig.
    """

    address: str
    prefix: int
    device: str
    flags: frozenset[str]
    where: Where
    shows_flags: bool = True


@dataclass(frozen=True, slots=True)
class LinkReading:
    """An interface. flags: as `ip link` writes them: UP, LOWER_UP, NO-CARRIER, LOOPBACK."""

    device: str
    flags: frozenset[str]
    where: Where


@dataclass(frozen=True, slots=True)
class RouteReading:
    """A route.

    kind: unicast, local, unreachable, blackhole, prohibit; reject: unreachable or prohibit, as route(8) has one word
    for both. network: CIDR, 0.0.0.0/0 for the default. table: a further one that rules lead to, "100"; "": main or
    local.
    """

    kind: str
    network: str
    device: str
    via: str
    source: str
    where: Where
    table: str = ""


@dataclass(frozen=True, slots=True)
class RuleReading:
    """A rule of nft or iptables.

    kind: snat, masquerade, dnat, redirect, notrack, track (matches a state, so that connections are tracked), drop,
    reject. addresses: of the translation; (): all, those of the interface, or what a map says; a range of more than 256
    is one text, "10.0.0.0-10.0.9.255". ports: of the translation; None: all, or as a map says. text: the rule.
    """

    kind: str
    addresses: tuple[str, ...]
    ports: tuple[int, int] | None
    text: str
    where: Where


@dataclass(frozen=True, slots=True)
class Complaint:
    """A message of a program or of the kernel that says what could not be done.

    program: "nginx", "haproxy", "kernel"; "": unknown. syscalls: those it may be about, one where the message tells;
    none where it is about no system call. errno: name, "EADDRNOTAVAIL"; "": the message has none.
    limit: a limit that the message itself names without an errno ("conntrack" for "table full, dropping packet");
    "": none. source: local address; "": not told. source_port: 0: the kernel was to choose it; None: not told.
    target, target_port: address or host name as written; "" and 0: not told. listening: True if it is a service that
    could not listen, False if a client, None: not told. transport: None: not told.
    """

    program: str
    syscalls: frozenset[Syscall]
    errno: str
    text: str
    where: Where
    limit: str = ""
    source: str = ""
    source_port: int | None = None
    target: str = ""
    target_port: int = 0
    listening: bool | None = None
    transport: Transport | None = None

    @property
    def kind(self) -> tuple[object, ...]:
        """Everything that makes two complaints the same, whatever their place and exact words."""
        return (
            self.program,
            self.syscalls,
            self.errno,
            self.limit,
            self.source,
            self.source_port,
            self.target,
            self.target_port,
            self.listening,
            self.transport,
        )


@dataclass(slots=True)
class Complaints:
    """The same complaint, as often as it was read. first: with its text. last: the place of the last one."""

    first: Complaint
    count: int = 1
    last: Where | None = None


def _no_sockets() -> Sockets:
    return np.empty(0, SOCKET)


def _no_lines() -> npt.NDArray[np.uint32]:
    return np.empty(0, np.uint32)


def _no_owners() -> SocketOwners:
    return SocketOwners(np.empty(0, np.uint32), np.empty(0, np.uint32), 0, True)


@dataclass(slots=True)
class SocketListing:
    """The sockets that one call of ss or netstat, or one file of /proc/net, lists.

    tcp, udp: rows of `loadgen.kernel.sockdiag.SOCKET`, with an inode of our own making where the text names the
    process and no inode; wqueue of a listener is BACKLOG_UNKNOWN where the text does not tell it.
    tcp_lines, udp_lines: the line of each. owners, commands: the processes it names: inode to
    pid, pid to command; pids of our own making where it has names only. shows_listeners, shows_time_wait,
    shows_owners: whether it would have listed them. whole: False if only selected sockets are in it, so that others may
    be there. dropped: rows beyond SOCKETS_MAX. unread: rows that are in `Evidence.unread`.
    """

    what: str
    file: str
    first: int
    last: int
    tcp: Sockets = field(default_factory=_no_sockets)
    udp: Sockets = field(default_factory=_no_sockets)
    tcp_lines: npt.NDArray[np.uint32] = field(default_factory=_no_lines)
    udp_lines: npt.NDArray[np.uint32] = field(default_factory=_no_lines)
    owners: SocketOwners = field(default_factory=_no_owners)
    commands: dict[int, str] = field(default_factory=dict)
    shows_listeners: bool = False
    shows_time_wait: bool = False
    shows_owners: bool = False
    whole: bool = True
    dropped: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class SpaceReading:
    """An account of ports as loadgen's own watch printed it: of (source, destination), or of a source.

    destination: "" for the account of a source. strategy: "bind" where watch recognised early binding.
    owners: (command, sockets).
    """

    transport: Transport
    source: str
    destination: str
    destination_port: int
    used: int
    time_wait: int
    usable: int
    strategy: str
    because: str
    owners: tuple[tuple[str, int], ...]
    where: Where


@dataclass(slots=True)
class Evidence:
    """Everything that was read.

    kernel: its release, as `uname -r` writes it. command: the last command line. more_complaints: distinct ones beyond
    COMPLAINTS_MAX. more_unread: lines beyond UNREAD_MAX ranges. more_pieces: those beyond PIECES_MAX. carried: what a
    format keeps between the pieces of one file, by the name of the format and the file.
    """

    listings: list[SocketListing] = field(default_factory=list)
    spaces: list[SpaceReading] = field(default_factory=list)
    sysctls: list[SysctlReading] = field(default_factory=list)
    counters: list[CounterReading] = field(default_factory=list)
    limits: list[LimitReading] = field(default_factory=list)
    addresses: list[AddressReading] = field(default_factory=list)
    links: list[LinkReading] = field(default_factory=list)
    routes: list[RouteReading] = field(default_factory=list)
    rules: list[RuleReading] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    kernel: str = ""
    command: CommandLine | None = None
    more_complaints: int = 0
    carried: dict[tuple[str, str], object] = field(default_factory=dict)
    more_unread: int = 0
    more_pieces: int = 0
    _complaints: dict[tuple[object, ...], Complaints] = field(default_factory=dict)
    _by_name: dict[str, SysctlReading] = field(default_factory=dict)
    _indexed: int = 0

    @property
    def complaints(self) -> Iterator[Complaints]:
        """Each distinct complaint, in the order of its first place."""
        return iter(self._complaints.values())

    def complain(self, complaint: Complaint, count: int = 1) -> None:
        """Count a complaint with its like. count: how often the text says that it was made."""
        known = self._complaints.get(complaint.kind)
        if known:
            known.count += count
            known.last = complaint.where
        elif len(self._complaints) < COMPLAINTS_MAX:
            self._complaints[complaint.kind] = Complaints(complaint, count)
        else:
            self.more_complaints += 1

    def command_before(self, file: str, line: int) -> str:
        """Return the command line that ends right before this line, a blank line between them at most; "": none."""
        command = self.command
        near = command and command.file == file and command.last < line <= command.last + 2
        return command.text if command and near else ""

    def note_unread(self, file: str, first: int, last: int, why: str = "") -> None:
        """Note lines that were not taken: together with those before, if they follow and the reason is the same."""
        before = self.unread[-1] if self.unread else None
        if before and (before.file, before.last + 1, before.why) == (file, first, why):
            self.unread[-1] = Unread(file, before.first, last, why)
        elif len(self.unread) < UNREAD_MAX:
            self.unread.append(Unread(file, first, last, why))
        else:
            self.more_unread += last - first + 1

    def note_piece(self, piece: Piece) -> None:
        """Note lines that one format took."""
        if len(self.pieces) < PIECES_MAX:
            self.pieces.append(piece)
        else:
            self.more_pieces += 1

    def sysctl(self, name: str) -> SysctlReading | None:
        """Return the last reading of a setting; None: it was not read. Readings are only ever appended."""
        for reading in self.sysctls[self._indexed :]:
            self._by_name[reading.name] = reading
        self._indexed = len(self.sysctls)
        return self._by_name.get(name)

    def readings(self, name: str) -> list[CounterReading]:
        """Return all readings of a counter, in order."""
        return [one for one in self.counters if one.name == name]
