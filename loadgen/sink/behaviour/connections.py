"""All accepted connections with a behaviour of one sink process: an epoll object and a heap of timers.

This is a part of the sink's event loop, not a second one: the sink watches this epoll object (epoll(7) nests) and asks
for `due_ns` before it sleeps. A sink that is a plain echo never imports this and pays nothing for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from select import epoll
from typing import Final

from loadgen.sink.behaviour.connection import AcceptedConnection
from loadgen.sink.behaviour.listener import Listener
from loadgen.sink.closing import reset_at_close
from loadgen.sink.counts import SurvivedFailures
from loadgen.sink.memory import HeldBytes

_EVENTS_MAX: Final = 256
#: Maximum stale timers in the heap, beside as many as there are connections.
_STALE_MAX: Final = 1_024


class AcceptedConnections:
    """Serves connections until they end. close: closes a descriptor and counts that.

    failures, memory: those of the process.

    Whatever goes wrong with one connection, foreseen or not, ends that one by a reset and no other.
    """

    def __init__(
        self, close: Callable[[int], None], closes_after: int | None, failures: SurvivedFailures, memory: HeldBytes
    ) -> None:
        self._close = close
        self._closes_after = closes_after
        self._failures, self._memory = failures, memory
        self._epoll = epoll()
        self._connections: dict[int, AcceptedConnection] = {}
        #: (due_ns, a unique number that breaks ties, connection).
        self._timers: list[tuple[int, int, AcceptedConnection]] = []
        self._number = count()

    def fileno(self) -> int:
        """Return the epoll descriptor; it is readable when `serve` has work."""
        return self._epoll.fileno()

    def __contains__(self, fd: int) -> bool:
        return fd in self._connections

    @property
    def due_ns(self) -> int | None:
        """When `run_timers` has work next; None: no timer is set."""
        return self._timers[0][0] if self._timers else None

    def add(self, fd: int, listener: Listener, now: int) -> None:
        """Serve a connection that was just accepted, or reset it if the listener rejects it."""
        if listener.rejects_next():
            self._reset(fd)
            return
        where = "ioctl"
        try:
            os.set_blocking(fd, False)
            where = "connection"
            connection = AcceptedConnection(
                fd, listener, self._closes_after, now, failures=self._failures, memory=self._memory
            )
            connection.events = connection.interest(now)
            where = "epoll_ctl"
            self._epoll.register(fd, connection.events)
        except Exception as error:
            self._failures.add(where, error)
            self._reset(fd)
            return
        self._connections[fd] = connection
        self._run(connection, now)

    def serve(self, now: int) -> None:
        """Handle one batch of epoll events. Raises: OSError of epoll_wait(2)."""
        for fd, events in self._epoll.poll(0, _EVENTS_MAX):
            if connection := self._connections.get(fd):
                self._run(connection, now, events)
            else:
                self._forget(fd)

    def run_timers(self, now: int) -> bool:
        """Run the timers that are due; return True if there was one."""
        if not self._timers or self._timers[0][0] > now:
            return False
        while self._timers and self._timers[0][0] <= now:
            due, _, connection = heappop(self._timers)
            if not connection.ended and connection.timer_ns == due:  # otherwise an earlier timer replaced this one
                connection.timer_ns = 0
                self._run(connection, now)
        return True

    def close_now(self, fd: int) -> None:
        """Close one connection from this side."""
        connection = self._connections[fd]
        try:
            connection.close_now()
        except Exception as error:
            self._failures.add("connection", error)
        self._remove(connection)

    def close_first(self) -> None:
        """From now on close every new connection at once."""
        self._closes_after = 0

    def _run(self, connection: AcceptedConnection, now: int, events: int = 0) -> None:
        """Handle events of a connection, or 0: its timer; one that fails in a way not foreseen is reset."""
        try:
            if not events:
                connection.on_timer(now)
            elif not connection.on_events(events, now):
                return
            self._update(connection, now)
        except Exception as error:
            self._failures.add("connection", error)
            connection.ended = True
            self._remove(connection, self._reset)

    def _update(self, connection: AcceptedConnection, now: int) -> None:
        """Register the events and the timer that the connection waits for, or remove it if it has ended."""
        if connection.ended:
            self._remove(connection)
            return
        held = connection.held
        self._memory.used += held - connection.counted_bytes
        connection.counted_bytes = held
        events = connection.interest(now)
        if events != connection.events:
            connection.events = events
            try:
                self._epoll.modify(connection.fd, events)
            except OSError as error:
                self._failures.add("epoll_ctl", error)
                connection.ended = True
                self._remove(connection, self._reset)
                return
        due = connection.due_ns(now)
        if due is not None and (not connection.timer_ns or due < connection.timer_ns):
            connection.timer_ns = due
            heappush(self._timers, (due, next(self._number), connection))

    def _remove(self, connection: AcceptedConnection, close: Callable[[int], None] | None = None) -> None:
        if self._connections.pop(connection.fd, None) is None:
            return
        self._memory.used -= connection.counted_bytes
        (close or self._close)(connection.fd)
        if len(self._timers) > 2 * len(self._connections) + _STALE_MAX:
            with_timer = (connection for connection in self._connections.values() if connection.timer_ns)
            self._timers = [(connection.timer_ns, next(self._number), connection) for connection in with_timer]
            heapify(self._timers)

    def _reset(self, fd: int) -> None:
        reset_at_close(fd, self._failures)
        self._close(fd)

    def _forget(self, fd: int) -> None:
        """Watch a descriptor no more whose connection has ended: its close() has failed."""
        try:
            self._epoll.unregister(fd)
        except OSError as error:
            self._failures.add("epoll_ctl", error)
