"""Connections that have not shown the token: bounded in number and time, and in nobody's way."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.model import Endpoint
from loadgen.views.dashboard import connections
from loadgen.views.dashboard.address import EXPORTER, listener_at
from loadgen.views.exporter.server import Exporter

from . import support
from .test_dashboard import PATIENCE_S, Served, serving

pytestmark = pytest.mark.lab("32768 60999")
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
#: In pieces of half a request, as it is sent by a client that means to stay.
HALF: Final = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Header: "


def place(served: Served) -> tuple[str, int]:
    """Address and port of a dashboard."""
    host, port = served.origin.removeprefix("http://").split(":")
    return host, int(port)


async def stranger(at: tuple[str, int], says: bytes = b"") -> socket.socket:
    """A connection that says this and no more."""
    sock = socket.socket()
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        await loop.sock_connect(sock, at)
        await loop.sock_sendall(sock, says)
    return sock


async def is_cut(sock: socket.socket) -> bool:
    """Wait until the other side has closed."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while await asyncio.get_running_loop().sock_recv(sock, 65536):
                pass
        except ConnectionResetError:
            pass
    return True


def descriptors() -> int:
    """Open ones of this process."""
    return len(support.descriptors())


@pytest.mark.parametrize("says", [b"", HALF])
def test_the_oldest_stranger_makes_room_for_the_next(run: Run, tmp_path: Path, says: bytes) -> None:
    """However many come, descriptors do not grow, and a visitor is served meanwhile."""
    count = 5 * connections.STRANGERS_MAX

    async def body() -> None:
        async with serving(tmp_path) as served:
            before, ours = descriptors(), []
            stream = await served.http.get(served.url + "events")
            for number in range(count):
                ours.append(await stranger(place(served), says))
                if number % 50 == 0:
                    assert await served.status("") == 200
            for sock in ours[: count - connections.STRANGERS_MAX - 1]:
                assert await is_cut(sock)
            assert descriptors() - before - count < connections.STRANGERS_MAX + 20
            assert await served.status("") == 200
            assert not stream.content.at_eof()
            assert served.trouble == []
            for sock in ours:
                sock.close()
            stream.close()

    run(body)


def test_a_stranger_has_a_time_limit_and_a_visitor_has_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused request, half of one, a body that never comes, or nothing: all end; whoever was let in stays."""
    monkeypatch.setattr(connections, "PATIENCE_S", 0.3)
    body_to_come = b"POST /x/stop HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
    refused = b"GET /report/x/report.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    async def body() -> None:
        async with serving(tmp_path) as served:
            host, port = place(served)
            request = f"GET /{served.url.split('/')[3]}/files/dashboard.js HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
            visitor = await stranger((host, port), request.encode())
            for says in (b"", HALF, body_to_come, refused):
                with await stranger((host, port), says) as sock:
                    assert await is_cut(sock)
            loop = asyncio.get_running_loop()
            with visitor:
                await loop.sock_sendall(visitor, request.encode())
                found = b""
                async with asyncio.timeout(PATIENCE_S):
                    while found.count(b"HTTP/1.1 200") < 2:
                        part = await loop.sock_recv(visitor, 1 << 20)
                        assert part, "it was cut off"
                        found += part

    run(body)


def test_visitors_have_a_bound_too(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "VISITORS_MAX", 2)

    async def body() -> None:
        async with serving(tmp_path) as served:
            looking = [await served.http.get(served.url + "events") for _ in range(2)]
            assert await served.status("") == 503
            for answer in looking:
                answer.close()
            async with asyncio.timeout(PATIENCE_S):
                while await served.status("") != 200:
                    await asyncio.sleep(0.01)

    run(body)


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """A limit at which this process can open no file, here and now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        lowest = stack.enter_context(open(os.devnull)).fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_visitors_wait_and_nothing_breaks(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as served:
            assert await served.status("") == 200
            late = socket.socket()
            late.setblocking(False)
            with no_more_descriptors():
                await asyncio.get_running_loop().sock_connect(late, place(served))
                await asyncio.sleep(0)
                for _ in range(20):
                    await asyncio.sleep(0.01)
            with late:
                assert await served.status("") == 200
            assert served.trouble == []

    run(body)


def test_the_exporter_answers_between_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no token, so each connection has one request and a time limit."""
    monkeypatch.setattr(connections, "PATIENCE_S", 0.5)
    at = Endpoint("127.0.0.1", 0)
    with Exporter(listener_at(at, EXPORTER), at) as exporter:
        exporter.publish(b"metrics 1\n")
        port = int(exporter.url.split(":")[2].split("/")[0])
        before, ours = descriptors(), []
        for number in range(3 * connections.STRANGERS_MAX):
            ours.append(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
            ours[-1].sendall(HALF if number % 2 else b"")
        with urllib.request.urlopen(exporter.url, timeout=PATIENCE_S) as answer:
            assert answer.read() == b"metrics 1\n"
            assert answer.headers["Connection"] == "close"
        for sock in ours:
            try:
                assert sock.recv(100) == b""
            except ConnectionResetError:
                pass
            sock.close()
        assert descriptors() <= before + 5
