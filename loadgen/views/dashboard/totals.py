"""Counters of everything that was run, which never go backwards: what Prometheus expects of a counter.

A line has the totals of its run, and each run of a matrix begins at nothing; so what earlier runs came to is kept and
added. Latencies are new in each line and simply summed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

Key = tuple[str, ...]

#: Running totals in a line of the series, by the name they have there.
COUNTED: Final = (
    "started",
    "established",
    "failed",
    "not_started",
    "lost",
    "retried",
    "closed",
    "beats",
    "missed",
    "wrong",
    "cpu_s",
)
_TIME_WAIT: Final = ("TcpExt.TW", "TcpExt.TWRecycled", "TcpExt.TCPTimeWaitOverflow")


class Totals:
    """Running totals over one run after another, by key.

    (name,) for those of `COUNTED` and "sink_accepted", ("error", syscall, errno, outcome), ("kernel", side, counter).
    Sparse histograms in nanoseconds: each latency by its kind, and the lag of the workers' loops as "lag".
    """

    def __init__(self) -> None:
        self._earlier: dict[Key, float] = {}
        self._run: dict[Key, float] = {}
        self._earlier_histograms: dict[str, Counter[str]] = {}
        self._run_histograms: dict[str, Counter[str]] = {}

    def next_run(self) -> None:
        """What comes now is counted from 0 again."""
        self._earlier = self.now()
        self._earlier_histograms = {kind: self.histogram(kind) for kind in self._kinds()}
        self._run, self._run_histograms = {}, {}

    def add(self, line: dict[str, Any]) -> None:
        """Take a line of the series."""
        for key, value in _counts(line).items():
            self._run[key] = max(self._run.get(key, 0), value)
        for kind, counts in {**line["latency_ns"], "lag": line["lag_ns"]}.items():
            self._run_histograms.setdefault(kind, Counter()).update(counts)

    def now(self) -> dict[Key, float]:
        """All there are, by key."""
        return {key: self.of(key) for key in self._earlier.keys() | self._run.keys()}

    def of(self, key: Key) -> float:
        """One of them; 0 when it was never counted."""
        return self._earlier.get(key, 0) + self._run.get(key, 0)

    def histogram(self, kind: str) -> Counter[str]:
        """Of all runs; empty when nothing was measured."""
        return self._earlier_histograms.get(kind, Counter()) + self.of_run(kind)

    def of_run(self, kind: str) -> Counter[str]:
        """Of the latest run alone."""
        return self._run_histograms.get(kind, Counter())

    def _kinds(self) -> set[str]:
        return self._earlier_histograms.keys() | self._run_histograms.keys()


def _counts(line: dict[str, Any]) -> dict[Key, float]:
    found: dict[Key, float] = {(name,): line[name] for name in COUNTED if name in line}
    found |= {("error", syscall, number, outcome): count for syscall, number, outcome, count in line["errors"]}
    if line["sink"]:
        found[("sink_accepted",)] = line["sink"]["accepted"]
    for side, kernel in sides(line).items():
        for name in _TIME_WAIT:
            if name in kernel.get("delta", {}):
                found[("kernel", side, name)] = kernel["delta"][name]
    return found


def sides(line: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the kernel says of the clients' namespace, and of the sinks' where that is another."""
    kernel = line["kernel"]
    return {"clients": kernel} | ({"sinks": kernel["sink"]} if kernel.get("sink") else {})
