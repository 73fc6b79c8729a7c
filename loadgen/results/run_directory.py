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

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from loadgen.clock import wall_clock
from loadgen.errors import ResultsError, UsageError
from loadgen.model import Plan
from loadgen.results import matrix as matrices
from loadgen.results import stored
from loadgen.results import summary as summaries
from loadgen.results.fold import Fold
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import AgentResult, RunSummary
from loadgen.results.thinning import Thinned

_SCENARIO: Final = "scenario.yaml"
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
#: Names of agents, which are names of directories.
_AGENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: A matrix has at most 20,000 runs with some events each.
_EVENTS_MAX: Final = 200_000

_Shape = TypeVar("_Shape")


class RunWriter:
    """Writer of one run directory. Every method raises ResultsError when a write fails."""

    def __init__(self, results: Path, name: str, at: Path | None = None, *, private: bool = False) -> None:
        """Make the directory: a new one under `results`, or `at` itself, which must not be there yet.

        private: whether only this user may enter it; else it is as umask(2) says.
        """
        self.path, self.started_at = _make(results, name, at, private=private)
        self._series = _Lines(self.path / _SERIES)
        self._events = _Lines(self.path / _EVENTS)

    def write_scenario(self, text: str) -> None:
        """Write the scenario as it was given."""
        self._write(_SCENARIO, text)

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
        _replace(self.path / name, text)


class _Lines:
    """A new file of lines, open until `close`. Every method raises ResultsError."""

    def __init__(self, path: Path) -> None:
        self._path, self._bytes = path, 0
        self._torn: OSError | None = None
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _mode(path.parent))
        except OSError as error:
            raise _cannot_write(path, error) from error

    def append(self, line: Line | Event) -> None:
        """Add a line; where that fails, take back what was written of it, so that another may follow."""
        data = files.line_of(line)
        try:
            if self._torn:
                raise self._torn
            _write_all(self._fd, data)
        except OSError as error:
            try:
                os.ftruncate(self._fd, self._bytes)
            except OSError:
                self._torn = error
            raise _cannot_write(self._path, error) from error
        self._bytes += len(data)

    def close(self) -> None:
        """Close the file, which is when some file systems notice that they cannot keep it."""
        try:
            os.close(self._fd)
        except OSError as error:
            raise _cannot_write(self._path, error) from error


def _mode(folder: Path) -> int:
    """Return the mode of a new file in a directory: for the users who may enter that. Raises: OSError."""
    return os.stat(folder).st_mode & 0o666


def _make(results: Path, name: str, at: Path | None = None, *, private: bool = False) -> tuple[Path, str]:
    """Make a new run directory, and return it with the time. Raises: ResultsError."""
    started = wall_clock()
    # The name is a slug already; checking again costs nothing and keeps ../ out for every caller.
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".") or "run"
    path = at or results / f"{started:%Y%m%dT%H%M%SZ}-{slug}-{secrets.token_hex(2)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(0o700 if private else 0o777)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path, started.isoformat(timespec="seconds")


class MatrixWriter:
    """Writes the directory of a matrix, except for the runs in it. Raises ResultsError as RunWriter does.

    It holds a lock on the directory until `close`: no other loadgen can write there meanwhile.
    """

    def __init__(self, results: Path, name: str, at: Path | None = None, *, private: bool = False) -> None:
        """Make the directory under `results`, or go on in `at`. private: see RunWriter.

        Raises: UsageError when another loadgen holds it.
        """
        if at is None:
            self.path, self.started_at = _make(results, name, private=private)
            self._lock = _hold(self.path)
            return
        self.path, self.started_at = at, wall_clock().isoformat(timespec="seconds")
        self._lock = _hold(at)
        _end_last_line(at / _EVENTS)

    def close(self) -> None:
        """Release the directory."""
        os.close(self._lock)

    def run(self, index: int, number: int) -> Path:
        """Return the path of the run directory of a round of a cell; the round from 1."""
        return _run_path(self.path, index, number)

    def set_aside(self, index: int, number: int) -> Path | None:
        """Rename the directory of a run that was cut off, so that it can run again; return the new path, if any."""
        path = self.run(index, number)
        if not path.exists():
            return None
        count = 1
        while (aside := path.with_name(f"{path.name}.cut-{count}")).exists():
            count += 1
        try:
            path.rename(aside)
        except OSError as error:
            raise _cannot_write(aside, error) from error
        return aside

    def write_scenario(self, text: str) -> None:
        """Write the scenario as it was given."""
        _replace(self.path / _SCENARIO, text)

    def write_matrix(self, matrix: MatrixPlan) -> None:
        """Write the cells, before the first of them runs."""
        _replace(self.path / _MATRIX, files.pretty(matrix))

    def append_event(self, line: Event) -> None:
        """Append an event."""
        path = self.path / _EVENTS
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            fd = os.open(path, flags, _mode(self.path))
            try:
                _write_all(fd, files.line_of(line))
            finally:
                os.close(fd)
        except OSError as error:
            raise _cannot_write(path, error) from error


