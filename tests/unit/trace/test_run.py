"""What is said where tracing is refused, and the names of processes; running itself is in tests/e2e/test_trace.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from loadgen.control import kernel_samples
from loadgen.trace import run

_EPERM = "strace: attach: ptrace(PTRACE_SEIZE, 4711): Operation not permitted\n"


@pytest.mark.parametrize(
    ("said", "pid", "scope", "uid", "words"),
    [
        (_EPERM, None, None, 0, "in a container it takes CAP_SYS_PTRACE"),
        (_EPERM, 4711, 1, 1000, "kernel.yama.ptrace_scope=1 permits tracing of child processes only; be root"),
        (_EPERM, None, 1, 1000, "in a container it takes CAP_SYS_PTRACE"),
        (_EPERM, None, 2, 1000, "kernel.yama.ptrace_scope=2 permits tracing to root alone; be root"),
        (_EPERM, None, 3, 0, "kernel.yama.ptrace_scope=3 forbids tracing until the next boot"),
        (_EPERM, 4711, 0, 1000, "be root, or the user of that process"),
        (_EPERM, 4711, None, 0, "in a container it takes CAP_SYS_PTRACE"),
        ("strace: something else\n", None, 0, 0, "(strace: something else); try: strace true"),
        ("", 4711, 0, 0, "(it ended without a message); try: strace -p 4711"),
    ],
)
def test_a_refusal_names_its_reason_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, said: str, pid: int | None, scope: int | None, uid: int, words: str
) -> None:
    monkeypatch.setattr(run, "_yama", lambda: scope)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    text = run._refused(said, pid)
    assert words in text
    assert ("process 4711" in text) == (pid is not None)


def test_a_thread_belongs_to_a_process_with_a_name() -> None:
    process, command = run._name(os.getpid())
    assert process == os.getpid()
    assert command
    assert run._name(4_194_304) == (0, "")


def test_a_process_that_has_ended_has_no_limit_of_descriptors() -> None:
    assert run._descriptors_of(os.getpid()) > 0
    assert run._descriptors_of(4_194_304) == 0


def test_there_are_no_processes_of_a_tracer_that_is_none() -> None:
    assert run._tracees(4_194_304) == []


@pytest.fixture
def oddly_named() -> Iterator[int]:
    """A process with a name that is no UTF-8, as a name cut after 15 bytes may be (proc_pid_comm(5))."""
    program = "import ctypes; ctypes.CDLL(None).prctl(15, b'\\xff) \\xfe', 0, 0, 0); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_name_may_be_any_bytes(oddly_named: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_strace", lambda: "strace")
    monkeypatch.setattr(run, "_follow", lambda *_given, **_more: "followed")
    followed: object = run.of_process(oddly_named)
    assert followed == "followed"
    assert run._name(oddly_named) == (oddly_named, "\\xff) \\xfe")
    assert kernel_samples._cpu_s(oddly_named) >= 0
