"""Latencies: sorted at once or a few at a time, they end in the same buckets."""

from __future__ import annotations

from array import array

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from loadgen.results import histogram
from loadgen.results.block import Latency
from loadgen.worker.latencies import LAG, PENDING_MAX, Latencies

ROWS = LAG + 1
times = st.integers(0, 2**41)
attempts = st.lists(st.tuples(times, times, st.booleans()), max_size=120)
steps = st.lists(st.tuples(st.sampled_from([Latency.EXCHANGE, Latency.BIND, Latency.NETWORK, LAG]), times), max_size=60)


def shown(latencies: Latencies) -> NDArray[np.int64]:
    memory = array("q", bytes(8 * ROWS * histogram.BUCKETS))
    latencies.show(memoryview(memory))
    return np.array(memory).reshape(ROWS, histogram.BUCKETS)


def write(latencies: Latencies, late_ns: int, connect_ns: int, *, scheduled: bool) -> None:
    lateness, connect, arrival, at = latencies.begin_batch(1)
    lateness[at], connect[at], arrival[at] = late_ns, connect_ns, late_ns + connect_ns
    assert latencies.end_batch(at + 1, scheduled=scheduled) == 1


def expected(wanted: list[tuple[int, int, bool]], single: list[tuple[int, int]]) -> NDArray[np.int64]:
    rows = np.zeros((ROWS, histogram.BUCKETS), dtype=np.int64)

    def count(row: int, ns: int) -> None:
        histogram.add(rows[row], np.array([ns], dtype=np.int64))

    for late_ns, connect_ns, scheduled in wanted:
        if scheduled:
            count(Latency.LATENESS, late_ns)
        count(Latency.CONNECT, connect_ns)
        count(Latency.ARRIVAL, late_ns + connect_ns if scheduled else connect_ns)
    for row, ns in single:
        count(row, ns)
    return rows


@given(attempts, steps, st.integers(1, 50), st.integers(0, 40))
def test_all_at_once_and_a_few_at_a_time_are_the_same(
    wanted: list[tuple[int, int, bool]], single: list[tuple[int, int]], most: int, times_before: int
) -> None:
    latencies = Latencies()
    for late_ns, connect_ns, scheduled in wanted:
        write(latencies, late_ns, connect_ns, scheduled=scheduled)
    for row, ns in single:
        latencies.add(row, ns)
    for _ in range(times_before):
        latencies.sort_some(most)
    latencies.sort()
    latencies.sort()
    assert np.array_equal(shown(latencies), expected(wanted, single))


def test_what_waits_is_not_shown_and_never_more_than_there_is_room_for() -> None:
    latencies = Latencies()
    for _ in range(PENDING_MAX):
        write(latencies, 5, 7, scheduled=True)
    assert not shown(latencies).any()
    write(latencies, 5, 7, scheduled=True)
    assert shown(latencies).sum() == 3 * PENDING_MAX
    latencies.sort_some(1)
    assert shown(latencies).sum() == 3 * (PENDING_MAX + 1)


def test_a_writer_goes_on_after_its_list_was_sorted() -> None:
    latencies = Latencies()
    record = latencies.writer(Latency.BIND)
    for _ in range(2):
        record(100)
        latencies.sort_some(4)
    assert shown(latencies)[Latency.BIND, 100] == 2
