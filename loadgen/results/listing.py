"""List the runs in a directory of results, newest first, without reading their series.

summary.json is enough for the line of a run that has ended, so a thousand of them take a second or two. Runs that
are still going, that were killed, or whose files were damaged are listed as well; other directories are passed over.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, Final

from loadgen.errors import UsageError
from loadgen.model import Plan
from loadgen.results import matrix as matrices
from loadgen.results import run_directory, search_directory, stored
from loadgen.results.measures import rate_per_s
from loadgen.results.schema.files import Summary
from loadgen.results.schema.find import FindPlan, FindSummary
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import RunSummary

SCHEMA: Final = "loadgen.runs/1"

#: Name of a run directory that was not renamed: UTC time, scenario, four hex digits.
_NAME: Final = re.compile(r"(\d{8}T\d{6}Z)-(.+)-[0-9a-f]{4}")
#: A run that has written nothing for this time, nor for three of its intervals, is no longer running.
QUIET_S: Final = 10.0
#: Runs of a list that was asked for without a number: each takes a millisecond or two.
RUNS_MAX: Final = 1_000
_QUIET_INTERVALS: Final = 3


class RunKind(StrEnum):
    """How a run ended. Only `run`, `matrix` and `find` are complete."""

    RUN = "run"
    MATRIX = "matrix"
    FIND = "find"
    #: Interrupted, killed, or refused by the host; a run or a matrix.
    UNFINISHED = "unfinished"
    RUNNING = "running"
    #: Its files are not what this version of loadgen writes.
    BROKEN = "broken"


_KINDS: Final = {RunSummary: RunKind.RUN, MatrixSummary: RunKind.MATRIX, FindSummary: RunKind.FIND}


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One line of the list. What is not known is None."""

    path: Path
    #: Of the directory.
    name: str
    scenario: str | None
    #: ISO 8601, UTC; out of the name or the age of the directory where the run left nothing else.
    started_at: str
    kind: RunKind
    #: Of a matrix with one cell the median of its runs, of others None.
    established: int | None = None
    #: The mean over the ramp, for churn the sustained rate.
    rate_per_s: float | None = None
    #: The limit that was met, "none" for no limit.
    limit: str | None = None
    headline: str | None = None
    #: True if all expectations were met; None where the scenario has none.
    expect_passed: bool | None = None
    #: The reason for which it is unfinished or broken.
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The object that `loadgen runs --json` prints."""
        return {
            "path": str(self.path),
            "name": self.name,
            "scenario": self.scenario,
            "started_at": self.started_at,
            "kind": self.kind.value,
            "established": self.established,
            "rate_per_s": self.rate_per_s,
            "limit": self.limit,
            "headline": self.headline,
            "expect_passed": self.expect_passed,
            "problem": self.problem,
        }


def list_runs(results: Path, limit: int = RUNS_MAX, *, scenario: str | None = None) -> list[ListedRun]:
    """Return the runs and matrices in a directory, newest first, at most `limit`, of one scenario or of all.

    Empty where the directory is not there, as before the first run. Raises: UsageError when it cannot be read.
    """
    runs = map(listed, _directories(results))
    return list(islice((run for run in runs if scenario in (None, run.scenario)), limit))


def listed(path: Path) -> ListedRun:
    """Return the line about one directory, whatever state it is in."""
    match = _NAME.fullmatch(path.name)
    named = match[2] if match else None
    try:
        return _listed(path, named)
    except UsageError as error:
        return ListedRun(path, path.name, named, _began(path), RunKind.BROKEN, problem=str(error))


def _directories(results: Path) -> list[Path]:
    """Return every directory that is a run, or was to become one, newest first."""
    try:
        with os.scandir(results) as entries:
            directories = [path for entry in entries if _is_directory(entry) and _is_run(path := Path(entry.path))]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{results}: {error.strerror}; give the directory that runs were written to") from error
    return sorted(directories, key=lambda path: (_began(path), path.name), reverse=True)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a directory, or a link to one; False where that cannot be seen."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_run(path: Path) -> bool:
    left = ("plan.json", "matrix.json", "find.json", "summary.json", "series.jsonl")
    return bool(_NAME.fullmatch(path.name)) or any(stored.is_there(path / name) for name in left)


def _began(path: Path) -> str:
    """Return when a run began, by the name of its directory; of a renamed one, when that last changed."""
    match = _NAME.fullmatch(path.name)
    if match:
        try:
            return datetime.fromisoformat(match[1]).isoformat(timespec="seconds")
        except ValueError:
            pass  # the 99th of a month
    try:
        changed_s = path.stat().st_mtime
    except OSError:
        changed_s = 0.0
    return datetime.fromtimestamp(changed_s, UTC).isoformat(timespec="seconds")


def _listed(path: Path, named: str | None) -> ListedRun:
    summary = run_directory.written_summary(path)
    several = run_directory.is_matrix(path) or search_directory.is_search(path)
    if several and not matrices.has_ended(run_directory.written_events(path)):
        summary = None  # there may be one of the time before it was resumed
    if summary is None:
        return _without_summary(path, named)
    kind = RunKind.UNFINISHED
    if summary.complete:
        kind = _KINDS[type(summary)]
    established, rate = _figures_of(summary)
    expected = matrices.all_expectations(summary)
    return ListedRun(
        path=path,
        name=path.name,
        scenario=summary.scenario or named,
        started_at=summary.started_at or _began(path),
        kind=kind,
        established=None if established is None else round(established),
        rate_per_s=rate,
        limit=summary.verdict.limit,
        headline=summary.verdict.text or None,
        expect_passed=all(row.passed for row in expected) if expected else None,
        problem=None if summary.complete else summary.incomplete_because or "the summary does not say why",
    )


def _figures_of(summary: Summary) -> tuple[float | None, float | None]:
    """Return the connections established and their rate; the trials of a search have no common figures."""
    match summary:
        case RunSummary():
            return summary.outcomes.established, rate_per_s(summary)
        case MatrixSummary():
            return _of_matrix(summary)
        case _:
            return None, None


def _of_matrix(summary: MatrixSummary) -> tuple[float | None, float | None]:
    """Return the medians of a matrix with one cell; several cells have no common figures."""
    figures = summary.cells[0].figures if len(summary.cells) == 1 else None
    if not figures:
        return None, None
    established, rate = figures.established, figures.rate_per_s
    return established.median if established else None, rate.median if rate else None


def _without_summary(path: Path, named: str | None) -> ListedRun:
    """Return the line about a run that is still going, or that ended without a summary."""
    plan = run_directory.written_plan(path)
    interval_s = plan.interval_s if isinstance(plan, Plan) else 0.0
    quiet_s = time.time() - run_directory.last_written_s(path)
    running = quiet_s <= max(QUIET_S, _QUIET_INTERVALS * interval_s)
    why = "it was cut off before it had a summary; loadgen report makes one of what is there"
    scenario = plan.name if isinstance(plan, Plan) else plan.scenario if plan else None
    return ListedRun(
        path=path,
        name=path.name,
        scenario=scenario or named,
        started_at=(plan.started_at if isinstance(plan, (MatrixPlan, FindPlan)) else "") or _began(path),
        kind=RunKind.RUNNING if running else RunKind.UNFINISHED,
        problem=None if running else why if plan else "it ended before there was a plan",
    )
