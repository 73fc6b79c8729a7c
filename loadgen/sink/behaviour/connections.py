"""All connections with manners of one sink process: one epoll object, one heap of due times, an object for each.

It is a part of the sink's loop and not another one: its epoll object is watched by the sink's (epoll(7) nests), and
the sink asks for `due_ns` before it sleeps. So sinks with the plain manners know nothing of it and pay nothing for it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from select import epoll
from typing import Final

from loadgen.sink.behaviour.connection import Guest
from loadgen.sink.behaviour.listener import Door

_EVENTS_MAX: Final = 256
#: struct linger of socket(7): close() resets.
_LINGER_0: Final = struct.pack("ii", 1, 0)
#: So many alarms of guests that are gone may be in the heap, beside as many as there are guests.
_STALE_MAX: Final = 1_024


class Guests:
    """Serves connections until they are over. close: what closes a descriptor and counts that it is closed."""

    def __init__(self, close: Callable[[int], None], closes_after: int | None) -> None:
        self._close = close
        self._closes_after = closes_after
        self._epoll = epoll()
        self._guests: dict[int, Guest] = {}
        #: (when, a number that is in no other alarm, whose).
        self._alarms: list[tuple[int, int, Guest]] = []
        self._number = count()

    def fileno(self) -> int:
        """Readable when `serve` has something to do."""
        return self._epoll.fileno()

    def __contains__(self, fd: int) -> bool:
        return fd in self._guests

    @property
    def due_ns(self) -> int | None:
        """When `act` has something to do."""
        return self._alarms[0][0] if self._alarms else None

    def admit(self, fd: int, door: Door, now: int) -> None:
        """Take over a connection that was just accepted, or reset it."""
        if door.turns_away():
            _reset_at_close(fd)
            self._close(fd)
            return
        os.set_blocking(fd, False)
        guest = self._guests[fd] = Guest(fd, door, self._closes_after, now)
        guest.events = guest.interest(now)
        self._epoll.register(fd, guest.events)
        guest.wake(now)
        self._settle(guest, now)

    def serve(self, now: int) -> None:
        """Do what can be done on the connections."""
        for fd, events in self._epoll.poll(0, _EVENTS_MAX):
            guest = self._guests[fd]
            guest.happened(events, now)
            self._settle(guest, now)

    def act(self, now: int) -> bool:
        """Do what is due; whether anything was."""
        if not self._alarms or self._alarms[0][0] > now:
            return False
        while self._alarms and self._alarms[0][0] <= now:
            due, _, guest = heappop(self._alarms)
            if not guest.gone and guest.alarm_ns == due:  # else it has an earlier one by now
                guest.alarm_ns = 0
                guest.wake(now)
                self._settle(guest, now)
        return True

    def dismiss(self, fd: int) -> None:
        """Close one connection first."""
        guest = self._guests[fd]
        guest.dismiss()
        self._leave(guest)

    def close_first(self) -> None:
        """From now on close every connection as soon as it is there."""
        self._closes_after = 0

    def _settle(self, guest: Guest, now: int) -> None:
        """Wait for what this guest waits for now, or see it off."""
        if guest.gone:
            self._leave(guest)
            return
        events = guest.interest(now)
        if events != guest.events:
            guest.events = events
            self._epoll.modify(guest.fd, events)
        due = guest.due_ns(now)
        if due is not None and (not guest.alarm_ns or due < guest.alarm_ns):
            guest.alarm_ns = due
            heappush(self._alarms, (due, next(self._number), guest))

    def _leave(self, guest: Guest) -> None:
        del self._guests[guest.fd]
        self._close(guest.fd)
        if len(self._alarms) > 2 * len(self._guests) + _STALE_MAX:
            alive = (guest for guest in self._guests.values() if guest.alarm_ns)
            self._alarms = [(guest.alarm_ns, next(self._number), guest) for guest in alive]
            heapify(self._alarms)


def _reset_at_close(fd: int) -> None:
    sock = socket.socket(fileno=fd)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    sock.detach()
