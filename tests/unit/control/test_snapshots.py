"""Blocks of several workers -> one line: totals, differences, lost workers, and the tenths of a ramp."""

from __future__ import annotations

import errno
import os
from bisect import bisect_left
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.control.snapshots import Snapshots, tenths_s
from loadgen.model import Phase
from loadgen.outcomes import Syscall, error_key
from loadgen.processes.shared_memory import Blocks
from loadgen.results import histogram
from loadgen.results.block import MARKS, TENTHS, block_dtype
from loadgen.results.schema import files
from loadgen.results.schema.counters import POSITION
from loadgen.results.schema.line import UNREAD, KernelLine, Line
from loadgen.worker.recorder import Recorder
from tests.unit.killed import Killed, Stores, at_every_store
from tests.unit.worker.mortal import mortal

START_NS = 5_000_000_000


class Workers:
    """Some workers' recorders and the orchestrator's view of them, two pairs."""

    def __init__(self, *sizes: int) -> None:
        blocks = Blocks.create("test", block_dtype(2), len(sizes))
        os.close(blocks.fd)
        self.recorders = [Recorder(record, scheduled=size) for record, size in zip(blocks.records, sizes, strict=True)]
        self.snapshots = Snapshots(blocks, sizes, start_ns=START_NS)

    def establish(self, worker: int, pair: int = 0, *, at_ns: int = START_NS + 100, took_ns: int = 50) -> None:
        recorder = self.recorders[worker]
        recorder.started += 1
        recorder.first_started_ns = recorder.first_started_ns or at_ns - took_ns
        recorder.record_established(pair, 0, at_ns - took_ns, at_ns)

    def line(self, phase: Phase = Phase.RAMP, at_s: float = 1.0, **more: Any) -> Line:
        for recorder in self.recorders:
            recorder.publish_all()
        return self.snapshots.take(phase, START_NS + round(at_s * 1e9), **more)


def test_before_anything_happens_a_line_is_all_zeros() -> None:
    line = Workers(3, 4).line(at_s=0.25, sink=None)
    assert files.plain(line) == {
        "t_s": 0.25,
        "phase": "ramp",
        "scheduled": 7,
        **dict.fromkeys(("started", "established", "failed", "in_flight", "not_started", "open", "lost", "retried"), 0),
        **dict.fromkeys(("closed", "beating", "beats", "missed", "wrong", "resumed", "asked", "unanswered"), 0),
        "open_peak": 0,
        "ramp_s": 0.0,
        "sustained_per_s": 0.0,
        "first_denied_s": None,
        "tenths_s": [],
        "cost_us": [],
        "errors": [],
        "pairs": [[0, 0, 0], [0, 0, 0]],
        "latency_ns": {"lateness": {}, "connect": {}, "arrival": {}, "exchange": {}, "handshake": {}},
        "lag_ns": {},
        "cpu_s": 0.0,
        "user_cpu_s": 0.0,
        "overtaken": 0,
        "worker_cpu_s": [0.0, 0.0],
        "workers": None,
        "sink": None,
        "kernel": {},
    }


def test_a_line_is_the_sum_of_all_workers() -> None:
    workers = Workers(3, 4)
    workers.establish(0)
    workers.establish(1, 1)
    workers.establish(1, 0)
    first, second = workers.recorders
    first.started += 2
    first.in_flight, first.not_started, first.retried, first.cpu_ns = 1, 2, 3, 1_500_000_000
    first.user_cpu_ns, second.user_cpu_ns = 400_000_000, 50_000_000
    first.record_failed(1, error_key(Syscall.CONNECT, errno.EADDRNOTAVAIL))
    second.started += 2
    second.cpu_ns = 250_000_000
    second.record_failed(0, error_key(Syscall.CONNECT, errno.EADDRNOTAVAIL))
    second.record_failed(0, error_key(Syscall.BIND, errno.EADDRINUSE))
    second.record_lost(1, error_key(Syscall.RECV, 0))
    line = workers.line()
    assert (line.started, line.established, line.failed, line.in_flight) == (7, 3, 3, 1)
    assert (line.open, line.lost, line.retried, line.not_started) == (2, 1, 3, 2)
    assert line.pairs == ((2, 2, 2), (1, 1, 0))
    assert line.errors == (
        ("connect", "EADDRNOTAVAIL", "no-free-four-tuple", 2),
        ("bind", "EADDRINUSE", "no-free-port", 1),
        ("recv", "EOF", "lost", 1),
    )
    assert (line.cpu_s, line.user_cpu_s) == (1.75, 0.45)
    assert line.worker_cpu_s == (1.5, 0.25)


