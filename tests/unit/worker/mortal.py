"""A recorder whose process is killed at a store to its block."""

from __future__ import annotations

from typing import Any

from loadgen.worker.recorder import Recorder
from tests.unit.killed import Stores


def mortal(block: Any, stores: Stores, *, scheduled: int | None) -> Recorder:
    """Return a recorder of `block` that writes through `stores`, a view of the same block."""
    recorder: Any = Recorder(block, scheduled=scheduled)
    recorder._block = stores
    recorder._totals = tuple((stores["totals"][copy]["counters"], stores["totals"][copy]["errors"]) for copy in (0, 1))
    made: Recorder = recorder
    return made
