"""Abilities of a terminal, and the job that it belongs to."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


@contextmanager
def whole_frame() -> Iterator[None]:
    """Put Ctrl-C off until the block is over, in which a frame is drawn.

    Python raises KeyboardInterrupt behind the system call that wrote the frame, and then neither its buffer nor that of
    rich knows that it is written: the frame would be drawn twice more, below itself. A terminal that Ctrl-S stopped
    goes on with Ctrl-C, so this blocks nothing for good (n_tty_receive_signal_char(), drivers/tty/n_tty.c).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def redraws(console: Console) -> bool:
    """Return whether lines can be drawn over there.

    Settings that ask for colours (FORCE_COLOR) make no terminal of a file, and TERM=dumb none that can redraw.
    """
    if not console.is_terminal or console.is_dumb_terminal or not console.file.isatty():
        return False
    return moves_up(os.environ.get("TERM", ""))


def moves_up(term: str) -> bool:
    """Return whether a terminal of this type has a way to move the cursor up; True for types that are not known."""
    return bool(term) and _has(term, "cuu") is not False


def is_monochrome(term: str) -> bool:
    """Return whether a terminal of this type has no colours: vt100, xterm-mono; False for types that are not known."""
    return _has(term, "setaf") is False and _has(term, "setf") is False


@cache
def _has(term: str, capability: str) -> bool | None:
    """Return whether terminfo(5) has a string for this capability; None for a type that is not in the database.

    term: the same one in the whole process, as curses.setupterm() looks at the first alone.
    """
    try:
        import curses  # a Python that was built without it knows no type

        curses.setupterm(term)
    except (ImportError, OSError, ValueError):
        return None
    except curses.error:
        return None
    return curses.tigetstr(capability) is not None
