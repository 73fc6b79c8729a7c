"""The listening sockets of one sink process: when it accepts from them, and what an error of accept4(2) means.

accept4() reports errors of the network that the connection already had, of which accept(2) says: treat them as EAGAIN
and try again. So does a rule that forbids that one connection (EPERM). Where the process has no descriptor left, or
the kernel no memory, nothing of that helps and no process is turned away: connections wait in the accept queue for a
moment.
"""

from __future__ import annotations

import socket
import struct
from errno import ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from select import EPOLLIN, epoll
from typing import Any, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import Endpoint, SinkBehaviour
from loadgen.sink.counts import SurvivedFailures

#: Pause before accepting again after the process has run out of descriptors or memory.
PAUSE_NS: Final = 50_000_000
_BATCH: Final = 128
#: Failed calls in one batch before a pause: an error that does not go away must not keep a core busy.
_FAILED_MAX: Final = 16
_EXHAUSTED: Final = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})

#: listen(2) silently cuts this to net.core.somaxconn.
BACKLOG: Final = 65535
#: A shorter queue is emptied at once: no connection may be dropped because others gather. Kernels since 5.4 have 4,096.
_GATHER_ROOM: Final = 4_096
#: A pause that takes this multiple of its time, because others keep the cores busy, is the last for `_WITHOUT_NS`: who
#: wakes seldom then gets little of the processor time (measured in decision 7).
_LATE: Final = 2
_WITHOUT_NS: Final = NS_PER_S
#: Place of tcpi_sacked in struct tcp_info (linux/tcp.h): of a listening socket, how many connections its queue takes
#: (tcp_get_info(), net/ipv4/tcp.c).
_QUEUE_MAX: Final = struct.Struct("28xI")
#: Receive buffer of a sink that reads slowly, small so that its clients notice; the kernel doubles it (socket(7)).
_SLOW_BUFFER: Final = 8_192


def listening_socket(endpoint: Endpoint, backlog: int, behaviour: SinkBehaviour) -> socket.socket:
    """Return a listening socket; accepted sockets inherit its options. Raises: OSError."""
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if behaviour != SinkBehaviour():  # an answer after TLS session tickets would wait for the client's delayed ACK
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if behaviour.read_per_s is not None:  # before listen(): the initial window derives from it (tcp(7))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
    sock.bind(endpoint.sockaddr)
    sock.listen(backlog)
    return sock


def queue_max(sock: socket.socket) -> int:
    """Return how many connections the accept queue of a listening socket takes. Raises: OSError."""
    room: int
    (room,) = _QUEUE_MAX.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE_MAX.size))
    return room


class AcceptQueues:
    """poll: where the listening sockets are watched. gather_s: pause after a queue was emptied, see SinkShard.

    gather_until_ns: when that pause ends; 0: there is none. exhausted: times that there was no descriptor or memory.
    """

    def __init__(self, poll: epoll, failures: SurvivedFailures, gather_s: float) -> None:
        self._epoll, self._failures = poll, failures
        self._accepting: list[int] = []
        #: Listeners that start later: (seconds after "start", descriptor).
        self._later: list[tuple[float, int]] = []
        self._start_ns = 0
        self._paused_ns = 0
        self._gather_ns = int(gather_s * NS_PER_S)
        self._gather_again_ns = 0
        self.gather_until_ns = 0
        self.exhausted = 0

    @property
    def waiting(self) -> bool:
        """True if `run` has to be called again soon."""
        return bool(self._paused_ns or self._later)

    def add(self, fd: int, after_s: float | None, room: int) -> None:
        """Accept from this listener, `after_s` seconds after `start`; 0: at once; None: never.

        room: its `queue_max`; with a short queue no connections gather. Raises: OSError.
        """
        if room < _GATHER_ROOM:
            self._gather_ns = 0
        if after_s == 0:
            self._accept_from(fd)
        elif after_s is not None:
            self._later.append((after_s, fd))

    def start(self, at_ns: int) -> None:
        """Set the time from which later listeners count."""
        self._start_ns = at_ns

    def accept(self, sock: socket.socket) -> list[tuple[int, Any]]:
        """Accept one batch from a listening socket; return (descriptor, address) of each connection."""
        accept = sock._accept  # type: ignore[attr-defined]  # accept4(2) without an object per connection
        accepted: list[tuple[int, Any]] = []
        failed, emptied = 0, False
        for _ in range(_BATCH):
            try:
                accepted.append(accept())
            except BlockingIOError:
                emptied = True
                break
            except OSError as error:
                if error.errno != ECONNABORTED:  # closed by the client before it was accepted
                    self._failures.add("accept4", error)
                failed += 1
                if error.errno in _EXHAUSTED:
                    self.exhausted += 1
                elif failed < _FAILED_MAX:
                    continue
                self.pause()
                break
        if self._gather_ns and emptied and (now := now_ns()) >= self._gather_again_ns:
            self.gather_until_ns = now + self._gather_ns
            self._watch(0)
        return accepted

    def pause(self) -> None:
        """Stop accepting for a moment."""
        self._paused_ns = now_ns()
        self.gather_until_ns = 0
        self._watch(0)

    def run(self, now: int, *, freed: bool) -> None:
        """Do what is due: accept again after a pause, or as a descriptor was `freed`; begin with later listeners."""
        if self._paused_ns and (freed or now - self._paused_ns > PAUSE_NS):
            self._resume(now)
        if self.gather_until_ns and now >= self.gather_until_ns:
            if now - self.gather_until_ns > _LATE * self._gather_ns:
                self._gather_again_ns = now + _WITHOUT_NS
            self.gather_until_ns = 0
            self._resume(now)
        if self._later and self._start_ns:
            self._start_later_listeners(now)

    def _resume(self, now: int) -> None:
        """Accept again; if the listeners cannot be watched, after another pause."""
        self._paused_ns = 0 if self._watch(EPOLLIN) else now

    def _watch(self, events: int) -> bool:
        """Set the events of all listeners; return False if that failed for one of them."""
        done = True
        for fd in self._accepting:
            try:
                self._epoll.modify(fd, events)
            except OSError as error:
                self._failures.add("epoll_ctl", error)
                done = False
        return done

    def _accept_from(self, fd: int) -> None:
        self._epoll.register(fd, EPOLLIN)
        self._accepting.append(fd)

    def _start_later_listeners(self, now: int) -> None:
        """Begin to accept from the listeners whose time has come; where that fails, try again in the next turn."""
        for after_s, fd in tuple(self._later):
            if now - self._start_ns < after_s * NS_PER_S:
                continue
            try:
                self._accept_from(fd)
            except OSError as error:
                self._failures.add("epoll_ctl", error)
            else:
                self._later.remove((after_s, fd))
