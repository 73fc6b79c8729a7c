"""Frames for the clients: made while a client is connected, and never faster than a small share of a core allows.

Each client has room for one frame of each kind. A newer one takes its place, so a client that reads slowly sees fewer
of them, and no client waits for another. A frame is an event of a stream as browsers read it (server-sent events,
HTML 9.2).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

#: The share of one core that making one kind of frame may take.
BUDGET: Final = 0.02
#: Readers see no more.
INTERVAL_S: Final = 0.25
#: Browsers beyond this many are sent away.
CLIENTS_MAX: Final = 32
#: Something is written at least this often: that shows which clients are gone.
_SILENCE_S: Final = 15.0

#: Makes a frame; returns what it says and the CPU seconds that took.
Maker = Callable[[], Awaitable[tuple[object, float]]]


class Client:
    """A browser: the frames that were not sent to it yet, at most one of each kind."""

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._last = False

    def offer(self, kind: str, frame: bytes) -> None:
        """Send this next; what was not sent yet of its kind will never be."""
        self._waiting[kind] = frame
        self._wake.set()

    def end(self) -> None:
        """Nothing will be offered any more."""
        self._last = True
        self._wake.set()

    async def next(self) -> bytes | None:
        """Return the bytes to write now, a comment after a long silence; None at the end."""
        try:
            async with asyncio.timeout(_SILENCE_S):
                await self._wake.wait()
        except TimeoutError:
            return b": still here\n\n"
        if not self._waiting:
            return None if self._last else b""
        waiting, self._waiting = self._waiting, {}
        if not self._last:
            self._wake.clear()
        return b"".join(waiting.values())


class Frames:
    """Makes frames of several kinds and hands them to the clients."""

    def __init__(
        self, makers: dict[str, Maker], trouble: Callable[[Exception], None], *, interval_s: float = INTERVAL_S
    ) -> None:
        """makers: by kind. trouble: told of what went wrong with a frame, which then is not made again."""
        self._makers, self._trouble, self._interval_s = makers, trouble, interval_s
        self._news = {kind: asyncio.Event() for kind in makers}
        self._watched = asyncio.Event()
        self._latest: dict[str, bytes] = {}
        self._clients: set[Client] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """From now on; on a running event loop."""
        self._tasks = [asyncio.create_task(self._keep(kind, make)) for kind, make in self._makers.items()]

    def news(self) -> None:
        """There is something new to show."""
        for event in self._news.values():
            event.set()

    def join(self) -> Client | None:
        """Another client, with the latest frames; None when there are too many."""
        if len(self._clients) >= CLIENTS_MAX:
            return None
        client = Client()
        for kind, frame in self._latest.items():
            client.offer(kind, frame)
        self._clients.add(client)
        self._watched.set()
        return client

    def leave(self, client: Client) -> None:
        """This one looks no more."""
        self._clients.discard(client)
        if not self._clients:
            self._watched.clear()

    async def finish(self) -> None:
        """One last frame of each kind that has something new, and the end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for kind, make in self._makers.items():
            if self._clients and self._news[kind].is_set():
                await self._make(kind, make)
        for client in self._clients:
            client.end()

    async def _keep(self, kind: str, make: Maker) -> None:
        while True:
            await self._news[kind].wait()
            await self._watched.wait()
            self._news[kind].clear()
            cost_s = await self._make(kind, make)
            if cost_s is None:
                return
            await asyncio.sleep(max(self._interval_s, cost_s / BUDGET))

    async def _make(self, kind: str, make: Maker) -> float | None:
        """Send a frame to every client; return its cost in seconds, None when it could not be made."""
        try:
            said, cost_s = await make()
            self._latest[kind] = frame = event(kind, said)
        except Exception as error:
            self._trouble(error)
            return None
        for client in self._clients:
            client.offer(kind, frame)
        return cost_s


def event(kind: str, said: object) -> bytes:
    """One event; JSON has no line feed in it. NaN becomes null, a gap in a chart."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(said))


def timed(make: Callable[..., object], *arguments: Any) -> tuple[object, float]:
    """Return the result, and the CPU seconds that it took of this thread."""
    began_s = time.thread_time()
    return make(*arguments), time.thread_time() - began_s
