"""How many of the held connections are to be closed by an instant, where the close takes a planned time.

Pure: instants are arguments in nanoseconds.
"""

from __future__ import annotations

from typing import Final

#: More than any worker holds.
_ALL: Final = 1 << 62


class Fall:
    """The close of `count` connections, evenly over a time; without a time all are due at once."""

    def __init__(self, begins_ns: int, lasts_ns: int, count: int) -> None:
        self._begins_ns, self._lasts_ns, self._count = begins_ns, lasts_ns if count else 0, count
        self._closed = 0

    def due_by(self, now: int) -> int:
        """Return how many more are to be closed by now; of a fall that is over, more than there are."""
        passed_ns = now - self._begins_ns
        if passed_ns >= self._lasts_ns:
            return _ALL
        return max(self._count * passed_ns // self._lasts_ns - self._closed, 0)

    def closed(self, count: int) -> None:
        """Count connections as closed."""
        self._closed += count

    def end(self) -> None:
        """Make all that is left due at once."""
        self._lasts_ns = 0
