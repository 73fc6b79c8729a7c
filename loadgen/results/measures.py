"""The figures that runs are compared by: where each stands in a summary, and which direction is better.

Pure. One list for every comparison of runs, so that one name never means two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen import format as fmt
from loadgen.kernel import snmp
from loadgen.results.block import TENTHS
from loadgen.results.schema.run import Quantiles, RunSummary

Find = Callable[[RunSummary], float | None]


class Better(StrEnum):
    """Direction in which a figure should move. NEITHER: it says what happened, not how well."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class Unit(StrEnum):
    """Unit of a figure; the last word of its name where it has one."""

    COUNT = "count"
    PER_S = "per_s"
    US = "us"
    S = "s"
    #: Of 1, so that 0.5 is a half.
    SHARE = "share"
    #: How many times as much.
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a run."""

    #: As `--fail-if` and JSON name it, with the unit last.
    name: str
    title: str
    unit: Unit
    better: Better
    #: The figure of a run; None where it has none.
    find: Find
    #: True for a figure that runs are made for: a verdict names it first.
    aim: bool = False
    #: True if a few slow moments determine it, so that it may double between two equal runs.
    tail: bool = False


def figure_text(value: float | None, unit: Unit, micro: str = "µs") -> str:
    """Return a figure with its unit; micro: the name of the microsecond."""
    match unit:
        case Unit.PER_S:
            return fmt.rate(value)
        case Unit.US:
            return fmt.latency(value, micro)
        case Unit.S:
            return fmt.seconds(value)
        case Unit.SHARE:
            return fmt.percent(value)
        case Unit.RATIO if value is not None:
            return f"{value:.2f}"
        case _:
            return fmt.count(value)


def rate_per_s(run: RunSummary) -> float:
    """Connections established per second: of churn the sustained rate, of others the mean over the ramp."""
    return run.churn.sustained_per_s if run.churn else run.rate_per_s.established_mean


def _added(name: str) -> Find:
    """Return a reader of a kernel counter; the summary has only those that moved, so a missing one is 0."""
    return lambda run: run.kernel.delta.get(name, 0)


def _time_waits(run: RunSummary) -> int:
    return snmp.entered_time_wait(run.kernel.delta)


def _time_wait_peak(run: RunSummary) -> int:
    return run.kernel.peak.get("sockstat.tcp_tw", 0)


def _cost_us(run: RunSummary) -> float | None:
    """Return the CPU microseconds of the workers per connection, over all tenths: each has as many connections."""
    if run.churn:  # its tenths are of the ports, and hold as many connections each as it happens
        return None
    return sum(run.cost_us) / len(run.cost_us) if run.cost_us else None


def _last_cost_us(run: RunSummary) -> float | None:
    return run.cost_us[9] if len(run.cost_us) == TENTHS else None


def _occupancy(run: RunSummary) -> float | None:
    """Return the share of its four-tuples that the fullest pair of source and target had open at once."""
    shares = [pair.peak_open / pair.capacity for pair in run.sources if pair.capacity]
    return max(shares, default=None)


def _of_churn(name: str) -> Find:
    return lambda run: getattr(run.churn, name) if run.churn else None


def _of_traffic(name: str) -> Find:
    return lambda run: getattr(run.traffic, name) if run.traffic else None


def _of_heartbeat(name: str) -> Find:
    return lambda run: getattr(run.heartbeat, name) if run.heartbeat else None


def _latencies() -> Iterable[Measure]:
    """Yield the percentiles of each latency; one that was not measured has no figure, rather than 0."""
    kinds = {
        "bind": ("p50", "p99"),
        "connect": ("p50", "p90", "p99", "p999"),
        "network": ("p50", "p99"),
        "arrival": ("p50", "p99"),
        "handshake": ("p50", "p99"),
        "exchange": ("p50", "p90", "p99", "p999"),
        "lateness": ("p50", "p99"),
    }
    for kind, names in kinds.items():
        for name in names:
            title = f"{kind} {'p99.9' if name == 'p999' else name}"
            find = _percentile(kind, name)
            aim = (kind, name) in (("connect", "p50"), ("connect", "p99"))
            tail = name in ("p99", "p999")
            yield Measure(f"{kind}_{name}_us", title, Unit.US, Better.LOWER, find, aim, tail)


def _percentile(kind: str, name: str) -> Find:
    def find(run: RunSummary) -> float | None:
        quantiles: Quantiles | None = getattr(run.latency_us, kind)
        return getattr(quantiles, name) if quantiles and quantiles.count else None

    return find


_HIGHER, _LOWER, _NEITHER = Better.HIGHER, Better.LOWER, Better.NEITHER

#: In the order in which a reader wants them.
MEASURES: Final[tuple[Measure, ...]] = (
    Measure("established", "established", Unit.COUNT, _HIGHER, lambda run: run.outcomes.established, aim=True),
    Measure("failed", "failed", Unit.COUNT, _LOWER, lambda run: run.outcomes.failed, aim=True),
    Measure("not_started", "not started", Unit.COUNT, _LOWER, lambda run: run.arrivals.not_started),
    Measure("lost", "lost while held", Unit.COUNT, _LOWER, lambda run: run.open.lost, aim=True),
    Measure("open_peak", "most open at once", Unit.COUNT, _NEITHER, lambda run: run.open.peak),
    Measure("retried", "ports passed over", Unit.COUNT, _NEITHER, lambda run: run.outcomes.retried),
    Measure("rate_per_s", "rate", Unit.PER_S, _HIGHER, rate_per_s, aim=True),
    Measure("mean_per_s", "mean rate of churn", Unit.PER_S, _HIGHER, _of_churn("mean_per_s")),
    Measure("rate_peak_per_s", "peak rate", Unit.PER_S, _NEITHER, lambda run: run.rate_per_s.established_peak),
    Measure("ramp_s", "ramp", Unit.S, _LOWER, lambda run: run.phases.ramp_s),
    Measure("drain_s", "drain", Unit.S, _NEITHER, lambda run: run.phases.drain_s),
    *_latencies(),
    Measure("replies", "right replies", Unit.COUNT, _HIGHER, _of_traffic("replies")),
    Measure("wrong", "wrong replies", Unit.COUNT, _LOWER, _of_traffic("wrong")),
    Measure(
        "datagrams_lost",
        "requests lost (UDP)",
        Unit.COUNT,
        _LOWER,
        _of_traffic("lost"),
    ),
    Measure(
        "beats_missed",
        "heartbeats missed",
        Unit.COUNT,
        _LOWER,
        _of_heartbeat("missed"),
    ),
    Measure(
        "beats_wrong",
        "heartbeats wrong",
        Unit.COUNT,
        _LOWER,
        _of_heartbeat("wrong"),
    ),
    Measure("cost_us", "CPU per connection", Unit.US, _LOWER, _cost_us, aim=True),
    Measure("cost_last_us", "CPU per connection, last tenth", Unit.US, _LOWER, _last_cost_us),
    Measure("cost_last_to_first", "cost, last tenth to first", Unit.RATIO, _LOWER, lambda run: run.cost_last_to_first),
    Measure("occupancy", "occupancy of the fullest pair", Unit.SHARE, _NEITHER, _occupancy),
    Measure("time_waits", "entered TIME-WAIT", Unit.COUNT, _NEITHER, _time_waits),
    Measure("time_wait_peak", "TIME-WAIT at once", Unit.COUNT, _NEITHER, _time_wait_peak),
    Measure("recycled", "TIME-WAIT recycled", Unit.COUNT, _NEITHER, _added("TcpExt.TWRecycled")),
    Measure("lag_p99_us", "worker lag p99", Unit.US, _LOWER, lambda run: run.generator.lag_ms_p99 * 1e3, tail=True),
)

_BY_NAME: Final = {row.name: row for row in MEASURES}


def measure(name: str) -> Measure:
    """Return the figure of this name. Raises: KeyError."""
    return _BY_NAME[name]


def kinds_of_failure(runs: Iterable[RunSummary]) -> list[Measure]:
    """Return a figure for each system call and errno that any of these runs failed with, 0 in runs that did not.

    Named `failed.connect.ECONNREFUSED`. In the order in which they are first met.
    """
    kinds: dict[str, Measure] = {}
    for run in runs:
        for error in run.errors:
            syscall, errno = error.syscall, error.errno
            name = f"failed.{syscall}.{errno}"
            if name not in kinds:
                title = f"{syscall} {errno}"
                kinds[name] = Measure(name, title, Unit.COUNT, Better.LOWER, _failures(syscall, errno))
    return list(kinds.values())


def _failures(syscall: str, errno: str) -> Find:
    return lambda run: sum(error.count for error in run.errors if (error.syscall, error.errno) == (syscall, errno))
