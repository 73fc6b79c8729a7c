"""Snapshots of `loadgen watch` as metrics, in one table.

Labels are bounded: the fullest pairs and sources have a label each, as many as `top` says, and all others are summed up
under "other". A pair is a source address with a destination address and port. The maxima over all rows have no label,
so that an alert misses none. Processes are no labels: their names and numbers come and go without end.

Counters of the kernel begin at 0 with the exporter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from loadgen.kernel.sockdiag import TcpState
from loadgen.model import Endpoint
from loadgen.strategies import Strategy, Transport
from loadgen.views.text.watch import WORDS
from loadgen.watch.snapshot import Snapshot, Usage
from loadgen.watch.sources import SourceUsage

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
#: Read once: later there may be no descriptor left to read it with.
_VERSION: Final = version("loadgen")
#: Pairs, and sources of each transport, with labels of their own.
TOP: Final = 20
#: The label of all others together.
OTHER: Final = "other"
#: Labels of a sample and its value.
Labelled: TypeAlias = tuple[tuple[str, ...], float]
_Row: TypeAlias = Usage | SourceUsage


@dataclass(frozen=True, slots=True)
class _Account:
    """Rows of one kind: those with labels of their own, and the others. other: the labels of these together."""

    labelled: Sequence[_Row] = ()
    others: Sequence[_Row] = ()
    other: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[_Row], top: int, other: tuple[str, ...]) -> _Account:
        # By steps of 5 % and then by name: the same stay among the fullest, and no new series come up all the time.
        calm = sorted(rows, key=lambda row: (-int(row.capacity.share * 20), _labels(row)))
        return cls(calm[:top], calm[top:], other)

    def samples(self, value: _Value, total: _Total) -> Iterator[Labelled]:
        """Yield a value of each row, and one of all others."""
        for row in self.labelled:
            if (number := value(row)) is not None:
                yield _labels(row), number
        numbers = [number for row in self.others if (number := value(row)) is not None]
        if numbers:
            yield self.other, total(numbers)


def _labels(row: _Row) -> tuple[str, ...]:
    if isinstance(row, Usage):
        return row.source, str(Endpoint(row.destination, row.destination_port))
    return row.transport.value, row.source


#: A value of one row, None where it has none; and how those of several rows make one.
_Value: TypeAlias = Callable[[_Row], float | None]
_Total: TypeAlias = Callable[[Iterable[float]], float]


@dataclass(slots=True)
class Watching:
    """Exported values: the last snapshot, and what has been counted since the exporter began.

    top: rows with labels of their own. took_s: time that the last snapshot took. pause_s: from its beginning to that
    of the next. at_s: when it was taken, seconds since the epoch.
    """

    top: int = TOP
    look: Snapshot | None = None
    took_s: float = 0.0
    pause_s: float = 0.0
    at_s: float = 0.0
    snapshots: int = 0
    failures: int = 0
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WORDS, 0))
    pairs: _Account = _Account()
    sources: tuple[_Account, ...] = ()

    def update(self, look: Snapshot, *, took_s: float, pause_s: float, at_s: float) -> None:
        """Take the next snapshot."""
        self.look, self.took_s, self.pause_s, self.at_s = look, took_s, pause_s, at_s
        self.snapshots += 1
        for name in self.counters:
            self.counters[name] += look.counters.get(name, 0)
        self.pairs = _Account.of(look.groups, self.top, (OTHER, OTHER))
        self.sources = tuple(
            _Account.of(rows, self.top, (transport.value, OTHER))
            for transport, rows in ((Transport.TCP, look.sources), (Transport.UDP, look.udp or ()))
        )


#: The samples of a metric.
_Read: TypeAlias = Callable[[Watching, Snapshot], Iterable[Labelled]]


@dataclass(frozen=True, slots=True)
class WatchMetric:
    """A metric. labels: their names. read: its samples of the last snapshot; none where a value is not known."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: _Read

    @property
    def type(self) -> Literal["counter", "gauge"]:
        """The type in the words of the exposition format."""
        return "counter" if self.name.endswith("_total") else "gauge"


def _one(read: Callable[[Watching, Snapshot], float | None]) -> _Read:
    """A single value; None: not known."""

    def samples(watching: Watching, look: Snapshot) -> Iterator[Labelled]:
        value = read(watching, look)
        if value is not None:
            yield (), value

    return samples


