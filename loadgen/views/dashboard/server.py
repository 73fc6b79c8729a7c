"""The server: addresses, answers, and the rules of `access` before each of them.

/TOKEN/          the page; below it files/, events (the stream), runs, metrics, and stop, which takes POST
/metrics         for Prometheus, which brings the token in a header
/report/KEY/...  report.html of a run that is in the list; the key is its own and opens nothing else
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from loadgen.model import Endpoint
from loadgen.views.dashboard import pages
from loadgen.views.dashboard.access import HEADERS, REPORT_POLICY, Door
from loadgen.views.dashboard.address import listener_at
from loadgen.views.dashboard.connections import KEEP_ALIVE_S, Connections
from loadgen.views.dashboard.frames import Frames, event

#: Drop a client that reads nothing for this long.
WRITE_TIMEOUT_S: Final = 10.0
#: Time for clients to get the last frame, and for answers on their way; the run waits no longer for them.
_FAREWELL_S: Final = 1.0
#: What the kernel may keep for a client that does not read.
_SEND_BUFFER_BYTES: Final = 128 * 1024
_BODY_BYTES_MAX: Final = 1024

#: Nothing of aiohttp's own goes to stderr, where the run is shown; what is worth telling, `trouble` is told.
_SILENT: Final = logging.getLogger("loadgen.views.dashboard")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """One listening socket with what stands behind it."""

    def __init__(
        self,
        at: Endpoint,
        frames: Frames,
        *,
        results: Path,
        stop: Callable[[str], bool],
        metrics: Callable[[], tuple[str, bytes]],
        trouble: Callable[[Exception], None],
    ) -> None:
        """results: where earlier runs are. stop: told "drain" or "now", and says whether that fits.

        metrics: media type and text. trouble: told what a handler raised; the client gets a 500.
        """
        self._at, self._frames, self._results = at, frames, results
        self._stop, self._metrics, self._trouble = stop, metrics, trouble
        #: One for each stream that is open, done when its last byte was handed over.
        self._streams: set[asyncio.Future[None]] = set()
        self._runner: web.AppRunner | None = None
        self._connections: Connections | None = None
        self.door = Door(at)

    async def start(self) -> None:
        """Listen. Raises: HostError when that address or port cannot be had."""
        listener = listener_at(self._at)
        address, port = listener.getsockname()[:2]
        self.door = Door(Endpoint(self._at.address if self._at.address else address, port))
        app = web.Application(middlewares=[self._guard], client_max_size=_BODY_BYTES_MAX)
        app.on_response_prepare.append(_with_headers)
        app.router.add_get("/metrics", self._prometheus)
        app.router.add_get("/report/{key}/report.html", self._report)
        app.router.add_get("/report/{key}/cells/{cell}/report.html", self._report)
        app.router.add_get("/{token}/", self._page)
        app.router.add_get("/{token}/files/{name}", self._file)
        app.router.add_get("/{token}/events", self._events)
        app.router.add_get("/{token}/runs", self._runs)
        app.router.add_get("/{token}/metrics", self._prometheus)
        app.router.add_post("/{token}/stop", self._stop_run)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_SILENT, shutdown_timeout=_FAREWELL_S, keepalive_timeout=KEEP_ALIVE_S
        )
        await self._runner.setup()
        assert self._runner.server
        self._connections = Connections(listener, self._runner.server)

    async def close(self) -> None:
        """Let the streams come to their end, for a moment; then close whatever is left."""
        if self._connections:
            self._connections.close()
        if self._streams:
            await asyncio.wait(self._streams, timeout=_FAREWELL_S)
        if self._runner:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The rules, in this order: Host, token, Origin."""
        host, door = request.headers.get("Host", ""), self.door
        if not door.knows_host(host):
            raise _refused(f"This is not {host[:100]!r}. Open the address that loadgen printed.\n")
        if not self._may_enter(request):
            raise _refused("Open the address that loadgen printed: the token is missing or wrong.\n")
        if not door.knows_origin(request.headers.get("Origin"), host):
            raise _refused("Only the dashboard's own page may ask for that.\n")
        if "key" not in request.match_info:  # a key is looked at when the report is looked up
            self._admit(request)
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError, TimeoutError):
            raise
        except Exception as error:
            self._trouble(error)
            raise web.HTTPInternalServerError(text="A bug of ours; the run goes on.\n") from error

    def _may_enter(self, request: web.Request) -> bool:
        first = request.path.split("/")[1]
        if first == "metrics":
            return self.door.knows_bearer(request.headers.get("Authorization", ""))
        if first == "report":
            return "key" in request.match_info
        return self.door.knows_token(first)

    def _admit(self, request: web.Request) -> None:
        """Let the connection of a request stay. Raises: HTTPServiceUnavailable."""
        if self._connections and not self._connections.admit(request.transport):
            full = web.HTTPServiceUnavailable(text="Too many connections are open already.\n")
            full.force_close()
            raise full

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=pages.page(self._results), content_type="text/html")

    async def _file(self, request: web.Request) -> web.Response:
        media_type, content = pages.FILES.get(request.match_info["name"], ("", str))
        if not media_type:
            raise web.HTTPNotFound
        return web.Response(text=content(), content_type=media_type)

    async def _runs(self, _: web.Request) -> web.Response:
        def href(name: str) -> str:
            return f"/report/{self.door.address_of(name)}/report.html"

        return web.json_response(await asyncio.to_thread(pages.runs, self._results, href))

    async def _report(self, request: web.Request) -> web.StreamResponse:
        key, cell = request.match_info["key"], request.match_info.get("cell")
        path = await asyncio.to_thread(pages.report, self._results, key, cell, self.door.opens)
        if path is None:
            unknown = web.HTTPNotFound()
            unknown.force_close()
            raise unknown
        self._admit(request)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": REPORT_POLICY}
        return web.FileResponse(path, headers=headers)

    async def _prometheus(self, _: web.Request) -> web.Response:
        media_type, text = self._metrics()
        return web.Response(body=text, headers={"Content-Type": media_type})

    async def _stop_run(self, request: web.Request) -> web.Response:
        step = request.query.get("step", "")
        if step not in ("drain", "now"):
            raise web.HTTPBadRequest(text="step is drain or now\n")
        if not self._stop(step):
            raise web.HTTPConflict(text="stop with step=drain first\n")
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        client = self._frames.join()
        if client is None:
            raise web.HTTPServiceUnavailable(text="Too many browsers look at this run already.\n")
        open_stream = asyncio.get_running_loop().create_future()
        self._streams.add(open_stream)
        transport = request.transport
        try:
            if transport and (sock := transport.get_extra_info("socket")):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            while (frame := await client.next()) is not None:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await response.write(frame)
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.write(event("end", None))
                await response.write_eof()
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            # Not closed but dropped: what he did not read until now would have to be waited for.
            if transport:
                transport.abort()
            raise
        finally:
            self._streams.discard(open_stream)
            open_stream.set_result(None)
            self._frames.leave(client)
        return response


def _refused(text: str) -> web.HTTPForbidden:
    """Return the answer after which the connection is closed: it has not shown that it may stay."""
    refused = web.HTTPForbidden(text=text)
    refused.force_close()
    return refused


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        if name == "Content-Security-Policy":
            response.headers.setdefault(name, value)  # a report has its own
        else:
            response.headers[name] = value
