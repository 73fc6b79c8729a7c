"""What the end-to-end tests share: loadgen as a subprocess, and ways to look at it from outside.

A run is known by what its user can see of it: the exit code, the two streams, the run directory, and
the processes in /proc. Every wait is for a condition and has an end. Every process that a test
started is gone when the test is, and that is checked.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import pytest

T = TypeVar("T")

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PAST_64K: Final = CHECKOUT / "scenarios" / "past-64k.yaml"
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
#: The same number on every processor; Python has no name for the call.
_SYS_PIDFD_GETFD: Final = 438
#: No run here takes a tenth of it, unless it hangs.
PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.01
#: What unshare(1) needs beside the kind of a namespace: root has the right, others take a user namespace for it.
_UNSHARE: Final = ("unshare",) if os.geteuid() == 0 else ("unshare", "-r")
#: A prefix: in a network namespace with nothing that is up.
NO_NETWORK: Final = (*_UNSHARE, "-n")
#: A prefix: in a lab, as `loadgen run` makes it.
IN_LAB: Final = (
    sys.executable,
    "-c",
    "import os, sys; from loadgen.lab import namespace; namespace.enter({}); os.execvp(sys.argv[1], sys.argv[1:])",
)

#: A process with a network namespace of its own, loopback up, that lives until its standard input closes.
_HOLD_NAMESPACE: Final = """
import sys
from loadgen.lab import namespace
namespace.enter({})
print("ready", flush=True)
sys.stdin.read()
"""
#: Becomes argv[2:] inside `unshare -Urn`, where it sees to it that no network namespace can be made any more.
#: The check keeps it from ever changing the host.
_FORBID_NAMESPACES: Final = """
import fcntl, os, pathlib, socket, struct, sys
assert pathlib.Path("/proc/self/uid_map").read_text().split()[2] == "1", "not in a user namespace of our own"
with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x1))
pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(sys.argv[1])
pathlib.Path("/proc/sys/user/max_net_namespaces").write_text("0")
os.execv(sys.argv[2], sys.argv[2:])
"""


def wait_until(look: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
    """What `look` returns, as soon as that is true; fails the test when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"no {what} within {timeout_s:g} s")
        time.sleep(_POLL_S)
    return found


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    parent: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this pid now."""
        found = _read_process(pid)
        assert found, f"process {pid} has ended"
        return found

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return _read_process(self.pid) == self

    @property
    def command(self) -> str:
        """Its command line."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            return ""

    @property
    def stopped(self) -> bool:
        """Whether a signal has stopped it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    @property
    def listens(self) -> bool:
        """Whether one of its descriptors is a socket in state LISTEN, as the socket itself says: pidfd_getfd(2).

        Not by /proc/PID/net/tcp: to read that walks the sockets of the whole host, and took seconds beside other tests.
        """
        try:
            process = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            return any(_is_listening(process, int(fd)) for fd in sorted(os.listdir(f"/proc/{self.pid}/fd"), key=int))
        except OSError:
            return False
        finally:
            os.close(process)

    def children(self) -> list[Process]:
        """The processes it has forked and that still run."""
        found = [_read_process(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return sorted((p for p in found if p and p.parent == self.pid), key=lambda p: (p.started, p.pid))

    def descendants(self) -> list[Process]:
        """All below it."""
        return [process for child in self.children() for process in (child, *child.descendants())]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to this process and no other."""
        assert self.alive, f"{self} is gone already"
        os.kill(self.pid, number)