def _run_path(matrix: Path, index: int, number: int) -> Path:
    """Return the run directory of one round of a cell; the first has no number, as where there is only one."""
    return matrix / _CELLS / (str(index) if number == 1 else f"{index}-{number}")


def _hold(path: Path) -> int:
    """Lock a directory until this process ends or closes the descriptor. Raises: UsageError when it is held."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise UsageError(f"{path}: another loadgen is at work there; wait until it has ended, or end it") from None
    except OSError:
        pass  # some network file systems lock no directory, which is no reason not to measure
    return fd


def _end_last_line(path: Path) -> None:
    """Make a file end with a whole line, so that one can be added: a kill may have left a part of one.

    Raises: ResultsError, UsageError.
    """
    text = stored.read(path)
    try:
        if text and not text.endswith(b"\n"):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                os.ftruncate(fd, text.rfind(b"\n") + 1)
            finally:
                os.close(fd)
    except OSError as error:
        raise _cannot_write(path, error) from error


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
            raise _not_ours(self.path / _MATRIX, "a matrix", error) from error


def _not_ours(path: Path, kind: str, error: Exception) -> UsageError:
    return UsageError(f"{path}: not {kind} of this version of loadgen ({error}); restore it, or run {_SCENARIO} anew")


def is_matrix(path: Path) -> bool:
    """Return whether this is the directory of a matrix."""
    return stored.is_there(path / _MATRIX)


def read_matrix(path: Path) -> MatrixRun:
    """Read the directory of a matrix, whatever state it was left in. Raises: UsageError."""
    matrix = _read(path / _MATRIX, MatrixPlan, "a matrix")
    if matrix is None:
        raise UsageError(f"{path / _MATRIX}: empty; run {path / _SCENARIO} anew")
    rounds = matrices.rounds_of(matrix)
    paths = {(index, number): _run_path(path, index, number) for index in range(len(matrix.cells)) for number in rounds}
    return MatrixRun(
        path=path,
        scenario_text=_read_text(path / _SCENARIO),
        matrix=matrix,
        events=_read_lines(path / _EVENTS, Event),
        runs={place: read(run) for place, run in paths.items() if stored.is_there(run / _PLAN)},
    )


def write_matrix_results(path: Path, *, summary: MatrixSummary, report: str, table: str) -> Path:
    """Write the summary and the report of a matrix, and return the report's path. Raises: ResultsError."""
    _replace(path / _SUMMARY, files.pretty(summary))
    _replace(path / _TABLE, table)
    _replace(path / _REPORT, report)
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
    plan = _read(path / _PLAN, Plan, "a plan")
    if plan is None:
        raise UsageError(
            f"{path} is no run directory (no {_PLAN} in it); "
            "give one of the directories that `loadgen run` makes under results/"
        )
    summary = written_summary(path)
    if isinstance(summary, MatrixSummary):
        raise UsageError(f"{path / _SUMMARY}: the summary of a matrix beside the plan of a run; delete it")
    series = Thinned()
    for number, line in _lines(path / _SERIES, Line):
        try:
            series.add(line)
        except (ArithmeticError, LookupError, ValueError) as error:
            raise _not_a_line(path / _SERIES, number, error) from error
    return Run(
        path=path,
        scenario_text=_read_text(path / _SCENARIO),
        plan=plan,
        host=_read(path / _HOST, Host, "a host") or Host(),
        series=series.lines,
        events=_read_lines(path / _EVENTS, Event),
        summary=summary,
        fold=series.fold,
        agents=() if summary else _agents(path, plan),
    )


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
        raise _cannot_write(to, error) from error
    for name in (_SCENARIO, _PLAN, _HOST, _SERIES, _EVENTS, _SUMMARY, _REPORT):
        with stored.opened(path / name) as source:
            if source is None:
                continue
            try:
                with open(to / name, "xb", opener=partial(os.open, mode=_mode(to))) as copy:
                    shutil.copyfileobj(source, copy)
            except OSError as error:
                raise _cannot_write(to / name, error) from error


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


