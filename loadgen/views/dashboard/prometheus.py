"""The metrics for Prometheus and OTLP, in one table, and their values at the moment of a scrape.

The counters of a line have their names and texts in `results.schema.counters`; a new one needs no edit here.

Labels are bounded: kinds of errors by the errnos that a worker counts, sources by `SOURCES_MAX`. Counters are those of
this process and go on over the runs of a matrix. Sources are gauges: which of them are the fullest changes, and a
counter that comes and goes would go backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from loadgen.model import Phase
from loadgen.results import histogram
from loadgen.results.schema.counters import SERIES_COUNTERS, CounterRow
from loadgen.results.schema.line import AgentTally, Line
from loadgen.views.dashboard.totals import sides
from loadgen.views.dashboard.watched import Watched
from loadgen.views.live.occupancy import SpaceUsage
from loadgen.views.live.wording import in_trouble
from loadgen.views.summary_rows import LATENCIES

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
#: The fullest have a label of their own, the rest is "other".
SOURCES_MAX: Final = 20
OTHER: Final = "other"
#: Agents beyond these have no label; a run has fewer.
AGENTS_MAX: Final = 1_000
#: Upper bounds of a histogram's buckets: 1, 2.5, 5 in each decade from 10 microseconds to 10 seconds.
BUCKETS_S: Final = (*(round(m * 10.0**e, 7) for e in range(-5, 1) for m in (1, 2.5, 5)), 10.0)

#: Label values and the value they stand with.
Samples = Iterable[tuple[tuple[str, ...], float]]
#: A value of a metric; of a histogram what `cumulated` returns.
Reading = float | tuple[list[tuple[str, float]], float]
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Described:
    """A metric. labels: their names. read: its samples now; of a histogram there are its kinds instead.

    unit: in the notation of UCUM, as OTLP has it; "" for none. See `loadgen.views.otlp.points` for what it may be.
    """

    name: str
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    read: Callable[[Watched], Samples] | None = None
    #: Names of the histograms in `Totals`.
    kinds: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The type in the words of the exposition format."""
        return "histogram" if self.read is None else "counter" if self.name.endswith("_total") else "gauge"


def _counted(name: str) -> Callable[[Watched], Samples]:
    return lambda watched: [((), watched.totals.of((name,)))]


def _latest(value: Callable[[Line], float | None]) -> Callable[[Watched], Samples]:
    """A number of the latest line, where it has one."""

    def read(watched: Watched) -> Samples:
        number = value(watched.line) if watched.line else None
        return [] if number is None else [((), number)]

    return read


def _counter(row: CounterRow) -> Described:
    """The metric of a counter of the series: one that only grows goes on over all runs, another is the latest."""
    read = _counted(row.name) if row.metric.endswith("_total") else _latest(attrgetter(row.name))
    return Described(f"loadgen_{row.metric}", f"{row.doc[0].upper()}{row.doc[1:]}.", f"{{{row.counted}}}", (), read)


def _run(watched: Watched) -> Samples:
    plan = watched.plan
    if plan:
        yield (plan.name, watched.place, plan.strategy.value, plan.traffic.protocol, plan.transport.value), 1


def _phases(watched: Watched) -> Samples:
    if watched.line:
        yield from (((phase.value,), float(watched.line.phase is phase)) for phase in Phase)


def _planned(watched: Watched) -> Samples:
    if watched.plan:
        yield (), watched.plan.connections


def _ceiling(watched: Watched) -> Samples:
    if watched.plan and watched.plan.ceiling and watched.plan.ceiling.per_s is not None:
        yield (), watched.plan.ceiling.per_s


def _errors(watched: Watched) -> Samples:
    return [(key[1:], count) for key, count in sorted(watched.totals.now().items()) if key[0] == "error"]