def _pairs(value: _Value, total: _Total = math.fsum) -> _Read:
    return lambda watching, _look: watching.pairs.samples(value, total)


def _sources(value: _Value, total: _Total = math.fsum) -> _Read:
    return lambda watching, _look: [one for account in watching.sources for one in account.samples(value, total)]


def _used(row: _Row) -> float | None:
    return row.capacity.used


def _usable(row: _Row) -> float | None:
    return row.capacity.usable


def _exhausts_in_s(row: _Row) -> float | None:
    """Return the seconds until no port is left; infinity: never at this growth; None: the growth is not known yet."""
    if row.exhausts_in_s is not None:
        return row.exhausts_in_s
    return None if row.growth_per_s is None else math.inf


def _growth(row: _Row) -> float | None:
    return row.growth_per_s


def _in_use(row: _Row) -> float | None:
    return row.in_use


def _time_wait(row: _Row) -> float | None:
    return row.time_wait


def _reusable(row: _Row) -> float | None:
    return min(row.time_wait, row.capacity.used) if isinstance(row, Usage) and row.reused else 0


def _is_early(row: _Row) -> float | None:
    return float(isinstance(row, SourceUsage) and row.strategy is Strategy.BIND)


def _unconnected(row: _Row) -> float | None:
    return row.unconnected if isinstance(row, SourceUsage) else None


def _destinations(row: _Row) -> float | None:
    return row.destinations if isinstance(row, SourceUsage) else None


def _fullest(_watching: Watching, look: Snapshot) -> Iterator[Labelled]:
    early = [row for row in look.sources if row.is_limit]
    accounts: tuple[tuple[str, Sequence[_Row]], ...] = (
        ("pairs", look.groups),
        ("early_bound", early),
        ("udp", look.udp or ()),
    )
    for account, rows in accounts:
        yield (account,), max((row.capacity.share for row in rows), default=0.0)


def _known(_watching: Watching, look: Snapshot) -> Iterator[Labelled]:
    yield ("bound",), float(look.bound is not None)
    yield ("udp",), float(look.udp is not None)


def _ports(_watching: Watching, look: Snapshot) -> Iterator[Labelled]:
    yield ("range",), len(look.ports)
    yield ("reserved",), look.reserved
    yield ("listening",), look.listening
    if look.bound:
        yield ("bound",), len(look.bound.ports)
    yield ("usable",), look.usable


def _states(_watching: Watching, look: Snapshot) -> Iterator[Labelled]:
    # States of requests, and of sockets that no listing has, are always 0.
    for state in TcpState:
        if state not in (TcpState.BOUND, TcpState.CLOSE, TcpState.NEW_SYN_RECV):
            yield (state.name.lower(),), look.states.get(state, 0)


def _counted(watching: Watching, _look: Snapshot) -> Iterator[Labelled]:
    return (((name,), count) for name, count in watching.counters.items())


