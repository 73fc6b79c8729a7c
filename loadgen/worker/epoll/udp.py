"""Exchanges over UDP, where a request or its reply may get lost and nobody says so.

A reply is one datagram. One that is not the reply to what was asked last is late, or was meant for whoever had the
port before: it is counted as wrong, and the right one is still waited for. A request of which no reply came in time
(the next beat, or the scenario's timeout) is lost.
"""

from __future__ import annotations

import socket
from typing import Any

from loadgen.worker.epoll.churn import Churner
from loadgen.worker.epoll.exchange import Talker
from loadgen.worker.epoll.heartbeat import Beater


class DatagramTalker(Talker):
    """As Talker, over sockets of UDP."""

    def _ask(self, fd: int, sock: socket.SocketType, left: int = 0) -> None:
        self._recorder.asked += 1
        super()._ask(fd, sock, left)

    def _heard(self, fd: int, talk: Any, data: bytes) -> None:
        """A datagram: the reply, or none."""
        if self._reply(talk.request, data):
            super()._heard(fd, talk, data)
        else:
            self._recorder.wrong += 1

    def _lose(self, fd: int, key: int) -> None:
        self._recorder.unanswered += fd in self._talks
        super()._lose(fd, key)


class DatagramBeater(DatagramTalker, Beater):
    """As Beater, but a reply that is missing when the next request is due is waited for no longer."""

    def beat(self, now: int) -> None:
        """Give up what should have been answered by now, and send the requests that are due."""
        count = len(self._beating)
        due = (now - self._begun_ns) * count // self._every_ns
        for number in range(max(self._due, due - count), due):
            if self._talks.pop(self._beating[number % count], None):
                self._recorder.missed += 1
                self._recorder.unanswered += 1
        super().beat(now)


class DatagramChurner(DatagramTalker, Churner):
    """As Churner; a port that is closed is free at once, because nothing rests in TIME-WAIT."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._frees = True
