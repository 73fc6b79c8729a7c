"""The terminal of a table that is drawn over itself."""

from __future__ import annotations

import os

from rich.console import Console


def in_background(console: Console) -> bool:
    """Return whether the terminal belongs to another job of the shell now, as after Ctrl-Z and `bg`.

    False where that cannot be known: there is no job control, or the job is of another PID namespace (tcgetpgrp(3)
    returns 0 then).
    """
    try:
        return os.tcgetpgrp(console.file.fileno()) not in (0, os.getpgrp())
    except OSError:
        return False
