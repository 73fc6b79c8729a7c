"""`loadgen sink` and a run against it: two commands in two terminals, in one namespace."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.capacity import RESERVED_DESCRIPTORS
from loadgen.sink.certificates import issue

from .conftest import CHECKOUT, Loadgen, Namespace, Running, assert_one_message, environment

AGAINST_SINK = {"lab": None, "targets": [{"address": "127.0.0.1:9000"}]}


def until_listening(running: Running) -> str:
    """The line that says so."""
    return running.until(
        lambda: next((line for line in running.err.read_text().splitlines() if line.startswith("listening on")), None),
        "listening sink",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sink_counts_its_clients_until_ctrl_c(loadgen: Loadgen, namespace: Namespace, number: signal.Signals) -> None:
    sink = loadgen.start("sink", "127.0.0.1:9000", "--workers", "2", prefix=namespace.enter)
    announced = until_listening(sink)
    assert announced.startswith("listening on 127.0.0.1:9000 with 2 processes, room for ")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert f"{2 * (hard - RESERVED_DESCRIPTORS - 1):,} connections" in announced
    scenario = loadgen.scenario(**AGAINST_SINK, sources={"addresses": "127.0.1.1-127.0.1.2"})
    run = loadgen("run", scenario, "--json", prefix=namespace.enter)
    assert run.code == 0, run.err
    assert run.summary["outcomes"]["established"] == 200
    sink.until(lambda: "200 accepted, 0 open" in sink.err.read_text(), "line of its counts")
    sink.signal_all(number)
    done = sink.finish(10)
    assert done.code == 0, done.err
    total, *sources = done.out.splitlines()
    assert total == "accepted 200, still open 0"
    assert [line.split()[:2] for line in sources] == [["127.0.1.1", "100"], ["127.0.1.2", "100"]]


def test_counts_as_json_and_an_echo(loadgen: Loadgen, namespace: Namespace) -> None:
    sink = loadgen.start(
        "sink", "127.0.0.1:9000", "[::1]:9001", "--workers", "1", "--json", "--quiet", prefix=namespace.enter
    )
    client = """
import socket, time
def connected(address):
    for _ in range(500):  # until it listens
        try:
            return socket.create_connection(address)
        except ConnectionRefusedError:
            time.sleep(0.01)
for sock in [connected(("127.0.0.1", 9000)), connected(("::1", 9001))]:
    sock.sendall(b"x" * 100_000)
    assert sock.recv(100_000, socket.MSG_WAITALL) == b"x" * 100_000
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""
"""
    subprocess.run([*namespace.enter, sys.executable, "-c", client], check=True, timeout=30, env=environment())
    sink.signal(signal.SIGINT)
    done = sink.finish(10)
    assert (done.code, done.err) == (0, "")
    assert done.summary["accepted"] == 2
    assert done.summary["open"] == 0
    assert {row["source"]: row["accepted"] for row in done.summary["sources"]} == {"127.0.0.1": 1, "::1": 1}


HTTPS_CLIENT = """
import http.client, ssl, sys
client = http.client.HTTPSConnection("127.0.0.1", 8443, timeout=10,
                                     context=ssl.create_default_context(cafile=sys.argv[1]))
for closing in (None, "close"):
    client.request("GET", "/")
    response = client.getresponse()
    assert (response.status, response.read(), response.getheader("Connection")) == (503, b"x" * 100, closing)
