"""Unforeseen exceptions: details into a file, one line on stderr, in every process of a run.

A traceback on the terminal helps no user, and tears a live view apart; in a file it can be sent to us. `watch_over`
covers what Python prints by itself: exceptions in threads, in finalizers, and in callbacks of an event loop.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from loadgen import format as fmt
from loadgen import reserve, secret, shortage

_TEXT_MAX: Final = 200
#: Details of further exceptions are dropped: a callback that fails may do so a thousand times a second.
_KEPT_MAX: Final = 20

#: Where details are written, the run directory once there is one; None: the directory for temporary files.
directory: str | None = None
_process = "loadgen"
_kept: set[str] = set()


def keep_in(path: str | None) -> None:
    """Write details into this directory from now on; None: into that for temporary files."""
    global directory
    directory = path


def told(error: BaseException) -> str:
    """Write the details of an exception into a file, and return the sentence that names it.

    Where the host has too little of something, that is the sentence, and there are no details to report.
    """
    short = shortage.of(error)
    return str(short) if short else f"{_of(error)}; {_written(error)}; please report it"


def tell(error: BaseException) -> None:
    """Write the details of an exception into a file, and name it in one line on stderr, once for each kind."""
    what = _of(error)
    if what not in _kept and len(_kept) < _KEPT_MAX:
        _kept.add(what)
        line = f"loadgen: {'' if _process == 'loadgen' else f'{_process} (pid {os.getpid()}): '}{told(error)}\n"
        with suppress(OSError):
            os.write(2, line.encode(errors="backslashreplace"))


def watch_over(process: str = "loadgen") -> None:
    """Tell of what Python would print a traceback for, by itself. process: for the line on stderr."""
    import logging
    import threading

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                tell(record.exc_info[1])

    global _process
    _process = process
    _kept.clear()
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable
    logging.lastResort = Tell(logging.ERROR)  # event loops log what their callbacks raise


def _of(error: BaseException) -> str:
    text = fmt.on_one_line(secret.scrubbed(str(error)))
    if len(text) > _TEXT_MAX:
        text = text[:_TEXT_MAX] + "..."
    return f"unforeseen {type(error).__name__}{': ' if text else ''}{text}"


def _written(error: BaseException) -> str:
    """Write the details; return where they are, in words."""
    import platform
    import tempfile
    import traceback

    head = f"{_process}, pid {os.getpid()}, Python {platform.python_version()}, Linux {platform.release()}\n"
    try:
        text = head + "".join(traceback.format_exception(error))
    except Exception as other:  # __str__ of an exception may be what fails
        text = f"{head}{type(error).__name__}, and {type(other).__name__} while it was written\n"
    data = secret.scrubbed(text).encode(errors="backslashreplace")
    reserve.release()
    for folder in (directory, None):
        try:
            # gettempdir() raises as well, where no directory can be written.
            return f"details in {_append(folder or tempfile.gettempdir(), data)}"
        except OSError as refused:
            reason = refused.strerror or str(refused)
    return f"its details could not be written ({reason})"


def _append(folder: str, data: bytes) -> Path:
    """Add to the file of this process in a directory, readable by this user only. Raises: OSError."""
    path = Path(folder) / f"loadgen-crash-{os.getpid()}.txt"
    # Directories for temporary files are shared by all users: not through a link, and no other user's file.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(1, "the file is another user's")
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
    return path


def _in_thread(args: Any) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        tell(args.exc_value)


def _unraisable(args: Any) -> None:
    # A loop that could not be made, or closed, is not whole when it is freed; why it could not is one of its own.
    if "BaseEventLoop.__del__" in repr(args.object):
        return
    # An interrupt in a finalizer is lost; the user can send another.
    if args.exc_value is not None and not isinstance(args.exc_value, KeyboardInterrupt):
        tell(args.exc_value)
