"""The columns of the table `series`: a value of each line, with its unit and a sentence about it.

Counts, gauges and the kernel's counters have the names that they have in series.jsonl, so what is written about these
there holds here. Rates and latencies are those of the interval that ends with the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Final

from msgspec import UNSET, UnsetType

from loadgen.clock import NS_PER_S
from loadgen.results import histogram
from loadgen.results.fold import NOTHING
from loadgen.results.quantiles import quantiles_of
from loadgen.results.schema.counters import SERIES_COUNTERS
from loadgen.results.schema.line import Line, SinkKernelLine, Sparse
from loadgen.results.schema.run import Quantiles
from loadgen.views.summary_rows import LATENCIES

Cell = int | float | str | None


class CellType(StrEnum):
    """The type of all values of a column that are there."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ExportInterval:
    """A line of a series and the line before it. began_ns: the start of the load, nanoseconds since 1970, UTC."""

    line: Line
    before: Line = NOTHING
    began_ns: int | None = None
    _quantiles: dict[str, Quantiles] = field(default_factory=dict)

    @property
    def took_s(self) -> float:
        """Return the length of the interval, seconds, to the microsecond that times have in a line."""
        return round(self.line.t_s - self.before.t_s, 6)

    @property
    def unix_s(self) -> float | None:
        """Return the end of the interval, seconds since 1970, UTC; None where the run does not say when it began."""
        return None if self.began_ns is None else round(self.began_ns / NS_PER_S + self.line.t_s, 6)

    def quantiles(self, kind: str) -> Quantiles | None:
        """Return those of a kind of `LATENCIES`, or of `lag`; None without a value. Computed once for all columns."""
        if kind not in self._quantiles and (counts := measured(self.line, kind)):
            self._quantiles[kind] = quantiles_of(histogram.dense(counts))
        return self._quantiles.get(kind)


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column. unit: s, us, 1/s, "" for a count or a text. value: None where there is none."""

    name: str
    unit: str
    doc: str
    type: CellType
    value: Callable[[ExportInterval], Cell]


#: Counts whose growth in an interval is a rate.
_RATES: Final = ("started", "established", "failed", "lost", "closed")
#: Latencies of an interval, and the lag of the loops, in the order of all views.
_KINDS: Final = (*LATENCIES, "lag")
_QUANTILES: Final = {
    "p50": "median",
    "p90": "90 % are at most this",
    "p99": "99 % are at most this",
    "p999": "99.9 % are at most this",
    "max": "the longest",
}


def _of(name: str) -> Callable[[ExportInterval], Cell]:
    """Return the reader of a key of a line, None where the line has it not."""
    read = attrgetter(name)

    def value(interval: ExportInterval) -> Cell:
        found: Cell | UnsetType = read(interval.line)
        return None if found is UNSET else found

    return value


def _rate(name: str, interval: ExportInterval) -> Cell:
    took_s = interval.took_s
    if took_s <= 0:
        return None
    grown: int = getattr(interval.line, name) - getattr(interval.before, name)
    return round(grown / took_s, 3)


def _within(part: str, name: str) -> Callable[[ExportInterval], Cell]:
    """Return the reader of a key of an object that not every line has."""

    def value(interval: ExportInterval) -> Cell:
        whole = getattr(interval.line, part)
        found: Cell = None if whole is None else getattr(whole, name)
        return found

    return value


def measured(line: Line, kind: str) -> Sparse:
    """Return the histogram of a kind of `LATENCIES`, or of `lag`, of one line."""
    return line.lag_ns if kind == "lag" else line.latency_ns.of(kind)


def _quantile(kind: str, name: str, interval: ExportInterval) -> Cell:
    found = interval.quantiles(kind)
    if found is None:
        return 0 if name == "count" else None
    value: float | int = getattr(found, name)
    return value


def _latency_columns(kind: str) -> Iterator[ExportColumn]:
    what = "lag of the workers' event loops" if kind == "lag" else f"latency `{kind}`"
    for name, doc in _QUANTILES.items():
        yield ExportColumn(f"{kind}_{name}_us", "us", f"{what}: {doc}", CellType.NUMBER, partial(_quantile, kind, name))
    yield ExportColumn(f"{kind}_count", "", f"{what}: values", CellType.INTEGER, partial(_quantile, kind, "count"))


#: Those that every table has first.
PLACE: Final = (
    ExportColumn("t_s", "s", "end of the interval, after the start of the load", CellType.NUMBER, _of("t_s")),
    ExportColumn(
        "unix_s",
        "s",
        "the same since 1970, UTC; empty where the run does not say when it began",
        CellType.NUMBER,
        lambda interval: interval.unix_s,
    ),
    ExportColumn(
        "phase", "", "ramp, hold, churn, drain or done", CellType.TEXT, lambda interval: interval.line.phase.value
    ),
)
#: Those of every run, in this order; the kernel's come after them.
FIXED: Final = (
    *PLACE,
    ExportColumn(
        "interval_s",
        "s",
        "length of the interval, which is short beside a change of phase",
        CellType.NUMBER,
        lambda interval: interval.took_s,
    ),
    ExportColumn("scheduled", "", "attempts planned so far", CellType.INTEGER, _of("scheduled")),
    *(ExportColumn(row.name, "", row.doc, CellType.INTEGER, _of(row.name)) for row in SERIES_COUNTERS),
    ExportColumn(
        "overtaken",
        "",
        "attempts that timed out, while a later one of their pair opened",
        CellType.INTEGER,
        _of("overtaken"),
    ),
    *(
        ExportColumn(
            f"{name}_per_s", "1/s", f"growth of `{name}` in the interval", CellType.NUMBER, partial(_rate, name)
        )
        for name in _RATES
    ),
    ExportColumn("cpu_s", "s", "CPU time of the workers so far", CellType.NUMBER, _of("cpu_s")),
    ExportColumn("user_cpu_s", "s", "the part of it outside system calls", CellType.NUMBER, _of("user_cpu_s")),
    *(
        ExportColumn(f"{part}.{name}", "", doc, CellType.INTEGER, _within(part, name))
        for part, name, doc in (
            ("workers", "alive", "worker processes"),
            ("workers", "stalled", "those without a sign of life"),
            ("sink", "accepted", "connections that the sinks accepted so far"),
            ("sink", "open", "connections open at the sinks"),
        )
    ),
    *(column for kind in _KINDS for column in _latency_columns(kind)),
)

#: The namespaces of a line, by the beginning of the names of their columns.
_SIDES: Final[dict[str, Callable[[Line], SinkKernelLine | None]]] = {
    "kernel": lambda line: line.kernel,
    "kernel.sink": lambda line: line.kernel.sink,
    "kernel.gateway": lambda line: line.kernel.gateway,
}
_GROUPS: Final = {
    "now": "gauge of the kernel",
    "delta": "what was added to the kernel's counter since the start",
    "states": "TCP sockets in this state, when they were last listed",
}
#: (side, group, name of the kernel's).
KernelKey = tuple[str, str, str]


def kernel_keys(line: Line) -> Iterator[KernelKey]:
    """Yield what a line has of the kernel."""
    for side, of in _SIDES.items():
        found = of(line)
        for group in _GROUPS if found is not None else ():
            yield from ((side, group, name) for name in getattr(found, group) or ())


def _kernel(side: str, group: str, name: str, interval: ExportInterval) -> Cell:
    """Return a value of the kernel; 0 for a counter that has not moved yet and a state without sockets."""
    sample = _SIDES[side](interval.line)
    if sample is None or not (sample.now or sample.delta):
        return None
    values = getattr(sample, group)
    if values is None:
        return None
    found: int | None = values.get(name, None if group == "now" else 0)
    return found


def kernel_columns(keys: Iterable[KernelKey]) -> tuple[ExportColumn, ...]:
    """Return a column of each key: by namespace, gauges before counters before states, and then by name."""
    sides, groups = list(_SIDES), list(_GROUPS)
    order = sorted(set(keys), key=lambda key: (sides.index(key[0]), groups.index(key[1]), key[2]))
    return tuple(
        ExportColumn(".".join(key), "", _GROUPS[key[1]], CellType.INTEGER, partial(_kernel, *key)) for key in order
    )
