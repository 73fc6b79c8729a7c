"""The wait between two trials on the host itself, with a reader that lists what a test says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loadgen.control import settling
from loadgen.errors import HostError
from loadgen.kernel.sockdiag import SOCKET, Dump, TcpState, mask
from loadgen.scenario import parse

TEXT = """\
name: small
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000-9001", sink: true}]
connections: 10
"""
LOADED = [(TcpState.TIME_WAIT, 40_000, 9000), (TcpState.TIME_WAIT, 9001, 40_001), (TcpState.ESTABLISHED, 40_002, 9000)]
FOREIGN = [(TcpState.ESTABLISHED, 22, 50_000), (TcpState.TIME_WAIT, 50_001, 443)]


class Kernel:
    """Lists sockets: (state, source port, destination port). Each look after the first takes the next list."""

    def __init__(self, *looks: Sequence[tuple[int, int, int]]) -> None:
        self.looks, self.asked = list(looks), 0

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def dump(self, states: int, *, protocol: int) -> Dump:
        assert protocol == socket.IPPROTO_TCP
        listed = self.looks[min(self.asked, len(self.looks) - 1)]
        self.asked += 1
        rows = [row for row in listed if states & mask(TcpState(row[0]))]
        sockets = np.zeros(len(rows), SOCKET)
        for name, column in zip(("state", "source_port", "destination_port"), range(3), strict=True):
            sockets[name] = [row[column] for row in rows]
        return Dump(sockets=sockets, interrupted=False)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that passes half a second with each pause, in nanoseconds."""
    clock = [0]

    async def pause(_: settling.Settler, seconds: float) -> None:
        clock[0] += round(seconds * 1e9)
        await asyncio.sleep(0)

    monkeypatch.setattr(settling, "now_ns", lambda: clock[0])
    monkeypatch.setattr(settling.Settler, "_pause", pause)
    return clock


def settler(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, *overrides: str, longest_s: float = 5.0, elsewhere: bool = False
) -> settling.Settler:
    monkeypatch.setattr(settling, "Reader", lambda: kernel)
    return settling.Settler(parse(TEXT, overrides=overrides), longest_s, elsewhere=elsewhere)


def settled(made: settling.Settler) -> list[str]:
    said: list[str] = []
    asyncio.run(made.settle(said.append))
    return said


def test_sockets_of_the_targets_ports_count_at_either_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settler(monkeypatch, Kernel(LOADED + FOREIGN))
    assert made.left() == 3
    assert made.left(resting=False) == 1


def test_it_waits_until_they_are_gone(monkeypatch: pytest.MonkeyPatch, now: list[int]) -> None:
    made = settler(monkeypatch, Kernel(FOREIGN, LOADED + FOREIGN, LOADED[:1] + FOREIGN, FOREIGN))
    made.begin(resumed=False)
    (said,) = settled(made)
    assert said.startswith("waiting up to 5 s until 3 sockets of the trial before are gone")
    assert now[0] == 2 * 500_000_000


def test_without_any_it_says_nothing(monkeypatch: pytest.MonkeyPatch, now: list[int]) -> None:
    made = settler(monkeypatch, Kernel(FOREIGN))
    made.begin(resumed=False)
    assert settled(made) == []
    assert now[0] == 0


def test_it_goes_on_after_the_longest_time(monkeypatch: pytest.MonkeyPatch, now: list[int]) -> None:
    made = settler(monkeypatch, Kernel([], LOADED))
    made.begin(resumed=False)
    assert settled(made)[-1] == "3 sockets of the trial before are still there; going on"
    assert now[0] == 5 * 10**9


@pytest.mark.usefixtures("now")
def test_sockets_of_other_programs_are_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settler(monkeypatch, Kernel(LOADED))
    made.begin(resumed=False)
    assert settled(made) == []


@pytest.mark.usefixtures("now")
def test_time_wait_of_a_trial_that_was_cut_off_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that goes on finds it there when it begins; what is established is another program's."""
    made = settler(monkeypatch, Kernel(LOADED, LOADED, LOADED[2:]))
    made.begin(resumed=True)
    (said,) = settled(made)
    assert "2 sockets" in said


def test_an_interrupt_ends_the_wait(monkeypatch: pytest.MonkeyPatch, now: list[int]) -> None:
    made = settler(monkeypatch, Kernel([], LOADED))
    made.begin(resumed=False)
    made.stop()
    assert settled(made) == []
    assert now[0] == 0


def test_a_pause_ends_with_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settler(monkeypatch, Kernel([], LOADED), longest_s=3600.0, elsewhere=True)

    async def interrupted() -> list[str]:
        said: list[str] = []
        waiting = asyncio.create_task(made.settle(said.append))
        await asyncio.sleep(0)
        made.stop()
        await asyncio.wait_for(waiting, 10)
        return said

    assert len(asyncio.run(interrupted())) == 1


@pytest.mark.parametrize(
    ("overrides", "longest_s"), [(("lab={}",), 5.0), (("transport=udp", "protocol=echo"), 5.0), ((), 0.0)]
)
def test_where_there_is_nothing_to_wait_for(
    monkeypatch: pytest.MonkeyPatch, now: list[int], overrides: tuple[str, ...], longest_s: float
) -> None:
    kernel = Kernel([], LOADED)
    made = settler(monkeypatch, kernel, *overrides, longest_s=longest_s)
    made.begin(resumed=False)
    assert settled(made) == []
    assert now[0] == 0


@pytest.mark.parametrize(("close", "waits"), [("fin", True), ("target", True), ("rst", False)])
def test_on_other_hosts_it_waits_the_whole_time(
    monkeypatch: pytest.MonkeyPatch, now: list[int], close: str, waits: bool
) -> None:
    kernel = Kernel(LOADED)
    made = settler(monkeypatch, kernel, f"close={close}", elsewhere=True)
    said = settled(made)
    assert [text.startswith("waiting 5 s for TIME-WAIT on the agents' hosts") for text in said] == [True] * waits
    assert now[0] == 5 * 10**9 * waits
    assert kernel.asked == 0


@pytest.mark.usefixtures("now")
def test_a_kernel_that_lists_nothing_is_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Any:
        raise HostError("no such sockets")

    made = settler(monkeypatch, Kernel([]))
    monkeypatch.setattr(settling, "Reader", refused)
    made.begin(resumed=False)
    assert made.left() == 0
    assert settled(made) == []
