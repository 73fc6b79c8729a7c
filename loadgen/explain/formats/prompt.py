"""Command lines and marks of layout between pasted pieces: prompts, fences of Markdown, tags, headings of head(1).

They say nothing themselves. But a command line tells what the piece behind it is (`Evidence.command`), and where it
prints bare values (see `command_lines`), those belong to it and are read here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import CommandLine, Evidence, Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.limit_names import FLAGS
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.shell import COMMAND_MAX, TOOLS, BareKind, BareValue, bare_values, is_plausible
from loadgen.kernel import sysctl

_PROMPT: Final = re.compile(
    r"""\s{0,8}
    (?:\([\w.-]{1,40}\)\s{0,2})?  (?:\[[0-9:. -]{1,30}\]\s{0,2})?         # an environment of Python, a clock
    (?: \[ [^\s\[\]@]{1,64} @ [^\[\]]{1,200} \] \s? [$\#%]                # [root@web1 ~]#
      | [\w.+-]{1,64} @ [\w.-]{1,255} (?: [:\s] [~/] \S{0,200} )? \s? [$\#%]   # root@web1:~#
      | [\w.-]{1,64} : [~/] [^\s$\#%]{0,200} \s? [$\#%]                   # web1:~ #
      | (?:ba|z|k|da|a)? sh (?:-[0-9.]{1,8})? [$\#]                       # bash-5.1$
      | [~/] [\w./-]{0,200} \s? [$\#]                                     # /app #
      | [$\u276f\u279c]                                                    # zsh themes
    ) (?:\s+|$) (?P<command>.*)""",
    re.VERBOSE,
)
_SIGN: Final = re.compile(r"[$#%\u276f\u279c](?:\s|$)")
#: A root's prompt with nothing before it, `set -x`, or no prompt at all: only a plausible command line is one.
_BARE: Final = re.compile(r"\s{0,8}(?:[#+]\s{1,4})?(?P<command>(?P<word>[\w./-]{2,80}) .*)")
_FIRST_WORDS: Final = TOOLS | {"sudo", "time"}
#: `nstat -az` with marks of Markdown around it, as a line of its own.
_QUOTED: Final = re.compile(
    r"\s{0,8}(?:[-*#]{1,6}\s+)?(?:[Oo]utput (?:of|from) )?(?:`+|\*\*)(?:[$#]\s++)?(?P<command>[^`*]+)(?:`+|\*\*):?\s*"
)
#: Of head(1) and tail(1) with several files; and a path alone, as people write it above what they paste.
_HEADING: Final = re.compile(r"\s{0,8}(?:==> (?P<path>/\S+) <==|(?P<alone>/proc/[\w./-]+):?)\s*")
_FENCE: Final = re.compile(
    r"\s*(?:(?:`{3,}|~{3,})(?:\s*[\w+-]+)?"
    r"|\[?\{?/?(?:code|noformat|quote|pre|block)(?::[^{}\[\]]{0,80})?[}\]]"
    r"|[-=_*#+~]{3,}|\.{3,}|\u2026|\[(?:\.{3}|\u2026|snip)\])\s*",
    re.IGNORECASE,
)
_FENCE_STARTS: Final = frozenset("`~[{-=_*#+.\u2026")
_TAG: Final = re.compile(r"</?(?:pre|code|details|summary|p|br|div|blockquote)\b[^<>]{0,200}>", re.IGNORECASE)
#: A command that failed.
_FAILED: Final = re.compile(
    rf"(?:-?(?:ba|da|z|k|a)?sh|sudo|{'|'.join(sorted(TOOLS))})(?: [\w.()-]+){{0,3}}: .*(?:"
    r"[Nn]o such file|[Pp]ermission denied|not found|cannot stat|not permitted"
    r"|[Uu]nknown key).*"
)
_PASSWORD: Final = re.compile(r"\[sudo\] password for \S{1,64}:\s*")
#: "ulimit -n: 1024", as people sum up what they saw.
_ANSWERED: Final = re.compile(r"(?P<command>.{4,200}?)\s?(?::|=|->|=>) (?P<value>[\w ,\t.-]{1,200})")
_NUMBERS: Final = re.compile(r"[0-9][0-9,\- \t]*")
_WORD: Final = re.compile(r"[\w.,:+-]{1,64}")
_LIMIT: Final = re.compile(r"[0-9]{1,19}|unlimited")
_RELEASE: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,4}[\w.+~-]*")


def command_line(line: str) -> str | None:
    """Return the command of a line that is one, "" for an empty prompt; None if it is no command line."""
    line = line[:COMMAND_MAX]
    if _may_have_sign(line) and _SIGN.search(line) and (prompt := _PROMPT.match(line)):
        return prompt["command"].strip()
    start = line.lstrip()[:1]
    if start in ("=", "/") and (heading := _HEADING.fullmatch(line)) and (path := heading["path"] or heading["alone"]):
        return f"cat {path}"
    if ("`" in line or "**" in line) and (quoted := _QUOTED.fullmatch(line)) and is_plausible(quoted["command"]):
        return quoted["command"].strip()
    if "<" in line and (inside := _TAG.sub("", line)) != line and is_plausible(inside):
        return inside.strip()
    words = line.split(None, 2)
    word = words[1] if len(words) > 2 and words[0] in ("#", "+") else words[0] if words else ""
    if word.rpartition("/")[2] in _FIRST_WORDS and (bare := _BARE.match(line)) and is_plausible(bare["command"]):
        return bare["command"].strip()
    return None


def _may_have_sign(line: str) -> bool:
    """Return False for a line without the sign of a prompt; a set or a pattern would take several times as long."""
    return "$" in line or "#" in line or "%" in line or (not line.isascii() and ("\u276f" in line or "\u279c" in line))


def is_layout(line: str) -> bool:
    """Return True for a line that only fences, separates or folds what was pasted."""
    start = line.lstrip()[:1]
    return (start in _FENCE_STARTS and _FENCE.fullmatch(line) is not None) or (
        "<" in line and not _TAG.sub("", line).strip()
    )


def _begins(line: str) -> bool:
    return command_line(line) is not None or is_layout(line)


class _PromptReader(ReadingLines):
    """Reads command lines, and the bare values they print."""

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self.what = "layout"
        self._expected: list[BareValue] = []
        self._unfinished = ""

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        end = super().feed(lines, at, first)
        command = self.evidence.command
        if end > at and command and command.file == self.file and self.what != "layout":
            self.evidence.command = CommandLine(command.text, self.file, first + end - 1)
        return end

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if self._unfinished:
            self._begin(f"{self._unfinished} {line.strip()}", where)
            return True
        command = command_line(line)
        if command is not None:
            self._begin(command, where)
            return True
        if is_layout(line) or (self.what != "layout" and (_FAILED.fullmatch(line) or _PASSWORD.fullmatch(line))):
            if self._expected and _FAILED.fullmatch(line):
                self._expected.pop(0)
            return True
        if not self._expected:
            return False
        if not line.strip():
            return True
        wanted = self._expected.pop(0)
        if self._take_value(wanted, line.strip(), where):
            return True
        self._expected = []
        return False

    def _begin(self, command: str, where: Where) -> None:
        if command.endswith("\\") and len(command) < COMMAND_MAX:
            self._unfinished = command[:-1].strip()
            return
        self._unfinished, self._expected = "", []
        if not command:
            return
        if (answered := _ANSWERED.fullmatch(command)) and len(values := bare_values(answered["command"])) == 1:
            if self._take_value(values[0], answered["value"].strip(), where):
                command = answered["command"]
        else:
            self._expected = bare_values(command)
        self.what = f"command line: {command[:80]}"
        self.evidence.command = CommandLine(command, self.file, where.line)

    def _take_value(self, wanted: BareValue, text: str, where: Where) -> bool:
        match wanted.kind:
            case BareKind.SYSCTL:
                numeric = wanted.name in sysctl.RELEVANT
                if not _NUMBERS.fullmatch(text) and (numeric or not _WORD.fullmatch(text)):
                    return False
                self.keep_sysctl(wanted.name, text, where)
            case BareKind.LIMIT:
                if not _LIMIT.fullmatch(text):
                    return False
                limit = FLAGS[wanted.name]
                value = None if text == "unlimited" else int(text) * limit.factor
                self.keep_limit(limit.name, None if wanted.hard else value, value if wanted.hard else None, where)
            case BareKind.KERNEL:
                if not _RELEASE.fullmatch(text):
                    return False
                self.evidence.kernel = text
        return True


COMMAND: Final = Format("command", "command lines with their prompt, and fences between pieces", _begins, _PromptReader)
