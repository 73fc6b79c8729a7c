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

from loadgen.views.live.lines import PlainLines
from loadgen.views.live.table import LiveTable, draw
from loadgen.views.live.view import DetachableView, LiveView, NoticesOnly, RunObserver

__all__ = [
    "DetachableView",
    "LiveTable",
    "LiveView",
    "NoticesOnly",
    "PlainLines",
    "RunObserver",
    "draw",
    "view_for",
]


def view_for(console: Console, *, quiet: bool) -> DetachableView:
    """Return the view that fits: a table where it can be drawn over itself, lines elsewhere, notices only if quiet.

    Settings that ask for colours (FORCE_COLOR) make no terminal of a file, and TERM=dumb none that can redraw.
    """
    if quiet:
        return DetachableView(NoticesOnly(console))
    redraws = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    return DetachableView(LiveTable(console) if redraws else PlainLines(console))
