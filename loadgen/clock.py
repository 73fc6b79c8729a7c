"""The one clock: CLOCK_MONOTONIC in nanoseconds.

Every process of a run reads the same clock (it is system-wide, clock_gettime(2)), so an instant
taken in the orchestrator means the same in a worker. Wall time is read once, to name a run.
"""

from datetime import UTC, datetime
from time import monotonic_ns

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000

now_ns = monotonic_ns


def wall_clock() -> datetime:
    """The time of day in UTC; only ever used to label a run, never to measure."""
    return datetime.now(UTC)
