"""`loadgen find`: trial after trial, until the highest value that holds is known from both sides.

A trial is an ordinary run in an ordinary run directory, trials/<n>/, with another value of one key. In a lab each has a
fresh namespace. On the host itself the next one begins when the sockets of the one before are gone, see
`loadgen.control.settling`. Which value comes next is a function of the trials so far (`loadgen.find.search`), so a
search that was interrupted goes on from its directory.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec.structs import replace as changed

from loadgen import format as fmt
from loadgen import reserve
from loadgen import scenario as scenarios
from loadgen.clock import NS_PER_S, now_ns
from loadgen.control import name_resolution, settling
from loadgen.control.find_order import FindOrder, TrialRun, planned, written_text
from loadgen.control.matrix import with_overrides
from loadgen.control.orchestrator import Observer, Options, Orchestrator, Result
from loadgen.errors import (
    CapacityError,
    ExitCode,
    HostError,
    IncompleteError,
    InterruptedRunError,
    LoadgenError,
    ResultsError,
    UsageError,
)
from loadgen.find import answer
from loadgen.find.goal import NextTrial
from loadgen.find.judging import judged, judged_step
from loadgen.find.search import step
from loadgen.find.steps import StepJudge, in_steps, stepped
from loadgen.results import run_directory, search_directory
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FindKind, FindSummary, TrialResult, TrialStatus
from loadgen.results.schema.matrix_plan import CellPlan
from loadgen.results.schema.run import RunSummary
from loadgen.scenario import FindMode, ScenarioSpec

if TYPE_CHECKING:
    from loadgen.model import Plan
    from loadgen.results.schema.line import Line
    from loadgen.views.live.view import RunObserver


class Finder:
    """One search, or one for each cell of a matrix. Create it, then await `execute` once."""

    def __init__(
        self,
        order: FindOrder,
        options: Options,
        *,
        view: Callable[[], AbstractContextManager[RunObserver]],
        say: Callable[[str], None],
    ) -> None:
        """view: called for each trial. say: called with a sentence on what happens between the trials."""
        # A trial is to run into its limit, so what the plan says of it is no reason to refuse it.
        self._order, self._options = order, replace(options, force=True)
        self._view, self._say = view, say
        self._expectations = [row for row in order.scenario.expect if not scenarios.about_cells(row)]
        self._running: TrialRun | None = None
        self._interrupted = False
        self._late = False
        self._failure: LoadgenError | None = None
        self._start_ns = now_ns()
        self._began_ns = now_ns()
        self._trials: list[TrialResult] = []
        #: Trials that were there when the search was resumed.
        self._kept = 0
        self._settler = settling.Settler(order.scenario, order.find.settle_s, elsewhere=order.elsewhere is not None)

    def interrupt(self) -> None:
        """Once: drain the present trial. Twice: stop it. No further trial begins."""
        self._interrupted = True
        self._settler.stop()
        if self._running:
            self._running.interrupt()

    async def execute(self) -> Result:
        """Make all trials that are left, and summarise the search.

        Raises: LoadgenError when the directory cannot be written, when a rule of where to send forbids a target, or
            for steps that no run can go up.
        """
        self._check_steps()
        answers = dict(self._order.answers)
        if not self._order.elsewhere:
            names = set(self._order.scenario.names) - set(answers)
            answers |= await name_resolution.look_up(sorted(names), enough=lambda: self._interrupted)
            name_resolution.judge(
                self._order.scenario, answers, allowed=self._options.allow, authorized=self._options.authorized
            )
        self._answers = answers
        writer = self._order.writer or self._begin()
        self._options.opened(writer.path)
        self._plan = search_directory.read(writer.path).plan
        self._settler.begin(resumed=self._order.writer is not None)
        try:
            if self._order.writer:
                self._go_on(writer)
            for cell in range(len(self._plan.cells)):
                await self._search(writer, cell)
            if self._late:
                text = f"the time of the search, {self._order.find.time_s:g} s, is used up"
                self._say(text)
                self._event(writer, answer.TIME_USED_UP, text)
            if self._interrupted:
                text = "interrupted; the trials that had ended are kept, and --resume goes on"
                self._say(text)
                self._event(writer, answer.INTERRUPTED, text)
            elif self._failure is None:
                self._event(writer, answer.ENDED, "the search came to its end")
            return self._conclude(writer)
        finally:
            writer.close()

    def _check_steps(self) -> None:
        """Refuse what `find.mode: continuous` cannot do before anything is written. Raises: UsageError."""
        order = self._order
        if order.find.mode is not FindMode.CONTINUOUS:
            return
        if order.elsewhere:
            raise UsageError(
                "find.mode continuous goes up in steps on one host; write mode: trials, or leave --agents out"
            )
        for cell in range(max(len(order.cells), 1)):
            stepped(self._scenario(cell, order.find.at(order.find.stop.number)), order.find)

    def _begin(self) -> search_directory.SearchWriter:
        scenario = self._order.scenario
        writer = search_directory.SearchWriter(
            self._options.results,
            scenario.name,
            private=any(each.holds_secrets for each in (scenario, *(cell.scenario for cell in self._order.cells))),
        )
        plan = planned(self._order, writer.started_at, platform.release(), self._answers)
        writer.write_begin(written_text(self._order), plan)
        return writer

    def _go_on(self, writer: search_directory.SearchWriter) -> None:
        """Take up the trials of the directory; the clock continues from its last event."""
        written = search_directory.read(writer.path)
        self._trials = list(written.trials)
        self._kept = len(self._trials)
        last_s = answer.taken_s(written.trials, written.events)
        self._start_ns = now_ns() - round(last_s * NS_PER_S)
        self._event(writer, answer.RESUMED, f"resumed after {fmt.many(len(self._trials), 'trial')}")
        self._say(f"{fmt.many(len(self._trials), 'trial')} of before {'is' if len(self._trials) == 1 else 'are'} kept")

    async def _search(self, writer: search_directory.SearchWriter, cell: int) -> None:
        """Make the trials of one cell until its search ends."""
        if self._order.find.mode is FindMode.CONTINUOUS:
            await self._go_up(writer, cell)
            return
        goal = answer.goal_of(self._plan)
        while True:
            following = step(goal, answer.trials_of(self._telling, cell))
            if not isinstance(following, NextTrial) or self._is_over():
                return
            await self._settle()
            if self._interrupted:
                return
            await self._try(writer, cell, following)

    @property
    def _telling(self) -> list[TrialResult]:
        """The trials without those of before that did not work: the search goes on because they may work now."""
        return [each for each in self._trials if each.number > self._kept or each.outcome is not TrialStatus.UNKNOWN]

    async def _go_up(self, writer: search_directory.SearchWriter, cell: int) -> None:
        """Make runs that open more and more in steps: as many as have to agree."""
        while True:
            done = {trial.run for trial in self._trials if trial.cell == cell and trial.run}
            if len(done) >= self._plan.agree or self._is_over():
                return
            await self._settle()
            if self._interrupted:
                return
            await self._step_up(writer, cell)

    def _is_over(self) -> bool:
        """Return whether no further trial is to begin."""
        if self._interrupted or self._failure:
            return True
        self._late = (now_ns() - self._began_ns) / NS_PER_S >= self._order.find.time_s
        return self._late

    async def _settle(self) -> None:
        # What a search that was cut off has left may still be there.
        if self._trials or self._order.writer:
            await self._settler.settle(self._say)

    async def _try(self, writer: search_directory.SearchWriter, cell: int, following: NextTrial) -> None:
        number = len(self._trials) + 1
        value = self._order.find.at(following.value)
        shown = answer.value_text(self._plan, following.value)
        where = f", cell {cell}" if len(self._plan.cells) > 1 else ""
        self._say(f"trial {number}{where}: {self._plan.key} {shown} ({following.purpose})")
        run = await self._run(writer, cell, number, value)
        if run is None:
            return
        result = (
            _refused(run, number, cell, following.value, following.purpose)
            if isinstance(run, LoadgenError)
            else judged(
                run,
                self._expectations,
                key=self._plan.key,
                value=following.value,
                number=number,
                cell=cell,
                stage=following.purpose.value,
            )
        )
        self._record(writer, changed(result, run=f"trials/{number}") if isinstance(run, RunSummary) else result)
        self._say(f"trial {number}: {shown} {_said(result)}")

    async def _step_up(self, writer: search_directory.SearchWriter, cell: int) -> None:
        """Make one run that goes up in steps, and record its last step that held and the one that failed."""
        number, find = len(self._trials) + 1, self._order.find
        scenario = self._scenario(cell, find.at(find.stop.number))
        steps = stepped(scenario, find)
        first, last = (answer.value_text(self._plan, step.value) for step in (steps[0], steps[-1]))
        self._say(f"run {number}: {self._plan.key} from {first} to {last} in {len(steps)} steps")
        place = writer.path / f"trials/{number}"
        judge = StepJudge(steps, self._expectations, host=lambda: run_directory.written_host(place), stop=self._end_run)
        run = await self._run(writer, cell, number, in_steps(scenario, steps), judge.add)
        if run is None or isinstance(run, LoadgenError):
            if run is not None:
                self._failure = run
            return
        held = [result for result in judge.results if not result.failed]
        failed = [result for result in judge.results if result.failed]
        for result in (*held[-1:], *failed):
            trial = judged_step(result, run, number=len(self._trials) + 1, cell=cell)
            self._record(writer, changed(trial, run=f"trials/{number}"))
            self._say(f"run {number}: {answer.value_text(self._plan, trial.value)} {_said(trial)}")
        if not judge.results:
            self._failure = IncompleteError(f"the run in {place} ended before its first step did")

    def _end_run(self) -> None:
        if self._running:
            self._running.interrupt("interrupted by the search, because a step failed")

    def _scenario(self, cell: int, value: int | float | str) -> ScenarioSpec:
        order = self._order
        return scenarios.at_value(order.text, order.file, order.overrides, value, cell)

    async def _run(
        self,
        writer: search_directory.SearchWriter,
        cell: int,
        number: int,
        tried: int | float | str | ScenarioSpec,
        watch: Observer | None = None,
    ) -> RunSummary | LoadgenError | None:
        """Make the run of a trial: of the scenario with a value, or of this scenario; watch: is given its lines.

        Returns: its summary; what refuses it on this host; None where it is to be left.
        """
        order = self._order
        options = replace(self._options, at=writer.run(number))
        value = order.find.at(order.find.stop.number) if isinstance(tried, ScenarioSpec) else tried
        given = f"{self._plan.key}={value if isinstance(value, str) else json.dumps(value)}"
        try:
            with self._view() as view:

                def observe(plan: Plan, line: Line) -> None:
                    view.update(plan, line)
                    if watch:
                        watch(plan, line)

                if order.elsewhere:
                    self._running = order.elsewhere(
                        (*order.overrides, given), options, observer=observe, notice=view.notice
                    )
                else:
                    text = with_overrides((*order.overrides, *_as_run(self._plan.cells[cell], given)), order.text)
                    scenario = tried if isinstance(tried, ScenarioSpec) else self._scenario(cell, tried)
                    self._running = Orchestrator(
                        scenario, text, options, observer=observe, notice=view.notice, answers=self._answers
                    )
                result = await self._running.execute()
        except InterruptedRunError:
            return None
        except ResultsError as error:
            self._failure = error
            return None
        except HostError as error:
            return error
        finally:
            self._running = None
        if self._interrupted or not isinstance(result.record, RunSummary):
            return None
        if result.error and result.error.exit_code not in (ExitCode.INCOMPLETE, ExitCode.HOST):
            self._failure = result.error
        return result.record

    def _record(self, writer: search_directory.SearchWriter, trial: TrialResult) -> None:
        try:
            writer.append_trial(trial)
            self._trials.append(trial)
        except ResultsError as error:
            self._failure = error

    def _event(self, writer: search_directory.SearchWriter, event: str, text: str) -> None:
        at_s = round((now_ns() - self._start_ns) / NS_PER_S, 6)
        try:
            writer.append_event(Event(event=event, text=text, t_s=at_s))
        except ResultsError as error:
            self._failure = self._failure or error

    def _conclude(self, writer: search_directory.SearchWriter) -> Result:
        reserve.release()
        from loadgen.views.html import find as html  # a slow import, needed only now

        written = search_directory.read(writer.path)
        summary = answer.summarise(written.plan, written.trials, written.events, run=writer.path.name)
        try:
            search_directory.write_results(
                writer.path, summary=summary, report=html.page(summary, written.scenario_text)
            )
        except ResultsError as error:
            self._failure = self._failure or error
        return Result(writer.path, summary, self._exit_code(summary), self._failure)

    def _exit_code(self, summary: FindSummary) -> ExitCode:
        if self._interrupted:
            return ExitCode.INTERRUPTED
        if self._failure:
            return self._failure.exit_code
        return exit_code(summary)


def exit_code(summary: FindSummary) -> ExitCode:
    """Return the exit code of a search that came to its end.

    Where not even the lowest value holds, or an answer is not as it was to be, an expectation is not met; where a
    search decided nothing the result is incomplete, and no answer is judged by what it was to be.
    """
    kinds = {search.kind for search in summary.searches}
    if FindKind.BELOW in kinds:
        return ExitCode.EXPECTATION
    if FindKind.UNDECIDED in kinds:
        return ExitCode.INCOMPLETE
    return ExitCode.FINE if all(row.passed for row in summary.expect) else ExitCode.EXPECTATION


def _said(trial: TrialResult) -> str:
    return {
        TrialStatus.HELD: "holds",
        TrialStatus.FAILED: f"fails: {trial.reason}",
        TrialStatus.UNKNOWN: f"says nothing: {trial.reason}",
    }[trial.outcome]


def _refused(error: LoadgenError, number: int, cell: int, value: float, stage: str) -> TrialResult:
    """Return the result of a trial that was refused before any load.

    Where this host lacks a resource for it, no higher value would be let through; any other refusal says nothing about
    the value.
    """
    too_small = isinstance(error, CapacityError)
    return TrialResult(
        number=number,
        cell=cell,
        value=value,
        outcome=TrialStatus.FAILED if too_small else TrialStatus.UNKNOWN,
        stage=stage,
        reason=f"refused: {error}",
        run=None,
    )


def _as_run(cell: CellPlan, value: str) -> list[str]:
    """Return the overrides that make one run of a search: the value, and those of its cell."""
    settings = [f"{key}={each if isinstance(each, str) else json.dumps(each)}" for key, each in cell.settings.items()]
    return [*settings, value, *(["matrix=null"] if settings else []), "find=null"]
