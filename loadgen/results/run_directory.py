"""The run directory: the contract between measuring and looking.

    results/<UTC time>-<name>-<4 hex>/
        scenario.yaml    as it was given
        plan.json        what the arithmetic said
        host.json        kernel, sysctls, limits, versions
        series.jsonl     one object per interval and per change of phase, see `schema.line`
        events.jsonl     what happened, in words: {"t_s", "event", "text"}
        summary.json     the whole run in one object
        report.html      the same for people

which of a run of several agents is made from the directories of their shares, each as above

        agents/<name>/

and the directory of a matrix

    results/<UTC time>-<name>-<4 hex>/
        scenario.yaml    as it was given
        matrix.json      the settings of every cell, and what is expected of all of them
        events.jsonl     which cell began, was skipped, and why it all ended
        cells/<n>/       a run directory as above for each cell, n from 0
        cells/<n>-<r>/   the same for its further rounds, r from 2
        cells/<n>.cut-1/ a run that did not come to its end and was made again since, never read
        summary.json, report.html, cells.csv     made from the cells

Lines are written as the run goes and each with one system call, so a run that is killed leaves all
but at most its last line; `summarise` makes the summary from the lines, for the run itself and for `loadgen report`.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from loadgen.errors import UsageError
from loadgen.model import Plan
from loadgen.results import matrix as matrices
from loadgen.results import search_directory, stored
from loadgen.results import summary as summaries
from loadgen.results.directory_files import (
    SCENARIO,
    HeldDirectory,
    LinesFile,
    append_line,
    cannot_write,
    end_last_line,
    make,
    mode_in,
    not_a_line,
    not_ours,
    read_all_lines,
    read_lines,
    read_object,
    read_text,
    replace_file,
    set_aside,
    write_all,
)
from loadgen.results.fold import Fold
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FindPlan
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import AgentResult, RunSummary
from loadgen.results.thinning import Thinned

_PLAN: Final = "plan.json"
_HOST: Final = "host.json"
_SERIES: Final = "series.jsonl"
_EVENTS: Final = "events.jsonl"
_SUMMARY: Final = "summary.json"
_REPORT: Final = "report.html"
_MATRIX: Final = "matrix.json"
_CELLS: Final = "cells"
_TABLE: Final = "cells.csv"
_AGENTS: Final = "agents"
#: Names of the runs of a matrix, cell and round, and of a search; not of those that were set aside.
_RUN_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:-[0-9]{1,9})?")
#: Names of agents, which are names of directories.
_AGENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RunWriter:
    """Writer of one run directory. Every method raises ResultsError when a write fails."""

    def __init__(self, results: Path, name: str, at: Path | None = None, *, private: bool = False) -> None:
        """Make the directory: a new one under `results`, or `at` itself, which must not be there yet.

        private: whether only this user may enter it; else it is as umask(2) says.
        """
        self.path, self.started_at = make(results, name, at, private=private)
        self._series = LinesFile(self.path / _SERIES)
        self._events = LinesFile(self.path / _EVENTS)

    def write_scenario(self, text: str) -> None:
        """Write the scenario as it was given."""
        self._write(SCENARIO, text)

    def write_plan(self, plan: Plan) -> None:
        """Write the plan."""
        self._write(_PLAN, files.pretty(files.plan_of(plan)))

    def write_host(self, host: Mapping[str, object]) -> None:
        """Write the facts of the host."""
        self._write(_HOST, files.pretty(host))

    def write_summary(self, summary: RunSummary) -> None:
        """Write the summary."""
        self._write(_SUMMARY, files.pretty(summary))

    def write_report(self, html: str) -> None:
        """Write the HTML report."""
        self._write(_REPORT, html)

    def append_series(self, line: Line) -> None:
        """Append a line to the series."""
        self._series.append(line)

    def append_event(self, line: Event) -> None:
        """Append an event."""
        self._events.append(line)

    def close(self) -> None:
        """Close the series and the events."""
        try:
            self._series.close()
        finally:
            self._events.close()

    def _write(self, name: str, text: str) -> None:
        replace_file(self.path / name, text)


class MatrixWriter(HeldDirectory):
    """Writer of the directory of a matrix, except for the runs in it. Every method raises ResultsError."""

    def __init__(self, results: Path, name: str, at: Path | None = None, *, private: bool = False) -> None:
        """See `HeldDirectory`."""
        super().__init__(results, name, at, private=private, lines=(_EVENTS,))

    def run(self, index: int, number: int) -> Path:
        """Return the path of the run directory of a round of a cell; the round from 1."""
        return _run_path(self.path, index, number)

    def set_aside(self, index: int, number: int) -> Path | None:
        """Rename the directory of a run that was cut off, so that it can run again; return the new path, if any."""
        return set_aside(self.run(index, number))

    def write_scenario(self, text: str) -> None:
        """Write the scenario as it was given."""
        replace_file(self.path / SCENARIO, text)

    def write_matrix(self, matrix: MatrixPlan) -> None:
        """Write the cells, before the first of them runs."""
        replace_file(self.path / _MATRIX, files.pretty(matrix))

    def append_event(self, line: Event) -> None:
        """Append an event."""
        append_line(self.path / _EVENTS, line)


def _run_path(matrix: Path, index: int, number: int) -> Path:
    """Return the run directory of one round of a cell; the first has no number, as where there is only one."""
    return matrix / _CELLS / (str(index) if number == 1 else f"{index}-{number}")


@dataclass(frozen=True, slots=True)
class MatrixRun:
    """The directory of a matrix read back: its plan, its events, and the runs that left files."""

    path: Path
    scenario_text: str
    matrix: MatrixPlan
    events: tuple[Event, ...]
    #: By cell, from 0, and round, from 1.
    runs: dict[tuple[int, int], Run]

    def summarised(self) -> MatrixSummary:
        """Return the summary, made from the cells: never read back, because folding them takes no time.

        Raises: UsageError when a file is not one that this version of loadgen understands.
        """
        runs = {place: run.summarised() for place, run in self.runs.items()}
        try:
            return matrices.summarise(self.matrix, self.events, runs, run=self.path.name)
        except ValueError as error:  # an expression of `expect`
            raise not_ours(self.path / _MATRIX, "a matrix", error) from error


def is_run(path: Path) -> bool:
    """Return whether this is the directory of one run."""
    return stored.is_there(path / _PLAN)


def is_matrix(path: Path) -> bool:
    """Return whether this is the directory of a matrix."""
    return stored.is_there(path / _MATRIX)


def read_matrix(path: Path) -> MatrixRun:
    """Read the directory of a matrix, whatever state it was left in. Raises: UsageError."""
    matrix = read_object(path / _MATRIX, MatrixPlan, "a matrix")
    if matrix is None:
        raise UsageError(f"{path / _MATRIX}: empty; run {path / SCENARIO} anew")
    rounds = matrices.rounds_of(matrix)
    paths = {(index, number): _run_path(path, index, number) for index in range(len(matrix.cells)) for number in rounds}
    return MatrixRun(
        path=path,
        scenario_text=read_text(path / SCENARIO),
        matrix=matrix,
        events=read_all_lines(path / _EVENTS, Event),
        runs={place: read(run) for place, run in paths.items() if stored.is_there(run / _PLAN)},
    )


def write_matrix_results(path: Path, *, summary: MatrixSummary, report: str, table: str) -> Path:
    """Write the summary and the report of a matrix, and return the report's path. Raises: ResultsError."""
    replace_file(path / _SUMMARY, files.pretty(summary))
    replace_file(path / _TABLE, table)
    replace_file(path / _REPORT, report)
    return path / _REPORT


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory read back; a file that was never written is empty or None.

    series: of a very long one neighbouring lines are merged, see `loadgen.results.thinning`. fold: what a summary
    needs of all lines; None where the run has written one.
    """

    path: Path
    scenario_text: str
    plan: Plan
    host: Host
    series: tuple[Line, ...]
    events: tuple[Event, ...]
    summary: RunSummary | None
    fold: Fold | None = None
    agents: tuple[AgentResult, ...] = ()

    @property
    def start(self) -> Event | None:
        """The start of the load by the clock of its host; None where the run does not say."""
        return next((event for event in self.events if event.event == "started" and event.at_ns is not None), None)

    def summarised(self) -> RunSummary:
        """Return the summary as written, or made now from the lines if the run never came to write it.

        Raises: UsageError when the lines do not fit the plan.
        """
        if self.summary:
            return self.summary
        try:
            fold = self.fold or Fold.of(self.series)
            name = _name_of(self.path)
            return summaries.of_fold(self.plan, self.host, fold, self.events, run=name, agents=self.agents)
        except (ArithmeticError, ValueError) as error:  # edited: pairs of another plan, an impossible expression
            raise UsageError(
                f"{self.path}: {_SERIES}, {_EVENTS} or {_PLAN} is not what this version of loadgen writes ({error})"
            ) from error


def read(path: Path) -> Run:
    """Read a run directory, whatever state its run left it in.

    A torn last line, which is what a kill or a full disk leaves, is passed over; any other line that
    is not JSON is an error, because then this is not our file.

    Raises: UsageError when there is no run there, or a file in it is not what loadgen writes.
    """
    plan = read_object(path / _PLAN, Plan, "a plan")
    if plan is None:
        raise UsageError(
            f"{path} is no run directory (no {_PLAN} in it); "
            "give one of the directories that `loadgen run` makes under results/"
        )
    summary = written_summary(path)
    if summary is not None and not isinstance(summary, RunSummary):
        raise UsageError(f"{path / _SUMMARY}: the summary of several runs beside the plan of one; delete it")
    series = Thinned()
    for number, line in read_lines(path / _SERIES, Line):
        try:
            series.add(line)
        except (ArithmeticError, LookupError, ValueError) as error:
            raise not_a_line(path / _SERIES, number, error) from error
    return Run(
        path=path,
        scenario_text=read_text(path / SCENARIO),
        plan=plan,
        host=written_host(path),
        series=series.lines,
        events=read_all_lines(path / _EVENTS, Event),
        summary=summary,
        fold=series.fold,
        agents=() if summary else _agents(path, plan),
    )


def written_series(path: Path) -> Iterator[Line]:
    """Yield every line of a run as it was written, of a long one as well. Raises: UsageError."""
    return (line for _, line in read_lines(path / _SERIES, Line))


def runs_in(path: Path) -> tuple[Path, ...]:
    """Return the run directories in that of a matrix or a search, in the order of their numbers."""
    parts = [_CELLS] if is_matrix(path) else [search_directory.RUNS] if search_directory.is_search(path) else []
    found = [run for part in parts for run in path.glob(f"{part}/*") if _RUN_NUMBER.fullmatch(run.name) and is_run(run)]
    return tuple(sorted(found, key=lambda run: [int(number) for number in run.name.split("-")]))


def _agents(path: Path, plan: Plan) -> tuple[AgentResult, ...]:
    """Return the share of each agent of a plan whose run directory is there. Raises: UsageError."""
    names = [agent.name for agent in plan.agents if stored.is_there(agent_path(path, agent.name) / _PLAN)]
    shares = {name: read(agent_path(path, name)) for name in names}
    starts = {name: share.start for name, share in shares.items()}
    first_ns = min((start.at_ns or 0 for start in starts.values() if start), default=0)
    results = []
    for name, share in shares.items():
        start = starts[name]
        error_ns = start.clock_error_ns if start else None
        results.append(
            summaries.share_of(
                name,
                f"{_AGENTS}/{name}",
                share.summarised(),
                started_ms=round(((start.at_ns or 0) - first_ns) / 1e6, 3) if start else None,
                error_ms=None if error_ns is None else round(error_ns / 1e6, 3),
            )
        )
    return tuple(results)


def agent_path(path: Path, name: str) -> Path:
    """Return the run directory of an agent's share. Raises: UsageError for what is no name of an agent."""
    if not _AGENT_NAME.fullmatch(name):
        raise UsageError(f"{path / _PLAN}: {name[:80]!r} is no name of an agent; loadgen did not write this plan")
    return path / _AGENTS / name


