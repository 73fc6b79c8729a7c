"""Values of the run directory's types, made from the recorded runs in tests/data/runs with some keys changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from loadgen.compare.comparable import Subject
from loadgen.model import Plan
from loadgen.results import run_directory
from loadgen.results.run_directory import Run
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import RunSummary

RUNS: Final = Path(__file__).parent / "data" / "runs"

_Shape = TypeVar("_Shape")
#: Values by dotted path, such as {"verdict.limit": "none", "sources.0.failed": 3}.
Changes = Mapping[str, Any]


@cache
def _text(name: str, file: str) -> str:
    return (RUNS / name / file).read_text()


def changed(data: Any, changes: Changes) -> Any:
    """Set each dotted path in plain JSON data, in place; a number is a position. Raises: KeyError, IndexError."""
    for path, value in changes.items():
        *parents, last = path.split(".")
        inner = data
        for key in parents:
            inner = inner[int(key)] if isinstance(inner, list) else inner[key]
        if isinstance(inner, list):
            inner[int(last)] = value
        else:
            inner[last] = value
    return data


def _of(name: str, file: str, shape: type[_Shape], changes: Changes) -> _Shape:
    return files.convert(changed(json.loads(_text(name, file)), changes), shape)


def summary(changes: Changes = {}, name: str = "hold") -> RunSummary:  # noqa: B006  # never written to
    """The summary of a recorded run."""
    return _of(name, "summary.json", RunSummary, changes)


def matrix_summary(changes: Changes = {}) -> MatrixSummary:  # noqa: B006
    """The summary of the recorded matrix."""
    return _of("matrix", "summary.json", MatrixSummary, changes)


def matrix_plan(changes: Changes = {}) -> MatrixPlan:  # noqa: B006
    """The cells of the recorded matrix."""
    return _of("matrix", "matrix.json", MatrixPlan, changes)


def plan(changes: Changes = {}, name: str = "hold") -> Plan:  # noqa: B006
    """The plan of a recorded run."""
    return _of(name, "plan.json", Plan, changes)


def host(changes: Changes = {}, name: str = "hold") -> Host:  # noqa: B006
    """The host of a recorded run."""
    return _of(name, "host.json", Host, changes)


def series(name: str = "hold") -> tuple[Line, ...]:
    """The lines of a recorded run."""
    return tuple(files.read(text.encode(), Line) for text in _text(name, "series.jsonl").splitlines())


def line(changes: Changes = {}, name: str = "hold", number: int = -1) -> Line:  # noqa: B006
    """One line of a recorded run, the last if none is named."""
    return files.convert(changed(json.loads(_text(name, "series.jsonl").splitlines()[number]), changes), Line)


def events(name: str = "hold") -> tuple[Event, ...]:
    """The events of a recorded run."""
    return tuple(files.read(text.encode(), Event) for text in _text(name, "events.jsonl").splitlines())


def subject(
    name: str = "a",
    changes: Changes = {},  # noqa: B006
    *,
    plan_changes: Changes = {},  # noqa: B006
    host_changes: Changes = {},  # noqa: B006
    recorded: str = "hold",
    **more: Any,
) -> Subject:
    """A recorded run as a comparison takes it."""
    parts = summary(changes, recorded), plan(plan_changes, recorded), host(host_changes, recorded)
    return Subject(name, *parts, **{"scenario": {"connections": 150}, **more})


def write(path: Path, files_changed: Mapping[str, Changes | str] = {}, name: str = "hold") -> Path:
    """Make a run directory with some of the files of a recorded run, each with its changes; a text stands as it is."""
    path.mkdir(parents=True, exist_ok=True)
    for file, changes in files_changed.items():
        whole = changes if isinstance(changes, str) else json.dumps(changed(json.loads(_text(name, file)), changes))
        (path / file).write_text(whole)
    return path


def run(name: str = "hold") -> Run:
    """A recorded run as it is read back, without its summary."""
    return replace(run_directory.read(RUNS / name), summary=None)


def bare_line(t_s: float = 1.0, phase: str = "ramp", **keys: Any) -> Line:
    """A line with these keys as plain JSON, and otherwise nothing counted and nothing measured."""
    return files.convert({"t_s": t_s, "phase": phase, "pairs": [], "latency_ns": {}, "lag_ns": {}, **keys}, Line)
