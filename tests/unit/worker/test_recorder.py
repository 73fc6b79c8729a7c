"""One worker's block: its layout, what a reader may see at any moment, and what is counted where."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.outcomes import Syscall, error_key
from loadgen.processes.shared_memory import Blocks
from loadgen.results import histogram
from loadgen.results.block import (
    ERROR_KINDS,
    MARKS,
    OTHER_KEY,
    Counter,
    Latency,
    PairColumn,
    block_dtype,
    consistent_counters,
)
from loadgen.worker.recorder import BATCH_MAX, Recorder


def new_block(pairs: int = 2) -> Any:
    blocks = Blocks.create("test", block_dtype(pairs), 1)
    os.close(blocks.fd)
    return blocks.records[0]


def shown(block: Any, counter: Counter) -> int:
    return int(consistent_counters(block)[counter])


# --- Layout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [1, 2, 1000])
def test_each_block_begins_on_a_page_of_its_own_and_holds_plain_numbers(pairs: int) -> None:
    dtype = block_dtype(pairs)
    blocks = Blocks.create("test", dtype, 3)
    size = os.fstat(blocks.fd).st_size
    os.close(blocks.fd)
    assert blocks.records.dtype.itemsize % mmap.PAGESIZE == 0
    assert size == 3 * blocks.records.dtype.itemsize
    assert {field[0].base for field in dtype.fields.values()} == {np.dtype(np.int64)} if dtype.fields else False
    assert not blocks.records.dtype.hasobject
    assert not any(blocks.records.tobytes())


def test_a_layout_that_fills_its_pages_gets_no_padding() -> None:
    blocks = Blocks.create("test", np.dtype([("page", "u1", (mmap.PAGESIZE,))]), 2)
    os.close(blocks.fd)
    assert blocks.records.dtype.itemsize == mmap.PAGESIZE


def test_who_maps_the_same_descriptor_sees_the_same_numbers() -> None:
    """A worker's numbers are where the orchestrator looks, and stay when the worker is gone."""
    ours = Blocks.create("test", block_dtype(2), 2)
    theirs = Blocks(ours.fd, block_dtype(2), 2)
    os.close(ours.fd)
    recorder = Recorder(theirs.records[1], scheduled=10)
    recorder.started = 7
    recorder.publish()
    del recorder, theirs
    assert [shown(record, Counter.STARTED) for record in ours.records] == [0, 7]


# --- All or nothing ------------------------------------------------------------------------------


