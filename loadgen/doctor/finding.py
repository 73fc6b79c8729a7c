"""Findings on limits: the value, the connections that it allows, a verdict, and the commands that change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from loadgen.capacity.remedies import sysctl_command
from loadgen.doctor.reading import Reading
from loadgen.format import count, rate
from loadgen.model import CloseMode

#: For settings that are to last; read at boot, and by `sysctl --system` (sysctl.d(5)).
SYSCTL_FILE: Final = "/etc/sysctl.d/90-loadgen.conf"
#: limits.conf(5), read by pam_limits at the next login.
LIMITS_FILE: Final = "/etc/security/limits.d/90-loadgen.conf"


class Grade(StrEnum):
    """How far a limit carries the purpose; the worst first."""

    WALL = "wall"
    """The purpose fails here."""
    TIGHT = "tight"
    """It works, with little to spare, or at a price that the finding names."""
    GOOD = "good"
    ABSENT = "absent"
    """There is no such limit here, or it may not be read."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """Target number of concurrent connections from this host, and of new ones per second.

    pairs: pairs of source address and destination, over which they are spread evenly.
    rate_per_s: connections opened and closed again per second, for ever; None: the open ones stay.
    close: the side that closes them, and how. services: TCP ports that services of this host need.
    processes: of the program that opens the connections. loadgen does not ask: it starts as many as it takes.
    """

    connections: int = 100_000
    pairs: int = 1
    rate_per_s: float | None = None
    close: CloseMode = CloseMode.FIN
    services: tuple[int, ...] = ()
    processes: int = 1

    @property
    def text(self) -> str:
        """The purpose in words."""
        where = "from one source address to one destination"
        if self.pairs > 1:
            where = f"over {self.pairs:,} pairs of source address and destination"
        new = f", {rate(self.rate_per_s)} new ones" if self.rate_per_s else ""
        return f"{count(self.connections)} connection{'s' * (self.connections != 1)}{new} {where}"

    @property
    def per_process(self) -> int:
        """Connections of the process that has most."""
        return -(-self.connections // self.processes)

    @property
    def per_pair(self) -> int:
        """Connections of the pair that has most."""
        return -(-self.connections // self.pairs)


class ChangeCommands(NamedTuple):
    """Shell commands, those for root without sudo. now: until the next boot, or of this shell; for_good: lasting."""

    now: tuple[str, ...] = ()
    for_good: tuple[str, ...] = ()


class LimitJudgement(NamedTuple):
    """The judgement on a limit for a purpose.

    allows: the load that the limit allows, in words. gain: connections that the change adds, as far as this limit
    goes; 0: none, or it cannot be computed. gains: the effect of the change, in words.
    """

    verdict: Grade
    allows: str
    change: ChangeCommands = ChangeCommands()
    gain: int = 0
    gains: str = ""


Judge = Callable[[Reading, Purpose], LimitJudgement]


@dataclass(frozen=True, slots=True)
class LimitFinding:
    """A limit of this host, judged."""

    name: str
    value: str
    judgement: LimitJudgement

    @property
    def verdict(self) -> Grade:
        """The verdict, with which a row of the table begins."""
        return self.judgement.verdict


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """A limit that the doctor checks.

    value: as shown, None where this host has no such limit. judge: its verdict. asked: whether it belongs to a purpose
    on this host; the table leaves it out where not.
    """

    name: str
    value: Callable[[Reading], str | None]
    judge: Judge
    asked: Callable[[Reading, Purpose], bool] = lambda _host, _purpose: True

    def find(self, host: Reading, purpose: Purpose) -> LimitFinding:
        """Return the finding on this limit of a host."""
        if self.name in host.refused:
            return LimitFinding(
                self.name, "unreadable", LimitJudgement(Grade.ABSENT, "it is there and may not be read")
            )
        value = self.value(host)
        if value is None:
            return LimitFinding(self.name, "not here", LimitJudgement(Grade.ABSENT, _NOT_HERE))
        return LimitFinding(self.name, value, self.judge(host, purpose))


def setting(name: str) -> Callable[[Judge], LimitCheck]:
    """Make a limit of a judge: that of a sysctl, shown as it stands, and an empty list of ports as "none"."""
    return lambda judge: LimitCheck(
        name, lambda host: host.sysctls[name] or "none" if name in host.sysctls else None, judge
    )


def judged(needed: int, available: int, comfortable: int = 0) -> Grade:
    """Return WALL below `needed`, TIGHT below `comfortable`, else GOOD."""
    if needed > available:
        return Grade.WALL
    return Grade.TIGHT if comfortable > available else Grade.GOOD


def set_sysctl(name: str, value: object) -> ChangeCommands:
    """Return the commands that set a sysctl, now and for good."""
    text = str(value)
    return ChangeCommands(
        (sysctl_command(name, text),),
        (f"echo '{name} = {text}' >> {SYSCTL_FILE}", "sysctl --system"),
    )


def more(needed: int, available: int, after: int) -> int:
    """Return the connections that a change adds, of those that are needed."""
    return max(min(needed, after) - min(needed, available), 0)


def roomy(number: int) -> int:
    """Return the next power of two, as such settings are usually written: 131,072 for 100,000."""
    return 1 << max(number - 1, 0).bit_length()


_NOT_HERE: Final = "this kernel, or this network namespace, has no such setting"
