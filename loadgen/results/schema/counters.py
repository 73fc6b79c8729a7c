"""Every counter of a worker, declared once.

From these fields come the layout of the shared-memory block (their order), the attributes of the recorder, the keys of
a line of series.jsonl, the metrics for Prometheus, the JSON Schema and the table in docs/run-directory.md. A counter
that the summary has as well stands there under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, get_args, get_type_hints

from msgspec import Meta, Struct


class CounterUnit(StrEnum):
    """The unit of a counter. Instants are CLOCK_MONOTONIC nanoseconds, 0 for "not yet"."""

    COUNT = "count"
    INSTANT = "instant"
    CPU_TIME = "cpu time"


@dataclass(frozen=True, slots=True)
class CounterRow:
    """A counter without its value.

    name: as in the recorder and in a line. doc: one line for readers. unit: of the value. metric: its name for
    Prometheus without the prefix `loadgen_`, "" for none; one that ends in `_total` only grows. counted: of a metric,
    the noun for one of what it counts.
    """

    name: str
    doc: str
    unit: CounterUnit
    metric: str
    counted: str


def _counter(doc: str, unit: CounterUnit = CounterUnit.COUNT, *, metric: str = "", counted: str = "") -> Meta:
    return Meta(ge=0, description=doc, extra={"unit": unit, "metric": metric, "counted": counted})


class SeriesCounters(Struct, kw_only=True):
    """The counters of a line, which are those of all workers added up."""

    started: Annotated[int, _counter("attempts to connect", metric="attempts_started_total", counted="attempt")] = 0
    established: Annotated[
        int, _counter("attempts that succeeded", metric="connections_established_total", counted="connection")
    ] = 0
    failed: Annotated[
        int, _counter("attempts that ended in an error", metric="attempts_failed_total", counted="attempt")
    ] = 0
    in_flight: Annotated[
        int, _counter("attempts without an answer yet", metric="connections_in_flight", counted="connection")
    ] = 0
    not_started: Annotated[
        int, _counter("attempts due but never begun", metric="attempts_not_started_total", counted="attempt")
    ] = 0
    open: Annotated[int, _counter("connections that are open", metric="connections_open", counted="connection")] = 0
    lost: Annotated[
        int, _counter("connections that the other side closed", metric="connections_lost_total", counted="connection")
    ] = 0
    retried: Annotated[
        int, _counter("ports found taken and passed over", metric="ports_retried_total", counted="port")
    ] = 0
    closed: Annotated[
        int, _counter("connections that ended as planned", metric="connections_closed_total", counted="connection")
    ] = 0
    beating: Annotated[int, _counter("connections that have a heartbeat")] = 0
    beats: Annotated[int, _counter("requests of heartbeats", metric="heartbeats_sent_total", counted="heartbeat")] = 0
    missed: Annotated[
        int, _counter("heartbeats without an answer in time", metric="heartbeats_missed_total", counted="heartbeat")
    ] = 0
    wrong: Annotated[
        int, _counter("replies that were not the expected ones", metric="replies_wrong_total", counted="reply")
    ] = 0
    resumed: Annotated[int, _counter("TLS sessions that were resumed")] = 0
    asked: Annotated[int, _counter("requests sent over UDP")] = 0
    unanswered: Annotated[int, _counter("requests over UDP without a reply in time")] = 0
    open_peak: Annotated[int, _counter("the most connections open at once; of several workers an upper bound")] = 0


class WorkerCounters(SeriesCounters, kw_only=True):
    """All counters of one worker, in the order in which its block keeps them."""

    first_started_ns: Annotated[int, _counter("the first attempt", CounterUnit.INSTANT)] = 0
    last_established_ns: Annotated[int, _counter("the last connection established", CounterUnit.INSTANT)] = 0
    heartbeat_ns: Annotated[int, _counter("the worker's last sign of life", CounterUnit.INSTANT)] = 0
    cpu_ns: Annotated[int, _counter("CPU time of the worker", CounterUnit.CPU_TIME)] = 0
    user_cpu_ns: Annotated[int, _counter("CPU time of the worker outside system calls", CounterUnit.CPU_TIME)] = 0
    overtaken: Annotated[int, _counter("attempts that timed out, while a later one of their pair opened")] = 0
    started_cpu_ns: Annotated[int, _counter("CPU time of the worker at its first attempt", CounterUnit.CPU_TIME)] = 0
    first_denied_ns: Annotated[int, _counter("when the ports first ran out for good", CounterUnit.INSTANT)] = 0
    established_then: Annotated[int, _counter("connections established by then")] = 0


def _rows(counters: type[Struct]) -> Iterator[CounterRow]:
    hints = get_type_hints(counters, include_extras=True)
    for name in counters.__struct_fields__:
        meta = get_args(hints[name])[1]
        yield CounterRow(name, meta.description, meta.extra["unit"], meta.extra["metric"], meta.extra["counted"])


#: The positions of a block are the positions here.
WORKER_COUNTERS: Final = tuple(_rows(WorkerCounters))
SERIES_COUNTERS: Final = tuple(_rows(SeriesCounters))
#: Position of each counter in a block, by its name.
POSITION: Final = {row.name: position for position, row in enumerate(WORKER_COUNTERS)}
