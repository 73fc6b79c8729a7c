"""The tables of a run: its series, its errors, its pairs. Pure; rows are made as they are read, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Final

from loadgen.errors import UsageError
from loadgen.model import Plan
from loadgen.results.fold import NOTHING
from loadgen.results.schema.line import Line
from loadgen.views.export.columns import (
    FIXED,
    PLACE,
    Cell,
    CellType,
    ExportColumn,
    ExportInterval,
    kernel_columns,
    kernel_keys,
)


class TableName(StrEnum):
    """The table of a run to write."""

    SERIES = "series"
    ERRORS = "errors"
    PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Heading:
    """The name, unit, type and meaning of a column."""

    name: str
    unit: str
    doc: str
    type: CellType


@dataclass(frozen=True, slots=True)
class RecordedSeries:
    """The series of a run. lines: reads them anew at each call. began_ns: see `ExportInterval`."""

    plan: Plan
    lines: Callable[[], Iterable[Line]]
    began_ns: int | None = None

    def intervals(self) -> Iterator[ExportInterval]:
        """Yield each line with the one before it."""
        before = NOTHING
        for line in self.lines():
            yield ExportInterval(line, before, self.began_ns)
            before = line


@dataclass(frozen=True, slots=True)
class ExportTable:
    """A table. rows: yields them anew at each call, each with a value for each heading."""

    name: TableName
    headings: tuple[Heading, ...]
    rows: Callable[[], Iterator[tuple[Cell, ...]]]


def _text(name: str, doc: str) -> Heading:
    return Heading(name, "", doc, CellType.TEXT)


def _count(name: str, doc: str) -> Heading:
    return Heading(name, "", doc, CellType.INTEGER)


def _heading(column: ExportColumn) -> Heading:
    return Heading(column.name, column.unit, column.doc, column.type)


#: Columns of `errors` and `pairs` after those of `PLACE`.
ERRORS: Final = (
    _text("syscall", "system call that failed, or the step of loadgen"),
    _text("errno", "name of the error"),
    _text("outcome", "what the error means"),
    _count("count", "failures and losses of this kind so far"),
)
PAIRS: Final = (
    _text("agent", "in a run of several agents, the one that connects"),
    _text("source", "source address"),
    _text("target", "target address and port"),
    _count("established", "connections so far"),
    _count("failed", "attempts so far"),
    _count("open", "connections open"),
)


def table(name: TableName, series: RecordedSeries) -> ExportTable:
    """Return a table of a run. Its columns are known from here on: all lines are read once for `series`."""
    match name:
        case TableName.SERIES:
            columns = FIXED + kernel_columns(set(chain.from_iterable(map(kernel_keys, series.lines()))))
            return ExportTable(name, tuple(map(_heading, columns)), lambda: _values(columns, series))
        case TableName.ERRORS:
            return ExportTable(name, (*map(_heading, PLACE), *ERRORS), lambda: _errors(series))
        case TableName.PAIRS:
            return ExportTable(name, (*map(_heading, PLACE), *PAIRS), lambda: _pairs(series))


def _place(interval: ExportInterval) -> tuple[Cell, ...]:
    return tuple(column.value(interval) for column in PLACE)


def _values(columns: tuple[ExportColumn, ...], series: RecordedSeries) -> Iterator[tuple[Cell, ...]]:
    for interval in series.intervals():
        yield tuple(column.value(interval) for column in columns)


def _errors(series: RecordedSeries) -> Iterator[tuple[Cell, ...]]:
    for interval in series.intervals():
        place = _place(interval)
        for error in interval.line.errors:
            yield (*place, error.syscall, error.errno, error.outcome, error.times)


def _pairs(series: RecordedSeries) -> Iterator[tuple[Cell, ...]]:
    plan = series.plan
    names = [(agent, source, str(target)) for (agent, _), (source, target) in zip(plan.owners, plan.pairs, strict=True)]
    for interval in series.intervals():
        pairs = interval.line.pairs
        if len(pairs) != len(names):
            raise UsageError(f"a line has {len(pairs):,} pairs and the plan {len(names):,}; they are of different runs")
        place = _place(interval)
        for name, pair in zip(names, pairs, strict=True):
            yield (*place, *name, pair.established, pair.failed, pair.open)
