"""What the data plane counts, and where it stands in the block of its worker."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.outcomes import Syscall, error_key
from loadgen.results import histogram
from loadgen.results.block import (
    ERROR_KINDS,
    MARKS,
    OTHER_KEY,
    Latency,
    PairColumn,
    block_dtype,
    consistent_breakdown,
    consistent_counters,
    consistent_totals,
)
from loadgen.results.schema.counters import POSITION
from loadgen.worker.latencies import BATCH_MAX
from loadgen.worker.port_use import PortUse
from loadgen.worker.recorder import Recorder


def new_block(pairs: int = 2) -> Any:
    return np.zeros(1, dtype=block_dtype(pairs))[0]


def parts(block: Any) -> Any:
    return consistent_breakdown(block)


def shown(block: Any, counter: str) -> int:
    return int(consistent_counters(block)[POSITION[counter]])


REFUSED = error_key(Syscall.CONNECT, errno.ECONNREFUSED)
RESET = error_key(Syscall.RECV, errno.ECONNRESET)
EVENTS = st.lists(st.tuples(st.sampled_from(["established", "failed", "lost", "closed"]), st.integers(0, 2)))


@settings(max_examples=50)
@given(EVENTS)
def test_counts_of_the_pairs_add_up_to_the_counters(events: list[tuple[str, int]]) -> None:
    """And every failure and every loss is an error."""
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
                recorder.record_closed((pair,))
    recorder.publish_all()
    opened = [e - lost - c for e, lost, c in zip(tally["established"], tally["lost"], tally["closed"], strict=True)]
    assert parts(block)["pairs"][:, PairColumn.ESTABLISHED].tolist() == tally["established"]
    assert parts(block)["pairs"][:, PairColumn.FAILED].tolist() == tally["failed"]
    assert parts(block)["pairs"][:, PairColumn.OPEN].tolist() == opened
    for counter, values in (
        ("established", tally["established"]),
        ("failed", tally["failed"]),
        ("lost", tally["lost"]),
        ("open", opened),
    ):
        assert shown(block, counter) == sum(values)
    assert consistent_totals(block)["errors"].sum() == sum((*tally["failed"], *tally["lost"]))


def test_the_last_slot_takes_every_error_that_comes_too_late_for_its_own() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=1)
    for repeats in (1, 2):
        for number in range(1, 41):
            for _ in range(repeats):
                recorder.record_failed(0, error_key(Syscall.CONNECT, number))
    own = [error_key(Syscall.CONNECT, number) for number in range(1, ERROR_KINDS)]
    recorder.publish()
    assert block["error_keys"].tolist() == [*own, OTHER_KEY]
    assert consistent_totals(block)["errors"].tolist() == [3] * (ERROR_KINDS - 1) + [3 * (40 - ERROR_KINDS + 1)]
    assert recorder.failed == consistent_totals(block)["errors"].sum() == 120


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


def test_latencies_are_sorted_by_the_thousand_and_shown_whenever_all_is_published() -> None:
    """1,024 may wait; the next one sorts them first. No reader sees them before the counts that they belong to."""
    block = new_block(1)
    recorder = Recorder(block, scheduled=5000)

    def sorted_counts() -> Any:
        return recorder.latencies._histograms.sum(axis=1).tolist()[:3]

    for n in range(1024):
        recorder.record_established(0, 10, 20 + n, 30 + n)
    recorder.publish()
    assert sorted_counts() == [0] * 3
    recorder.record_established(0, 10, 20, 30)
    assert sorted_counts() == [1024] * 3
    assert not parts(block)["latency"].any()
    recorder.publish_all()
    recorder.publish_all()
    assert sorted_counts() == [1025] * 3
    assert np.array_equal(parts(block)["latency"], recorder.latencies._histograms[:-1])


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
    assert np.array_equal(together["marks_ns"], single["marks_ns"])
    for field in ("pairs", "latency"):
        assert np.array_equal(parts(together)[field], parts(single)[field])
    assert np.array_equal(consistent_counters(together), consistent_counters(single))


def test_the_three_latencies_are_due_to_started_to_established() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=1)
    recorder.record_established(0, 1_000, 1_040, 1_140)
    recorder.publish_all()
    found = {row: histogram.sparse(counts) for row in Latency if (counts := parts(block)["latency"][row]).any()}
    assert found == {Latency.LATENESS: {"40": 1}, Latency.CONNECT: {"100": 1}, Latency.ARRIVAL: {"140": 1}}
    assert shown(block, "last_established_ns") == 1_140


def test_handshakes_are_sorted_by_the_thousand_and_whenever_all_is_published() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=None)
    for _ in range(1023):
        recorder.record_handshake(100, resumed=False)
    assert not recorder.latencies._histograms.any()
    recorder.record_handshake(100, resumed=True)
    recorder.record_handshake(200, resumed=False)
    assert histogram.sparse(recorder.latencies._histograms[Latency.HANDSHAKE]) == {"100": 1024}
    recorder.publish_all()
    assert (parts(block)["latency"].sum(), recorder.resumed) == (1025, 1)


@pytest.mark.parametrize(("name", "row"), [("record_bind", Latency.BIND), ("record_exchange", Latency.EXCHANGE)])
def test_times_of_bind_and_exchanges_are_sorted_whenever_all_is_published(name: str, row: Latency) -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=1)
    record = getattr(recorder, name)
    for _ in range(2):
        record(100)
        recorder.publish_all()
    assert histogram.sparse(parts(block)["latency"][row]) == {"100": 2}
    assert parts(block)["latency"].sum() == 2


def test_in_churn_each_hundredth_of_the_ports_is_noted_as_soon_as_it_is_used() -> None:
    """By one connection after the other and in batches; the connections of a batch are open until it is over."""
    notes: list[tuple[int, int, int, int]] = []

    class Notes(PortUse):
        def note(self, at_ns: int, cpu_ns: int, **counts: int) -> None:
            assert cpu_ns > 0
            notes.append((at_ns, counts["established"], counts["open_now"], counts["closed"]))

    block = new_block(1)
    recorder = Recorder(block, scheduled=None, port_use=Notes(500, 1, block["port_use"]))
    for n in range(1, 7):
        recorder.record_established(0, 0, n, 1000 + n)
        recorder.record_closed((0,))
    assert notes == [(1005, 5, 1, 4)]
    until_mark = recorder.next_mark - recorder.established
    for n in range(1, 13):
        if n >= until_mark:
            until_mark = recorder.mark(n, 2000 + n)
    recorder.end_batch(12, 12, 2012, scheduled=False)
    assert notes[1:] == [(2004, 10, 4, 6), (2009, 15, 9, 6)]
    recorder.record_failed(0, REFUSED)
    assert not block["marks_ns"].any()


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
    assert histogram.sparse(parts(block)["latency"][Latency.LATENESS]) == {"0": 1}
    assert histogram.sparse(parts(block)["latency"][Latency.CONNECT]) == {"100": 2}
    assert histogram.sparse(parts(block)["latency"][Latency.ARRIVAL]) == {"100": 2}


def test_the_lag_of_the_event_loop_has_a_histogram_of_its_own() -> None:
    block = new_block(1)
    recorder = Recorder(block, scheduled=1)
    for lag_ns in (0, 7, 7):
        recorder.record_lag(lag_ns)
    recorder.publish_all()
    assert histogram.sparse(parts(block)["lag"]) == {"0": 1, "7": 2}
    assert not parts(block)["latency"].any()