def test_only_where_bind_took_a_port_is_its_time_in_the_line() -> None:
    workers = Workers(10, 10)
    for recorder in workers.recorders:
        recorder.record_bind(1_000)
    line = workers.line()
    assert sum(line.latency_ns.of("bind").values()) == 2
    assert "bind" not in files.plain(workers.line())["latency_ns"], "nothing since the line before"
    assert workers.line().latency_ns.of("bind") == {}


def test_what_goes_on_counts_from_the_first_denial() -> None:
    """100 in the first tenth of a second, no port any more, then 300 in the three seconds to the last one."""
    workers = Workers(0)
    recorder = workers.recorders[0]
    recorder.first_started_ns = START_NS
    recorder.established, recorder.last_established_ns = 100, START_NS + 10**8
    assert workers.line().sustained_per_s == 1000.0
    assert workers.line().first_denied_s is None
    recorder.first_denied_ns, recorder.established_then = START_NS + 10**8, 100
    assert workers.line().sustained_per_s == 0.0
    recorder.established, recorder.last_established_ns = 400, START_NS + 31 * 10**8
    line = workers.line(at_s=4.0)
    assert (line.sustained_per_s, line.first_denied_s) == (100.0, 0.1)


def test_a_straggler_after_the_first_denial_is_no_rate() -> None:
    """One more connection a moment after the ports ran out, and none in the four seconds that follow."""
    workers = Workers(0)
    recorder = workers.recorders[0]
    recorder.first_started_ns, recorder.first_denied_ns, recorder.established_then = START_NS, START_NS + 10**9, 100
    recorder.established, recorder.last_established_ns = 101, START_NS + 10**9 + 10**6
    assert workers.line(at_s=5.0).sustained_per_s == 0.25


def test_what_goes_on_is_the_sum_over_the_workers() -> None:
    workers = Workers(0, 0, 0)
    for recorder in workers.recorders[:2]:
        recorder.first_started_ns, recorder.last_established_ns, recorder.established = START_NS, START_NS + 10**9, 50
    workers.recorders[1].first_denied_ns, workers.recorders[1].established_then = START_NS + 5 * 10**8, 30
    line = workers.line()
    assert (line.sustained_per_s, line.first_denied_s) == (90.0, 0.5)


def test_a_closed_loop_has_scheduled_what_it_has_started() -> None:
    workers = Workers(0, 0)
    workers.establish(1)
    assert workers.line().scheduled == 1
    workers.snapshots.lose(1)
    assert (workers.line().scheduled, workers.line().not_started) == (1, 0)


def test_errors_past_the_last_slot_are_shown_as_other() -> None:
    workers = Workers(50)
    for number in range(1, 41):
        workers.recorders[0].record_failed(0, error_key(Syscall.CONNECT, number))
    assert ("any", "OTHER", "other", 9) in workers.line().errors
    assert sum(count for *_, count in workers.line().errors) == 40


@settings(max_examples=15)
@given(st.lists(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 10**10)), max_size=5), max_size=4))
def test_what_is_new_in_each_line_adds_up_to_the_whole(intervals: list[list[tuple[int, int]]]) -> None:
    workers = Workers(50, 50)
    latency, lag, every = np.zeros((2, histogram.BUCKETS), np.int64), np.zeros(histogram.BUCKETS, np.int64), []
    for interval in intervals:
        for worker, took_ns in interval:
            workers.establish(worker, took_ns=took_ns, at_ns=START_NS + 10**11)
            workers.recorders[worker].record_lag(took_ns)
            every.append(took_ns)
        line = workers.line()
        for row, name in enumerate(("connect", "arrival")):
            histogram.accumulate(latency[row], getattr(line.latency_ns, name))
        histogram.accumulate(lag, line.lag_ns)
        assert line.latency_ns.lateness == {}
    whole = np.zeros(histogram.BUCKETS, np.int64)
    histogram.add(whole, np.array(every, dtype=np.int64))
    assert np.array_equal(latency, [whole, whole])
    assert np.array_equal(lag, whole)


