"""`loadgen watch` as a user has it: tables, JSON, a probe that fails, other namespaces, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from .conftest import Loadgen, assert_one_message, environment, forbidden

#: A namespace with ten ports and seven connections on them, until standard input closes.
_BUSY = """
import socket, sys
from loadgen.lab import namespace
namespace.enter({"net.ipv4.ip_local_port_range": "40000 40009"})
listener = socket.socket()
listener.bind(("127.0.0.1", 9000))
listener.listen(64)
clients = [socket.create_connection(("127.0.0.1", 9000)) for _ in range(7)]
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Busy:
    """A process that lives there, and what to put before a command to be there, too."""

    pid: int
    enter: tuple[str, ...]


@pytest.fixture
def busy() -> Iterator[Busy]:
    """A namespace with a client that uses seven of ten ports."""
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        kinds = ["-n"] if os.geteuid() == 0 else ["-U", "-n", "--preserve-credentials"]
        yield Busy(holder.pid, ("nsenter", "-t", str(holder.pid), *kinds))
        holder.stdin.close()


def test_one_look_as_json_into_the_namespace_of_a_process(loadgen: Loadgen, busy: Busy) -> None:
    done = loadgen("watch", "--netns", str(busy.pid), "--once", "--json")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 1
    seen = done.summary
    assert seen["schema"] == "loadgen.watch/1"
    assert seen["ports"] == {"low": 40000, "high": 40009, "reserved": 0, "listening": 0, "usable": 10}
    (group,) = seen["groups"]
    assert (group["source"], group["destination"], group["destination_port"]) == ("127.0.0.1", "127.0.0.1", 9000)
    assert (group["in_use"], group["time_wait"], group["free"], group["used_share"]) == (7, 0, 3, 0.7)
    assert group["states"] == {"ESTABLISHED": 7}
    assert [(one["pid"], one["sockets"]) for one in group["owners"]["processes"]] == [(busy.pid, 7)]
    assert (seen["inbound"], seen["counters"]) == ([], {})


def test_one_look_as_text_from_inside(loadgen: Loadgen, busy: Busy) -> None:
    done = loadgen("watch", "--once", "--inbound", prefix=busy.enter)
    assert (done.code, done.err) == (0, "")
    assert "10 usable ports for each source and destination: 40000-40009" in done.out
    assert f"[{busy.pid}] 7" in done.out
    assert "127.0.0.1 to 127.0.0.1:9000: 7 in use" in done.out
    assert "\x1b" not in done.out


def test_one_process(loadgen: Loadgen, busy: Busy) -> None:
    done = loadgen("watch", "--netns", str(busy.pid), "--pid", str(busy.pid), "--once", "--json")
    assert done.summary["groups"][0]["in_use"] == 7
    done = loadgen("watch", "--pid", str(busy.pid), "--once")
    assert done.code == 2
    assert f"add --netns {busy.pid}" in assert_one_message(done)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("used > 65%", "70%, 7 of 10 ports, from 127.0.0.1 to 127.0.0.1:9000"),
        ("free < 4", "3 free, from 127.0.0.1 to 127.0.0.1:9000"),
    ],
)
def test_a_probe_fails(loadgen: Loadgen, busy: Busy, condition: str, says: str) -> None:
    done = loadgen("watch", "--once", "--json", "--fail-if", "bound > 0", "--fail-if", condition, prefix=busy.enter)
    assert done.code == 99
    assert done.err == f"loadgen: --fail-if {condition}: {says}\n"
    assert done.summary["groups"][0]["used"] == 7


def test_a_probe_passes(loadgen: Loadgen, busy: Busy) -> None:
    conditions = ("used > 70%", "free < 3", "in_use > 7", "time_wait > 0", "bound > 0", "exhausts_in < 1h")
    flags = [word for condition in conditions for word in ("--fail-if", condition)]
    done = loadgen("watch", "--count", "2", "--interval", "100ms", *flags, prefix=busy.enter)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("usable ports") == 2


