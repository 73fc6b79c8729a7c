"""The HTTP server of `loadgen watch --exporter`: it hands out the text of the last snapshot, and makes none.

It runs in a thread of its own, so that a scrape waits for no snapshot and a snapshot for no scrape.

/metrics   for Prometheus, without a token: it can be read only, and a user of this machine sees as much with ss
/          where that is

A foreign page in a browser here could read an answer by having its own name point to this host (DNS rebinding), so on
loopback the Host of a request must be an address or localhost. Elsewhere any name will do: a client that reaches this
port can read the metrics whatever it sends.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from types import TracebackType
from typing import Final

from aiohttp import web

from loadgen import event_loop
from loadgen.model import Endpoint
from loadgen.views.dashboard.address import in_url, is_loopback
from loadgen.views.dashboard.connections import Connections
from loadgen.views.exporter.metrics import CONTENT_TYPE

_FAREWELL_S: Final = 1.0
_BODY_BYTES_MAX: Final = 1024
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Server": "loadgen"}
#: Nothing of aiohttp's own goes to stderr.
_SILENT: Final = logging.getLogger("loadgen.views.exporter")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Exporter:
    """Serves the text that it was given last, between `with` and its end."""

    def __init__(self, listener: socket.socket, at: Endpoint) -> None:
        """listener: a socket that listens, closed at the end. at: where it was asked to."""
        self._listener, self._at = listener, at
        self._text = b""
        self._loop = event_loop.new()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exporter", daemon=True)

    @property
    def url(self) -> str:
        """The URL of the metrics, with the port that it really is."""
        return f"http://{in_url(self._at.address)}:{self._listener.getsockname()[1]}/metrics"

    def publish(self, text: bytes) -> None:
        """Hand out this text from now on."""
        self._text = text  # one assignment: a scrape has the old one or the new one

    def __enter__(self) -> Exporter:
        self._thread.start()
        self._serving.wait()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        app = web.Application(middlewares=[self._guard], client_max_size=_BODY_BYTES_MAX)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/", self._home)
        runner = web.AppRunner(app, access_log=None, logger=_SILENT, shutdown_timeout=_FAREWELL_S)
        try:
            connections = self._loop.run_until_complete(self._start(runner))
            self._loop.call_soon(self._serving.set)
            self._loop.run_forever()
            connections.close()
            self._loop.run_until_complete(runner.cleanup())
        finally:
            self._serving.set()
            self._listener.close()
            self._loop.close()

    async def _start(self, runner: web.AppRunner) -> Connections:
        await runner.setup()
        assert runner.server
        return Connections(self._listener, runner.server)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_loopback(self._at.address) and not names_this_host(request.headers.get("Host", "")):
            refused = web.HTTPForbidden(text="Ask for the metrics by address, or as localhost.\n")
            refused.force_close()
            raise refused
        answer = await handler(request)
        answer.headers.update(_HEADERS)
        answer.force_close()  # without a token everyone is a stranger, see `Connections`: one request each
        return answer

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._text, headers={"Content-Type": CONTENT_TYPE})

    async def _home(self, _: web.Request) -> web.Response:
        return web.Response(text="loadgen watch: the metrics are at /metrics\n")


def names_this_host(host: str) -> bool:
    """Return whether a Host header (RFC 9110 7.2) is an address or localhost, which no DNS server can redirect.

    The port is not compared: a forwarded one may be another.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
