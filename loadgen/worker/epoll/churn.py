"""Open, do a little work, close, again: the connector for connections that are not held.

A batch of connections that have nothing to do is closed as soon as it is open, without ever being
watched: socket, connect, close and nothing else, one kind of call at a time. A connection that says
something, or lets the other side close first, is watched until that has happened.

Who closes first is what it is all about. `fin`: we do, and the four-tuple rests in TIME-WAIT here.
`rst`: we reset it, and nobody keeps anything. `target`: we wait for the end of file and close after
it, so the four-tuple rests at the other side's end, where the next SYN finds it (RFC 9293 3.10.7.4).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from loadgen.clock import now_ns
from loadgen.model import CloseMode
from loadgen.worker.epoll.exchange import Talker
from loadgen.worker.tls import Channel


class Churner(Talker):
    """All connections of one worker, each closed when its work is done.

    open_max: connections that may be open, or on their way, at a time.
    The rest is as for Talker.
    """

    def __init__(self, *args: Any, close: CloseMode, open_max: int, **more: Any) -> None:
        super().__init__(*args, close=close, pending_max=open_max, **more)
        self._target_closes = close is CloseMode.TARGET
        self._frees = close is not CloseMode.FIN
        self._has_work = bool(self._target_closes or self._exchanges or self._client)
        #: End of the duration, on the clock of `now_ns`; None: not known before the start.
        self.until_ns: int | None = None

    def _hold(self, opened: Sequence[tuple[socket.SocketType, int, int]]) -> None:
        """These are open: close them, or see to it that their work is done first."""
        if self._has_work:
            super()._hold(opened)
            return
        pair_established = self._recorder.pair_established
        for _, pair, _ in opened:
            pair_established[pair] += 1
        self._finish(opened)

    def _hold_late(self, fd: int, sock: socket.SocketType, pair: int, port: int) -> None:
        if self._has_work:
            super()._hold_late(fd, sock, pair, port)
        else:
            self._finish(((sock, pair, port),))

    def _finish(self, opened: Sequence[tuple[socket.SocketType, int, int]]) -> None:
        """Close connections that have nothing to do, batch by batch and without looking at them again."""
        record_closed, release = self._recorder.record_closed, self._ports.release
        self._close_all([sock for sock, _, _ in opened])
        for _, pair, port in opened:
            record_closed(pair)
            if port:
                release(pair, port)
        if self._frees and self._exhausted.active:
            self._exhausted.freed()

    def _through(self, fd: int, sock: socket.SocketType) -> None:
        """The work is done: close, or wait for the other side to do so."""
        channel = self._channels.get(fd)
        if self._target_closes or (channel and channel.awaits_session):
            del self._pending[fd]
            self._pending[fd] = now_ns()
        else:
            self._end(fd, sock)

    def _replied(self, fd: int, left: int, *, right: bool) -> None:
        """Go on as Talker does; after the end of the duration the exchanges that are left are not made."""
        over = left and self.until_ns is not None and now_ns() >= self.until_ns
        super()._replied(fd, left, right=right and not over)

    def _secured(self, fd: int, data: bytes) -> None:
        """As for Talker; the TLS session may have come, which the next connection is to resume."""
        super()._secured(fd, data)
        channel, sock = self._channels.get(fd), self._sockets[fd]
        if channel and sock and self._has_said_all(fd, channel) and not channel.awaits_session:
            self._end(fd, sock)

    def _expired(self, fd: int) -> None:
        """As for Talker, except where only a session was waited for: then no other has to."""
        channel, sock = self._channels.get(fd), self._sockets[fd]
        if channel and sock and self._has_said_all(fd, channel):
            channel.expect_no_session()
            self._end(fd, sock)
        else:
            super()._expired(fd)

    def _has_said_all(self, fd: int, channel: Channel) -> bool:
        """Whether nothing is left to be done but to close, and by us."""
        return channel.secured and fd not in self._talks and not self._target_closes

    def _ends_well(self, fd: int) -> bool:
        """Whether the other side was to close, and closes when nothing is left to be said."""
        channel = self._channels.get(fd)
        return self._target_closes and fd not in self._talks and (channel is None or channel.secured)
