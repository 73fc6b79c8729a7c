"""The figures that both views show, from a plan and the lines of its series: arithmetic without a clock.

Counts are those of the line. Rates and latencies are of the time since the line before; lines
closer together than `STEP_S_MIN` (a change of phase writes one of its own) are taken as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.capacity.demands import second_of
from loadgen.clock import NS_PER_US
from loadgen.model import Phase, Plan
from loadgen.results import histogram
from loadgen.results.schema.line import Line
from loadgen.views.live import schedule
from loadgen.views.live.occupancy import Occupancy, Spaces
from loadgen.views.live.schedule import TimeLeft

STEP_S_MIN: Final = 0.05
#: The histograms that are shown, the generator's own lag beside those of `latency_ns`.
LATENCIES: Final = ("bind", "connect", "handshake", "exchange", "lateness")
_LAG: Final = "lag"


@dataclass(frozen=True, slots=True)
class MedianAndTail:
    """Median and 99th percentile of what was measured, in microseconds."""

    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures and losses of one kind: how many, and how many per second now."""

    syscall: str
    errno: str
    outcome: str
    count: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """Changes between two lines; the defaults are of a run without any.

    established_per_s, settled_per_s, closed_per_s: attempts that succeeded, that came to their end, and by how much
    fewer connections are open. failures_per_s: by system call, errno and outcome. cpu_cores: CPU time of all workers,
    in cores; None when it is not known. spreads: by name; a name is missing where nothing was measured.
    """

    established_per_s: float = 0.0
    settled_per_s: float = 0.0
    failed_per_s: float = 0.0
    closed_per_s: float = 0.0
    failures_per_s: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    cpu_cores: float | None = None
    spreads: Mapping[str, MedianAndTail] = field(default_factory=dict)

    @classmethod
    def between(cls, before: Line | None, line: Line, counts: Mapping[str, NDArray[np.int64]]) -> Pace:
        """From a line, or from the start, to a later one. counts: what was measured in between, by name."""
        elapsed_s = line.t_s - (before.t_s if before else 0.0)

        def grown(count: float, count_before: float) -> float:
            return float((count - count_before) / elapsed_s)

        failures_before = _failures(before) if before else {}
        return cls(
            established_per_s=grown(line.established, before.established if before else 0),
            settled_per_s=grown(schedule.settled(line), schedule.settled(before) if before else 0),
            failed_per_s=grown(line.failed, before.failed if before else 0),
            closed_per_s=-grown(line.open, before.open if before else 0),
            failures_per_s={
                kind: grown(count, failures_before.get(kind, 0)) for kind, count in _failures(line).items()
            },
            # Before the first line the workers' own start is in it.
            cpu_cores=grown(line.cpu_s, before.cpu_s) if before else None,
            spreads={name: _spread(values) for name, values in counts.items() if values.any()},
        )


@dataclass(frozen=True, slots=True)
class TimeWait:
    """Sockets in TIME-WAIT here and, where they have a namespace of their own, at the sinks; and those taken over."""

    here: int
    at_sinks: int | None
    recycled: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures at one line.

    line: itself, for its plain counts. share: of the phase that is done. due_per_s: what the schedule asks for now;
    None without one, or when nothing more is to be started. time_wait: None where the kernel was not asked.
    """

    line: Line
    phase: Phase
    share: float
    left: TimeLeft | None
    pace: Pace
    due_per_s: float | None
    failures: tuple[Failures, ...]
    occupancy: Occupancy
    time_wait: TimeWait | None

    @property
    def t_s(self) -> float:
        """Seconds since the start."""
        return self.line.t_s

    @property
    def lag(self) -> MedianAndTail | None:
        """How late the workers' event loops were."""
        return self.pace.spreads.get(_LAG)


class Recall:
    """Makes the figures of a plan's lines, one after the other, and keeps the state that the next ones need."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._before: Line | None = None
        self._latest: Line | None = None
        self._began_s = 0.0
        self._pace = Pace()
        self._counts: dict[str, NDArray[np.int64]] = {}

    def pass_over(self, line: Line) -> None:
        """Take a line that is not shown: its measurements belong to the next."""
        if self._latest is None:
            self._began_s = line.t_s
        elif self._latest.phase is not line.phase:
            self._began_s = self._latest.t_s  # every phase ends with a line
        self._latest = line
        measured = {name: line.latency_ns.of(name) for name in LATENCIES}
        for name, sparse in (measured | {_LAG: line.lag_ns}).items():
            if name not in self._counts:
                self._counts[name] = np.zeros(histogram.BUCKETS, dtype=np.int64)
            histogram.accumulate(self._counts[name], sparse)

    def figures(self, plan: Plan, line: Line) -> Figures:
        """Return the figures of the next line."""
        self.pass_over(line)
        if plan is not self._plan:
            self._prepare(plan)
        since_s = self._before.t_s if self._before else 0.0
        if line.t_s - since_s > STEP_S_MIN:
            self._pace = Pace.between(self._before, line, self._counts)
            self._before, self._counts = line, {}
        pace = self._pace
        return Figures(
            line=line,
            phase=line.phase,
            share=schedule.share(plan, line, began_s=self._began_s),
            left=schedule.left(
                plan,
                line,
                began_s=self._began_s,
                last_due_s=self._last_due_s,
                settled_per_s=pace.settled_per_s,
                closed_per_s=pace.closed_per_s,
            ),
            pace=pace,
            due_per_s=_due_per_s(plan, line, since_s),
            failures=tuple(
                Failures(*kind, count, pace.failures_per_s.get(kind, 0.0)) for kind, count in _failures(line).items()
            ),
            occupancy=self._spaces.occupancy(line.pairs),
            time_wait=_time_wait(line),
        )

    def _prepare(self, plan: Plan) -> None:
        """Compute the values that are the same for every line of a plan."""
        self._plan, self._spaces = plan, Spaces(plan)
        self._last_due_s = None if plan.churn else second_of(plan, plan.connections - 1)


def _failures(line: Line) -> dict[tuple[str, str, str], int]:
    """By system call, errno and outcome, most frequent first."""
    return {(error.syscall, error.errno, error.outcome): error.times for error in line.errors}


def _spread(counts: NDArray[np.int64]) -> MedianAndTail:
    return MedianAndTail(
        histogram.quantile_ns(counts, 0.5) / NS_PER_US, histogram.quantile_ns(counts, 0.99) / NS_PER_US
    )


def _due_per_s(plan: Plan, line: Line, since_s: float) -> float | None:
    """In the middle between two lines: within a stage the mean of the time between them."""
    if line.phase not in (Phase.RAMP, Phase.CHURN):
        return None
    if plan.scheduled is not None and line.started + line.not_started >= plan.scheduled:
        return None
    return schedule.due_per_s(plan.stages, (line.t_s + since_s) / 2)


def _time_wait(line: Line) -> TimeWait | None:
    kernel = line.kernel
    if not kernel:
        return None
    return TimeWait(
        here=kernel.now.get("sockstat.tcp_tw", 0),
        at_sinks=kernel.sink.now.get("sockstat.tcp_tw", 0) if kernel.sink else None,
        recycled=kernel.delta.get("TcpExt.TWRecycled", 0),
    )
