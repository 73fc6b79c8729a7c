"""Readers of HTTP: the dashboard and the exporter, which anyone may ask, and the worker, which any target may answer.

The servers listen on loopback, once in a process; each request comes in a connection of its own.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Sequence
from functools import cache
from typing import Final

import uvloop

from loadgen.model import Endpoint
from loadgen.protocols.http import Http
from loadgen.views.dashboard.access import Door
from loadgen.views.dashboard.frames import Frames
from loadgen.views.dashboard.server import Server
from loadgen.views.exporter.server import Exporter
from loadgen.worker.aiohttp_client import HttpDriver
from tests.fuzz.pieces import cut
from tests.fuzz.reader import Reader
from tests.fuzz.readers import peers
from tests.fuzz.readers.results import RUNS

#: Nothing here takes a tenth of a second; after this time something waits for ever.
_PATIENCE_S: Final = 60.0
_ANSWER_MAX: Final = 64 << 20
_LINGER_0: Final = struct.pack("ii", 1, 0)
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)
_TOKEN: Final = "T0kenT0kenT0kenT0kenT0kenT0ken32"
#: Where the dashboard believes to be, so that the Host of a request can be written down once and for all.
_DOOR: Final = Door(Endpoint("127.0.0.1", 8080), token=_TOKEN)


def _ask(port: int, data: bytes) -> bytes:
    """Send this to a port of loopback, and return what comes until the server closes."""
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in cut(data):
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            while more := sock.recv(1 << 20):
                heard += more
                assert len(heard) <= _ANSWER_MAX, "an answer without end"
        except TimeoutError:
            raise AssertionError("no answer, and no end") from None
        except OSError:  # it has closed while we were sending
            pass
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)  # thousands of them, and no TIME-WAIT
    return bytes(heard)


def _statuses(heard: bytes) -> list[int]:
    """Return the status of each answer, as far as they say how long they are: a body may quote what looks like one."""
    found = []
    while status := _STATUS.match(heard):
        found.append(int(status[1]))
        head, _, rest = heard.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        heard = rest[int(length[1]) :] if length else b""
    assert 500 not in found, heard[:300]
    return found


class _Dashboard:
    """A server of the dashboard in a thread of its own. stopped: how often the run was to be stopped."""

    def __init__(self) -> None:
        self.trouble: list[Exception] = []
        self.stopped: list[str] = []
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait(_PATIENCE_S)

    async def _serve(self) -> None:
        def stop(step: str) -> bool:
            self.stopped.append(step)
            return step == "drain"

        server = Server(
            Endpoint("127.0.0.1", 0),
            Frames({}, self.trouble.append),
            results=RUNS,
            stop=stop,
            metrics=lambda: ("text/plain", b"a 1\n"),
            trouble=self.trouble.append,
        )
        await server.start()
        self.port = server.door.at.port
        server.door = _DOOR
        self._ready.set()
        await asyncio.Event().wait()


_dashboard = cache(_Dashboard)


def _dashboard_asked(data: bytes) -> object:
    """Without the token nothing is stopped or shown, but for a report by its own address; no request is a bug."""
    served = _dashboard()
    stopped = len(served.stopped)
    statuses = _statuses(_ask(served.port, data))
    assert not served.trouble, served.trouble.pop()
    if _TOKEN.encode() not in data:
        of_report = _DOOR.address_of("hold").encode() in data
        assert of_report or all(status >= 400 for status in statuses if status != 100), statuses
        assert len(served.stopped) == stopped, "stopped by a stranger"
    return statuses


def _dashboard_requests() -> Sequence[bytes]:
    host = b"Host: 127.0.0.1:8080\r\n"
    at = f"/{_TOKEN}/".encode()
    bearer = b"Authorization: Bearer " + _TOKEN.encode() + b"\r\n"
    key = _DOOR.address_of("hold").encode()
    return [
        b"GET " + at + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /wrong/ HTTP/1.1\r\n" + host + b"\r\n",
        b"GET " + at + b"files/charts.js HTTP/1.1\r\n" + host + b"Accept-Encoding: gzip\r\n\r\n",
        b"GET " + at + b"runs HTTP/1.1\r\n" + host + b"Origin: http://127.0.0.1:8080\r\n\r\n",
        b"POST " + at + b"stop?step=drain HTTP/1.1\r\n" + host + b"Content-Length: 2\r\n\r\nhi",
        b"POST /x/stop?step=now HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + host + bearer + b"\r\n",
        b"GET /metrics HTTP/1.1\r\n" + host + b"Authorization: Basic YTpi\r\nCookie: a=b; c\r\n\r\n",
        b"GET /report/" + key + b"/report.html HTTP/1.1\r\n" + host + b"Range: bytes=0-1\r\n\r\n",
        b"GET /report/" + key + b"/cells/0/report.html HTTP/1.1\r\n" + host + b"\r\n",
        b"GET " + at + b"events HTTP/1.1\r\n" + host + b"\r\n",
        b"GET " + at + b" HTTP/1.1\r\n" + host + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ]


@cache
def _exporter() -> tuple[Exporter, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    exporter = Exporter(listener, Endpoint("127.0.0.1", 9435))
    exporter.publish(b"a 1\n")
    exporter.__enter__()  # its thread ends with this process
    return exporter, listener.getsockname()[1]


def _exporter_asked(data: bytes) -> object:
    return _statuses(_ask(_exporter()[1], data))


def _exporter_requests() -> Sequence[bytes]:
    return [
        b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9435\r\nAccept: text/plain\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\nGET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"HEAD /metrics HTTP/1.0\r\nHost: attacker.example\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    ]


# --- The worker -------------------------------------------------------------------------------------


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return uvloop.new_event_loop()  # as every worker has


#: gzip and max_body are the parts of reading a response that keep something.
_HTTP: Final = Http(max_body=10_000, expect="hello")


def _answered(data: bytes) -> object:
    """Make a request to a target that sends this in pieces, and see to it that the connection is over and counted."""
    with peers.worker(_HTTP) as (connector, peer):
        for piece in cut(data):
            peers.say(connector, peer, piece)
        try:
            peer.shutdown(socket.SHUT_WR)
        except OSError:  # the worker has closed
            pass
        connector.drain_events()
    return None


def _answered_aiohttp(data: bytes) -> object:
    """The same, where aiohttp makes the request."""
    return _loop().run_until_complete(_hear(data))


async def _hear(data: bytes) -> None:
    with peers.connected(lambda connector: HttpDriver(connector, _HTTP, {}, None)) as (connector, peer):
        driver = connector.driver
        assert isinstance(driver, HttpDriver)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_PATIENCE_S):
            try:
                for piece in cut(data):
                    await loop.sock_sendall(peer, piece)
                peer.shutdown(socket.SHUT_WR)
            except OSError:  # the worker has closed
                pass
            connector.abandon()
            while True:
                connector.drain_events()
                if connector.recorder.open == 0:
                    break
                await asyncio.sleep(0.0005)


def _answers() -> Sequence[bytes]:
    ok = b"HTTP/1.1 200 OK\r\n"
    return [
        ok + b"Content-Length: 5\r\n\r\nhello",
        (ok + b"Content-Length: 5\r\n\r\nhello") * 2,
        ok + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        ok + b"Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + b"\r\n",
        b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00",
        ok + b"Content-Encoding: gzip\r\nContent-Length: 25\r\n\r\n" + _GZIPPED,
        ok + b"Content-Encoding: deflate\r\n\r\n\x78\x9c\xcbH\xcd\xc9\xc9\x07\x00\x06,\x02\x15",
        b"HTTP/1.0 500 Internal Server Error\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ]


_GZIPPED: Final = bytes.fromhex("1f8b08000000000002ffcb48cdc9c9070086a6103605000000")

READERS: Final = (
    Reader("dashboard", _dashboard_asked, _dashboard_requests, bytes_free=64 << 20, tries=150),
    Reader("exporter", _exporter_asked, _exporter_requests, bytes_free=16 << 20),
    Reader("target HTTP", _answered, _answers, bytes_free=16 << 20, tries=120),
    Reader("target aiohttp", _answered_aiohttp, _answers, bytes_free=16 << 20, tries=120),
)
