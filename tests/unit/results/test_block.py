"""One worker's block: plain numbers, of which a reader sees either all of an update or nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loadgen.results.block import block_dtype, consistent_counters
from loadgen.results.schema.counters import POSITION
from loadgen.worker.recorder import Recorder
from tests.unit.killed import Stores, at_every_store
from tests.unit.worker.mortal import mortal


def new_block(pairs: int = 2) -> Any:
    return np.zeros(1, dtype=block_dtype(pairs))[0]


@pytest.mark.parametrize("pairs", [1, 2, 1000])
def test_a_block_holds_plain_numbers(pairs: int) -> None:
    dtype = block_dtype(pairs)
    assert dtype.fields
    parts = [field[0].base for field in dtype.fields.values()]
    fields = [part for part in parts if not part.fields]
    fields += [field[0].base for part in parts if part.fields for field in part.fields.values()]
    assert set(fields) == {np.dtype(np.int64)}
    assert not dtype.hasobject
    assert dtype["breakdowns"].base["pairs"].shape[0] == pairs


def count_on(recorder: Recorder, value: int) -> None:
    """Every counter becomes `value`, so that a mixture of two updates would show."""
    for name in POSITION:
        setattr(recorder, name, value)


@pytest.mark.parametrize("publish", [Recorder.publish, Recorder.publish_all])
def test_a_worker_that_is_killed_at_any_store_leaves_the_counters_of_one_update(
    publish: Callable[[Recorder], None],
) -> None:
    block = new_block()
    values = []

    def work(stores: Stores) -> None:
        recorder = mortal(block, stores, scheduled=1)
        for value in range(1, 4):
            count_on(recorder, value)
            publish(recorder)

    for _ in at_every_store(block, work):
        counters = consistent_counters(block).tolist()
        assert counters == counters[:1] * len(POSITION)
        values.append(counters[0])
    assert values == sorted(values)
    assert set(values) == {0, 1, 2, 3}


def test_only_the_idle_copy_is_written_to() -> None:
    block = new_block()
    recorder = Recorder(block, scheduled=1)
    for value in range(1, 5):
        active = int(block["updates"]) & 1
        before = block["totals"][active].copy()
        count_on(recorder, value)
        recorder.publish()
        assert int(block["updates"]) & 1 != active
        assert np.array_equal(block["totals"][active], before)
