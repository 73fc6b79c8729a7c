"""`loadgen trace` from outside: streams and exit code of the program, its end, and the scenario that is written."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from .conftest import Loadgen, Namespace, environment, wait_until
from .peers import Server
from .terminal import Terminal
from .traced import SERVER

pytestmark = pytest.mark.usefixtures("_strace")

_CONNECT: Final = """
import socket, sys
for _ in range(4):
    sock = socket.socket()
    {}
    try:
        sock.connect(("127.0.0.1", 8080))
    except OSError as error:
        print(error.errno, file=sys.stderr)
    sock.close()
print("out")
"""
#: Connects now and then until it is ended.
_PATIENT: Final = """
import socket, time
for _ in range(3000):
    socket.create_connection(("127.0.0.1", 8080), source_address=("127.0.0.2", 0)).close()
    print("ready", flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def server(namespace: Namespace, tmp_path: Path) -> Iterator[Server]:
    home = tmp_path / "server"
    home.mkdir()
    with Server(namespace, home, (sys.executable, "-c", SERVER), ports=[8080]) as one:
        yield one


def python(text: str, *options: str) -> list[str]:
    return [sys.executable, *options, "-c", text]


def test_the_program_keeps_its_streams_and_its_exit_code(loadgen: Loadgen, namespace: Namespace) -> None:
    done = loadgen("trace", "--", *python(f"{_CONNECT.format('pass')}sys.exit(5)\n"), prefix=namespace.enter)
    assert (done.code, done.out) == (5, "out\n")
    assert done.err.startswith("111\n" * 4 + "4 connect() calls in 1 way\n")
    assert "connect ECONNREFUSED 4 times" in " ".join(done.err.split())


@pytest.mark.usefixtures("server")
def test_json_has_stdout_for_itself(loadgen: Loadgen, namespace: Namespace) -> None:
    text = _CONNECT.format('sock.bind(("127.0.0.2", 0))')
    done = loadgen("trace", "--json", "--", *python(text), prefix=namespace.enter)
    (way,) = done.summary["connects"]
    assert done.summary["schema"] == "loadgen.trace/1"
    assert (way["strategy"], way["count"], way["closed"], way["source"]) == ("bind", 4, 4, "127.0.0.2")
    assert (way["ends_with"], way["capacity"], way["capacity_per"]) == ("bind EADDRINUSE", 28_232, "source")
    assert [call.partition("(")[0] for call in way["calls"]] == ["socket", "bind", "connect"]
    assert way["time_wait"]["rest_s"] == 60
    assert way["remedies"][0]["text"].startswith("set IP_BIND_ADDRESS_NO_PORT")
    assert done.err == "out\n"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("before", "strategy", "end"),
    [
        ("pass", "kernel", "errors.connect.EADDRNOTAVAIL"),
        ('sock.bind(("127.0.0.2", 0))', "bind", "errors.bind.EADDRINUSE"),
    ],
)
def test_the_scenario_meets_the_limit_of_the_program(
    loadgen: Loadgen, namespace: Namespace, before: str, strategy: str, end: str
) -> None:
    text = _CONNECT.format(before)
    done = loadgen("trace", "--scenario", "wall.yaml", "--", *python(text), prefix=namespace.enter)
    assert done.code == 0, done.err
    assert f"wrote wall.yaml: {strategy}" in done.err
    run = loadgen("run", "wall.yaml", "--json", "--quiet")
    assert run.code == 0, run.err
    met = {f"errors.{row['syscall']}.{row['errno']}" for row in run.summary["errors"]}
    assert met == {end}
    assert run.summary["verdict"]["limit"] == "time-wait"


@pytest.mark.usefixtures("server")
def test_a_program_runs_in_the_namespace_that_is_named(loadgen: Loadgen, namespace: Namespace) -> None:
    _, _, holder, *_ = namespace.enter  # nsenter -t PID
    done = loadgen("trace", "--json", "--netns", holder, "--", *python(_CONNECT.format("pass")))
    (way,) = done.summary["connects"]
    assert (way["strategy"], way["failed"]) == ("kernel", [])


