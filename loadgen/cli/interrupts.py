"""Signals that end or stop loadgen, at any moment of the process: one line and exit code 130, or nothing when done.

    while modules load         nothing is open yet: leave at once
    while a command runs       KeyboardInterrupt, so that what is open is closed; a later signal leaves at once.
                               `run`, `plan` and `sink` have them delivered to their event loops instead
    when the command is over   the exit code stands; a signal only ends waiting for threads

Imports nothing that takes time, because it is what covers the time that imports take. A signal that was ignored from
the start, as nohup(1) ignores SIGHUP and a script's `&` SIGINT, stays ignored.

SIGTSTP (Ctrl-Z) stops the process as it stops any other, once the terminal is as it was found.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from loadgen.errors import ExitCode

#: As in typing, whose import takes as long as all the others here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final, NoReturn

#: By default each of them ends a process at once. Batch systems announce the end of a job by the last three.
ENDING: Final = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)
#: Two signals this close together are one. timeout(1) signals a command and then its group, systemd may send SIGHUP
#: after SIGTERM, and a terminal that is closed has the kernel and the shell send SIGHUP. People who press Ctrl-C twice
#: mean two, and are never that fast.
_SAME_S: Final = 1.0
_SAME_KEY_S: Final = 0.05
#: People press Ctrl-C twice also where one is enough; closing takes less.
_PATIENCE_S = 1.0
#: An exception may be lost, see _raise_again. People wait that long without noticing.
_AGAIN_S = 0.2

_first_at_s: float | None = None


def leave_at_once() -> None:
    """While modules load."""
    _handle(lambda *_: _leave())


def interrupt_once() -> None:
    """While a command runs."""
    _handle(_raise)


@contextmanager
def may_end_it() -> Iterator[None]:
    """A block that is to end by an interrupt, as by any other end of it."""
    try:
        yield
    except KeyboardInterrupt:
        seen()


def seen() -> None:
    """The interrupt has come where it ends the command; call it while the exception is being handled."""
    _every(0)


def happened() -> bool:
    """Return whether there was one; an extension may have made another exception of KeyboardInterrupt."""
    return _first_at_s is not None


def over(code: int) -> None:
    """When the command is over and has written everything; call it last. Returns unless there was an interrupt.

    The interpreter ends itself by SIGINT where a KeyboardInterrupt passed through exec(), as of a dataclass that is
    being made, although it was caught later: run_eval_code_obj(), Python/pythonrun.c; exit_sigint(), Modules/main.c.
    """
    import atexit

    if happened():
        os._exit(code)
    _handle(lambda *_: os._exit(code))
    # The interpreter's own end gives handlers back to the kernel, which would end the process by the signal.
    atexit.register(_handle, signal.SIG_IGN)


@contextmanager
def delivered_to(interrupt: Callable[[], None], hide: Callable[[], None] | None = None) -> Iterator[None]:
    """While an event loop runs, have it call `interrupt` for each signal; for SIGQUIT twice, which is to stop at once.

    hide: restores the terminal before Ctrl-Z stops the process.

    Handlers of Python's and not of the loop, because removing one of those exposes the process for a moment to what
    the kernel does by default.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    last_at_s, last = -_SAME_S, 0

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal last_at_s, last
        at_s = time.monotonic()
        same_s = _SAME_KEY_S if number == last == signal.SIGINT else _SAME_S
        if number == signal.SIGQUIT:
            loop.call_soon_threadsafe(interrupt)
        elif at_s - last_at_s < same_s:
            return
        last_at_s, last = at_s, number
        loop.call_soon_threadsafe(interrupt)

    before = _handle(on_signal)
    try:
        with before_stop(hide, loop.call_soon_threadsafe):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def before_stop(hide: Callable[[], None] | None, call: Callable[[Callable[[], None]], object]) -> Iterator[None]:
    """Until the end of the block, call `hide` through `call` before Ctrl-Z stops the process; None: only stop it."""
    if hide is None or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield
        return

    over = False

    def stop() -> None:
        if over:
            return
        hide()
        # SIGTSTP itself and not SIGSTOP: the kernel drops it where no shell could let the process go on.
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, on_stop)

    def on_stop(_number: int, _frame: FrameType | None) -> None:
        call(stop)

    signal.signal(signal.SIGTSTP, on_stop)
    try:
        yield
    finally:
        over = True
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


def _handle(handler: signal._HANDLER) -> dict[int, signal._HANDLER]:
    """Install a handler; return those before it, by signal."""
    before: dict[int, signal._HANDLER] = {number: signal.getsignal(number) for number in ENDING}
    before = {number: found for number, found in before.items() if found is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    return before


def _raise(number: int, _frame: FrameType | None) -> None:
    global _first_at_s
    if _first_at_s is None:
        _first_at_s = time.monotonic()
        signal.signal(signal.SIGALRM, _raise_again)
        _every(_AGAIN_S)
        raise KeyboardInterrupt
    if number == signal.SIGQUIT or time.monotonic() - _first_at_s > _PATIENCE_S:
        _leave()


def _every(interval_s: float) -> None:
    """Have SIGALRM come at this interval, 0: no more. Where a filter forbids it, an interrupt is raised once."""
    with suppress(OSError):
        signal.setitimer(signal.ITIMER_REAL, interval_s, interval_s)


def _raise_again(_number: int, _frame: FrameType | None) -> None:
    """Raise it again until it is `seen`, unless it is on its way: then what is open is being closed.

    A handler runs in the middle of anything. numpy takes every exception of a lookup of an attribute for "there is
    none" (PyArray_LookupSpecial(), and a lookup may run Python code: EnumType.__getattr__), and Python only prints what
    a destructor raises.
    """
    if sys.exc_info()[1] is None:
        raise KeyboardInterrupt


def _leave() -> NoReturn:
    try:
        os.write(2, b"loadgen: interrupted\n")
    finally:
        os._exit(ExitCode.INTERRUPTED)