class Watched:
    """A block that calls `before_turn` at the last moment before the idle copy becomes the active one."""

    def __init__(self, block: Any, before_turn: Callable[[], None]) -> None:
        self._block, self._before_turn = block, before_turn

    def __getitem__(self, name: str) -> Any:
        return self._block[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "updates":
            self._before_turn()
        self._block[name] = value


def count_on(recorder: Recorder, value: int) -> None:
    """Every counter becomes `value`, so that a mixture of two updates would show."""
    for counter in Counter:
        setattr(recorder, counter.name.lower(), value)


@pytest.mark.parametrize("publish", [Recorder.publish, Recorder.publish_all])
def test_until_the_copies_are_swapped_a_reader_sees_the_update_before(publish: Callable[[Recorder], None]) -> None:
    block = new_block()
    seen: list[list[int]] = []
    recorder: Any = Recorder(Watched(block, lambda: seen.append(consistent_counters(block).tolist())), scheduled=1)
    for value in range(1, 6):
        count_on(recorder, value)
        publish(recorder)
        assert consistent_counters(block).tolist() == [value] * len(Counter)
    assert seen == [[value] * len(Counter) for value in range(5)]


def test_a_worker_killed_in_the_middle_of_an_update_leaves_the_one_before() -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        if recorder.started == 3:
            raise Killed

    block = new_block()
    recorder = Recorder(Watched(block, kill), scheduled=1)
    for value in (1, 2):
        count_on(recorder, value)
        recorder.publish()
    count_on(recorder, 3)
    with pytest.raises(Killed):
        recorder.publish()
    assert consistent_counters(block).tolist() == [2] * len(Counter)


def test_only_the_idle_copy_is_written_to() -> None:
    block = new_block()
    recorder = Recorder(block, scheduled=1)
    for value in range(1, 5):
        active = int(block["updates"]) & 1
        before = block["counters"][active].copy()
        count_on(recorder, value)
        recorder.publish()
        assert int(block["updates"]) & 1 != active
        assert np.array_equal(block["counters"][active], before)


class _Halves:
    """The active copy of `block`, read in two halves between which something happens."""

    def __init__(self, block: Any, between: Callable[[], None]) -> None:
        self._block, self._between = block, between

    def __getitem__(self, key: Any) -> Any:
        if key == "updates":
            return self._block["updates"]
        if key == "counters":
            return self
        counters = self._block["counters"][key]

        class Row:
            def copy(_) -> Any:  # noqa: N805  # `self` is the reader's
                copied = counters.copy()
                self._between()
                middle = len(Counter) // 2
                copied[middle:] = counters[middle:]
                return copied

        return Row()


@pytest.mark.parametrize("updates", [1, 2, 3, 4])
def test_a_reader_overtaken_by_updates_reads_again(updates: int) -> None:
    """After an even number of them the same copy is the active one again, and yet another."""
    block = new_block()
    recorder = Recorder(block, scheduled=1)
    count_on(recorder, 1)
    recorder.publish()
    left = [updates]

    def overtake() -> None:
        while left[0]:
            left[0] -= 1
            count_on(recorder, recorder.started + 1)
            recorder.publish()

    assert consistent_counters(_Halves(block, overtake)).tolist() == [1 + updates] * len(Counter)


# --- What is counted -----------------------------------------------------------------------------

REFUSED = error_key(Syscall.CONNECT, errno.ECONNREFUSED)
RESET = error_key(Syscall.RECV, errno.ECONNRESET)
EVENTS = st.lists(st.tuples(st.sampled_from(["established", "failed", "lost", "closed"]), st.integers(0, 2)))


@settings(max_examples=50)
@given(EVENTS)
def test_counts_of_the_pairs_add_up_to_the_counters(events: list[tuple[str, int]]) -> None:
    """And every failure and every loss is an error of its pair."""
    block = new_block(3)
    recorder = Recorder(block, scheduled=100)
    tally = {name: [0, 0, 0] for name in ("established", "failed", "lost", "closed")}
    for name, pair in events:
        gone = tally["lost"][pair] + tally["closed"][pair]
        if name in ("lost", "closed") and gone == tally["established"][pair]:
            continue
        tally[name][pair] += 1
        match name:
            case "established":
                recorder.record_established(pair, 0, 5, 9)
            case "failed":
                recorder.record_failed(pair, REFUSED)
            case "lost":
                recorder.record_lost(pair, RESET)
            case _:
                recorder.record_closed(pair)
    recorder.publish_all()
    opened = [e - lost - c for e, lost, c in zip(tally["established"], tally["lost"], tally["closed"], strict=True)]
    assert block["pairs"][:, PairColumn.ESTABLISHED].tolist() == tally["established"]
    assert block["pairs"][:, PairColumn.FAILED].tolist() == tally["failed"]
    assert block["pairs"][:, PairColumn.OPEN].tolist() == opened
    for counter, values in (
        (Counter.ESTABLISHED, tally["established"]),
        (Counter.FAILED, tally["failed"]),
        (Counter.LOST, tally["lost"]),
        (Counter.OPEN, opened),
    ):
        assert shown(block, counter) == sum(values)
    errors = [failed + lost for failed, lost in zip(tally["failed"], tally["lost"], strict=True)]
    assert block["errors"].sum(axis=1).tolist() == errors


def test_every_counter_is_published_under_its_own_name() -> None:
    block = new_block()
    recorder = Recorder(block, scheduled=1)
    for counter in Counter:
        setattr(recorder, counter.name.lower(), 100 + counter)
    recorder.publish()
    assert consistent_counters(block).tolist() == [100 + counter for counter in Counter]


def test_the_last_slot_takes_every_error_that_comes_too_late_for_its_own() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=1)
    for repeats in (1, 2):
        for number in range(1, 41):
            for _ in range(repeats):
                recorder.record_failed(0, error_key(Syscall.CONNECT, number))
    own = [error_key(Syscall.CONNECT, number) for number in range(1, ERROR_KINDS)]
    assert block["error_keys"].tolist() == [*own, OTHER_KEY]
    assert block["errors"][0].tolist() == [3] * (ERROR_KINDS - 1) + [3 * (40 - ERROR_KINDS + 1)]
    assert recorder.failed == block["errors"].sum() == 120


