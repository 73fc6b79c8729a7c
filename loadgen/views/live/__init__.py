"""What a person watches while a run goes on: a live table on a terminal, plain lines elsewhere.

Everything here goes to stderr, so that stdout stays the summary's. What rows and words mean is in docs/live.md.

    view       what a view is; the one that says almost nothing; the one that survives a closed terminal
    figures    plan and lines of the series -> what is shown; with schedule and occupancy
    wording    the same in words, for both views
    lines      plain lines
    rows       the rows of the table
    frame      rows -> a terminal of any size
    table      the table, drawn over itself
"""

from rich.console import Console

from loadgen.views.live.lines import PlainLines
from loadgen.views.live.table import LiveTable, draw
from loadgen.views.live.view import Quiet, Unheard, View

__all__ = ["LiveTable", "PlainLines", "Quiet", "Unheard", "View", "draw", "view_for"]


def view_for(console: Console, *, quiet: bool) -> Unheard:
    """The view that fits: a table where it can be drawn over itself, lines elsewhere, nothing when asked for.

    Settings that ask for colours (FORCE_COLOR) make no terminal of a file, and TERM=dumb none that can redraw.
    """
    if quiet:
        return Unheard(Quiet(console))
    redraws = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    return Unheard(LiveTable(console) if redraws else PlainLines(console))