def test_a_lost_worker_holds_nothing_and_starts_nothing_more() -> None:
    """What it established stays counted; what it had in flight nobody will ever know."""
    workers = Workers(10, 10)
    for _ in range(4):
        workers.establish(0)
        workers.establish(1, 1)
    lost = workers.recorders[1]
    lost.started += 3
    lost.in_flight, lost.not_started = 2, 1
    lost.record_failed(1, error_key(Syscall.CONNECT, errno.ECONNREFUSED))
    before = workers.line()
    assert (before.open, before.not_started) == (8, 1)
    assert workers.snapshots.lose(1) == 4
    line = workers.line()
    assert (line.started, line.established, line.failed, line.in_flight) == (11, 8, 1, 2)
    assert (line.open, line.not_started, line.lost) == (4, 3, 0)
    assert [pair.open for pair in line.pairs] == [4, 0]
    assert line.started == line.established + line.failed + line.in_flight
    counters = workers.snapshots.counters()
    assert counters[1, POSITION["started"]] + counters[1, POSITION["not_started"]] == 10


def test_with_every_worker_lost_all_that_was_planned_is_accounted_for() -> None:
    workers = Workers(10, 7)
    workers.establish(0)
    workers.line()
    assert [workers.snapshots.lose(index) for index in (0, 1)] == [1, 0]
    line = workers.line(Phase.DONE)
    assert line.scheduled == line.started + line.not_started == 17
    assert line.open == 0


def test_the_ramp_is_from_the_first_attempt_of_any_to_the_last_connection_of_any() -> None:
    workers = Workers(10, 10, 10)
    workers.establish(0, at_ns=START_NS + 3_000_000_000, took_ns=1_000_000_000)
    assert workers.line().ramp_s == 1.0
    workers.establish(1, at_ns=START_NS + 2_500_000_000, took_ns=2_000_000_000)
    assert workers.line().ramp_s == 2.5
    workers.establish(2, at_ns=START_NS + 9_000_000_000, took_ns=1)
    assert workers.line().ramp_s == 8.5


def test_attempts_without_a_single_connection_make_no_ramp() -> None:
    workers = Workers(10)
    workers.recorders[0].first_started_ns = START_NS
    assert workers.line().ramp_s == 0.0


# --- Tenths --------------------------------------------------------------------------------------


@st.composite
def marked(draw: st.DrawFn) -> tuple[list[int], np.ndarray[Any, np.dtype[np.int64]]]:
    """Sizes of some workers and, for each, a rising row of instants that ends somewhere."""
    sizes = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=4))
    rows = []
    for size in sizes:
        reached = draw(st.integers(0, MARKS)) if size else 0
        steps = draw(st.lists(st.integers(0, 10**9), min_size=4, max_size=4))
        rows.append([START_NS + sum(steps[: n % 5]) + n * steps[0] if n < reached else 0 for n in range(1, MARKS + 1)])
    return sizes, np.maximum.accumulate(np.array(rows, dtype=np.int64), axis=1) * (np.array(rows) > 0)


