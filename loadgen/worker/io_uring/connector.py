"""Open connections in batches with io_uring(7), watch and close them, without a descriptor for each.

A connection is a slot: a place in the table of one of several rings, and a row in arrays of numbers here. So one
process holds more connections than it may have descriptors, and all steps of a batch go to the kernel in three system
calls: everything before connect(); connect(); and watching what was established.

How instants are taken. connect() of a batch is one system call, and its answers come together: `started` is read just
before that call and `established` when the answers are in. So a connect time is never too short, but on a fast path
too long by the cost of the CONNECTS_AT_ONCE connections sent with it (one to two milliseconds). An answer that takes
longer than that is timed when it comes, as with epoll. The bind() calls of a batch have one system call as well, so
their own times are not known; where bind() takes the port, the first of each batch gets a system call of its own, whose
time is recorded.

The states of a slot are those of `lifecycle`. HELD: a poll is under way; READING: a read, after the poll reported data
or the end; CLOSING: closed, but a poll or a connect() under way keeps the socket until that is cancelled. To find it
the kernel searches one of 256 lists of the ring, newest first (io_poll_find(), io_uring/poll.c). That is why
connections are closed newest first, and why tables are not too large.

The cost of a batch depends little on its size: from some thirty attempts on it is cheaper than a system call for each
step, and for a single attempt several times dearer. There is no driver: connections are held, without a heartbeat.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN, ECANCELED, EIO, ENFILE, ENOBUFS, ENOMEM, ETIMEDOUT
from functools import partial
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLRDHUP, epoll
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import now_ns
from loadgen.errors import HostError
from loadgen.model import DIRECT_DESCRIPTORS_MAX, CloseMode
from loadgen.outcomes import Syscall, error_key
from loadgen.worker import round_trip, survived
from loadgen.worker.backoff import NO_PORT
from loadgen.worker.io_uring.abi import FIXED_FILES_MAX
from loadgen.worker.io_uring.ring import Ring
from loadgen.worker.io_uring.submissions import KIND_SHIFT, SLOT_MASK, Kind, Slots, Sqes, Submissions
from loadgen.worker.latencies import BATCH_MAX
from loadgen.worker.lifecycle import TRANSITIONS, Lifecycle, State
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Settings
from loadgen.worker.strategies import TRIES, PortSetup

#: Attempts whose connect() is one system call: more cost less each, and blur the connect times.
CONNECTS_AT_ONCE: Final = 64
#: The largest batch, in which each attempt costs least.
BATCH: Final = BATCH_MAX
#: Submissions a ring takes at once: all those of a batch.
_ENTRIES: Final = 2048
#: Submit/collect rounds per wake-up before yielding to the event loop.
_ROUNDS: Final = 4
#: Events after which a held connection may be over; anything else is only data.
_GONE: Final = EPOLLRDHUP | EPOLLHUP | EPOLLERR
_SYSCALLS: Final = {Kind.SOCKET: Syscall.SOCKET, Kind.SETSOCKOPT: Syscall.SETSOCKOPT, Kind.BIND: Syscall.BIND}


Answers = NDArray[np.int32]


#: Indexed by the states before and after: True if one event leads from one to the other.
_LEGAL: Final = np.zeros((len(TRANSITIONS), len(TRANSITIONS)), dtype=bool)
for _before, _events in TRANSITIONS.items():
    _LEGAL[_before, list(_events.values())] = True


class _Table:
    """A ring and the slots it has, from `base` on."""

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self.ring = Ring(entries=_ENTRIES, slots=size)
        self.free = list(range(base + size - 1, base - 1, -1))  # taken from the end: the lowest first


class UringConnector:
    """All connections of one worker; their books are those of every engine, see `lifecycle`.

    settings: in `descriptors` the number of slots, for all connections that are open, on their way or prepared at
    once. setup: of the strategy, for the same pairs.

    Raises: HostError when this host allows no such ring or table; `ring.available()` tells before.
    """

    heartbeat: Final = None
    needs_loop: Final = False

    def __init__(self, settings: Settings, setup: PortSetup, recorder: Recorder) -> None:
        slots = settings.descriptors
        #: As getsockname() returns them: without the link of `fe80::1%eth0`.
        self._targets = [(target.address.partition("%")[0], target.port) for _, target in settings.pairs]
        self._setup, self._recorder = setup, recorder
        self._submissions = Submissions(setup, settings.pairs)
        self.lifecycle: Lifecycle[int] = Lifecycle(settings, recorder)
        self._self_connect = np.array(settings.self_connect, dtype=bool)
        self._any_self_connect = any(settings.self_connect)
        self._reset = settings.close is CloseMode.RST
        self._make_tables(slots)
        # Indexed by slot.
        self._state = np.zeros(slots, dtype=np.uint8)
        self._pair_of = np.zeros(slots, dtype=np.int32)
        self._port_of = np.zeros(slots, dtype=np.uint16)
        self._due_ns = np.zeros(slots, dtype=np.int64)
        self._started_ns = np.zeros(slots, dtype=np.int64)
        #: Ready for connect(), in order: slot, pair, port; or -1, pair, and the error's key.
        self._ready: list[tuple[int, int, int]] = []
        self._prepare_failed: dict[int, tuple[Kind, int]] = {}  # by slot: the first step that failed, and its errno
        self._tried: dict[int, list[int]] = {}  # by slot: ports that its attempt was denied
        self._withdrawn = 0
        self._denied: set[int] | None = None  # while a batch is opened: pairs that were denied a port in it
        self._gone: set[int] = set()  # slots whose poll reported the end, and which are being read
        self._closing: list[int] | None = None
        self._retried = 0
        self._failed_waits = 0
        self._handlers: dict[Kind, Callable[[_Table, Slots, Answers, int], None]] = {
            Kind.SOCKET: partial(self._prepared, Kind.SOCKET),
            Kind.SETSOCKOPT: partial(self._prepared, Kind.SETSOCKOPT),
            Kind.BIND: partial(self._prepared, Kind.BIND),
            Kind.CONNECT: self._answered,
            Kind.INSTALL: self._named,
            Kind.MEASURE: self._measured,
            Kind.RECV: self._received,
            Kind.POLL: self._woken,
        }

    def _make_tables(self, descriptors: int) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        size = min(DIRECT_DESCRIPTORS_MAX, FIXED_FILES_MAX, limit if limit > 0 else DIRECT_DESCRIPTORS_MAX)
        if -(-descriptors // size) > limit // 2 > 0:
            raise HostError(
                f"io_uring: {descriptors:,} connections need {-(-descriptors // size):,} tables of {size:,}, "
                f"each a descriptor; raise RLIMIT_NOFILE (ulimit -n), which is {limit:,}"
            )
        self._table_size = size
        self._epoll = epoll()  # before the tables, which are descriptors too: it is one of a wait, see `worker.wait`
        self._tables = [_Table(base, min(size, descriptors - base)) for base in range(0, descriptors, size)]
        self._table_of_fd = {table.ring.fileno(): table for table in self._tables}
        for fd in self._table_of_fd:
            self._epoll.register(fd, EPOLLIN)

    def fileno(self) -> int:
        """Return an epoll object that watches the rings, for an event loop to watch."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Close all rings, and with them every connection that is still open. The end of the process does the same."""
        self._epoll.close()
        for table in self._tables:
            table.ring.close()

    # --- The face of every connector ------------------------------------------------------------------

    def prepare(self, count: int, at_once: int) -> int:
        """Prepare attempts until `count` are ready for connect(), or as many as have a port, at most `at_once`.

        Returns: how many more are ready.
        """
        before = len(self._ready)
        taken = self._take(self.lifecycle.turns(min(count - before, at_once), now_ns()))
        for begin in range(0, len(taken), BATCH_MAX):
            self._prepare(taken[begin : begin + BATCH_MAX])
        return len(self._ready) - before

    def open_batch(self, due_ns: Sequence[int]) -> int:
        """Start one attempt for each due time (0: no schedule), in the order of the pairs.

        Everything that can go wrong with an attempt is counted in the recorder. The batch must not be larger than
        `lifecycle.room`, nor than BATCH_MAX. One denied attempt for each pair is counted; those that were submitted
        with it and were denied, too, were not started.

        Returns: number of attempts started; fewer than asked for when the other pairs have no ports left.
        """
        lifecycle = self.lifecycle
        self._denied, self._withdrawn = set(), 0
        self.prepare(len(due_ns), len(due_ns))
        slots, started = self._choose(due_ns)
        for begin in range(0, len(slots), CONNECTS_AT_ONCE):
            for table, here in self._by_table(slots[begin : begin + CONNECTS_AT_ONCE]):
                self._connect(table, here)
        if lifecycle.unanswered > len(lifecycle.waiting):
            late = slots[self._state[slots] == State.CONNECTING]
            lifecycle.waiting.update(zip(late.tolist(), self._started_ns[late].tolist(), strict=True))
        self._denied = None
        self._flush()
        lifecycle.watch_ports(now_ns())
        self._publish()
        return started - self._withdrawn

    def drain_events(self) -> None:
        """Handle what the kernel has to report, without waiting: answers to attempts, held connections lost."""
        try:
            events = self._epoll.poll(0, len(self._tables))
        except OSError as error:  # the event loop calls again
            self._failed_waits = survived.failed_wait(error, self._failed_waits)
            return
        if not events:
            return
        self._failed_waits = 0
        for fd, _ in events:
            table = self._table_of_fd[fd]
            for _ in range(_ROUNDS):
                table.ring.submit()
                if not self._collect(table):
                    break
        self._flush()
        self._publish()

    def expire(self, now: int) -> None:
        """Give up attempts that have waited longer than the scenario's timeout."""
        expired = self.lifecycle.expired_attempts(now)
        for slot in expired:
            self._fail(slot, Syscall.WAIT, ETIMEDOUT, waiting=True)
        if expired:
            self._flush()
            self._publish()

    def close_batch(self, count: int) -> bool:
        """Close up to `count` held connections, the newest first; return True while some are left."""
        if self._closing is None:
            self._closing = self._held().tolist()
        chosen: list[int] = []
        while self._closing and len(chosen) < count:
            slot = self._closing.pop()
            if self._state[slot] in (State.HELD, State.READING):
                chosen.append(slot)
        self.lifecycle.close([self._release_port(slot) for slot in chosen])
        self._end(np.array(chosen, dtype=np.int64), unpoll=True, reset=self._reset)
        self._flush()
        for table in self._tables:
            self._collect(table)
        left = bool(self._closing)
        if not left:
            self._closing = None
        self._publish()
        return left

    def give_up(self) -> None:
        """Count held connections as lost (`wait ETIMEDOUT`): the target should have closed them by now."""
        held = self._held()[::-1]
        for slot in held.tolist():
            self.lifecycle.lose(self._release_port(slot), error_key(Syscall.WAIT, ETIMEDOUT))
        self._end(held, unpoll=True)
        self._flush()

    def abandon(self) -> None:
        """Close prepared sockets and unanswered attempts. The latter stay counted as in flight."""
        self._give_back(self._ready)
        self._ready.clear()
        self._end(np.fromiter(self.lifecycle.waiting, dtype=np.int64), cancel=True)
        self.lifecycle.abandon()
        self._flush()

    def _publish(self) -> None:
        self._recorder.retried = self._retried
        self.lifecycle.publish()

    # --- Before connect() -----------------------------------------------------------------------------

    def _take(self, turns: Sequence[int]) -> list[tuple[int, int, int]]:
        """Return a slot, the pair and a port for each turn; port 0 where the kernel chooses, or none is free."""
        taken: list[tuple[int, int, int]] = []
        rings, port = self._setup.rings, 0
        empty: set[int] = set()
        tables = iter(self._tables)
        free = next(tables).free
        for pair in turns:
            while not free and (table := next(tables, None)) is not None:
                free = table.free
            if not free:
                self._ready.append((-1, pair, error_key(Syscall.SOCKET, ENFILE)))
                continue
            if rings:
                port = rings[pair].allocate()
                if not port:
                    if pair in empty:  # one search of a full range is enough to know
                        continue
                    empty.add(pair)
            taken.append((free.pop(), pair, port))
        return taken

    def _prepare(self, taken: Sequence[tuple[int, int, int]]) -> None:
        """Do everything before connect(), for at most BATCH_MAX."""
        slots, pairs, ports = (np.array(column) for column in zip(*taken, strict=True))
        self._move(slots, State.PREPARING)
        self._pair_of[slots], self._port_of[slots] = pairs, ports
        for table, here in self._by_table(slots):
            ring = table.ring
            steps = self._submissions.prepare(here, table.base, self._pair_of[here], self._port_of[here])
            if self._setup.binds_port:
                steps = self._timing_one_bind(table, here[0], steps)
            for sqes in steps:
                ring.push(sqes)
            ring.submit()
            while True:
                self._collect(table)
                if not np.count_nonzero(self._state[here] == State.PREPARING):
                    break
                ring.submit(wait=1)  # something could not be done at once, or another port is asked for
        if self._prepare_failed or self._tried:
            self._sort_out([slot for slot, _, _ in taken])
        else:
            self._ready.extend(taken)

    def _timing_one_bind(self, table: _Table, slot: int, steps: Iterator[Sqes]) -> Iterator[Sqes]:
        """Yield these steps, after bind() of this slot, the first of them, was done by a system call of its own."""
        *before, binds = steps
        yield from before
        table.ring.submit()
        self._collect(table)  # a socket that could not be made has no bind() to time
        table.ring.push(binds[:1])
        begun_ns = now_ns()
        table.ring.submit()  # bind() never waits, so it is done when this returns (io_bind(), io_uring/net.c)
        if slot not in self._prepare_failed:
            self._recorder.record_bind(now_ns() - begun_ns)
        yield binds[1:]

    def _prepared(self, kind: Kind, table: _Table, slots: Slots, answers: Answers, _: int) -> None:
        """Handle a step before connect() that has failed, or the last one, which completes in any case."""
        if kind is self._submissions.last:
            self._move(slots, State.READY)
        bad = answers < 0
        for slot, answer in zip(slots[bad].tolist(), answers[bad].tolist(), strict=True):
            if slot in self._prepare_failed:  # the steps behind one that failed fail, too
                continue
            if not (kind is Kind.BIND and self._bind_another(table, slot, -answer)):
                self._prepare_failed[slot] = (kind, -answer)

    def _bind_another(self, table: _Table, slot: int, number: int) -> bool:
        """Ask for another port after bind() failed; return False if there is none to ask for."""
        port, pair = int(self._port_of[slot]), int(self._pair_of[slot])
        if not (port and self._setup.names_port):
            return False
        following = self._another(slot, pair, port) if number == EADDRINUSE else 0
        if not following:
            return False
        one = np.array([slot])
        self._move(one, State.PREPARING)
        table.ring.push(self._submissions.bind(one, table.base, np.array([pair]), np.array([following])))
        table.ring.submit()  # the address is in memory that the next such step uses, too
        return True

    def _another(self, slot: int, pair: int, port: int) -> int:
        """Note that this port was denied; return the one to try after it, or 0."""
        tried = self._tried.setdefault(slot, [])
        tried.append(port)
        following = self._setup.rings[pair].another() if len(tried) < TRIES else 0
        if following:
            self._port_of[slot] = following
            self._retried += 1
        return following

    def _sort_out(self, slots: Sequence[int]) -> None:
        """Queue these for connect(), some of which have tried several ports or have failed."""
        denied: set[int] = set()
        for slot in slots:
            pair, port = int(self._pair_of[slot]), int(self._port_of[slot])
            tried = self._tried.pop(slot, [])
            if tried:
                self._setup.rings[pair].denied(tried)
            kind, number = self._prepare_failed.pop(slot, (Kind.QUIET, 0))
            if not number:
                self._ready.append((slot, pair, port))
                continue
            if port and port not in tried:
                self._setup.rings[pair].unused(port)
            self._end(np.array([slot]))
            key = error_key(_SYSCALLS[kind], number)
            if key in NO_PORT:
                if pair in denied:  # not counted: one denial for each pair and batch
                    continue
                denied.add(pair)
            self._ready.append((-1, pair, key))

    def _give_back(self, needless: Sequence[tuple[int, int, int]]) -> None:
        """Close what was prepared and is not needed: nothing was attempted, so nothing is counted.

        Each port goes to the head of its queue, the last taken first, so the queue keeps its order.
        """
        for slot, pair, port in reversed(needless):
            if slot >= 0:
                self._end(np.array([slot]))
                if port:
                    self._setup.rings[pair].unused(port)

    # --- connect() ------------------------------------------------------------------------------------

    def _choose(self, due_ns: Sequence[int]) -> tuple[Slots, int]:
        """Start attempts; return the slots to connect now, and the number started with those that have failed."""
        lifecycle, backoff, begun_ns = self.lifecycle, self.lifecycle.backoff, now_ns()
        slots: list[int] = []
        dues: list[int] = []
        asked: set[int] = set()
        needless: list[tuple[int, int, int]] = []
        started = taken = 0
        for slot, pair, port in self._ready:
            if started == len(due_ns):
                break
            taken += 1
            if backoff.active and (pair in asked or not backoff.may_try(pair, begun_ns)):
                needless.append((slot, pair, port))
                continue
            if backoff.active and backoff.probing(pair):
                asked.add(pair)
            if slot < 0:
                lifecycle.start()
                lifecycle.fail(pair, port, now_ns())
            else:
                slots.append(slot)
                dues.append(due_ns[started])
            started += 1
        del self._ready[:taken]  # more may have been prepared than are due now
        self._give_back(needless)
        lifecycle.start(len(slots))
        chosen = np.array(slots, dtype=np.int64)
        self._due_ns[chosen] = dues
        return chosen, started

    def _connect(self, table: _Table, slots: Slots) -> None:
        """Connect these and take the answers that come at once."""
        ring = table.ring
        self._move(slots, State.CONNECTING)
        ring.push(self._submissions.connect(slots, table.base, self._pair_of[slots]))
        self._started_ns[slots] = now_ns()
        ring.submit()
        for _ in range(_ROUNDS):
            if not self._collect(table) or not np.count_nonzero(self._state[slots] == State.CONNECTING):
                break
            ring.submit()

    def _answered(self, table: _Table, slots: Slots, answers: Answers, now: int) -> None:
        """Handle answers of connect(): hold the connection, or try another port, or count why there is none."""
        waited_for = self._state[slots] == State.CONNECTING
        if np.count_nonzero(waited_for) < len(slots):
            self._release(table, slots[~waited_for])
            slots, answers = slots[waited_for], answers[waited_for]
        good, bad = answers == 0, answers < 0
        connected = slots[good]
        if self._any_self_connect:
            connected = self._not_self_connected(table, connected)
        self._established(table, connected, now)
        for slot, answer in zip(slots[bad].tolist(), answers[bad].tolist(), strict=True):
            self._refused(table, slot, -answer)

    def _not_self_connected(self, table: _Table, slots: Slots) -> Slots:
        """Return those that cannot have met themselves; check the port or the name of the rest."""
        doubtful = self._self_connect[self._pair_of[slots]]
        for slot in slots[doubtful].tolist():
            port = int(self._port_of[slot])
            one = np.array([slot])
            if not port:
                table.ring.push(self._submissions.install(one, table.base))
            elif port == self._targets[self._pair_of[slot]][1]:
                self._fail(slot, Syscall.GETSOCKNAME, 0, reset=True)
            else:
                self._established(table, one, now_ns())
        rest: Slots = slots[~doubtful]
        return rest

    def _named(self, table: _Table, slots: Slots, answers: Answers, now: int) -> None:
        """Check the names of connections that are descriptors of the process for a moment, for getsockname()."""
        for slot, answer in zip(slots.tolist(), answers.tolist(), strict=True):
            name = None
            if answer >= 0:
                name, answer = _name_of(answer)
            if self._state[slot] != State.CONNECTING:
                self._release(table, np.array([slot]))
            elif name is None:
                self._fail(slot, Syscall.GETSOCKNAME, -answer)
            elif name == self._targets[self._pair_of[slot]]:
                # Reset: its TIME-WAIT would keep the very port it met.
                self._fail(slot, Syscall.GETSOCKNAME, 0, reset=True)
            else:
                self._established(table, np.array([slot]), now)

    def _established(self, table: _Table, slots: Slots, now: int) -> None:
        """Count these as established, and watch them from now on."""
        if not len(slots):
            return
        recorder, lifecycle, pairs = self._recorder, self.lifecycle, self._pair_of[slots].tolist()
        started_ns, due_ns = self._started_ns[slots], self._due_ns[slots]
        scheduled = bool(due_ns[-1])
        lateness, connect, arrival, at = recorder.begin_batch(len(slots))
        end = at + len(slots)
        np.frombuffer(connect, dtype=np.int64)[at:end] = now - started_ns
        if scheduled:
            np.frombuffer(lateness, dtype=np.int64)[at:end] = started_ns - due_ns
            np.frombuffer(arrival, dtype=np.int64)[at:end] = now - due_ns
        recorder.mark(len(slots), now)
        lifecycle.end_batch(0, len(slots), end, now, scheduled=scheduled)
        if recorder.established >= recorder.next_network:
            recorder.next_network = recorder.established + round_trip.EVERY
            table.ring.push(self._submissions.measure(slots[-1:], table.base))
        for pair, began_ns in zip(pairs, started_ns.tolist(), strict=True):
            recorder.pair_established[pair] += 1
            recorder.pair_opened_ns[pair] = max(began_ns, recorder.pair_opened_ns[pair])
        if lifecycle.backoff.active:
            for pair in pairs:
                lifecycle.backoff.granted(pair)
        if self._tried:
            for slot in slots.tolist():
                if tried := self._tried.pop(slot, None):
                    self._setup.rings[self._pair_of[slot]].denied(tried)
        if lifecycle.waiting:
            for slot in slots.tolist():
                lifecycle.waiting.pop(slot, None)
        self._hold(table, slots)

    def _measured(self, _: _Table, __: Slots, answers: Answers, ___: int) -> None:
        """Ask for the round trips of connections that are descriptors of the process for a moment."""
        for answer in answers.tolist():
            if answer < 0:
                survived.add("io_uring_enter", OSError(-answer, "FIXED_FD_INSTALL"))
                continue
            sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, answer)  # named, so that it does not ask
            round_trip.measure(sock, self._recorder.record_network)
            survived.close(sock)

    def _refused(self, table: _Table, slot: int, number: int) -> None:
        """Handle a connect() that failed: when the port was taken the attempt goes on with others."""
        pair, port = int(self._pair_of[slot]), int(self._port_of[slot])
        if number == ECANCELED and slot in self._tried:  # a step before it failed: no other port to be had
            self._tried[slot].append(port)
            number = EADDRNOTAVAIL
        elif number == EADDRNOTAVAIL and port and (following := self._another(slot, pair, port)):
            one = np.array([slot])
            chain = list(self._submissions.again(one, table.base, np.array([pair]), np.array([following])))
            table.ring.push(np.concatenate(chain))  # at once, because a chain ends with its submission
            table.ring.submit()
            return
        self._fail(slot, Syscall.CONNECT, number)

    def _fail(self, slot: int, syscall: Syscall, number: int, *, waiting: bool = False, reset: bool = False) -> None:
        """Count an attempt that ended without a connection. waiting: its connect() is still under way."""
        pair, port = int(self._pair_of[slot]), int(self._port_of[slot])
        if number == ETIMEDOUT and slot in self.lifecycle.waiting:
            self.lifecycle.give_up(pair, slot)
        self.lifecycle.waiting.pop(slot, None)
        tried = self._tried.pop(slot, [])
        if tried:
            self._setup.rings[pair].denied(tried)
        if port and port not in tried:
            self._setup.rings[pair].release(port)
        self._end(np.array([slot]), cancel=waiting, reset=reset)
        if number in (ENOBUFS, ENOMEM):
            self.lifecycle.shed()
        key = error_key(syscall, number)
        if key in NO_PORT and self._denied is not None:
            if pair in self._denied:
                self.lifecycle.withdraw()
                self._withdrawn += 1
                return
            self._denied.add(pair)
        self.lifecycle.fail(pair, key, now_ns())

    # --- Held connections -----------------------------------------------------------------------------

    def _held(self) -> Slots:
        return np.flatnonzero((self._state == State.HELD) | (self._state == State.READING))

    def _hold(self, table: _Table, slots: Slots) -> None:
        self._move(slots, State.HELD)
        table.ring.push(self._submissions.poll(slots, table.base))

    def _woken(self, table: _Table, slots: Slots, answers: Answers, _: int) -> None:
        """Read held connections that have data or are over, which tells. Free the others: their poll is cancelled."""
        held = self._state[slots] == State.HELD
        self._release(table, slots[~held])
        for slot, answer in zip(slots[held].tolist(), answers[held].tolist(), strict=True):
            if answer < 0:  # it cannot be watched
                self._lose(slot, error_key(Syscall.REGISTER, -answer))
            elif answer & _GONE:
                self._gone.add(slot)
        reading = slots[held & (answers >= 0)]
        self._move(reading, State.READING)
        table.ring.push(self._submissions.receive(reading, table.base))

    def _received(self, table: _Table, slots: Slots, answers: Answers, _: int) -> None:
        """Go on holding connections that had data, which is thrown away; count the others as lost, with the reason."""
        alive: list[int] = []
        for slot, answer in zip(slots.tolist(), answers.tolist(), strict=True):
            gone = slot in self._gone
            self._gone.discard(slot)
            if self._state[slot] != State.READING:
                self._release(table, np.array([slot]))
            elif answer > 0 or (answer == -EAGAIN and not gone):
                alive.append(slot)
            elif self.lifecycle.ending and answer in (0, -EAGAIN):
                self.lifecycle.close((self._release_port(slot),))
                self._end(np.array([slot]))
            else:
                self._lose(slot, error_key(Syscall.RECV, 0 if answer == -EAGAIN else -answer))
        if alive:
            self._hold(table, np.array(alive))

    def _lose(self, slot: int, key: int) -> None:
        """Close a connection whose end was not planned; nothing is under way on it."""
        self.lifecycle.lose(self._release_port(slot), key)
        self._end(np.array([slot]))

    def _release_port(self, slot: int) -> int:
        """Give the port of a connection back, if loadgen chose it; return its pair."""
        pair = int(self._pair_of[slot])
        if self._setup.rings and (port := int(self._port_of[slot])):
            self._setup.rings[pair].release(port)
        return pair

    # --- Slots ----------------------------------------------------------------------------------------

    def _by_table(self, slots: Slots) -> Iterator[tuple[_Table, Slots]]:
        """Yield these slots in parts of at most BATCH_MAX, each with its table."""
        for begin in range(0, len(slots), BATCH_MAX):
            part = slots[begin : begin + BATCH_MAX]
            numbers = part // self._table_size
            if not np.count_nonzero(numbers != numbers[0]):
                yield self._tables[int(numbers[0])], part
                continue
            for number in np.unique(numbers).tolist():
                yield self._tables[number], part[numbers == number]

    def _end(self, slots: Slots, *, unpoll: bool = False, cancel: bool = False, reset: bool = False) -> None:
        """Close these. Where a poll or a connect() is under way the slot is free when that has ended, else at once."""
        for table, here in self._by_table(slots):
            push, base = table.ring.push, table.base
            if reset:
                push(self._submissions.linger(here, base))
            if unpoll:
                push(self._submissions.unpoll(here, base))
            if cancel:
                push(self._submissions.cancel(here, base))
            push(self._submissions.close(here, base))
            if unpoll or cancel:
                self._move(here, State.CLOSING)
            else:
                self._release(table, here)

    def _release(self, table: _Table, slots: Slots) -> None:
        """Free slots that have nothing under way. The next use of such a slot is submitted after its close."""
        self._move(slots, State.FREE)
        table.free.extend(slots.tolist())

    def _move(self, slots: Slots, state: int) -> None:
        """Change the state of slots; a change that the table of transitions does not have is a bug."""
        legal = _LEGAL[:, state][self._state[slots]]
        if np.count_nonzero(legal) < len(slots):
            wrong = slots[~legal]
            raise AssertionError(f"slots {wrong} go from states {self._state[wrong]} to {state}")
        self._state[slots] = state

    def _flush(self) -> None:
        """Submit what is queued."""
        for table in self._tables:
            if table.ring.queued:
                table.ring.submit()

    def _collect(self, table: _Table) -> int:
        """Handle all completions; return their number."""
        cqes = table.ring.completions()
        count = len(cqes)
        if not count:
            return 0
        now = now_ns()
        user_data, answers = cqes["user_data"].view(np.int64), cqes["res"]
        kinds, slots = user_data >> KIND_SHIFT, user_data & SLOT_MASK
        for kind in sorted(set(kinds.tolist())):
            handle = self._handlers.get(kind)
            if handle is None:  # Kind.QUIET
                continue
            chosen = kinds == kind
            these, their_answers = slots[chosen], answers[chosen]
            for begin in range(0, len(these), BATCH_MAX):
                part = slice(begin, begin + BATCH_MAX)
                handle(table, these[part], their_answers[part], now)
        return count


def _name_of(fd: int) -> tuple[tuple[str, int] | None, int]:
    """Return the address and port of a connection and 0, or None and the negated errno; closes `fd`."""
    sock = None
    try:
        sock = socket.socket(fileno=fd)  # asks for family, type and protocol
        address, port = sock.getsockname()[:2]
    except OSError as error:
        return None, -(error.errno or EIO)
    finally:
        if sock:
            survived.close(sock)
        else:
            os.close(fd)
    return (address, port), 0
