"""Use of the standard streams by all commands, and the exit codes below each help."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

EPILOG: Final = """\b
Exit codes: 0 fine, 1 a bug in loadgen, 2 usage or scenario, 3 this host cannot,
4 incomplete, 99 an expectation failed, 130 interrupted.
"""


def buffered(stream: TextIO) -> TextIO:
    """Return a stream on which nothing is lost where one write(2) takes a part only, as a signal may bring about.

    With PYTHONUNBUFFERED, Python writes straight to the descriptor and drops the rest. A line is still seen at once.
    """
    if not isinstance(getattr(stream, "buffer", None), io.RawIOBase):
        return stream
    return open(  # until the process ends
        stream.fileno(), "w", buffering=1, encoding=stream.encoding, errors=stream.errors, closefd=False
    )


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Leave the block without an error when the reader of stdout is gone, as with `| head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit


@contextmanager
def stderr_may_fail() -> Iterator[None]:
    """Drop what a closed or full stderr does not take; Python would try again at exit and end with code 120."""
    try:
        yield
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def show(result: object, render: Callable[[Console], None], *, as_json: bool) -> None:
    """Print a result on stdout: as JSON and nothing else, or as `render` draws it."""
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(result, indent=2))
        else:
            render(console())


def console(*, stderr: bool = False) -> Console:
    """Return a console that raises BrokenPipeError for a closed pipe; rich would exit with 1."""
    from rich.console import Console

    class Leaving(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Leaving(stderr=stderr)


def complain(problem: object, head: str = "loadgen: ") -> None:
    """Print a line on stderr, if it is open."""
    with suppress(OSError):
        click.echo(f"{head}{problem}", err=True)
