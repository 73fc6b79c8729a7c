"""Resource limits: `ulimit -a` of bash, zsh and dash, /proc/PID/limits, prlimit(1), LimitNOFILE= of a unit.

Names are those of /proc/PID/limits, values have its units (bytes, where the shell has kbytes). Limits that shells
count in blocks of a size of their own choice are left out.

Sources: bash(1), builtins/ulimit.def; zsh's rlimits.c; dash's miscbltin.c; proc_pid_limits(5), fs/proc/base.c;
prlimit(1), sys-utils/prlimit.c; systemd.exec(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.lines import LineReader


@dataclass(frozen=True, slots=True)
class LimitFlag:
    """A limit by its letter. factor: units of /proc/PID/limits in one of the shell's."""

    name: str
    factor: int = 1


#: Letters of ulimit, as far as all shells agree on the unit.
FLAGS: Final = {
    "t": LimitFlag("Max cpu time"),
    "d": LimitFlag("Max data size", 1024),
    "s": LimitFlag("Max stack size", 1024),
    "m": LimitFlag("Max resident set", 1024),
    "u": LimitFlag("Max processes"),
    "n": LimitFlag("Max open files"),
    "l": LimitFlag("Max locked memory", 1024),
    "v": LimitFlag("Max address space", 1024),
    "x": LimitFlag("Max file locks"),
    "i": LimitFlag("Max pending signals"),
    "q": LimitFlag("Max msgqueue size"),
    "e": LimitFlag("Max nice priority"),
    "r": LimitFlag("Max realtime priority"),
}
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


class _ShellLimitsReader(LineReader):
    """Reads `ulimit -a`. Without -H it shows the soft limits (bash(1))."""

    what = "ulimit -a"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._hard: bool | None = None

    def take(self, line: str, number: int) -> bool:
        """See `LineReader`."""
        if self._hard is None:
            command = self._evidence.command_before(self._file, number)
            self._hard = re.search(r"\bulimit\s(?:-\w+\s)*-\w*H", command) is not None
        if dash := _DASH_LINE.fullmatch(line):
            flag, found = _DASH.get(dash["name"], ""), dash
        elif letters := _BASH.fullmatch(line) or _ZSH.fullmatch(line):
            flag, found = letters["flag"], letters
        else:
            return False
        if limit := FLAGS.get(flag):
            value = _number(found["soft"])
            value = value if value is None else value * limit.factor
            self.keep_limit(limit.name, None if self._hard else value, value if self._hard else None, number)
        return True


class _ProcLimitsReader(LineReader):
    what = "/proc/PID/limits"

    def take(self, line: str, number: int) -> bool:
        """See `LineReader`."""
        if _PROC_HEADER.fullmatch(line):
            return True
        if found := _PROC.fullmatch(line):
            self.keep_limit(found["name"].rstrip(), _number(found["soft"]), _number(found["hard"]), number)
        return found is not None


class _PrlimitReader(LineReader):
    what = "prlimit"

    def take(self, line: str, number: int) -> bool:
        """See `LineReader`."""
        if _PRLIMIT_HEADER.fullmatch(line):
            return True
        found = _PRLIMIT_LINE.fullmatch(line)
        if found and (flag := _PRLIMIT.get(found["name"])):
            self.keep_limit(FLAGS[flag].name, _number(found["soft"]), _number(found["hard"]), number)
        return found is not None


class _SystemdLimitsReader(LineReader):
    """Reads lines of a unit, and of `systemctl show`, which prints the soft limit on a line of its own."""

    what = "limits of a systemd unit"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._limits: dict[str, tuple[int | None, int | None, int]] = {}

    def take(self, line: str, number: int) -> bool:
        """See `LineReader`."""
        found = _SYSTEMD.fullmatch(line)
        if not found:
            return False
        if flag := _PRLIMIT.get(found["name"]):
            name, value = FLAGS[flag].name, _number(found["soft"])
            if found["part"]:
                known = self._limits.get(name)
                self._limits[name] = (value, known[1] if known else None, known[2] if known else number)
            else:
                self._limits[name] = (value, _number(found["hard"]) if found["hard"] else value, number)
        return True

    def finish(self) -> None:
        """See `FormatReader`."""
        for name, (soft, hard, number) in self._limits.items():
            self.keep_limit(name, soft, hard, number)
        super().finish()


def _begins_shell(line: str) -> bool:
    if ") " in line and "-" in line and _BASH.fullmatch(line):
        return True
    if line.lstrip().startswith("-") and _ZSH.fullmatch(line):
        return True
    # Alone, "process 4711" is any text; these two are not.
    return bool(line.lstrip().startswith(("time(seconds)", "nofiles")) and _DASH_LINE.fullmatch(line))


def _begins_proc(line: str) -> bool:
    return ("imit" in line or "Max " in line) and bool(_PROC_HEADER.fullmatch(line) or _PROC.fullmatch(line))


def _begins_prlimit(line: str) -> bool:
    if _PRLIMIT_HEADER.fullmatch(line):
        return True
    found = _PRLIMIT_LINE.fullmatch(line)
    return found is not None and found["name"] in _PRLIMIT


ULIMIT: Final = Format("ulimit", "`ulimit -a` of bash, zsh and dash", _begins_shell, _ShellLimitsReader)
PROC_LIMITS: Final = Format("limits", "/proc/PID/limits", _begins_proc, _ProcLimitsReader)
PRLIMIT: Final = Format("prlimit", "`prlimit --pid PID`", _begins_prlimit, _PrlimitReader)
SYSTEMD_LIMITS: Final = Format(
    "systemd-limits",
    "LimitNOFILE= of a unit",
    lambda line: "Limit" in line and bool(_SYSTEMD.fullmatch(line)),
    _SystemdLimitsReader,
)
