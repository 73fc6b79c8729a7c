"""The latencies of one worker: written down as they come, sorted into histograms later, shown to the orchestrator.

To sort a thousand at once with numpy costs least, 0.15 us each. But a worker that opens one connection after another
finds numpy's code out of the caches: each of a score of calls takes 20 to 60 us then, and an arrival that is due
meanwhile is late by the sum. So with a schedule the few that there are get sorted one by one in the pauses, by plain
Python.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from loadgen.results import histogram
from loadgen.results.block import Latency

#: Latencies that wait to be sorted: numpy wants many at once, memory wants few.
PENDING_MAX: Final = 1024
#: The most attempts in one batch.
BATCH_MAX: Final = 256
#: The row after those of the latencies: how late the worker's own event loop was.
LAG: Final = len(Latency)
#: Of each attempt, in the order of `Latencies.begin_batch`.
_ATTEMPT: Final = (Latency.LATENESS, Latency.CONNECT, Latency.ARRIVAL)
_NOT_SCHEDULED: Final = array("q", [-1]) * BATCH_MAX
#: So few are sorted one by one wherever they are.
_FEW: Final = 48


class Latencies:
    """Times in nanoseconds, of attempts (three of each) and of single steps."""

    __slots__ = ("_attempts", "_cells", "_histograms", "_pending", "_steps", "_used")

    def __init__(self) -> None:
        self._histograms = np.zeros((LAG + 1, histogram.BUCKETS), dtype=np.int64)
        # Plain memory: to count one value through numpy takes ten times as long.
        self._cells = int64(self._histograms)
        #: Buckets that may be in use: none from this one on.
        self._used = 0
        lateness, connect, arrival = (array("q", bytes(8 * PENDING_MAX)) for _ in _ATTEMPT)
        self._attempts = lateness, connect, arrival
        self._pending = 0
        self._steps: dict[int, list[int]] = {
            row: [] for row in (Latency.EXCHANGE, Latency.HANDSHAKE, Latency.BIND, Latency.NETWORK, LAG)
        }

    def begin_batch(self, attempts: int) -> tuple[array[int], array[int], array[int], int]:
        """Return where the latencies of this number of attempts (at most BATCH_MAX) may be written.

        Returns: the arrays for lateness, connect and arrival, and the first free position in them.
        """
        if self._pending + attempts > PENDING_MAX:
            self.sort()
        return *self._attempts, self._pending

    def end_batch(self, end: int, *, scheduled: bool) -> int:
        """Take over what was written up to this position; return the number of connections that is.

        Without a schedule only the connect times were written: then nothing was late, and an arrival is as long as its
        connect.
        """
        first, self._pending = self._pending, end
        if not scheduled:
            lateness, connect, arrival = self._attempts
            lateness[first:end] = _NOT_SCHEDULED[: end - first]
            arrival[first:end] = connect[first:end]
        return end - first

    def add(self, row: int, took_ns: int) -> None:
        """Write down the time of one step."""
        steps = self._steps[row]
        steps.append(took_ns)
        if len(steps) == PENDING_MAX:
            self.sort()

    def writer(self, row: int) -> Callable[[int], None]:
        """Return what writes down a time of this row: append() of a list, which only `sort` and `sort_some` empty."""
        return self._steps[row].append

    def sort(self) -> None:
        """Sort all that waits."""
        count = self._pending
        if count + sum(map(len, self._steps.values())) <= _FEW:
            self.sort_some(_FEW)
            return
        self._pending = 0
        values, counts = array("q"), [count] * len(_ATTEMPT)
        rows: list[int] = [*_ATTEMPT, *self._steps]
        for attempts in self._attempts:
            values.extend(attempts[:count])
        for steps in self._steps.values():
            values.extend(steps)
            counts.append(len(steps))
            steps.clear()
        ns = np.frombuffer(values, dtype=np.int64)
        timed = ns >= 0  # what was not scheduled has no lateness
        used = histogram.add(self._histograms, ns[timed], np.repeat(rows, counts)[timed])
        self._used = max(self._used, used)

    def sort_some(self, most: int) -> None:
        """Sort at most this number of attempts, and of steps of each kind: the last that were written down."""
        if count := min(self._pending, most):
            first, end = self._pending - count, self._pending
            self._pending = first
            for row, attempts in zip(_ATTEMPT, self._attempts, strict=True):
                self._count(row, attempts[first:end])
        for kind, steps in self._steps.items():
            if steps:
                self._count(kind, steps[-most:])
                del steps[-most:]

    def _count(self, row: int, values_ns: array[int] | list[int]) -> None:
        cells, first, used = self._cells, row * histogram.BUCKETS, self._used
        for ns in values_ns:
            if ns >= 0:
                bucket = histogram.bucket_of_one(ns)
                cells[first + bucket] += 1
                if bucket >= used:
                    used = bucket + 1
        self._used = used

    def show(self, memory: memoryview) -> None:
        """Copy the histograms into memory of int64, one after another.

        Only what is in use: all of it is 280 KB, and pushes what the next connection needs out of the caches.
        """
        cells, used = self._cells, self._used
        for begin in range(0, len(cells), histogram.BUCKETS):
            memory[begin : begin + used] = cells[begin : begin + used]


def int64(view: Any) -> memoryview:
    """Return the memory of contiguous numbers. numpy calls an int64 "l" and array calls it "q"."""
    return memoryview(view.reshape(-1)).cast("B").cast("q")
