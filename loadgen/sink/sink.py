"""The event loop of a sink process: accept in batches, hold, echo, close on end of file, and count.

The sink can also close first: all held connections on command, or in churn each connection as soon as it is accepted
or its bytes are sent back. Then the sink's side keeps TIME-WAIT.

Targets with a behaviour of their own (HTTP, TLS, delays, resets, ...) are served by `loadgen.sink.behaviour`.

Several processes share each address with SO_REUSEPORT, because the descriptors of one process are limited; the
kernel spreads connections over them by a hash of the four-tuple. TcpState is plain integers and one epoll object, as in
the connector: a held connection is a bare descriptor.
"""

from __future__ import annotations

import os
import signal
import socket
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from errno import ECONNABORTED, EMFILE, ENFILE
from functools import partial
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from typing import TYPE_CHECKING, Any, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import Endpoint, SinkBehaviour, Transport
from loadgen.processes.link import Link
from loadgen.processes.shared_memory import Blocks
from loadgen.sink.binding import bind_failure
from loadgen.sink.certificates import Certificates
from loadgen.sink.counts import PORTS, SinkCounter, block_dtype
from loadgen.sink.udp import DatagramCounts, DatagramSocket

if TYPE_CHECKING:
    from loadgen.sink.behaviour.connections import AcceptedConnections
    from loadgen.sink.behaviour.listener import Listener

#: listen(2) silently cuts this to net.core.somaxconn.
BACKLOG: Final = 65535

_HELD: Final = EPOLLIN | EPOLLRDHUP
_ACCEPT_BATCH: Final = 128
_CLOSE_BATCH: Final = 1024
_EVENTS_MAX: Final = 512
_READ_SIZE: Final = 65536
_PUBLISH_NS: Final = 50_000_000
#: Pause before accepting again after the process has run out of descriptors.
_PAUSE_NS: Final = 50_000_000
_PAUSE_S: Final = _PAUSE_NS / 1e9
#: Seconds between heartbeats of an idle sink.
_IDLE_S: Final = 0.2
#: Receive buffer of a sink that reads slowly, small so that its clients notice; the kernel doubles it (socket(7)).
_SLOW_BUFFER: Final = 8_192


@dataclass(frozen=True, slots=True)
class SinkShard:
    """The part of one sink process: it listens on every endpoint, and the kernel gives it a share of the connections.

    sources: rows of its block. descriptors: its limit of open files.
    backlogs: arguments of listen() other than BACKLOG.
    accept_after_s: seconds from "start" until accepting begins; None: never; default: at once.
    closes_after: close first, after sending back this many bytes; None: the client closes first.
    behaviours: of endpoints that are not plain echoes. certificates: for those that speak TLS.
    gather_s: pause after the accept queue was emptied. With many sinks on few cores every connection would wake
    another process; with the pause one wake-up accepts several. The handshake does not wait for accept().
    """

    endpoints: tuple[Endpoint, ...]
    index: int
    count: int
    sources: int
    descriptors: int
    backlogs: Mapping[Endpoint, int] = field(default_factory=dict)
    accept_after_s: Mapping[Endpoint, float | None] = field(default_factory=dict)
    closes_after: int | None = None
    gather_s: float = 0.0
    behaviours: Mapping[Endpoint, SinkBehaviour] = field(default_factory=dict)
    certificates: Certificates | None = None
    transport: Transport = Transport.TCP


