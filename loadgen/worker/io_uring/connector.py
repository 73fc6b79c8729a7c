"""The data plane on io_uring(7): the connections of `loadgen.worker.epoll.connector` without a descriptor for each.

A connection is a slot: a place in the table of one of some rings, and a row in arrays of numbers here. So one
process holds more connections than it may have descriptors, and all steps of a batch go to the kernel
in three system calls: everything before connect(); connect(); and watching what was established.

How instants are taken. connect() of a batch is one system call, and its answers come together: `started` is
read just before that call and `established` when the answers are in. So a connect time is never
shorter than it was, but on a fast path longer by what the CONNECTS_AT_ONCE connections sent with it
cost (one to two milliseconds). An answer that takes longer than that is timed as by epoll, when it comes.

How a slot lives: FREE; MAKING, until all but connect() is done; READY; UNANSWERED; HELD, with a poll under
way; READING, after the poll told of data or of the end; ENDING, when it is closed but a poll or a connect()
under way keeps the socket, until that is cancelled. To find it the kernel searches one of 256 lists of the
ring, newest first (io_poll_find(), io_uring/poll.c). That is why connections are closed newest first, and
why tables are not too large.

What a batch costs is mostly the same however small it is: from some thirty attempts on this is cheaper than a
call for each step, and for a single one it is several times dearer. It has no heartbeat and no churn.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN, ECANCELED, ENFILE, ENOBUFS, ENOMEM, ETIMEDOUT
from functools import partial
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLRDHUP, epoll
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import now_ns
from loadgen.errors import HostError
from loadgen.model import DIRECT_DESCRIPTORS_MAX, CloseMode, Endpoint
from loadgen.outcomes import Syscall, error_key
from loadgen.worker.backoff import Exhaustion
from loadgen.worker.io_uring.abi import FIXED_FILES_MAX
from loadgen.worker.io_uring.ring import Ring
from loadgen.worker.io_uring.submissions import KIND_SHIFT, SLOT_MASK, Kind, Slots, Steps
from loadgen.worker.recorder import BATCH_MAX, Recorder
from loadgen.worker.socket_pool import DENIALS
from loadgen.worker.strategies import TRIES, PortSetup

#: Attempts whose connect() is one system call: more cost less each, and blur the connect times.
CONNECTS_AT_ONCE: Final = 64
#: The largest batch, in which each attempt costs least.
BATCH: Final = BATCH_MAX
#: Submissions a ring takes at once: all steps of a batch.
_ENTRIES: Final = 2048
#: How often to look for what follows from what came in, before others have their turn.
_PASSES: Final = 4
#: Why a held connection may be over; anything else is only data.
_GONE: Final = EPOLLRDHUP | EPOLLHUP | EPOLLERR
_SYSCALLS: Final = {Kind.SOCKET: Syscall.SOCKET, Kind.SETSOCKOPT: Syscall.SETSOCKOPT, Kind.BIND: Syscall.BIND}


Answers = NDArray[np.int32]


class State:
    """Of a slot; see above. Plain numbers, because numpy takes long to look through an enumeration."""

    FREE: Final = 0
    MAKING: Final = 1
    READY: Final = 2
    UNANSWERED: Final = 3
    HELD: Final = 4
    READING: Final = 5
    ENDING: Final = 6


class _Table:
    """A ring and the slots it has, from `base` on."""

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self.ring = Ring(entries=_ENTRIES, slots=size)
        self.free = list(range(base + size - 1, base - 1, -1))  # taken from the end: the lowest first


class UringConnector:
    """All connections of one worker; the face and the books are those of `loadgen.worker.epoll.connector.Connector`.

    pairs: (source, target) of every four-tuple space, in the order the recorder counts them.
    choice: of source ports, for the same pairs.
    first_pair: where the round robin over the pairs begins. order: another order of the pairs instead, without end.
    self_connect: for each pair, whether a connection could meet itself and must be checked.
    in_flight_max: attempts that may wait for an answer at once.
    descriptors: direct descriptors, as many as are held and in flight at once; sizes tables and arrays.
    exhausted: what is known of pairs without a free port; left out: nothing, and none will come back.

    Raises: HostError when this host allows no such ring or table; `ring.available()` tells before.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, Endpoint]],
        choice: PortSetup,
        recorder: Recorder,
        *,
        first_pair: int,
        self_connect: Sequence[bool],
        close: CloseMode,
        timeout_s: float,
        in_flight_max: int,
        descriptors: int,
        exhausted: Exhaustion | None = None,
        order: Iterator[int] | None = None,
    ) -> None:
        #: As getsockname() calls them: without the link of `fe80::1%eth0`.
        self._targets = [(target.address.partition("%")[0], target.port) for _, target in pairs]
        self._choice, self._recorder = choice, recorder
        self._steps = Steps(choice, pairs)
        self._self_connect = np.array(self_connect, dtype=bool)
        self._meets_itself = any(self_connect)
        self._reset = close is CloseMode.RST
        self._timeout_ns = int(timeout_s * 1e9)
        self._in_flight_max = in_flight_max
        self._exhausted = exhausted or Exhaustion(len(pairs))
        self._order = order
        self._next_pair = first_pair if order is None else next(order)
        self._make_tables(descriptors)
        # Indexed by slot.
        self._state = np.zeros(descriptors, dtype=np.uint8)
        self._pair_of = np.zeros(descriptors, dtype=np.int32)
        self._port_of = np.zeros(descriptors, dtype=np.uint16)
        self._due_ns = np.zeros(descriptors, dtype=np.int64)
        self._started_ns = np.zeros(descriptors, dtype=np.int64)
        #: What is ready for connect(), in order: slot, pair; or -1, pair, and the error's key.
        self._ready: list[tuple[int, int, int]] = []
        self._trouble: dict[int, tuple[Kind, int]] = {}  # of those: the first step that failed, and its errno
        self._tried: dict[int, list[int]] = {}  # by slot: ports that its attempt was denied
        self._unanswered = self._abandoned = self._withdrawn = 0
        self._late: dict[int, None] = {}  # slots that were not answered at once, oldest first
        self._denied: set[int] | None = None  # while a batch is opened: pairs that were denied a port in it
        self._gone: set[int] = set()  # slots whose poll told of the end, and which are read now
        self._closing: list[int] | None = None
        self._denied_since: tuple[int, int] | None = None
        self._retried = 0
        self._ending = False
        self._handlers: dict[Kind, Callable[[_Table, Slots, Answers, int], None]] = {
            Kind.SOCKET: partial(self._made, Kind.SOCKET),
            Kind.SETSOCKOPT: partial(self._made, Kind.SETSOCKOPT),
            Kind.BIND: partial(self._made, Kind.BIND),
            Kind.CONNECT: self._answered,
            Kind.INSTALL: self._named,
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
        self._tables = [_Table(base, min(size, descriptors - base)) for base in range(0, descriptors, size)]
        self._epoll = epoll()
        self._table_of_fd = {table.ring.fileno(): table for table in self._tables}
        for fd in self._table_of_fd:
            self._epoll.register(fd, EPOLLIN)

    def fileno(self) -> int:
        """An epoll object that watches the rings, for an event loop to watch."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Give up all rings, and with them whatever is still open. The end of the process does the same."""
        self._epoll.close()
        for table in self._tables:
            table.ring.close()

    # --- what the worker asks ---------------------------------------------------------------------

    @property
    def _in_flight(self) -> int:
        return self._unanswered + self._abandoned

    @property
    def room(self) -> int:
        """How many more attempts may be started before some are answered."""
        return self._in_flight_max - self._unanswered

    @property
    def spent(self) -> bool:
        """Whether no pair has a port left, by the kernel's own repeated word."""
        return self._exhausted.spent

    @property
    def idle(self) -> bool:
        """Whether every attempt is answered."""
        return not self._in_flight

    def rest_ns(self) -> int:
        """The instant before which no pair is worth another attempt; 0: some pair is, now."""
        if not self._exhausted.active:
            return 0
        until = self._exhausted.next_try_ns()
        return until if until > now_ns() else 0

    def prepare(self, count: int) -> None:
        """See to it that `count` attempts are ready for connect(), or as many as have a port."""
        count -= len(self._ready)
        taken = self._take(self._turns(count)) if count > 0 else []
        for begin in range(0, len(taken), BATCH_MAX):
            self._make(taken[begin : begin + BATCH_MAX])

    def open_batch(self, due_ns: Sequence[int]) -> int:
        """Start one attempt for each due time (0: no schedule), round robin over the pairs.

        Everything that can go wrong with an attempt is counted in the recorder. The caller sees to
        it that the batch is not larger than `room`, nor than BATCH_MAX. One denied attempt for each pair is
        counted; those that were submitted with it and were denied, too, were not started.

        Returns: how many were started; fewer than asked for when the other pairs have no ports left.
        """
        recorder = self._recorder
        self._denied, self._withdrawn = set(), 0
        self.prepare(len(due_ns))
        slots, started = self._choose(due_ns)
        recorder.started += started
        for begin in range(0, len(slots), CONNECTS_AT_ONCE):
            for table, here in self._by_table(slots[begin : begin + CONNECTS_AT_ONCE]):
                self._connect(table, here)
        if self._unanswered > len(self._late):
            self._late.update(dict.fromkeys(slots[self._state[slots] == State.UNANSWERED].tolist()))
        self._denied = None
        self._flush()
        if not recorder.first_denied_ns:
            self._watch_for_exhaustion()
        recorder.in_flight = self._in_flight
        recorder.retried = self._retried
        recorder.publish()
        return started - self._withdrawn

    def drain_events(self) -> None:
        """Take what the kernel has to say, without waiting: answers to attempts, held connections lost."""
        events = self._epoll.poll(0, len(self._tables))
        if not events:
            return
        for fd, _ in events:
            table = self._table_of_fd[fd]
            for _ in range(_PASSES):  # what came in, then what reading it says; the rest wakes us again
                table.ring.submit()
                if not self._collect(table):
                    break
        self._flush()
        self._recorder.in_flight = self._in_flight
        self._recorder.retried = self._retried
        self._recorder.publish()

    def expire(self, now: int) -> None:
        """Give up attempts that have waited longer than the scenario's timeout (oldest are first)."""
        expired = []
        for slot in self._late:
            if now - int(self._started_ns[slot]) < self._timeout_ns:
                break
            expired.append(slot)
        for slot in expired:
            self._failed(slot, Syscall.WAIT, ETIMEDOUT, waiting=True)
        if expired:
            self._flush()
            self._recorder.in_flight = self._in_flight
            self._recorder.publish()

    def close_batch(self, count: int) -> bool:
        """Close up to `count` held connections, the newest first; True while some are left."""
        if self._closing is None:
            self._closing = self._held().tolist()
        chosen: list[int] = []
        while self._closing and len(chosen) < count:
            slot = self._closing.pop()
            if self._state[slot] in (State.HELD, State.READING):
                self._recorder.record_closed(self._forget(slot))
                chosen.append(slot)
        self._end(np.array(chosen, dtype=np.int64), unpoll=True, reset=self._reset)
        self._flush()
        for table in self._tables:
            self._collect(table)
        left = bool(self._closing)
        if not left:
            self._closing = None
        self._recorder.publish()
        return left

    def expect_end(self) -> None:
        """From now on a held connection that the other side closes has ended as planned."""
        self._ending = True

    def give_up(self) -> None:
        """Held connections that the other side should have closed by now: lost, for want of an answer."""
        held = self._held()
        for slot in reversed(held.tolist()):
            self._recorder.record_lost(self._forget(slot), error_key(Syscall.WAIT, ETIMEDOUT))
        self._end(held[::-1], unpoll=True)
        self._flush()

    def abandon(self) -> None:
        """Close what has not become a connection: sockets made ready, and attempts still unanswered.

        The latter stay counted as in flight; nobody knows better.
        """
        self._give_back(self._ready)
        self._ready.clear()
        self._end(np.fromiter(self._late, dtype=np.int64), cancel=True)
        self._abandoned += self._unanswered
        self._unanswered = 0
        self._late.clear()
        self._flush()

    # --- before connect() -------------------------------------------------------------------------

    def _turns(self, count: int) -> list[int]:
        """The next pairs that may be tried, in turn; one that was denied last only once."""
        pair, pairs, exhausted, order = self._next_pair, len(self._targets), self._exhausted, self._order
        if not exhausted.active and order is None:
            self._next_pair = (pair + count) % pairs
            return [(pair + n) % pairs for n in range(count)]
        turns: list[int] = []
        asked: set[int] = set()
        now = now_ns()
        for _ in range(count):
            if exhausted.active:
                for _ in range(pairs):
                    if pair not in asked and exhausted.may_try(pair, now):
                        break
                    pair = (pair + 1) % pairs
                else:
                    break
                if exhausted.doubtful(pair):
                    asked.add(pair)
            turns.append(pair)
            pair = (pair + 1) % pairs if order is None else next(order)
        self._next_pair = pair
        return turns

    def _take(self, turns: Sequence[int]) -> list[tuple[int, int, int]]:
        """A slot, the pair and a port for each turn; port 0 where the kernel chooses, or none is free."""
        taken: list[tuple[int, int, int]] = []
        rings, port = self._choice.rings, 0
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

    def _make(self, taken: Sequence[tuple[int, int, int]]) -> None:
        """Everything before connect(), for at most BATCH_MAX."""
        slots, pairs, ports = (np.array(column) for column in zip(*taken, strict=True))
        self._state[slots] = State.MAKING
        self._pair_of[slots], self._port_of[slots] = pairs, ports
        for table, here in self._by_table(slots):
            ring = table.ring
            for sqes in self._steps.prepare(here, table.base, self._pair_of[here], self._port_of[here]):
                ring.push(sqes)
            ring.submit()
            while True:
                self._collect(table)
                if not np.count_nonzero(self._state[here] == State.MAKING):
                    break
                ring.submit(wait=1)  # something could not be done at once, or another port is asked for
        if self._trouble or self._tried:
            self._sort_out([slot for slot, _, _ in taken])
        else:
            self._ready.extend(taken)

    def _made(self, kind: Kind, table: _Table, slots: Slots, answers: Answers, _: int) -> None:
        """A step before connect() has failed, or it was the last one, which says so in any case."""
        if kind is self._steps.last:
            self._state[slots] = State.READY
        bad = answers < 0
        for slot, answer in zip(slots[bad].tolist(), answers[bad].tolist(), strict=True):
            if slot in self._trouble:  # the steps behind one that failed fail, too
                continue
            if not (kind is Kind.BIND and self._bind_another(table, slot, -answer)):
                self._trouble[slot] = (kind, -answer)

    def _bind_another(self, table: _Table, slot: int, number: int) -> bool:
        """bind() failed: whether there is another port to ask for, and if so ask."""
        port, pair = int(self._port_of[slot]), int(self._pair_of[slot])
        if not (port and self._choice.names_port):
            return False
        following = self._another(slot, pair, port) if number == EADDRINUSE else 0
        if not following:
            return False
        self._state[slot] = State.MAKING
        one = np.array([slot])
        table.ring.push(self._steps.bind(one, table.base, np.array([pair]), np.array([following])))
        table.ring.submit()  # the address is in memory that the next such step uses, too
        return True

    def _another(self, slot: int, pair: int, port: int) -> int:
        """Note that this port was denied; the one to try after it, or 0."""
        tried = self._tried.setdefault(slot, [])
        tried.append(port)
        following = self._choice.rings[pair].another() if len(tried) < TRIES else 0
        if following:
            self._port_of[slot] = following
            self._retried += 1
        return following

    def _sort_out(self, slots: Sequence[int]) -> None:
        """Some of these did not get ready at once, or not at all."""
        denied: set[int] = set()
        for slot in slots:
            pair, port = int(self._pair_of[slot]), int(self._port_of[slot])
            tried = self._tried.pop(slot, [])
            if tried:
                self._choice.rings[pair].denied(tried)
            kind, number = self._trouble.pop(slot, (Kind.QUIET, 0))
            if not number:
                self._ready.append((slot, pair, port))
                continue
            if port and port not in tried:
                self._choice.rings[pair].unused(port)
            self._end(np.array([slot]))
            key = error_key(_SYSCALLS[kind], number)
            if key in DENIALS:
                if pair in denied:  # not counted: one denial for each pair and batch
                    continue
                denied.add(pair)
            self._ready.append((-1, pair, key))

    def _give_back(self, needless: Sequence[tuple[int, int, int]]) -> None:
        """Give up what was made ready: nothing was attempted, so nothing is counted.

        Each port goes to the head of its queue, the last taken first, so the order stays that in which they rested.
        """
        for slot, pair, port in reversed(needless):
            if slot >= 0:
                self._end(np.array([slot]))
                if port:
                    self._choice.rings[pair].unused(port)

    # --- connect() --------------------------------------------------------------------------------

    def _choose(self, due_ns: Sequence[int]) -> tuple[Slots, int]:
        """The slots to connect now, and how many attempts they are with those that have failed already."""
        exhausted, begun_ns = self._exhausted, now_ns()
        slots: list[int] = []
        dues: list[int] = []
        asked: set[int] = set()
        needless: list[tuple[int, int, int]] = []
        started = taken = 0
        for slot, pair, port in self._ready:
            if started == len(due_ns):
                break
            taken += 1
            if exhausted.active and (pair in asked or not exhausted.may_try(pair, begun_ns)):
                needless.append((slot, pair, port))
                continue
            if exhausted.active and exhausted.doubtful(pair):
                asked.add(pair)
            if slot < 0:
                self._count_failure(pair, port)
            else:
                slots.append(slot)
                dues.append(due_ns[started])
            started += 1
        del self._ready[:taken]  # more may have been made ready than are due now
        self._give_back(needless)
        chosen = np.array(slots, dtype=np.int64)
        self._due_ns[chosen] = dues
        return chosen, started

    def _connect(self, table: _Table, slots: Slots) -> None:
        """connect() these and take the answers that come at once."""
        ring = table.ring
        self._state[slots] = State.UNANSWERED
        self._unanswered += len(slots)
        ring.push(self._steps.connect(slots, table.base, self._pair_of[slots]))
        self._started_ns[slots] = now_ns()
        ring.submit()
        for _ in range(_PASSES):
            if not self._collect(table) or not np.count_nonzero(self._state[slots] == State.UNANSWERED):
                break
            ring.submit()

    def _answered(self, table: _Table, slots: Slots, answers: Answers, now: int) -> None:
        """connect() is answered: hold the connection, or try another port, or count why there is none."""
        waited_for = self._state[slots] == State.UNANSWERED
        if np.count_nonzero(waited_for) < len(slots):
            self._release(table, slots[~waited_for])
            slots, answers = slots[waited_for], answers[waited_for]
        good, bad = answers == 0, answers < 0
        connected = slots[good]
        if self._meets_itself:
            connected = self._others(table, connected)
        self._established(table, connected, now)
        for slot, answer in zip(slots[bad].tolist(), answers[bad].tolist(), strict=True):
            self._refused(table, slot, -answer)

    def _others(self, table: _Table, slots: Slots) -> Slots:
        """Those that cannot have met themselves; of the rest, ask those whose port the kernel chose for their name."""
        doubtful = self._self_connect[self._pair_of[slots]]
        for slot in slots[doubtful].tolist():
            port = int(self._port_of[slot])
            one = np.array([slot])
            if not port:
                table.ring.push(self._steps.install(one, table.base))
            elif port == self._targets[self._pair_of[slot]][1]:
                self._failed(slot, Syscall.GETSOCKNAME, 0, reset=True)
            else:
                self._established(table, one, now_ns())
        rest: Slots = slots[~doubtful]
        return rest

    def _named(self, table: _Table, slots: Slots, answers: Answers, now: int) -> None:
        """A connection is a descriptor of the process for a moment, so that getsockname() can be asked."""
        for slot, answer in zip(slots.tolist(), answers.tolist(), strict=True):
            name = None
            if answer >= 0:
                with socket.socket(fileno=answer) as sock:
                    name = sock.getsockname()[:2]
            if self._state[slot] != State.UNANSWERED:
                self._release(table, np.array([slot]))
            elif name is None:
                self._failed(slot, Syscall.GETSOCKNAME, -answer)
            elif name == self._targets[self._pair_of[slot]]:
                # Reset: its TIME-WAIT would keep the very port it met.
                self._failed(slot, Syscall.GETSOCKNAME, 0, reset=True)
            else:
                self._established(table, np.array([slot]), now)

    def _established(self, table: _Table, slots: Slots, now: int) -> None:
        """Count these as established, and watch them from now on."""
        if not len(slots):
            return
        recorder, pairs = self._recorder, self._pair_of[slots].tolist()
        started_ns, due_ns = self._started_ns[slots], self._due_ns[slots]
        scheduled = bool(due_ns[-1])
        lateness, connect, arrival, at = recorder.begin_batch(len(slots))
        end = at + len(slots)
        np.frombuffer(connect, dtype=np.int64)[at:end] = now - started_ns
        if scheduled:
            np.frombuffer(lateness, dtype=np.int64)[at:end] = started_ns - due_ns
            np.frombuffer(arrival, dtype=np.int64)[at:end] = now - due_ns
        recorder.mark(len(slots), now)
        recorder.end_batch(0, end, now, scheduled=scheduled)
        for pair in pairs:
            recorder.pair_established[pair] += 1
        if self._exhausted.active:
            for pair in pairs:
                self._exhausted.granted(pair)
        if self._tried:
            for slot in slots.tolist():
                if tried := self._tried.pop(slot, None):
                    self._choice.rings[self._pair_of[slot]].denied(tried)
        if self._late:
            for slot in slots.tolist():
                self._late.pop(slot, None)
        self._unanswered -= len(slots)
        self._hold(table, slots)

    def _refused(self, table: _Table, slot: int, number: int) -> None:
        """connect() failed; when the port was taken the attempt goes on with others."""
        pair, port = int(self._pair_of[slot]), int(self._port_of[slot])
        if number == ECANCELED and slot in self._tried:  # a step before it failed: no other port to be had
            self._tried[slot].append(port)
            number = EADDRNOTAVAIL
        elif number == EADDRNOTAVAIL and port and (following := self._another(slot, pair, port)):
            one = np.array([slot])
            chain = list(self._steps.again(one, table.base, np.array([pair]), np.array([following])))
            table.ring.push(np.concatenate(chain))  # at once, because a chain ends with its submission
            table.ring.submit()
            return
        self._failed(slot, Syscall.CONNECT, number)

    def _failed(self, slot: int, syscall: Syscall, number: int, *, waiting: bool = False, reset: bool = False) -> None:
        """An attempt ended without a connection. waiting: its connect() is still under way."""
        pair, port = int(self._pair_of[slot]), int(self._port_of[slot])
        self._unanswered -= 1
        self._late.pop(slot, None)
        tried = self._tried.pop(slot, [])
        if tried:
            self._choice.rings[pair].denied(tried)
        if port and port not in tried:
            self._choice.rings[pair].release(port)
        self._end(np.array([slot]), cancel=waiting, reset=reset)
        if number in (ENOBUFS, ENOMEM):  # the kernel is short of memory: ask for less of it at a time
            self._in_flight_max = max(self._in_flight_max // 2, 1)
        key = error_key(syscall, number)
        if key in DENIALS and self._denied is not None:
            if pair in self._denied:
                self._recorder.started -= 1
                self._withdrawn += 1
                return
            self._denied.add(pair)
        self._count_failure(pair, key)

    def _count_failure(self, pair: int, key: int) -> None:
        self._recorder.record_failed(pair, key)
        if key in DENIALS:
            self._exhausted.denied(pair, now_ns())

    def _watch_for_exhaustion(self) -> None:
        """Note when ports ran out: not for the moment in which all were in use, but for some denials in a row."""
        exhausted, recorder = self._exhausted, self._recorder
        if not exhausted.active:
            self._denied_since = None
        elif self._denied_since is None:
            self._denied_since = (now_ns(), recorder.established)
        elif exhausted.lasting:
            recorder.first_denied_ns, recorder.established_then = self._denied_since

    # --- held connections -------------------------------------------------------------------------

    def _held(self) -> Slots:
        return np.flatnonzero((self._state == State.HELD) | (self._state == State.READING))

    def _hold(self, table: _Table, slots: Slots) -> None:
        self._state[slots] = State.HELD
        table.ring.push(self._steps.poll(slots, table.base))

    def _woken(self, table: _Table, slots: Slots, answers: Answers, _: int) -> None:
        """Held connections have data or are over: read, which tells. Others of these were waited for to end."""
        held = self._state[slots] == State.HELD
        self._release(table, slots[~held])
        for slot, answer in zip(slots[held].tolist(), answers[held].tolist(), strict=True):
            if answer < 0:  # it cannot be watched
                self._lost(slot, error_key(Syscall.REGISTER, -answer))
            elif answer & _GONE:
                self._gone.add(slot)
        reading = slots[held & (answers >= 0)]
        self._state[reading] = State.READING
        table.ring.push(self._steps.receive(reading, table.base))

    def _received(self, table: _Table, slots: Slots, answers: Answers, _: int) -> None:
        """A held connection had data (read and forgotten), or is over (counted as lost, with the reason)."""
        alive: list[int] = []
        for slot, answer in zip(slots.tolist(), answers.tolist(), strict=True):
            gone = slot in self._gone
            self._gone.discard(slot)
            if self._state[slot] != State.READING:
                self._release(table, np.array([slot]))
            elif answer > 0 or (answer == -EAGAIN and not gone):
                alive.append(slot)
            elif self._ending and answer in (0, -EAGAIN):
                self._recorder.record_closed(self._forget(slot))
                self._end(np.array([slot]))
            else:
                self._lost(slot, error_key(Syscall.RECV, 0 if answer == -EAGAIN else -answer))
        if alive:
            self._hold(table, np.array(alive))

    def _lost(self, slot: int, key: int) -> None:
        """A connection that was open is no more, and not by our will; nothing is under way on it."""
        self._recorder.record_lost(self._forget(slot), key)
        self._end(np.array([slot]))

    def _forget(self, slot: int) -> int:
        """Take a connection out of the books, its port back into the ring; returns its pair."""
        pair = int(self._pair_of[slot])
        if self._choice.rings and (port := int(self._port_of[slot])):
            self._choice.rings[pair].release(port)
        if self._exhausted.active:
            self._exhausted.freed()
        return pair

    # --- slots ------------------------------------------------------------------------------------

    def _by_table(self, slots: Slots) -> Iterator[tuple[_Table, Slots]]:
        """These slots in parts of at most BATCH_MAX, each with the one table it belongs to."""
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
                push(self._steps.linger(here, base))
            if unpoll:
                push(self._steps.unpoll(here, base))
            if cancel:
                push(self._steps.cancel(here, base))
            push(self._steps.close(here, base))
            if unpoll or cancel:
                self._state[here] = State.ENDING
            else:
                self._release(table, here)

    def _release(self, table: _Table, slots: Slots) -> None:
        """Nothing is under way on these any more. Whatever comes next in such a slot is submitted after its close."""
        self._state[slots] = State.FREE
        table.free.extend(slots.tolist())

    def _flush(self) -> None:
        """Submit what is queued."""
        for table in self._tables:
            if table.ring.queued:
                table.ring.submit()

    def _collect(self, table: _Table) -> int:
        """Look at everything that was completed; returns how many completions that were."""
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
