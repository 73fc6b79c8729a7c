"""Signals while modules load, while a command runs or its event loop does, and when it is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from loadgen.cli import interrupts

#: Sends itself a signal, so that the moment is exact.
_HEAD = """
import os, signal, sys, time
from loadgen.cli import interrupts
def interrupt(): os.kill(os.getpid(), signal.{number}); time.sleep(0)
"""


def done(code: str, number: signal.Signals = signal.SIGINT, *, ignored: bool = False) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a Python program in which interrupt() sends a signal."""
    ended = subprocess.run(
        [sys.executable, "-c", _HEAD.format(number=number.name) + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    return ended.returncode, ended.stdout, ended.stderr


TWICE = """
interrupts.interrupt_once()
try: interrupt()
except KeyboardInterrupt: """
SAID = "loadgen: interrupted\n"
#: numpy asks for attributes of the type, and takes whatever that raises for "there is none".
LOST = """
import numpy
class Lookup(type):
    def __getattr__(cls, name):
        interrupt()
        raise AttributeError(name)
class Value(metaclass=Lookup): pass
interrupts._AGAIN_S = 2
interrupts.interrupt_once()
with interrupts.may_end_it():
    numpy.array([1]) == Value()
    print("lost", interrupts.happened())
    time.sleep(25)
    print("unseen")
print("on", signal.getitimer(signal.ITIMER_REAL)[0])
"""
#: While it is on its way it is not raised again, however long the closing takes.
CLOSING = """
interrupts._AGAIN_S = 0.001
interrupts.interrupt_once()
with interrupts.may_end_it():
    try:
        interrupt()
    finally:
        ticks = [0]
        before = interrupts._raise_again
        def counting(*args): ticks[0] += 1; before(*args)
        signal.signal(signal.SIGALRM, counting)
        while ticks[0] < 5: time.sleep(0)
        print("closed")
print("on")
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("interrupts.leave_at_once(); interrupt(); print('unseen')", (130, "", SAID)),
        (
            TWICE + "interrupt(); interrupt(); print(interrupts.happened())",
            (0, "True\n", ""),
        ),
        (
            TWICE + "interrupts._PATIENCE_S = 0; interrupt(); print('unseen')",
            (130, "", SAID),
        ),
        (LOST, (0, "lost True\non 0.0\n", "")),
        (CLOSING, (0, "closed\non\n", "")),
        ("print('all'); sys.stdout.flush(); interrupts.over(99); interrupt(); sys.exit(1)", (99, "all\n", "")),
        (
            "import atexit; atexit.register(lambda: print('late')); interrupts.over(4); sys.exit(4)",
            (4, "late\n", ""),
        ),
        ("interrupts.over(4); import atexit; atexit._run_exitfuncs(); interrupt(); sys.exit(4)", (4, "", "")),
    ],
    ids=[
        *("loading", "twice at once", "again later", "lost in numpy", "closing takes long"),
        *("waiting for threads", "at the end", "in the last moment"),
    ],
)
def test_one_line_or_none(code: str, expected: tuple[int, str, str]) -> None:
    assert done(code) == expected


@pytest.mark.parametrize("stage", ["leave_at_once()", "interrupt_once()", "over(3)"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_from_the_start_stays_ignored(stage: str, number: signal.Signals) -> None:
    """A shell script starts `loadgen run ... &` so, and nohup(1) every command."""
    assert done(f"interrupts.{stage}; interrupt(); print('goes on')", number, ignored=True) == (0, "goes on\n", "")


@pytest.mark.parametrize("number", [number for number in interrupts.ENDING if number != signal.SIGINT])
def test_every_signal_that_ends_a_process_is_an_interrupt(number: signal.Signals) -> None:
    code = """
interrupts.interrupt_once()
try: interrupt()
except KeyboardInterrupt: interrupts.seen(); print("closed", flush=True)
interrupts.over(7); interrupt()
"""
    assert done(code, number) == (7, "closed\n", "")


def test_an_interrupt_in_exec_leaves_the_exit_code() -> None:
    code = """
interrupts.interrupt_once()
try: exec("interrupt()")
except KeyboardInterrupt: interrupts.seen()
interrupts.over(130); sys.exit(130)
"""
    assert done(code) == (130, "", "")


#: Counts the interrupts that reach an event loop, of which there are two kinds.
LOOP = """
import asyncio, uvloop
interrupts.interrupt_once()
got = []
async def main():
    with interrupts.delivered_to(lambda: got.append(1)):
        for number in {numbers}:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
    try: interrupt()
    except KeyboardInterrupt: interrupts.seen(); print(len(got))
{run}(main())
"""


@pytest.mark.parametrize("run", ["asyncio.run", "uvloop.run"])
@pytest.mark.parametrize(
    ("numbers", "count"),
    [
        ("(signal.SIGHUP,)", 1),
        ("(signal.SIGTERM, signal.SIGTERM)", 1),
        ("(signal.SIGINT, signal.SIGINT)", 1),
        ("(signal.SIGTERM, signal.SIGHUP, signal.SIGINT)", 1),
        ("(signal.SIGQUIT,)", 2),
        ("(signal.SIGINT, signal.SIGQUIT)", 3),
    ],
    ids=["once", "timeout", "timeout -s INT", "systemd", "quit", "quit after all"],
)
def test_an_event_loop_gets_each_request_once(run: str, numbers: str, count: int) -> None:
    """And has its handlers to itself: behind the loop the signal is an exception again."""
    together = "interrupts._SAME_S = interrupts._SAME_KEY_S = 20\n"  # however busy the machine is
    assert done(together + LOOP.format(run=run, numbers=numbers)) == (0, f"{count}\n", "")


def test_two_presses_are_two_requests() -> None:
    code = LOOP.format(run="uvloop.run", numbers="(signal.SIGINT, signal.SIGINT)")
    assert done("interrupts._SAME_KEY_S = 0\n" + code) == (0, "2\n", "")


def test_ctrl_z_stops_the_process_after_the_terminal_is_as_it_was() -> None:
    code = """
import asyncio, uvloop
async def main():
    with interrupts.delivered_to(lambda: None, lambda: print("hidden", flush=True)):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    print("over", flush=True)
uvloop.run(main())
"""
    # A group of its own below a process of the same session: else the kernel drops the signal as of an orphaned group.
    with subprocess.Popen(
        [sys.executable, "-c", _HEAD.format(number="SIGINT") + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTSTP)
            assert process.stdout.readline() == "hidden\n"
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            process.send_signal(signal.SIGCONT)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "over\n"
            assert process.wait(30) == 0
        finally:
            process.kill()


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
