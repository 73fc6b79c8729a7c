"""nginx on the other side: kept alive, one request each, its limits, its reload, and TLS."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from .conftest import Loadgen, Namespace, wait_until
from .peers import Load, Server, assert_closed, assert_no_limit, finished, program

CONFIG: Final = """
daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;
pid nginx.pid;
events {{ worker_connections {connections}; }}
http {{
    log_format short '$status $connection_requests $ssl_protocol';
    access_log access.log short;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    keepalive_timeout 60s;
    keepalive_requests {requests};
    server {{
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443 ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate server.pem;
        ssl_certificate_key server.pem;
        location = / {{ return 200 "hello from nginx"; }}
    }}
}}
"""
#: The path is written down, so that a reply of nginx itself, as 404, would be wrong.
HTTP: Final[dict[str, Any]] = {
    "targets": [{"address": "127.0.0.1:8080"}],
    "protocol": {"name": "http", "path": "/", "expect": "hello from nginx"},
}
HTTPS: Final = [{"address": "127.0.0.1:8443"}]


class Nginx(Server):
    """And the lines it writes about each request: status, number of the request on its connection, version of TLS."""

    def requests(self) -> list[list[str]]:
        """All that it has answered so far."""
        return [line.split() for line in (self.home / "access.log").read_text().splitlines()]

    def until_requests(self, count: int) -> list[list[str]]:
        """The same, as soon as there are so many: it writes a line once the answer is on its way."""
        return wait_until(lambda: found if len(found := self.requests()) >= count else None, f"{count} requests", 10)


StartNginx = Callable[..., Nginx]


@pytest.fixture
def nginx(namespace: Namespace, tmp_path: Path) -> Iterator[StartNginx]:
    """Start it: `nginx(requests=3)`. The issuer of its certificate is in ca.pem."""
    found = program("nginx")
    home = tmp_path / "nginx"
    home.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(home / "server.pem"))
    with ExitStack() as stack:

        def start(*, requests: int = 1_000_000, connections: int = 2048) -> Nginx:
            (home / "nginx.conf").write_text(CONFIG.format(requests=requests, connections=connections))
            command = (found, "-p", home, "-e", "stderr", "-c", "nginx.conf")
            server = Nginx(namespace, home, command, ports=[8080, 8443])
            stack.enter_context(server)
            return server

        yield start


@pytest.fixture
def load(loadgen: Loadgen, namespace: Namespace) -> Load:
    """Runs that speak to nginx, without TLS unless they say so."""
    return Load(loadgen, namespace, HTTP)


def test_held_connections_are_kept_alive(load: Load, nginx: StartNginx) -> None:
    server = nginx()
    summary = load.run(
        connections=100,
        heartbeat={"every": "200ms"},
        hold="1s",
        expect=["open.end_of_hold == 100", "heartbeat.wrong == 0", "heartbeat.answered >= 200"],
    )
    assert_no_limit(summary)
    beat = summary["heartbeat"]
    requests = server.until_requests(beat["answered"])
    assert {status for status, *_ in requests} == {"200"}
    assert len(requests) <= beat["sent"]
    assert sum(number == "1" for _, number, *_ in requests) == 100, "a connection was not kept alive"


def test_a_search_finds_the_connections_that_nginx_keeps(
    loadgen: Loadgen, namespace: Namespace, nginx: StartNginx
) -> None:
    """As docs/find.md explains: less its listening sockets, the channel to the master, and a sixteenth kept free."""
    nginx(connections=256)
    kept = 256 - 2 - 1 - 256 // 16
    path = loadgen.scenario(
        **HTTP, lab=None, connections=100, hold="500ms", expect=["outcomes.failed == 0", "open.lost == 0"]
    )
    words = ("--vary", "connections", "--from", str(kept - 2), "--to", "250", "--precision", "0.3%")
    done = loadgen(
        "find",
        path,
        *words,
        "--set",
        "find.settle=0s",
        "--set",
        "close=rst",
        "--json",
        "--quiet",
        prefix=namespace.enter,
    )
    assert done.code == 0, done.err
    summary = done.summary
    assert (summary["kind"], summary["low"], summary["high"]) == ("found", kept, kept + 1)
    assert (summary["limit"], summary["predicted"]) == ("lost", None)


@pytest.mark.parametrize("secured", [{}, {"targets": HTTPS, "tls": {"ca": "ca.pem"}}], ids=["http", "https"])
def test_churn_makes_one_request_on_each_connection(load: Load, nginx: StartNginx, secured: dict[str, Any]) -> None:
    server = nginx()
    churn = {"duration": "500ms", "concurrency": 4}
    summary = load.run(connections=None, churn=churn, expect=["traffic.wrong == 0"], **secured)
    assert_no_limit(summary)
    closed, traffic = summary["churn"]["closed"], summary["traffic"]
    assert traffic["replies"] == closed > 4
    assert traffic["handshakes"] == summary["latency_us"].get("handshake", {"count": 0})["count"]
    assert traffic["handshakes"] == (closed if secured else 0)
    requests = server.until_requests(closed)
    assert len(requests) == closed
    assert {tuple(request) for request in requests} == {("200", "1", "TLSv1.3" if secured else "-")}


def test_its_limit_of_requests_ends_what_is_held(load: Load, nginx: StartNginx) -> None:
    """The third answer says Connection: close. No connection is opened again unasked."""
    server = nginx(requests=3)
    summary = load.run(
        connections=50,
        heartbeat={"every": "100ms"},
        hold="2s",
        expect=["open.lost == 50", "errors.recv.EOF == 50", "heartbeat.answered == 150", "heartbeat.wrong == 0"],
    )
    assert summary["open"] == {"peak": 50, "end_of_hold": 0, "lost": 50}
    assert summary["verdict"]["limit"] == "lost"
    assert len(server.until_requests(150)) == 150


def test_its_reload_ends_what_is_held(load: Load, nginx: StartNginx) -> None:
    """The old worker process closes its idle connections, and after a second all others; the new one has none."""
    server = nginx()
    running = load.start(
        connections=50,
        heartbeat={"every": "200ms"},
        hold="3s",
        expect=["open.lost == 50", "open.end_of_hold == 0", "heartbeat.wrong == 0"],
    )
    load.until_answered(running)
    server.signal(signal.SIGHUP)
    assert_closed(finished(running), 50)


@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        ({"ca": "other.pem"}, "CERTIFICATE_UNKNOWN_ISSUER"),
        ({"ca": "ca.pem", "server_name": "example.com"}, "CERTIFICATE_WRONG_NAME"),
    ],
)
def test_a_certificate_that_is_not_good_is_an_outcome(
    load: Load, nginx: StartNginx, tls: dict[str, str], reason: str
) -> None:
    trustme.CA().cert_pem.write_to_path(str(load.loadgen.home / "other.pem"))
    server = nginx()
    expect = [f"errors.tls.{reason} == 20", "open.lost == 20", "outcomes.failed == 0"]
    summary = load.run(targets=HTTPS, tls=tls, connections=20, expect=expect)
    (error,) = summary["errors"]
    assert error["outcome"] == "certificate"
    assert summary["verdict"]["limit"] == "tls"
    assert (summary["traffic"]["handshakes"], summary["traffic"]["replies"]) == (0, 0)
    assert server.requests() == []
