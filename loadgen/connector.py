"""The data plane: open connections in batches, watch them all with one epoll object, close them.

No task, no transport, no exception and no log line per connection: a held connection is a bare
descriptor, one byte range in two preallocated arrays, and one entry in the kernel's epoll set.

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
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from errno import EADDRNOTAVAIL, EALREADY, EINPROGRESS, EISCONN, ETIMEDOUT
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from typing import Final, NamedTuple

from loadgen.clock import now_ns
from loadgen.metrics.outcomes import Syscall
from loadgen.metrics.recorder import Recorder
from loadgen.model import CloseMode, Endpoint
from loadgen.sourceports import TRIES, SourcePorts

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
    first_pair: where the round robin over the pairs begins.
    self_connect: for each pair, whether a connection could meet itself and must be checked.
    in_flight_max: attempts that may wait for an answer at once.
    descriptors: no descriptor number reaches this; sizes the arrays.
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
    ) -> None:
        self._targets = [target.sockaddr for _, target in pairs]
        self._families = [target.family for _, target in pairs]
        self._ports, self._recorder, self._self_connect = ports, recorder, self_connect
        self._reset = close is CloseMode.RST
        self._timeout_ns = int(timeout_s * 1e9)
        self._in_flight_max = in_flight_max
        self._epoll = epoll()
        self._unanswered: dict[int, Unanswered] = {}
        # Indexed by descriptor: which pair a held connection belongs to (-1: none), and its port if we chose it.
        self._pair_of = array("i", [-1]) * descriptors
        self._port_of = array("H", [0]) * descriptors
        self._next_pair = first_pair
        self._close_from = 0

    def fileno(self) -> int:
        """The epoll object, for an event loop to watch."""
        return self._epoll.fileno()

    @property
    def room(self) -> int:
        """How many more attempts may be started before some are answered."""
        return self._in_flight_max - len(self._unanswered)

    def open_batch(self, due_ns: Sequence[int]) -> None:
        """Start one attempt for each due time (0: no schedule), round robin over the pairs.

        Everything that can go wrong with an attempt is counted in the recorder. The caller sees to
        it that the batch is not larger than `room`.
        """
        recorder, ports, pair = self._recorder, self._ports, self._next_pair
        prepare, register = ports.prepare, self._epoll.register
        targets, families, reset = self._targets, self._families, self._reset
        pairs = len(targets)
        for due in due_ns:
            recorder.started += 1
            try:
                sock = socket.SocketType(families[pair], _STREAM)
            except OSError as error:
                self._failed(pair, Syscall.SOCKET, error.errno or 0)
                pair = pair + 1 if pair + 1 < pairs else 0
                continue
            try:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
                port = prepare(sock, pair)
            except OSError as error:
                self._failed(pair, Syscall.SETSOCKOPT, error.errno or 0, sock)
                pair = pair + 1 if pair + 1 < pairs else 0
                continue
            if port < 0:
                self._failed(pair, Syscall.BIND, -port, sock)
                pair = pair + 1 if pair + 1 < pairs else 0
                continue
            target = targets[pair]
            started = now_ns()
            number = sock.connect_ex(target)
            if number == EINPROGRESS:
                number = sock.connect_ex(target)
            elif number == EADDRNOTAVAIL and port:
                number, port = self._try_other_ports(sock, pair, port)
            if number == 0 or number == EISCONN:
                self._established(sock, pair, port, due, started, now_ns(), register)
            elif number == EALREADY:
                fd = sock.fileno()
                register(fd, EPOLLOUT)
                self._unanswered[fd] = Unanswered(sock, pair, port, due, started)
            else:
                self._failed(pair, Syscall.CONNECT, number, sock, port)
            pair = pair + 1 if pair + 1 < pairs else 0
        self._next_pair = pair
        recorder.in_flight = len(self._unanswered)
        recorder.retried = ports.retried
        recorder.publish()

    def _try_other_ports(self, sock: socket.SocketType, pair: int, port: int) -> tuple[int, int]:
        """connect() found our port taken: the answer of connect() with the next ones, and the last port."""
        target = self._targets[pair]
        number = EADDRNOTAVAIL
        for _ in range(TRIES - 1):
            following = self._ports.another(sock, pair, port)
            if not following:
                break
            port = following
            number = sock.connect_ex(target)
            if number == EINPROGRESS:
                number = sock.connect_ex(target)
            if number != EADDRNOTAVAIL:
                break
        return number, port

    def drain_events(self) -> None:
        """Take what the kernel has to say, without waiting: answers to attempts, held connections lost."""
        events = self._epoll.poll(0, _EVENTS_MAX)
        if not events:
            return
        unanswered = self._unanswered
        now = now_ns()
        for fd, event in events:
            attempt = unanswered.pop(fd, None)
            if attempt is None:
                self._held_event(fd, event)
                continue
            number = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._failed(attempt.pair, Syscall.CONNECT, number, attempt.sock, attempt.port)
            else:
                self._established(
                    attempt.sock,
                    attempt.pair,
                    attempt.port,
                    attempt.due_ns,
                    attempt.started_ns,
                    now,
                    self._epoll.modify,
                )
        self._recorder.in_flight = len(unanswered)
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
            self._recorder.in_flight = len(self._unanswered)
            self._recorder.publish()

    def close_batch(self, count: int) -> bool:
        """Close up to `count` held connections; True while some are left."""
        recorder, pair_of = self._recorder, self._pair_of
        end = len(pair_of)
        fd = self._close_from
        while count and fd < end:
            if (pair := pair_of[fd]) >= 0:
                self._forget(fd, pair)
                os.close(fd)
                recorder.record_closed(pair)
                count -= 1
            fd += 1
        self._close_from = fd
        recorder.publish()
        return fd < end

    def abandon(self) -> None:
        """Close the attempts that are still unanswered; they stay counted as in flight, nobody knows better."""
        for attempt in self._unanswered.values():
            attempt.sock.close()
        self._unanswered.clear()

    def _established(
        self,
        sock: socket.SocketType,
        pair: int,
        port: int,
        due: int,
        started: int,
        established: int,
        watch: Callable[[int, int], None],
    ) -> None:
        recorder = self._recorder
        if self._self_connect[pair] and sock.getsockname()[:2] == self._targets[pair]:
            self._failed(pair, Syscall.GETSOCKNAME, 0, sock, port)
            return
        fd = sock.detach()
        try:
            watch(fd, _HELD)
        except OSError as error:  # ENOSPC: fs.epoll.max_user_watches (epoll(7))
            os.close(fd)
            self._failed(pair, Syscall.REGISTER, error.errno or 0, None, port)
            return
        self._pair_of[fd] = pair
        self._port_of[fd] = port
        recorder.record_established(pair, due, started, established)

    def _failed(
        self, pair: int, syscall: Syscall, number: int, sock: socket.SocketType | None = None, port: int = 0
    ) -> None:
        if sock is not None:
            sock.close()
        if port:
            self._ports.release(pair, port)
        self._recorder.record_failed(pair, syscall, number)

    def _held_event(self, fd: int, event: int) -> None:
        """A held connection had data (read and forgotten), or is over (counted as lost, with the reason)."""
        number = 0
        try:
            alive = len(os.read(fd, _READ_SIZE)) > 0
        except BlockingIOError:
            alive = not event & _GONE
        except OSError as error:
            alive, number = False, error.errno or 0
        if alive:
            return
        pair = self._pair_of[fd]
        self._forget(fd, pair)
        os.close(fd)
        self._recorder.record_lost(pair, number)

    def _forget(self, fd: int, pair: int) -> None:
        self._pair_of[fd] = -1
        if port := self._port_of[fd]:
            self._ports.release(pair, port)


_STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