def _usage(of: Callable[[SpaceUsage], int]) -> Callable[[Watched], Samples]:
    """A number of each of the fullest sources, and of all others together."""

    def read(watched: Watched) -> Samples:
        if watched.spaces is None or watched.line is None:
            return
        usages = watched.spaces.occupancy(watched.line.pairs, len(watched.spaces)).fullest
        # By steps of 5 % and then by name: the same stay among the fullest, and no new series come up all the time.
        calm = sorted(usages, key=lambda usage: (-int(usage.share * 20), usage.name))
        for usage in calm[:SOURCES_MAX]:
            yield (usage.name,), of(usage)
        if rest := calm[SOURCES_MAX:]:
            yield (OTHER,), sum(map(of, rest))

    return read


def _workers(watched: Watched) -> Samples:
    if watched.line and (workers := watched.line.workers):
        yield ("alive",), workers.alive
        yield ("stalled",), workers.stalled


def _agents(of: Callable[[AgentTally], float]) -> Callable[[Watched], Samples]:
    """A number of each agent of several."""
    return lambda watched: [
        ((agent.name,), of(agent)) for agent in (watched.line.of_agents if watched.line else ())[:AGENTS_MAX]
    ]


def _time_wait(watched: Watched) -> Samples:
    for side, kernel in sides(watched.line).items() if watched.line else ():
        if "sockstat.tcp_tw" in kernel.now:
            yield (side,), kernel.now["sockstat.tcp_tw"]


def _kernel(name: str) -> Callable[[Watched], Samples]:
    return lambda watched: [
        ((key[1],), value)
        for key, value in sorted(watched.totals.now().items())
        if key[0] == "kernel" and key[2] == name
    ]


METRICS: Final = (
    Described(
        "loadgen_run_info",
        "The run that is on its way; always 1.",
        "",
        ("scenario", "place", "strategy", "protocol", "transport"),
        _run,
    ),
    Described("loadgen_phase", "1 for the phase that the run is in, 0 for the others.", "", ("phase",), _phases),
    Described("loadgen_elapsed_seconds", "Time since the run began.", "s", (), _latest(lambda line: line.t_s)),
    Described("loadgen_connections_planned", "Connections to open; in churn, at a time.", "{connection}", (), _planned),
    *(_counter(row) for row in SERIES_COUNTERS if row.metric),
    Described(
        "loadgen_errors_total",
        "Failures and losses by what the kernel said and what it means.",
        "{error}",
        ("syscall", "errno", "outcome"),
        _errors,
    ),
    Described("loadgen_latency_seconds", "Latencies, to 0.4 %.", "s", ("kind",), None, LATENCIES),
    Described(
        "loadgen_event_loop_lag_seconds", "How late the event loops of the workers were.", "s", (), None, ("lag",)
    ),
    Described(
        "loadgen_source_open",
        f"Open connections of the {SOURCES_MAX} fullest sources, and of all others.",
        "{connection}",
        ("source",),
        _usage(lambda usage: usage.open),
    ),
    Described(
        "loadgen_source_capacity",
        "The most that these can have open.",
        "{connection}",
        ("source",),
        _usage(lambda usage: usage.capacity),
    ),
    Described(
        "loadgen_agent_up",
        "1 for an agent that answers, 0 for one that is suspect or lost.",
        "",
        ("agent",),
        _agents(lambda agent: not in_trouble(agent)),
    ),
    Described(
        "loadgen_agent_open",
        "Open connections of each agent.",
        "{connection}",
        ("agent",),
        _agents(lambda agent: agent.open),
    ),
    Described(
        "loadgen_agent_established",
        "Connections that each agent has established in this run.",
        "{connection}",
        ("agent",),
        _agents(lambda agent: agent.established),
    ),
    Described(
        "loadgen_agent_failed",
        "Attempts of each agent that have failed in this run.",
        "{attempt}",
        ("agent",),
        _agents(lambda agent: agent.failed),
    ),
    Described("loadgen_time_wait_sockets", "Sockets in TIME-WAIT.", "{socket}", ("side",), _time_wait),
    Described(
        "loadgen_time_wait_entered_total",
        "Sockets that came to TIME-WAIT, or to FIN-WAIT-2 with their process gone.",
        "{socket}",
        ("side",),
        _kernel("TcpExt.TW"),
    ),
    Described(
        "loadgen_time_wait_recycled_total",
        "Sockets that were taken out of TIME-WAIT early.",
        "{socket}",
        ("side",),
        _kernel("TcpExt.TWRecycled"),
    ),
    Described(
        "loadgen_time_wait_overflows_total",
        "Sockets for which TIME-WAIT had no room.",
        "{socket}",
        ("side",),
        _kernel("TcpExt.TCPTimeWaitOverflow"),
    ),
    Described("loadgen_predicted_ceiling_per_second", "Rate that churn can sustain, if limited.", "", (), _ceiling),
    Described(
        "loadgen_sink_open",
        "Connections open at the sinks.",
        "{connection}",
        (),
        _latest(lambda line: line.sink.open if line.sink else None),
    ),
    Described(
        "loadgen_sink_accepted_total",
        "Connections that the sinks accepted.",
        "{connection}",
        (),
        _counted("sink_accepted"),
    ),
    Described("loadgen_workers", "Worker processes.", "{process}", ("state",), _workers),
    Described("loadgen_workers_cpu_seconds_total", "CPU time of the workers.", "s", (), _counted("cpu_s")),
)


