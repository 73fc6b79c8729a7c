"""The data plane: open connections in batches, watch them all with one epoll object, close them.

No task, no transport, no exception and no log line per connection: a held connection is a plain
socket object of some 100 bytes, its places in three preallocated arrays, and one entry in the
kernel's epoll set.

Some facts about a non-blocking connect(), each held by a test in tests/lab:

- On loopback and across a veth pair the whole handshake runs inside connect(): the SYN, the answer
  and the ACK are handled before the call returns EINPROGRESS. A second connect() right after the
  first then answers 0, and the connection is established without epoll_ctl(), epoll_wait() and
  getsockopt(). Where the network is slower it answers EALREADY, for the price of one short call.
- Before connect() epoll calls a TCP socket writable and hung up. So: connect first, then register.
- A failure shows as EPOLLERR and its reason is SO_ERROR, which reading clears. So: read it once.
- An epoll object is itself pollable. So an event loop can watch this one descriptor and wake up
  once per batch of events instead of once per connection.
- A range without a free port makes connect() fail at once with EADDRNOTAVAIL; it never shows later.
- connect() to a closed port inside the range the source port is picked from can connect the socket
  to itself (RFC 9293 3.5, simultaneous open). Such a pair is checked with getsockname().

In UDP (`Transport.UDP`) connect() only remembers the target, and succeeds at once whether anybody is there or not:

- No free port is EAGAIN from connect().
- There is no end of file: an empty datagram is data. Whether the other side is gone shows only after
  something was sent, as ECONNREFUSED from the next call (an ICMP port unreachable, udp(7)).
- Closing sends nothing and leaves nothing; the port is free at once.
"""

from __future__ import annotations

import socket
import struct
from array import array
from collections.abc import Iterator, Sequence
from errno import EADDRNOTAVAIL, EAGAIN, EALREADY, EINPROGRESS, ENOBUFS, ENOMEM, ETIMEDOUT
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from typing import Final, NamedTuple

from loadgen.clock import now_ns
from loadgen.model import CloseMode, Endpoint, Transport
from loadgen.outcomes import Syscall, error_key
from loadgen.worker import socket_pool
from loadgen.worker.backoff import Exhaustion
from loadgen.worker.recorder import Recorder
from loadgen.worker.socket_pool import DENIALS, Prepared, Ready
from loadgen.worker.strategies import NEW_SOCKET, TRIES, SourcePorts

#: What a held connection is watched for: data (to be thrown away), end of file, reset.
_HELD: Final = EPOLLIN | EPOLLRDHUP
#: Why a held connection may be over; anything else is only data.
_GONE: Final = EPOLLRDHUP | EPOLLHUP | EPOLLERR
#: struct linger {on, 0 s}: close() sends RST and leaves no TIME-WAIT (socket(7)).
_LINGER_0: Final = struct.pack("ii", 1, 0)
_EVENTS_MAX: Final = 512
_READ_SIZE: Final = 65536


class Unanswered(NamedTuple):
    """An attempt whose connect() has not been answered yet; instants in CLOCK_MONOTONIC ns."""

    sock: socket.SocketType
    pair: int
    port: int
    due_ns: int
    started_ns: int


