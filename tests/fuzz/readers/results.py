"""Readers of run directories that may come from anywhere: one file of one is damaged, the others are as they were."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from loadgen.compare import load as comparing
from loadgen.errors import UsageError
from loadgen.model import Plan
from loadgen.results import listing, run_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.views.dashboard import pages
from loadgen.views.html import compare as compare_html
from loadgen.views.html import matrix as matrix_html
from loadgen.views.html import run as run_html
from loadgen.views.text import compare as compare_text
from loadgen.views.text import matrix as matrix_text
from loadgen.views.text import matrix_table
from loadgen.views.text import run as run_text
from tests.fuzz.reader import Reader

RUNS: Final = Path(__file__).parents[2] / "data" / "runs"


def _of_file(name: str, runs: Sequence[str]) -> Callable[[], Sequence[bytes]]:
    return lambda: [data for run in runs if (data := (RUNS / run / name).read_bytes())]


def _console() -> Console:
    return Console(file=io.StringIO(), width=100)


def _report(path: Path) -> object:
    """Do what `loadgen report`, `compare`, `runs` and the dashboard's list do with a run."""
    [listed] = listing.list_runs(path.parent)
    pages.runs(path.parent, str)
    run = run_directory.read(path)
    summary = run.summarised()
    run_html.render(run, summary)
    run_text.render(summary, _console(), report="report.html")
    files.plain(summary)
    given = comparing.read([str(path), str(RUNS / "hold")])
    result = comparing.compared(given, anyway=True)
    compare_text.render(result, _console())
    result.to_json()
    compare_html.page(result, {str(one.path): one.series for side in given for one in side.runs})
    return listed


def _report_matrix(path: Path) -> object:
    [listed] = listing.list_runs(path.parent)
    pages.runs(path.parent, str)
    whole = run_directory.read_matrix(path)
    summary = whole.summarised()
    matrix_html.page(summary, whole.scenario_text)
    matrix_table.table(summary)
    matrix_text.render(summary, _console(), report="report.html")
    return listed


def _with(name: str, run: str, use: Callable[[Path], object], *without: str) -> Callable[[bytes], object]:
    """Return a reader of a run directory in which this file has the given content; `without` these files."""

    def read(data: bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="loadgen-fuzz-") as folder:
            path = Path(folder, "20260131T120000Z-a-1f3a")
            shutil.copytree(RUNS / run, path, ignore=shutil.ignore_patterns(name, *without))
            (path / name).write_bytes(data)
            return use(path)

    return read


_ALL: Final = ("hold", "churn", "http", "tls", "udp", "wall", "interrupted", "killed-worker")


def _shape(shape: type) -> Callable[[bytes], object]:
    return lambda data: files.read(data, shape)


def _lines(name: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [line for run in _ALL for line in (RUNS / run / name).read_bytes().splitlines()[:4]]


def _round_trip(data: bytes) -> object:
    line = files.read(data, Line)
    assert files.read(files.line_of(line), Line) == line or "nan" in repr(line), "no round trip"
    return line


_ROOM: Final = 64 << 20

READERS: Final = (
    Reader("series line", _round_trip, _lines("series.jsonl"), (ValueError,), as_json=True),
    Reader("event", _shape(Event), _lines("events.jsonl"), (ValueError,), as_json=True),
    Reader("plan", _shape(Plan), _of_file("plan.json", _ALL), (ValueError,), as_json=True),
    Reader("host", _shape(Host), _of_file("host.json", _ALL), (ValueError,), as_json=True),
    Reader("summary", files.read_summary, _of_file("summary.json", (*_ALL, "matrix")), (ValueError,), as_json=True),
    Reader("matrix", _shape(MatrixPlan), _of_file("matrix.json", ("matrix",)), (ValueError,), as_json=True),
    *(
        Reader(
            f"run with {name}",
            _with(name, "wall", _report, *(() if name == "summary.json" else ("summary.json",))),
            _of_file(name, ("wall",)),
            (UsageError,),
            as_json=name != "scenario.yaml",
            bytes_free=_ROOM,
            tries=12,
        )
        for name in ("plan.json", "host.json", "series.jsonl", "events.jsonl", "summary.json", "scenario.yaml")
    ),
    *(
        Reader(
            f"run of churn with {name}",
            _with(name, "churn", _report),  # beside a summary, so that it is not folded from the lines
            _of_file(name, ("churn",)),
            (UsageError,),
            as_json=True,
            bytes_free=_ROOM,
            tries=12,
        )
        for name in ("plan.json", "host.json", "series.jsonl", "events.jsonl")
    ),
    *(
        Reader(
            f"matrix with {name}",
            _with(name, "matrix", _report_matrix),
            _of_file(name, ("matrix",)),
            (UsageError,),
            as_json=name != "scenario.yaml",
            bytes_free=_ROOM,
            tries=12,
        )
        for name in ("matrix.json", "events.jsonl", "summary.json")
    ),
)