#: Ten listeners, and a client that binds before it connects to each in turn until no port is left.
_EARLY: Final = """
import socket, sys
from loadgen.lab import namespace
namespace.enter({"net.ipv4.ip_local_port_range": "40000 40199"})
listeners = [socket.create_server(("127.0.1.1", 8000 + n)) for n in range(10)]
kept = []
try:
    while True:
        kept.append(socket.socket())
        kept[-1].bind(("127.0.0.9", 0))
        kept[-1].connect(("127.0.1.1", 8000 + len(kept) % 10))
except OSError as error:
    print(error.errno, len(kept) - 1, flush=True)
sys.stdin.read()
"""
#: UDP sockets until there is no port.
_UDP: Final = """
import socket, sys
from loadgen.lab import namespace
namespace.enter({"net.ipv4.ip_local_port_range": "40000 40199"})
kept = []
try:
    while True:
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        kept[-1].sendto(b"x", ("127.0.0.1", 5300 + len(kept) % 4))
except OSError as error:
    print(error.errno, len(kept) - 1, flush=True)
sys.stdin.read()
"""
#: Sockets that are bound and never connected.
_LEAK: Final = """
import socket, sys
from loadgen.lab import namespace
namespace.enter({"net.ipv4.ip_local_port_range": "40000 40199"})
kept = [socket.socket() for _ in range(180)]
for sock in kept:
    sock.bind(("127.0.0.5", 0))
print(0, 180, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("program", "ends", "where", "shown"),
    [
        (
            _EARLY,
            (errno.EADDRINUSE, 200),
            "100%, 200 of 200 ports, TCP sockets of 127.0.0.9, whatever the destination",
            "127.0.0.9 looks like early binding (strategy bind): 200 sockets to 10 destinations use 200 ports",
        ),
        (
            _UDP,
            (errno.EAGAIN, 200),
            "100%, 200 of 200 ports, UDP sockets of 0.0.0.0, whatever the destination",
            "UDP, by source address:",
        ),
        (
            _LEAK,
            (0, 180),
            "90%, 180 of 200 ports, TCP sockets of 127.0.0.5, whatever the destination",
            "127.0.0.5 looks like early binding (strategy bind): 180 of 180 sockets are bound and not connected",
        ),
    ],
    ids=["early", "udp", "leak"],
)
def test_ports_that_are_used_up_whatever_the_destination(
    loadgen: Loadgen, program: str, ends: tuple[int, int], where: str, shown: str
) -> None:
    """No row of a destination is full, and yet the program has no port left."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as client:
        assert client.stdin
        assert client.stdout
        assert tuple(map(int, client.stdout.readline().split())) == ends
        flags = ("--netns", str(client.pid), "--once", "--fail-if", "used > 80%", "--fail-if", "free < 50")
        done = loadgen("watch", *flags)
        assert done.code == 99
        assert done.err == f"loadgen: --fail-if used > 80%: {where}\n"
        assert shown in done.out
        assert f"[{client.pid}]" in done.out
        client.stdin.close()


def test_who_has_a_port(loadgen: Loadgen, busy: Busy) -> None:
    here = ("--netns", str(busy.pid))
    every = [word for port in range(40000, 40010) for word in ("--port", str(port))]
    found = loadgen("watch", *here, *every, "--json").summary["ports"]
    assert sum(one["taken"] for one in found) == 7
    port = next(one["port"] for one in found if one["taken"])
    done = loadgen("watch", *here, "--port", str(port), "--port", "40099")
    assert (done.code, done.err) == (0, "")
    assert f"port {port}: 1 socket; in ip_local_port_range 40000-40009, not reserved" in done.out
    assert re.search(rf"TCP ESTABLISHED 127\.0\.0\.1 to 127\.0\.0\.1:9000 of \S+\[{busy.pid}\]", done.out)
    assert "a TCP service could not listen on 0.0.0.0 or :: now: EADDRINUSE, with SO_REUSEADDR as well" in done.out
    assert "port 40099: free; outside ip_local_port_range 40000-40009" in done.out
    assert f"ip_local_reserved_ports={port}" in done.out


