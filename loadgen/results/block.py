"""The layout of one worker's block of numbers, in memory that it shares with the orchestrator.

The counters that must agree with each other are kept twice. A worker writes the idle copy, then
counts `updates` up, whose last bit says which copy is whole; so a reader, or the survivor of a
SIGKILL, never sees half of an update, and a reader that was overtaken notices and reads again. (On
processors that let others see two stores in another order, such as ARM, a reader may for some
nanoseconds see the count before the copy; a line of the series would be one batch out.)
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.results import histogram
from loadgen.results.schema.counters import WORKER_COUNTERS

#: Distinct (syscall, errno) a worker can tell apart; the last slot counts all further ones.
ERROR_KINDS: Final = 32
#: The key of that last slot.
OTHER_KEY: Final = 0
#: A worker notes when each hundredth of its connections was established, and its CPU time by then.
MARKS: Final = 100
#: A series says when each tenth was. In churn it has the cost by tenths of the ports in use: for each, the CPU time and
#: the connections it was spent on.
TENTHS: Final = 10


class Latency(IntEnum):
    """Rows of the latency histograms.

    LATENESS: started - due, loadgen's own delay. CONNECT: established - started, the network's and
    the target's. ARRIVAL: established - due, what a user would have waited; the only one of the
    three that is free of coordinated omission. EXCHANGE: reply read - request written. HANDSHAKE:
    TLS secured - established. BIND: a call of bind() that takes a port, successful or
    not, which comes before `started`.
    """

    LATENESS = 0
    CONNECT = 1
    ARRIVAL = 2
    EXCHANGE = 3
    HANDSHAKE = 4
    BIND = 5


class PairColumn(IntEnum):
    """Columns of the counts for each (source, target)."""

    ESTABLISHED = 0
    FAILED = 1
    OPEN = 2


def block_dtype(pairs: int) -> np.dtype[np.void]:
    """Return the layout of one worker's block for a plan of `pairs` (source, target) spaces; all int64."""
    return np.dtype(
        [
            ("updates", "i8"),
            ("counters", "i8", (2, len(WORKER_COUNTERS))),
            ("marks_ns", "i8", (MARKS,)),
            ("marks_cpu_ns", "i8", (MARKS,)),
            ("port_use", "i8", (TENTHS, 2)),
            ("error_keys", "i8", (ERROR_KINDS,)),
            ("errors", "i8", (pairs, ERROR_KINDS)),
            ("pairs", "i8", (pairs, len(PairColumn))),
            ("latency", "i8", (len(Latency), histogram.BUCKETS)),
            ("lag", "i8", (histogram.BUCKETS,)),
        ]
    )


def consistent_counters(record: Any) -> NDArray[np.int64]:
    """Return a copy of one block's counters in which every number belongs to the same instant."""
    for _ in range(8):  # a worker publishes once in a millisecond or so; a copy takes one microsecond
        updates = int(record["updates"])
        copy: NDArray[np.int64] = record["counters"][updates & 1].copy()
        if int(record["updates"]) == updates:
            return copy
    return copy