class Connector:
    """All connections of one worker.

    pairs: (source, target) of every four-tuple space, in the order the recorder counts them.
    first_pair: where the round robin over the pairs begins. order: another order of the pairs instead, without end.
    self_connect: for each pair, whether a connection could meet itself and must be checked.
    in_flight_max: attempts that may wait for an answer at once.
    descriptors: no descriptor number reaches this; sizes the arrays.
    exhausted: what is known of pairs without a free port; left out: nothing, and none will come back.
    transport: what the sockets are of.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, Endpoint]],
        ports: SourcePorts,
        recorder: Recorder,
        *,
        first_pair: int,
        self_connect: Sequence[bool],
        close: CloseMode,
        timeout_s: float,
        in_flight_max: int,
        descriptors: int,
        exhausted: Exhaustion | None = None,
        transport: Transport = Transport.TCP,
        order: Iterator[int] | None = None,
    ) -> None:
        self._targets = [target.sockaddr for _, target in pairs]
        self._families = [target.family for _, target in pairs]
        self._ports, self._recorder, self._self_connect = ports, recorder, self_connect
        self._datagrams = transport is Transport.UDP
        self._kind = socket_pool.DATAGRAM if self._datagrams else socket_pool.STREAM
        #: What connect() answers when the port is taken, or all are.
        self._denial = EAGAIN if self._datagrams else EADDRNOTAVAIL
        self._reset = close is CloseMode.RST
        self._timeout_ns = int(timeout_s * 1e9)
        self._in_flight_max = in_flight_max
        self._events_max = _EVENTS_MAX
        self._epoll = epoll()
        self._unanswered: dict[int, Unanswered] = {}
        self._abandoned = 0
        # Indexed by descriptor: the held connection, the pair it belongs to, and its port if we chose it.
        self._sockets: list[socket.SocketType | None] = [None] * descriptors
        self._pair_of = array("i", [0]) * descriptors
        self._port_of = array("H", [0]) * descriptors
        self._exhausted = exhausted or Exhaustion(len(pairs))
        self._ready = Ready(self._families, ports, self._exhausted, first_pair=first_pair, kind=self._kind, order=order)
        self._close_from = 0
        #: Since when, and after how many connections, some pair has no port.
        self._denied_since: tuple[int, int] | None = None
        self._ending = False
        #: Whether the end of a connection makes room for another; in TIME-WAIT it does not.
        self._frees = True

    def fileno(self) -> int:
        """The epoll object, for an event loop to watch."""
        return self._epoll.fileno()

    @property
    def _in_flight(self) -> int:
        return len(self._unanswered) + self._abandoned

    @property
    def room(self) -> int:
        """How many more attempts may be started before some are answered."""
        return self._in_flight_max - len(self._unanswered)

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
        exhausted = self._exhausted
        if not exhausted.active:
            return 0
        until = exhausted.next_try_ns()
        return until if until > now_ns() else 0

    def prepare(self, count: int) -> None:
        """Make sockets ready for the next attempts, as far as the strategy can."""
        self._ready.make(count)

    def open_batch(self, due_ns: Sequence[int]) -> int:
        """Start one attempt for each due time (0: no schedule), round robin over the pairs.

        Everything that can go wrong with an attempt is counted in the recorder. The caller sees to
        it that the batch is not larger than `room`, nor than BATCH_MAX.

        Returns: how many were started; fewer than asked for when the other pairs have no ports left.
        """
        recorder, targets, self_connect, denial = self._recorder, self._targets, self._self_connect, self._denial
        self._ready.make(len(due_ns))
        lateness_ns, connect_ns, arrival_ns, n = recorder.begin_batch(len(due_ns))
        first, established_ns, until_mark = n, 0, recorder.next_mark - recorder.established + n
        opened: list[tuple[socket.SocketType, int, int]] = []
        waiting: list[Unanswered] = []
        exhausted, begun_ns, started, taken = self._exhausted, now_ns(), 0, 0
        needless: list[Prepared] = []
        for sock, pair, port in self._ready.waiting:
            if started == len(due_ns):
                break
            taken += 1
            if exhausted.active and not exhausted.may_try(pair, begun_ns):
                needless.append((sock, pair, port))
                continue
            due = due_ns[started]
            started += 1
            if sock is None:
                self._count_failure(pair, port)
                continue
            target = targets[pair]
            started_ns = now_ns()
            number = sock.connect_ex(target)
            if number == EINPROGRESS:
                number = sock.connect_ex(target)
            elif number == denial and port:
                number, sock, port = self._try_other_ports(sock, pair, port)
            if number == EALREADY:
                waiting.append(Unanswered(sock, pair, port, due, started_ns))
            elif number:
                self._failed(pair, Syscall.CONNECT, number, sock, port)
            elif self_connect[pair] and sock.getsockname()[:2] == target[:2]:
                self._met_itself(sock, pair, port)
            else:
                established_ns = now_ns()
                connect_ns[n] = established_ns - started_ns
                if due:
                    lateness_ns[n] = started_ns - due
                    arrival_ns[n] = established_ns - due
                n += 1
                opened.append((sock, pair, port))
                if exhausted.active:
                    exhausted.granted(pair)
                if n >= until_mark:
                    until_mark = recorder.mark(n - first, established_ns) + first
        del self._ready.waiting[:taken]  # more may have been made ready than are due now
        self._ready.give_back(needless)
        recorder.end_batch(started, n, established_ns, scheduled=bool(due_ns and due_ns[-1]))
        if not recorder.first_denied_ns:
            self._watch_for_exhaustion()
        self._hold(opened)
        for late in waiting:
            self._wait_for(late)
        recorder.in_flight = self._in_flight
        recorder.retried = self._ports.retried
        recorder.publish()
        return started

    def _watch_for_exhaustion(self) -> None:
        """Note when ports ran out: not for the moment in which all were in use, but for some denials in a row."""
        exhausted, recorder = self._exhausted, self._recorder
        if not exhausted.active:
            self._denied_since = None
        elif self._denied_since is None:
            self._denied_since = (now_ns(), recorder.established)
        elif exhausted.lasting:
            recorder.first_denied_ns, recorder.established_then = self._denied_since

    def _hold(self, opened: Sequence[tuple[socket.SocketType, int, int]]) -> None:
        """Watch these from now on. One that cannot be watched (ENOSPC, fs.epoll.max_user_watches) is lost at once."""
        register, sockets, pair_of, port_of = self._epoll.register, self._sockets, self._pair_of, self._port_of
        pair_established = self._recorder.pair_established
        for sock, pair, port in opened:
            pair_established[pair] += 1
            fd = sock.fileno()
            sockets[fd] = sock
            pair_of[fd] = pair
            port_of[fd] = port
            try:
                register(fd, _HELD)
            except OSError as error:
                self._lose(fd, error_key(Syscall.REGISTER, error.errno or 0))

    def _hold_late(self, fd: int, sock: socket.SocketType, pair: int, port: int) -> None:
        """As `_hold`, for one that is watched and counted already because it had to wait for its answer."""
        self._epoll.modify(fd, _HELD)
        self._sockets[fd] = sock
        self._pair_of[fd] = pair
        self._port_of[fd] = port

    def _wait_for(self, attempt: Unanswered) -> None:
        """connect() is not answered yet: let epoll tell when it is."""
        fd = attempt.sock.fileno()
        try:
            self._epoll.register(fd, EPOLLOUT)
        except OSError as error:
            self._failed(attempt.pair, Syscall.REGISTER, error.errno or 0, attempt.sock, attempt.port)
        else:
            self._unanswered[fd] = attempt

    def _try_other_ports(self, sock: socket.SocketType, pair: int, port: int) -> tuple[int, socket.SocketType, int]:
        """connect() found our port taken: the answer of connect() with the next ones, the last socket and its port.

        Those that were denied are given back; without one that is free the port is 0.
        """
        target = self._targets[pair]
        tried = [port]
        while len(tried) < TRIES:
            following = self._ports.another(sock, pair)
            if following == NEW_SOCKET:
                sock.close()
                try:
                    sock = socket_pool.Socket(self._families[pair], self._kind)
                    following = self._ports.prepare(sock, pair)
                except OSError:  # what is wrong will show, with its call, in the attempts that follow
                    break
            if following <= 0:
                break
            number = sock.connect_ex(target)
            if number == EINPROGRESS:
                number = sock.connect_ex(target)
            if number != self._denial:
                self._ports.denied(pair, tried)
                return number, sock, following
            tried.append(following)
        self._ports.denied(pair, tried)
        return self._denial, sock, 0

    def drain_events(self) -> None:
        """Take what the kernel has to say, without waiting: answers to attempts, held connections lost."""
        events = self._epoll.poll(0, self._events_max)
        if not events:
            return
        unanswered = self._unanswered
        now = now_ns()
        for fd, event in events:
            attempt = unanswered.pop(fd, None)
            if attempt is None:
                self._held_event(fd, event)
                continue
            self._answered(fd, attempt, now)
        self._recorder.in_flight = self._in_flight
        self._recorder.publish()

    def expire(self, now: int) -> None:
        """Give up attempts that have waited longer than the scenario's timeout (oldest are first)."""
        expired = []
        for fd, attempt in self._unanswered.items():
            if now - attempt.started_ns < self._timeout_ns:
                break
            expired.append(fd)
        for fd in expired:
            attempt = self._unanswered.pop(fd)
            self._failed(attempt.pair, Syscall.WAIT, ETIMEDOUT, attempt.sock, attempt.port)
        if expired:
            self._recorder.in_flight = self._in_flight
            self._recorder.publish()

    def close_batch(self, count: int) -> bool:
        """Close up to `count` held connections; True while some are left."""
        sockets = self._sockets
        closing: list[socket.SocketType] = []
        fd, end = self._close_from, len(sockets)
        while len(closing) < count and fd < end:
            if (sock := sockets[fd]) is not None:
                self._recorder.record_closed(self._forget(fd))
                closing.append(sock)
            fd += 1
        self._close_from = fd
        self._close_all(closing)
        self._recorder.publish()
        return fd < end

    def _close_all(self, closing: Sequence[socket.SocketType]) -> None:
        if self._reset:  # only now: on an open socket it would be a call more in the ramp, which is what is timed
            for sock in closing:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        for sock in closing:
            sock.close()

    def expect_end(self) -> None:
        """From now on a held connection that the other side closes has ended as planned."""
        self._ending = True

    def give_up(self) -> None:
        """Held connections that the other side should have closed by now: lost, for want of an answer."""
        for fd, sock in enumerate(self._sockets):
            if sock is not None:
                self._lose(fd, error_key(Syscall.WAIT, ETIMEDOUT))

    def abandon(self) -> None:
        """Close what has not become a connection: sockets made ready, and attempts still unanswered.

        The latter stay counted as in flight; nobody knows better.
        """
        self._ready.clear()
        for attempt in self._unanswered.values():
            attempt.sock.close()
        self._abandoned += len(self._unanswered)
        self._unanswered.clear()

    def _answered(self, fd: int, attempt: Unanswered, now: int) -> None:
        """An attempt that had to wait has its answer: hold the connection, or count why there is none."""
        sock, pair, port, due_ns, started_ns = attempt
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._failed(pair, Syscall.CONNECT, number, sock, port)
        elif self._self_connect[pair] and sock.getsockname()[:2] == self._targets[pair][:2]:
            self._met_itself(sock, pair, port)
        else:
            self._recorder.record_established(pair, due_ns, started_ns, now)
            self._hold_late(fd, sock, pair, port)

    def _met_itself(self, sock: socket.SocketType, pair: int, port: int) -> None:
        """A connection with itself is none. It is reset: its TIME-WAIT would keep the very port it met."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self._failed(pair, Syscall.GETSOCKNAME, 0, sock, port)

    def _failed(
        self, pair: int, syscall: Syscall, number: int, sock: socket.SocketType | None = None, port: int = 0
    ) -> None:
        if sock is not None:
            sock.close()
        if port:
            self._ports.release(pair, port)
        if number in (ENOBUFS, ENOMEM):  # the kernel is short of memory: ask for less of it at a time
            self._in_flight_max = max(self._in_flight_max // 2, 1)
        self._count_failure(pair, error_key(syscall, number))

    def _count_failure(self, pair: int, key: int) -> None:
        self._recorder.record_failed(pair, key)
        if key in DENIALS:
            self._exhausted.denied(pair, now_ns())

    def _held_event(self, fd: int, event: int) -> None:
        """A held connection had data (read and forgotten), or is over (counted as lost, with the reason)."""
        sock = self._sockets[fd]
        if sock is None:  # closed by us between the kernel's report and now
            return
        number = 0
        try:
            data = sock.recv(_READ_SIZE)
        except BlockingIOError:
            if self._datagrams or not event & _GONE:  # send() may have taken the error of a datagram away
                return
        except OSError as error:
            number = error.errno or 0
        else:
            if data or self._datagrams:
                self._received(fd, data)
                return
        if not number and self._ends_well(fd):
            self._recorder.record_closed(self._forget(fd))
            self._close_all((sock,))
        else:
            self._lose(fd, error_key(Syscall.RECV, number))

    def _received(self, fd: int, data: bytes) -> None:
        """A held connection had data, which nobody asked for here. In UDP: one datagram, whole, perhaps empty."""

    def _ends_well(self, fd: int) -> bool:  # noqa: ARG002  # for those who know more of it
        """Whether the other side's end of file is as planned."""
        return self._ending

    def _lose(self, fd: int, key: int) -> None:
        """A connection that was open is no more, and not by our will."""
        sock = self._sockets[fd]
        self._recorder.record_lost(self._forget(fd), key)
        if sock is not None:
            sock.close()

    def _forget(self, fd: int) -> int:
        """Take a connection out of the books, its port back into the ring; returns its pair."""
        self._sockets[fd] = None
        pair = self._pair_of[fd]
        if port := self._port_of[fd]:
            self._ports.release(pair, port)
        if self._frees and self._exhausted.active:
            self._exhausted.freed()
        return pair
