"""Programs that connect, each with a way that is known, for the tests of `loadgen trace` and docs/programs.md.

Each reaches a small server at 127.0.0.1:8080 of the test's own namespace. A proxy is a server that runs under the
trace itself; three requests go through it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .conftest import Loadgen, Namespace
from .peers import Server, program

#: Answers each HTTP request, and PING as Redis does.
SERVER: Final = """
import asyncio

async def answer(reader, writer):
    while data := await reader.read(65536):
        http = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
        writer.write(b"+PONG\\r\\n" if data.startswith(b"*") else http)
        if b"connection: close" in data.lower():
            break
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 8080)
    async with server:
        await server.serve_forever()

asyncio.run(main())
"""
_FETCH: Final = """
import http.client
for _ in range(3):
    connection = http.client.HTTPConnection("127.0.0.1", 8081, timeout=10)
    connection.request("GET", "/", headers={"Connection": "close"})
    assert connection.getresponse().read() == b"ok"
    connection.close()
"""
_URL: Final = "http://127.0.0.1:8080/"

_SOCKET: Final = """
import socket
for _ in range(3):
    socket.create_connection(("127.0.0.1", 8080){}).close()
"""
_HTTP_CLIENT: Final = """
import http.client
for _ in range(3):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, source_address=("127.0.0.2", 0))
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()
"""
_AIOHTTP: Final = """
import aiohttp, asyncio

async def main():
    connector = aiohttp.TCPConnector({})
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://127.0.0.1:8080/") as response:
            await response.read()

asyncio.run(main())
"""
_ASYNCIO: Final = """
import asyncio, sys{imports}

async def main():
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", 8080, local_addr=("127.0.0.2", 0))
        writer.close()
        await writer.wait_closed()

{run}(main())
"""
_NODE: Final = """
const http = require("http");
const options = {{ host: "127.0.0.1", port: 8080, agent: false{} }};
http.get(options, response => response.resume());
"""
_JAVA: Final = """
import java.net.InetSocketAddress;
import java.net.Socket;

class Client {{
    public static void main(String[] arguments) throws Exception {{
        for (int i = 0; i < 3; i++) {{
            try (Socket socket = new Socket()) {{
                {}
                socket.connect(new InetSocketAddress("127.0.0.1", 8080));
            }}
        }}
    }}
}}
"""
_JAVA_BIND: Final = 'socket.bind(new InetSocketAddress("127.0.0.2", 0));'
_NGINX: Final = """
daemon off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server {{
        listen 127.0.0.1:8081;
        location / {{ proxy_pass http://127.0.0.1:8080; {} }}
    }}
}}
"""
_HAPROXY: Final = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend in
    bind 127.0.0.1:8081
    default_backend out
backend out
    http-reuse never
    server one 127.0.0.1:8080 {}
"""


