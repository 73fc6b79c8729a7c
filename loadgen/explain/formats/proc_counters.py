"""/proc/net/snmp, netstat, snmp6 and sockstat, whole or a few lines of them.

Sources: see `loadgen.kernel.snmp`, `loadgen.kernel.snmp6` and `loadgen.kernel.sockstat`, which parse them here, too.
"""

from __future__ import annotations

import re
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats import counter_names
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.readings import ReadingLines
from loadgen.kernel import snmp, snmp6, sockstat

_FILE: Final = r"\s{0,8}(?:/proc/(?:[0-9]+/|self/)?net/\w+:)?"
#: Groups that a kernel to come may add are taken as well.
_NAMES: Final = re.compile(rf"{_FILE}(?P<group>[A-Z][A-Za-z]{{1,15}}):(?P<names>(?: [A-Z][A-Za-z0-9]*)+)\s*")
_VALUES: Final = re.compile(rf"{_FILE}(?P<group>[A-Z][A-Za-z]{{1,15}}):(?P<values>(?: -?[0-9]{{1,20}})+)\s*")
_SNMP6: Final = re.compile(rf"{_FILE}(?P<line>(?:Ip6|Icmp6|Udp6|UdpLite6)[A-Z]\w{{1,60}}\s+[0-9]{{1,20}})\s*")
_SOCKSTAT: Final = re.compile(
    rf"{_FILE}(?P<line>(?:sockets|(?:TCP|UDP|UDPLITE|RAW|FRAG)6?):"
    r"(?: (?:used|inuse) [0-9]{1,19})(?: [a-z]+ [0-9]{1,19})*)\s*"
)
#: As kernels have them, in groups of which the first word is unlike prose.
_KNOWN: Final = frozenset(counter_names.GROUPS)


class _SnmpReader(ReadingLines):
    """Reads pairs of lines: names, and under them values."""

    what = "/proc/net/snmp and netstat"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._names: tuple[str, Where] | None = None

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if self._names is None:
            found = _NAMES.fullmatch(line)
            if not found or (found["group"] not in _KNOWN and not found["group"].endswith("Ext")):
                return False
            self._names = f"{found['group']}:{found['names']}", where
            return True
        names, began = self._names
        found = _VALUES.fullmatch(line)
        if not found:
            return False
        try:
            counters = snmp.parse(f"{names}\n{found['group']}:{found['values']}")
        except ValueError:
            return False
        self._names = None
        for name, value in counters.items():
            self.keep_counter(name, value, "boot", began._replace(line=began.line + 1))
        return True

    def finish(self) -> None:
        """See `FormatReader`."""
        if self._names:
            why = "names of counters without a line of as many values; paste both lines of the file, unwrapped"
            self.refuse(self._names[1], why)
        super().finish()


class _Snmp6Reader(ReadingLines):
    what = "/proc/net/snmp6"

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        found = _SNMP6.fullmatch(line)
        if not found:
            return False
        for name, value in snmp6.parse(found["line"]).items():
            self.keep_counter(name, value, "boot", where)
        return True


class _SockstatReader(ReadingLines):
    what = "/proc/net/sockstat"

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        found = _SOCKSTAT.fullmatch(line)
        if not found:
            return False
        for name, value in sockstat.parse(found["line"]).items():
            self.keep_counter(f"sockstat.{name}", value, "now", where)
        return True


def _begins_snmp(line: str) -> bool:
    found = _NAMES.fullmatch(line) if ": " in line[:64] else None
    return found is not None and found["group"] in _KNOWN


SNMP: Final = Format(
    "snmp",
    "/proc/net/snmp, /proc/net/netstat",
    _begins_snmp,
    _SnmpReader,
    heads=frozenset({"/", *(group[0] for group in counter_names.GROUPS)}),
)
SNMP6: Final = Format(
    "snmp6",
    "/proc/net/snmp6",
    lambda line: "6" in line[:64] and bool(_SNMP6.fullmatch(line)),
    _Snmp6Reader,
    heads=frozenset("/IU"),
)
SOCKSTAT: Final = Format(
    "sockstat",
    "/proc/net/sockstat, /proc/net/sockstat6",
    lambda line: bool(_SOCKSTAT.fullmatch(line)),
    _SockstatReader,
    heads=frozenset("/sTURF"),
)
