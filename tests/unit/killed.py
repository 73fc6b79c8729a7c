"""Memory that its writer stores to until it is killed, in the middle of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class Killed(BaseException):
    """The end of a process by SIGKILL: no handler runs, and nothing is stored any more."""


class Stores:
    """A view of a block. The store after `left` whole ones is done by half, and then the process is killed."""

    def __init__(self, memory: Any, left: list[int]) -> None:
        self._memory, self._left = memory, left

    def __getitem__(self, key: Any) -> Any:
        found = self._memory[key]
        return Stores(found, self._left) if isinstance(found, np.ndarray | np.void | memoryview) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._left[0]:
            self._left[0] -= 1
            self._memory[key] = value
            return
        whole = self._memory[key]
        if isinstance(whole, np.ndarray):  # a number is stored by one instruction, or not at all
            half = np.empty_like(whole)
            half[...] = value
            whole.reshape(-1)[: whole.size // 2] = half.reshape(-1)[: whole.size // 2]
        raise Killed

    def __int__(self) -> int:
        return int(self._memory)


def at_every_store(block: Any, write: Callable[[Any], None]) -> Iterator[int]:
    """Have `write` killed at its first store to the block, at its second, and so on; yield after each death.

    The block is zero each time. The last time it is not killed.
    """
    stores, whole = 0, False
    while not whole:
        for name in block.dtype.names:
            block[name] = np.zeros_like(block[name])
        try:
            write(Stores(block, [stores]))
            whole = True
        except Killed:
            pass
        yield stores
        stores += 1
