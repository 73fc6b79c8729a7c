"""The state of the run that is watched: its plan, its lines so far, its notices, and how it ended.

Everything else here is made from this: the figures, the charts, the answers to Prometheus. Taking a line costs one to
four milliseconds; the rest is done when a client asks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from loadgen.model import Plan
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import Line
from loadgen.views.dashboard.history import History
from loadgen.views.dashboard.totals import Totals
from loadgen.views.live.figures import Figures, Recall
from loadgen.views.live.occupancy import Spaces

#: The page shows the latest notices, at most this many; the rest is in events.jsonl.
NOTICES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Ending:
    """How it all ended. text: the verdict. report: where report.html lies, "" for nowhere. code: of the process."""

    text: str
    report: str
    code: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened. run: in which, from 1; 0 before the first. t_s: of the latest line, if there is one."""

    run: int
    t_s: float | None
    text: str


class Watched:
    """One run after the other, as those of a matrix are; each begins with its first line."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.spaces: Spaces | None = None
        self.line: Line | None = None
        self.history = History()
        self.totals = Totals()
        #: Which run of a matrix this is, in words; "" where there is only one.
        self.place = ""
        self.notices: deque[Notice] = deque(maxlen=NOTICES_MAX)
        self.ending: Ending | None = None
        self.run = 0
        self._said = ""
        self._recall = Recall()
        self._figures: Figures | None = None
        #: Whether `figures` was asked for since the latest line.
        self._shown = True

    def begin(self) -> None:
        """The next run is about to begin; the last notice says which of how many it is."""
        self.place = self._said

    def say(self, text: str) -> None:
        """Take a notice between the runs of a matrix."""
        self._said = text
        self.notice(text)

    def notice(self, text: str) -> None:
        """Something happened that is worth a sentence."""
        self.notices.append(Notice(self.run, self.line.t_s if self.line else None, text))

    def update(self, plan: Plan, line: Line) -> None:
        """A new line of the series. Another plan than before is another run."""
        if plan is not self.plan:
            self.plan, self.spaces, self.run = plan, Spaces(plan), self.run + 1
            self.history, self._recall = History(), Recall()
            self.totals.next_run()
        elif self.line and not self._shown:
            self._recall.pass_over(self.line)
        self.line, self._shown = line, False
        self.history.add(line)
        self.totals.add(line)

    @property
    def figures(self) -> Figures | None:
        """Those of the latest line; None before the first."""
        if self.plan and self.line and not self._shown:
            self._figures, self._shown = self._recall.figures(self.plan, self.line), True
        return self._figures

    @property
    def events(self) -> list[Event]:
        """The notices of this run as the charts mark them."""
        return [
            Event(event="notice", text=notice.text, t_s=notice.t_s)
            for notice in self.notices
            if notice.run == self.run and notice.t_s is not None
        ]
