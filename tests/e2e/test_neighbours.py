"""`loadgen watch` beside a server of another project: it ends with exit code 99 before that server runs out.

Each test is one story. A first client fills the server to nine tenths, one connection after the other, and
`loadgen watch --fail-if` ends. Up to then the server has said nothing. Only then a second client comes and brings more
than there is room for, and the server says so in its own words. That what was foreseen comes last is thus no race.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import Loadgen, Namespace, Running, assert_adds_up, lines_of
from .peers import CLOSED, Server, assert_closed, ends, finished, program

SINK: Final = "127.0.0.1:9000"
#: What a proxy has for its connections to the sink: the range of its whole namespace.
PORTS: Final = range(40000, 40050)
#: Ports of clients, outside that range as if they came from another host: what they bind is in no proxy's way.
AS_REMOTE: Final = {"ports": "20000-29999", "strategy": "explicit"}
FIRST: Final = 45
SECOND: Final = 25
SLOWLY: Final = {"rate": "20/s"}
TURNED_AWAY: Final = FIRST + SECOND - len(PORTS)

HAPROXY: Final = """
defaults
    mode tcp
    retries 0
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend load
    bind 127.0.0.1:8000
    default_backend sinks
backend sinks
    server sink 127.0.0.1:9000
"""
#: HTTP/1.1 towards the sink and no `keepalive`: nginx closes each connection itself, and its port rests in TIME-WAIT.
NGINX: Final = """
daemon off;
worker_processes 1;
pid nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server {
        listen 127.0.0.1:8080;
        location / {
            proxy_pass http://127.0.0.1:9000;
            proxy_bind 127.0.0.1;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
"""

REDIS: Final = """
port 6379
bind 127.0.0.1
protected-mode no
save ""
tcp-backlog 4096
maxclients 2000
"""


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Servers that are entered here end with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def narrow(namespace: Namespace) -> Namespace:
    """A namespace with fifty ephemeral ports, in which what rests in TIME-WAIT rests for a minute, as between hosts."""
    settings = {"ip_local_port_range": f"{PORTS[0]} {PORTS[-1]}", "tcp_tw_reuse": "0"}
    for name, value in settings.items():
        write = f"echo {value} > /proc/sys/net/ipv4/{name}"
        subprocess.run([*namespace.enter, "sh", "-c", write], check=True, timeout=20)
    return namespace


def sink(loadgen: Loadgen, namespace: Namespace, *flags: str) -> None:
    """`loadgen sink` behind a proxy, until the end of the test."""
    running = loadgen.start("sink", SINK, "--workers", "1", *flags, prefix=namespace.enter)
    running.until(lambda: "listening on" in running.err.read_text(), "listening sink")


def watch(loadgen: Loadgen, namespace: Namespace, destination: str, condition: str) -> Running:
    """`loadgen watch` on the way to there, as soon as it has looked once."""
    flags = ("--json", "--interval", "100ms", "--destination", destination, "--fail-if", condition)
    watching = loadgen.start("watch", *flags, prefix=namespace.enter)
    watching.until(lambda: lines_of(watching.out), "first look")
    return watching


def client(loadgen: Loadgen, namespace: Namespace, source: str, ports: Mapping[str, str], **changes: Any) -> Running:
    """A run from this address and these ports, its results in a directory of its own."""
    scenario = loadgen.scenario(**{"lab": None, "sources": {**ports, "addresses": source}} | changes)
    results = loadgen.home / source
    command = ("run", scenario, "--json", "--quiet", "--out", results)
    running = loadgen.start(*command, prefix=namespace.enter)
    running.results = results
    running.until_line("connection", lambda line: line["established"] > 0)
    return running


def interrupted(running: Running) -> dict[str, Any]:
    """What a run saw until it was told to end."""
    running.signal(signal.SIGINT)
    done = running.finish(20)
    assert done.code == 130, done.err
    assert_adds_up(done.summary)
    return done.summary


def foreseen(watching: Running, says: str) -> dict[str, Any]:
    """The last group that it saw before it ended with 99 and these words; it had seen it grow from nothing."""
    done = watching.finish(20)
    assert done.code == 99, done.err
    assert says in done.err
    looks = lines_of(watching.out)
    assert looks[0]["groups"] == []
    assert {look["group_count"] for look in looks} == {0, 1}
    groups = [look["groups"][0] for look in looks if look["groups"]]
    used = [group["used"] for group in groups]
    assert used == sorted(used)
    assert any(group["growth_per_s"] and group["exhausts_in_s"] for group in groups), f"it saw no growth: {used}"
    last: dict[str, Any] = groups[-1]
    return last


def look(loadgen: Loadgen, namespace: Namespace, destination: str) -> dict[str, Any]:
    """The one group on the way to there, as it is now."""
    done = loadgen("watch", "--once", "--json", "--destination", destination, prefix=namespace.enter)
    assert done.code == 0, done.err
    group: dict[str, Any]
    (group,) = done.summary["groups"]
    return group


def test_a_proxy_whose_connections_take_all_ports(
    loadgen: Loadgen, narrow: Namespace, servers: ExitStack, tmp_path: Path
) -> None:
    command = (program("haproxy"), "-db", "-f", "haproxy.cfg")
    (tmp_path / "haproxy.cfg").write_text(HAPROXY)
    sink(loadgen, narrow)
    haproxy = servers.enter_context(Server(narrow, tmp_path, command, ports=[8000]))
    watching = watch(loadgen, narrow, SINK, "used > 80%")

    through: dict[str, Any] = {
        "targets": [{"address": "127.0.0.1:8000"}],
        "heartbeat": {"every": "200ms"},
        "hold": "1h",
    }
    first = client(loadgen, narrow, "127.0.1.1", AS_REMOTE, **through, connections=FIRST, arrival=SLOWLY)
    group = foreseen(watching, f"of {len(PORTS)} ports, from 127.0.0.1 to {SINK}")
    first.until_holding()
    assert haproxy.said == "", "it had run out before watch said so"
    assert 40 < group["used"] == group["in_use"] <= FIRST

    second = client(loadgen, narrow, "127.0.1.2", AS_REMOTE, **through, connections=SECOND)
    second.until_line("close of those turned away", lambda line: line["lost"] == TURNED_AWAY)
    assert haproxy.said.count("no free ports") == TURNED_AWAY
    group = look(loadgen, narrow, SINK)
    assert (group["in_use"], group["free"], group["exhausts_in_s"]) == (len(PORTS), 0, 0)
    assert [(one["command"], one["sockets"]) for one in group["owners"]["processes"]] == [("haproxy", len(PORTS))]
    summary = interrupted(second)
    assert ends(summary).total() == TURNED_AWAY
    assert ends(summary).keys() <= CLOSED
    assert interrupted(first)["errors"] == [], "who was there first stays"


def test_a_proxy_whose_ports_rest_in_time_wait(
    loadgen: Loadgen, narrow: Namespace, servers: ExitStack, tmp_path: Path
) -> None:
    command = (program("nginx"), "-p", tmp_path, "-e", "stderr", "-c", "nginx.conf")
    (tmp_path / "nginx.conf").write_text(NGINX)
    sink(loadgen, narrow, "--speaks", "http")
    nginx = servers.enter_context(Server(narrow, tmp_path, command, ports=[8080]))
    watching = watch(loadgen, narrow, SINK, "used > 80%")

    through: dict[str, Any] = {"targets": [{"address": "127.0.0.1:8080"}], "protocol": {"name": "http", "path": "/"}}
    right = ["traffic.wrong == 0", f"traffic.replies == {FIRST}"]
    first = client(loadgen, narrow, "127.0.1.1", AS_REMOTE, **through, connections=FIRST, arrival=SLOWLY, expect=right)
    group = foreseen(watching, f"of {len(PORTS)} ports, from 127.0.0.1 to {SINK}")
    finished(first)
    assert nginx.said == "", "it had run out before watch said so"
    assert 40 < group["used"] <= FIRST
    assert (group["time_wait_reused"], group["time_wait"] > group["in_use"]) == (False, True)

    wrong = [f"traffic.wrong == {TURNED_AWAY}", "errors.connect == 0", "open.lost == 0"]
    summary = finished(client(loadgen, narrow, "127.0.1.2", AS_REMOTE, **through, connections=SECOND, expect=wrong))
    assert nginx.said.count("(99: Cannot assign requested address)") == TURNED_AWAY
    assert summary["verdict"]["limit"] == "wrong-reply"
    assert "127.0.0.1:8080" in summary["verdict"]["text"]
    group = look(loadgen, narrow, SINK)
    assert (group["used"], group["time_wait"], group["in_use"], group["free"]) == (len(PORTS), len(PORTS), 0, 0)


def test_a_server_that_is_full_of_idle_clients(
    loadgen: Loadgen, namespace: Namespace, servers: ExitStack, tmp_path: Path
) -> None:
    """Its limit is not one of ports: watch counts what is in use, and the verdict names whose limit it was."""
    (tmp_path / "redis.conf").write_text(REDIS)
    command = (program("redis-server"), "redis.conf")
    redis = servers.enter_context(Server(namespace, tmp_path, command, ports=[6379]))
    watching = watch(loadgen, namespace, "127.0.0.1:6379", "in_use > 1800")

    def answer() -> str:
        return redis.ask(program("redis-cli"), "info", "stats")

    idle: dict[str, Any] = {"targets": [{"address": "127.0.0.1:6379"}], "hold": "1h"}
    first = client(loadgen, namespace, "127.0.1.1", {}, **idle, connections=1900, arrival={"rate": "1000/s"})
    group = foreseen(watching, "from 127.0.1.1 to 127.0.0.1:6379")
    first.until_holding()
    assert "rejected_connections:0\n" in answer().replace("\r", ""), "it had turned a client away before watch said so"
    assert 1800 < group["in_use"] <= 1900

    second = client(loadgen, namespace, "127.0.1.2", {}, **idle, connections=300)
    second.until_line("close of those turned away", lambda line: line["lost"] == 200)
    assert "max number of clients reached" in answer()
    summary = interrupted(second)
    assert_closed(summary, 200)
    assert "127.0.0.1:6379" in summary["verdict"]["text"]
    assert interrupted(first)["errors"] == []
