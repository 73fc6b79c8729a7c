"""`loadgen occupy` beside real proxies: they run out of ports, say so, and work again; and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import Loadgen, Namespace, Running, assert_one_message, environment, wait_until
from .peers import Server, program

#: A hundred ports, those of the proxies' listeners among them.
RANGE: Final = (8000, 8099)
#: A request from a port outside of the range, as a client on another host is: it takes none of those that are scarce.
#: Prints the status. argv: port of the proxy, port of the client.
REQUEST: Final = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), 20, ("127.0.0.1", int(sys.argv[2])))
connection.request("GET", "/")
print(connection.getresponse().status)
"""
#: Connections to a port until one fails; prints how many there were, and the errno.
UNTIL_ERROR: Final = """
import socket, sys
kept = []
try:
    while True:
        kept.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20))
except OSError as error:
    print(len(kept), error.errno)
"""
NGINX: Final = """
daemon off;
worker_processes 1;
pid nginx.pid;
events { worker_connections 200; }
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server {
        listen 127.0.0.1:8080;
        location / { proxy_pass http://127.0.0.1:9000; }
    }
}
"""
HAPROXY: Final = """
defaults
    mode http
    retries 0
    timeout connect 10s
    timeout client 10s
    timeout server 10s
frontend load
    bind 127.0.0.1:8081
    default_backend upstream
backend upstream
    http-reuse never
    server upstream 127.0.0.1:9000
"""


class Proxy:
    """A proxy in front of a server on port 9000. complains: the words with which it says that it has no port."""

    def __init__(self, namespace: Namespace, server: Server, port: int, complains: str) -> None:
        self._namespace, self.server, self._port, self.complains = namespace, server, port, complains
        self._clients = iter(range(20_000, 30_000))

    def status(self) -> int:
        """The status of the reply to a new request."""
        return int(inside(self._namespace, REQUEST, self._port, next(self._clients)))


def inside(namespace: Namespace, script: str, *args: object) -> str:
    """The output of a script in the namespace."""
    command = [*namespace.enter, sys.executable, "-c", script, *map(str, args)]
    return subprocess.run(
        command, capture_output=True, check=True, text=True, timeout=60, env=environment()
    ).stdout.strip()


@pytest.fixture
def upstream(loadgen: Loadgen, namespace: Namespace) -> Running:
    """A server for HTTP on port 9000, in a namespace with a hundred ports."""
    low, high = RANGE
    setting = f"open('/proc/sys/net/ipv4/ip_local_port_range', 'w').write('{low} {high}')"
    inside(namespace, setting)
    command = ("sink", "127.0.0.1:9000", "--workers", "1", "--json", "--speaks", "http")
    running = loadgen.start(*command, prefix=namespace.enter)
    running.until(lambda: "listening on" in running.err.read_text(), "listening sink")
    return running


StartProxy = Callable[[str], Proxy]


@pytest.fixture
def start(namespace: Namespace, tmp_path: Path, upstream: Running) -> Iterator[StartProxy]:
    """Start a proxy by its name, with its listener inside of the range."""
    assert upstream.process.alive
    with ExitStack() as stack:

        def started(name: str) -> Proxy:
            found, home = program(name), tmp_path / name
            home.mkdir()
            if name == "nginx":
                (home / "nginx.conf").write_text(NGINX)
                command: tuple[Any, ...] = (found, "-p", home, "-e", "stderr", "-c", "nginx.conf")
                port, complains = 8080, "connect() to 127.0.0.1:9000 failed (99:"
            else:
                (home / "haproxy.cfg").write_text(HAPROXY)
                command = (found, "-db", "-f", "haproxy.cfg")
                port, complains = 8081, "Connect() failed for backend upstream: no free ports."
            server = stack.enter_context(Server(namespace, home, command, ports=[port]))
            return Proxy(namespace, server, port, complains)

        yield started


