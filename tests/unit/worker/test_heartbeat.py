"""Which connections beat, and when: instants are arguments, and the connections are names."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.clock import NS_PER_S
from loadgen.model import Heartbeat
from loadgen.results.block import block_dtype
from loadgen.worker.heartbeat import Beats
from loadgen.worker.recorder import Recorder


class Held:
    """Connections by name, the requests they have sent, and what the next one does."""

    def __init__(self, count: int, *, every_s: float = 1.0, share: float = 1.0) -> None:
        self.names = [f"c{n}" for n in range(count)]
        self.asked: list[str] = []
        self.busy: set[str] = set()
        self.over: set[str] = set()
        self.recorder = Recorder(np.zeros(1, dtype=block_dtype(1))[0], scheduled=None)
        self.beats: Beats[str] = Beats(Heartbeat(every_s, share), self.recorder, lambda: self.names, self._ask)
        self.beats.begin(0)

    def _ask(self, name: str) -> bool | None:
        if name in self.over:
            return None
        if name in self.busy:
            return False
        self.asked.append(name)
        return True


def test_each_connection_beats_once_in_a_period_at_a_moment_of_its_own() -> None:
    held = Held(10)
    for tenth in range(1, 21):
        held.beats.beat(tenth * NS_PER_S // 10)
        assert len(held.asked) == tenth
    assert held.asked == held.names * 2
    assert (held.recorder.beating, held.recorder.beats, held.recorder.missed) == (10, 20, 0)


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 10), (1.0, 40)])
def test_a_share_beats_evenly_over_those_held(share: float, count: int) -> None:
    held = Held(40, share=share)
    held.beats.beat(NS_PER_S)
    assert held.asked == held.names[:: 40 // count]
    assert held.recorder.beating == count


def test_a_busy_connection_misses_its_beat_and_one_that_is_over_does_not() -> None:
    held = Held(3)
    held.busy, held.over = {"c1"}, {"c2"}
    held.beats.beat(NS_PER_S)
    assert (held.asked, held.recorder.beats, held.recorder.missed) == (["c0"], 1, 1)


def test_of_periods_that_were_slept_through_only_the_last_is_made_up_for() -> None:
    held = Held(2)
    held.beats.beat(10 * NS_PER_S)
    assert (held.asked, held.recorder.beats, held.recorder.missed) == (["c0", "c1"], 2, 18)


def test_without_connections_there_is_no_beat() -> None:
    held = Held(0)
    held.beats.beat(NS_PER_S)
    assert (held.recorder.beating, held.recorder.beats, held.recorder.missed) == (0, 0, 0)


@pytest.mark.parametrize(("every_s", "pause_s"), [(0.01, 0.02), (0.5, 0.05), (60.0, 0.1)])
def test_a_tenth_of_the_period_passes_between_two_looks_within_bounds(every_s: float, pause_s: float) -> None:
    assert Held(1, every_s=every_s).beats.pause_s == pause_s


@given(
    st.integers(0, 50),
    st.floats(0.01, 1.0),
    st.lists(st.integers(0, 3 * NS_PER_S), max_size=30),
    st.sets(st.integers(0, 49)),
)
def test_every_beat_that_is_due_is_sent_or_missed(count: int, share: float, pauses: list[int], busy: set[int]) -> None:
    """Whenever `beat` is called: one a second for each that beats, up to the last call."""
    held = Held(count, share=share)
    held.busy = {f"c{n}" for n in busy}
    now = 0
    for pause in pauses:
        now += pause
        held.beats.beat(now)
        beating = math.ceil(count * share) if count else 0
        assert held.recorder.beating == min(beating, count)
        assert held.recorder.beats + held.recorder.missed == now * held.recorder.beating // NS_PER_S
    assert not held.busy & set(held.asked)
