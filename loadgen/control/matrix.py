"""The cells of a matrix, round by round, one run after the other, each in a namespace of its own.

A run of a cell is an ordinary run in an ordinary run directory, cells/<n>/, which every view can show. Rounds are
interleaved, all cells once and then all cells again, so that drift of the host affects every cell alike. The matrix
itself records its cells, those that cannot run on this host, and how it ended; the summary is folded from that and the
runs, also after a kill. From the same files `resume` continues with the runs that are left.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loadgen import reserve
from loadgen import scenario as scenarios
from loadgen.clock import NS_PER_S, now_ns
from loadgen.control import name_resolution
from loadgen.control.orchestrator import Options, Orchestrator, Result
from loadgen.control.progress import left_s, left_text
from loadgen.errors import (
    ExitCode,
    HostError,
    InterruptedRunError,
    KernelLacksError,
    LoadgenError,
    ResultsError,
    UsageError,
)
from loadgen.results import matrix as matrices
from loadgen.results import run_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.matrix import CellStatus, MatrixSummary
from loadgen.results.schema.matrix_plan import CellPlan, MatrixPlan
from loadgen.results.schema.values import Settings
from loadgen.results.settings import named, short_keys
from loadgen.scenario import Cell, ScenarioSpec, about_cells

if TYPE_CHECKING:
    from loadgen.views.live.view import RunObserver


@dataclass(frozen=True, slots=True)
class Order:
    """A matrix to run: a new one, or one to continue."""

    scenario: ScenarioSpec
    cells: tuple[Cell, ...]
    #: The scenario as given, without the overrides that stand above it in scenario.yaml.
    text: str
    overrides: tuple[str, ...] = ()
    #: The directory of a matrix to continue, locked by this writer; None: a new one.
    writer: run_directory.MatrixWriter | None = None
    #: Addresses of the names among the targets when it was begun; other names are looked up.
    answers: name_resolution.ResolvedNames = field(default_factory=dict)

    @property
    def places(self) -> list[matrices.Place]:
        """Every run as (cell, round), in the order they are made."""
        rounds = range(1, self.scenario.repeat + 1)
        return [(index, number) for number in rounds for index in range(len(self.cells))]


def with_overrides(overrides: Sequence[str], text: str) -> str:
    """Return a scenario as it is written to the run directory: the overrides above it, as comments; credentials masked.

    Raises: ScenarioError for a text that is no scenario.
    """
    lines = ("\n#   ".join(scenarios.kept_setting(override).splitlines()) for override in overrides)
    return "".join(f"# --set {line}\n" for line in lines) + (scenarios.kept_text(text) if text else "")


def resume(path: Path) -> Order:
    """Return the matrix in a directory, to be continued. The directory is locked from now on.

    Raises: UsageError when there is none that can be gone on with; HostError on another kernel.
    """
    if not run_directory.is_matrix(path):
        raise UsageError(
            f"{path} is no matrix that could be resumed (no matrix.json in it); give a directory that "
            "`loadgen run` made of a scenario with matrix or repeat, or run the scenario itself"
        )
    writer = run_directory.MatrixWriter(path.parent, path.name, at=path)
    try:
        whole, cells, text, overrides = _as_begun(path)
        answers = _as_resolved(path)
    except LoadgenError:
        writer.close()
        raise
    return Order(whole, cells, text, overrides, writer, answers)


def _as_resolved(path: Path) -> name_resolution.ResolvedNames:
    """Return the addresses of names when the matrix was begun: the runs that are left go to the same targets."""
    return run_directory.read_matrix(path).matrix.resolved


def _as_begun(path: Path) -> tuple[ScenarioSpec, tuple[Cell, ...], str, tuple[str, ...]]:
    """Return scenario, cells, text and overrides as they were. Raises: as `resume` does."""
    written = run_directory.read_matrix(path)
    written.summarised()  # raises now rather than after more runs
    overrides, kernel = written.matrix.overrides, written.matrix.kernel
    if overrides is None:
        raise UsageError(f"{path}: its matrix.json does not say how it was begun; run {path}/scenario.yaml anew")
    text = written.scenario_text.removeprefix(with_overrides(overrides, ""))
    whole, cells = scenarios.parse_cells(text, str(path / "scenario.yaml"), overrides)
    meant = tuple(CellPlan(settings=cell.settings) for cell in cells)
    if (whole.repeat, files.plain(meant)) != (written.matrix.repeat, files.plain(written.matrix.cells)):
        raise UsageError(
            f"{path}: scenario.yaml now means other cells than matrix.json says were begun, and these cannot "
            f"stand side by side; put scenario.yaml back, or run it anew: loadgen run {path}/scenario.yaml"
        )
    if kernel != platform.release():
        raise HostError(
            f"{path} was begun on kernel {kernel}, this is {platform.release()}: cells of two kernels cannot be "
            f"compared; go on under that kernel, or run it anew: loadgen run {path}/scenario.yaml"
        )
    return whole, cells, text, tuple(overrides)


class Matrix:
    """One matrix. Create it, then await `execute` once."""

    def __init__(
        self,
        order: Order,
        options: Options,
        *,
        view: Callable[[], AbstractContextManager[RunObserver]],
        say: Callable[[str], None],
    ) -> None:
        """view: called for each run. say: called with a sentence on what happens between the runs."""
        self._order, self._scenario, self._cells, self._options = order, order.scenario, order.cells, options
        self._view, self._say = view, say
        self._answers: name_resolution.ResolvedNames = {}
        self._running: Orchestrator | None = None
        self._interrupted = False
        self._failure: LoadgenError | None = None
        self._skipped: set[int] = set()
        self._start_ns = now_ns()
        self._ended: list[tuple[float, float]] = []

    def interrupt(self) -> None:
        """Once: drain the present run. Twice: stop it. No further run begins."""
        self._interrupted = True
        if self._running:
            self._running.interrupt()

    async def execute(self) -> Result:
        """Make all runs that are left, and summarise the matrix.

        Raises: LoadgenError when the directory cannot be written, or when a rule of where to send
            forbids a target, which it would do for every cell alike.
        """
        known, options = dict(self._order.answers), self._options
        names = {name for cell in self._cells for name in cell.scenario.names}
        known |= await name_resolution.look_up(sorted(names - set(known)), enough=lambda: self._interrupted)
        self._answers = known
        for cell in self._cells:
            name_resolution.judge(cell.scenario, known, allowed=options.allow, authorized=options.authorized)
        places = self._order.places
        writer = self._order.writer or self._begin()
        try:
            self._options.opened(writer.path)
            todo = self._go_on(writer) if self._order.writer else places
            for position, (index, number) in enumerate(todo):
                if self._interrupted or isinstance(self._failure, ResultsError):
                    break
                if index in self._skipped:
                    continue
                title = self._named(index, number)
                ahead = [self._nominal_s(cell) for cell, _ in todo[position:] if cell not in self._skipped]
                left = left_s(self._ended, ahead)
                self._say(
                    f"run {places.index((index, number)) + 1} of {len(places)}, {title}"
                    + ("" if left is None else f"; {left_text(left)}")
                )
                await self._run(writer, index, number, title)
            if self._interrupted:
                text = "interrupted; the runs that had ended are kept"
                self._say(text)
                self._event(writer, "interrupted", text)
            elif todo and not isinstance(self._failure, ResultsError):
                self._event(writer, "ended", "the matrix came to its end")
            return self._conclude(writer)
        finally:
            writer.close()

    def _begin(self) -> run_directory.MatrixWriter:
        """Make the directory of a new matrix."""
        writer = run_directory.MatrixWriter(
            self._options.results,
            self._scenario.name,
            private=any(scenario.holds_secrets for scenario in (self._scenario, *(c.scenario for c in self._cells))),
        )
        writer.write_scenario(with_overrides(self._order.overrides, self._order.text))
        writer.write_matrix(
            MatrixPlan(
                scenario=self._scenario.name,
                started_at=writer.started_at,
                kernel=platform.release(),
                overrides=tuple(map(scenarios.kept_setting, self._order.overrides)),
                repeat=self._scenario.repeat,
                cells=tuple(CellPlan(settings=cell.settings) for cell in self._cells),
                resolved=self._answers,
                expect=tuple(row.text for row in self._scenario.expect if about_cells(row)),
            )
        )
        return writer

    def _go_on(self, writer: run_directory.MatrixWriter) -> list[matrices.Place]:
        """Return the runs that are left in a directory; the clock continues from its last event."""
        written = run_directory.read_matrix(writer.path)
        done = {place for place, run in written.runs.items() if run.summary and run.summary.complete}
        todo = [place for place in self._order.places if place not in done]
        last_s = max((event.t_s for event in written.events), default=0.0)
        self._start_ns = now_ns() - round(last_s * NS_PER_S)
        if todo or not matrices.has_ended(written.events):
            self._event(writer, matrices.RESUMED, f"resumed with {len(todo)} of {len(self._order.places)} runs to go")
        if todo:
            self._say(f"{len(done)} of {len(self._order.places)} runs are there already")
        else:
            self._say("nothing is left to do: every run has ended; the results are made again")
            if not matrices.has_ended(written.events):
                self._event(writer, "ended", "the matrix came to its end")
        return todo

    def _named(self, index: int, number: int) -> str:
        """Return the title of a run: its cell, its round where there are several, and its settings."""
        settings = [cell.settings for cell in self._cells]
        name = f"cell {index}" + (f", round {number}" if self._scenario.repeat > 1 else "")
        return f"{name}: {named(settings[index], short_keys(settings))}" if settings[index] else name

    def _nominal_s(self, index: int) -> float:
        """Return the seconds that the load of this cell takes by itself."""
        scenario = self._cells[index].scenario
        return scenario.churn_s or scenario.held_s

    async def _run(self, writer: run_directory.MatrixWriter, index: int, number: int, title: str) -> None:
        cell, begun_ns = self._cells[index], now_ns()
        options = replace(self._options, at=writer.run(index, number))
        text = _as_overrides(cell.settings) + with_overrides(self._order.overrides, self._order.text)
        try:
            writer.set_aside(index, number)
            self._event(writer, "cell-started", title, index, number)
            with self._view() as view:
                self._running = Orchestrator(
                    cell.scenario, text, options, observer=view.update, notice=view.notice, answers=self._answers
                )
                result = await self._running.execute()
        except ResultsError as error:
            self._failure = error
        except InterruptedRunError as error:
            self._event(writer, "cell-incomplete", str(error), index, number)
        except HostError as error:
            if number == 1:  # the host refuses it in every round
                self._skipped.add(index)
            self._say(f"cell {index} {'skipped' if number == 1 else f'round {number} incomplete'}: {error}")
            skipped = matrices.LACKING if isinstance(error, KernelLacksError) else matrices.SKIPPED
            self._event(writer, skipped if number == 1 else "cell-incomplete", str(error), index, number)
        except LoadgenError as error:
            self._say(f"cell {index} incomplete: {error}")
            self._event(writer, "cell-incomplete", str(error), index, number)
            self._fail(error)
        else:
            self._ended.append((self._nominal_s(index), (now_ns() - begun_ns) / NS_PER_S))
            if result.error:
                self._fail(result.error)
        finally:
            self._running = None

    def _fail(self, error: LoadgenError) -> None:
        """Keep the first failure of loadgen itself; a lost worker only makes its run incomplete."""
        if error.exit_code is not ExitCode.INCOMPLETE:
            self._failure = self._failure or error

    def _event(self, writer: run_directory.MatrixWriter, event: str, text: str, *place: int) -> None:
        """Record an event. place: its cell and round, if it has one."""
        at_s = round((now_ns() - self._start_ns) / NS_PER_S, 6)
        cell, number = place or (None, None)
        try:
            writer.append_event(Event(event=event, text=text, t_s=at_s, cell=cell, round=number))
        except ResultsError as error:  # no further run begins, and those that have ended are summed up
            self._failure = self._failure or error

    def _conclude(self, writer: run_directory.MatrixWriter) -> Result:
        reserve.release()
        from loadgen.views.html import matrix as reports  # a slow import, needed only now
        from loadgen.views.text import matrix_table

        written = run_directory.read_matrix(writer.path)
        summary = written.summarised()
        report, table = reports.page(summary, written.scenario_text), matrix_table.table(summary)
        try:
            run_directory.write_matrix_results(writer.path, summary=summary, report=report, table=table)
        except ResultsError as error:
            self._failure = self._failure or error
        return Result(writer.path, summary, self._exit_code(summary), self._failure)

    def _exit_code(self, summary: MatrixSummary) -> ExitCode:
        if self._interrupted:
            return ExitCode.INTERRUPTED
        if self._failure:
            return self._failure.exit_code
        if not all(row.passed for row in matrices.all_expectations(summary)):
            return ExitCode.EXPECTATION
        statuses = {cell.status for cell in summary.cells}
        if CellStatus.INCOMPLETE in statuses:
            return ExitCode.INCOMPLETE
        # No cell could run on this host: that is no result, and must not pass for one.
        return ExitCode.HOST if statuses == {CellStatus.SKIPPED} else ExitCode.FINE


def _as_overrides(settings: Settings) -> str:
    """Return the settings as the options that make the same run of the same file."""
    plain = {key: isinstance(value, str) and value.isprintable() for key, value in settings.items()}
    return "".join(f"# --set {key}={value if plain[key] else json.dumps(value)}\n" for key, value in settings.items())
