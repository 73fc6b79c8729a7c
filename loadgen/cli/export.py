"""`loadgen export`: the series of a run in the formats of other tools."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

import click

from loadgen.cli import files
from loadgen.cli.streams import EPILOG, reader_may_leave
from loadgen.errors import UsageError

if TYPE_CHECKING:
    from loadgen.results.run_directory import Run
    from loadgen.views.export.tables import ExportTable, RecordedSeries

_FORMATS: Final = ("csv", "hlog", "openmetrics", "parquet")
_TABLES: Final = ("series", "errors", "pairs")
#: Run directories of a matrix that the refusal names.
_NAMED_MAX: Final = 3


@click.command(epilog=EPILOG)
@click.argument("run_directory", metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    required=True,
    help="csv; hlog, the log of HdrHistogram, with latencies only; openmetrics, with the metrics of the dashboard; "
    "parquet.",
)
@click.option(
    "--table",
    type=click.Choice(_TABLES),
    default="series",
    show_default=True,
    help="Table of csv and parquet: a row for each line, for each line and kind of error, or for each line, source and "
    "target.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to FILE instead of stdout; parquet needs it.",
)
def export(run_directory: Path, form: str, table: str, out: Path | None) -> None:
    """Write the series of RUN for other tools.

    Units are in the names of columns: connect_p99_us. Every column: docs/export.md.

    \b
    Examples:
      loadgen export results/RUN --format csv > run.csv
      loadgen export results/RUN --format csv --table errors
      loadgen export results/RUN --format hlog --out run.hlog
      loadgen export results/RUN --format openmetrics --out run.om
      loadgen export results/RUN --format parquet --out run.parquet
    """
    if table != "series" and form in ("hlog", "openmetrics"):
        raise UsageError(f"--table {table} is for csv and parquet; --format {form} has no tables")
    if form == "parquet" and out is None:
        raise UsageError("--format parquet is not text; name a file with --out")
    _require(form)
    run = _read(run_directory)
    series = _series(run)
    if out is not None:
        files.ready(out, "--out", stale=False)
    if form == "parquet" and out is not None:
        from loadgen.views.export import parquet

        with files.replacing(out) as file:
            parquet.write(_table(table, series), file, {"run": run_directory.resolve().name, "scenario": run.plan.name})
        return
    write = _writer(form, table, run, series)
    if out is None:
        with reader_may_leave():
            write(sys.stdout)
        return
    with files.replacing(out) as file, _as_text(file) as text:
        write(text)


def _require(form: str) -> None:
    """Return if the packages of a format are installed. Raises: HostError."""
    if form == "hlog":
        from loadgen.views.export import hlog

        hlog.require()
    if form == "parquet":
        from loadgen.views.export import parquet

        parquet.require()


def _read(path: Path) -> Run:
    """Read a run directory. Raises: UsageError, for those of several runs with the names of these."""
    from loadgen.results import run_directory as rundir
    from loadgen.results import search_directory

    if rundir.is_matrix(path) or search_directory.is_search(path):
        runs = rundir.runs_in(path)
        named = ", ".join(map(str, runs[:_NAMED_MAX])) or "there is none yet"
        more = f", and {len(runs) - _NAMED_MAX:,} more" if len(runs) > _NAMED_MAX else ""
        raise UsageError(f"{path} has several runs; export one of them: {named}{more}")
    return rundir.read(path)


def _series(run: Run) -> RecordedSeries:
    """Return all lines that are there now; a run that is still going may add more, which are left out."""
    from loadgen.results import run_directory as rundir
    from loadgen.views.export.tables import RecordedSeries

    count = sum(1 for _ in rundir.written_series(run.path))
    began_ns = run.start.at_ns if run.start else None
    return RecordedSeries(run.plan, lambda: islice(rundir.written_series(run.path), count), began_ns)


def _table(name: str, series: RecordedSeries) -> ExportTable:
    from loadgen.views.export import tables

    return tables.table(tables.TableName(name), series)


def _writer(form: str, name: str, run: Run, series: RecordedSeries) -> Callable[[TextIO], object]:
    """Return what writes a text format to a file. Raises: UsageError."""
    if form == "csv":
        from loadgen.views.export import delimited

        table = _table(name, series)
        return lambda file: delimited.write(table, file)
    if form == "hlog":
        from loadgen.views.export import hlog

        return lambda file: hlog.write(series, file)
    from loadgen.views.export import openmetrics

    exposition = openmetrics.exposition(series, {line.t_s for line in run.series})
    return lambda file: file.write(exposition)


@contextmanager
def _as_text(file: BinaryIO) -> Iterator[TextIO]:
    """Yield a file of bytes as one of UTF-8 text, and leave it open."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.detach()
