"""A line of series.jsonl: how a run stood at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from loadgen.model import Phase
from loadgen.results import histogram
from loadgen.results.schema.counters import SeriesCounters
from loadgen.results.schema.sides import Datagrams, NotAttributed, SinkSource
from loadgen.results.schema.values import Amount, Count, Shape

#: A histogram of nanoseconds as JSON has it: bucket -> count, see `loadgen.results.histogram`.
Sparse = Mapping[str, Annotated[int, Meta(ge=0, le=histogram.COUNT_MAX)]]


#: The value of a key that is not in the file; one that is there is written again even when it is empty.
_ABSENT: Final[Mapping[str, int]] = MappingProxyType({})


class ErrorTally(NamedTuple):
    """Failures and losses of one kind so far."""

    syscall: str
    errno: str
    outcome: str
    times: Count


class PairTally(NamedTuple):
    """Connections of one (source, target) so far."""

    established: Count
    failed: Count
    open: Count


class AgentTally(NamedTuple):
    """The share of one agent so far. state: its phase, or suspect (it does not answer), or lost."""

    name: str
    state: str
    established: Count
    failed: Count
    open: Count


class LatencyNs(Struct, frozen=True, kw_only=True):
    """Latencies measured since the line before, each as a histogram of nanoseconds."""

    lateness: Sparse = {}
    """started - due, loadgen's own delay"""
    connect: Sparse = {}
    """established - started, the delay of the network and of the target"""
    arrival: Sparse = {}
    """established - due, what a user would have waited: free of coordinated omission"""
    exchange: Sparse = {}
    """reply read - request written"""
    handshake: Sparse = {}
    """TLS secured - established"""
    bind: Sparse | UnsetType = UNSET
    """each call of bind() that takes a port, one that failed included; absent without any"""
    network: Sparse | UnsetType = UNSET
    """round trip of the handshake as the kernel measured it, of a sample of the connections; absent without any"""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            histogram.check_buckets(self.of(name))

    def of(self, name: str) -> Sparse:
        """Return the latency of this name; empty where none was measured."""
        measured: Sparse | UnsetType = getattr(self, name)
        return {} if measured is UNSET else measured


class WorkersAlive(Struct, frozen=True, kw_only=True):
    """Worker processes."""

    alive: Count
    stalled: Count


class SinkLine(Shape, frozen=True, kw_only=True):
    """Counts of the sinks so far."""

    accepted: Count
    """connections; over UDP endpoints that datagrams came from"""
    open: Count
    """connections open now"""
    sources: tuple[SinkSource, ...] | None = None
    """by source address; only in the last line"""
    datagrams: Datagrams | None = None
    """only over UDP"""
    failures: Mapping[str, Count] = {}
    """failures that the sinks survived, by place and reason: accept4 EMFILE"""


class SamplingLine(Shape, frozen=True, kw_only=True):
    """Cost of sampling the kernel so far."""

    samples: Count
    """lines"""
    listings: Count
    """of sockets by state"""
    cpu_s: Amount
    """CPU time of both, seconds"""
    run_cpu_s: Amount | None = None
    """CPU time of all processes of the run, seconds; only in the last line"""


class SinkKernelLine(Shape, frozen=True, kw_only=True):
    """Kernel counters in one namespace: that of the sinks, or of a gateway."""

    now: Mapping[str, int] = _ABSENT
    """gauges: sockstat.tcp_tw, conntrack.count, ..."""
    delta: Mapping[str, int] = _ABSENT
    """what was added to each counter since the start, only those that moved"""
    states: Mapping[str, int] | None = None
    """sockets by state, when they were last listed"""
    states_age_s: float | None = None
    """seconds since they were listed"""


class KernelLine(SinkKernelLine, frozen=True, kw_only=True):
    """Kernel counters in the namespace of the load; empty when it could not be read any more."""

    sampling: SamplingLine | None = None
    sink: SinkKernelLine | None = None
    """only where the sinks have a namespace of their own"""
    gateway: SinkKernelLine | None = None
    """only behind the gateway of a lab: its connection tracking, see `loadgen.kernel.conntrack_stats`"""

    def __bool__(self) -> bool:
        """False for a line that has no sample of the kernel."""
        return bool(self.now or self.delta)


#: The kernel of a line whose namespace could not be read.
UNREAD: Final = KernelLine()


class Line(SeriesCounters, frozen=True, kw_only=True):  # type: ignore[misc]  # the recorder counts in the same fields
    """One instant of a run, all workers together.

    Counts are totals so far; a histogram has what is new since the line before.
    """

    t_s: Amount
    """seconds after the start"""
    phase: Phase
    scheduled: Count = 0
    """attempts planned; in a closed loop, which has no schedule, those started"""
    ramp_s: Amount = 0.0
    """from the first attempt to the last connection established, seconds"""
    sustained_per_s: Amount = 0.0
    """connections established per second after the ports first ran out; of all of the time where they never did"""
    first_denied_s: float | None = None
    """when the ports first ran out for good, seconds after the start; null: never"""
    tenths_s: tuple[float, ...] = ()
    """when each tenth of the connections was established, seconds after the start, as far as reached"""
    cost_us: tuple[float, ...] = ()
    """CPU time per connection in each tenth, microseconds, as far as reached; in churn of the ports in use"""
    errors: tuple[ErrorTally, ...] = ()
    """every kind seen, the most frequent first"""
    pairs: tuple[PairTally, ...]
    """for each (source, target) of the plan, in its order"""
    not_attributed: NotAttributed | UnsetType = UNSET
    """counts that are in the totals and not in pairs and latency_ns; absent where there are none, and in files of
    loadgen 0.1.0"""
    latency_ns: LatencyNs
    lag_ns: Sparse
    """how late the event loops of the workers were, since the line before"""
    cpu_s: Amount = 0.0
    """CPU time of the workers, seconds"""
    user_cpu_s: Amount | UnsetType = UNSET
    """the part of cpu_s outside system calls, seconds; not in files of loadgen 0.1.0"""
    overtaken: Count | UnsetType = UNSET
    """attempts that timed out so far, while a later one of their source and target opened; not in files of loadgen
    0.1.0"""
    worker_cpu_s: tuple[float, ...] = ()
    """the same for each worker"""
    workers: WorkersAlive | None = None
    agents: tuple[AgentTally, ...] | UnsetType = UNSET
    """of a run of several agents, the share of each; absent otherwise"""
    sink: SinkLine | None = None
    """null: loadgen does not listen itself"""
    kernel: KernelLine = UNREAD

    def __post_init__(self) -> None:
        histogram.check_buckets(self.lag_ns)

    @property
    def of_agents(self) -> tuple[AgentTally, ...]:
        """The shares of several agents; empty of a run of one host."""
        return () if self.agents is UNSET else self.agents
