"""Open, do a little work, close, again: the connector for connections that are not held.

A batch of connections that have nothing to do is closed as soon as it is open, without ever being
watched: socket, connect, close and nothing else, one kind of call at a time. A connection that sends
something, or lets the other side close first, is watched until that has happened.

Who closes first is what it is all about. `fin`: we do, and the four-tuple rests in TIME-WAIT here.
`rst`: we reset it, and nobody keeps anything. `target`: we wait for the end of file and close after
it, so the four-tuple rests at the other side's end, where the next SYN finds it (RFC 9293 3.10.7.4).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from errno import ETIMEDOUT
from select import EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Any, Final

from loadgen.clock import now_ns
from loadgen.connector import Connector
from loadgen.metrics.outcomes import Syscall, error_key
from loadgen.model import CloseMode

_READING: Final = EPOLLIN | EPOLLRDHUP
_READ_SIZE: Final = 65536


@dataclass(slots=True)
class _Errand:
    """What a connection has still to do: bytes to send, bytes to read back; since when, in ns."""

    began_ns: int
    unsent: int
    unread: int


class Churner(Connector):
    """All connections of one worker, each closed when its work is done.

    exchange_bytes: sent and read back before the close; 0: nothing is.
    open_max: connections that may be open, or on their way, at a time.
    The rest is as for Connector.
    """

    def __init__(
        self, *args: Any, close: CloseMode, timeout_s: float, exchange_bytes: int, open_max: int, **more: Any
    ) -> None:
        super().__init__(*args, close=close, timeout_s=timeout_s, **more)
        self._target_closes = close is CloseMode.TARGET
        self._frees = close is not CloseMode.FIN
        self._request = bytes(exchange_bytes)
        self._open_max = open_max
        self._errands: dict[int, _Errand] = {}

    @property
    def room(self) -> int:
        """How many more attempts may be started before some are answered, or over."""
        return min(super().room, self._open_max - len(self._unanswered) - len(self._errands))

    @property
    def idle(self) -> bool:
        """Whether no connection is open or on its way."""
        return not self._unanswered and not self._errands

    def expire(self, now: int) -> None:
        """Give up attempts, and errands, that have waited longer than the scenario's timeout."""
        super().expire(now)
        expired = []
        for fd, errand in self._errands.items():  # in the order in which they began
            if now - errand.began_ns < self._timeout_ns:
                break
            expired.append(fd)
        for fd in expired:
            self._lose(fd, error_key(Syscall.WAIT, ETIMEDOUT))

    def _hold(self, opened: Sequence[tuple[socket.SocketType, int, int]]) -> None:
        """These are open: close them, or see to it that their work is done first."""
        if self._request or self._target_closes:
            super()._hold(opened)
            self._begin([sock for sock, _, _ in opened])
            return
        pair_established = self._recorder.pair_established
        for _, pair, _ in opened:
            pair_established[pair] += 1
        self._finish(opened)

    def _hold_late(self, fd: int, sock: socket.SocketType, pair: int, port: int) -> None:
        if self._request or self._target_closes:
            super()._hold_late(fd, sock, pair, port)
            self._begin((sock,))
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

    def _begin(self, opened: Sequence[socket.SocketType]) -> None:
        size = len(self._request)
        for sock in opened:
            fd = sock.fileno()
            if fd < 0:  # it could not be watched, and is lost already
                continue
            errand = self._errands[fd] = _Errand(now_ns(), size, size)
            if size:
                self._send(fd, sock, errand)

    def _send(self, fd: int, sock: socket.SocketType, errand: _Errand) -> None:
        """Send what is left of the request; when not all of it is taken, go on as soon as more is."""
        try:
            errand.unsent -= sock.send(memoryview(self._request)[: errand.unsent])
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(fd, error_key(Syscall.SEND, error.errno or 0))
            return
        if errand.unsent:
            self._epoll.modify(fd, _READING | EPOLLOUT)

    def _held_event(self, fd: int, event: int) -> None:
        """The reply has come, or some of it, or the end."""
        errand, sock = self._errands.get(fd), self._sockets[fd]
        if errand is None or sock is None:  # over since the kernel reported it
            return
        if errand.unsent and event & EPOLLOUT:
            self._send(fd, sock, errand)
            if fd not in self._errands:
                return
            if not errand.unsent:
                self._epoll.modify(fd, _READING)
        try:
            size = len(sock.recv(_READ_SIZE))
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(fd, error_key(Syscall.RECV, error.errno or 0))
            return
        if size:
            self._read(fd, sock, errand, size)
        elif self._target_closes and not errand.unread:
            self._end(fd, sock)
        else:
            self._lose(fd, error_key(Syscall.RECV, 0))

    def _read(self, fd: int, sock: socket.SocketType, errand: _Errand, size: int) -> None:
        """Some of the reply; what is more than the reply is thrown away."""
        if not errand.unread:
            return
        errand.unread = max(errand.unread - size, 0)
        if not errand.unread:
            self._recorder.record_exchange(now_ns() - errand.began_ns)
            if not self._target_closes:
                self._end(fd, sock)

    def _end(self, fd: int, sock: socket.SocketType) -> None:
        self._recorder.record_closed(self._forget(fd))
        self._close_all((sock,))

    def _forget(self, fd: int) -> int:
        self._errands.pop(fd, None)
        return super()._forget(fd)
