"""`loadgen run --prove`: runs a scenario, then tries its best remedies, each in a fresh lab, and compares.

A remedy that only the host can make (a command) is not tried: a lab cannot make it, and loadgen changes no host. What a
trial came to is an event of the first run, so its summary and report can be made again from its directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from loadgen import scenario as scenarios
from loadgen.control.matrix import with_overrides
from loadgen.control.orchestrator import Options, Orchestrator, Result
from loadgen.errors import ExitCode, InterruptedRunError, LoadgenError, UsageError
from loadgen.results import run_directory
from loadgen.results.proof import compared, trials
from loadgen.results.schema.event import Event
from loadgen.results.schema.proof import ProofResult
from loadgen.results.schema.run import RemedyResult, RunSummary
from loadgen.results.schema.values import SettingValue
from loadgen.scenario import Cell, Fallback, ScenarioSpec

if TYPE_CHECKING:
    from loadgen.views.live.view import RunObserver

#: Remedies that are tried.
TRIALS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class ProofOrder:
    """A scenario to prove the remedies of: as it was read, its text, its name in messages, and the overrides."""

    scenario: ScenarioSpec
    text: str
    file: str
    overrides: tuple[str, ...]


def require_lab(scenario: ScenarioSpec, cells: tuple[Cell, ...]) -> None:
    """Require a scenario whose remedies can be tried. Raises: UsageError for a matrix, and where there is no lab."""
    if cells:
        raise UsageError("--prove tries the remedies of one run, and this is a matrix; leave out `matrix` and `repeat`")
    if scenario.lab is None:
        raise UsageError("--prove needs `lab:` in the scenario: each remedy is tried in a namespace of its own")
    if scenario.lab.fallback is not Fallback.NONE:
        raise UsageError("--prove needs a lab, and `lab.fallback` may run on the host instead; write fallback: none")


class Prover:
    """One run and the trials of its remedies. Create it, then await `execute` once."""

    def __init__(
        self,
        order: ProofOrder,
        options: Options,
        *,
        view: Callable[[], AbstractContextManager[RunObserver]],
        say: Callable[[str], None],
    ) -> None:
        """view: called for each run. say: called with a sentence on what happens between the runs."""
        self._order, self._options, self._view, self._say = order, options, view, say
        self._running: Orchestrator | None = None
        self._interrupted = False

    def interrupt(self) -> None:
        """Once: drain the present run. Twice: stop it. No further trial begins."""
        self._interrupted = True
        if self._running:
            self._running.interrupt()

    async def execute(self) -> Result:
        """Run, try the remedies, and return the result of the first run with the trials in its summary.

        Raises: LoadgenError for an error before any load; ResultsError when the trials cannot be written.
        """
        order = self._order
        first = await self._run(order.scenario, order.overrides, self._options)
        summary = first.record
        if not isinstance(summary, RunSummary) or not summary.complete or first.error:
            return first
        chosen = trials(summary)[:TRIALS_MAX]
        if not chosen:
            self._say("no remedy of this verdict can be tried in a lab")
        events = []
        for number, remedy in enumerate(chosen, 1):
            if self._interrupted:
                break
            self._say(f"trying remedy {number} of {len(chosen)}: {remedy.text}")
            proof = await self._try(first, summary, remedy, number)
            if proof:
                events.append(Event(event="proof", text=proof.remedy, t_s=summary.duration_s, proof=proof))
        if self._interrupted:
            self._say("interrupted; the remedies that had been tried are kept")
        return self._concluded(first, events)

    async def _run(self, scenario: ScenarioSpec, overrides: tuple[str, ...], options: Options) -> Result:
        given = with_overrides(overrides, self._order.text)
        try:
            with self._view() as view:
                self._running = Orchestrator(scenario, given, options, observer=view.update, notice=view.notice)
                return await self._running.execute()
        finally:
            self._running = None

    async def _try(self, first: Result, summary: RunSummary, remedy: RemedyResult, number: int) -> ProofResult | None:
        """Run the scenario with a remedy and what it needs; None where the trial was interrupted."""
        order, name = self._order, f"proofs/{number}"
        settings = settings_of(remedy)
        overrides = (*order.overrides, *(f"{key}={json.dumps(value)}" for key, value in settings.items()))
        # It may gain less than what is short, and is to show by how much.
        options = replace(self._options, at=first.path / name, force=True)
        try:
            scenario = scenarios.parse(order.text, order.file, overrides)
            result = await self._run(scenario, overrides, options)
        except InterruptedRunError:
            return None
        except LoadgenError as error:
            return compared(summary, remedy, None, settings=settings, run=name, reason=str(error))
        tried = result.record
        if self._interrupted or not isinstance(tried, RunSummary):
            return None
        reason = str(result.error) if result.error else tried.incomplete_because
        return compared(summary, remedy, None if reason else tried, settings=settings, run=name, reason=reason)

    def _concluded(self, first: Result, events: list[Event]) -> Result:
        """Write the trials into the directory of the first run, and return its result with them."""
        from loadgen.views.html import run as html  # a slow import, needed only now

        exit_code = ExitCode.INTERRUPTED if self._interrupted else first.exit_code
        if not events:
            return replace(first, exit_code=exit_code)
        run_directory.append_events(first.path, events)
        run = run_directory.read(first.path)
        summary = replace(run, summary=None).summarised()
        run_directory.replace_derived(
            first.path, summary=summary, report=html.render(replace(run, summary=summary), summary)
        )
        return replace(first, record=summary, exit_code=exit_code)


def settings_of(remedy: RemedyResult) -> dict[str, SettingValue]:
    """Return the keys of a scenario, with their values, that a remedy and what it needs come to in a lab."""
    sysctls = {f"lab.sysctls.{name}": value for name, value in remedy.sysctls.items()}
    return {**remedy.needs, **remedy.set, **sysctls}