def copy_files(path: Path, to: Path) -> None:
    """Copy the files that loadgen wrote into a run directory to a new one. Raises: ResultsError, UsageError."""
    try:
        to.mkdir(parents=True, mode=path.stat().st_mode & 0o777)
    except OSError as error:
        raise cannot_write(to, error) from error
    for name in (SCENARIO, _PLAN, _HOST, _SERIES, _EVENTS, _SUMMARY, _REPORT):
        with stored.opened(path / name) as source:
            if source is None:
                continue
            try:
                with open(to / name, "xb", opener=partial(os.open, mode=mode_in(to))) as copy:
                    shutil.copyfileobj(source, copy)
            except OSError as error:
                raise cannot_write(to / name, error) from error


def written_summary(path: Path) -> files.Summary | None:
    """Read the summary of a run or a matrix as it was written, and nothing else of it; None where there is none.

    Raises: UsageError when it is not what loadgen writes.
    """
    text = stored.read(path / _SUMMARY)
    try:
        return files.read_summary(text) if text else None
    except ValueError as error:
        raise UsageError(
            f"{path / _SUMMARY}: not a summary of this version of loadgen ({error}); "
            "delete it, and loadgen report makes one from the other files"
        ) from error


def written_plan(path: Path) -> Plan | MatrixPlan | FindPlan | None:
    """Read the plan of a run, a matrix or a search; None where there is none. Raises: UsageError."""
    if search_directory.is_search(path):
        return search_directory.read(path).plan
    if is_matrix(path):
        return read_object(path / _MATRIX, MatrixPlan, "a matrix")
    return read_object(path / _PLAN, Plan, "a plan")


