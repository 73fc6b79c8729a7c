"""The base of readers that judge one line at a time, and the room for what they read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import CounterReading, Evidence, LimitReading, SysctlReading, Unread, Where

#: Readings of each kind that are kept: some hundred times what one host has.
READINGS_MAX: Final = 200_000
#: Levels, not sums: they say how it is now. snmp_counter.rst; RFC 4022; tcp_snmp_list[] in net/ipv4/proc.c.
GAUGES: Final = frozenset(
    {
        "Ip.Forwarding",
        "Ip.DefaultTTL",
        "Tcp.RtoAlgorithm",
        "Tcp.RtoMin",
        "Tcp.RtoMax",
        "Tcp.MaxConn",
        "Tcp.CurrEstab",
        "MPTcpExt.MPCurrEstab",
        "Sctp.CurrEstab",
    }
)


#: Two names of one variable: nf_conntrack_init_sysctl() in net/netfilter/nf_conntrack_standalone.c.
_SAME: Final = {"net.nf_conntrack_max": "net.netfilter.nf_conntrack_max"}


class LineReader(ABC):
    """A `FormatReader` that needs no line but the present one, beside what it remembers."""

    what = ""

    def __init__(self, evidence: Evidence, file: str) -> None:
        self._evidence, self._file = evidence, file
        self._dropped: tuple[int, int] | None = None

    @abstractmethod
    def take(self, line: str, number: int) -> bool:
        """Read a line; return False if it is none of this format."""

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        while at < len(lines) and self.take(lines[at], first + at):
            at += 1
        return at

    def finish(self) -> None:
        """See `FormatReader`."""
        if self._dropped:
            why = f"more than {READINGS_MAX:,} readings; give explain less at a time"
            self._evidence.unread.append(Unread(self._file, *self._dropped, why))

    def keep_counter(self, name: str, value: int, since: str, number: int) -> None:
        """Keep a counter's reading; a gauge is of now, whatever the others of the piece are."""
        if self._room(len(self._evidence.counters), number):
            since = "now" if name in GAUGES else since
            self._evidence.counters.append(CounterReading(name, value, since, Where(self._file, number)))

    def keep_sysctl(self, name: str, value: str, number: int) -> None:
        """Keep a setting's reading."""
        if self._room(len(self._evidence.sysctls), number):
            self._evidence.sysctls.append(SysctlReading(_SAME.get(name, name), value, Where(self._file, number)))

    def keep_limit(self, name: str, soft: int | None, hard: int | None, number: int) -> None:
        """Keep a resource limit's reading."""
        if self._room(len(self._evidence.limits), number):
            self._evidence.limits.append(LimitReading(name, soft, hard, Where(self._file, number)))

    def _room(self, kept: int, number: int) -> bool:
        if kept < READINGS_MAX:
            return True
        self._dropped = (self._dropped[0] if self._dropped else number, number)
        return False
