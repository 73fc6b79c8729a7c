"""The layout of one worker's block of numbers, in memory that it shares with the orchestrator.

The totals are the counters, and the failures and losses by error; a worker shows them once per batch. The breakdown
says of which source and target, and after what time; a worker shows it ten times a second, because it is a thousand
times as large. Each is consistent in itself whatever becomes of the worker (`loadgen.results.copies`), and the totals
are shown first, so that a breakdown never has more than they: what a killed worker had counted and not broken down yet
is the difference. The rest of a block are instants and costs, which are part of no sum.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.results import copies, histogram
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
    not, which comes before `started`. NETWORK: the round trip of the handshake by the kernel's own
    measure, of a sample of the connections; it is part of CONNECT.
    """

    LATENESS = 0
    CONNECT = 1
    ARRIVAL = 2
    EXCHANGE = 3
    HANDSHAKE = 4
    BIND = 5
    NETWORK = 6


class PairColumn(IntEnum):
    """Columns of the counts for each (source, target)."""

    ESTABLISHED = 0
    FAILED = 1
    OPEN = 2


def breakdown_dtype(pairs: int) -> np.dtype[np.void]:
    """Return the layout of the breakdown of one worker's counts; all int64."""
    return np.dtype(
        [
            ("pairs", "i8", (pairs, len(PairColumn))),
            ("latency", "i8", (len(Latency), histogram.BUCKETS)),
            ("lag", "i8", (histogram.BUCKETS,)),
        ]
    )


#: errors: failures and losses by kind, in the order of the block's `error_keys`.
_TOTALS: Final = np.dtype([("counters", "i8", (len(WORKER_COUNTERS),)), ("errors", "i8", (ERROR_KINDS,))])


def block_dtype(pairs: int) -> np.dtype[np.void]:
    """Return the layout of one worker's block for a plan of `pairs` (source, target) spaces; all int64."""
    return np.dtype(
        [
            ("updates", "i8"),
            ("totals", _TOTALS, (2,)),
            ("error_keys", "i8", (ERROR_KINDS,)),
            ("breakdown_updates", "i8"),
            ("breakdowns", breakdown_dtype(pairs), (2,)),
            ("marks_ns", "i8", (MARKS,)),
            ("marks_cpu_ns", "i8", (MARKS,)),
            ("port_use", "i8", (TENTHS, 2)),
        ]
    )


def consistent_totals(record: Any) -> Any:
    """Return a copy of one block's `counters` and `errors` in which every number belongs to the same instant."""
    return copies.consistent(record, "updates", "totals")


def consistent_counters(record: Any) -> NDArray[np.int64]:
    """Return the counters alone."""
    counters: NDArray[np.int64] = consistent_totals(record)["counters"]
    return counters


def consistent_breakdown(record: Any) -> Any:
    """Return a copy of one block's breakdown: a record of `breakdown_dtype`, of one instant.

    To compare it with the totals, read these afterwards: they are then of the same instant or a later one.
    """
    return copies.consistent(record, "breakdown_updates", "breakdowns")