@dataclass(frozen=True)
class TracedProgram:
    """A program that connects in a known way.

    name: as in docs/programs.md; setting: how it is told to. needs: its command, which a test is skipped without.
    command: made in a directory. version: what prints it. proxy: whether it waits for requests.
    """

    name: str
    setting: str
    needs: str
    command: Callable[[Path], Sequence[str]]
    version: Sequence[str] = ()
    proxy: bool = False

    @property
    def id(self) -> str:
        """The name of its test."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.name} {self.setting}".lower()).strip("-")


def _python(name: str, setting: str, text: str, version: str = "") -> TracedProgram:
    asked = (sys.executable, "-c", f"import {version}; print({version}.__version__)") if version else ()
    return TracedProgram(name, setting, sys.executable, lambda _: [sys.executable, "-c", text], asked)


def _in_file(name: str, setting: str, needs: str, file: str, text: str, *options: str) -> TracedProgram:
    def command(home: Path) -> list[str]:
        (home / file).write_text(text)
        return [needs, *options, file]

    return TracedProgram(name, setting, needs, command, (needs, "--version"))


def _curl(setting: str, *options: str) -> TracedProgram:
    return TracedProgram("curl", setting, "curl", lambda _: ["curl", "-sS", *options, _URL], ("curl", "--version"))


def _nginx(setting: str, text: str) -> TracedProgram:
    def command(home: Path) -> list[str]:
        (home / "nginx.conf").write_text(_NGINX.format(text))
        return [program("nginx"), "-p", str(home), "-e", "stderr", "-c", "nginx.conf"]

    return TracedProgram("nginx", setting, "nginx", command, ("nginx", "-v"), proxy=True)


def _haproxy(setting: str, text: str) -> TracedProgram:
    def command(home: Path) -> list[str]:
        (home / "haproxy.cfg").write_text(_HAPROXY.format(text))
        return [program("haproxy"), "-db", "-f", "haproxy.cfg"]

    return TracedProgram("HAProxy", setting, "haproxy", command, ("haproxy", "-v"), proxy=True)


def _java(setting: str, text: str) -> TracedProgram:
    options = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    return _in_file("Java", setting, "java", "Client.java", _JAVA.format(text), *options)


PROGRAMS: Final = (
    _curl("", *()),
    _curl("--interface 127.0.0.2", "--interface", "127.0.0.2"),
    _curl("--interface lo", "--interface", "lo"),
    _curl("--local-port 40000-40010", "--local-port", "40000-40010"),
    _curl("--tcp-fastopen", "--tcp-fastopen"),
    _python("Python socket", "create_connection()", _SOCKET.format("")),
    _python("Python socket", 'source_address=("127.0.0.2", 0)', _SOCKET.format(', source_address=("127.0.0.2", 0)')),
    _python("Python http.client", 'source_address=("127.0.0.2", 0)', _HTTP_CLIENT),
    _python("aiohttp", "", _AIOHTTP.format(""), "aiohttp"),
    _python("aiohttp", 'local_addr=("127.0.0.2", 0)', _AIOHTTP.format('local_addr=("127.0.0.2", 0)'), "aiohttp"),
    _python("asyncio", 'local_addr=("127.0.0.2", 0)', _ASYNCIO.format(imports="", run="asyncio.run")),
    _python(
        "asyncio on uvloop",
        'local_addr=("127.0.0.2", 0)',
        _ASYNCIO.format(imports=", uvloop", run="uvloop.run"),
        "uvloop",
    ),
    _nginx("proxy_pass", ""),
    _nginx("proxy_bind 127.0.0.2", "proxy_bind 127.0.0.2;"),
    _haproxy("server", ""),
    _haproxy("source 127.0.0.2", "source 127.0.0.2"),
    _haproxy("source 127.0.0.2:40000-40010", "source 127.0.0.2:40000-40010"),
    TracedProgram(
        "redis-cli",
        "",
        "redis-cli",
        lambda _: ["redis-cli", "-h", "127.0.0.1", "-p", "8080", "PING"],
        ("redis-cli", "--version"),
    ),
    _in_file("Node.js", "http.get()", "node", "client.js", _NODE.format("")),
    _in_file("Node.js", 'localAddress: "127.0.0.2"', "node", "client.js", _NODE.format(', localAddress: "127.0.0.2"')),
    TracedProgram("Go (hey)", "net/http", "hey", lambda _: ["hey", "-n", "6", "-c", "2", "-disable-keepalive", _URL]),
    _java("Socket.connect()", ""),
    _java("Socket.bind(127.0.0.2, 0)", _JAVA_BIND),
)


def version_of(one: TracedProgram) -> str:
    """The version that a program prints; "" where it has no option for it."""
    if not one.version:
        return ".".join(map(str, sys.version_info[:3])) if one.needs == sys.executable else ""
    command = [program(one.version[0]) if "/" not in one.version[0] else one.version[0], *one.version[1:]]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=20)
    found = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else ""


def trace(loadgen: Loadgen, namespace: Namespace, home: Path, one: TracedProgram) -> dict[str, Any]:
    """The report of `loadgen trace --json` about a program."""
    report = home / "trace.json"
    options = ["trace", "--json", "--out", str(report), "--"]
    if not one.proxy:
        done = loadgen(*options, *one.command(loadgen.home), prefix=namespace.enter)
        assert done.code == 0, done.err
    else:
        command = [*loadgen.command, *options, *one.command(home)]
        with Server(namespace, home, command, ports=[8081]) as proxy:
            subprocess.run([*namespace.enter, sys.executable, "-c", _FETCH], check=True, timeout=30)
            proxy.stop()
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def calls_in_short(way: Mapping[str, Any]) -> str:
    """The calls of a way as docs/programs.md has them: names of options, and what bind() fixes."""
    return ", ".join(f"`{_short(call)}`" for call in way["calls"] if not call.startswith("socket("))


def _short(call: str) -> str:
    name = call.partition("(")[0]
    if name == "setsockopt":
        return str(re.findall(r"\b(?:SO|IP|IPV6|TCP)_[A-Z_]+\b", call.replace("SOL_", ""))[-1])
    if name == "bind":
        port = re.search(r"htons\((\d+)\)", call)
        address = re.search(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"', call)
        assert port
        assert address
        return f"bind({address[1]}, {'0' if port[1] == '0' else 'port'})"
    return f"{name}()"
