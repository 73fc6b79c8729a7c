"""Resource limits by the letters of ulimit, under the names and in the units of /proc/PID/limits.

Sources: bash(1), builtins/ulimit.def; proc_pid_limits(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


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