_PAIR: Final = ("source", "destination")
_SOURCE: Final = ("transport", "source")
METRICS: Final = (
    WatchMetric(
        "loadgen_build_info",
        "The version of loadgen; always 1.",
        ("version",),
        lambda *_: [((_VERSION,), 1)],
    ),
    WatchMetric(
        "loadgen_watch_ports",
        "Ports of ip_local_port_range, of these reserved, with a listener, held by bound sockets, and usable by a pair "
        "without connections.",
        ("kind",),
        _ports,
    ),
    WatchMetric("loadgen_watch_sockets", "TCP sockets by state.", ("state",), _states),
    WatchMetric(
        "loadgen_watch_bound_sockets",
        "Sockets that are bound and not connected, and block a port of the range.",
        (),
        _one(lambda _, look: look.bound.sockets if look.bound else None),
    ),
    WatchMetric(
        "loadgen_watch_fullest_ratio",
        "Share of its usable ports that the fullest row uses, 0 to 1: of all pairs, of the sources that bind early, of "
        "the sources of UDP.",
        ("account",),
        _fullest,
    ),
    WatchMetric("loadgen_watch_pairs", "Pairs of source and destination.", (), _one(lambda _, look: look.group_count)),
    WatchMetric("loadgen_watch_pair_used_ports", "Ports that the pair uses, TIME-WAIT included.", _PAIR, _pairs(_used)),
    WatchMetric("loadgen_watch_pair_usable_ports", "Ports that the pair can use.", _PAIR, _pairs(_usable)),
    WatchMetric("loadgen_watch_pair_in_use_sockets", "Sockets in any state but TIME-WAIT.", _PAIR, _pairs(_in_use)),
    WatchMetric("loadgen_watch_pair_time_wait_sockets", "Sockets in TIME-WAIT.", _PAIR, _pairs(_time_wait)),
    WatchMetric(
        "loadgen_watch_pair_reusable_sockets",
        "Of those in TIME-WAIT, sockets that automatic choice takes over (tcp_tw_reuse).",
        _PAIR,
        _pairs(_reusable),
    ),
    WatchMetric("loadgen_watch_pair_growth_per_second", "Growth of the used ports; 1/s.", _PAIR, _pairs(_growth)),
    WatchMetric(
        "loadgen_watch_pair_exhausts_in_seconds",
        "Time until no port is left at this growth, 0: none is left, +Inf: never; of the others the shortest.",
        _PAIR,
        _pairs(_exhausts_in_s, min),
    ),
    WatchMetric("loadgen_watch_source_used_ports", "Ports that the address uses.", _SOURCE, _sources(_used)),
    WatchMetric("loadgen_watch_source_usable_ports", "Ports that the address can use.", _SOURCE, _sources(_usable)),
    WatchMetric("loadgen_watch_source_time_wait_sockets", "Sockets in TIME-WAIT.", _SOURCE, _sources(_time_wait)),
    WatchMetric(
        "loadgen_watch_source_unconnected_sockets",
        "Sockets that are bound and not connected.",
        _SOURCE,
        _sources(_unconnected),
    ),
    WatchMetric(
        "loadgen_watch_source_destinations",
        "Destinations of the others; of the other addresses the most.",
        _SOURCE,
        _sources(_destinations, max),
    ),
    WatchMetric(
        "loadgen_watch_source_early_bound",
        "1 if the sockets look as if each was bound before it was connected; of the other addresses how many.",
        _SOURCE,
        _sources(_is_early),
    ),
    WatchMetric("loadgen_watch_source_growth_per_second", "Growth of the used ports; 1/s.", _SOURCE, _sources(_growth)),
    WatchMetric(
        "loadgen_watch_source_exhausts_in_seconds",
        "Time until no port is left at this growth, for clients that bind early; as for a pair.",
        _SOURCE,
        _sources(_exhausts_in_s, min),
    ),
    WatchMetric("loadgen_watch_known", "1 if this account could be read: bound sockets, UDP.", ("account",), _known),
    WatchMetric(
        "loadgen_watch_kernel_events_total",
        "Counters of the kernel about ports, queues and losses, since the exporter began.",
        ("counter",),
        _counted,
    ),
    WatchMetric("loadgen_watch_snapshots_total", "Snapshots taken.", (), _one(lambda watching, _: watching.snapshots)),
    WatchMetric(
        "loadgen_watch_snapshot_failures_total",
        "Snapshots that could not be taken; the other values are those of the last that could.",
        (),
        _one(lambda watching, _: watching.failures),
    ),
    WatchMetric(
        "loadgen_watch_snapshot_timestamp_seconds",
        "When the last snapshot was taken, since the epoch.",
        (),
        _one(lambda watching, _: watching.at_s),
    ),
    WatchMetric(
        "loadgen_watch_snapshot_duration_seconds",
        "How long the last snapshot took.",
        (),
        _one(lambda watching, _: watching.took_s),
    ),
    WatchMetric(
        "loadgen_watch_snapshot_interval_seconds",
        "From the beginning of the last snapshot to that of the next.",
        (),
        _one(lambda watching, _: watching.pause_s),
    ),
    WatchMetric(
        "loadgen_watch_snapshot_interrupted",
        "1 if the kernel moved sockets during the listing, so that a few may be missing or counted twice.",
        (),
        _one(lambda _, look: float(look.interrupted)),
    ),
)


class WatchCollector:
    """The collector that prometheus_client asks for metrics."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching

    def collect(self) -> Iterator[Metric]:
        """Every metric; one without a value has no samples, and before the first snapshot there is none."""
        if self._watching.look is None:
            return
        for metric in METRICS:
            made: type[CounterMetricFamily | GaugeMetricFamily]
            made = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = made(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.read(self._watching, self._watching.look):
                family.add_metric(labels, value)
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering reads no values."""
        return iter(())


def exposition(watching: Watching) -> bytes:
    """Return all of it in the text format; empty before the first snapshot."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WatchCollector(watching))
    return generate_latest(registry)
