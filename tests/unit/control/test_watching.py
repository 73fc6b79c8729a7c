"""Signs of life: silence, stalls, and processes that are given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loadgen.control import watching
from loadgen.control.watching import LOOK_S, Watch
from loadgen.processes.fleet import GONE, Member

S = 1_000_000_000


class Fleet:
    """Two sinks; what is given up is gone at once."""

    def __init__(self) -> None:
        self.members = [Member("sink", index, 100 + index, None) for index in range(2)]  # type: ignore[arg-type]
        self.given_up: list[str] = []

    def alive(self, kind: str) -> list[Member]:
        return [member for member in self.members if member.kind == kind and member.state != GONE]

    def give_up(self, member: Member, because: str) -> None:
        member.state = GONE
        self.given_up.append(f"{member} {because}")

    async def wait(self, done: Callable[[], bool], _timeout_s: float) -> bool:
        return done()


class Watched:
    """A watch with a clock of its own: `pass_s` lets time pass, in which sink 1 lives or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns, self.beats = 1_000 * S, np.full(2, 1_000 * S)
        monkeypatch.setattr(watching, "now_ns", lambda: self.now_ns)
        monkeypatch.setattr(watching, "is_stopped", lambda pid: pid == 101)
        self.fleet = Fleet()
        self.told: list[tuple[str, str]] = []
        self.stopped: list[bool] = []
        self.watch = Watch(self.fleet, {"sink": lambda: self.beats}, self.tell)  # type: ignore[arg-type]

    def tell(self, kind: str, text: str, _at_ns: int | None = None, /, *, stopped: bool = False) -> None:
        self.told.append((kind, text))
        self.stopped.append(stopped)

    def pass_s(self, seconds: float, *, lives: bool = False, may_give_up: bool = True) -> None:
        for _ in range(round(seconds / LOOK_S)):
            self.now_ns += round(LOOK_S * S)
            self.beats[0] = self.now_ns
            if lives:
                self.beats[1] = self.now_ns
            self.watch.look(may_give_up=may_give_up)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


STALLED = ("sink-stalled", "sink 1 (pid 101) gave no sign of life for 2 s (it is stopped)")


def test_one_that_stops_is_told_of_once_and_given_up(watched: Watched) -> None:
    watched.pass_s(5, lives=True)
    assert watched.told == []
    watched.pass_s(20)
    assert (watched.told, watched.stopped) == ([STALLED], [True])
    assert [member.index for member in watched.watch.stalled("sink")] == [1]
    watched.pass_s(20)
    assert watched.fleet.given_up == ["sink 1 (pid 101) gave no sign of life for 30 s"]
    assert watched.watch.stalled("sink") == []


def test_one_that_goes_on_is_told_of_too(watched: Watched) -> None:
    watched.pass_s(10)
    watched.pass_s(10, lives=True)
    assert watched.told == [STALLED, ("note", "sink 1 (pid 101) goes on after 10 s without a sign of life")]
    assert watched.watch.stalled("sink") == []


def test_in_the_hold_nothing_is_given_up_until_its_end(watched: Watched) -> None:
    watched.pass_s(3600, may_give_up=False)
    assert watched.fleet.given_up == []
    asyncio.run(watched.watch.give_up_stalled("sink"))
    assert watched.fleet.given_up == ["sink 1 (pid 101) gave no sign of life for 3600 s"]


def test_a_pause_of_the_watch_itself_is_not_silence(watched: Watched) -> None:
    """As when the whole run is suspended for an hour: nothing lived then, and all goes on."""
    watched.pass_s(1, lives=True)
    watched.now_ns += 3600 * S
    watched.watch.look(may_give_up=True)
    assert watched.told == []


def test_a_loss_is_told_with_how_it_ended_unless_all_are_lost(watched: Watched) -> None:
    fleet: Any = watched.fleet

    async def exit_code_of(member: Member) -> None:
        member.exit_code = -9

    async def lose(lost: str) -> None:
        fleet.exit_code_of, fleet.zygote = exit_code_of, type("Zygote", (), {"lost": lost})
        watched.watch.lost(fleet.members[1], "in phase ramp")
        await watched.watch.told()

    asyncio.run(lose("was killed by SIGKILL"))
    assert watched.told == []
    watched.watch = Watch(fleet, {}, watched.tell)
    asyncio.run(lose(""))
    assert watched.told == [("sink-lost", "sink 1 (pid 101) was killed by SIGKILL in phase ramp")]


@pytest.mark.parametrize(("counts", "given_up"), [([9, 5, 5], 1), ([9, 5, 2, 1, 0], 0)])
def test_a_drain_lasts_while_it_makes_progress(watched: Watched, counts: list[int], given_up: int) -> None:
    fleet: Any = watched.fleet
    fleet.members[0].state, left = "drained", list(counts)
    fleet.all_of = lambda kind, states: all(member.state in states for member in fleet.alive(kind))

    def still_open() -> int:
        now = left.pop(0)
        if not now:
            fleet.members[1].state = "drained"
        return now

    asyncio.run(watched.watch.progress("sink", {"drained"}, still_open, enough=lambda: False))
    assert len(fleet.given_up) == given_up
    assert left == []


def test_calls_that_workers_survived_are_told_together(watched: Watched) -> None:
    watched.watch.tell_survived()
    assert watched.told == []
    for member in watched.fleet.members:
        member.survived = {"close EIO": 2}
    watched.watch.tell_survived()
    assert watched.told == [("note", "the workers survived failed calls that cost no connection: close EIO (4)")]