@settings(max_examples=40)
@given(marked())
def test_tenths_are_those_of_a_slow_reference(
    case: tuple[list[int], np.ndarray[Any, np.dtype[np.int64]]],
) -> None:
    """In rational numbers; where a goal is met to the millionth, either side of it is right."""
    sizes, marks_ns = case
    marks = sorted(
        (int(instant), Fraction(size, MARKS))
        for size, row in zip(sizes, marks_ns, strict=True)
        for instant in row
        if instant
    )
    reached = list(accumulate(weight for _, weight in marks))
    found = tenths_s(marks_ns, sizes, START_NS)
    assert found == sorted(found)
    most = 0
    for tenth in range(1, TENTHS + 1):
        goal = Fraction(sum(sizes) * tenth, TENTHS) - Fraction(1, 2)
        low, high = (bisect_left(reached, goal + slack) for slack in (-Fraction(1, 10**6), Fraction(1, 10**6)))
        if tenth <= len(found):
            low_s, high_s = ((marks[at][0] - START_NS) / 1e9 for at in (low, min(high, len(marks) - 1)))
            assert low_s - 1e-6 <= found[tenth - 1] <= high_s + 1e-6
        most += high < len(marks)
    assert len(found) >= most


@pytest.mark.parametrize("size", [1, 3, 10, 99, 100, 101, 5000])
def test_a_worker_of_any_size_reaches_its_tenths_one_after_the_other(size: int) -> None:
    workers = Workers(size)
    for n in range(1, size + 1):
        workers.establish(0, at_ns=START_NS + n * 1_000_000)
    found = workers.line().tenths_s
    assert len(found) == TENTHS
    assert found[-1] == pytest.approx(size / 1000)
    for tenth, at_s in enumerate(found, start=1):
        assert abs(at_s * 1000 - size * tenth / TENTHS) <= 1 + size / MARKS


def test_a_run_that_stops_half_way_has_half_of_its_tenths() -> None:
    workers = Workers(100, 100)
    for worker in (0, 1):
        for n in range(1, 51):
            workers.establish(worker, at_ns=START_NS + n * 1_000_000_000)
    assert workers.line().tenths_s == (10.0, 20.0, 30.0, 40.0, 50.0)


# --- Cost by ports in use ----------------------------------------------------------------------------


def churning(tw: int | None, *, spent: tuple[list[tuple[int, int]], ...]) -> Line:
    """The line of workers with these (CPU ns, connections) by tenth of 100 ports; the kernel's gauge says `tw`."""
    blocks = Blocks.create("test", block_dtype(2), len(spent))
    os.close(blocks.fd)
    for record, tenths in zip(blocks.records, spent, strict=True):
        record["port_use"][: len(tenths)] = tenths
    snapshots = Snapshots(blocks, [0] * len(spent), start_ns=START_NS, capacity=100)
    kernel = UNREAD if tw is None else KernelLine(now={"sockstat.tcp_tw": tw})
    snapshots.take(Phase.CHURN, START_NS, kernel=kernel)
    return snapshots.take(Phase.DONE, START_NS + 1)


def test_the_cost_in_churn_is_that_of_all_workers_by_tenth_of_the_ports() -> None:
    line = churning(None, spent=([(20_000, 10), (90_000, 30)], [(40_000, 20)]))
    assert line.cost_us == (2.0, 3.0)


def test_past_a_tenth_that_is_not_known_none_is_shown() -> None:
    assert churning(None, spent=([(20_000, 10), (0, 0), (20_000, 10)],)).cost_us == (2.0,)
    assert churning(None, spent=([(0, 0)],)).cost_us == ()


@pytest.mark.parametrize(("tw", "shown"), [(0, 0), (20, 2), (21, 3), (100, 10), (None, 10)])
def test_no_tenth_is_shown_that_the_kernels_gauge_never_came_to(tw: int | None, shown: int) -> None:
    """Not even when it falls again before the end."""
    assert churning(tw, spent=([(20_000, 10)] * 10,)).cost_us == (2.0,) * shown


# --- A worker that is killed -------------------------------------------------------------------------

REFUSED = error_key(Syscall.CONNECT, errno.ECONNREFUSED)
GONE = error_key(Syscall.RECV, 0)
#: What a worker does: a number of connections that end in this way, or showing what it has counted.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["established", "failed", "lost", "closed", "publish", "publish_all"]), st.integers(1, 9)
    ),
    max_size=25,
)


