"""The onlookers of a command's runs beside the terminal: a dashboard, a receiver of OTLP, both or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadgen.cli import dashboard as dashboards
from loadgen.cli.streams import complain

if TYPE_CHECKING:
    from loadgen.control.orchestrator import Result
    from loadgen.views.dashboard.dashboard import Dashboard
    from loadgen.views.live.view import LiveView, RunObserver
    from loadgen.views.otlp.pusher import Pusher


@dataclass(frozen=True, slots=True)
class Onlookers:
    """Those that the options ask for."""

    dashboard: Dashboard | None = None
    pusher: Pusher | None = None

    @contextmanager
    def beside(self, view: LiveView) -> Iterator[RunObserver]:
        """Open the view of one run; what there is besides is told the same."""
        with dashboards.beside(view, self.dashboard) as shown:
            if self.pusher is None:
                yield shown
                return
            from loadgen.views.live.view import Beside

            self.pusher.begin(view.notice)
            try:
                yield Beside(shown, self.pusher)
            finally:
                self.pusher.tell = complain

    @asynccontextmanager
    async def attending(
        self, interrupt: Callable[[], None], announce: Callable[[str], None]
    ) -> AsyncIterator[Callable[[], None]]:
        """Serve the dashboard and push in this context. Yields: the function that interrupts the run."""
        async with dashboards.serving(self.dashboard, interrupt, announce) as shown:
            if self.pusher is None:
                yield shown
                return
            async with self.pusher.pushing(shown) as last:
                yield last

    def say(self, message: str) -> None:
        """Take a notice between the runs of a matrix."""
        if self.dashboard:
            self.dashboard.say(message)
        if self.pusher:
            self.pusher.say(message)

    def over(self, result: Result) -> None:
        """All runs have ended."""
        if self.dashboard:
            self.dashboard.over(result.path, result.record, result.exit_code)

    def conclude(self, *, quiet: bool) -> None:
        """Say what became of the exports; if quiet, only of those that failed."""
        if self.pusher and (self.pusher.failed or not quiet):
            complain(self.pusher.outcome)
