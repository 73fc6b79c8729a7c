"""Each use of loadgen works with the capabilities that docs/security.md lists for it, and with none of them less.

The user of these tests has no name, owns nothing, and has exactly the capabilities of the table.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from .conftest import CHECKOUT, IN_LAB, Loadgen, Process, environment, mounted, wait_until
from .unprivileged import LET_IN, another_user_may_run_this_checkout, as_user, without

PAGE: Final = CHECKOUT / "docs" / "security.md"
#: A process of root in the network namespace of the test, with a connection and a name that is not UTF-8; ends with its
#: input.
_OTHERS: Final = """
import socket, sys
open("/proc/self/comm", "wb").write(b"caf\\xe9")
with socket.create_server(("127.0.0.1", 9100)) as server, socket.create_connection(("127.0.0.1", 9100)) as client:
    print("ready", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Use:
    """A row of the page. arguments: PID is that of root's process. calls: forbidden. works: a pattern of its output."""

    row: str
    arguments: str
    works: str
    calls: Sequence[str] = ()


USES: Final = (
    Use(
        "`run`, `plan` in a lab, by a user who may make user namespaces", "run scenario.yaml --quiet", "200 established"
    ),
    Use(
        "`run`, `plan` in a lab, where user namespaces are forbidden",
        "run scenario.yaml --quiet",
        "200 established",
        ("unshare(CLONE_NEWUSER)",),
    ),
    Use("`run` on the host itself, from addresses that it has", "run host.yaml --quiet", "200 established"),
    Use("`sink`, on a port from 1024 on", "sink 127.0.0.1:9001", "listening on"),
    Use("`sink`, on a port below `net.ipv4.ip_unprivileged_port_start`", "sink 127.0.0.1:80", "listening on"),
    Use("`watch`, `doctor`, `explain`, `report`, `compare`, `runs`", "watch --once", r"127\.0\.0\.1:9100"),
    Use("`watch`: the processes that own sockets of other users", "watch --once", r"caf\S+\[PID\] 1"),
    Use("`trace -- COMMAND`, `trace --pid` of a process of the same user", "trace -- /bin/true", "no connect"),
    Use("`trace --pid` of another user's process", "trace --pid PID", "tracing process PID"),
)


def documented() -> dict[str, tuple[str, ...]]:
    """The capabilities of each use, as setpriv(1) spells them."""
    rows = re.findall(r"^\| (`.+?) \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    return {use: tuple(re.findall(r"CAP_(\w+)", needed)) for use, needed in rows}


@pytest.fixture(scope="module")
def others() -> Iterator[tuple[int, tuple[str, ...]]]:
    """The pid of root's process, and a prefix that enters its network namespace."""
    if os.geteuid():
        pytest.skip("needs root, to become a user with other capabilities")
    if not another_user_may_run_this_checkout():
        pytest.skip("needs a checkout that another user may read")
    with subprocess.Popen(
        [*IN_LAB, sys.executable, "-c", _OTHERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid, ("nsenter", "-t", str(process.pid), "-n")
        process.stdin.close()


def is_traced(pid: int) -> bool:
    """Whether strace is attached to a process."""
    return "\nTracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(errors="replace")


def tried(loadgen: Loadgen, use: Use, capabilities: Sequence[str], others: tuple[int, tuple[str, ...]]) -> bool:
    """Whether a use works with these capabilities; where not, that it says so without a traceback."""
    pid, enter = others
    prefix = (*enter, *mounted(LET_IN), *as_user(*(name.lower() for name in capabilities)))
    arguments = [word.replace("PID", str(pid)) for word in use.arguments.split()]
    running = loadgen.start(*arguments, prefix=(*prefix, *(without(*use.calls) if use.calls else ())))

    def said() -> str:
        return running.out.read_text() + running.err.read_text()

    if arguments[0] == "sink" or "--pid" in arguments:  # they last
        wait_until(lambda: running.popen.poll() is not None or "listening" in said() or is_traced(pid), "start")
        if running.popen.poll() is None:
            running.signal(signal.SIGINT)
    done = running.finish()
    assert "Traceback" not in done.err
    assert "unforeseen" not in done.err
    works = re.search(use.works.replace("PID", str(pid)), done.out + done.err)
    assert works or capabilities != documented()[use.row], done.err
    return bool(works) and done.code == 0


def test_the_page_has_these_uses() -> None:
    assert set(documented()) == {use.row for use in USES}


@pytest.mark.usefixtures("_mount_namespaces")
@pytest.mark.parametrize("use", USES, ids=lambda use: use.row)
def test_a_use_needs_what_the_page_says(loadgen: Loadgen, others: tuple[int, tuple[str, ...]], use: Use) -> None:
    if "trace" in use.arguments and not shutil.which("strace"):
        pytest.skip("needs strace: apt install strace")
    loadgen.home.chmod(0o777)
    host = loadgen.scenario(lab=None).read_text()
    (loadgen.home / "host.yaml").write_text(host)
    loadgen.scenario()
    needed = documented()[use.row]
    assert tried(loadgen, use, needed, others)
    for less in needed:
        assert not tried(loadgen, use, [name for name in needed if name != less], others)


def no_new_privileges(process: Process) -> bool:
    """Whether a process has given up to gain privileges by executing a file."""
    return "\nNoNewPrivs:\t1\n" in Path(f"/proc/{process.pid}/status").read_text()


def test_no_process_of_a_run_can_gain_privileges(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(hold="10m"), "--quiet")
    running.until_holding()
    family = [running.process, *running.process.descendants()]
    assert len(family) >= 4
    assert all(map(no_new_privileges, family))
    running.signal(signal.SIGINT)
    running.finish()


@pytest.mark.usefixtures("_strace")
def test_a_traced_program_is_as_privileged_as_it_is_elsewhere(loadgen: Loadgen) -> None:
    """Neither strace nor loadgen takes privileges away before the program starts."""
    untouched = subprocess.run(
        ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect", "-o", os.devnull, "cat", "/proc/self/status"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    traced = loadgen("trace", "--", "cat", "/proc/self/status").out
    lines = [re.findall(r"^(?:Cap|NoNewPrivs).*", text, re.MULTILINE) for text in (untouched, traced)]
    assert lines[0] == lines[1]
    assert "NoNewPrivs:" in traced
