"""SIGINT while modules load, while a command runs, and when it is over."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

#: Sends itself a signal, so that the moment is exact.
_HEAD = """
import os, signal, sys, time
from loadgen.cli import interrupts
def interrupt(): os.kill(os.getpid(), signal.SIGINT); time.sleep(0)
"""


def done(code: str, *, ignored: bool = False) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a Python program."""
    ended = subprocess.run(
        [sys.executable, "-c", _HEAD + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    return ended.returncode, ended.stdout, ended.stderr


TWICE = """
interrupts.interrupt_once()
try: interrupt()
except KeyboardInterrupt: """
SAID = "loadgen: interrupted\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("interrupts.leave_at_once(); interrupt(); print('unseen')", (130, "", SAID)),
        (
            TWICE + "interrupt(); interrupt(); print(interrupts.happened())",
            (0, "True\n", ""),
        ),
        (
            TWICE + "interrupts._SAME_S = 0; interrupt(); print('unseen')",
            (130, "", SAID),
        ),
        ("print('all'); sys.stdout.flush(); interrupts.over(99); interrupt(); sys.exit(1)", (99, "all\n", "")),
        (
            "import atexit; atexit.register(lambda: print('late')); interrupts.over(4); sys.exit(4)",
            (4, "late\n", ""),
        ),
        ("interrupts.over(4); import atexit; atexit._run_exitfuncs(); interrupt(); sys.exit(4)", (4, "", "")),
    ],
    ids=["loading", "twice at once", "again later", "waiting for threads", "at the end", "in the last moment"],
)
def test_one_line_or_none(code: str, expected: tuple[int, str, str]) -> None:
    assert done(code) == expected


@pytest.mark.parametrize("stage", ["leave_at_once()", "interrupt_once()", "over(3)"])
def test_what_was_ignored_from_the_start_stays_ignored(stage: str) -> None:
    """A shell script starts `loadgen run ... &` so."""
    assert done(f"interrupts.{stage}; interrupt(); print('goes on')", ignored=True) == (0, "goes on\n", "")


def test_an_extension_that_hides_the_interrupt_is_no_bug() -> None:
    """A module written in Rust or C may answer KeyboardInterrupt with an exception of its own, while it loads."""
    code = """
import click
from loadgen.cli import main
def hidden():
    try: interrupt()
    except KeyboardInterrupt: raise ImportError("cannot load")
main.cli.add_command(click.Command("hidden", callback=hidden))
interrupts.interrupt_once()
sys.argv = ["loadgen", "hidden"]
sys.exit(main.main())
"""
    assert done(code) == (130, "", SAID)
