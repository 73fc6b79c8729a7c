"""Resource limits: `ulimit -a` of bash, zsh and dash, /proc/PID/limits, prlimit(1), LimitNOFILE= of a unit.

Names are those of /proc/PID/limits, values have its units (bytes, where the shell has kbytes). Limits that shells
count in blocks of a size of their own choice are left out.

Sources: bash(1), builtins/ulimit.def; zsh's rlimits.c; dash's miscbltin.c; proc_pid_limits(5), fs/proc/base.c;
prlimit(1), sys-utils/prlimit.c; systemd.exec(5).
"""

from __future__ import annotations

import re
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.base import LETTERS, Format
from loadgen.explain.formats.limit_names import FLAGS
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.shell import command_of, words_of

#: dash has words instead of letters.
_DASH: Final = {"nofiles": "n", "process": "u", "time": "t", "locked memory": "l", "locks": "x", "rtprio": "r"}
#: prlimit(1) has the names of getrlimit(2); these do not count in blocks.
_PRLIMIT: Final = {
    "AS": "v",
    "CPU": "t",
    "DATA": "d",
    "LOCKS": "x",
    "MEMLOCK": "l",
    "MSGQUEUE": "q",
    "NICE": "e",
    "NOFILE": "n",
    "NPROC": "u",
    "RSS": "m",
    "RTPRIO": "r",
    "SIGPENDING": "i",
    "STACK": "s",
}
_VALUE: Final = r"[0-9]{1,20}|unlimited|infinity"
_BASH: Final = re.compile(
    rf"\s*[a-zA-Z][\w /,-]{{2,40}}\s\((?:[\w ]{{1,20}}, )?-(?P<flag>[A-Za-z])\)\s+(?P<soft>{_VALUE})\s*"
)
_ZSH: Final = re.compile(
    rf"\s*-(?P<flag>[a-zA-Z]|[N] [0-9]+): [a-zA-Z][\w /-]{{2,40}}(?:\(\w+\))?\s+(?P<soft>{_VALUE})\s*"
)
_DASH_LINE: Final = re.compile(
    r"\s*(?P<name>time|file|data|stack|coredump|memory|locked memory|process|nofiles|vmemory|locks|rtprio)"
    rf"(?:\((?:seconds|blocks|kbytes)\))?\s+(?P<soft>{_VALUE})\s*"
)
_DASH_SURE: Final = re.compile(r"\s*(?:time\(seconds\)|nofiles)")
_PROC_HEADER: Final = re.compile(r"\s*Limit\s+Soft Limit\s+Hard Limit\s+Units\s*")
_PROC: Final = re.compile(
    rf"\s*(?:/proc/[\w/]+/limits:)?(?P<name>Max [a-z ]{{3,24}}?)\s+(?P<soft>{_VALUE})\s+(?P<hard>{_VALUE})"
    r"(?:\s+(?:seconds|bytes|processes|files|locks|signals|us))?\s*"
)
_PRLIMIT_HEADER: Final = re.compile(r"\s*RESOURCE\s+DESCRIPTION\s+SOFT\s+HARD(?:\s+UNITS)?\s*")
_PRLIMIT_LINE: Final = re.compile(
    rf"\s*(?P<name>[A-Z]{{2,10}})\s+[A-Za-z][\w /.-]{{3,40}}?\s+(?P<soft>{_VALUE})\s+(?P<hard>{_VALUE})"
    r"(?:\s+[a-z]+)?\s*"
)
_SYSTEMD: Final = re.compile(
    r"\s*(?:Default)?Limit(?P<name>[A-Z]+)(?P<part>Soft)?\s*=\s*(?P<soft>infinity|[0-9]{1,19}[KMGT]?)"
    r"(?::(?P<hard>infinity|[0-9]{1,19}[KMGT]?))?\s*"
)
_SUFFIXES: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _number(text: str) -> int | None:
    if text in ("unlimited", "infinity"):
        return None
    return int(text[:-1]) * _SUFFIXES[text[-1]] if text[-1] in _SUFFIXES else int(text)


