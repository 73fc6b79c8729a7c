"""Open connections in batches with epoll(7), watch them all with one epoll object, close them.

No task, no transport, no exception and no log line per connection: a held connection is a plain socket object of some
100 bytes, its places in preallocated arrays, and one entry in the kernel's epoll set. What connections do between
established and closed, if anything, is up to a driver.

Some facts about a non-blocking connect(), each held by a test in tests/lab; for UDP see `transport`:

- On loopback and across a veth pair the whole handshake runs inside connect(): the SYN, the answer and the ACK are
  handled before the call returns EINPROGRESS. A second connect() right after the first then returns 0, and the
  connection is established without epoll_ctl(), epoll_wait() and getsockopt(). Where the network is slower it returns
  EALREADY, for the price of one short call.
- Before connect() epoll calls a TCP socket writable and hung up. So: connect first, then register.
- A failure shows as EPOLLERR and its reason is SO_ERROR, which reading clears. So: read it once.
- An epoll object is itself pollable. So an event loop can watch this one descriptor and wake up once per batch of
  events instead of once per connection.
- A range without a free port makes connect() fail at once with EADDRNOTAVAIL; it never shows later.
- connect() to a closed port inside the range the source port is picked from can connect the socket to itself
  (RFC 9293 3.5, simultaneous open). Such a pair is checked with getsockname().
"""

from __future__ import annotations

import socket
from array import array
from collections.abc import Sequence
from errno import EALREADY, EINPROGRESS, EIO, ENOBUFS, ENOMEM, ETIMEDOUT
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from typing import Any, Final, Protocol

from loadgen.clock import now_ns
from loadgen.model import CloseMode
from loadgen.outcomes import Syscall, error_key
from loadgen.strategies.options import LINGER_0
from loadgen.worker import round_trip, socket_pool, survived
from loadgen.worker.epoll.transport import RULES
from loadgen.worker.heartbeat import Beats
from loadgen.worker.lifecycle import Lifecycle, State
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Settings, Then
from loadgen.worker.socket_pool import Prepared, SocketPool
from loadgen.worker.strategies import NEW_SOCKET, TRIES, SourcePorts

#: Events a held connection is watched for: data (to be thrown away), end of file, reset.
_HELD: Final = EPOLLIN | EPOLLRDHUP
#: Events after which a held connection may be over; anything else is only data.
GONE: Final = EPOLLRDHUP | EPOLLHUP | EPOLLERR
#: Sockets prepared at once in a pause that is long enough: one by one they cost half more.
_PREPARED_AT_ONCE: Final = 8
#: Events handled before others have their turn.
EVENTS_MAX: Final = 512
#: Maximum bytes read for one event.
READ_SIZE: Final = 65536

#: A connection that was just established: socket, pair, and port if loadgen chose it.
Opened = tuple[socket.SocketType, int, int]


class Driver(Protocol):
    """The work of connections between established and closed.

    heartbeat: of held connections; None: they have none. events_max: events handled before others have their turn.
    needs_loop: whether callbacks of the event loop serve its connections, too.
    """

    heartbeat: Beats[Any] | None
    needs_loop: bool
    events_max: int

    def opened(self, opened: Sequence[Opened]) -> None:
        """Take over connections that were established at once; no descriptor is watched yet."""

    def opened_late(self, fd: int, opened: Opened) -> None:
        """Take over a connection that had to wait for its answer; its descriptor is watched for that still."""

    def event(self, fd: int, event: int) -> None:
        """Handle an event of a descriptor that is not an unanswered attempt."""

    def over(self, fd: int, sock: socket.SocketType, *, planned: bool) -> None:
        """Forget a connection that the connector holds, and closes next."""

    def expire(self, now: int) -> None:
        """End connections that have waited longer than the scenario's timeout."""

    def close_batch(self, count: int) -> bool:
        """Close up to `count` connections; return True while some are left."""

    def give_up(self) -> None:
        """Count connections as lost (`wait ETIMEDOUT`): the target should have closed them by now."""


