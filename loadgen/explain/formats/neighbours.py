"""Entries of the tables of neighbours, counted: `ip neigh`, `arp -n`, `arp -an`, /proc/net/arp.

The table is one for all network namespaces of a host, and these list one of them: so the count is the least that is
in it. /proc/net/stat/arp_cache has all.

Sources: print_neigh() in ip/ipneigh.c of iproute2 6.1; arp.c of net-tools 2.10; arp_seq_show() in net/ipv4/arp.c.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from loadgen.explain.evidence import CounterReading, Evidence, Where
from loadgen.explain.formats.base import DIGITS, Format
from loadgen.explain.formats.lines import LineReader

_ROW: Final = re.compile(
    r"\s*(?P<address>[\da-fA-F.:]+) dev \S+ (?:.*\s)?"
    r"(?:PERMANENT|NOARP|REACHABLE|STALE|DELAY|PROBE|INCOMPLETE|FAILED|NONE|proxy)\s*"
)
_ARP: Final = re.compile(
    r"\s*\S++ \((?P<an>[\d.]+)\) (?:at|auf) \S+ .*\bon \S+\s*"
    r"|(?P<n>[\d.]+)\s+(?:\S+\s+[\da-fA-F]{2}(?::[\da-fA-F]{2}){5}\s+\S+\s+(?:\S+\s+)?\S+|\(incomplete\)\s+\S+)\s*"
    r"|(?P<proc>[\d.]+)\s+0x[\da-f]+\s+0x[\da-f]+\s+\S+\s+\S+\s+\S+\s*"
)
_HEAD: Final = re.compile(r"Address\s+HWtype\s+HWaddress\s.*|IP address\s+HW type\s+Flags\s.*")


class _NeighbourCount(LineReader):
    """Counts rows by family."""

    row: re.Pattern[str]

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._counts: dict[int, int] = {}
        self._first: Where | None = None

    def take(self, line: str, where: Where) -> bool:
        if _HEAD.fullmatch(line):
            self.what = "/proc/net/arp" if line.startswith("IP") else "arp -n"
            return True
        row = self.row.fullmatch(line)
        text = next((found for found in row.groups() if found), "") if row else ""
        try:
            version = ip_address(text).version
        except ValueError:
            return False
        self._counts[version] = self._counts.get(version, 0) + 1
        self._first = self._first or where
        return True

    def finish(self) -> None:
        super().finish()
        for version, count in self._counts.items():
            if self._first:
                name = "neigh.entries" if version == 4 else "neigh6.entries"
                self.evidence.counters.append(CounterReading(name, count, "now", self._first))


class _NeighbourLines(_NeighbourCount):
    what = "ip neigh"
    row = _ROW


class _ArpLines(_NeighbourCount):
    what = "arp -an"
    row = _ARP


NEIGHBOURS: Final = Format(
    "ip-neigh",
    "ip neigh",
    lambda line: bool(_ROW.fullmatch(line)),
    _NeighbourLines,
    heads=frozenset(),
    words=frozenset({" dev "}),
)
ARP: Final = Format(
    "arp",
    "arp -n, arp -an, /proc/net/arp",
    lambda line: bool(_HEAD.fullmatch(line) or _ARP.fullmatch(line)),
    _ArpLines,
    heads=DIGITS | frozenset(".AI"),
    words=frozenset({") at ", ") auf "}),
)