class Collector:
    """The collector that prometheus_client asks for metrics."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterator[Metric]:
        """Every metric; one without a value has no samples."""
        for described in METRICS:
            family = family_of(described)
            for labels, value in readings(described, self._watched):
                add(family, labels, value)
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering reads no values."""
        return iter(())


def family_of(described: Described) -> Family:
    """Return the family of a metric, without samples."""
    labels = described.labels
    match described.type:
        case "histogram":
            return HistogramMetricFamily(described.name, described.help, labels=labels)
        case "counter":
            return CounterMetricFamily(described.name, described.help, labels=labels)
        case _:
            return GaugeMetricFamily(described.name, described.help, labels=labels)


def readings(described: Described, watched: Watched) -> Iterator[tuple[tuple[str, ...], Reading]]:
    """Yield the values of a metric now, each with the values of its labels; of a histogram as `cumulated` has it."""
    if described.read is not None:
        yield from described.read(watched)
        return
    for kind in described.kinds:
        counts = watched.totals.histogram(kind)
        if counts.any():
            yield (kind,) if described.labels else (), cumulated(counts)


def add(family: Family, labels: tuple[str, ...], reading: Reading, unix_s: float | None = None) -> None:
    """Add a value to its family. unix_s: its time, seconds since 1970, UTC; of a scrape there is none."""
    if isinstance(family, HistogramMetricFamily):
        assert isinstance(reading, tuple)
        buckets, sum_s = reading
        family.add_metric(labels, buckets, sum_s, timestamp=unix_s)
    else:
        assert not isinstance(reading, tuple)
        family.add_metric(labels, reading, timestamp=unix_s)


def exposition(watched: Watched) -> bytes:
    """All of it in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(watched))
    return generate_latest(registry)


def cumulated(counts: NDArray[np.int64]) -> tuple[list[tuple[str, float]], float]:
    """A histogram in nanoseconds as Prometheus has one: (upper bound, how many up to there), and their sum in seconds.

    counts: int64 (BUCKETS,). A value counts as what its bucket is reported as, so one within 0.4 % of a bound may stand
    on its other side.
    """
    values_s, bound_of = _placed()
    below = np.bincount(bound_of, weights=counts, minlength=len(BUCKETS_S) + 1).cumsum()
    return list(zip((*map(str, BUCKETS_S), "+Inf"), below.tolist(), strict=True)), float(values_s @ counts)


@cache
def _placed() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Of each bucket its value in seconds, and the position in BUCKETS_S of the first bound that is not below it."""
    values_s = np.array([histogram.value_ns(bucket) / 1e9 for bucket in range(histogram.BUCKETS)])
    return values_s, np.searchsorted(BUCKETS_S, values_s)
