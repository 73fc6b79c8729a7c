"""One worker's block: plain numbers, of which a reader sees either all of an update or nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loadgen.results.block import block_dtype, consistent_counters
from loadgen.results.schema.counters import POSITION
from loadgen.worker.recorder import Recorder


def new_block(pairs: int = 2) -> Any:
    return np.zeros(1, dtype=block_dtype(pairs))[0]


@pytest.mark.parametrize("pairs", [1, 2, 1000])
def test_a_block_holds_plain_numbers(pairs: int) -> None:
    dtype = block_dtype(pairs)
    assert dtype.fields
    assert {field[0].base for field in dtype.fields.values()} == {np.dtype(np.int64)}
    assert not dtype.hasobject
    assert dtype["pairs"].shape[0] == dtype["errors"].shape[0] == pairs


class Watched:
    """A block that calls `before_turn` at the last moment before the idle copy becomes the active one."""

    def __init__(self, block: Any, before_turn: Callable[[], None]) -> None:
        self._block, self._before_turn = block, before_turn

    def __getitem__(self, name: str) -> Any:
        return self._block[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "updates":
            self._before_turn()
        self._block[name] = value


def count_on(recorder: Recorder, value: int) -> None:
    """Every counter becomes `value`, so that a mixture of two updates would show."""
    for name in POSITION:
        setattr(recorder, name, value)


@pytest.mark.parametrize("publish", [Recorder.publish, Recorder.publish_all])
def test_until_the_copies_are_swapped_a_reader_sees_the_update_before(publish: Callable[[Recorder], None]) -> None:
    block = new_block()
    seen: list[list[int]] = []
    recorder: Any = Recorder(Watched(block, lambda: seen.append(consistent_counters(block).tolist())), scheduled=1)
    for value in range(1, 6):
        count_on(recorder, value)
        publish(recorder)
        assert consistent_counters(block).tolist() == [value] * len(POSITION)
    assert seen == [[value] * len(POSITION) for value in range(5)]


def test_a_worker_killed_in_the_middle_of_an_update_leaves_the_one_before() -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        if recorder.started == 3:
            raise Killed

    block = new_block()
    recorder = Recorder(Watched(block, kill), scheduled=1)
    for value in (1, 2):
        count_on(recorder, value)
        recorder.publish()
    count_on(recorder, 3)
    with pytest.raises(Killed):
        recorder.publish()
    assert consistent_counters(block).tolist() == [2] * len(POSITION)


def test_only_the_idle_copy_is_written_to() -> None:
    block = new_block()
    recorder = Recorder(block, scheduled=1)
    for value in range(1, 5):
        active = int(block["updates"]) & 1
        before = block["counters"][active].copy()
        count_on(recorder, value)
        recorder.publish()
        assert int(block["updates"]) & 1 != active
        assert np.array_equal(block["counters"][active], before)


class _Halves:
    """The active copy of `block`, read in two halves between which something happens."""

    def __init__(self, block: Any, between: Callable[[], None]) -> None:
        self._block, self._between = block, between

    def __getitem__(self, key: Any) -> Any:
        if key == "updates":
            return self._block["updates"]
        if key == "counters":
            return self
        counters = self._block["counters"][key]

        class Row:
            def copy(_) -> Any:  # noqa: N805  # `self` is the reader's
                copied = counters.copy()
                self._between()
                middle = len(POSITION) // 2
                copied[middle:] = counters[middle:]
                return copied

        return Row()


@pytest.mark.parametrize("updates", [1, 2, 3, 4])
def test_a_reader_overtaken_by_updates_reads_again(updates: int) -> None:
    """After an even number of them the same copy is the active one again, and yet another."""
    block = new_block()
    recorder = Recorder(block, scheduled=1)
    count_on(recorder, 1)
    recorder.publish()
    left = [updates]

    def overtake() -> None:
        while left[0]:
            left[0] -= 1
            count_on(recorder, recorder.started + 1)
            recorder.publish()

    assert consistent_counters(_Halves(block, overtake)).tolist() == [1 + updates] * len(POSITION)
