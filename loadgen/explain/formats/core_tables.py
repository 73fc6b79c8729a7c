"""Counters for each core: the files of /proc/net/stat, softnet_stat, and `conntrack -S`, summed over the cores.

Names are those of `loadgen.kernel`: conntrack.drop, neigh.table_fulls, softnet.dropped. arp_cache and ndisc_cache have
the same columns, and softnet_stat has no header: there, the command line or the name of the file tells which it is.

Sources: see `loadgen.kernel.core_stats` and `loadgen.kernel.softnet`; display_stats() in conntrack.c of
conntrack-tools, and the same of 0.9, which printed sums, one a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.base import HEX_DIGITS, Format
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.shell import command_of
from loadgen.kernel import core_stats, neighbours, softnet

_HEADER: Final = re.compile(
    r"\s{0,8}entries\s+(?P<second>searched|clashres|allocs|in_hit|syn_received)(?:\s+\w{2,30})+\s*"
)
_ROW: Final = re.compile(r"\s{0,8}[0-9a-f]{8,16}(?:\s+[0-9a-f]{8,16}){2,24}\s*")
_CPU: Final = re.compile(
    r"\s{0,8}cpu=(?P<cpu>[0-9]{1,5})\s+(?P<rest>[a-z_]+=[0-9]{1,20}(?:\s+[a-z_]+=[0-9]{1,20})*)\s*"
)
_SUM: Final = re.compile(r"\s{0,8}(?P<name>[a-z]+(?:_[a-z]+)*)\s+(?P<value>[0-9]{1,20})\s*")
#: The columns of the old `conntrack -S`.
_OLD: Final = frozenset(
    (
        "entries",
        "searched",
        "found",
        "new",
        "invalid",
        "ignore",
        "delete",
        "delete_list",
        "insert",
        "insert_failed",
        "drop",
        "early_drop",
        "icmp_error",
        "expect_new",
        "expect_create",
        "expect_delete",
        "search_restart",
    )
)
_TABLES: Final = {file: prefix for prefix, file in neighbours.FILES.items()}


class _CoreTableReader(ReadingLines):
    """Reads tables with a header, each with a line for each core. The number of entries is the same on all."""

    what = "/proc/net/stat"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._header = ""
        self._asked: list[str] | None = None
        self._began = 0
        self._last = 0
        self._sums: dict[str, int] = {}

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if self._asked is None:
            command = command_of(self.evidence, self.file, where.line)
            self._asked = [PurePosixPath(word).name for word in command.split() if "/net/stat/" in word]
        if _HEADER.fullmatch(line):
            self._end_table()
            self._header, self._began, self._last = line.strip(), where.line, where.line
            return True
        if not self._header or not _ROW.fullmatch(line):
            return False
        try:
            found = core_stats.parse(f"{self._header}\n{line.strip()}")
        except ValueError:
            return False
        self._last = where.line
        entries = found.pop("entries")
        for name, value in found.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._sums["entries"] = entries
        return True

    def _end_table(self) -> None:
        sums, self._sums = self._sums, {}
        if not self._header:
            return
        columns = self._header.split()
        asked = self._asked.pop(0) if self._asked else ""
        if "insert_failed" in columns:
            self.what = "/proc/net/stat/nf_conntrack"
            self._keep(sums, "conntrack", "count")
        elif "destroys" in columns:
            prefix = _TABLES.get(asked, "")
            self.what = f"/proc/net/stat/{asked}" if prefix else "/proc/net/stat/arp_cache or ndisc_cache"
            if prefix:
                self._keep(sums, prefix, "entries")
            elif sums:
                why = "arp_cache and ndisc_cache look the same: paste the command line that printed it as well"
                self.evidence.note_unread(self.file, self._began, self._last, why)
        self._header = ""

    def _keep(self, sums: dict[str, int], prefix: str, entries: str) -> None:
        for name, value in sums.items():
            if name == "entries":
                self.keep_counter(f"{prefix}.{entries}", value, "now", Where(self.file, self._began))
            else:
                self.keep_counter(f"{prefix}.{name}", value, "boot", Where(self.file, self._began))

    def finish(self) -> None:
        """See `FormatReader`."""
        self._end_table()
        super().finish()


class _SoftnetReader(ReadingLines):
    """Reads /proc/net/softnet_stat behind the command that names it."""

    what = "/proc/net/softnet_stat"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._rows: list[str] = []
        self._began = 0

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if not self._rows:
            if "softnet_stat" not in command_of(self.evidence, self.file, where.line):
                return False
            self._began = where.line
        if not _ROW.fullmatch(line) or len(self._rows) >= 1 << 14:
            return False
        self._rows.append(line.strip())
        return True

    def finish(self) -> None:
        """See `FormatReader`."""
        if self._rows:
            for name, value in softnet.parse("\n".join(self._rows)).items():
                self.keep_counter(f"softnet.{name}", value, "boot", Where(self.file, self._began))
        super().finish()


class _ConntrackStatsReader(ReadingLines):
    """Reads `conntrack -S`. A core that comes again begins another call."""

    what = "conntrack -S"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._cores: set[str] = set()
        self._sums: dict[str, int] = {}
        self._began = 0

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        old = not self._began and _SUM.fullmatch(lines[at])
        if old and (at + 1 >= len(lines) or not lines[at + 1].lstrip().startswith(("searched", "clashres"))):
            return at
        return super().feed(lines, at, first)

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if found := _CPU.fullmatch(line):
            if found["cpu"] in self._cores:
                self._end_call()
            self._cores.add(found["cpu"])
            for pair in found["rest"].split():
                name, _, value = pair.partition("=")
                self._add(name, int(value), where)
            return True
        old = _SUM.fullmatch(line)
        if not old or old["name"] not in _OLD:
            return False
        if old["name"] in self._sums:
            self._end_call()
        self._add(old["name"], int(old["value"]), where)
        return True

    def _add(self, name: str, value: int, where: Where) -> None:
        self._began = self._began or where.line
        # Of the whole table, and the same on each line: where ctnetlink is missing, the tool reads /proc/net/stat.
        self._sums[name] = value if name == "entries" else self._sums.get(name, 0) + value

    def _end_call(self) -> None:
        for name, value in self._sums.items():
            if name == "entries":
                self.keep_counter("conntrack.count", value, "now", Where(self.file, self._began))
            else:
                self.keep_counter(f"conntrack.{name}", value, "boot", Where(self.file, self._began))
        self._sums, self._cores, self._began = {}, set(), 0

    def finish(self) -> None:
        """See `FormatReader`."""
        self._end_call()
        super().finish()


def _begins_conntrack(line: str) -> bool:
    start = line.lstrip()[:8]
    if start.startswith("cpu="):
        return _CPU.fullmatch(line) is not None
    return start.startswith("entries") and _SUM.fullmatch(line) is not None


CORE_TABLES: Final = Format(
    "core-tables",
    "/proc/net/stat/nf_conntrack, arp_cache, ndisc_cache",
    lambda line: line.lstrip().startswith("entries") and bool(_HEADER.fullmatch(line)),
    _CoreTableReader,
    heads=frozenset("e"),
)
SOFTNET: Final = Format(
    "softnet", "/proc/net/softnet_stat", lambda line: bool(_ROW.fullmatch(line)), _SoftnetReader, heads=HEX_DIGITS
)
CONNTRACK_STATS: Final = Format(
    "conntrack-stats", "`conntrack -S`", _begins_conntrack, _ConntrackStatsReader, heads=frozenset("ce")
)