def occupying(loadgen: Loadgen, namespace: Namespace, *flags: str) -> Running:
    """`loadgen occupy` as soon as it holds the ports."""
    running = loadgen.start("occupy", "--yes", "--for", "50s", *flags, prefix=namespace.enter)
    running.until(lambda: "holding " in running.err.read_text(), "line about what is held")
    return running


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_proxy_without_a_port_says_so_and_works_again(
    loadgen: Loadgen, namespace: Namespace, start: StartProxy, name: str
) -> None:
    proxy = start(name)
    assert proxy.status() == 200
    running = occupying(loadgen, namespace, "--leave", "0", "--json")
    assert f"{name}[" in running.err.read_text()
    assert proxy.status() == (502 if name == "nginx" else 503)  # and so the listener, in the range, still accepts
    assert proxy.complains in proxy.server.said
    running.signal(signal.SIGINT)
    done = running.finish()
    assert proxy.status() == 200
    assert done.code == 130
    document = json.loads(done.out)
    held = document["held"]
    assert (document["schema"], document["interrupted"]) == ("loadgen.occupy/1", True)
    assert (held["left_min"], held["left_max"]) == (0, 0)
    assert held["ports_max"] == document["ports"]["free"] > 90
    assert document["after"]["free"] >= 90
    assert name in {process["command"] for process in document["affected"]["processes"]}


def test_after_sigkill_every_port_is_given_back(loadgen: Loadgen, namespace: Namespace, start: StartProxy) -> None:
    proxy = start("nginx")
    running = occupying(loadgen, namespace, "--leave", "0")
    assert proxy.status() == 502
    holders = running.process.children()
    assert holders
    running.signal(signal.SIGKILL)
    running.finish()
    wait_until(lambda: not any(process.alive for process in holders), "end of the processes that held ports")
    assert proxy.status() == 200


@pytest.mark.parametrize("target", [(), ("--target", "127.0.0.1:9000")], ids=["bind", "connections"])
def test_exactly_five_are_left(
    loadgen: Loadgen, namespace: Namespace, upstream: Running, target: tuple[str, ...]
) -> None:
    assert upstream.process.alive
    running = occupying(loadgen, namespace, "--leave", "5", *target)
    running.signal(signal.SIGSTOP)  # its processes go on holding, and it gives back none meanwhile
    assert inside(namespace, UNTIL_ERROR, 9000) == "5 99"
    running.signal(signal.SIGCONT)
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.code == 130
    assert "interrupted: held 95 ports" in done.out
    assert int(inside(namespace, UNTIL_ERROR, 9000).split()[0]) >= 90


def test_its_time_ends_it_with_a_report(loadgen: Loadgen, namespace: Namespace, upstream: Running) -> None:
    """Entered from outside, by the pid of a process in the namespace."""
    assert upstream.process.alive
    _, _, holder, *_ = namespace.enter
    done = loadgen("occupy", "--netns", holder, "--leave", "3", "--for", "1s", "--yes")
    assert done.code == 0
    assert done.out.startswith("held 97 ports for ")
    assert "all given back; 100 ports free now" in done.out
    assert "loadgen[" not in done.out


def test_it_asks_or_refuses(loadgen: Loadgen, namespace: Namespace, upstream: Running) -> None:
    assert upstream.process.alive
    done = loadgen("occupy", "--leave", "0", prefix=namespace.enter)
    assert done.code == 2
    assert "100 ports will be taken" in done.err
    assert done.err.endswith(
        "loadgen: nothing was taken: there is no terminal to ask; add --yes if those programs may fail\n"
    )
    done = loadgen("occupy", "--leave", "101", "--yes", prefix=namespace.enter)
    assert done.code == 3
    assert "need 101, have 100; nothing was taken; write --leave 100 or less" in assert_one_message(done)
    assert inside(namespace, UNTIL_ERROR, 9000) == "100 99"


def test_a_namespace_that_is_not_there(loadgen: Loadgen) -> None:
    done = loadgen("occupy", "--netns", "no-such-namespace", "--leave", "0", "--yes")
    assert done.code == 3
    assert "/run/netns/no-such-namespace" in assert_one_message(done)
