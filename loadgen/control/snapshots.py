"""The blocks of all workers added up: one line of series.jsonl.

A line holds running totals, so that the last line alone says where a run stood, except for the
histograms, which are what is new since the line before: a report can then draw latency over time,
and adding all lines up gives the whole. Nothing else is kept in memory by the orchestrator, and
nothing that the summary needs is missing from the lines; a run whose orchestrator was killed is
summed up from the very same data.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.model import Phase
from loadgen.outcomes import describe
from loadgen.processes.shared_memory import Blocks
from loadgen.results import histogram
from loadgen.results.block import (
    MARKS,
    OTHER_KEY,
    TENTHS,
    Latency,
    PairColumn,
    consistent_breakdown,
    consistent_totals,
)
from loadgen.results.schema.counters import POSITION, SERIES_COUNTERS
from loadgen.results.schema.line import (
    UNREAD,
    ErrorTally,
    KernelLine,
    LatencyNs,
    Line,
    PairTally,
    SinkLine,
    WorkersAlive,
)
from loadgen.results.schema.sides import NotAttributed

# Columns of the counters of all workers.
_CPU_NS: Final = POSITION["cpu_ns"]
_ESTABLISHED: Final = POSITION["established"]
_FAILED: Final = POSITION["failed"]
_ESTABLISHED_THEN: Final = POSITION["established_then"]
_FIRST_DENIED_NS: Final = POSITION["first_denied_ns"]
_FIRST_STARTED_NS: Final = POSITION["first_started_ns"]
_LAST_ESTABLISHED_NS: Final = POSITION["last_established_ns"]
_NOT_STARTED: Final = POSITION["not_started"]
_OPEN: Final = POSITION["open"]
_STARTED: Final = POSITION["started"]
_OVERTAKEN: Final = POSITION["overtaken"]
_USER_CPU_NS: Final = POSITION["user_cpu_ns"]
_STARTED_CPU_NS: Final = POSITION["started_cpu_ns"]

#: Latencies that a line has only where they were measured since the line before.
_OF_SOME_RUNS: Final = ("bind", "network")


def tenths_s(marks_ns: NDArray[np.int64], sizes: Sequence[int], start_ns: int) -> list[float]:
    """When each tenth of all connections was established, in seconds after `start_ns`, as far as reached.

    marks_ns: int64 (workers, MARKS), the instants of each worker's own hundredths, 0 where not reached.
    sizes: connections of each worker. Every mark stands for its worker's size / MARKS connections.
    """
    weights = np.repeat(np.asarray(sizes, dtype=np.float64) / MARKS, MARKS)
    flat = marks_ns.reshape(-1)
    order = np.argsort(flat, kind="stable")
    order = order[flat[order] > 0]
    reached = np.cumsum(weights[order])
    # Half a connection of slack: the sum of many hundredths is not exact in binary.
    goals = sum(sizes) * np.arange(1, TENTHS + 1) / TENTHS - 0.5
    positions = np.searchsorted(reached, goals)
    return [
        round((int(flat[order[position]]) - start_ns) / NS_PER_S, 6) for position in positions if position < len(order)
    ]


def cost_us(marks_cpu_ns: NDArray[np.int64], started_cpu_ns: NDArray[np.int64], sizes: Sequence[int]) -> list[float]:
    """CPU time that a connection cost its worker, in each tenth of the worker's connections, as far as reached.

    marks_cpu_ns: int64 (workers, MARKS), CPU time at each hundredth, 0 where not reached;
    started_cpu_ns: int64 (workers,), at the first attempt; sizes: connections of each worker.

    Returns: microseconds per connection, of all workers that have finished the tenth.
    """
    ends = marks_cpu_ns[:, MARKS // TENTHS - 1 :: MARKS // TENTHS]
    begins = np.column_stack([started_cpu_ns, ends[:, :-1]])
    share = np.asarray(sizes, dtype=np.float64) / TENTHS
    costs = []
    for tenth in range(TENTHS):
        reached = (ends[:, tenth] > 0) & (share > 0)
        if not reached.any():
            break
        spent = (ends[reached, tenth] - begins[reached, tenth]).sum()
        costs.append(round(float(spent / share[reached].sum()) / NS_PER_US, 2))
    return costs


def cost_us_by_port_use(spent: NDArray[np.int64]) -> list[float]:
    """CPU time that a connection cost its worker, in each tenth of the ports in use, as far as known without a gap.

    spent: int64 (workers, TENTHS, 2), CPU nanoseconds and connections, both 0 where a worker does not know.
    """
    cpu_ns, connections = spent.sum(axis=0).T
    known = int(np.argmin(connections)) if not connections.all() else TENTHS
    return [round(float(cost) / NS_PER_US, 2) for cost in cpu_ns[:known] / connections[:known]]


def _latency_ns(counts: NDArray[np.int64]) -> LatencyNs:
    """Return the rows of int64 (len(Latency), BUCKETS) by name, without those that not every run has."""
    measured = {row.name.lower(): histogram.sparse(counts[row]) for row in Latency}
    return LatencyNs(**{name: found for name, found in measured.items() if found or name not in _OF_SOME_RUNS})


class Snapshots:
    """Turns worker blocks into series lines, one call per line.

    sizes: connections planned for each worker; the blocks are in the same order. capacity: connections that the ports
    allow; None: of a plan without churn.
    """

    def __init__(self, blocks: Blocks, sizes: Sequence[int], *, start_ns: int, capacity: int | None = None) -> None:
        self._records = blocks.records
        self._sizes = sizes
        self._start_ns = start_ns
        self._latency = np.zeros((len(Latency), histogram.BUCKETS), dtype=np.int64)
        self._lag = np.zeros(histogram.BUCKETS, dtype=np.int64)
        self._lost: list[int] = []
        self._capacity = capacity
        self._in_use_max: int | None = None  # ports, by the kernel's gauge; None: it was never read

    def lose(self, index: int) -> int:
        """A worker is gone: what it had not started never will be, and what it held the kernel has closed.

        Returns: how many connections it held.
        """
        held = int(self.counters()[index, _OPEN])
        self._lost.append(index)
        return held

    def counters(self) -> NDArray[np.int64]:
        """Return int64 (workers, counters in the order of WORKER_COUNTERS), each row consistent in itself."""
        return self._counters(self._totals())

    def first_started_ns(self) -> int | None:
        """Return when the first worker began its first attempt, on CLOCK_MONOTONIC; None: none has yet."""
        begun = self.counters()[:, _FIRST_STARTED_NS]
        return int(begun[begun > 0].min()) if begun.any() else None

    def _totals(self) -> list[Any]:
        return [consistent_totals(record) for record in self._records]

    def _counters(self, totals: Sequence[Any]) -> NDArray[np.int64]:
        counters = np.array([one["counters"] for one in totals])
        for index in self._lost:
            counters[index, _NOT_STARTED] = max(self._sizes[index] - counters[index, _STARTED], 0)
            counters[index, _OPEN] = 0
        return counters

    def take(
        self,
        phase: Phase,
        at_ns: int,
        *,
        workers: WorkersAlive | None = None,
        sink: SinkLine | None = None,
        kernel: KernelLine = UNREAD,
    ) -> Line:
        """Return the line for this instant, with what is known outside the blocks."""
        broken_down = [consistent_breakdown(record) for record in self._records]
        totals = self._totals()  # after the breakdowns, so that it is never behind
        counters = self._counters(totals)
        total = counters.sum(axis=0).tolist()
        latency, lag = (sum(one[name] for one in broken_down) for name in ("latency", "lag"))
        pairs = self._pairs(broken_down)
        sustained_per_s, first_denied_s = self._sustained(counters, at_ns)
        line = Line(
            t_s=round(max(at_ns - self._start_ns, 0) / NS_PER_S, 6),  # an interrupt may come before the start
            phase=phase,
            scheduled=sum(self._sizes) or total[_STARTED],  # a closed loop has no schedule
            ramp_s=self._ramp_s(counters),
            sustained_per_s=sustained_per_s,
            first_denied_s=first_denied_s,
            tenths_s=tuple(tenths_s(self._records["marks_ns"], self._sizes, self._start_ns)),
            cost_us=tuple(self._cost_us(counters, kernel)),
            errors=self._errors(totals),
            pairs=tuple(PairTally(*row) for row in pairs.tolist()),
            not_attributed=_not_attributed(total, pairs) or UNSET,
            latency_ns=_latency_ns(latency - self._latency),
            lag_ns=histogram.sparse(lag - self._lag),
            cpu_s=round(total[_CPU_NS] / NS_PER_S, 3),
            user_cpu_s=round(total[_USER_CPU_NS] / NS_PER_S, 3),
            overtaken=total[_OVERTAKEN],
            worker_cpu_s=tuple((counters[:, _CPU_NS] / NS_PER_S).round(3).tolist()),
            workers=workers,
            sink=sink,
            kernel=kernel,
            **{row.name: total[POSITION[row.name]] for row in SERIES_COUNTERS},
        )
        self._latency, self._lag = latency, lag
        return line

    def _cost_us(self, counters: NDArray[np.int64], kernel: KernelLine) -> list[float]:
        """Return the cost by tenths of the connections; in churn by tenths of the ports that were in use.

        The workers compute which ports are in use from the time for which they should rest. No tenth is shown that
        the kernel's own gauge of TIME-WAIT never came to: there the other side closed first, or the table is full.
        """
        if not self._capacity:
            return cost_us(self._records["marks_cpu_ns"], counters[:, _STARTED_CPU_NS], self._sizes)
        if kernel:
            in_use = kernel.now.get("sockstat.tcp_tw", 0) + int(counters[:, _OPEN].sum())
            self._in_use_max = max(in_use, self._in_use_max or 0)
        costs = cost_us_by_port_use(self._records["port_use"])
        return costs if self._in_use_max is None else costs[: math.ceil(TENTHS * self._in_use_max / self._capacity)]

    def _ramp_s(self, counters: NDArray[np.int64]) -> float:
        """Seconds from the first attempt of any worker to the last connection established by any."""
        first = counters[:, _FIRST_STARTED_NS]
        last = int(counters[:, _LAST_ESTABLISHED_NS].max())
        if not last:
            return 0.0
        return round((last - int(first[first > 0].min())) / NS_PER_S, 6)

    def _sustained(self, counters: NDArray[np.int64], at_ns: int) -> tuple[float, float | None]:
        """Return the sustained rate after the ports ran out for the first time, and when they did.

        first_denied_s: seconds after the start, None if they never did. sustained_per_s: connections
        established per second after that, added up over the workers; before that every port is used for
        the first time, which says nothing about how soon it serves again. Ports that rest come back
        together, a pass over them at a time, so what counts is the time to the last connection: that is a
        whole number of rests. Only where there was no second pass yet it is the time to this instant.
        """
        columns = (_ESTABLISHED, _ESTABLISHED_THEN, _FIRST_STARTED_NS)
        established, then, first_started_ns = (counters[:, column] for column in columns)
        denied_ns, last_ns = counters[:, _FIRST_DENIED_NS], counters[:, _LAST_ESTABLISHED_NS]
        after = np.where(denied_ns > 0, established - then, established)
        until_ns = np.where((denied_ns > 0) & (2 * after < then), at_ns, last_ns)
        took_s = (until_ns - np.where(denied_ns > 0, denied_ns, first_started_ns)) / NS_PER_S
        rates = np.divide(after, took_s, out=np.zeros(len(after)), where=(took_s > 0) & (after > 0))
        first_ns = int(denied_ns[denied_ns > 0].min()) if denied_ns.any() else None
        first_s = None if first_ns is None else round((first_ns - self._start_ns) / NS_PER_S, 6)
        return round(float(rates.sum()), 3), first_s

    def _pairs(self, broken_down: Sequence[Any]) -> NDArray[np.int64]:
        """int64 (pairs, len(PairColumn)), all workers together."""
        pairs: NDArray[np.int64] = np.sum([one["pairs"] for one in broken_down], axis=0)
        for index in self._lost:
            pairs[:, PairColumn.OPEN] -= broken_down[index]["pairs"][:, PairColumn.OPEN]
        return pairs

    def _errors(self, totals: Sequence[Any]) -> tuple[ErrorTally, ...]:
        """Return every kind seen by any worker, the most frequent first."""
        kinds: Tally[int] = Tally()
        for record, one in zip(self._records, totals, strict=True):
            for slot in np.flatnonzero(one["errors"]):
                kinds[int(record["error_keys"][slot])] += int(one["errors"][slot])
        return tuple(
            ErrorTally(*(describe(key) if key != OTHER_KEY else ("any", "OTHER", "other")), count)
            for key, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
        )


def _not_attributed(total: Sequence[int], pairs: NDArray[np.int64]) -> NotAttributed | None:
    """Return what is in the totals and not broken down; None where that is nothing."""
    established = total[_ESTABLISHED] - int(pairs[:, PairColumn.ESTABLISHED].sum())
    failed = total[_FAILED] - int(pairs[:, PairColumn.FAILED].sum())
    return NotAttributed(established=established, failed=failed) if established or failed else None