def test_a_program_that_connects_nowhere_becomes_no_scenario(loadgen: Loadgen, namespace: Namespace) -> None:
    done = loadgen("trace", "--scenario", "x.yaml", "--", "true", prefix=namespace.enter)
    assert done.code == 2
    assert "no connect() to an Internet address was seen" in done.err
    assert "there is nothing to write" in done.err
    assert not (loadgen.home / "x.yaml").exists()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_program_and_the_trace(
    loadgen: Loadgen, namespace: Namespace, number: signal.Signals
) -> None:
    running = loadgen.start("trace", "--", *python(_PATIENT), prefix=namespace.enter)
    running.until(lambda: "ready" in running.out.read_text(), "sign of life")
    running.signal(number)
    done = running.finish()
    assert done.code in (128 + number, 130), done.err
    assert re.search(r"bind: bind\(\) searches", done.err)
    wait_until(lambda: not any(process.alive for process in running.seen), "end of all processes", 10)


#: Says so when it is interrupted, and takes longer to end than it takes to interrupt it again.
_COUNTS: Final = """
import os, signal, time
ending = []
signal.signal({0}, lambda *_: (ending.append(1), os.write(1, b"it was interrupted\\n")))
print("ready", flush=True)
while not ending:
    time.sleep(0.01)
end_s = time.monotonic() + 1.5
while time.monotonic() < end_s:
    time.sleep(0.01)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("key", [True, False], ids=["key", "kill"])
def test_on_a_terminal_the_program_is_interrupted_once(loadgen: Loadgen, number: signal.Signals, key: bool) -> None:
    """The key reaches the program as well; kill(1) reaches loadgen alone. Exit code 137 would be the kill after 5 s."""
    command = (*loadgen.command, "trace", "--", *python(_COUNTS.format(int(number))))
    terminal = Terminal(loadgen, None, command=command)
    terminal.read_until(lambda text: "ready" in text)
    if key:
        terminal.type({signal.SIGINT: b"\x03", signal.SIGQUIT: b"\x1c"}[number])
    else:
        os.kill(terminal.pid, number)
    assert terminal.end() == 0, terminal.text
    assert terminal.text.count("it was interrupted") == 1


def test_processes_that_the_program_left_behind_end_with_the_trace(loadgen: Loadgen, namespace: Namespace) -> None:
    left = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = ["sh", "-c", '"$0" -c "$1" & exit 3', sys.executable, left]
    running = loadgen.start("trace", "--", *command, prefix=namespace.enter)
    pid = running.until(lambda: running.out.read_text().strip(), "sign of life")
    running.signal(signal.SIGTERM)
    assert running.finish().code == 3
    command_line = Path(f"/proc/{pid}/cmdline")  # empty of a process that has ended and waits for its parent
    assert not command_line.exists() or command_line.read_bytes() == b""


@pytest.mark.usefixtures("server")
def test_it_attaches_to_a_process_and_lets_it_go_again(loadgen: Loadgen, namespace: Namespace, tmp_path: Path) -> None:
    log = tmp_path / "client.log"
    with (
        log.open("wb") as out,
        subprocess.Popen([*namespace.enter, *python(_PATIENT)], stdout=out, env=environment()) as client,
    ):
        wait_until(lambda: "ready" in log.read_text(), "sign of life")
        running = loadgen.start("trace", "--pid", str(client.pid), "--json", prefix=namespace.enter)
        running.until(lambda: "ends the trace, and the process goes on" in running.err.read_text(), "its first words")
        traced = Path(f"/proc/{client.pid}/status")
        running.until(lambda: not re.search(r"^TracerPid:\s*0$", traced.read_text(), re.MULTILINE), "tracer")
        refused = loadgen("trace", "--pid", str(client.pid), prefix=namespace.enter)
        assert refused.code == 3
        assert "is traced by process" in refused.err
        sockets = Path(f"/proc/{client.pid}/net/sockstat")
        before = _time_wait(sockets)
        running.until(lambda: _time_wait(sockets) > before + 2, "connection under the trace")
        running.signal(signal.SIGINT)
        done = running.finish()
        assert client.poll() is None
        client.kill()
    assert done.code == 0, done.err
    (way,) = done.summary["connects"]
    assert (way["strategy"], way["pid"]) == ("bind", client.pid)
    assert way["command"].startswith("python")


def _time_wait(sockstat: Path) -> int:
    found = re.search(r"^TCP:.* tw (\d+)", sockstat.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "write either --pid PID or a command behind --"),
        (["--pid", "1", "--", "true"], 2, "write either"),
        (["--pid", "0"], 2, "0 is not in the range"),
        (["--", "no-such-command"], 2, "there is no command 'no-such-command'"),
        (["--full-size", "--", "true"], 2, "add --scenario FILE"),
        (["--out", "no/such/file", "--", "true"], 2, "there is no directory no/such"),
        (["--pid", "4194304"], 2, "there is no process 4194304"),
        (["--netns", "4194304", "--", "true"], 3, "there is no process 4194304"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(loadgen: Loadgen, arguments: list[str], code: int, words: str) -> None:
    done = loadgen("trace", *arguments)
    assert done.code == code
    assert words in done.err
    assert "Traceback" not in done.err


def test_without_strace_it_names_the_package(loadgen: Loadgen, tmp_path: Path) -> None:
    (tmp_path / "true").symlink_to("/bin/true")
    done = loadgen("trace", "--", "true", PATH=str(tmp_path))
    assert done.code == 3
    assert "strace is not installed; apt install strace" in done.err


def test_where_tracing_is_forbidden_it_says_what_it_takes(loadgen: Loadgen, tmp_path: Path) -> None:
    strace = tmp_path / "strace"
    strace.write_text("#!/bin/sh\necho 'strace: ptrace(PTRACE_TRACEME, ...): Operation not permitted' >&2\nexit 1\n")
    strace.chmod(0o755)
    done = loadgen("trace", "--", "true", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.code == 3
    assert "strace may not trace a program here (ptrace(PTRACE_TRACEME, ...): Operation not permitted)" in done.err


def test_the_report_goes_to_a_file(loadgen: Loadgen, namespace: Namespace) -> None:
    done = loadgen("trace", "--out", "report.txt", "--", *python(_CONNECT.format("pass")), prefix=namespace.enter)
    assert (done.out, done.err) == ("out\n", "111\n" * 4)
    assert (loadgen.home / "report.txt").read_text().startswith("4 connect() calls in 1 way\n")
    done = loadgen("trace", "--json", "--out", "report.json", "--", "true", prefix=namespace.enter)
    assert (done.out, done.err) == ("", "")
    assert json.loads((loadgen.home / "report.json").read_text())["connects"] == []
    text = _CONNECT.format("pass")
    arguments = ("--out", "/dev/full", "--scenario", "wall.yaml", "--", *python(text))
    done = loadgen("trace", *arguments, prefix=namespace.enter)  # a trace cannot be made again
    assert done.code == 3
    assert "4 connect() calls in 1 way" in done.err
    assert "cannot write /dev/full: No space left on device" in done.err


@pytest.mark.usefixtures("server")
def test_threads_and_children_of_the_program_are_followed(loadgen: Loadgen, namespace: Namespace) -> None:
    text = """
import os, socket, threading
connect = lambda: socket.create_connection(("127.0.0.1", 8080)).close()
thread = threading.Thread(target=connect)
thread.start()
thread.join()
connect()
child = os.fork()
connect()
if child:
    os.waitpid(child, 0)
"""
    done = loadgen("trace", "--json", "--", *python(text), prefix=namespace.enter)
    (way,) = done.summary["connects"]
    assert (way["strategy"], way["count"], way["closed"]) == ("kernel", 4, 4)
