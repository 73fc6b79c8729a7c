"""One accepted connection with a behaviour: when it may read, what it sends and when, and when it has ended.

A connection reads and writes its own non-blocking descriptor. `interest` returns the epoll events it waits for,
`due_ns` the time of its next timer. The caller invokes `on_events` and `on_timer`, and closes the descriptor once
`ended` is set.
"""

from __future__ import annotations

import os
import ssl
from collections import deque
from collections.abc import Iterable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Final

from loadgen.clock import NS_PER_S
from loadgen.sink.behaviour.listener import Listener
from loadgen.sink.behaviour.tls import TlsSession

_READ_SIZE: Final = 65_536
#: Maximum bytes of pending answers before reading stops.
_PENDING_MAX: Final = 262_144
#: Reads per second of a slow reader, as long as the rate allows a byte each time.
_READS_PER_S: Final = 20


class AcceptedConnection:
    """ended: the descriptor is to be closed. events, timer_ns: owned by the caller, the registered events and timer.

    closes_after: 0: close at once, after a TLS handshake if there is one;
    otherwise the bytes that an echo sends before it closes; None: the client closes first.
    """

    __slots__ = (
        "_answers",
        "_close_ns",
        "_closes_at_once",
        "_delay_ns",
        "_failed",
        "_pending_bytes",
        "_read_ns",
        "_read_per_s",
        "_received_all",
        "_responder",
        "_tls",
        "_unsent",
        "ended",
        "events",
        "fd",
        "timer_ns",
    )

    def __init__(self, fd: int, listener: Listener, closes_after: int | None, now: int) -> None:
        behaviour = listener.behaviour
        self.fd = fd
        self.ended = False
        self.events = self.timer_ns = 0
        self._responder = listener.responder(closes_after or None)
        self._tls = TlsSession(listener.context) if listener.context else None
        self._closes_at_once = closes_after == 0
        self._delay_ns = int(behaviour.delay_s * NS_PER_S)
        self._close_ns = None if behaviour.close_after_s is None else now + int(behaviour.close_after_s * NS_PER_S)
        self._read_per_s = behaviour.read_per_s
        self._read_ns = 0
        self._answers: deque[tuple[int, bytes]] = deque()
        self._pending_bytes = 0
        self._unsent = bytearray()
        self._received_all = self._failed = False

    def interest(self, now: int) -> int:
        """Return the events of epoll(7) to wait for, beside EPOLLERR and EPOLLHUP, which are always reported."""
        events = EPOLLOUT if self._unsent else 0
        if (
            self._received_all
            or self._failed
            or self._responder.finished
            or self._pending_bytes + len(self._unsent) > _PENDING_MAX
        ):
            return events
        if self._read_per_s == 0 or now < self._read_ns:
            return events | EPOLLRDHUP
        return events | EPOLLIN | EPOLLRDHUP

    def due_ns(self, now: int) -> int | None:
        """Return the time of the next timer; None: no timer is needed."""
        due = [self._answers[0][0]] if self._answers else []
        if self._close_ns is not None:
            due.append(self._close_ns)
        if now < self._read_ns:
            due.append(self._read_ns)
        return min(due, default=None)

    def on_events(self, events: int, now: int) -> None:
        """Handle the events that epoll reported."""
        if events & (EPOLLERR | EPOLLHUP) and not events & EPOLLIN:
            self.ended = True
            return
        if events & EPOLLRDHUP and self._read_per_s is not None:
            # The client has closed. Read the rest at full speed, so that this side ends soon; a connection that
            # never reads ends now.
            self.ended = self._read_per_s == 0
            self._read_per_s, self._read_ns = None, 0
        if events & (EPOLLIN | EPOLLRDHUP) and not self.ended:
            self._read(now)
        self._send(now)

    def on_timer(self, now: int) -> None:
        """Send the answers that are due, or close when it is time."""
        if self._close_ns is not None and now >= self._close_ns:
            self.close_now()
        else:
            self._send(now)

    def close_now(self) -> None:
        """End without sending pending answers; over TLS send close_notify first."""
        if self._tls and not self._unsent:  # after a partial record it would not be read as an alert
            self._tls.close_notify()
            self._unsent += self._tls.outgoing()
            self._write()
        self.ended = True

    def _read(self, now: int) -> None:
        per_s = self._read_per_s
        try:
            data = os.read(self.fd, _READ_SIZE if per_s is None else max(per_s // _READS_PER_S, 1))
        except BlockingIOError:
            return
        except OSError:  # reset by the client
            self.ended = True
            return
        if per_s:
            self._read_ns = now + len(data) * NS_PER_S // per_s
        input_ended = not data
        if self._tls:
            try:
                data = self._tls.receive(data)
            except ssl.SSLError:  # `_send` sends the alert and ends the connection
                self._failed = True
                return
            input_ended = self._tls.ended
        if data:
            self._answer(self._responder.receive(data), now)
        if input_ended:
            self._received_all = True
            self._answer(self._responder.receive(b""), now)

    def _answer(self, answers: Iterable[bytes], now: int) -> None:
        for answer in answers:
            self._answers.append((now + self._delay_ns, answer))
            self._pending_bytes += len(answer)

    def _send(self, now: int) -> None:
        """Write the answers that are due; end after the last one."""
        session = self._tls
        while self._answers and self._answers[0][0] <= now:
            answer = self._answers.popleft()[1]
            self._pending_bytes -= len(answer)
            if session:
                session.send(answer)
            else:
                self._unsent += answer
        ready = session is None or session.ready
        finished = not self._answers and (
            self._responder.finished or self._failed or self._received_all or (self._closes_at_once and ready)
        )
        self._received_all |= finished  # ignore any further input
        if session:
            if finished and not self._failed:
                session.close_notify()
            self._unsent += session.outgoing()
        if self._unsent:
            self._write()
        if finished and not self._unsent:
            self.ended = True

    def _write(self) -> None:
        try:
            sent = os.write(self.fd, self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.ended = True
            return
        del self._unsent[:sent]
