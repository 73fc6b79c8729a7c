"""Use of the standard streams by all commands, and the exit codes below each help."""

from __future__ import annotations

import errno
import io
import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

import click

from loadgen import secret
from loadgen.errors import OutputError
from loadgen.views.progress import ProgressStyle, is_ci, speaks_ascii

if TYPE_CHECKING:
    from rich.console import Console
    from typing_extensions import Buffer

EPILOG: Final = """\b
Exit codes: 0 fine, 1 a bug in loadgen, 2 usage or scenario, 3 this host cannot,
4 incomplete, 99 an expectation failed, 130 interrupted.
"""


class ReaderLeftError(Exception):
    """The reader of stdout has closed its end, as `| head` does, or its terminal was closed.

    Not an OSError, for which click and rich exit.
    """


class _Output(io.RawIOBase):
    """Stdout as a descriptor. The first write that fails raises; what is written later is dropped.

    Without the second half, Python would try again what is left in the buffer when it exits, and end with code 120.
    """

    def __init__(self, fd: int, *, closed: bool) -> None:
        """closed: there was no stdout when the process started; `fd` takes its place."""
        self._fd, self._over, self._terminal = fd, False, os.isatty(fd)
        self._closed_at_start = closed

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._fd)

    def write(self, data: Buffer) -> int:
        """Write a part of the data, at least one byte. Raises: ReaderLeftError, OutputError."""
        if self._over:
            return len(memoryview(data))
        try:
            if self._closed_at_start:
                raise OSError(errno.EBADF, "it is closed")
            return self._written(data)
        except BrokenPipeError as error:
            self._over = True
            raise ReaderLeftError from error
        except OSError as error:
            self._over = True
            if self._terminal and error.errno == errno.EIO:  # it was closed; tty_write(), drivers/tty/tty_io.c
                raise ReaderLeftError from error
            raise OutputError(f"cannot write to stdout: {error.strerror}; send it to a file with room") from error

    def _written(self, data: Buffer) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # another process that shares the terminal or pipe has set O_NONBLOCK
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()


def output(stream: TextIO | None) -> TextIO:
    """Return stdout with errors of its own: ReaderLeftError without a reader, OutputError when it cannot be written.

    Nothing is lost where one write(2) takes a part only, as a signal may bring about: with PYTHONUNBUFFERED Python
    writes straight to the descriptor and drops the rest. A line is still seen at once there, and on a terminal.
    stream: None if it was closed when the process started. One without a descriptor is returned as it is.
    """
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(_Output(1, closed=True)), encoding="utf-8")
    try:
        fd = stream.fileno()
    except io.UnsupportedOperation:
        return stream
    at_once = isinstance(getattr(stream, "buffer", None), io.RawIOBase) or os.isatty(fd)
    raw = io.BufferedWriter(_Output(fd, closed=False))
    # A Latin-1 terminal lacks characters that names may have; Python would raise an error of its own.
    errors = stream.errors if stream.encoding.lower().startswith("utf") else "backslashreplace"
    return io.TextIOWrapper(raw, encoding=stream.encoding, errors=errors, line_buffering=at_once)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Leave the block without an error when the reader of stdout is gone, as with `| head`."""
    try:
        yield
        sys.stdout.flush()
    except ReaderLeftError:
        pass


@contextmanager
def stderr_reader_may_leave() -> Iterator[None]:
    """Leave the block without an error when the reader of stderr is gone. Raises: OutputError for other errors."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and error.errno != errno.EIO:
            raise OutputError(f"cannot write to stderr: {error.strerror}; send it to a file with room") from error


@contextmanager
def stderr_may_fail() -> Iterator[None]:
    """Drop what a closed or full stderr does not take; Python would try again at exit and end with code 120."""
    try:
        yield
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            with suppress(OSError):  # the exit code tells as much
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def show(result: object, render: Callable[[Console], None], *, as_json: bool) -> None:
    """Print a result on stdout: as JSON and nothing else, or as `render` draws it. Raises: OutputError."""
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(result, indent=2))
        else:
            render(console())


def console(*, stderr: bool = False, style: ProgressStyle = ProgressStyle.AUTO) -> Console:
    """Return a console that raises BrokenPipeError for a stderr without a reader; rich would exit with 1.

    In a CI job a pseudo terminal is taken for the log that it ends in, unless colours or a view that is drawn over
    itself are asked for. style: of what will be shown on it.
    """
    from rich.console import Console

    from loadgen.views import terminal

    class Leaving(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    coloured = bool(os.environ.get("FORCE_COLOR") or os.environ.get("COLORTERM"))
    is_log = is_ci(os.environ) and not os.environ.get("FORCE_COLOR") and style is not ProgressStyle.LIVE
    return Leaving(
        stderr=stderr,
        force_terminal=False if is_log else None,
        no_color=True if not coloured and terminal.is_monochrome(os.environ.get("TERM", "")) else None,
    )


def fit_the_locale() -> None:
    """Write ASCII alone to a terminal whose locale has nothing else, with escapes for what it lacks.

    Files and pipes keep the encoding that Python chose: what goes there may be data.
    """
    if not speaks_ascii(os.environ, utf8_mode=bool(sys.flags.utf8_mode)):
        return
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            stream.reconfigure(encoding="ascii", errors="backslashreplace")


def complain(problem: object, head: str = "loadgen: ") -> None:
    """Print a line on stderr, if it is open."""
    with suppress(OSError):
        click.echo(secret.scrubbed(f"{head}{problem}"), err=True)