def test_a_port_as_a_check_before_a_service_starts(loadgen: Loadgen, busy: Busy) -> None:
    here = ("watch", "--netns", str(busy.pid), "--fail-if", "taken", "--json")
    taken = loadgen(*here, "--port", "9000", "--port", "9001")
    assert (taken.code, taken.err) == (99, "loadgen: --fail-if taken: 9000\n")
    assert [(one["port"], one["taken"]) for one in taken.summary["ports"]] == [(9000, True), (9001, False)]
    assert taken.summary["ports"][0]["holders"][0]["state"] == "LISTEN"
    assert loadgen(*here, "--port", "9001").code == 0


def test_filters(loadgen: Loadgen, busy: Busy) -> None:
    for flag, value, groups in (
        ("--source", "127.0.0.0/8", 1),
        ("--source", "10.0.0.0/8", 0),
        ("--destination", "127.0.0.1:9000", 1),
        ("--destination", ":9001", 0),
    ):
        done = loadgen("watch", "--once", "--json", flag, value, prefix=busy.enter)
        assert len(done.summary["groups"]) == done.summary["group_count"] == groups


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_watching_ends_when_it_is_told_to(loadgen: Loadgen, busy: Busy, number: signal.Signals) -> None:
    running = loadgen.start("watch", "--json", "--interval", "100ms", prefix=busy.enter)
    running.until(lambda: running.out.read_text().count("\n") >= 2, "second look")
    running.signal(number)
    done = running.finish()
    assert (done.code, done.err) == (0, "")
    looks = [json.loads(line) for line in done.out.splitlines()]
    assert all(one["groups"][0]["growth_per_s"] == 0 for one in looks[1:])


def test_on_a_terminal_the_table_is_drawn_over_itself_until_ctrl_c(loadgen: Loadgen, busy: Busy) -> None:
    master, slave = os.openpty()
    with subprocess.Popen(
        [*busy.enter, *loadgen.command, "watch", "--interval", "100ms"],
        cwd=loadgen.home,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(TERM="xterm-256color", COLUMNS="100", LINES="30"),
        start_new_session=True,
    ) as process:
        os.close(slave)
        text, told, deadline = "", False, time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    text += os.read(master, 65536).decode()
                except OSError:  # EIO: nobody has the other side any more
                    break
            if not told and text.count("usable ports") >= 3:
                process.send_signal(signal.SIGINT)
                told = True
        if time.monotonic() >= deadline:
            process.kill()
        assert process.wait(10) == 0, text
    os.close(master)
    assert re.search("\x1b\\[[0-9]*A", text), "it goes back up to draw over what is there"
    assert "\x1b[?1049h" not in text
    assert text.rfind("\x1b[?25l") < text.rfind("\x1b[?25h"), "the cursor stayed hidden"
    assert "70.0%" in text


@pytest.mark.parametrize("flags", [("--json",), ()])
def test_a_reader_who_leaves_ends_it(loadgen: Loadgen, busy: Busy, flags: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [*busy.enter, *loadgen.command, "watch", "--interval", "100ms", *flags],
        cwd=loadgen.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")


def test_what_cannot_be_meant(loadgen: Loadgen) -> None:
    for flags in (
        ("--fail-if", "used > 80"),
        ("--interval", "soon"),
        ("--destination", "nowhere:x"),
        ("--once", "--count", "2"),
        ("--fail-if", "taken"),
        ("--port", "80", "--fail-if", "used > 80%"),
        ("--port", "80", "--top", "3"),
        ("--port", "65536"),
        ("--netns", "9blue"),
    ):
        done = loadgen("watch", *flags)
        assert done.code == 2
        assert_one_message(done)


def test_the_namespace_of_nobody(loadgen: Loadgen) -> None:
    done = loadgen("watch", "--netns", str((1 << 22) + 1), "--once")
    assert done.code == 3
    assert "there is no process" in assert_one_message(done)


@pytest.mark.usefixtures("_user_namespaces")
def test_a_namespace_that_may_not_be_entered(loadgen: Loadgen) -> None:
    """In a user namespace of one's own nobody rules over that of the host."""
    done = loadgen("watch", "--netns", str(os.getpid()), "--once", prefix=forbidden("40000 40009"))
    assert done.code == 3
    assert "it takes CAP_SYS_ADMIN" in assert_one_message(done)
