"""One accepted connection with a behaviour: when it may read, what it sends and when, and when it has ended.

A connection reads and writes its own non-blocking descriptor. `interest` returns the epoll events it waits for,
`due_ns` the time of its next timer. The caller invokes `on_events` and `on_timer`, and closes the descriptor once
`ended` is set.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from itertools import chain
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Final

from loadgen.clock import NS_PER_S
from loadgen.sink.behaviour.answers import PART_MAX, Filler, PendingAnswers, Piece
from loadgen.sink.behaviour.listener import Listener
from loadgen.sink.counts import SurvivedFailures
from loadgen.sink.memory import HeldBytes
from loadgen.tls_channel import TlsChannel

_READ_SIZE: Final = 65_536
#: Parts written for one event at most, so that a fast client leaves the others their turn.
_WRITES_MAX: Final = 16
#: Reads per second of a slow reader, as long as the rate allows a byte each time.
_READS_PER_S: Final = 20


class AcceptedConnection:
    """ended: the descriptor is to be closed. events, timer_ns: owned by the caller, the registered events and timer.

    closes_after: 0: close at once, after a TLS handshake if there is one;
    otherwise the bytes that an echo sends before it closes; None: the client closes first. failures: where those of
    this connection are counted. memory: how much it may hold. counted_bytes: owned by the caller, the part of `memory`
    that is counted for it.
    """

    __slots__ = (
        "_answers",
        "_close_ns",
        "_closes_at_once",
        "_delay_ns",
        "_failed",
        "_failures",
        "_making",
        "_memory",
        "_plain",
        "_quick",
        "_read_at_ns",
        "_read_ns",
        "_read_per_s",
        "_received_all",
        "_responder",
        "_tls",
        "_unsent",
        "counted_bytes",
        "ended",
        "events",
        "fd",
        "timer_ns",
    )

    def __init__(
        self,
        fd: int,
        listener: Listener,
        closes_after: int | None,
        now: int,
        *,
        failures: SurvivedFailures,
        memory: HeldBytes,
    ) -> None:
        behaviour = listener.behaviour
        self._failures, self._memory = failures, memory
        self.fd = fd
        self.ended = False
        self.events = self.timer_ns = self.counted_bytes = 0
        self._responder = listener.responder(closes_after or None)
        self._tls = TlsChannel(listener.context, server_side=True) if listener.context else None
        self._closes_at_once = closes_after == 0
        self._delay_ns = int(behaviour.delay_s * NS_PER_S)
        self._close_ns = None if behaviour.close_after_s is None else now + int(behaviour.close_after_s * NS_PER_S)
        self._read_per_s = behaviour.read_per_s
        self._read_ns = 0
        #: When the input was read that answers are being made for, and the answers that are still to be made.
        self._read_at_ns = now
        self._making: Iterator[Piece] | None = None
        self._answers = PendingAnswers()
        self._unsent = bytearray()
        self._received_all = self._failed = False
        #: Whether answers go out as soon as they are made; and whether that holds for the next, as none is waiting.
        self._plain = not (self._tls or self._delay_ns or self._read_per_s is not None or self._closes_at_once)
        self._quick = self._plain

    @property
    def held(self) -> int:
        """Bytes of input and of answers in memory, beside a small constant."""
        held = self._answers.held + len(self._unsent) + self._responder.held
        return held + self._tls.held if self._tls else held

    def interest(self, now: int) -> int:
        """Return the events of epoll(7) to wait for, beside EPOLLERR and EPOLLHUP, which are always reported."""
        due_ns = self._answers.due_ns
        sends = self._unsent or (self._making if due_ns is None else due_ns <= now)
        events = EPOLLOUT if sends else 0
        if (
            self._received_all
            or self._failed
            or self._responder.finished
            or self._making
            or self._answers.held + len(self._unsent) > self._memory.allowance
        ):
            return events
        if self._read_per_s == 0 or now < self._read_ns:
            return events | EPOLLRDHUP
        return events | EPOLLIN | EPOLLRDHUP

    def due_ns(self, now: int) -> int | None:
        """Return the time of the next timer; None: no timer is needed."""
        due_ns = self._answers.due_ns
        if due_ns is None and self._close_ns is None and now >= self._read_ns:
            return None
        return min((due for due in (due_ns, self._close_ns, self._read_ns) if due and due > now), default=None)

    def on_events(self, events: int, now: int) -> bool:
        """Handle the events that epoll reported; return False if it holds and waits for the same as before."""
        if events == EPOLLIN and self._quick:
            if (data := self._input()) is None:
                return self.ended
            answer = self._responder.quick(data) if data else None
            if answer is None:
                self._take(data, now)
                self._send(now)
            else:
                sent = self._written(answer)
                if sent == len(answer):
                    return False
                self._unsent += answer[sent:]
        else:
            self._handle(events, now)
        self._quick = self._plain and not (self._making or self._answers or self._unsent or self._received_all)
        return True

    def _handle(self, events: int, now: int) -> None:
        if events & (EPOLLERR | EPOLLHUP):  # reset or timed out: what was not read cannot be answered any more
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
            self._unsent += self._tls.farewell()
            self._write()
        self.ended = True

    def _read(self, now: int) -> None:
        data = self._input()
        if data is None:
            return
        if self._read_per_s:
            self._read_ns = now + len(data) * NS_PER_S // self._read_per_s
        self._take(data, now)

    def _input(self) -> bytes | None:
        """Read; return b"" at end of file, None if there is nothing or the connection has ended."""
        per_s = self._read_per_s
        size = _READ_SIZE if per_s is None else max(per_s // _READS_PER_S, 1)
        try:
            return os.read(self.fd, min(size, self._memory.allowance))
        except BlockingIOError:
            return None
        except OSError as error:
            self._failures.add("read", error)
            self.ended = True
            return None

    def _take(self, data: bytes, now: int) -> None:
        """Let answers be made to input."""
        input_ended = not data
        if self._tls:
            try:
                self._tls.received(data)
                data = self._tls.read() if self._tls.secured or self._tls.shake() else b""
            except ssl.SSLError as error:
                self._fail(error)
                return
            input_ended = self._tls.ended
        self._received_all = input_ended
        inputs = (data, b"") if data and input_ended else (data,)
        if data or input_ended:
            self._read_at_ns = now
            self._making = chain.from_iterable(map(self._responder.receive, inputs))

    def _send(self, now: int) -> None:
        """Make answers and write those that are due, as far as there is room; end after the last one."""
        for _ in range(_WRITES_MAX):
            if self._making:
                self._make_answers()
            if self._answers:
                self._fill(now)
            finished = self._finished
            self._received_all |= finished  # ignore any further input
            if self._tls:
                self._unsent += self._tls.farewell() if finished and not self._failed else self._tls.outgoing()
            if self._unsent:
                self._write()
            if finished and not self._unsent:
                self.ended = True
            if self.ended or self._unsent or not (self._answers or self._making or finished):
                return

    @property
    def _finished(self) -> bool:
        """True if nothing is left to be answered."""
        if self._making or self._answers:
            return False
        ready = self._tls is None or self._tls.secured
        return self._responder.finished or self._failed or self._received_all or (self._closes_at_once and ready)

    def _make_answers(self) -> None:
        """Make answers to what was read until the memory allowed is full; what need not wait goes out at once."""
        while self._making and self._answers.held + len(self._unsent) < self._memory.allowance:
            piece = next(self._making, None)
            if piece is None:
                self._making = None
            elif self._delay_ns or self._answers or isinstance(piece, Filler):
                self._answers.add(self._read_at_ns + self._delay_ns, piece)
            else:
                self._put(piece)

    def _fill(self, now: int) -> None:
        """Move answers that are due to the bytes to be written, at most a part's length."""
        size = min(PART_MAX, self._memory.allowance)
        while len(self._unsent) < size and (part := self._answers.take(now, size - len(self._unsent))):
            self._put(part)

    def _put(self, part: bytes | memoryview) -> None:
        """Add to the bytes to be written."""
        try:
            self._unsent += self._tls.encrypted(part) if self._tls else part
        except ssl.SSLError as error:
            self._fail(error)

    def _fail(self, error: ssl.SSLError) -> None:
        """Give up a failed TLS session, which encrypts no more; `_send` sends the alert and ends the connection."""
        self._failures.add("tls", error)
        self._failed = True
        self._making = None
        self._answers.clear()

    def _write(self) -> None:
        del self._unsent[: self._written(self._unsent)]

    def _written(self, data: bytes | bytearray) -> int:
        """Write as much as fits; return how many bytes that was. After a failure the connection has ended."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._failures.add("write", error)
            self.ended = True
            return 0