def written_host(path: Path) -> Host:
    """Read the facts of the host of a run; without any where there are none. Raises: UsageError."""
    return read_object(path / _HOST, Host, "a host") or Host()


def written_events(path: Path) -> tuple[Event, ...]:
    """Read the events of a run or a matrix until now. Raises: UsageError."""
    return read_all_lines(path / _EVENTS, Event)


def last_written_s(path: Path) -> float:
    """Return when a line was last added to a run, or to any run of a matrix, as time.time(); 0 where there is none."""
    times_s = [0.0]
    for name in (_SERIES, _EVENTS):
        below = (path.glob(f"{runs}/*/{name}") for runs in (_CELLS, search_directory.RUNS))
        for file in (path / name, *itertools.chain(*below)):
            with suppress(OSError):  # it may be set aside at any time
                times_s.append(file.stat().st_mtime)
    return max(times_s)


def _name_of(path: Path) -> str:
    """Return the name of a run: that of its directory, for a cell with the matrix it belongs to."""
    whole = path.parent.parent
    of_matrix = path.parent.name == _CELLS and is_matrix(whole)
    of_search = path.parent.name == search_directory.RUNS and search_directory.is_search(whole)
    return f"{whole.name}/{path.parent.name}/{path.name}" if of_matrix or of_search else path.name


def replace_derived(path: Path, *, summary: files.Summary | None, report: str) -> Path:
    """Write a report, and a summary if one was missing, into an existing run directory; the report's path.

    Raises: ResultsError.
    """
    if summary is not None:
        replace_file(path / _SUMMARY, files.pretty(summary))
    replace_file(path / _REPORT, report)
    return path / _REPORT


def append_events(path: Path, events: Iterable[Event]) -> None:
    """Add events to a run that has ended. Raises: ResultsError."""
    end_last_line(path / _EVENTS)
    try:
        fd = os.open(path / _EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            write_all(fd, b"".join(map(files.line_of, events)))
        finally:
            os.close(fd)
    except OSError as error:
        raise cannot_write(path / _EVENTS, error) from error
