"""The writing end of one worker's block: what the data plane counts.

The data plane counts in plain Python integers, which cost least, and publishes them once per batch; the
orchestrator reads at any time. Showing them does without numpy, whose code is out of the caches between two batches.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter, sub
from time import thread_time_ns
from typing import Any, Final

import numpy as np
from msgspec import field

from loadgen.results.block import ERROR_KINDS, MARKS, OTHER_KEY, Latency
from loadgen.results.schema.counters import POSITION, WorkerCounters
from loadgen.worker.latencies import LAG, Latencies, int64
from loadgen.worker.port_use import PortUse

_NO_ERRORS: Final = array("q", [0]) * ERROR_KINDS
#: The counters of a recorder in the order of its block.
_counts: Final[Callable[[WorkerCounters], tuple[int, ...]]] = attrgetter(*POSITION)


class Recorder(WorkerCounters, eq=False):
    """The writing end of one block, used by the data plane on every attempt.

    The inherited counters are the worker's own truth; `publish` copies them to the block.

    _block: the record of this worker. scheduled: the number of connections of which each hundredth is marked; None: no
    hundredths. port_use: of a churn whose connections leave their ports in TIME-WAIT here.
    """

    _block: Any
    scheduled: int | None
    port_use: PortUse | None = None
    #: Attempts that found no port.
    denials: int = 0
    pair_established: list[int] = field(default_factory=list)
    pair_failed: list[int] = field(default_factory=list)
    #: When the attempt began that opened last, of each pair, ns.
    pair_opened_ns: list[int] = field(default_factory=list)
    #: Attempts of a pair that were given up and not overtaken by a later one: how many, and when the last began.
    _given_up: dict[int, tuple[int, int]] = field(default_factory=dict)
    next_mark: int = 0
    #: The number of connections from which the next round trip is asked for.
    next_network: int = 1
    _pair_closed: list[int] = field(default_factory=list)
    #: The two copies of counters and errors in the block, and the count that says which of them is whole.
    _totals: tuple[tuple[memoryview, memoryview], ...] = ()
    _updates: Any = None
    _error_slots: dict[int, int] = field(default_factory=dict)
    #: By slot: failures and losses of each kind.
    _errors: array[int] = _NO_ERRORS
    #: The two copies of the breakdown in the block, and the count that says which of them is whole.
    _breakdowns: tuple[memoryview, ...] = ()
    _breakdown_updates: Any = None
    latencies: Latencies = field(default_factory=Latencies)
    _marks: int = 0
    #: In the block: when each hundredth was complete, and the worker's CPU time then.
    _marks_ns: Any = None
    _marks_cpu_ns: Any = None

    def __post_init__(self) -> None:
        pairs = self._block["breakdowns"]["pairs"].shape[1]
        # Plain memory: through numpy, reading and writing one field takes longer than all the rest of `publish`.
        block = np.asarray(self._block)
        self._updates, self._breakdown_updates = int64(block["updates"]), int64(block["breakdown_updates"])
        self._marks_ns, self._marks_cpu_ns = int64(block["marks_ns"]), int64(block["marks_cpu_ns"])
        totals = (self._block["totals"][copy] for copy in (0, 1))
        self._totals = tuple((int64(one["counters"]), int64(one["errors"])) for one in totals)
        self._breakdowns = tuple(int64(self._block["breakdowns"][copy : copy + 1].view("i8")) for copy in (0, 1))
        self.pair_established, self.pair_failed, self.pair_opened_ns, self._pair_closed = (
            [0] * pairs for _ in range(4)
        )
        self._errors = _NO_ERRORS[:]
        self.next_mark = self._mark_after(0)

    def begin_batch(self, attempts: int) -> tuple[array[int], array[int], array[int], int]:
        """Return where the connector may write the latencies of its next attempts, see Latencies.begin_batch."""
        return self.latencies.begin_batch(attempts)

    def end_batch(self, started: int, pending: int, at_ns: int, *, scheduled: bool) -> None:
        """Take over what the connector counted in its own variables during a batch.

        pending: the first free position after the latencies that were written, see Latencies.begin_batch; at_ns: the
        last connection's instant.
        """
        established = self.latencies.end_batch(pending, scheduled=scheduled)
        self.started += started
        self.established += established
        self.open += established
        if self.open > self.open_peak:
            self.open_peak = self.open
        if established:
            self.last_established_ns = at_ns

    def mark(self, more: int, at_ns: int) -> int:
        """`more` connections of this batch are established: note the hundredths they complete.

        Returns: how many connections of this batch complete the next one.
        """
        if self.port_use is not None:
            return self._mark_port_use(self.port_use, more, at_ns)
        while self.established + more >= self.next_mark:
            self._marks_ns[self._marks] = at_ns
            self._marks_cpu_ns[self._marks] = thread_time_ns()
            self._marks += 1
            self.next_mark = self._mark_after(self._marks)
        return self.next_mark - self.established

    def _mark_port_use(self, port_use: PortUse, more: int, at_ns: int) -> int:
        established = self.established + more
        if established >= self.next_mark:
            port_use.note(
                at_ns,
                thread_time_ns(),
                established=established,
                open_now=self.open + more,
                closed=self.closed,
                denials=self.denials,
            )
            self.next_mark = established + port_use.step
        return self.next_mark - self.established

    def record_established(self, pair: int, due_ns: int, started_ns: int, established_ns: int) -> None:
        """Count one connection that had to wait for its answer. due_ns 0: nothing was scheduled."""
        lateness, connect, arrival, n = self.latencies.begin_batch(1)
        connect[n] = established_ns - started_ns
        if due_ns:
            lateness[n] = started_ns - due_ns
            arrival[n] = established_ns - due_ns
        self.pair_established[pair] += 1
        self.pair_opened_ns[pair] = max(started_ns, self.pair_opened_ns[pair])
        self.mark(1, established_ns)
        self.end_batch(0, n + 1, established_ns, scheduled=due_ns > 0)

    def record_failed(self, pair: int, key: int) -> None:
        """Count an attempt that ended without a connection; `key` is the `error_key` of why."""
        self.failed += 1
        self.pair_failed[pair] += 1
        self._count_error(key)

    def record_given_up(self, pair: int, started_ns: int) -> None:
        """Note an attempt that has waited for too long: does a later one of its pair open, or none any more?"""
        if started_ns < self.pair_opened_ns[pair]:
            self.overtaken += 1
        else:
            count, last_ns = self._given_up.get(pair, (0, 0))
            self._given_up[pair] = count + 1, max(started_ns, last_ns)

    def _settle_given_up(self) -> None:
        for pair, (count, last_ns) in tuple(self._given_up.items()):
            if last_ns < self.pair_opened_ns[pair]:
                self.overtaken += count
                del self._given_up[pair]

    def record_lost(self, pair: int, key: int) -> None:
        """Count a held connection that the other side or the network has ended; `key` is the `error_key` of why."""
        self.lost += 1
        self.open -= 1
        self._pair_closed[pair] += 1
        self._count_error(key)

    def record_closed(self, pairs: Sequence[int]) -> None:
        """Count connections of these pairs that ended as planned, no matter which side closed them."""
        self.open -= len(pairs)
        self.closed += len(pairs)
        pair_closed = self._pair_closed
        for pair in pairs:
            pair_closed[pair] += 1

    @property
    def record_exchange(self) -> Callable[[int], None]:
        """Counts a reply that was read in full, by the nanoseconds of its exchange.

        Itself the append() of a list, as for `record_bind`: a method here would add a third of a microsecond to what
        takes but a few. `publish_all` sorts them, ten times a second.
        """
        return self.latencies.writer(Latency.EXCHANGE)

    @property
    def record_bind(self) -> Callable[[int], None]:
        """Counts a bind() that takes a port, whether it found one or not, by its nanoseconds; see `record_exchange`."""
        return self.latencies.writer(Latency.BIND)

    def record_network(self, took_ns: int) -> None:
        """Count the round trip of the handshake of one connection, as the kernel measured it."""
        self.latencies.add(Latency.NETWORK, took_ns)

    def record_handshake(self, took_ns: int, *, resumed: bool) -> None:
        """Count a TLS handshake that is done."""
        self.resumed += resumed
        self.latencies.add(Latency.HANDSHAKE, took_ns)

    def record_lag(self, lag_ns: int) -> None:
        """Count how late the worker's own event loop was."""
        self.latencies.add(LAG, lag_ns)

    def publish(self) -> None:
        """Show counters and errors to the orchestrator, all at once; a microsecond, so once per batch.

        See `loadgen.results.copies` for the order.
        """
        updates = self._updates[0] + 1
        counters, errors = self._totals[updates & 1]
        counters[:] = array("q", _counts(self))
        errors[:] = self._errors
        self._updates[0] = updates

    def publish_all(self) -> None:
        """`publish`, and then what costs more: the same counts by pair, and the latencies.

        Call it between batches, when every connection that was counted has its pair and its latency.
        """
        self.latencies.sort()
        if self._given_up:
            self._settle_given_up()
        self.publish()
        updates = self._breakdown_updates[0] + 1
        breakdown = self._breakdowns[updates & 1]
        # The layout of `loadgen.results.block.breakdown_dtype`: the columns of PairColumn, the latencies, the lag.
        opened = map(sub, self.pair_established, self._pair_closed)
        pairs = array("q", chain.from_iterable(zip(self.pair_established, self.pair_failed, opened, strict=True)))
        breakdown[: len(pairs)] = pairs
        self.latencies.show(breakdown[len(pairs) :])
        self._breakdown_updates[0] = updates

    def _mark_after(self, marks: int) -> int:
        """Return the number of connections that make the next hundredth; out of reach when all are marked."""
        if self.port_use is not None:
            return self.port_use.step
        if self.scheduled is None or marks == MARKS:
            return sys.maxsize
        return -(-self.scheduled * (marks + 1) // MARKS)

    def _count_error(self, key: int) -> None:
        slot = self._error_slots.get(key)
        if slot is None:
            if len(self._error_slots) >= ERROR_KINDS - 1:
                key = OTHER_KEY
            slot = self._error_slots.setdefault(key, len(self._error_slots))
            self._block["error_keys"][slot] = key  # before its first count is shown
        self._errors[slot] += 1
