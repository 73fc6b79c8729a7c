"""nstat(8): `nstat`, `nstat -az`, `nstat -j`, whole or a few lines of it.

A line has a counter, its value and its rate (0.0 without nstat's daemon). With -a the values count from the boot (of
the namespace); without it from the last call of nstat by that user, if there was one. The output looks the same, so
only the command line, or a notice that the history was ignored, tells which; -s alone does not.

Source: misc/nstat.c of iproute2: dump_kern_db(), dump_incr_db().
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats import counter_names
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.shell import command_of, words_of

_HEADER: Final = re.compile(r"\s{0,8}#(?:kernel|[0-9]+\.[0-9]+ sampling_interval=[0-9]+ time_const=[0-9]+)\s*")
_LINE: Final = re.compile(
    rf"\s{{0,8}}{counter_names.WORD}\s+(?P<value>[0-9]{{1,20}})\s+-?[0-9]+\.[0-9](?:\s\(overflow\))?\s*"
)
#: Values count from the boot after one of these.
_IGNORED: Final = re.compile(r"nstat: history is (?:stale, ignoring it\.|aged out, resetting)\s*")
_JSON: Final = re.compile(r'\s*\{\s*"kernel"\s*:\s*\{.*\}\s*\}\s*')
_PRETTY_KERNEL: Final = re.compile(r'\s*"kernel"\s*:\s*\{\s*')
_PRETTY: Final = re.compile(r'\s*"(?P<name>\w{3,80})"\s*:\s*(?P<value>[0-9]{1,20}),?\s*')


def since_of(command: str) -> str:
    """Return what the values of an nstat call count from: boot or reading, "" where the call is not known."""
    words = words_of(command, "nstat")
    if words is None:
        return ""
    ignores = any(word in ("--ignore", "--reset") or re.match(r"-[a-z]*[ar]", word) for word in words)
    return "boot" if ignores else "reading"


def _begins(line: str) -> bool:
    head = line.lstrip()[:1]
    if head == "#":
        return _HEADER.fullmatch(line) is not None
    if head == "{":
        return line.strip() == "{" or _JSON.fullmatch(line) is not None
    return (head in "MTUIS" and _LINE.fullmatch(line) is not None) or _IGNORED.fullmatch(line) is not None


class _NstatReader(ReadingLines):
    """Reads the lines of one call."""

    what = "nstat"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._since: str | None = None
        self._pretty = False

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        if self._since is None:
            command = command_of(self.evidence, self.file, first + at)
            self._since = since_of(command)
            self.what = f"nstat, from {self._since}" if self._since else "nstat"
            if lines[at].strip() == "{":
                if at + 1 >= len(lines) or not _PRETTY_KERNEL.fullmatch(lines[at + 1]):
                    return at
                self._pretty = True
                at += 2
        return super().feed(lines, at, first)

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if found := _LINE.fullmatch(line):
            self._keep(f"{found['group']}.{found['counter']}", int(found["value"]), where)
            return True
        if _IGNORED.fullmatch(line):
            self._since = "boot"
            return True
        if self._pretty and line.strip() in ("}", "},"):
            return True
        if self._pretty and (pretty := _PRETTY.fullmatch(line)):
            if name := counter_names.dotted(pretty["name"]):
                self._keep(name, int(pretty["value"]), where)
            return True
        return _HEADER.fullmatch(line) is not None or self._take_json(line, where)

    def _take_json(self, line: str, where: Where) -> bool:
        if not _JSON.fullmatch(line):
            return False
        try:
            counters = json.loads(line)["kernel"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        for word, value in counters.items() if isinstance(counters, dict) else ():
            if (name := counter_names.dotted(word)) and isinstance(value, int) and value >= 0:
                self._keep(name, value, where)
        return True

    def _keep(self, name: str, value: int, where: Where) -> None:
        self.keep_counter(name, value, self._since or "", where)


NSTAT: Final = Format("nstat", "`nstat`, `nstat -az`, `nstat -j`", _begins, _NstatReader, heads=frozenset("#{MTUISn"))
