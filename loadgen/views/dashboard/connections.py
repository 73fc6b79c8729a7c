"""The connections to a server of ours, accepted here so that strangers can use up neither its descriptors nor its time.

A client needs no token to open connections and send nothing, or half a request. So a connection that has not shown
that it may come in has a time limit, and their number has a bound: a new one takes the place of the oldest, so that
strangers who stay never shut out a visitor. The event loop accepts a few per turn and goes on with its other work,
however fast they come.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Connections that have not been admitted.
STRANGERS_MAX: Final = 64
#: Connections that have; a browser opens at most six.
VISITORS_MAX: Final = 128
#: A stranger is cut off after this time, whatever it is at.
PATIENCE_S: Final = 10.0
#: An idle connection of a visitor is closed after this time; Prometheus asks more often.
KEEP_ALIVE_S: Final = 75.0
_ACCEPTED_PER_TURN: Final = 8
#: Without descriptors or memory accept(2) fails again at once, while the listener stays readable.
_PAUSE_S: Final = 0.2
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(slots=True, eq=False)
class _Connection:
    """sock: closed by the event loop. transport: None until the event loop has made it."""

    sock: socket.socket
    transport: asyncio.Transport | None = None
    timer: asyncio.TimerHandle | None = None
    is_cut: bool = False

    @property
    def is_gone(self) -> bool:
        """Return whether its descriptor is closed."""
        return self.sock.fileno() < 0

    def cut(self) -> None:
        """Close it now, with whatever waits to be sent."""
        self.is_cut = True
        if self.timer:
            self.timer.cancel()
        if self.transport:
            self.transport.abort()


class Connections:
    """Accepts at a listening socket, which it closes at the end."""

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Begin to accept, on the running event loop.

        listener: non-blocking. protocol: makes the protocol of a connection.
        """
        self._listener, self._protocol = listener, protocol
        self._loop = asyncio.get_running_loop()
        #: The oldest first.
        self._strangers: list[_Connection] = []
        self._visitors: list[_Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def admit(self, transport: asyncio.BaseTransport | None) -> bool:
        """Let a connection stay, because it has shown that it may; return False if too many were let in already."""
        found = next((one for one in self._strangers if one.transport is transport), None)
        if found is None or found.timer is None:  # it is in already, or gone
            return True
        self._visitors = [one for one in self._visitors if not one.is_gone]
        if len(self._visitors) >= VISITORS_MAX:
            return False
        found.timer.cancel()
        self._strangers.remove(found)
        self._visitors.append(found)
        return True

    def close(self) -> None:
        """Accept no more, and cut the strangers off."""
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for stranger in self._strangers:
            stranger.cut()

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_PER_TURN):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._loop.remove_reader(self._listener)
                    self._pause = self._loop.call_later(_PAUSE_S, self._listen)
                    return
                continue  # accept(2): an error of the network that was pending on the new socket
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        self._strangers = [one for one in self._strangers if not one.is_gone]
        if len(self._strangers) >= STRANGERS_MAX:
            self._strangers.pop(0).cut()
        sock.setblocking(False)
        stranger = _Connection(sock)
        stranger.timer = self._loop.call_later(PATIENCE_S, stranger.cut)
        self._strangers.append(stranger)
        task = self._loop.create_task(self._serve(stranger))
        self._tasks.add(task)  # the loop itself keeps weak references
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stranger: _Connection) -> None:
        try:
            stranger.transport, _ = await self._loop.connect_accepted_socket(self._protocol, stranger.sock)
        except OSError:
            stranger.sock.close()
        if stranger.is_cut:
            stranger.cut()
