"""A recorder whose process is killed at a store to its block."""

from __future__ import annotations

from typing import Any

from loadgen.worker.recorder import Recorder
from tests.unit.killed import Stores


class Updates:
    """The count of updates, as a recorder writes it: the only item of a sequence."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def __getitem__(self, index: int) -> int:
        assert index == 0
        return int(self._stores["updates"])

    def __setitem__(self, index: int, value: int) -> None:
        assert index == 0
        self._stores["updates"] = value


def mortal(block: Any, stores: Stores, *, scheduled: int | None) -> Recorder:
    """Return a recorder of `block` that writes through `stores`, a view of the same block."""
    recorder: Any = Recorder(block, scheduled=scheduled)
    recorder._block = stores
    recorder._totals = tuple((stores["totals"][copy]["counters"], stores["totals"][copy]["errors"]) for copy in (0, 1))
    recorder._updates = Updates(stores)
    made: Recorder = recorder
    return made
