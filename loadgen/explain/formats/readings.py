"""Readers of counters, settings and limits: what a line says is kept under the name that `loadgen.kernel` gives it."""

from __future__ import annotations

from typing import Final

from loadgen.explain.evidence import CounterReading, LimitReading, SysctlReading, Where
from loadgen.explain.formats.lines import LineReader

#: Levels, not sums: they say how it is now. snmp_counter.rst; RFC 4022; tcp_snmp_list[] in net/ipv4/proc.c.
_GAUGES: Final = frozenset(
    (
        "Ip.Forwarding",
        "Ip.DefaultTTL",
        "Tcp.RtoAlgorithm",
        "Tcp.RtoMin",
        "Tcp.RtoMax",
        "Tcp.MaxConn",
        "Tcp.CurrEstab",
        "MPTcpExt.MPCurrEstab",
        "Sctp.CurrEstab",
    )
)
#: Two names of one variable: nf_conntrack_init_sysctl() in net/netfilter/nf_conntrack_standalone.c.
_SAME: Final = {"net.nf_conntrack_max": "net.netfilter.nf_conntrack_max"}


class ReadingLines(LineReader):
    """Reads lines of numbers."""

    def keep_counter(self, name: str, value: int, since: str, where: Where) -> None:
        """Keep a counter's reading; a gauge is of now, whatever the others of the piece are."""
        since = "now" if name in _GAUGES else since
        self.keep(self.evidence.counters, CounterReading(name, value, since, where), where)

    def keep_sysctl(self, name: str, value: str, where: Where) -> None:
        """Keep a setting's reading, its value with single spaces."""
        reading = SysctlReading(_SAME.get(name, name), " ".join(value.split()), where)
        self.keep(self.evidence.sysctls, reading, where)

    def keep_limit(self, name: str, soft: int | None, hard: int | None, where: Where) -> None:
        """Keep a resource limit's reading."""
        self.keep(self.evidence.limits, LimitReading(name, soft, hard, where), where)
