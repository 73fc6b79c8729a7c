"""Abilities of a terminal, and the job that it belongs to."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from loadgen.views import terminal


def test_without_job_control_no_program_is_in_the_background() -> None:
    assert not terminal.in_background(Console(file=io.StringIO()))
    master, slave = os.openpty()
    try:
        with os.fdopen(slave, "w") as file:  # not the controlling terminal of this process: ENOTTY
            assert not terminal.in_background(Console(file=file))
    finally:
        os.close(master)


@pytest.mark.parametrize(("group", "expected"), [(0, False), (4711, False), (4712, True)])
def test_the_group_in_the_foreground(monkeypatch: pytest.MonkeyPatch, group: int, expected: bool) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: group)
    monkeypatch.setattr(os, "getpgrp", lambda: 4711)
    with open(os.devnull, "w") as file:
        assert terminal.in_background(Console(file=file)) is expected


_ASK = """
import sys
from loadgen.views import terminal
print(terminal.moves_up(sys.argv[1]), terminal.is_monochrome(sys.argv[1]))
"""


def asked(term: str) -> str:
    """The answers of a process of its own: curses keeps the first type that it was asked for."""
    return subprocess.run([sys.executable, "-c", _ASK, term], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def database() -> None:
    """terminfo(5): without it, or without curses, no type is known."""
    if asked("vt100").split()[1] != "True":
        pytest.skip("Python has no curses here, or the host no terminfo; install ncurses-base")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("term", "up", "monochrome"),
    [
        ("xterm-256color", True, False),
        ("screen", True, False),
        ("tmux-256color", True, False),
        ("linux", True, False),
        ("vt100", True, True),
        ("xterm-mono", True, True),
        ("dumb", False, True),
        ("", False, False),
        ("no-such-terminal", True, False),
    ],
)
def test_what_a_type_can_do_is_in_the_database(term: str, up: bool, monochrome: bool) -> None:
    """One that is not there is taken for a terminal of today."""
    assert asked(term).split() == [str(up), str(monochrome)]
