"""Bookkeeping of a worker's connections, the same for every engine: states, counts, room, turns, expiry, ports.

An engine submits batches and collects answers; what these mean for the counts is here. At every step

    started = established + failed + in_flight

Pure: no socket, no clock (instants are arguments in nanoseconds), nothing but numbers. A connection is a key: the
engine's number for it (descriptor, slot) or an object.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, Generic, TypeVar

from loadgen.clock import NS_PER_S
from loadgen.worker.backoff import NO_PORT, Backoff
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Settings

K = TypeVar("K", bound=Hashable)


class State:
    """States of a connection, as numbers in an engine's array. Plain integers: numpy is slow with an enumeration."""

    FREE: Final = 0
    #: Everything before connect() is under way.
    PREPARING: Final = 1
    #: Bound, and waits until its arrival is due.
    READY: Final = 2
    #: connect() is not answered.
    CONNECTING: Final = 3
    #: Established, and watched.
    HELD: Final = 4
    #: Established, and being read after the kernel reported data or the end.
    READING: Final = 5
    #: Closed, but the kernel still has a request for it under way.
    CLOSING: Final = 6


class ConnectionEvent(IntEnum):
    """A change of a connection's state."""

    PREPARE = 0
    PREPARED = 1
    #: Another port is tried after bind() found one taken.
    RETRY = 2
    CONNECT = 3
    ESTABLISHED = 4
    READABLE = 5
    READ = 6
    #: It failed, was closed or is given up, and nothing is under way for it.
    END = 7
    #: The same, while the kernel still has a request for it under way.
    CANCEL = 8
    CANCELLED = 9


#: The life of a connection: for each state, the events that may happen in it and the state that follows.
TRANSITIONS: Final[Mapping[int, Mapping[ConnectionEvent, int]]] = {
    State.FREE: {ConnectionEvent.PREPARE: State.PREPARING},
    State.PREPARING: {ConnectionEvent.PREPARED: State.READY, ConnectionEvent.END: State.FREE},
    State.READY: {
        ConnectionEvent.RETRY: State.PREPARING,
        ConnectionEvent.CONNECT: State.CONNECTING,
        ConnectionEvent.END: State.FREE,
    },
    State.CONNECTING: {
        ConnectionEvent.ESTABLISHED: State.HELD,
        ConnectionEvent.END: State.FREE,
        ConnectionEvent.CANCEL: State.CLOSING,
    },
    State.HELD: {
        ConnectionEvent.READABLE: State.READING,
        ConnectionEvent.END: State.FREE,
        ConnectionEvent.CANCEL: State.CLOSING,
    },
    State.READING: {
        ConnectionEvent.READ: State.HELD,
        ConnectionEvent.END: State.FREE,
        ConnectionEvent.CANCEL: State.CLOSING,
    },
    State.CLOSING: {ConnectionEvent.CANCELLED: State.FREE},
}


def overdue(since_ns: Mapping[K, int], now: int, timeout_ns: int) -> list[K]:
    """Return the keys that have waited for the timeout or longer; the oldest come first in `since_ns`."""
    expired = []
    for key, since in since_ns.items():
        if now - since < timeout_ns:
            break
        expired.append(key)
    return expired


