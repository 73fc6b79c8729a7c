"""System calls of the orchestrator that fail: at the start, while it reads counters, and while it writes results.

strace(1) makes them fail in this one process, and prlimit(1) takes its descriptors. Whatever fails, the user gets one
line and an exit code of the contract, and the results as far as they can be written.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from .conftest import Done, Loadgen, Running, assert_adds_up, assert_one_message, wait_until

pytestmark = pytest.mark.usefixtures("_strace")
UNREAD = "the kernel's counters could not be read"


@contextmanager
def failing(running: Running, injection: str, *options: str) -> Iterator[None]:
    """Make system calls of the orchestrator fail, as `strace -e inject=` describes it; "-f": in all threads."""
    command = ["strace", "-qq", "-o", "/dev/null", *options, "-p", str(running.popen.pid), "-e", f"inject={injection}"]
    with subprocess.Popen(command) as strace:
        try:
            status = Path(f"/proc/{running.popen.pid}/status")
            wait_until(lambda: f"TracerPid:\t{strace.pid}\n" in status.read_text(), "tracer")
            yield
        finally:
            strace.terminate()


def unread(running: Running) -> int:
    """How many lines have nothing of the kernel."""
    return sum("now" not in line["kernel"] for line in running.series)


def more_than(before: int, running: Running) -> bool:
    """Whether there are more such lines by now."""
    return unread(running) > before


def only_message(done: Done) -> str:
    """Its one message, beside a summary on stdout."""
    assert_adds_up(done.summary)
    return assert_one_message(replace(done, out=""))


@pytest.mark.parametrize(
    "injection",
    [
        "socketpair:error=EMFILE:when=1",  # of the event loop
        "socketpair:error=ENFILE:when=2",  # of the zygote
        "epoll_ctl:error=ENOMEM:when=1",
        "epoll_ctl:error=ENOSPC:when=4",
        "memfd_create:error=ENOMEM:when=1",  # of a request
        "ftruncate:error=ENOSPC:when=1",  # of the blocks
        "clone3,clone:error=EAGAIN:when=1",  # of a thread
    ],
)
def test_a_call_that_fails_at_the_start_is_one_line(loadgen: Loadgen, injection: str) -> None:
    prefix = ("strace", "-qq", "-o", "/dev/null", "-e", f"inject={injection}")
    done = loadgen("run", loadgen.scenario(), "--quiet", prefix=prefix)
    assert done.code == 3, done.err
    assert re.search("ulimit|fs.file-max|memory|room", assert_one_message(done))


@pytest.mark.parametrize(
    ("injection", "call"),
    [
        ("prctl:error=EPERM:when=4", "prctl(PR_SET_PDEATHSIG)"),  # of the zygote, when it has done what it was asked
        ("prctl:error=EINVAL:when=1", "prctl(PR_SET_PDEATHSIG)"),  # when it starts
        ("memfd_create:error=EPERM:when=1", "memfd_create()"),
        ("ftruncate:error=EPERM:when=1", "memory that processes share (ftruncate(), mmap())"),
    ],
)
def test_a_call_that_a_filter_refuses_is_named(loadgen: Loadgen, injection: str, call: str) -> None:
    """In whichever process: nobody can permit what has no name."""
    prefix = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={injection}")
    done = loadgen("run", loadgen.scenario(), "--quiet", prefix=prefix)
    assert done.code == 3, done.err
    assert f"refuses {call}: " in done.err
    assert "unforeseen" not in done.err


def test_a_run_ends_although_its_threads_cannot_wake_it(loadgen: Loadgen) -> None:
    """strace counts by thread: the first send() of each fails. asyncio makes its own once, and passes over errors."""
    running = loadgen.start("run", loadgen.scenario(hold="1s"), "--json", "--quiet")
    running.until_holding()
    with failing(running, "sendto:error=EAGAIN:when=1", "-f"):
        done = running.finish()
    assert done.code == 0, done.err
    assert done.summary["complete"]


def test_counters_that_cannot_be_read_end_no_run(loadgen: Loadgen) -> None:
    """Nor are they made up: those lines have none, and the run says how many."""
    running = loadgen.start("run", loadgen.scenario(hold="10m"), "--json", "--dashboard")
    running.until_holding()
    for injection in (
        *(f"openat:error={name}" for name in ("EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM")),
        "pread64:error=EIO",
    ):
        before = unread(running)
        with failing(running, injection):
            running.until(partial(more_than, before, running), f"line without counters: {injection}")
    running.popen.terminate()
    done = running.finish()
    assert done.code == 130, done.err
    assert "Traceback" not in done.err
    assert_adds_up(done.summary)
    assert done.summary["incomplete_because"] == "interrupted; drained early"
    assert done.err.count(f"loadgen: {UNREAD}: ") == 1
    assert f"{UNREAD} for " in done.err


def test_an_orchestrator_without_descriptors_writes_all_its_results(loadgen: Loadgen) -> None:
    """It may open no file that is not below 6; the reserve is."""
    running = loadgen.start("run", loadgen.scenario(hold="1s"), "--json")
    running.until_holding()
    subprocess.run(["prlimit", "--pid", str(running.popen.pid), "--nofile=6"], check=True)
    done = running.finish()
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert_adds_up(done.summary)
    assert done.summary["complete"]
    assert (done.run / "report.html").stat().st_size > 10_000
    assert f"{UNREAD}: /proc/" in done.err


def test_a_write_that_failed_once_ends_the_run_and_costs_no_summary(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(hold="10m"), "--json", "--quiet")
    running.until_holding()
    with failing(running, "write:error=ENOSPC:when=1"):
        done = running.finish()
    assert done.code == 3, done.err
    message = only_message(done)
    assert "series.jsonl: No space left on device; free some space there" in message
    assert message == f"loadgen: {done.summary['incomplete_because']}\n"
    assert json.loads((done.run / "summary.json").read_text()) == done.summary
    assert (done.run / "report.html").stat().st_size > 10_000


def test_a_summary_that_cannot_be_put_in_its_place_is_said(loadgen: Loadgen) -> None:
    """It is printed all the same, and the report is there."""
    running = loadgen.start("run", loadgen.scenario(hold="500ms"), "--json", "--quiet")
    running.until_holding()
    with failing(running, "rename:error=EIO:when=1"):
        done = running.finish()
    assert done.code == 3, done.err
    assert f"cannot write results/{done.run.name}/summary.json: Input/output error" in only_message(done)
    assert done.summary["complete"]
    assert not (done.run / "summary.json").exists()
    assert (done.run / "report.html").exists()


def test_results_that_cannot_be_read_back_are_still_there(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(hold="500ms"), "--quiet")
    running.until_holding()
    with failing(running, "openat:error=EMFILE"):
        done = running.finish()
    assert done.code == 3, done.err
    message = done.err.splitlines()[-1]
    assert "plan.json cannot be read: Too many open files" in message
    assert f"`loadgen report results/{done.run.name}`" in message
    assert loadgen("report", done.run).code == 0
