"""`ss -s`: the sockets in sum, in the form of iproute2 since 4.20 and in the one before it.

It reads /proc/net/sockstat and /proc/net/snmp, so the readings have the names of those. "timewait" counts FIN-WAIT-2
of closed sockets as well; "closed" has TIME-WAIT in it.

Source: print_summary() in misc/ss.c of iproute2 5.5 and 4.9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.readings import ReadingLines

_N: Final = r"[0-9]{1,19}"
_TOTAL: Final = re.compile(rf"\s{{0,8}}Total: (?P<total>{_N})(?P<old> \(kernel {_N}\))?\s*")
_TCP: Final = re.compile(
    rf"\s{{0,8}}TCP:\s+(?P<total>{_N}) \(estab (?P<estab>{_N}), closed {_N}, orphaned (?P<orphaned>{_N}), "
    rf"(?:synrecv {_N}, )?timewait (?P<timewait>{_N})(?P<old>/{_N})?\)(?:, ports {_N})?\s*"
)
_HEADER: Final = re.compile(r"\s{0,8}Transport\s+Total\s+IP\s+IPv6\s*")
_ROW: Final = re.compile(rf"\s{{0,8}}(?P<name>\*|RAW|UDP|TCP|INET|FRAG)\s+{_N}\s+(?P<four>{_N}|-)\s+(?P<six>{_N}|-)\s*")
#: Of the table, and the name of its two columns in sockstat and sockstat6.
_ROWS: Final = {"UDP": "udp", "RAW": "raw"}


class _SsSummaryReader(ReadingLines):
    what = "ss -s"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._inside = False

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        # "Total: 5" alone is of any program.
        if not self._inside and (total := _TOTAL.fullmatch(lines[at])) and not total["old"]:
            follows = next((line for line in lines[at + 1 : at + 3] if line.strip()), "")
            if not _TCP.fullmatch(follows):
                return at
        self._inside = True
        return super().feed(lines, at, first)

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if total := _TOTAL.fullmatch(line):
            self._keep("sockets_used", total["total"], where)
        elif tcp := _TCP.fullmatch(line):
            self.keep_counter("Tcp.CurrEstab", int(tcp["estab"]), "now", where)
            self._keep("tcp_orphan", tcp["orphaned"], where)
            self._keep("tcp_tw", tcp["timewait"], where)
            if not tcp["old"]:  # the sum of both; the old form adds something else
                self._keep("tcp_alloc", str(max(int(tcp["total"]) - int(tcp["timewait"]), 0)), where)
        elif row := _ROW.fullmatch(line):
            self._take_row(row, where)
        else:
            return not line.strip() or _HEADER.fullmatch(line) is not None
        return True

    def _take_row(self, row: re.Match[str], where: Where) -> None:
        if row["name"] in ("TCP", *_ROWS) and "-" not in (row["four"], row["six"]):
            name = row["name"].lower()
            # Of TCP, ss prints what is hashed, as sockstat's inuse does.
            self._keep(f"{name}_inuse", row["four"], where)
            self._keep(f"{name}6_inuse", row["six"], where)

    def _keep(self, name: str, value: str, where: Where) -> None:
        self.keep_counter(f"sockstat.{name}", int(value), "now", where)


SS_SUMMARY: Final = Format(
    "ss-summary",
    "`ss -s`",
    lambda line: bool(_TOTAL.fullmatch(line) or _TCP.fullmatch(line) or _HEADER.fullmatch(line)),
    _SsSummaryReader,
    heads=frozenset("T"),
)
