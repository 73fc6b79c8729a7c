"""Held connections that show they are alive: some bytes now and then, sent and read back.

A connection that nobody uses looks the same whether its path works or not. So a share of what is held
sends a request every so often, each connection at its own moment so that the load is even, and the time
to the reply is measured. A reply that has not come when the next request is due is a missed beat; then
the next request waits for it, because two on their way could not be told apart.
"""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass
from typing import Any, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.connector import Connector
from loadgen.metrics.outcomes import Syscall, error_key
from loadgen.model import Heartbeat

_PAUSE_MIN_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.5


@dataclass(slots=True)
class _Beat:
    """A request that is not answered yet: when it was sent, and what is still to come of the reply."""

    sent_ns: int
    unread: bytes


class Beater(Connector):
    """All held connections of one worker, a share of which beats from `begin` on. The rest is as for Connector."""

    def __init__(self, *args: Any, heartbeat: Heartbeat, **more: Any) -> None:
        super().__init__(*args, **more)
        self._every_ns = int(heartbeat.every_s * NS_PER_S)
        self._size, self._share = heartbeat.size, heartbeat.share
        #: How often to see which requests are due: ten times between two of one connection, within reason.
        self.pause_s = min(max(heartbeat.every_s / 10, _PAUSE_MIN_S), _PAUSE_MAX_S)
        self._beating: list[int] = []
        self._begun_ns = 0
        self._due = 0  # beats that were due so far, all connections together
        self._awaited: dict[int, _Beat] = {}

    def begin(self, now: int) -> None:
        """Choose who beats, evenly over what is held, and start the clock."""
        held = [fd for fd, sock in enumerate(self._sockets) if sock is not None]
        count = min(math.ceil(len(held) * self._share), len(held))
        self._beating = [held[n * len(held) // count] for n in range(count)]
        self._begun_ns = now
        self._recorder.beating = count

    def beat(self, now: int) -> None:
        """Send the requests that are due by now. Of rounds that were slept through only the last is sent."""
        count = len(self._beating)
        if not count:
            return
        due = (now - self._begun_ns) * count // self._every_ns
        begin = max(self._due, due - count)
        self._recorder.missed += begin - self._due
        for number in range(begin, due):
            fd = self._beating[number % count]
            sock = self._sockets[fd]
            if sock is not None:
                self._send(fd, sock, number)
        self._due = due
        self._recorder.publish()

    def _send(self, fd: int, sock: socket.SocketType, number: int) -> None:
        recorder = self._recorder
        if fd in self._awaited:
            recorder.missed += 1
            return
        request = number.to_bytes(8, "big").rjust(self._size, b".")[-self._size :]
        sent_ns = now_ns()
        try:
            whole = sock.send(request) == len(request)
        except BlockingIOError:
            whole = False
        except OSError as error:
            self._lose(fd, error_key(Syscall.SEND, error.errno or 0))
            return
        if not whole:  # the other side has not read for long; a part of a request would be answered by a part
            recorder.missed += 1
            return
        recorder.beats += 1
        self._awaited[fd] = _Beat(sent_ns, request)

    def _received(self, fd: int, data: bytes) -> None:
        beat = self._awaited.get(fd)
        if beat is None:
            return
        if not beat.unread.startswith(data):
            self._recorder.wrong += 1
            del self._awaited[fd]
            return
        beat.unread = beat.unread[len(data) :]
        if not beat.unread:
            self._recorder.record_exchange(now_ns() - beat.sent_ns)
            del self._awaited[fd]

    def _forget(self, fd: int) -> int:
        self._awaited.pop(fd, None)
        return super()._forget(fd)
