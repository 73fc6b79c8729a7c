"""On a terminal: a frame that is drawn over itself, and nothing of it left at the end."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType

from loadgen.model import Plan
from loadgen.results.schema.line import Line
from loadgen.views.live.figures import Recall
from loadgen.views.live.frame import Frame
from loadgen.views.live.rows import rows
from loadgen.views.live.view import NoticesOnly
from loadgen.views.terminal import in_background


class LiveTable(NoticesOnly):
    """A table that is drawn over itself; each frame is one write."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._recall = Recall()
        self._frame: Frame | None = None
        #: While the table is on the terminal.
        self._live: Live | None = None

    def __exit__(self, *details: object) -> None:
        self.hide()

    def update(self, plan: Plan, line: Line) -> None:
        """Redraw, unless the terminal is another program's now: `bg` lets a stopped run go on behind a shell."""
        figures = self._recall.figures(plan, line)
        if in_background(self._console):
            self.hide()
            return
        frame = Frame(rows(plan, figures, self._console.height - 1))
        with self._console:
            self._unwrap()
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False, transient=True)
                self._live.start()
            self._live.update(frame, refresh=True)
        self._frame = frame

    def notice(self, text: str) -> None:
        """A sentence above the table, where it stays."""
        with self._console:
            self._unwrap()
            super().notice(text)

    def hide(self) -> None:
        """Remove the table and show the cursor."""
        live, self._live = self._live, None
        if live:
            with self._console:
                self._unwrap()
                live.stop()
            self._frame = None

    def _unwrap(self) -> None:
        """Take back the lines that a terminal wraps which was made narrower: else the frame is taken for shorter."""
        if self._frame is None:
            return
        width = self._console.width
        wrapped = sum(max(drawn - 1, 0) // width for drawn in self._frame.widths)
        if wrapped:
            up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(*up * wrapped))


def draw(console: Console, plan: Plan, series: Iterable[Line]) -> None:
    """Print the frame of the last of these lines, once, as a terminal of the console's size shows it.

    series: lines of series.jsonl from the first on; its rates are counted from those before the last.
    """
    recall = Recall()
    figures = None
    for line in series:
        figures = recall.figures(plan, line)
    if figures:
        console.print(Frame(rows(plan, figures, console.height - 1)))
