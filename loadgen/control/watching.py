"""Watch over workers and sinks while they run: which give no sign of life, which are lost, and for how long to wait.

Each of these processes writes a heartbeat into its shared block several times a second. One that does not is told of as
stalled, and given up when that lasts; so nothing that waits for a process waits for ever. While connections are held a
stalled process is left alone: it may be continued, and its connections with it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_S, now_ns
from loadgen.processes.fleet import GONE, Fleet, Member, how_it_was_lost
from loadgen.processes.lifetime import is_stopped

#: Seconds between two calls of `look`.
LOOK_S: Final = 0.5
#: A heartbeat is at most 0.2 s apart. Without one for the first of these times a process counts as stalled, after the
#: second it is given up.
STALLED_AFTER_S: Final = 2.0
GIVEN_UP_AFTER_S: Final = 30.0
#: Closing takes about ten microseconds per connection. After this time without any progress it is given up.
_PROGRESS_TIMEOUT_S: Final = 60.0
#: Time for the end of a killed process to be noticed.
_END_TIMEOUT_S: Final = 2.0

#: Returns when each process of a kind, by its index, last showed that it is alive: int64 (count,), nanoseconds.
Heartbeats = Callable[[], NDArray[np.int64]]


class Tell(Protocol):
    """The taker of events."""

    def __call__(self, kind: str, text: str, at_ns: int | None = None, /, *, stopped: bool = False) -> None:
        """Take an event: its kind, its text, when it was (None: now), and whether the process is stopped."""


@dataclass(slots=True)
class _Silence:
    """The last heartbeat of a process, how long it has been watched since, and whether it was told of as stalled."""

    beat_ns: int
    silent_s: float = 0.0
    stalled: bool = False


class Watch:
    """Watches the processes of a fleet, by kind. tell: see Tell."""

    def __init__(self, fleet: Fleet, heartbeats: Mapping[str, Heartbeats], tell: Tell) -> None:
        self._fleet, self._heartbeats, self._tell = fleet, heartbeats, tell
        self._signs: dict[tuple[str, int], _Silence] = {}
        self._losses: list[asyncio.Task[None]] = []
        self._looked_ns = now_ns()

    def look(self, *, may_give_up: bool) -> None:
        """Tell of processes that have stalled or go on; give up those that have been stalled for long.

        The time between two looks counts as one interval at most, because this process may have been stopped, too.
        """
        now = now_ns()
        watched_s = min((now - self._looked_ns) / NS_PER_S, 2 * LOOK_S)
        self._looked_ns = now
        for kind, heartbeats in self._heartbeats.items():
            beats = heartbeats() if self._fleet.alive(kind) else ()
            for member in self._fleet.alive(kind):
                self._judge(member, int(beats[member.index]), watched_s, may_give_up=may_give_up)

    def _judge(self, member: Member, beat_ns: int, watched_s: float, *, may_give_up: bool) -> None:
        sign = self._signs.setdefault((member.kind, member.index), _Silence(beat_ns))
        if beat_ns != sign.beat_ns:
            if sign.stalled:
                self._tell("note", f"{member} goes on after {sign.silent_s:.0f} s without a sign of life")
            self._signs[member.kind, member.index] = _Silence(beat_ns)
            return
        sign.silent_s += watched_s
        if sign.silent_s >= STALLED_AFTER_S and not sign.stalled:
            sign.stalled = True
            stopped = is_stopped(member.pid)
            state = "it is stopped" if stopped else "starved, or stuck in a system call"
            text = f"{member} gave no sign of life for {sign.silent_s:.0f} s ({state})"
            self._tell(f"{member.kind}-stalled", text, stopped=stopped)
        elif sign.silent_s > GIVEN_UP_AFTER_S and may_give_up:
            self._fleet.give_up(member, _silent(sign))

    def stalled(self, kind: str) -> list[Member]:
        """Return the running processes of a kind that give no sign of life."""
        return [
            member
            for member in self._fleet.alive(kind)
            if (sign := self._signs.get((kind, member.index))) and sign.stalled
        ]

    async def give_up_stalled(self, kind: str) -> None:
        """Give up the processes of a kind that give no sign of life, and wait for their end."""
        stalled = self.stalled(kind)
        for member in stalled:
            self._fleet.give_up(member, _silent(self._signs[kind, member.index]))
        await self._fleet.wait(lambda: all(member.state == GONE for member in stalled), _END_TIMEOUT_S)

    async def progress(
        self, kind: str, states: Collection[str], still_open: Callable[[], int], *, enough: Callable[[], bool]
    ) -> None:
        """Wait until every process of a kind is in one of these states; give up those that close nothing for long.

        still_open: returns the connections they have open, all together. enough: return early once this returns True.
        """
        fleet, now_open = self._fleet, -1
        while not await fleet.wait(lambda: fleet.all_of(kind, states) or enough(), _PROGRESS_TIMEOUT_S):
            before, now_open = now_open, still_open()
            if now_open == before:
                for member in fleet.alive(kind):
                    if member.state not in states:
                        fleet.give_up(member, f"closed no connection for {_PROGRESS_TIMEOUT_S:.0f} s")

    def tell_survived(self) -> None:
        """Tell of system calls that failed in the processes and cost no connection."""
        times = sum((Counter(member.survived) for member in self._fleet.members), Counter())
        if times:
            kinds = ", ".join(f"{kind} ({count:,})" for kind, count in times.most_common())
            self._tell("note", f"the workers survived failed calls that cost no connection: {kinds}")

    def lost(self, member: Member, when: str) -> None:
        """Tell of a lost process as soon as it is known how it ended; `told` waits for that."""
        self._losses.append(asyncio.create_task(self._tell_loss(member, when, now_ns())))

    async def told(self) -> None:
        """Wait until every loss was told."""
        await asyncio.gather(*self._losses)

    async def _tell_loss(self, member: Member, when: str, at_ns: int) -> None:
        await self._fleet.exit_code_of(member)
        if not self._fleet.zygote.lost:  # with it all are lost
            self._tell(f"{member.kind}-lost", f"{member} {how_it_was_lost(member)} {when}", at_ns)


def _silent(sign: _Silence) -> str:
    return f"gave no sign of life for {sign.silent_s:.0f} s"