"""
HTTPS = ("--speaks", "http", "--tls", "--status", "503", "--body", "100", "--close-after-requests", "2")


def get(namespace: Namespace, authority: Path) -> None:
    subprocess.run(
        [*namespace.enter, sys.executable, "-c", HTTPS_CLIENT, str(authority)],
        check=True,
        timeout=30,
        env=environment(),
    )


@pytest.mark.parametrize("kept", [True, False])
def test_a_sink_with_a_certificate_that_it_has_made(loadgen: Loadgen, namespace: Namespace, kept: bool) -> None:
    """The authority is where --ca-out says, or in a file that is there for as long as the sink is."""
    authority = loadgen.home / "ca.pem"
    where = ("--ca-out", str(authority)) if kept else ()
    sink = loadgen.start("sink", "127.0.0.1:8443", *HTTPS, *where, "--workers", "2", prefix=namespace.enter)
    until_listening(sink)
    first = sink.err.read_text().splitlines()[0]
    assert first.startswith("clients have to trust ")
    path = Path(first.removeprefix("clients have to trust "))
    assert (path == authority) == kept
    get(namespace, path)
    sink.signal(signal.SIGINT)
    done = sink.finish(10)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "accepted 1, still open 0"
    assert path.exists() == kept


def test_a_sink_with_a_certificate_of_the_users(loadgen: Loadgen, namespace: Namespace) -> None:
    made = issue(["127.0.0.1"])
    paths = [loadgen.home / name for name in ("ca.pem", "certificate.pem", "key.pem")]
    for path, pem in zip(paths, (made.ca_pem, made.certificate_pem, made.key_pem), strict=True):
        path.write_text(pem)
    files = ("--certificate", str(paths[1]), "--key", str(paths[2]))
    sink = loadgen.start("sink", "127.0.0.1:8443", *HTTPS, *files, "--workers", "1", prefix=namespace.enter)
    until_listening(sink)
    get(namespace, paths[0])
    sink.signal(signal.SIGINT)
    assert sink.finish(10).code == 0


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--speaks", "htp"], 2, '--speaks: unknown word "htp"'),
        (["--body", "10"], 2, "--body: body is about answers in HTTP; write speaks: http"),
        (["--ca-out", "x.pem"], 2, "--ca-out goes with --tls"),
        (["--tls", "--ca-out", "/proc/x.pem"], 3, "/proc/x.pem cannot be written"),
    ],
)
def test_flags_that_are_invalid(loadgen: Loadgen, flags: list[str], code: int, words: str) -> None:
    flags = [str(CHECKOUT / flag) if flag == "README.md" else flag for flag in flags]
    done = loadgen("sink", "127.0.0.1:9000", *flags)
    assert done.code == code
    assert words in assert_one_message(done)


OCCUPY = """
import socket, sys
with socket.create_server(("127.0.0.1", 9000)):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_port_that_is_taken(loadgen: Loadgen, namespace: Namespace) -> None:
    """By a server of another kind: the sink says so, and so does a run that wants its own sink there."""
    with subprocess.Popen(
        [*namespace.enter, sys.executable, "-c", OCCUPY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        sink = loadgen("sink", "127.0.0.1:9000", prefix=namespace.enter)
        run = loadgen("run", loadgen.scenario(lab=None), prefix=namespace.enter)
        other.stdin.close()
    for done in (sink, run):
        assert done.code == 3
        message = assert_one_message(done)
        assert "cannot listen on 127.0.0.1:9000: EADDRINUSE" in message
        assert "ss -ltnp" in message
    assert not run.results.exists(), "a run that was refused left a run directory"


def test_two_sinks_do_not_share_a_port_unasked(loadgen: Loadgen, namespace: Namespace) -> None:
    """SO_REUSEPORT would let the second one take half of the first one's connections without a word."""
    first = loadgen.start("sink", "127.0.0.1:9000", "--workers", "1", prefix=namespace.enter)
    until_listening(first)
    second = loadgen.start("sink", "127.0.0.1:9000", "--workers", "1", prefix=namespace.enter)
    try:
        assert second.finish(5).code == 3
    finally:
        first.signal(signal.SIGINT)
        first.finish(10)


def test_an_address_that_is_not_here(loadgen: Loadgen, namespace: Namespace) -> None:
    done = loadgen("sink", "198.51.100.7:9000", prefix=namespace.enter)
    assert done.code == 3
    message = assert_one_message(done)
    assert "EADDRNOTAVAIL" in message
    assert "ip address add" in message


def test_a_sink_that_loses_a_process_says_so(loadgen: Loadgen, namespace: Namespace) -> None:
    sink = loadgen.start("sink", "127.0.0.1:9000", "--workers", "2", prefix=namespace.enter)
    until_listening(sink)
    sink.forked()[0].signal(signal.SIGKILL)
    done = sink.finish(10)
    assert done.code == 4, done.err
    assert "killed by SIGKILL" in done.err
    assert "Traceback" not in done.err


def test_a_killed_sink_leaves_nothing_behind(loadgen: Loadgen, namespace: Namespace) -> None:
    sink = loadgen.start("sink", "127.0.0.1:9000", "--workers", "2", prefix=namespace.enter)
    until_listening(sink)
    processes = [sink.zygote(), *sink.forked()]
    sink.signal(signal.SIGKILL)
    sink.finish()
    assert len(processes) == 3  # and the fixture waits for the end of each
