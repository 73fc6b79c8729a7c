"""Counters over all runs of a command, which never go backwards, as Prometheus expects of a counter.

A line has the totals of its run, and each run of a matrix begins at 0; so the totals of earlier runs are kept and
added. Latencies are new in each line and simply summed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.results import histogram
from loadgen.results.schema.counters import SERIES_COUNTERS
from loadgen.results.schema.line import LatencyNs, Line, SinkKernelLine

Key = tuple[str, ...]

_TIME_WAIT: Final = ("TcpExt.TW", "TcpExt.TWRecycled", "TcpExt.TCPTimeWaitOverflow")


class Totals:
    """Running totals over one run after another, by key.

    (name,) for the counters of a line, "cpu_s" and "sink_accepted"; ("error", syscall, errno, outcome);
    ("kernel", side, counter).
    Histograms in nanoseconds, int64 (BUCKETS,): each latency by its kind, and the lag of the workers' loops as "lag".
    """

    def __init__(self) -> None:
        self._earlier: dict[Key, float] = {}
        self._run: dict[Key, float] = {}
        self._earlier_histograms: dict[str, NDArray[np.int64]] = {}
        self._run_histograms: dict[str, NDArray[np.int64]] = {}

    def next_run(self) -> None:
        """Begin a run: its lines are counted from 0 again."""
        self._earlier = self.now()
        self._earlier_histograms = {kind: self.histogram(kind) for kind in self._kinds()}
        self._run, self._run_histograms = {}, {}

    def add(self, line: Line) -> None:
        """Take a line of the series."""
        for key, value in _counts(line).items():
            self._run[key] = max(self._run.get(key, 0), value)
        latencies = {kind: line.latency_ns.of(kind) for kind in LatencyNs.__struct_fields__}
        for kind, counts in (latencies | {"lag": line.lag_ns}).items():
            if kind not in self._run_histograms:
                self._run_histograms[kind] = histogram.dense({})
            histogram.accumulate(self._run_histograms[kind], counts)

    def now(self) -> dict[Key, float]:
        """All there are, by key."""
        return {key: self.of(key) for key in self._earlier.keys() | self._run.keys()}

    def of(self, key: Key) -> float:
        """One of them; 0 when it was never counted."""
        return self._earlier.get(key, 0) + self._run.get(key, 0)

    def histogram(self, kind: str) -> NDArray[np.int64]:
        """Of all runs; 0 everywhere when nothing was measured."""
        return self._earlier_histograms.get(kind, 0) + self.of_run(kind)

    def of_run(self, kind: str) -> NDArray[np.int64]:
        """Of the latest run alone."""
        return self._run_histograms.get(kind, histogram.dense({}))

    def _kinds(self) -> set[str]:
        return self._earlier_histograms.keys() | self._run_histograms.keys()


def _counts(line: Line) -> dict[Key, float]:
    counts: dict[Key, float] = {(row.name,): getattr(line, row.name) for row in SERIES_COUNTERS}
    counts[("cpu_s",)] = line.cpu_s
    counts |= {("error", error.syscall, error.errno, error.outcome): error.times for error in line.errors}
    if line.sink:
        counts[("sink_accepted",)] = line.sink.accepted
    for side, kernel in sides(line).items():
        counts |= {("kernel", side, name): kernel.delta[name] for name in _TIME_WAIT if name in kernel.delta}
    return counts


def sides(line: Line) -> dict[str, SinkKernelLine]:
    """The kernel's counts in the namespace of the clients, and of the sinks where that is another."""
    return {"clients": line.kernel} | ({"sinks": line.kernel.sink} if line.kernel.sink else {})
