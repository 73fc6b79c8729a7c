"""Readers of run directories that may come from anywhere: one file of one is damaged, the others are as they were.

And of facts of another kernel, which are one file.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from loadgen import facts
from loadgen.compare import load as comparing
from loadgen.errors import UsageError
from loadgen.facts import comparison
from loadgen.facts.base import Cost, FactFinding, FactVerdict
from loadgen.find import answer
from loadgen.model import Plan
from loadgen.results import listing, run_directory, search_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FindPlan, TrialResult
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.views.ci import junit, markdown
from loadgen.views.dashboard import pages
from loadgen.views.html import compare as compare_html
from loadgen.views.html import find as find_html
from loadgen.views.html import matrix as matrix_html
from loadgen.views.html import run as run_html
from loadgen.views.text import compare as compare_text
from loadgen.views.text import facts as facts_text
from loadgen.views.text import find as find_text
from loadgen.views.text import matrix as matrix_text
from loadgen.views.text import matrix_table
from loadgen.views.text import run as run_text
from tests import searches
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


def _report_search(path: Path) -> object:
    [listed] = listing.list_runs(path.parent)
    pages.runs(path.parent, str)
    found = search_directory.read(path)
    summary = answer.summarise(found.plan, found.trials, found.events, run=path.name)
    find_html.page(summary, found.scenario_text)
    find_text.render(summary, _console(), report="report.html")
    junit.render(summary, directory="r")
    markdown.render(summary, directory="r")
    files.pretty(summary)
    return listed


def _search_with(name: str) -> Callable[[bytes], object]:
    """Return a reader of the directory of a search in which this file has the given content."""

    def read(data: bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="loadgen-fuzz-") as folder:
            path = Path(folder, "20260131T120000Z-a-1f3a")
            path.mkdir()
            for own, content in searches.directory().items():
                (path / own).write_bytes(data if own == name else content)
            return _report_search(path)

    return read


def _of_search(name: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [searches.directory()[name]]


def _trial_lines() -> Sequence[bytes]:
    return searches.directory()["trials.jsonl"].splitlines()


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


def _facts() -> bytes:
    findings = [
        FactFinding(fact, fact.expected, FactVerdict.HOLDS, "", 0.1, Cost(12.5, 9, 2.0))
        for fact in facts.all_facts(["3"])
    ]
    return json.dumps(facts.to_json(findings, started_at=datetime(2026, 1, 31, tzinfo=UTC))).encode()


def _compare_facts(data: bytes) -> object:
    with tempfile.TemporaryDirectory(prefix="loadgen-fuzz-") as folder:
        here, there = Path(folder, "here.json"), Path(folder, "there.json")
        here.write_bytes(_facts())
        there.write_bytes(data)
        result = comparison.compare(there, here)
        facts_text.render(result, _console())
        return result.to_json()


_ROOM: Final = 64 << 20

READERS: Final = (
    Reader("facts", _compare_facts, lambda: [_facts()], (UsageError,), as_json=True, tries=40),
    Reader("series line", _round_trip, _lines("series.jsonl"), (ValueError,), as_json=True),
    Reader("event", _shape(Event), _lines("events.jsonl"), (ValueError,), as_json=True),
    Reader("plan", _shape(Plan), _of_file("plan.json", _ALL), (ValueError,), as_json=True),
    Reader("host", _shape(Host), _of_file("host.json", _ALL), (ValueError,), as_json=True),
    Reader("summary", files.read_summary, _of_file("summary.json", (*_ALL, "matrix")), (ValueError,), as_json=True),
    Reader("search", _shape(FindPlan), _of_search("find.json"), (ValueError,), as_json=True),
    Reader(
        "trial",
        _shape(TrialResult),
        lambda: searches.directory()["trials.jsonl"].splitlines(),
        (ValueError,),
        as_json=True,
    ),
    Reader("summary of a search", files.read_summary, _of_search("summary.json"), (ValueError,), as_json=True),
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
            f"search with {name}",
            _search_with(name),
            _of_search(name),
            (UsageError,),
            as_json=name != "scenario.yaml",
            bytes_free=_ROOM,
            tries=12,
        )
        for name in ("find.json", "trials.jsonl", "events.jsonl", "summary.json", "scenario.yaml")
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