def _is_listening(process: int, fd: int) -> bool:
    """Whether a descriptor of the process with this pidfd is a listening socket."""
    copy = _LIBC.syscall(_SYS_PIDFD_GETFD, process, fd, 0)
    if copy < 0:  # closed meanwhile, or not for this user to see: then no sink is found, and the test says so
        return False
    if not stat.S_ISSOCK(os.fstat(copy).st_mode):
        os.close(copy)
        return False
    with socket.socket(fileno=copy) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _read_process(pid: int) -> Process | None:
    try:
        # The name in parentheses may hold anything; what follows the last one is numbers (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), int(fields[19]))


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left: its exit code, what it wrote, and its run directory if it made one."""

    code: int
    out: str
    err: str
    results: Path

    @property
    def summary(self) -> dict[str, Any]:
        """The one JSON object that stdout is; NaN and Infinity are not JSON."""
        data: dict[str, Any] = json.loads(self.out, parse_constant=_no_constant)
        return data

    @property
    def run(self) -> Path:
        """The run directory."""
        (only,) = self.results.iterdir()
        return only


def _no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not a number in JSON")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a .jsonl file; none while it is not there."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@dataclass
class Running:
    """A command that is under way."""

    popen: subprocess.Popen[bytes]
    out: Path
    err: Path
    results: Path
    seen: set[Process] = field(default_factory=set)

    @property
    def process(self) -> Process:
        """Its first process: for `run`, the orchestrator."""
        assert self.popen.poll() is None, f"it has ended: {self.err.read_text()}"
        return Process.of(self.popen.pid)

    @property
    def run(self) -> Path:
        """The run directory, as soon as its plan is written."""
        return self.until(lambda: next((path.parent for path in self.results.glob("*/plan.json")), None), "plan.json")

    @property
    def series(self) -> list[dict[str, Any]]:
        """The lines of numbers so far."""
        return lines_of(self.run / "series.jsonl")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of words so far."""
        return lines_of(self.run / "events.jsonl")

    def until(self, look: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
        """As wait_until, but fails at once when the command has ended without it."""

        def looked() -> T | None:
            ended = self.popen.poll() is not None
            found = look()
            if ended and not found:
                pytest.fail(f"it ended with {self.popen.returncode} before there was a {what}: {self.err.read_text()}")
            return found

        return wait_until(looked, what, timeout_s)

    def until_line(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of the series of which `holds` is true."""
        path = self.run / "series.jsonl"
        return self.until(lambda: next((line for line in lines_of(path) if holds(line)), None), what)

    def until_event(self, name: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The first event of that name."""
        path = self.run / "events.jsonl"
        return self.until(
            lambda: next((line for line in lines_of(path) if line["event"] == name), None), name, timeout_s
        )

    def until_holding(self) -> dict[str, Any]:
        """The first line of the phase hold."""
        return self.until_line("line of the hold", lambda line: line["phase"] == "hold")

    def zygote(self) -> Process:
        """The process that forks the others."""
        return self.until(
            lambda: next((child for child in self.process.children() if "zygote" in child.command), None), "zygote"
        )

    def sinks(self) -> list[Process]:
        """The processes that listen."""
        return [process for process in self.forked() if process.listens]

    def workers(self) -> list[Process]:
        """The processes that connect."""
        return [process for process in self.forked() if not process.listens]

    def forked(self) -> list[Process]:
        """Sinks and workers."""
        children = self.zygote().children()
        self.seen.update(children)
        return children

    def deliver(self, number: signal.Signals) -> None:
        """Send a signal to the first process, and wait until it has it."""
        self.signal(number)
        status = Path(f"/proc/{self.popen.pid}/status")
        pending = re.compile(r"^(?:Sig|Shd)Pnd:\s*0*[1-9a-f]", re.MULTILINE)
        self.until(lambda: not pending.search(status.read_text()), "delivery of the signal")

    def signal_all(self, number: signal.Signals) -> None:
        """To every process, the children first, as systemd and `docker stop` do for a control group."""
        for process in reversed(self.process.descendants()):
            self.seen.add(process)
            with suppress(ProcessLookupError):  # one that was about to end
                os.kill(process.pid, number)
        self.signal(number)

    def signal(self, number: signal.Signals) -> None:
        """To the first process alone."""
        self.seen.update(self.process.descendants())
        self.popen.send_signal(number)

    def finish(self, timeout_s: float = PATIENCE_S) -> Done:
        """Wait for its end."""
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there after {timeout_s:g} s; on stderr: {self.err.read_text()}")
        return Done(code, self.out.read_text(), self.err.read_text(), self.results)


class Loadgen:
    """Runs the command line in a directory of its own, where results/ is made.

    command: what is run instead of this checkout's loadgen; variables: its environment, instead of `environment()`.
    """

    def __init__(
        self,
        home: Path,
        python: str = sys.executable,
        command: Sequence[str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.command = tuple(command or (python, "-m", "loadgen"))
        self.variables = variables
        self.started: list[Running] = []

    def __call__(
        self, *args: str | Path, prefix: Sequence[str] = (), preexec: Callable[[], None] | None = None, **env: str
    ) -> Done:
        """Run a command to its end."""
        return self.start(*args, prefix=prefix, preexec=preexec, **env).finish()

    def start(
        self, *args: str | Path, prefix: Sequence[str] = (), preexec: Callable[[], None] | None = None, **env: str
    ) -> Running:
        """Start a command; `prefix` is one that becomes loadgen in the end, such as nsenter."""
        number = len(self.started)
        out, err = self.home / f"stdout.{number}", self.home / f"stderr.{number}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = subprocess.Popen(
                [*prefix, *self.command, *map(str, args)],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment(**env) if self.variables is None else {**self.variables, **env},
                preexec_fn=preexec,
            )
        running = Running(popen, out, err, self.home / "results")
        self.started.append(running)
        return running

    def scenario(self, **changes: Any) -> Path:
        """A scenario file: 200 connections in a lab, with these keys changed (None: left out)."""
        keys = {
            "name": "small",
            "lab": {},
            "sources": {"addresses": "127.0.1.1"},
            "targets": [{"address": "127.0.0.1:9000", "sink": True}],
            "connections": 200,
            "interval": "50ms",
        } | changes
        path = self.home / "scenario.yaml"
        path.write_text(json.dumps({key: value for key, value in keys.items() if value is not None}, indent=2))
        return path

    def close(self) -> None:
        """End what a failed test left running, then make sure that nothing is left."""
        left: list[Process] = []
        for running in self.started:
            if process := _read_process(running.popen.pid):
                running.seen.update(process.descendants())
                running.popen.kill()
            running.popen.wait(PATIENCE_S)
            left += running.seen
        wait_until(lambda: not any(process.alive for process in left), "end of all processes", 10)


def environment(**changes: str) -> dict[str, str]:
    """That of the tests without what would change colours or width, with the checkout on the path, and with bytecode.

    Where PYTHONDONTWRITEBYTECODE is set, as in many containers, every process would compile all of loadgen anew.
    """
    kept = {key: value for key, value in os.environ.items() if key not in _UNWANTED}
    return {**kept, "PYTHONPATH": str(CHECKOUT), **changes}


_UNWANTED: Final = frozenset(
    {
        *("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "COLORTERM"),
        *("CI", "LOADGEN_PROGRESS", "LC_ALL", "LC_CTYPE", "LANG"),
        *("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "GITHUB_STEP_SUMMARY"),
    }
)


@pytest.fixture
def loadgen(tmp_path: Path) -> Iterator[Loadgen]:
    """The command line, at home in tmp_path."""
    command = Loadgen(tmp_path)
    yield command
    command.close()


@pytest.fixture(scope="session", autouse=True)
def _all_load_stays_inside(_network_namespaces: None) -> None:
    """Without network namespaces there is nothing to test here."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with loopback up, and nothing that leads out of it."""

    enter: tuple[str, ...]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A namespace for several commands; put `enter` before each."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_NAMESPACE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        kinds = ["-n"] if os.geteuid() == 0 else ["-U", "-n", "--preserve-credentials"]
        yield Namespace(("nsenter", "-t", str(holder.pid), *kinds))
        holder.stdin.close()


def forbidden(port_range: str) -> tuple[str, ...]:
    """A prefix: in a namespace with that port range, from which no further one can be made; use `_user_namespaces`."""
    return ("unshare", "-Urn", sys.executable, "-c", _FORBID_NAMESPACES, port_range)


def mounted(mount: str) -> tuple[str, ...]:
    """A prefix: after this command of sh, which may call mount(8), in a mount namespace; use `_mount_namespaces`."""
    return (*_UNSHARE, "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")


def assert_adds_up(summary: Mapping[str, Any]) -> None:
    """The sums that hold after whatever happened."""
    arrivals, outcomes = summary["arrivals"], summary["outcomes"]
    assert arrivals["scheduled"] == arrivals["started"] + arrivals["not_started"]
    assert arrivals["started"] == outcomes["established"] + outcomes["failed"] + outcomes["in_flight"]
    assert min(*arrivals.values(), *outcomes.values()) >= 0
    if summary["complete"]:
        assert outcomes["in_flight"] == 0


def limit_of(summary: Mapping[str, Any]) -> str:
    """The limit of the verdict; "none" where the machine was too busy for the run, as happens beside other tests."""
    limit: str = summary["verdict"]["limit"]
    return "none" if limit == "generator" else limit


def assert_one_message(done: Done) -> str:
    """That it said what is wrong, once, on stderr, and nothing else; the message."""
    assert done.out == ""
    assert "Traceback" not in done.err
    if done.err.startswith("Usage: "):
        assert len(re.findall(r"^Error: ", done.err, re.MULTILINE)) == 1
    else:
        assert re.fullmatch(r"loadgen: [^\n]+\n", done.err), done.err
    return done.err
