"""The dashboard as `loadgen run` uses it: fed with lines and notices, served while the run goes on, then gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from loadgen.errors import ExitCode, LoadgenError
from loadgen.model import Endpoint, Plan
from loadgen.results.schema.files import Summary
from loadgen.results.schema.line import Line
from loadgen.views import summary_rows
from loadgen.views.charts import run as charts
from loadgen.views.dashboard import figures, prometheus
from loadgen.views.dashboard.frames import Frames, timed
from loadgen.views.dashboard.history import lines_of
from loadgen.views.dashboard.server import Server
from loadgen.views.dashboard.watched import Ending, Watched


class Dashboard:
    """One for everything that a command runs.

    No method that feeds it raises: an error here is reported once, and costs the run nothing but its dashboard.
    """

    def __init__(self, at: Endpoint, *, results: Path, trouble: Callable[[str], None]) -> None:
        """results: where earlier runs are. trouble: called once, with the first error."""
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
        """The URL to open in a browser, with the token; known once it is served."""
        return self._server.door.url

    @asynccontextmanager
    async def serving(self, interrupt: Callable[[], None]) -> AsyncIterator[Callable[[], None]]:
        """Serve it in this context. interrupt: stops the run, as Ctrl-C does.

        Yields: the function to call instead of `interrupt`, so that the page shows the interrupt.
        Raises: HostError when the address cannot be bound.
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

    def over(self, path: Path, summary: Summary, code: ExitCode) -> None:
        """The run has ended, with this run directory."""
        self._end(Ending(summary_rows.headline(summary), str(path / "report.html"), code))

    def begin(self) -> None:
        """The next run of a matrix is about to begin."""
        self._guarded(self._watched.begin)

    def say(self, text: str) -> None:
        """Take a notice between the runs of a matrix."""
        self._guarded(self._watched.say, text)

    def update(self, plan: Plan, line: Line) -> None:
        """Take a line of the series."""
        self._guarded(self._watched.update, plan, line)

    def notice(self, text: str) -> None:
        """Take a notice."""
        self._guarded(self._watched.notice, text)

    def _end(self, ending: Ending) -> None:
        self._watched.ending = ending
        self._frames.news()

    def _guarded(self, take: Callable[..., None], *values: Any) -> None:
        try:
            take(*values)
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
        """In a thread: it may take as long as a worker takes for ten thousand connections.

        The thread encodes them, too, so that their many numbers are gone when it is done.
        """
        plan, packed, events = self._watched.plan, self._watched.history.packed, self._watched.events
        if plan is None:
            return {"charts": [], "phases": [], "marks": []}, 0.0

        def drawn() -> object:
            return msgspec.Raw(msgspec.json.encode(charts.everything(lines_of(packed), events, plan)))

        return await asyncio.to_thread(timed, drawn)
