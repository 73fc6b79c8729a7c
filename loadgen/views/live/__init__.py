"""The views of a run while it goes on: a live table on a terminal, plain lines elsewhere.

Everything here goes to stderr, so that stdout has the summary alone. docs/live.md explains rows and words.

    view       the protocols; the view that prints notices only; the one that survives a closed terminal
    figures    plan and lines of the series -> the figures shown; with schedule and occupancy
    wording    the same in words, for both views
    lines      plain lines
    rows       the rows of the table
    frame      rows -> a terminal of any size
    table      the table, drawn over itself
"""

from rich.console import Console

from loadgen.errors import UsageError
from loadgen.views.live.lines import LinePace, PlainLines
from loadgen.views.live.table import LiveTable, draw
from loadgen.views.live.view import DetachableView, LiveView, NoticesOnly, RunObserver
from loadgen.views.progress import ProgressStyle
from loadgen.views.terminal import redraws

__all__ = [
    "DetachableView",
    "LinePace",
    "LiveTable",
    "LiveView",
    "NoticesOnly",
    "PlainLines",
    "RunObserver",
    "draw",
    "view_for",
]


def view_for(console: Console, style: ProgressStyle, pace: LinePace | None = None) -> DetachableView:
    """Return the view of that style; for AUTO the one that fits. pace: of the lines of several runs in turn.

    Raises: UsageError when a table is asked for where none can be drawn.
    """
    if style is ProgressStyle.NONE:
        return DetachableView(NoticesOnly(console))
    if style is ProgressStyle.PLAIN or not (redraws(console) or style is ProgressStyle.LIVE):
        return DetachableView(PlainLines(console, pace))
    if not redraws(console):
        raise UsageError("--progress live: stderr is no terminal that can be drawn over; leave it out, or write plain")
    return DetachableView(LiveTable(console))