class SinkLoop:
    """The epoll loop of one sink process."""

    def __init__(self, shard: SinkShard, block: Any) -> None:
        self._block = block
        self._counters = array("q", [0]) * len(SinkCounter)
        self._rows: dict[str, int] = {}
        self._row_max = shard.sources - 1
        self._accepted = array("q", [0]) * shard.sources
        self._open = array("q", [0]) * shard.sources
        self._seen = memoryview(block["seen"].reshape(-1))
        #: Indexed by descriptor: the row of the connection's source, -1 where there is no connection.
        self._row_of = array("i", [-1]) * shard.descriptors
        self._non_blocking = bytearray(shard.descriptors)
        self._closes_after = shard.closes_after
        self._bytes_left: dict[int, int] = {}
        self._close_from: int | None = None
        self._unsent: dict[int, bytes] = {}
        self._published_ns = 0
        self._paused_ns = 0
        self._gather_ns = int(shard.gather_s * NS_PER_S)
        self._gather_until_ns = 0
        self._quiet = True
        self._epoll = epoll()
        #: Callbacks by descriptor, for all descriptors that are not connections. A listener's callback keeps it open.
        self._handlers: dict[int, Callable[[], None]] = {}
        self._connections: AcceptedConnections | None = None
        #: Listeners to accept from, and listeners that start later: (seconds after "start", descriptor).
        self._accepting: list[int] = []
        self._later: list[tuple[float, int]] = []
        self._start_ns = 0
        self._datagrams = DatagramCounts()
        for endpoint in shard.endpoints:
            behaviour = shard.behaviours.get(endpoint, SinkBehaviour())
            if shard.transport is Transport.UDP:
                port = DatagramSocket(endpoint, behaviour, self._count_udp_client, self._datagrams)
                self._handlers[port.fileno()] = port.receive
                self._epoll.register(port.fileno(), EPOLLIN)
                continue
            sock = _listen(endpoint, shard.backlogs.get(endpoint, BACKLOG), behaviour)
            fd = sock.fileno()
            if behaviour == SinkBehaviour():
                self._handlers[fd] = partial(self._accept_batch, sock)
            else:
                self._handlers[fd] = self._behaviour_handler(sock, behaviour, shard.certificates)
            after_s = shard.accept_after_s.get(endpoint, 0.0)
            if after_s == 0:
                self._accept_from(fd)
            elif after_s is not None:
                self._later.append((after_s, fd))

    def serve(self, link: Link) -> None:
        """Run until the link closes or a "stop" command arrives."""
        control = link.fileno()
        handlers, connections = self._handlers, self._connections
        self._epoll.register(control, EPOLLIN)
        link.send(report="ready")
        while True:
            events = self._epoll.poll(self._poll_timeout_s(), _EVENTS_MAX)
            self._quiet = self._quiet and not events
            ended = []
            for fd, event in events:
                if fd in handlers:
                    handlers[fd]()
                elif fd == control:
                    message = link.receive()
                    match message and message["do"]:
                        case "start":
                            assert message is not None
                            self._start_ns = message["at_ns"]
                        case "close":
                            self._close_from, self._closes_after = 0, 0
                            if connections:
                                connections.close_first()
                        case _:
                            self._publish(now_ns())
                            return
                elif event & EPOLLOUT:
                    self._write(fd, b"")
                elif not self._read(fd, event):
                    ended.append(fd)
            for fd in ended:  # after all reads: batches of one kind of system call are cheaper
                self._close(fd)
            if self._close_from is not None:
                self._close_held(self._close_from)
            now = now_ns()
            if connections and connections.run_timers(now):
                self._quiet = False
            if self._paused_ns and (ended or now - self._paused_ns > _PAUSE_NS):
                self._resume()
            if self._gather_until_ns and now >= self._gather_until_ns:
                self._gather_until_ns = 0
                self._watch_queues(EPOLLIN)
            if self._later and self._start_ns:
                self._start_later_listeners(now)
            if now - self._published_ns > _PUBLISH_NS:
                self._publish(now)

    def _poll_timeout_s(self) -> float:
        """Return the time until something is due; longer when the sink is idle and has published its counters."""
        if self._close_from is not None:
            return 0.0
        if self._gather_until_ns:
            timeout_s = max(self._gather_until_ns - now_ns(), 0) / NS_PER_S
        else:
            timeout_s = _IDLE_S if self._quiet and not self._paused_ns and not self._later else _PAUSE_S
        if self._connections and (due_ns := self._connections.due_ns):
            timeout_s = min(timeout_s, max(due_ns - now_ns(), 0) / NS_PER_S)
        return timeout_s

    def _watch_queues(self, events: int) -> None:
        for fd in self._accepting:
            self._epoll.modify(fd, events)

    def _accept_from(self, fd: int) -> None:
        self._accepting.append(fd)
        self._epoll.register(fd, EPOLLIN)

    def _start_later_listeners(self, now: int) -> None:
        """Begin to accept from the listeners whose time has come."""
        for after_s, fd in tuple(self._later):
            if now - self._start_ns >= after_s * NS_PER_S:
                self._later.remove((after_s, fd))
                self._accept_from(fd)

    def _behaviour_handler(
        self, sock: socket.socket, behaviour: SinkBehaviour, certificates: Certificates | None
    ) -> Callable[[], None]:
        """Return the callback for a listening socket with a behaviour of its own."""
        from loadgen.sink.behaviour.connections import AcceptedConnections  # not imported for plain echoes
        from loadgen.sink.behaviour.listener import Listener

        if self._connections is None:
            self._connections = AcceptedConnections(self._close, self._closes_after)
            fd = self._connections.fileno()
            self._handlers[fd] = lambda connections=self._connections: connections.serve(now_ns())  # type: ignore[misc]
            self._epoll.register(fd, EPOLLIN)
        context = None
        if behaviour.tls:
            from loadgen.sink.behaviour.tls import server_context

            assert certificates is not None, "a sink that speaks TLS has a certificate"
            context = server_context(certificates, behaviour.speaks)
        return partial(self._accept_connections, sock, self._connections, Listener(behaviour, context))

    def _accept(self, sock: socket.socket) -> list[tuple[int, Any]]:
        """Accept one batch from a listening socket; return (descriptor, address) of each connection."""
        accept = sock._accept  # type: ignore[attr-defined]  # accept4(2) without an object per connection
        accepted = []
        try:
            for _ in range(_ACCEPT_BATCH):
                accepted.append(accept())  # noqa: PERF401  # keep what was accepted before an error
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in (EMFILE, ENFILE):
                self._pause()
            elif error.errno != ECONNABORTED:  # closed by the client before it was accepted
                raise
        self._counters[SinkCounter.ACCEPTED] += len(accepted)
        if self._gather_ns and not self._paused_ns:
            self._gather_until_ns = now_ns() + self._gather_ns
            self._watch_queues(0)
        return accepted

    def _accept_connections(self, sock: socket.socket, connections: AcceptedConnections, listener: Listener) -> None:
        accepted = self._accept(sock)
        now = now_ns()
        for fd, address in accepted:
            row = self._row_of[fd] = self._count_client(address[0], address[1])
            self._open[row] += 1
            self._counters[SinkCounter.OPEN] += 1
            connections.add(fd, listener, now)

    def _accept_batch(self, sock: socket.socket) -> None:
        accepted = self._accept(sock)
        rows, row_of, seen, register = self._rows, self._row_of, self._seen, self._epoll.register
        accepted_of, open_of = self._accepted, self._open
        closing = self._closes_after == 0
        for fd, address in accepted:
            row = rows.get(address[0])
            if row is None:
                row = self._new_row(address[0])
            accepted_of[row] += 1
            seen[row * (PORTS // 8) + (address[1] >> 3)] |= 1 << (address[1] & 7)
            if not closing:
                open_of[row] += 1
                row_of[fd] = row
                register(fd, _HELD)
        if closing:
            for fd, _ in accepted:
                os.close(fd)
        else:
            self._counters[SinkCounter.OPEN] += len(accepted)

    def _count_udp_client(self, address: str, port: int) -> None:
        """Count an endpoint that sent its first datagram; no state is held for it."""
        self._count_client(address, port)
        self._counters[SinkCounter.ACCEPTED] += 1

    def _count_client(self, address: str, port: int) -> int:
        """Count a client endpoint; return the row of its address."""
        row = self._rows.get(address)
        if row is None:
            row = self._new_row(address)
        self._accepted[row] += 1
        self._seen[row * (PORTS // 8) + (port >> 3)] |= 1 << (port & 7)
        return row

    def _new_row(self, address: str) -> int:
        row = min(len(self._rows), self._row_max)
        self._rows[address] = row
        if row < self._row_max:
            self._block["addresses"][row] = address.encode()
        return row

    def _read(self, fd: int, event: int) -> bool:
        """Echo the data read; return False at the end of the connection."""
        if event & (EPOLLERR | EPOLLHUP) and not event & EPOLLIN:
            return False
        try:
            data = os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return True
        except OSError:  # reset by the client
            return False
        if data:
            if not self._non_blocking[fd]:
                # Accepted sockets start out blocking: connections that never send need no fcntl(2).
                os.set_blocking(fd, False)
                self._non_blocking[fd] = 1
            self._write(fd, data)
        return bool(data)

    def _write(self, fd: int, data: bytes) -> None:
        """Echo `data`; keep what the client is not reading yet, and read no more until it is written."""
        unsent = self._unsent.pop(fd, b"")
        data = unsent + data
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(fd)
            return
        self._counters[SinkCounter.ECHOED_BYTES] += sent
        if sent < len(data):
            self._unsent[fd] = data[sent:]
            if not unsent:
                self._epoll.modify(fd, EPOLLOUT)
        elif unsent:
            self._epoll.modify(fd, _HELD)
        if self._closes_after is not None and self._count_down(fd, sent) <= 0:
            self._close(fd)

    def _count_down(self, fd: int, sent: int) -> int:
        """Subtract `sent` and return the number of bytes still to send back before this side closes."""
        left = self._bytes_left[fd] = self._bytes_left.get(fd, self._closes_after or 0) - sent
        return left

    def _close(self, fd: int) -> None:
        self._unsent.pop(fd, None)
        self._bytes_left.pop(fd, None)
        os.close(fd)
        self._open[self._row_of[fd]] -= 1
        self._row_of[fd] = -1
        self._non_blocking[fd] = 0
        self._counters[SinkCounter.OPEN] -= 1

    def _close_held(self, begin: int) -> None:
        """Close one batch of held connections, from descriptor `begin` on; the event loop calls again for the rest."""
        end = min(begin + _CLOSE_BATCH, len(self._row_of))
        for fd in range(begin, end):
            if self._row_of[fd] < 0:
                continue
            if self._connections and fd in self._connections:
                self._connections.close_now(fd)
            else:
                self._close(fd)
        self._close_from = end if end < len(self._row_of) else None

    def _pause(self) -> None:
        """Stop accepting for a moment, because the process has no free descriptor."""
        self._counters[SinkCounter.REFUSED_BY_LIMIT] += 1
        self._paused_ns = now_ns()
        self._gather_until_ns = 0
        self._watch_queues(0)

    def _resume(self) -> None:
        """Accept again: a descriptor was closed, or the pause is over."""
        self._paused_ns = 0
        self._watch_queues(EPOLLIN)

    def _publish(self, now: int) -> None:
        self._published_ns = now
        self._quiet = True
        self._counters[SinkCounter.HEARTBEAT_NS] = now
        self._counters[SinkCounter.DATAGRAMS] = self._datagrams.received
        self._counters[SinkCounter.ANSWERED] = self._datagrams.answered
        self._counters[SinkCounter.DROPPED] = self._datagrams.dropped
        self._block["accepted"] = self._accepted
        self._block["open"] = self._open
        self._block["counters"] = self._counters


def _listen(endpoint: Endpoint, backlog: int, behaviour: SinkBehaviour) -> socket.socket:
    """Return a listening socket; accepted sockets inherit its options."""
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


def main(shard: SinkShard, link_fd: int, blocks_fd: int) -> None:
    """Entry of a forked sink; return on "stop" or when the orchestrator has exited."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    blocks = Blocks(blocks_fd, block_dtype(shard.sources), shard.count)
    link = Link(socket.socket(fileno=link_fd))
    try:
        sink = SinkLoop(shard, blocks.records[shard.index])
    except OSError as error:
        link.send(report="failed", text=bind_failure(shard.endpoints, error, shard.transport))
        return
    sink.serve(link)
