"""Redis on the other side: thousands of held connections, its limit of clients, and its restart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from .conftest import Loadgen, Namespace, wait_until
from .peers import CLOSED, Load, Server, assert_closed, assert_no_limit, ends, finished, program

PORT: Final = 6379
#: What a connection carries is what redis-cli would send.
PING: Final = {
    "targets": [{"address": f"127.0.0.1:{PORT}"}],
    "protocol": {"name": "payload", "send": r"PING\r\n", "expect": r"+PONG\r\n"},
}
#: Redis takes 127.0.0.1 alone for this host: any other source, even in 127.0.0.0/8, it would turn away (-DENIED).
SETTINGS: Final = {"port": PORT, "bind": "127.0.0.1", "protected-mode": "no", "save": '""', "tcp-backlog": 4096}


StartRedis = Callable[..., Server]


@pytest.fixture
def redis(namespace: Namespace, tmp_path: Path) -> Iterator[StartRedis]:
    """Start it with these settings: `redis(maxclients=100)`."""
    command: list[str | Path] = [program("redis-server"), "redis.conf"]
    home = tmp_path / "redis"
    home.mkdir()
    with ExitStack() as stack:

        def start(**changes: object) -> Server:
            settings = {**SETTINGS, "dir": home, **changes}
            (home / "redis.conf").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
            return stack.enter_context(Server(namespace, home, command, ports=[PORT]))

        yield start


def counted(server: Server, section: str, name: str) -> int:
    """A number that Redis has counted itself."""
    (number,) = re.findall(rf"{name}(\d+)", server.ask(program("redis-cli"), "-p", str(PORT), "info", section))
    return int(number)


@pytest.fixture
def load(loadgen: Loadgen, namespace: Namespace) -> Load:
    """Runs that speak to Redis."""
    return Load(loadgen, namespace, PING)


def test_two_thousand_held_connections_are_answered_every_second(load: Load, redis: StartRedis) -> None:
    server = redis()
    summary = load.run(
        connections=2000,
        heartbeat={"every": "1s"},
        hold="2500ms",
        expect=["open.end_of_hold == 2_000", "heartbeat.wrong == 0", "heartbeat.answered >= 2_000"],
    )
    assert_no_limit(summary)
    beat = summary["heartbeat"]
    assert beat["connections"] == 2000
    assert beat["answered"] == summary["latency_us"]["exchange"]["count"] <= beat["sent"]
    wait_until(lambda: counted(server, "commandstats", "cmdstat_ping:calls=") == beat["sent"], "as many PINGs in Redis")


def test_a_connection_that_it_rejects_is_held_no_longer(load: Load, redis: StartRedis) -> None:
    """Of 150 clients 50 are told -ERR and closed; they had said nothing yet, so all that shows is the close."""
    server = redis(maxclients=100)
    summary = load.run(
        connections=150,
        heartbeat={"every": "200ms"},
        hold="500ms",
        expect=["open.lost == 50", "open.end_of_hold == 100"],
    )
    assert (summary["outcomes"]["established"], summary["outcomes"]["failed"]) == (150, 0)
    assert_closed(summary, 50)
    assert "limit of connections" in " ".join(summary["verdict"]["remedies"])
    assert counted(server, "stats", "rejected_connections:") == 50


def test_the_error_it_rejects_a_connection_with_is_a_wrong_reply(load: Load, redis: StartRedis) -> None:
    """They ask as soon as they are open, and -ERR max number of clients reached is not +PONG."""
    server = redis(maxclients=100)
    summary = load.run(connections=150, expect=["traffic.wrong == 50", "traffic.replies == 100"])
    assert summary["open"]["end_of_hold"] == 100
    assert (summary["errors"], summary["open"]["lost"]) == ([], 0)
    assert summary["verdict"]["limit"] == "wrong-reply"
    assert f"127.0.0.1:{PORT}" in summary["verdict"]["text"]
    assert counted(server, "stats", "rejected_connections:") == 50


def test_a_restart_loses_what_is_held_and_each_is_counted(load: Load, redis: StartRedis) -> None:
    server = redis()
    running = load.start(
        connections=200,
        heartbeat={"every": "200ms"},
        hold="3s",
        expect=["open.lost == 200", "heartbeat.wrong == 0"],
    )
    load.until_answered(running)
    server.stop()
    server.start()
    summary = finished(running)
    assert summary["open"] == {"peak": 200, "end_of_hold": 0, "lost": 200}
    assert_closed(summary, 200)


def test_churn_goes_on_after_a_restart(load: Load, redis: StartRedis) -> None:
    """Refused while Redis is down, and answered again as soon as it listens."""
    server = redis()
    churn = {"duration": "3s", "concurrency": 512}
    running = load.start(connections=None, churn=churn, arrival={"rate": "200/s"})
    running.until_line("line with answers", lambda line: "exchange" in line["latency_ns"])
    server.stop()
    cut = running.until_line("line with refused connections", lambda line: line["failed"] > 0)
    server.start()
    summary = finished(running)
    assert summary["outcomes"]["established"] > cut["established"], "none after the restart"
    assert summary["traffic"]["wrong"] == 0
    why = ends(summary)
    assert why.pop(("connect", "ECONNREFUSED")) == summary["outcomes"]["failed"]
    assert why.keys() <= CLOSED
    assert why.total() == summary["open"]["lost"]
    assert summary["verdict"]["limit"] == "refused"
    assert f"127.0.0.1:{PORT}" in summary["verdict"]["text"]
