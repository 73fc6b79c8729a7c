"""What commands do with the standard streams, and what they all say below their help."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rich.console import Console

EPILOG: Final = """\b
Exit codes: 0 fine, 1 a bug of ours, 2 usage or scenario, 3 this host cannot,
4 incomplete, 99 an expectation failed, 130 interrupted.
"""


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """`| head` has seen enough: that ends what is done in here, and changes nothing about the exit code."""
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
    """What a command found, on stdout: as JSON and nothing else there, or as `render` puts it for people."""
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(result, indent=2))
        else:
            render(console())


def console(*, stderr: bool = False) -> Console:
    """One that leaves a closed pipe to whoever prints; rich's own answer is exit code 1."""
    from rich.console import Console

    class Leaving(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Leaving(stderr=stderr)


def complain(problem: object, head: str = "loadgen: ") -> None:
    """A line on stderr, if anybody is there to read it."""
    with suppress(OSError):
        click.echo(f"{head}{problem}", err=True)
