"""SIGINT at any moment of the process: one line and exit code 130, or nothing when all is done.

    while modules load         nothing is open yet: leave at once
    while a command runs       KeyboardInterrupt once, so that what is open is closed; `run`, `plan` and `sink` have
                               handlers of their own in their event loops. A second SIGINT within a second is the same
                               interrupt, a later one leaves at once
    when the command is over   the exit code stands; a SIGINT only ends waiting for threads

Imports nothing that takes time, because it is what covers the time that imports take. Where SIGINT was ignored from
the start, as by nohup(1) or `&` in a script, it stays ignored.
"""

from __future__ import annotations

import os
import signal
import time
from typing import NoReturn

from loadgen.errors import ExitCode

#: People press Ctrl-C twice, and a terminal's driver may send it again; closing takes less.
_SAME_S = 1.0
_first_at_s: float | None = None


def leave_at_once() -> None:
    """While modules load."""
    _handle(lambda *_: _leave())


def interrupt_once() -> None:
    """While a command runs."""
    _handle(_raise)


def happened() -> bool:
    """Return whether there was one; an extension may have made another exception of KeyboardInterrupt."""
    return _first_at_s is not None


def over(code: int) -> None:
    """When the command is over; call it last."""
    import atexit

    _handle(lambda *_: os._exit(code))
    # The interpreter's own end gives handlers back to the kernel, which would end the process by the signal.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _handle(handler: signal._HANDLER) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _raise(*_: object) -> None:
    global _first_at_s
    if _first_at_s is None:
        _first_at_s = time.monotonic()
        raise KeyboardInterrupt
    if time.monotonic() - _first_at_s > _SAME_S:
        _leave()


def _leave() -> NoReturn:
    try:
        os.write(2, b"loadgen: interrupted\n")
    finally:
        os._exit(ExitCode.INTERRUPTED)