def work(recorder: Recorder, steps: list[tuple[str, int]]) -> None:
    """Count as a worker does, which publishes between batches only."""
    recorder.first_started_ns = 5
    for step, number in steps:
        for n in range(number):
            pair = (number + n) % 2
            match step:
                case "established":
                    recorder.started += 1
                    recorder.record_established(pair, 0, 5, 1000 + n)
                case "failed":
                    recorder.started += 1
                    recorder.record_failed(pair, REFUSED)
                case "lost" if recorder.open:
                    recorder.record_lost(pair, GONE)
                case "closed" if recorder.open:
                    recorder.record_closed((pair,))
        if step == "publish_all":
            recorder.publish_all()
        else:
            recorder.publish()


def assert_sums(line: Line) -> None:
    """Totals are the sums of their parts and of what is not attributed."""
    rest = files.plain(line).get("not_attributed", {"established": 0, "failed": 0})
    assert min(rest.values()) >= 0
    assert line.started == line.established + line.failed + line.in_flight
    assert line.established == sum(pair.established for pair in line.pairs) + rest["established"]
    assert line.established == sum(line.latency_ns.of("connect").values()) + rest["established"]
    assert line.failed == sum(pair.failed for pair in line.pairs) + rest["failed"]
    assert line.failed + line.lost == sum(error.times for error in line.errors)


def left_by(record: Any) -> Line:
    """The line after the death of the worker of this block, beside a worker that is alive and has published all."""
    blocks = Blocks.create("test", block_dtype(2), 2)
    os.close(blocks.fd)
    work(
        Recorder(blocks.records[1], scheduled=100), [("established", 5), ("failed", 2), ("lost", 1), ("publish_all", 1)]
    )
    for name in record.dtype.names:
        blocks.records[0][name] = record[name]
    snapshots = Snapshots(blocks, (100, 100), start_ns=START_NS)
    snapshots.lose(0)
    return snapshots.take(Phase.DONE, START_NS)


def test_killed_at_any_store_a_worker_leaves_sums_that_hold() -> None:
    steps = [("established", 7), ("publish_all", 1), ("failed", 3), ("established", 5), ("lost", 2), ("publish_all", 1)]
    steps += [("closed", 4), ("established", 6), ("publish_all", 1)]
    record = np.zeros(1, dtype=block_dtype(2))[0]
    counts = []
    for _ in at_every_store(record, lambda stores: work(mortal(record, stores, scheduled=100), steps)):
        line = left_by(record)
        assert_sums(line)
        counts.append(line.established)
    assert set(counts) == {5, 12, 17, 23}, "of each update one, and never less than before"
    assert counts == sorted(counts)


@settings(max_examples=150)
@given(STEPS, st.integers(0, 200))
def test_killed_whenever_and_after_whatever_work_the_sums_hold(steps: list[tuple[str, int]], stores: int) -> None:
    record = np.zeros(1, dtype=block_dtype(2))[0]
    try:
        work(mortal(record, Stores(record, [stores]), scheduled=100), steps)
    except Killed:
        pass
    assert_sums(left_by(record))


def test_what_a_killed_worker_had_not_broken_down_is_not_attributed() -> None:
    workers = Workers(10, 10)
    recorder = workers.recorders[0]
    work(recorder, [("established", 4), ("publish_all", 1), ("established", 3), ("failed", 2), ("lost", 1)])
    line = workers.snapshots.take(Phase.RAMP, START_NS)
    assert files.plain(line)["not_attributed"] == {"established": 3, "failed": 2}
    assert sum(pair.established for pair in line.pairs) == 4
    assert "not_attributed" not in files.plain(workers.line())


def test_a_worker_goes_on_between_the_reading_of_its_breakdown_and_of_its_totals() -> None:
    """Then the totals are ahead, never behind."""
    workers = Workers(10)
    recorder = workers.recorders[0]
    read = workers.snapshots._totals

    def overtaken() -> Any:
        work(recorder, [("established", 2), ("publish_all", 1)])
        return read()

    workers.snapshots._totals = overtaken  # type: ignore[method-assign]
    assert_sums(workers.snapshots.take(Phase.RAMP, START_NS))
