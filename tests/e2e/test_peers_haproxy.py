"""HAProxy between loadgen and a sink: what a client sees of the proxy's own limits."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import Loadgen, Namespace, Running
from .peers import Load, Server, assert_closed, assert_no_limit, ends, program

#: `retries 0`: a connection that cannot be passed on is over at once, and not after a second's wait.
CONFIG: Final = """
global
    maxconn 4000
defaults
    mode {mode}
    retries 0
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout queue 300ms
    {defaults}
frontend load
    bind 127.0.0.1:8000
    maxconn {maxconn}
    backlog 4096
    default_backend sinks
backend sinks
    server sink 127.0.0.1:9000 {server}
"""
#: Twenty ports for the proxy's own connections to the sink: its ceiling, which no client can know.
TWENTY_PORTS: Final = "source 127.0.0.1:40000-40019"
THROUGH: Final = {"targets": [{"address": "127.0.0.1:8000"}], "connections": 30}

Run = Callable[..., dict[str, Any]]
StartSink = Callable[..., Running]
StartProxy = Callable[..., Server]


@pytest.fixture
def sink(loadgen: Loadgen, namespace: Namespace) -> StartSink:
    """`loadgen sink` behind the proxy, with these flags."""

    def start(*flags: str) -> Running:
        command = ("sink", "127.0.0.1:9000", "--workers", "1", "--json", *flags)
        running = loadgen.start(*command, prefix=namespace.enter)
        running.until(lambda: "listening on" in running.err.read_text(), "listening sink")
        return running

    return start


def accepted(sink: Running) -> int:
    """End it; how many connections it had."""
    sink.signal(signal.SIGINT)
    done = sink.finish()
    assert done.code == 0, done.err
    return int(done.summary["accepted"])


@pytest.fixture
def haproxy(namespace: Namespace, tmp_path: Path) -> Iterator[StartProxy]:
    """Start it: `haproxy(mode="http", maxconn=20)`."""
    found = program("haproxy")
    home = tmp_path / "haproxy"
    home.mkdir()
    with ExitStack() as stack:

        def start(*, mode: str = "tcp", maxconn: int = 4000, server: str = "", defaults: str = "") -> Server:
            config = CONFIG.format(mode=mode, maxconn=maxconn, server=server, defaults=defaults)
            (home / "haproxy.cfg").write_text(config)
            command = (found, "-db", "-f", "haproxy.cfg")
            return stack.enter_context(Server(namespace, home, command, ports=[8000]))

        yield start


@pytest.fixture
def run(loadgen: Loadgen, namespace: Namespace) -> Run:
    """Run through the proxy, which accepts every connection; the summary."""

    def run(**changes: Any) -> dict[str, Any]:
        summary = Load(loadgen, namespace, THROUGH).run(**changes)
        assert summary["outcomes"]["failed"] == 0
        return summary

    return run


def test_held_connections_are_alive_from_end_to_end(run: Run, sink: StartSink, haproxy: StartProxy) -> None:
    behind = sink()
    haproxy()
    summary = run(
        connections=500,
        heartbeat={"every": "200ms"},
        hold="1s",
        expect=["open.end_of_hold == 500", "heartbeat.wrong == 0", "heartbeat.answered >= 500"],
    )
    assert_no_limit(summary)
    assert accepted(behind) == 500


@pytest.mark.parametrize("config", [{"server": TWENTY_PORTS}, {"server": "maxconn 20"}], ids=["ports", "queue"])
def test_it_closes_what_it_cannot_pass_on(
    run: Run, sink: StartSink, haproxy: StartProxy, config: dict[str, str]
) -> None:
    """Its own EADDRNOTAVAIL, or a queue that takes too long, shows as an orderly close and never as ports of ours."""
    behind = sink()
    server = haproxy(**config)
    summary = run(
        heartbeat={"every": "200ms"},
        hold="2s",
        expect=[
            "outcomes.established == 30",
            "open.lost == 10",
            "open.end_of_hold == 20",
            "errors.connect == 0",
            "heartbeat.wrong == 0",
        ],
    )
    assert_closed(summary, 10)
    assert summary["heartbeat"]["answered"] >= 20
    assert accepted(behind) == 20
    assert ("Cannot bind to source address" in server.said) == (config["server"] == TWENTY_PORTS)


def test_in_http_it_answers_503_to_what_it_cannot_pass_on(run: Run, sink: StartSink, haproxy: StartProxy) -> None:
    """Every client has a connection of its own behind the proxy, which has twenty ports for them."""
    behind = sink("--speaks", "http")
    haproxy(mode="http", server=TWENTY_PORTS, defaults="http-reuse never")
    summary = run(protocol="http", hold="100ms", expect=["traffic.wrong == 10", "traffic.replies == 20"])
    assert summary["open"]["end_of_hold"] == 20
    assert not summary["errors"]
    assert summary["verdict"]["limit"] == "wrong-reply"
    assert accepted(behind) == 20


def test_503_is_right_where_it_is_expected(run: Run, haproxy: StartProxy) -> None:
    """No server listens behind the proxy."""
    haproxy(mode="http")
    summary = run(
        connections=None,
        churn={"duration": "300ms", "concurrency": 2},
        protocol={"name": "http", "status": 503},
        expect=["traffic.wrong == 0"],
    )
    assert_no_limit(summary)
    assert summary["traffic"]["replies"] == summary["churn"]["closed"] > 0


def test_connections_that_it_does_not_accept_wait_for_an_answer(run: Run, sink: StartSink, haproxy: StartProxy) -> None:
    """`maxconn`: the kernel has shaken hands with the others, so they are established, and unanswered."""
    sink()
    haproxy(maxconn=20)
    expect = ["traffic.replies == 20", "open.lost == 10", "open.end_of_hold == 20"]
    summary = run(protocol="echo", timeout="2s", expect=expect)
    assert ends(summary) == {("wait", "ETIMEDOUT"): 10}
    assert summary["verdict"]["limit"] == "unanswered"


def test_heartbeats_find_the_connections_that_it_does_not_accept(
    run: Run, sink: StartSink, haproxy: StartProxy
) -> None:
    sink()
    haproxy(maxconn=20)
    expect = ["open.end_of_hold == 30", "heartbeat.connections == 30", "heartbeat.missed >= 10"]
    summary = run(heartbeat={"every": "200ms"}, hold="1s", expect=expect)
    beat = summary["heartbeat"]
    assert beat["sent"] - beat["answered"] >= 10
    assert (beat["wrong"], summary["errors"]) == (0, [])
    assert summary["verdict"]["limit"] == ("unanswered" if summary["generator"]["trustworthy"] else "generator")
