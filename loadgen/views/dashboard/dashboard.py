"""The dashboard as `loadgen run` uses it: told what goes on, served while it does, and gone when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from loadgen.errors import ExitCode, LoadgenError
from loadgen.model import Endpoint, Plan
from loadgen.results.schema import files
from loadgen.views import summary_rows
from loadgen.views.charts import run
from loadgen.views.dashboard import figures, prometheus
from loadgen.views.dashboard.frames import Frames, timed
from loadgen.views.dashboard.server import Server
from loadgen.views.dashboard.watched import Ending, Watched


class View(Protocol):
    """Who else is told the same."""

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """A new line of the series."""

    def notice(self, text: str) -> None:
        """Something happened that is worth a sentence."""


class Dashboard:
    """One for everything that a command runs.

    Nothing that it is told raises: what goes wrong here is said once, and costs the run nothing but its dashboard.
    """

    def __init__(self, at: Endpoint, *, results: Path, trouble: Callable[[str], None]) -> None:
        """results: where earlier runs are. trouble: told once that something is wrong, and what."""
        self._watched = Watched()
        self._said_trouble, self._tell = False, trouble
        self._frames = Frames({"now": self._now, "charts": self._charts}, self._trouble)
        self._interrupt: Callable[[], None] = lambda: None
        self._interrupts = 0
        self._server = Server(
            at,
            self._frames,
            results=results,
            stop=self._stop,
            metrics=lambda: (prometheus.CONTENT_TYPE, prometheus.exposition(self._watched)),
            trouble=self._trouble,
        )

    @property
    def url(self) -> str:
        """What to open in a browser, with the token; once it is served."""
        return self._server.door.url

    @asynccontextmanager
    async def serving(self, interrupt: Callable[[], None]) -> AsyncIterator[Callable[[], None]]:
        """Meanwhile it is served. interrupt: what stops the run, as Ctrl-C does.

        Yields: the same, to be called instead, so that whoever looks knows that it was. Raises: HostError when the
            address cannot be had.
        """
        await self._server.start()
        self._interrupt = interrupt
        self._frames.start()
        try:
            yield self.interrupt
        except LoadgenError as error:
            self._end(Ending(str(error), "", error.exit_code))
            raise
        finally:
            await self._frames.finish()
            await self._server.close()

    def interrupt(self) -> None:
        """Once: drain early. Twice: stop at once."""
        self._interrupts += 1
        self._interrupt()
        self._frames.news()

    def over(self, path: Path, summary: dict[str, Any], code: ExitCode) -> None:
        """It has ended, with this run directory."""
        self._end(Ending(summary_rows.headline(summary), str(path / "report.html"), code))

    def begin(self) -> None:
        """The next run of a matrix is about to begin."""
        self._guarded(self._watched.begin)

    def say(self, text: str) -> None:
        """What goes on between the runs of a matrix."""
        self._guarded(self._watched.say, text)

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """A new line of the series."""
        self._guarded(self._watched.update, plan, line)

    def notice(self, text: str) -> None:
        """Something happened that is worth a sentence."""
        self._guarded(self._watched.notice, text)

    def _end(self, ending: Ending) -> None:
        self._watched.ending = ending
        self._frames.news()

    def _guarded(self, tell: Callable[..., None], *what: Any) -> None:
        try:
            tell(*what)
        except Exception as error:
            self._trouble(error)
        self._frames.news()

    def _trouble(self, error: Exception) -> None:
        if not self._said_trouble:
            self._said_trouble = True
            self._tell(f"the dashboard is incomplete from now on, the run is not: {type(error).__name__}: {error}")

    def _stop(self, step: str) -> bool:
        """Of two browsers that ask for the same step one is enough; the second step needs the first."""
        if self._interrupts == {"drain": 0, "now": 1}[step]:
            self.interrupt()
        return step == "drain" or self._interrupts > 0

    async def _now(self) -> tuple[object, float]:
        return timed(partial(figures.frame, self._watched, interrupts=self._interrupts))

    async def _charts(self) -> tuple[object, float]:
        """In a thread: it may take as long as a worker takes for ten thousand connections."""
        plan, lines, events = self._watched.plan, self._watched.history.lines, self._watched.events
        if plan is None:
            return timed(run.everything, [], [])
        ceiling_per_s = plan.ceiling.per_s if plan.ceiling else None
        return await asyncio.to_thread(timed, _drawn, lines, events, ceiling_per_s, plan)


class Beside:
    """A view, and the dashboard told the same."""

    def __init__(self, view: View, dashboard: Dashboard) -> None:
        self._view, self._dashboard = view, dashboard

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """To both."""
        self._view.update(plan, line)
        self._dashboard.update(plan, line)

    def notice(self, text: str) -> None:
        """To both."""
        self._view.notice(text)
        self._dashboard.notice(text)


def _drawn(
    lines: list[dict[str, Any]], events: list[dict[str, Any]], ceiling_per_s: float | None, plan: Plan
) -> dict[str, Any]:
    return run.everything(lines, events, ceiling_per_s, files.plain(plan))
