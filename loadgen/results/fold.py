"""The figures that the summary of a run needs of its series, gathered line by line: constant memory at any length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.model import Phase
from loadgen.results import histogram
from loadgen.results.block import Latency
from loadgen.results.course import Course
from loadgen.results.schema.kernel import States
from loadgen.results.schema.line import LatencyNs, Line, SamplingLine, SinkKernelLine, SinkLine

#: The line before the first, and what a run left that wrote none.
NOTHING: Final = Line(t_s=0.0, phase=Phase.RAMP, pairs=(), latency_ns=LatencyNs(), lag_ns={})
#: While connections are being opened.
_OPENING: Final = frozenset({Phase.RAMP, Phase.CHURN})
#: Two lines closer than this are a change of phase beside an interval: too short to make a rate of.
_SHORT_S: Final = 0.05


@dataclass(slots=True)
class KernelFold:
    """The counters of one namespace.

    delta: what was added to each counter. peak: of each gauge. opening, ramp_peak: the same up to the last line on
    which connections were opened, for what the run's own closing moves stopped nothing. states: sockets by state when
    they were most, and when.
    """

    seen: bool = False
    delta: Mapping[str, int] = field(default_factory=dict)
    opening: Mapping[str, int] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    ramp_peak: dict[str, int] = field(default_factory=dict)
    states: States | None = None
    _fullest: int = -1

    def add(self, line: Line, kernel: SinkKernelLine) -> None:
        """Take a sample."""
        self.seen = True
        # The last lines may have none: a second Ctrl-C ends the process through which the namespace is read.
        self.delta = kernel.delta
        if line.phase in _OPENING:
            self.opening = kernel.delta
        for name, value in kernel.now.items():
            self.peak[name] = max(value, self.peak.get(name, 0))
            if line.phase in _OPENING:
                self.ramp_peak[name] = max(value, self.ramp_peak.get(name, 0))
        if kernel.states and (count := sum(kernel.states.values())) > self._fullest:  # the first of equals
            at_s = round(max(line.t_s - (kernel.states_age_s or 0.0), 0.0), 3)
            self._fullest, self.states = count, States(t_s=at_s, counts=dict(kernel.states))


class Fold:
    """The figures of a series up to the line that was added last."""

    def __init__(self) -> None:
        self.last: Line | None = None
        #: The last line of each phase.
        self.ends: dict[Phase, Line] = {}
        self.open_peak = 0
        #: Of the intervals in which connections were opened, per second.
        self.rate_peak = 0.0
        #: The longest time between two lines.
        self.gap_s = 0.0
        #: The whole histogram of each latency, and then that of the lag: int64 (len(Latency) + 1, BUCKETS).
        self.histograms: NDArray[np.int64] = np.zeros((len(Latency) + 1, histogram.BUCKETS), dtype=np.int64)
        self.latency, self.lag = self.histograms[:-1], self.histograms[-1]
        #: Most connections open at a time, of each pair: int64 (pairs,).
        self.pair_peaks: NDArray[np.int64] | None = None
        self.sink: SinkLine | None = None
        self.sink_open_peak = 0
        self.kernel, self.kernel_at_sinks, self.kernel_at_gateway = KernelFold(), KernelFold(), KernelFold()
        #: The part in which a run churned or held, for its steady part.
        self.course = Course()
        #: The last that a line says about sampling, and when.
        self.sampling: tuple[SamplingLine, float] | None = None

    @classmethod
    def of(cls, series: Iterable[Line]) -> Fold:
        """Return the fold of a series. Raises: ValueError as `add`."""
        fold = cls()
        for line in series:
            fold.add(line)
        return fold

    def end_of(self, *phases: Phase) -> Line:
        """Return the last line of the first of these phases that the run came to; NOTHING if it came to none."""
        return next((self.ends[phase] for phase in phases if phase in self.ends), NOTHING)

    def add(self, line: Line) -> None:
        """Take the next line. Raises: ValueError if it is about other pairs than the lines before."""
        before = self.last or NOTHING
        took_s = line.t_s - before.t_s
        if line.phase in _OPENING and took_s > _SHORT_S:
            self.rate_peak = max(self.rate_peak, (line.established - before.established) / took_s)
        self.gap_s = max(self.gap_s, took_s)
        self.open_peak = max(self.open_peak, line.open_peak or line.open)
        for row in Latency:
            histogram.accumulate(self.latency[row], line.latency_ns.of(row.name.lower()))
        histogram.accumulate(self.lag, line.lag_ns)
        self._add_pairs(line)
        self.course.add(line)
        if line.sink:
            self.sink = line.sink
            self.sink_open_peak = max(self.sink_open_peak, line.sink.open)
        if line.kernel:
            self.kernel.add(line, line.kernel)
        if line.kernel.sink:
            self.kernel_at_sinks.add(line, line.kernel.sink)
        if line.kernel.gateway:
            self.kernel_at_gateway.add(line, line.kernel.gateway)
        if line.kernel.sampling:
            self.sampling = line.kernel.sampling, line.t_s
        self.last = self.ends[line.phase] = line

    def _add_pairs(self, line: Line) -> None:
        opened = np.fromiter((pair.open for pair in line.pairs), dtype=np.int64, count=len(line.pairs))
        if self.pair_peaks is None:
            self.pair_peaks = opened
        elif len(opened) != len(self.pair_peaks):
            raise ValueError(f"{len(opened):,} pairs, the lines before have {len(self.pair_peaks):,}")
        else:
            np.maximum(self.pair_peaks, opened, out=self.pair_peaks)
