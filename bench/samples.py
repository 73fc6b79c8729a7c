"""What one program did once, and all that was done for a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.cases import REFERENCE, Case


@dataclass(frozen=True, slots=True)
class Holding:
    """What it costs to hold connections, from one second after the last was opened to the last second.

    workers_cpu_per_s, sinks_cpu_per_s: CPU seconds per second, all processes of the kind together.
    worker_bytes, sink_bytes: Pss of one process of the kind, on average. connections: how many were held;
    workers, sinks: by how many processes on either side.
    """

    connections: int
    workers: int
    sinks: int
    workers_cpu_per_s: float
    sinks_cpu_per_s: float
    worker_bytes: float
    sink_bytes: float


@dataclass(frozen=True, slots=True)
class Recording:
    """CPU time of a worker's data plane for a connection, in microseconds; the first and the last do the same."""

    recording_us: float
    without_us: float
    control_us: float


@dataclass(frozen=True, slots=True)
class Watching:
    """One look at all sockets of the namespace: how many there were, how long reading and grouping them took."""

    sockets: int
    groups: int
    dump_s: float
    group_s: float

    @property
    def sockets_per_s(self) -> float:
        """Read and grouped, one after the other."""
        return self.sockets / (self.dump_s + self.group_s)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one program did once. tenths_s: how long each tenth of the connections took, empty if unknown.

    cost_us: CPU time of the opening processes for a connection. connect_*_us: connect() called to known
    established; lateness_*_us: due to connect() called, None in a closed loop. Where several C clients ran,
    percentiles are the median of theirs. peak: connections the C sinks held at once,
    all together; None when they were not the sinks. memory_bytes: the most that all loadgen's processes
    together took, the kernel's part not included; None when nobody looked.
    """

    program: str
    rate_per_s: float
    established: int
    failed: int
    lost: int
    tenths_s: tuple[float, ...] = ()
    cpu_s: float | None = None
    cost_us: float | None = None
    connect_p50_us: float | None = None
    connect_p99_us: float | None = None
    lateness_p50_us: float | None = None
    lateness_p99_us: float | None = None
    peak: int | None = None
    memory_bytes: int | None = None
    holding: Holding | None = None
    note: str = ""

    def trouble(self, case: Case) -> str:
        """Why this sample must not be read as a speed; empty when it may."""
        # Churn by loadgen ends with its time, not with a number; and nobody holds what is closed at once.
        by_time = bool(case.churn_s) and self.program != REFERENCE
        if self.failed or self.lost or (self.established != case.connections and not by_time):
            wanted = "" if by_time else f" of {case.connections:,}"
            return (
                f"{self.established:,}{wanted} established, {self.failed:,} failed, "
                f"{self.lost:,} lost{'; ' + self.note if self.note else ''}"
            )
        if self.peak is not None and self.peak != case.connections and not case.churn_s:
            return f"the sinks never held more than {self.peak:,} of {case.connections:,} at once"
        return ""


@dataclass(slots=True)
class Result:
    """All samples of one case, round by round; a list is empty where the case has none of the kind."""

    case: Case
    baseline: list[Sample] = field(default_factory=list)
    loadgen: list[Sample] = field(default_factory=list)
    recording: list[Recording] = field(default_factory=list)
    watching: list[Watching] = field(default_factory=list)

    @property
    def measured(self) -> tuple[Sequence[Sample | Recording | Watching], ...]:
        """Everything, each kind round by round."""
        return self.baseline, self.loadgen, self.recording, self.watching
