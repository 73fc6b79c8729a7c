"""How many sockets can be prepared before the next arrival is due: the pause divided by what one has taken.

Pure: durations are arguments, in nanoseconds.
"""

from __future__ import annotations

from typing import Final

#: Until one was measured: socket(), setsockopt() and bind() of a fast machine.
_FIRST_NS: Final = 10_000
#: The estimate rises by an eighth for each measurement, because a process that had to give up its core measures
#: milliseconds; it falls at once, and by a 64th for each pause that was too short, lest it stay too high for good.
_RISE: Final = 8
_DECAY: Final = 64


class SpareTime:
    """An estimate of the time that one socket takes."""

    def __init__(self) -> None:
        self._each_ns = _FIRST_NS

    def fits(self, pause_ns: int) -> int:
        """Return the number of sockets for which a pause is long enough, 0 or more."""
        if 0 < pause_ns < self._each_ns:
            self._each_ns -= self._each_ns // _DECAY
        return max(pause_ns // self._each_ns, 0)

    def took(self, count: int, time_ns: int) -> None:
        """Learn from a number of sockets, 1 or more, that were prepared in this time."""
        self._each_ns = max(min(time_ns // count, self._each_ns + self._each_ns // _RISE + 1), 1)
