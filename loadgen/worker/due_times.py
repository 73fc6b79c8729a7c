"""The attempts of a shard that are still to be started, in order, and when each is due.

Pure: instants are arguments in nanoseconds. The whole schedule is an array; the next part of it is a list, because a
worker asks once for each batch, and numpy takes microseconds for what a list answers in a tenth of one.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Due times that are turned into a list at once.
_WINDOW: Final = 1024


class DueTimes:
    """due_ns: int64 (attempts,), non-decreasing."""

    def __init__(self, due_ns: NDArray[np.int64]) -> None:
        self._due_ns = due_ns
        self._window: list[int] = []
        self._window_begins = 0
        self._passed = 0
        #: Attempts that are still to be started.
        self.left = len(due_ns)

    def begin(self, start_ns: int) -> None:
        """Count the due times, which were relative, from this instant."""
        self._due_ns = self._due_ns + start_ns

    def next_ns(self) -> int:
        """Return when the next attempt is due. Raises: IndexError when none is left."""
        return self._of_next(1)[self._passed - self._window_begins]

    def due_by(self, now: int, most: int) -> list[int]:
        """Return the due times, up to `now`, of the next attempts, at most `most`."""
        window, at = self._of_next(most), self._passed - self._window_begins
        return window[at : bisect_right(window, now, at, min(at + most, len(window)))]

    def passed(self, count: int) -> None:
        """Leave the next `count` attempts behind: they were started, or never will be."""
        self._passed += count
        self.left -= count

    def _of_next(self, count: int) -> list[int]:
        """Return a list with the due times of the next `count` attempts, or of all that are left."""
        begins, end = self._window_begins, self._passed + min(count, self.left)
        if end > begins + len(self._window):
            self._window_begins = self._passed
            self._window = self._due_ns[self._passed : self._passed + max(_WINDOW, count)].tolist()
        return self._window
