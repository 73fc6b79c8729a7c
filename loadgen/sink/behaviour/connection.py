"""One connection with manners: when it may read, what it has to send and when, and when it is over.

A guest reads and writes its own descriptor, which does not block, and says what it waits for: `interest` for epoll,
`due_ns` for the clock. Who serves the guests calls `happened` and `wake`, and closes the descriptor once one is gone.
"""

from __future__ import annotations

import os
import ssl
from collections import deque
from collections.abc import Iterable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Final

from loadgen.clock import NS_PER_S
from loadgen.sink.behaviour.listener import Door
from loadgen.sink.behaviour.tls import Cipher

_READ_SIZE: Final = 65_536
#: With so many bytes of answers waiting, nothing more is read.
_WAITING_MAX: Final = 262_144
#: A slow reader reads so many times a second, if the rate gives it a byte each time.
_READS_PER_S: Final = 20


class Guest:
    """gone: it is over, and the descriptor is to be closed. events, alarm_ns: for whoever serves it to remember.

    closes_after: 0: as soon as it is there, after the handshake of TLS;
    or the bytes that an echo sends before it closes; None: the client closes first.
    """

    __slots__ = (
        "_answers",
        "_cipher",
        "_close_ns",
        "_closes_at_once",
        "_delay_ns",
        "_failed",
        "_heard_all",
        "_read_ns",
        "_read_per_s",
        "_speech",
        "_unsent",
        "_waiting",
        "alarm_ns",
        "events",
        "fd",
        "gone",
    )

    def __init__(self, fd: int, door: Door, closes_after: int | None, now: int) -> None:
        manners = door.manners
        self.fd = fd
        self.gone = False
        self.events = self.alarm_ns = 0
        self._speech = door.speech(closes_after or None)
        self._cipher = Cipher(door.context) if door.context else None
        self._closes_at_once = closes_after == 0
        self._delay_ns = int(manners.delay_s * NS_PER_S)
        self._close_ns = None if manners.close_after_s is None else now + int(manners.close_after_s * NS_PER_S)
        self._read_per_s = manners.read_per_s
        self._read_ns = 0
        self._answers: deque[tuple[int, bytes]] = deque()
        self._waiting = 0  # bytes in them
        self._unsent = bytearray()
        self._heard_all = self._failed = False

    def interest(self, now: int) -> int:
        """The events of epoll(7) to wait for, beside those that always come."""
        events = EPOLLOUT if self._unsent else 0
        if self._heard_all or self._failed or self._speech.over or self._waiting + len(self._unsent) > _WAITING_MAX:
            return events
        if self._read_per_s == 0 or now < self._read_ns:
            return events | EPOLLRDHUP
        return events | EPOLLIN | EPOLLRDHUP

    def due_ns(self, now: int) -> int | None:
        """When to be woken, whatever happens until then."""
        due = [self._answers[0][0]] if self._answers else []
        if self._close_ns is not None:
            due.append(self._close_ns)
        if now < self._read_ns:
            due.append(self._read_ns)
        return min(due, default=None)

    def happened(self, events: int, now: int) -> None:
        """Do what epoll says can be done."""
        if events & (EPOLLERR | EPOLLHUP) and not events & EPOLLIN:
            self.gone = True
            return
        if events & EPOLLRDHUP and self._read_per_s is not None:
            # The client has closed: what it has sent is read at once now, so that this ends as well. Who never
            # reads has nothing to wait for.
            self.gone = self._read_per_s == 0
            self._read_per_s, self._read_ns = None, 0
        if events & (EPOLLIN | EPOLLRDHUP) and not self.gone:
            self._read(now)
        self._send(now)

    def wake(self, now: int) -> None:
        """Do what is due."""
        if self._close_ns is not None and now >= self._close_ns:
            self.dismiss()
        else:
            self._send(now)

    def dismiss(self) -> None:
        """Say goodbye in TLS, without waiting for anything that is still to be said, and be gone."""
        if self._cipher and not self._unsent:  # behind a part of a record it would be no alert
            self._cipher.goodbye()
            self._unsent += self._cipher.outgoing()
            self._write()
        self.gone = True

    def _read(self, now: int) -> None:
        per_s = self._read_per_s
        try:
            data = os.read(self.fd, _READ_SIZE if per_s is None else max(per_s // _READS_PER_S, 1))
        except BlockingIOError:
            return
        except OSError:  # reset by the client; it is over, whatever its reason
            self.gone = True
            return
        if per_s:
            self._read_ns = now + len(data) * NS_PER_S // per_s
        ended = not data
        if self._cipher:
            try:
                data = self._cipher.receive(data)
            except ssl.SSLError:  # its alert is sent, and that is all
                self._failed = True
                return
            ended = self._cipher.ended
        if data:
            self._answer(self._speech.hear(data), now)
        if ended:
            self._heard_all = True
            self._answer(self._speech.hear(b""), now)

    def _answer(self, answers: Iterable[bytes], now: int) -> None:
        for answer in answers:
            self._answers.append((now + self._delay_ns, answer))
            self._waiting += len(answer)

    def _send(self, now: int) -> None:
        """Write what is due by now; after the last of it be gone."""
        cipher = self._cipher
        while self._answers and self._answers[0][0] <= now:
            answer = self._answers.popleft()[1]
            self._waiting -= len(answer)
            if cipher:
                cipher.send(answer)
            else:
                self._unsent += answer
        ready = cipher is None or cipher.ready
        finished = not self._answers and (
            self._speech.over or self._failed or self._heard_all or (self._closes_at_once and ready)
        )
        self._heard_all |= finished  # whatever comes now, nobody is interested
        if cipher:
            if finished and not self._failed:
                cipher.goodbye()
            self._unsent += cipher.outgoing()
        if self._unsent:
            self._write()
        if finished and not self._unsent:
            self.gone = True

    def _write(self) -> None:
        try:
            sent = os.write(self.fd, self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.gone = True
            return
        del self._unsent[:sent]