class EpollConnector:
    """All connections of one worker.

    driver: what they do once established, set before the first attempt; None: they are held, or in churn closed at
    once. sockets: of held connections, by descriptor; None where there is none.
    """

    def __init__(self, settings: Settings, ports: SourcePorts, recorder: Recorder) -> None:
        self._targets = [target.sockaddr for _, target in settings.pairs]
        self._families = [target.family for _, target in settings.pairs]
        self._ports, self._self_connect = ports, settings.self_connect
        self._closes_at_once = settings.schedule.then is Then.CLOSE
        self._reset = settings.close is CloseMode.RST
        self._epoll = epoll()
        # Indexed by descriptor: the state, the connection, its pair, its port if loadgen chose it, and while it is
        # not answered when it was due. Only what epoll watches has a state here.
        descriptors = settings.descriptors
        self._state = bytearray(descriptors)
        self.sockets: list[socket.SocketType | None] = [None] * descriptors
        self._pair_of = array("i", [0]) * descriptors
        self._port_of = array("H", [0]) * descriptors
        self._due_ns = array("q", [0]) * descriptors
        self.settings, self.recorder = settings, recorder
        self.rules = RULES[settings.transport]
        self.lifecycle: Lifecycle[Any] = Lifecycle(settings, recorder)
        self._pool = SocketPool(self._families, ports, self._turns, kind=self.rules.kind)
        self.driver: Driver | None = None
        # Connections that are over and closed together, once all events of a turn are handled.
        self._finished: list[Opened] = []
        self._failed_waits = 0

    def _turns(self, count: int) -> list[int]:
        return self.lifecycle.turns(count, now_ns())

    # --- The face of every connector ------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the epoll object, for an event loop to watch."""
        return self._epoll.fileno()

    @property
    def heartbeat(self) -> Beats[Any] | None:
        """The heartbeat of held connections; None: they have none."""
        return None if self.driver is None else self.driver.heartbeat

    @property
    def needs_loop(self) -> bool:
        """True if callbacks of the event loop serve its connections, too."""
        return self.driver is not None and self.driver.needs_loop

    def prepare(self, count: int, at_once: int) -> int:
        """Prepare attempts towards `count`, as far as the strategy can, once there is room for eight.

        Now at most `at_once`; but eight while fewer than eight are ready. Returns: how many more are ready.
        """
        before = len(self._pool.ready)
        if before > max(count - _PREPARED_AT_ONCE, 0):
            return 0
        if before < _PREPARED_AT_ONCE:  # without a reserve each arrival would make its own socket, and leave no pause
            at_once = max(at_once, _PREPARED_AT_ONCE)
        self._pool.fill(min(count, before + at_once))
        return len(self._pool.ready) - before

    def open_batch(self, due_ns: Sequence[int]) -> int:
        """Start one attempt for each due time (0: no schedule), in the order of the pairs.

        Everything that can go wrong with an attempt is counted in the recorder. The batch must not be larger than
        `lifecycle.room`, nor than BATCH_MAX.

        Returns: number of attempts started; fewer than asked for when the other pairs have no ports left.
        """
        recorder, targets, self_connect, no_port = self.recorder, self._targets, self._self_connect, self.rules.no_port
        lifecycle, pair_established = self.lifecycle, recorder.pair_established
        pair_opened_ns = recorder.pair_opened_ns
        self._pool.fill(len(due_ns))
        lateness_ns, connect_ns, arrival_ns, n = recorder.begin_batch(len(due_ns))
        first, established_ns, until_mark = n, 0, recorder.next_mark - recorder.established + n
        opened: list[Opened] = []
        waiting: list[tuple[socket.SocketType, int, int, int, int]] = []
        backoff, begun_ns, started, taken, failed = lifecycle.backoff, now_ns(), 0, 0, recorder.failed
        needless: list[Prepared] = []
        for sock, pair, port in self._pool.ready:
            if started == len(due_ns):
                break
            taken += 1
            if backoff.active and not backoff.may_try(pair, begun_ns):
                needless.append((sock, pair, port))
                continue
            due = due_ns[started]
            started += 1
            if sock is None:
                lifecycle.start()
                lifecycle.fail(pair, port, now_ns())
                continue
            target = targets[pair]
            started_ns = now_ns()
            number = sock.connect_ex(target)
            if number == EINPROGRESS:
                number = sock.connect_ex(target)
            elif number == no_port and port:
                number, sock, port = self._try_other_ports(sock, pair, port)
            if number == EALREADY:
                waiting.append((sock, pair, port, due, started_ns))
            elif number:
                lifecycle.start()
                self._fail(sock, pair, port, Syscall.CONNECT, number)
            elif self_connect[pair] and (unlike := self._met_itself(sock, pair)) is not None:
                lifecycle.start()
                self._fail_self_connect(sock, pair, port, unlike)
            else:
                established_ns = now_ns()
                connect_ns[n] = established_ns - started_ns
                if due:
                    lateness_ns[n] = started_ns - due
                    arrival_ns[n] = established_ns - due
                n += 1
                pair_established[pair] += 1
                pair_opened_ns[pair] = started_ns
                opened.append((sock, pair, port))
                if backoff.active:
                    backoff.granted(pair)
                if n >= until_mark:
                    until_mark = recorder.mark(n - first, established_ns) + first
        del self._pool.ready[:taken]  # more may have been prepared than are due now
        self._pool.give_back(needless)
        failed = recorder.failed - failed
        lifecycle.end_batch(started - failed, n - first, n, established_ns, scheduled=bool(due_ns and due_ns[-1]))
        lifecycle.watch_ports(now_ns())
        if opened and recorder.established >= recorder.next_network:
            self._measure_round_trip(opened[-1][0])
        if self.driver is not None:
            self.driver.opened(opened)
        elif self._closes_at_once:
            self._close_all(opened)  # they have nothing to do, and are never watched
        else:
            self.watch(opened)
        for sock, pair, port, due, started_ns in waiting:
            self._wait_for_answer(sock, pair, port, due, started_ns)
        recorder.retried = self._ports.retried
        lifecycle.publish()
        return started

    def drain_events(self) -> None:
        """Handle what the kernel has to report, without waiting: answers to attempts, held connections lost."""
        driver = self.driver
        try:
            events = self._epoll.poll(0, EVENTS_MAX if driver is None else driver.events_max)
        except OSError as error:  # the event loop calls again
            self._failed_waits = survived.failed_wait(error, self._failed_waits)
            return
        if not events:
            return
        self._failed_waits = 0
        state, handle = self._state, self._on_event if driver is None else driver.event
        now, connecting = now_ns(), State.CONNECTING
        for fd, event in events:
            if state[fd] == connecting:
                self._answered(fd, now)
            else:
                handle(fd, event)
        if self._finished:
            self._close_all(self._finished)
            self._finished.clear()
        self.lifecycle.publish()

    def expire(self, now: int) -> None:
        """Give up attempts that have waited longer than the scenario's timeout."""
        expired = self.lifecycle.expired_attempts(now)
        for fd in expired:
            self._fail_late(fd, Syscall.WAIT, ETIMEDOUT)
        if self.driver is not None:
            self.driver.expire(now)
        if expired:
            self.lifecycle.publish()

    def close_batch(self, count: int) -> bool:
        """Close up to `count` connections; return True while some are left."""
        left = self.close_held(count) if self.driver is None else self.driver.close_batch(count)
        self.recorder.publish()
        return left

    def give_up(self) -> None:
        """Count connections as lost (`wait ETIMEDOUT`): the target should have closed them by now."""
        if self.driver is None:
            self.give_up_held()
        else:
            self.driver.give_up()

    def abandon(self) -> None:
        """Close prepared sockets and unanswered attempts. The latter stay counted as in flight."""
        self._pool.clear()
        for fd in self.lifecycle.waiting:
            survived.close(self._release(fd)[0])
        self.lifecycle.abandon()

    # --- For drivers ------------------------------------------------------------------------------------

    def held(self) -> list[int]:
        """Return the descriptors of all held connections."""
        return [fd for fd, state in enumerate(self._state) if state == State.HELD]

    def close_held(self, count: int) -> bool:
        """Close up to `count` held connections; return True while some are left."""
        state = self._state
        fds: list[int] = []
        fd = 0
        while len(fds) < count and (fd := state.find(State.HELD, fd)) >= 0:
            fds.append(fd)
            fd += 1
        self.close(fds)
        return fd >= 0

    def give_up_held(self) -> None:
        """Count all held connections as lost."""
        for fd in self.held():
            self.lose(fd, error_key(Syscall.WAIT, ETIMEDOUT))

    def pair_of(self, fd: int) -> int:
        """Return the pair of a held connection."""
        return self._pair_of[fd]

    def watch(self, opened: Sequence[Opened]) -> None:
        """Hold these and watch them. One that cannot be watched (ENOSPC, fs.epoll.max_user_watches) is lost at once."""
        register, sockets, pair_of, port_of = self._epoll.register, self.sockets, self._pair_of, self._port_of
        state, held = self._state, State.HELD
        for sock, pair, port in opened:
            fd = sock.fileno()
            sockets[fd] = sock
            pair_of[fd] = pair
            port_of[fd] = port
            state[fd] = held
            try:
                register(fd, _HELD)
            except OSError as error:
                self.lose(fd, error_key(Syscall.REGISTER, error.errno or 0))

    def watch_late(self, fd: int, opened: Opened) -> None:
        """Hold a connection that is watched already because it had to wait for its answer; see `watch`."""
        self.sockets[fd], self._pair_of[fd], self._port_of[fd] = opened
        self._state[fd] = State.HELD
        self._modify(fd, _HELD)

    def watch_readable(self, fd: int) -> None:
        """Report events of a descriptor that is not a connection to the driver."""
        self._epoll.register(fd, EPOLLIN)

    def watch_writable(self, fd: int, *, writable: bool) -> None:
        """Also report when there is room in the socket's buffer, or no longer; a failure ends the connection."""
        self._modify(fd, _HELD | EPOLLOUT if writable else _HELD)

    def _modify(self, fd: int, events: int) -> None:
        try:
            self._epoll.modify(fd, events)
        except OSError as error:
            self.lose(fd, error_key(Syscall.REGISTER, error.errno or 0))

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor, which stays open. Raises: OSError."""
        self._epoll.unregister(fd)

    def receive(self, fd: int, event: int) -> bytes | int | None:
        """Read from a held connection.

        Returns: the data (in UDP one datagram, perhaps empty); or the errno it has ended with, 0 for an end of file;
        or None when there is nothing to read, or it was closed since the kernel reported the event.
        """
        sock = self.sockets[fd]
        if sock is None:
            return None
        try:
            data = sock.recv(READ_SIZE)
        except BlockingIOError:
            # In UDP send() may have taken the error away.
            return 0 if event & GONE and not self.rules.datagrams else None
        except OSError as error:
            return error.errno or 0
        return data if data or self.rules.datagrams else 0

    def end(self, fd: int, number: int, *, planned: bool) -> None:
        """Close a held connection that the target has ended. number: as `receive` returned it."""
        if planned and not number:
            self.close((fd,))
        else:
            self.lose(fd, error_key(Syscall.RECV, number))

    def close(self, fds: Sequence[int]) -> None:
        """Close held connections as planned."""
        driver = self.driver
        closed = [self._release(fd) for fd in fds]
        if driver is not None:
            for fd, (sock, _, _) in zip(fds, closed, strict=True):
                driver.over(fd, sock, planned=True)
        self._close_all(closed)

    def finish(self, fd: int) -> None:
        """Close a held connection as planned after the events of this turn; the driver has forgotten it.

        With all that end in one turn: calls of one kind after another cost less than in between others.
        """
        self._finished.append(self._release(fd))

    def lose(self, fd: int, key: int) -> None:
        """Close a held connection whose end was not planned; `key` is the `error_key` of the reason."""
        sock, pair, port = self._release(fd)
        if self.driver is not None:
            self.driver.over(fd, sock, planned=False)
        self.lifecycle.lose(pair, key)
        survived.close(sock)
        self.release_port(pair, port)

    def release_port(self, pair: int, port: int) -> None:
        """Give a port back, if loadgen chose it."""
        if port:
            self._ports.release(pair, port)

    # --- Attempts ---------------------------------------------------------------------------------------

    def _try_other_ports(self, sock: socket.SocketType, pair: int, port: int) -> tuple[int, socket.SocketType, int]:
        """Try the next ports after connect() found the first one taken.

        Returns: the last answer of connect(), the last socket and its port; ports that were denied are given back,
        and without a free one the port is 0.
        """
        target, no_port = self._targets[pair], self.rules.no_port
        tried = [port]
        while len(tried) < TRIES:
            following = self._ports.another(sock, pair)
            if following == NEW_SOCKET:
                survived.close(sock)
                try:
                    sock = socket_pool.Socket(self._families[pair], self.rules.kind)
                    following = self._ports.prepare(sock, pair)
                except OSError:  # the attempts that follow will show the reason, with its call
                    break
            if following <= 0:
                break
            number = sock.connect_ex(target)
            if number == EINPROGRESS:
                number = sock.connect_ex(target)
            if number != no_port:
                self._ports.denied(pair, tried)
                return number, sock, following
            tried.append(following)
        self._ports.denied(pair, tried)
        return no_port, sock, 0

    def _wait_for_answer(self, sock: socket.SocketType, pair: int, port: int, due_ns: int, started_ns: int) -> None:
        """Let epoll report when connect() is answered."""
        fd = sock.fileno()
        try:
            self._epoll.register(fd, EPOLLOUT)
        except OSError as error:
            self._fail(sock, pair, port, Syscall.REGISTER, error.errno or 0)
            return
        self.sockets[fd], self._pair_of[fd], self._port_of[fd], self._due_ns[fd] = sock, pair, port, due_ns
        self._state[fd] = State.CONNECTING
        self.lifecycle.waiting[fd] = started_ns

    def _answered(self, fd: int, now: int) -> None:
        """Hold a connection whose connect() is answered, or count why there is none."""
        sock, pair = self.sockets[fd], self._pair_of[fd]
        assert sock is not None
        try:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as error:
            self._fail_late(fd, Syscall.GETSOCKOPT, error.errno or 0)
            return
        if number:
            self._fail_late(fd, Syscall.CONNECT, number)
        elif self._self_connect[pair] and (unlike := self._met_itself(sock, pair)) is not None:
            del self.lifecycle.waiting[fd]
            self._fail_self_connect(*self._release(fd), unlike)
        else:
            self.lifecycle.establish(fd, pair, self._due_ns[fd], now)
            if self.recorder.established >= self.recorder.next_network:
                self._measure_round_trip(sock)
            opened = self._release(fd)
            if self.driver is not None:
                self.driver.opened_late(fd, opened)
            elif self._closes_at_once:
                self._close_all((opened,))
            else:
                self.watch_late(fd, opened)

    def _measure_round_trip(self, sock: socket.SocketType) -> None:
        """Ask the kernel for the round trip of the last connection, before anything but its handshake is in it."""
        recorder = self.recorder
        recorder.next_network = recorder.established + round_trip.EVERY
        if not self.rules.datagrams:
            round_trip.measure(sock, recorder.record_network)

    def _fail_late(self, fd: int, syscall: Syscall, number: int) -> None:
        """Count an attempt that had to wait for its answer as failed."""
        if number == ETIMEDOUT:
            self.lifecycle.give_up(self._pair_of[fd], fd)
        del self.lifecycle.waiting[fd]
        self._fail(*self._release(fd), syscall, number)

    def _met_itself(self, sock: socket.SocketType, pair: int) -> int | None:
        """Return 0 for a socket that is connected to itself, the errno if that cannot be told, None for any other."""
        try:
            return 0 if sock.getsockname()[:2] == self._targets[pair][:2] else None
        except OSError as error:
            return error.errno or EIO

    def _fail_self_connect(self, sock: socket.SocketType, pair: int, port: int, number: int) -> None:
        """Reset a connection with itself, which is none: its TIME-WAIT would keep the very port it met."""
        _reset_at_close(sock)
        self._fail(sock, pair, port, Syscall.GETSOCKNAME, number)

    def _fail(self, sock: socket.SocketType, pair: int, port: int, syscall: Syscall, number: int) -> None:
        survived.close(sock)
        self.release_port(pair, port)
        if number in (ENOBUFS, ENOMEM):
            self.lifecycle.shed()
        self.lifecycle.fail(pair, error_key(syscall, number), now_ns())

    # --- Connections ------------------------------------------------------------------------------------

    def _on_event(self, fd: int, event: int) -> None:
        """Throw away the data of a held connection, or count its end."""
        received = self.receive(fd, event)
        if isinstance(received, int):
            self.end(fd, received, planned=self.lifecycle.ending)

    def _close_all(self, closed: Sequence[Opened]) -> None:
        """Close connections as planned, count them and give their ports back."""
        self.lifecycle.close([pair for _, pair, _ in closed])
        reset, release = self._reset, self._ports.release
        for sock, pair, port in closed:
            if reset:  # only now: on an open socket it would be a call more in the ramp, which is what is timed
                _reset_at_close(sock)
            try:  # as survived.close(), without a call for each
                sock.close()
            except OSError as error:
                survived.add("close", error)
            if port:
                release(pair, port)

    def _release(self, fd: int) -> Opened:
        """Empty the place of a descriptor in the arrays; return what was there."""
        sock = self.sockets[fd]
        assert sock is not None
        self.sockets[fd] = None
        self._state[fd] = State.FREE
        return sock, self._pair_of[fd], self._port_of[fd]


def _reset_at_close(sock: socket.SocketType) -> None:
    """Have close() send RST; where that cannot be set it sends FIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    except OSError as error:
        survived.add("setsockopt", error)