def written_plan(path: Path) -> Plan | MatrixPlan | None:
    """Read the plan of a run or of a matrix; None where there is none. Raises: UsageError."""
    if is_matrix(path):
        return _read(path / _MATRIX, MatrixPlan, "a matrix")
    return _read(path / _PLAN, Plan, "a plan")


def written_events(path: Path) -> tuple[Event, ...]:
    """Read the events of a run or a matrix until now. Raises: UsageError."""
    return _read_lines(path / _EVENTS, Event)


def last_written_s(path: Path) -> float:
    """Return when a line was last added to a run, or to any run of a matrix, as time.time(); 0 where there is none."""
    times_s = [0.0]
    for name in (_SERIES, _EVENTS):
        for file in (path / name, *path.glob(f"{_CELLS}/*/{name}")):
            with suppress(OSError):  # it may be set aside at any time
                times_s.append(file.stat().st_mtime)
    return max(times_s)


def _name_of(path: Path) -> str:
    """Return the name of a run: that of its directory, for a cell with the matrix it belongs to."""
    whole = path.parent.parent
    return f"{whole.name}/{_CELLS}/{path.name}" if path.parent.name == _CELLS and is_matrix(whole) else path.name


def replace_derived(path: Path, *, summary: files.Summary | None, report: str) -> Path:
    """Write a report, and a summary if one was missing, into an existing run directory; the report's path.

    Raises: ResultsError.
    """
    if summary is not None:
        _replace(path / _SUMMARY, files.pretty(summary))
    _replace(path / _REPORT, report)
    return path / _REPORT


def append_events(path: Path, events: Iterable[Event]) -> None:
    """Add events to a run that has ended. Raises: ResultsError."""
    _end_last_line(path / _EVENTS)
    try:
        fd = os.open(path / _EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            _write_all(fd, b"".join(map(files.line_of, events)))
        finally:
            os.close(fd)
    except OSError as error:
        raise _cannot_write(path / _EVENTS, error) from error


def _replace(final: Path, text: str) -> None:
    """Write beside the old file and then over it, so that a full disk never costs what was there before.

    A directory from elsewhere may have a link to one of the user's files: that is replaced, never written through.
    """
    partial = final.with_name(f".{final.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _mode(final.parent))
        try:
            _write_all(fd, text.encode())
        finally:
            os.close(fd)
        partial.rename(final)
    except OSError as error:
        with suppress(OSError):  # a disk that takes nothing may not give anything back, either
            partial.unlink()
        raise _cannot_write(final, error) from error


def _write_all(fd: int, data: bytes) -> None:
    """Write all bytes: write(2) may take only a part, for example on a nearly full disk."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]


def _cannot_write(path: Path, error: OSError) -> ResultsError:
    remedy = {
        errno.ENOSPC: "free some space there, or choose another directory with --out",
        errno.EDQUOT: "the quota is used up; choose another directory with --out",
        errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
        errno.EIO: "look for errors of the disk in the kernel's log (dmesg), or choose another directory with --out",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
    }.get(error.errno or 0, "choose a directory you may write to with --out")
    return ResultsError(f"cannot write {path}: {error.strerror}; {remedy}")


def _read_text(path: Path) -> str:
    try:
        return stored.read(path).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: {error}") from error


def _read(path: Path, shape: type[_Shape], kind: str) -> _Shape | None:
    """Read one JSON object; None where the file is not there or empty. Raises: UsageError."""
    text = stored.read(path)
    try:
        return files.read(text, shape) if text else None
    except ValueError as error:
        raise _not_ours(path, kind, error) from error


def _read_lines(path: Path, shape: type[_Shape]) -> tuple[_Shape, ...]:
    """Read a whole file of JSON lines. Raises: UsageError."""
    found: list[_Shape] = []
    for number, line in _lines(path, shape):
        if number > _EVENTS_MAX:
            raise UsageError(f"{path} has more than {_EVENTS_MAX:,} lines, so loadgen did not write it; remove it")
        found.append(line)
    return tuple(found)


def _lines(path: Path, shape: type[_Shape]) -> Iterator[tuple[int, _Shape]]:
    """Yield each line of a file of JSON lines with its number; the last one may be torn. Raises: UsageError."""
    for number, text in enumerate(stored.lines(path), start=1):
        try:
            line = files.read(text, shape)
        except ValueError as error:
            if text.endswith(b"\n"):
                raise _not_a_line(path, number, error) from error
            continue
        yield number, line


def _not_a_line(path: Path, number: int, error: Exception) -> UsageError:
    problem = f"not a line of this version of loadgen ({error}); delete the line to do without it"
    return UsageError(f"{path}:{number}: {problem}")
