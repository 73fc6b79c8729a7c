"""The cells of a matrix, one run after the other, each in a namespace of its own.

A cell is an ordinary run in an ordinary run directory, cells/<n>/, so whatever looks at runs can look
at cells. What is written here on top says which cells there are to be, which could not run here, and
why it all ended; the summary is folded from that and the cells, also when the matrix was killed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

from loadgen import guard, rundir
from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import ExitCode, HostError, InterruptedRunError, LoadgenError, ResultsError
from loadgen.metrics import matrix as matrices
from loadgen.metrics.settings import named, short_keys
from loadgen.model import Plan
from loadgen.run import Options, Orchestrator, Result
from loadgen.scenario import Cell, Scenario, about_cells


class View(Protocol):
    """What a cell tells the person watching."""

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """A new line of the series."""

    def notice(self, text: str) -> None:
        """Something happened that is worth a sentence."""


class Matrix:
    """One matrix. Create it and `execute` it on a running event loop, once."""

    def __init__(
        self,
        scenario: Scenario,
        cells: Sequence[Cell],
        scenario_text: str,
        options: Options,
        *,
        view: Callable[[], AbstractContextManager[View]],
        say: Callable[[str], None],
    ) -> None:
        """view: made anew for each cell. say: called with what goes on between the cells."""
        self._scenario, self._cells, self._text, self._options = scenario, cells, scenario_text, options
        self._view, self._say = view, say
        self._running: Orchestrator | None = None
        self._interrupted = False
        self._failure: LoadgenError | None = None
        self._start_ns = now_ns()

    def interrupt(self) -> None:
        """As for a run: once drains the cell that runs, twice stops it; either way no further cell begins."""
        self._interrupted = True
        if self._running:
            self._running.interrupt()

    async def execute(self) -> Result:
        """Run all cells, sum up what they came to.

        Raises: LoadgenError when the directory cannot be written, or when a rule of where to send
            forbids a target, which it would do for every cell alike.
        """
        for cell in self._cells:
            for target in cell.scenario.targets:
                address, options = target.endpoint.address, self._options
                guard.check(address, allowed=options.allow, authorized=options.authorized)
        writer = rundir.MatrixWriter(self._options.results, self._scenario.name)
        writer.write_scenario(self._text)
        writer.write_matrix(
            {
                "scenario": self._scenario.name,
                "started_at": writer.started_at,
                "cells": [{"settings": cell.settings} for cell in self._cells],
                "expect": [one.text for one in self._scenario.expect if about_cells(one)],
            }
        )
        short = short_keys([cell.settings for cell in self._cells])
        for index, cell in enumerate(self._cells):
            if self._interrupted or isinstance(self._failure, ResultsError):
                break
            said = named(cell.settings, short)
            self._say(f"cell {index} ({index + 1} of {len(self._cells)}): {said}")
            self._event(writer, "cell-started", said, index)
            await self._run(writer, index, cell)
        if self._interrupted:
            self._event(writer, "interrupted", "interrupted; the cells that had ended are kept")
        elif not isinstance(self._failure, ResultsError):
            self._event(writer, "ended", "the matrix came to its end")
        return self._conclude(writer)

    async def _run(self, writer: rundir.MatrixWriter, index: int, cell: Cell) -> None:
        options = replace(self._options, at=writer.cell(index))
        text = f"{_as_overrides(cell.settings)}{self._text}"
        try:
            with self._view() as view:
                self._running = Orchestrator(cell.scenario, text, options, observer=view.update, notice=view.notice)
                result = await self._running.execute()
        except ResultsError as error:
            self._failure = error
        except InterruptedRunError as error:
            self._event(writer, "cell-incomplete", str(error), index)
        except HostError as error:
            self._say(f"cell {index} skipped: {error}")
            self._event(writer, "cell-skipped", str(error), index)
        except LoadgenError as error:
            self._say(f"cell {index} incomplete: {error}")
            self._event(writer, "cell-incomplete", str(error), index)
            self._fail(error)
        else:
            if result.error:
                self._fail(result.error)
        finally:
            self._running = None

    def _fail(self, error: LoadgenError) -> None:
        """Remember the first failure of ours; a lost worker is an incomplete cell and no more."""
        if error.exit_code is not ExitCode.INCOMPLETE:
            self._failure = self._failure or error

    def _event(self, writer: rundir.MatrixWriter, event: str, text: str, cell: int | None = None) -> None:
        line: dict[str, Any] = {"t_s": round((now_ns() - self._start_ns) / NS_PER_S, 6), "event": event, "text": text}
        if cell is not None:
            line["cell"] = cell
        writer.append_event(line)

    def _conclude(self, writer: rundir.MatrixWriter) -> Result:
        from loadgen.report import matrix as reports  # jinja2 is needed now and not before

        found = rundir.read_matrix(writer.path)
        summary = found.summarised()
        rundir.write_matrix_results(
            writer.path,
            summary=summary,
            report=reports.page(summary, found.scenario_text),
            table=reports.table(summary),
        )
        return Result(writer.path, summary, self._exit_code(summary), self._failure)

    def _exit_code(self, summary: dict[str, Any]) -> ExitCode:
        if self._interrupted:
            return ExitCode.INTERRUPTED
        if self._failure:
            return self._failure.exit_code
        if not all(one["passed"] for one in matrices.all_expectations(summary)):
            return ExitCode.EXPECTATION
        statuses = {cell["status"] for cell in summary["cells"]}
        if matrices.Status.INCOMPLETE in statuses:
            return ExitCode.INCOMPLETE
        # Nothing at all could be tried here: that is no result, and must not look like one.
        return ExitCode.HOST if statuses == {matrices.Status.SKIPPED} else ExitCode.FINE


def _as_overrides(settings: dict[str, Any]) -> str:
    """The settings as the options that would make the same run of the same file."""
    plain = {key: isinstance(value, str) and value.isprintable() for key, value in settings.items()}
    return "".join(f"# --set {key}={value if plain[key] else json.dumps(value)}\n" for key, value in settings.items())