@settings(max_examples=20)
@given(st.integers(1, 350), st.integers(0, 400))
def test_a_mark_is_the_instant_at_which_its_hundredth_was_full(scheduled: int, established: int) -> None:
    """Fewer than 100 connections fill several marks at once; more than planned change none."""
    block = new_block(1)
    recorder = Recorder(block, scheduled=scheduled)
    for n in range(1, established + 1):
        recorder.record_established(0, 0, n, 1000 + n)
    full_at = [-(-scheduled * mark // MARKS) for mark in range(1, MARKS + 1)]
    assert block["marks_ns"].tolist() == [1000 + n if n <= established else 0 for n in full_at]


def test_latencies_are_sorted_by_the_thousand_and_whenever_all_is_published() -> None:
    """1,024 may wait; the next one sorts them first."""
    block = new_block(1)
    recorder = Recorder(block, scheduled=5000)

    def sorted_counts() -> list[int]:
        return [int(block["latency"][row].sum()) for row in (Latency.LATENESS, Latency.CONNECT, Latency.ARRIVAL)]

    for n in range(1024):
        recorder.record_established(0, 10, 20 + n, 30 + n)
    recorder.publish()
    assert sorted_counts() == [0] * 3
    recorder.record_established(0, 10, 20, 30)
    assert sorted_counts() == [1024] * 3
    recorder.publish_all()
    recorder.publish_all()
    assert sorted_counts() == [1025] * 3


BATCHES = st.lists(st.tuples(st.integers(0, BATCH_MAX), st.integers(0, BATCH_MAX), st.booleans()), max_size=12)


@settings(max_examples=15)
@given(BATCHES, st.integers(0, 1500))
def test_a_batch_counts_as_its_connections_one_by_one(batches: list[tuple[int, int, bool]], scheduled: int) -> None:
    """Counters, marks and latencies; a batch may have attempts that are not established."""
    together, single = new_block(1), new_block(1)
    in_batches, one_by_one = Recorder(together, scheduled=scheduled), Recorder(single, scheduled=scheduled)
    now = 10_000
    for attempts, more, has_due in batches:
        established = min(attempts, more)
        due = now - 1_000 if has_due else 0
        lateness, connect, arrival, n = in_batches.begin_batch(attempts)
        until_mark = in_batches.next_mark - in_batches.established
        for done in range(1, established + 1):
            now += 7 * done
            connect[n], lateness[n], arrival[n] = 5, now - 5 - due, now - due
            n += 1
            in_batches.pair_established[0] += 1
            if done >= until_mark:
                until_mark = in_batches.mark(done, now)
            one_by_one.record_established(0, due, now - 5, now)
        in_batches.end_batch(attempts, n, now, scheduled=has_due)
        one_by_one.started += attempts
    in_batches.publish_all()
    one_by_one.publish_all()
    for field in ("marks_ns", "pairs", "latency"):
        assert np.array_equal(together[field], single[field])
    assert np.array_equal(consistent_counters(together), consistent_counters(single))


def test_the_three_latencies_are_due_to_started_to_established() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=1)
    recorder.record_established(0, 1_000, 1_040, 1_140)
    recorder.publish_all()
    found = {row: histogram.sparse(block["latency"][row]) for row in Latency if block["latency"][row].any()}
    assert found == {Latency.LATENESS: {"40": 1}, Latency.CONNECT: {"100": 1}, Latency.ARRIVAL: {"140": 1}}
    assert shown(block, Counter.LAST_ESTABLISHED_NS) == 1_140


def test_exchanges_are_sorted_by_the_thousand_and_whenever_all_is_published() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=None)
    for _ in range(1023):
        recorder.record_exchange(100)
    assert not block["latency"].any()
    recorder.record_exchange(100)
    recorder.record_exchange(200)
    assert histogram.sparse(block["latency"][Latency.EXCHANGE]) == {"100": 1024}
    recorder.publish_all()
    assert block["latency"].sum() == 1025


def test_without_a_number_of_connections_there_are_no_hundredths() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=None)
    for n in range(5):
        recorder.record_established(0, 0, n, 1000 + n)
    assert not block["marks_ns"].any()


def test_without_a_schedule_nothing_is_late_and_an_arrival_takes_as_long_as_its_connect() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=2)
    recorder.record_established(0, 0, 1_040, 1_140)
    recorder.record_established(0, 1_040, 1_040, 1_140)
    recorder.publish_all()
    assert histogram.sparse(block["latency"][Latency.LATENESS]) == {"0": 1}
    assert histogram.sparse(block["latency"][Latency.CONNECT]) == {"100": 2}
    assert histogram.sparse(block["latency"][Latency.ARRIVAL]) == {"100": 2}


def test_the_lag_of_the_event_loop_has_a_histogram_of_its_own() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=1)
    for lag_ns in (0, 7, 7):
        recorder.record_lag(lag_ns)
    assert histogram.sparse(block["lag"]) == {"0": 1, "7": 2}
    assert not block["latency"].any()
