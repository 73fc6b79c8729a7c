"""The ways in which sockets connect: the strategy of the table, or what no strategy of ours is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadgen.model import CloseMode
from loadgen.strategies import Strategy, Transport

#: TCP_FASTOPEN_CONNECT, or data with MSG_FASTOPEN.
FAST_OPEN: Final = "Fast Open"
#: What a socket may have beside a strategy, in the words of the man pages, and what it changes.
BESIDE: Final = {
    "SO_BINDTODEVICE": "a connect() without it takes no notice of these connections and may open the same four-tuple "
    "again; then the older one is never told, and its end at the server is reset",
    "IP_UNICAST_IF": "datagrams leave by an interface that the program names; ports are counted as those of any other",
    "IP_TRANSPARENT": "the source may be an address of another host (TPROXY), whose ports count there as well",
    "IP_FREEBIND": "the source may be on no interface of this host; its ports are counted as those of any other",
    "MPTCP": "each further subflow takes a four-tuple of its own; the first one is counted here",
    FAST_OPEN: "the SYN may leave with the first data: connect() that returned 0 opened nothing yet, and a refusal or "
    "time-out shows in send()",
    "SO_REUSEPORT": "over UDP the kernel gives a port that it chose to several such sockets; the last one gets all "
    "datagrams",
    "SO_REUSEADDR": "over UDP the kernel gives a port that it chose to several such sockets; the last one gets all "
    "datagrams",
}

#: Connections of which it is known whether they are short.
_TELLING: Final = 3


@dataclass(frozen=True, slots=True)
class Way:
    """Sockets of one process that connect in the same way.

    command: as strace or the kernel names it; "": not known. pid: of the first one; 0: not known.
    strategy: of the table, by which the ports are counted; None: none of ours, because of `beside`, or not known,
    because of `unseen`. beside: keys of BESIDE: what the sockets have that changes the account of the strategy.
    calls: those that show it, as strace prints them, of one of the sockets; and the first that failed of each kind.
    source: address bound; "": none was. source_port: 0: left to the kernel; None: bind() was not called.
    ports: of IP_LOCAL_PORT_RANGE, of all sockets together; None: not set.
    target, target_port: of one of the sockets. targets: distinct ones.
    failed: connects and binds by (system call, errno) name. count: connect() calls; 0: bind() failed each time.
    line: number of the line of the first call in its text. file: where that text was; "": it was not pasted.
    unseen: system calls that the text does not show, so that the strategy is unknown: ("socket", "setsockopt").
    sources: distinct source addresses. named: distinct ports that bind() named, and the range they lie in.
    open_max: most of the sockets open at once. closed: of them, closed before the text ends. span_s: between the first
    connect() and the last; None: not told. close: how they end; None: not told.
    """

    command: str
    pid: int
    transport: Transport
    strategy: Strategy | None
    beside: tuple[str, ...]
    calls: tuple[str, ...]
    source: str
    source_port: int | None
    ports: tuple[int, int] | None
    target: str
    target_port: int
    targets: int
    failed: dict[tuple[str, str], int]
    count: int
    line: int = 0
    file: str = ""
    unseen: tuple[str, ...] = ()
    sources: int = 0
    named: int = 0
    named_range: tuple[int, int] | None = None
    open_max: int = 0
    closed: int = 0
    span_s: float | None = None
    close: CloseMode | None = None

    @property
    def churns(self) -> bool | None:
        """True if connections are short: most were closed while others were opened. None: too few to tell."""
        if self.count < _TELLING:
            return None
        return self.closed >= self.count // 2 and self.open_max * 2 <= self.count
