"""`netstat -s` of net-tools: titles of groups, and under each the sentences and names of its counters.

A counter that net-tools has no sentence for has its name: "TCPSynRetrans: 4". Lines of a group that stand for no
counter of ours are understood and left out. The counters count from the boot (of the namespace).

Source: statistics.c of net-tools, printval(): what is 0 is mostly left out, so a missing line says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats import counter_names, netstat_prose
from loadgen.explain.formats.base import DIGITS, Format
from loadgen.explain.formats.readings import ReadingLines

_TITLE: Final = re.compile(rf"\s{{0,8}}(?P<group>{'|'.join(counter_names.GROUPS)}|Tcp6):\s*")
_NUMBER: Final = re.compile(r"(?<![\w.-])[0-9]{1,20}(?![\w.-])")
_NAMED: Final = re.compile(r"\s*(?P<name>[A-Z][A-Za-z0-9]{2,50}): (?P<value>-?[0-9]{1,20})\s*")
#: Lines of a group that have a where, or that net-tools prints without one.
_INDENTED: Final = re.compile(r"(?: {3,}|\t)\S.{0,200}")
_WITHOUT_NUMBER: Final = re.compile(r"\s*(?:ICMP (?:in|out)put histogram:|Forwarding is \w+|RTO algorithm is \w+)\s*")
#: What a line that is taken without its group looks like; cheap.
_MAYBE: Final = re.compile(r"\s*(?:[0-9]{1,20} [A-Za-z]|Quick ack |Ran [0-9]|TCP ran |TCP[A-Z])")


def _sentence(line: str) -> tuple[str, int] | None:
    """Return a line with N for its number, and the number; None if it has none, or several."""
    text = line.strip().rstrip(".")
    numbers = _NUMBER.findall(text) if len(text) < 200 else []
    return (_NUMBER.sub("N", text), int(numbers[0])) if len(numbers) == 1 else None


class _NetstatReader(ReadingLines):
    """Reads the groups of one call, or lines cut out of it."""

    what = "netstat -s"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._group = ""

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        if not self._group and _TITLE.fullmatch(lines[at]):
            # A title alone is any text; it needs what it is the title of.
            follows = lines[at + 1] if at + 1 < len(lines) else ""
            if not (_TITLE.fullmatch(follows) or _INDENTED.fullmatch(follows) or self._is_counter(follows)):
                return at
        return super().feed(lines, at, first)

    def _is_counter(self, line: str) -> bool:
        sentence = _sentence(line)
        return _NAMED.fullmatch(line) is not None or (sentence is not None and sentence[0] in netstat_prose.ALONE)

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if title := _TITLE.fullmatch(line):
            self._group = title["group"]
            return True
        if named := _NAMED.fullmatch(line):
            return self._take_named(named["name"], int(named["value"]), where)
        sentence = _sentence(line)
        if sentence:
            name = self._name(sentence[0])
            if name:
                self.keep_counter(name, sentence[1], "boot", where)
                return True
        known = self._group and _INDENTED.fullmatch(line) and (sentence or _NUMBER.search(line))
        return bool(known) or (bool(self._group) and _WITHOUT_NUMBER.fullmatch(line) is not None)

    def _name(self, text: str) -> str:
        if not self._group:
            return netstat_prose.ALONE.get(text, "")
        name = netstat_prose.SENTENCES.get(self._group, {}).get(text, "")
        return f"{self._group}.{name}" if name else ""

    def _take_named(self, name: str, value: int, where: Where) -> bool:
        group = self._group or ("TcpExt" if name.startswith("TCP") else "")
        if not group:
            return False
        if group.endswith("6"):
            name = name.removeprefix(group)  # /proc/net/snmp6 has the group in the name
        if value >= 0:  # old versions print what does not fit into 31 bits below 0
            self.keep_counter(f"{group}.{name}", value, "boot", where)
        return True


def _begins(line: str) -> bool:
    if _TITLE.fullmatch(line):
        return True
    if not _MAYBE.match(line):
        return False
    named = _NAMED.fullmatch(line)
    if named:
        return named["name"].startswith("TCP")
    sentence = _sentence(line)
    return sentence is not None and sentence[0] in netstat_prose.ALONE


NETSTAT_S: Final = Format(
    "netstat-s",
    "`netstat -s` of net-tools",
    _begins,
    _NetstatReader,
    heads=DIGITS | {group[0] for group in counter_names.GROUPS} | frozenset("QRT"),
)