class Lifecycle(Generic[K]):
    """The books of one worker's connections.

    recorder: has the counts. `settings` has the maximum of attempts in flight, the timeout and the schedule.
    """

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        schedule = settings.schedule
        self._recorder = recorder
        self._pairs = len(settings.pairs)
        self._order: Iterator[int] | None = settings.order
        self._next_pair = settings.first_pair if settings.order is None else next(settings.order)
        self._in_flight_max = settings.in_flight_max
        self._pending_max = schedule.open_max if schedule.open_max is not None else settings.in_flight_max
        self._timeout_ns = int(settings.timeout_s * NS_PER_S)
        self._frees = schedule.frees
        #: Since when, and after how many connections, some pair has had no port.
        self._denied_since: tuple[int, int] | None = None
        self._abandoned = 0
        self.backoff = Backoff(self._pairs, searched_ports=schedule.searched_ports)
        #: Attempts whose connect() is not answered.
        self.unanswered = 0
        #: Those of them that were not answered at once: since when, the oldest first.
        self.waiting: dict[int, int] = {}
        #: Established connections that have something to do at once (a handshake, exchanges, the close by the
        #: target): since when the step they are in has been going on, the oldest first.
        self.pending: dict[K, int] = {}
        #: True from the moment at which the target is expected to close what is held: its end of file is planned.
        self.ending = False
        #: Churn only: instant after which connections make no further exchange; None: not known before the start.
        self.until_ns: int | None = None

    # --- Questions ------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Attempts that are neither established nor failed."""
        return self.unanswered + self._abandoned

    @property
    def room(self) -> int:
        """Number of attempts that may be started before some are answered, or pending connections are done."""
        unanswered = self.unanswered
        return max(min(self._in_flight_max - unanswered, self._pending_max - unanswered - len(self.pending)), 0)

    @property
    def idle(self) -> bool:
        """True when every attempt is answered and no connection is pending."""
        return not self.in_flight and not self.pending

    @property
    def exhausted(self) -> bool:
        """True when no pair has a port left, by the kernel's own repeated answer."""
        return self.backoff.exhausted

    def cooldown_until_ns(self, now: int) -> int:
        """Return the instant before which no pair is worth another attempt; 0: some pair is, now."""
        if not self.backoff.active:
            return 0
        until = self.backoff.next_try_ns()
        return until if until > now else 0

    def over(self, now: int) -> bool:
        """Return True after the end of churn's duration."""
        return self.until_ns is not None and now >= self.until_ns

    def expired_attempts(self, now: int) -> list[int]:
        """Return the attempts that have waited for the timeout, the oldest first."""
        return overdue(self.waiting, now, self._timeout_ns)

    def expired_pending(self, now: int) -> list[K]:
        """Return the pending connections whose present step has taken the timeout, the oldest first."""
        return overdue(self.pending, now, self._timeout_ns)

    def turns(self, count: int, now: int) -> list[int]:
        """Return the pairs of the next attempts: at most `count`, fewer when the others cool down.

        In the order of the settings. A pair that cools down gives way to the next in number, and one whose last
        answer was a denial has a single turn.
        """
        pair, pairs, backoff, order = self._next_pair, self._pairs, self.backoff, self._order
        if count <= 0:
            return []
        if order is None and not backoff.active:
            self._next_pair = (pair + count) % pairs
            return [(pair + n) % pairs for n in range(count)]
        turns: list[int] = []
        asked: set[int] = set()
        for _ in range(count):
            if backoff.active:
                for _ in range(pairs):
                    if pair not in asked and backoff.may_try(pair, now):
                        break
                    pair = (pair + 1) % pairs
                else:
                    break
                if backoff.probing(pair):
                    asked.add(pair)
            turns.append(pair)
            pair = (pair + 1) % pairs if order is None else next(order)
        self._next_pair = pair
        return turns

    # --- What happens to attempts ---------------------------------------------------------------------

    def start(self, count: int = 1) -> None:
        """Count attempts whose connect() comes next, or which have failed before it."""
        self._recorder.started += count
        self.unanswered += count

    def end_batch(self, started: int, established: int, end: int, at_ns: int, *, scheduled: bool) -> None:
        """Count a batch: attempts that were started and not counted yet, and attempts that were established.

        end: first free position after the latencies of those established, see Recorder.begin_batch; at_ns: when
        the last was established.
        """
        self._recorder.end_batch(started, end, at_ns, scheduled=scheduled)
        self.unanswered += started - established

    def establish(self, key: int, pair: int, due_ns: int, now: int) -> None:
        """Count an attempt that is established after waiting for its answer. due_ns 0: nothing was scheduled."""
        self._recorder.record_established(pair, due_ns, self.waiting.pop(key), now)
        self.unanswered -= 1

    def fail(self, pair: int, key: int, now: int) -> None:
        """Count an attempt that ended without a connection; `key` is the `error_key` of the reason."""
        self._recorder.record_failed(pair, key)
        self.unanswered -= 1
        if key in NO_PORT:
            self._recorder.denials += 1
            self.backoff.no_port(pair, now)

    def give_up(self, pair: int, waiting: int) -> None:
        """Note that an attempt of `waiting` has had no answer for too long; count it with `fail` as well."""
        self._recorder.record_given_up(pair, self.waiting[waiting])

    def withdraw(self) -> None:
        """Take back one attempt that was started: it was denied together with one that is counted."""
        self._recorder.started -= 1
        self.unanswered -= 1

    def shed(self) -> None:
        """Halve the number of attempts in flight: the kernel is short of memory."""
        self._in_flight_max = max(self._in_flight_max // 2, 1)

    def abandon(self) -> None:
        """Give up all unanswered attempts. They stay counted as in flight, because their end will not be known."""
        self._abandoned += self.unanswered
        self.unanswered = 0
        self.waiting.clear()

    # --- What happens to connections ------------------------------------------------------------------

    def close(self, pairs: Sequence[int]) -> None:
        """Count connections of these pairs that have ended as planned; of none, nothing has been freed either."""
        if pairs:
            self._recorder.record_closed(pairs)
            self._ended()

    def lose(self, pair: int, key: int) -> None:
        """Count a connection that has ended unplanned; `key` is the `error_key` of the reason."""
        self._recorder.record_lost(pair, key)
        self._ended()

    def _ended(self) -> None:
        if self._frees and self.backoff.active:
            self.backoff.freed()

    # --- What others see ------------------------------------------------------------------------------

    def watch_ports(self, now: int) -> None:
        """Note when ports ran out: not the moment in which all were in use, but the first of many denials in a row."""
        recorder, backoff = self._recorder, self.backoff
        if recorder.first_denied_ns:
            return
        if not backoff.active:
            self._denied_since = None
        elif self._denied_since is None:
            self._denied_since = (now, recorder.established)
        elif backoff.lasting:
            recorder.first_denied_ns, recorder.established_then = self._denied_since

    def publish(self) -> None:
        """Show the counts to the orchestrator."""
        self._recorder.in_flight = self.in_flight
        self._recorder.publish()