class _ShellLimitsReader(ReadingLines):
    """Reads `ulimit -a`. Without -H it shows the soft limits (bash(1))."""

    what = "ulimit -a"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._hard: bool | None = None

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if self._hard is None:
            command = self.evidence.command_before(self.file, where.line)
            self._hard = re.search(r"\bulimit\s(?:-\w+\s){0,16}-\w*H", command) is not None
        if dash := _DASH_LINE.fullmatch(line):
            flag, found = _DASH.get(dash["name"], ""), dash
        elif letters := _BASH.fullmatch(line) or _ZSH.fullmatch(line):
            flag, found = letters["flag"], letters
        else:
            return False
        if limit := FLAGS.get(flag):
            value = _number(found["soft"])
            value = value if value is None else value * limit.factor
            self.keep_limit(limit.name, None if self._hard else value, value if self._hard else None, where)
        return True


class _ProcLimitsReader(ReadingLines):
    what = "/proc/PID/limits"

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if _PROC_HEADER.fullmatch(line):
            return True
        if found := _PROC.fullmatch(line):
            self.keep_limit(found["name"].rstrip(), _number(found["soft"]), _number(found["hard"]), where)
        return found is not None


class _PrlimitReader(ReadingLines):
    what = "prlimit"

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if _PRLIMIT_HEADER.fullmatch(line):
            return True
        found = _PRLIMIT_LINE.fullmatch(line)
        if found and (flag := _PRLIMIT.get(found["name"])):
            self.keep_limit(FLAGS[flag].name, _number(found["soft"]), _number(found["hard"]), where)
        return found is not None


class _SystemdLimitsReader(ReadingLines):
    """Reads lines of a unit, where one number is both limits, and of `systemctl show`, where it is the hard one.

    The soft one has a line of its own there: bus_property_get_rlimit() in systemd's src/shared/bus-get-properties.c.
    """

    what = "limits of a systemd unit"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._limits: dict[str, tuple[int | None, int | None, Where]] = {}
        self._shown: bool | None = None

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        found = _SYSTEMD.fullmatch(line)
        if not found:
            return False
        if self._shown is None:
            words = words_of(command_of(self.evidence, self.file, where.line), "systemctl")
            self._shown = words is not None and "show" in words
        if flag := _PRLIMIT.get(found["name"]):
            name, value = FLAGS[flag].name, _number(found["soft"])
            if found["part"]:
                known = self._limits.get(name)
                self._limits[name] = (value, known[1] if known else None, known[2] if known else where)
            else:
                hard = _number(found["hard"]) if found["hard"] else value
                soft = self._limits[name][0] if name in self._limits else None if self._shown else value
                self._limits[name] = (soft, hard, where)
        return True

    def finish(self) -> None:
        """See `FormatReader`."""
        for name, (soft, hard, where) in self._limits.items():
            self.keep_limit(name, soft, hard, where)
        super().finish()


def _begins_shell(line: str) -> bool:
    if ") " in line and "-" in line and _BASH.fullmatch(line):
        return True
    head = line.lstrip()[:4]
    if head.startswith("-"):
        return bool(_ZSH.fullmatch(line))
    # Alone, "process 4711" is any text; these two are not.
    return bool(head in ("time", "nofi") and _DASH_SURE.match(line) and _DASH_LINE.fullmatch(line))


def _begins_proc(line: str) -> bool:
    return ("imit" in line or "Max " in line) and bool(_PROC_HEADER.fullmatch(line) or _PROC.fullmatch(line))


def _begins_prlimit(line: str) -> bool:
    if _PRLIMIT_HEADER.fullmatch(line):
        return True
    found = _PRLIMIT_LINE.fullmatch(line)
    return found is not None and found["name"] in _PRLIMIT


ULIMIT: Final = Format(
    "ulimit", "`ulimit -a` of bash, zsh and dash", _begins_shell, _ShellLimitsReader, heads=LETTERS | {"-"}
)
PROC_LIMITS: Final = Format("limits", "/proc/PID/limits", _begins_proc, _ProcLimitsReader, heads=frozenset("LM/"))
PRLIMIT: Final = Format(
    "prlimit",
    "`prlimit --pid PID`",
    _begins_prlimit,
    _PrlimitReader,
    heads=frozenset({"R", *(name[0] for name in _PRLIMIT)}),
)
SYSTEMD_LIMITS: Final = Format(
    "systemd-limits",
    "LimitNOFILE= of a unit",
    lambda line: "Limit" in line and bool(_SYSTEMD.fullmatch(line)),
    _SystemdLimitsReader,
    heads=frozenset("DL"),
)
