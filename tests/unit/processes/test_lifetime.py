"""Processes that are stopped, and those to which the signals of a group mean nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys

import pytest

from loadgen import crash
from loadgen.errors import HostError
from loadgen.processes import lifetime
from loadgen.processes.lifetime import Stops

_CHILD = """
import sys
from loadgen.processes import lifetime
lifetime.ignore_signals_of_groups()
print("ready", flush=True)
sys.stdin.readline()
print("over", flush=True)
"""


def test_a_child_outlives_the_signals_of_its_group_from_its_first_moment() -> None:
    """Also while the interpreter starts, which would end by them or print a traceback."""
    with lifetime.holding_signals_back():
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for number in lifetime._OF_GROUPS:
        os.killpg(process.pid, number)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    for number in lifetime._OF_GROUPS:
        os.killpg(process.pid, number)
    assert process.communicate("\n", timeout=30)[0] == "over\n"
    assert process.returncode == 0


def test_a_process_that_may_not_die_with_its_parent_says_what_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of system calls has its own list, which prctl(2) need not be on."""

    class Refusing:
        def prctl(self, *_: object) -> int:
            ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Refusing())
    with pytest.raises(HostError) as refused:
        lifetime.die_with_parent(os.getppid())
    told = crash.told(refused.value)
    assert "refuses prctl(PR_SET_PDEATHSIG): Operation not permitted" in told
    assert "unforeseen" not in told


def test_a_stopped_process_is_seen_as_such() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not lifetime.is_stopped(process.pid)
        assert not lifetime.is_stopped_by_signal(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert lifetime.is_stopped(process.pid)
        assert lifetime.is_stopped_by_signal(process.pid)
        process.kill()
    assert not lifetime.is_stopped(process.pid), "it is gone"
    assert not lifetime.is_stopped_by_signal(process.pid)


def test_looks_in_a_row_that_found_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it ran in between, if only for a tick as under a tracer, the count begins again."""
    seen = iter(["", "3 1", "3 1", "3 2", "3 2", "3 2", ""])
    monkeypatch.setattr(lifetime, "_stopped", lambda _: next(seen))
    stops = Stops()
    assert [stops.look(7) for _ in range(7)] == [0, 1, 2, 1, 2, 3, 0]


def test_a_process_that_is_not_there_is_not_stopped() -> None:
    assert not lifetime.is_stopped(2**22 + 1)
