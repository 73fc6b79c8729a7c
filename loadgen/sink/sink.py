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
import socket
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from typing import TYPE_CHECKING, Any, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import Endpoint, SinkBehaviour, Transport
from loadgen.processes.link import Link, Message
from loadgen.processes.shared_memory import Blocks
from loadgen.sink.accept_queues import BACKLOG, PAUSE_NS, AcceptQueues, listening_socket, queue_max
from loadgen.sink.binding import bind_failure
from loadgen.sink.certificates import Certificates
from loadgen.sink.closing import release, reset_at_close
from loadgen.sink.counts import PORTS, SinkCounter, SurvivedFailures, block_dtype, publish
from loadgen.sink.memory import HeldBytes
from loadgen.sink.udp import DatagramCounts, DatagramSocket

if TYPE_CHECKING:
    from loadgen.sink.behaviour.connections import AcceptedConnections
    from loadgen.sink.behaviour.listener import Listener

_HELD: Final = EPOLLIN | EPOLLRDHUP
_CLOSE_BATCH: Final = 1024
_EVENTS_MAX: Final = 512
_READ_SIZE: Final = 65536
_PUBLISH_NS: Final = 50_000_000
_PAUSE_S: Final = PAUSE_NS / NS_PER_S
#: Failed calls in a row, a pause after each, before a sink ends that can neither wait for events nor report.
_FAILED_MAX: Final = 20
#: Seconds between heartbeats of an idle sink.
_IDLE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class SinkShard:
    """The part of one sink process: it listens on every endpoint, and the kernel gives it a share of the connections.

    sources: rows of its block. descriptors: its limit of open files.
    backlogs: arguments of listen() other than BACKLOG.
    accept_after_s: seconds from "start" until accepting begins; None: never; default: at once.
    closes_after: close first, after sending back this many bytes; None: the client closes first.
    behaviours: of endpoints that are not plain echoes. certificates: for those that speak TLS.
    gather_s: pause after the accept queue was emptied, so that one wake-up accepts several connections. The handshake
    does not wait for accept(), but an answer would. Short queues are emptied at once all the same. While the clients
    drain it is the pause after connections have ended, too.
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
        self._failures, self._memory = SurvivedFailures(), HeldBytes()
        self._rows: dict[str, int] = {}
        self._row_max = shard.sources - 1
        self._accepted = array("q", [0]) * shard.sources
        self._seen = memoryview(block["seen"].reshape(-1))
        #: Indexed by descriptor: 1 where there is a connection.
        self._connected = bytearray(shard.descriptors)
        self._non_blocking = bytearray(shard.descriptors)
        self._closes_after = shard.closes_after
        self._bytes_left: dict[int, int] = {}
        self._close_from: int | None = None
        self._unsent: dict[int, bytes] = {}
        self._published_ns = 0
        self._failed_waits = 0
        self._quiet = True
        #: The clients close all that is left, and none of them waits for an answer.
        self._drains = False
        self._gather_s = shard.gather_s
        self._epoll = epoll()
        self._queues = AcceptQueues(self._epoll, self._failures, shard.gather_s)
        #: Callbacks by descriptor, for all descriptors that are not connections. A listener's callback keeps it open.
        self._handlers: dict[int, Callable[[], None]] = {}
        self._connections: AcceptedConnections | None = None
        self._datagrams = DatagramCounts()
        for endpoint in shard.endpoints:
            behaviour = shard.behaviours.get(endpoint, SinkBehaviour())
            if shard.transport is Transport.UDP:
                port = DatagramSocket(endpoint, behaviour, self._count_udp_client, self._datagrams, self._failures)
                self._handlers[port.fileno()] = port.receive
                self._epoll.register(port.fileno(), EPOLLIN)
                continue
            sock = listening_socket(endpoint, shard.backlogs.get(endpoint, BACKLOG), behaviour)
            fd = sock.fileno()
            if behaviour == SinkBehaviour():
                self._handlers[fd] = partial(self._accept_batch, sock)
            else:
                self._handlers[fd] = self._behaviour_handler(sock, behaviour, shard.certificates)
            self._queues.add(fd, shard.accept_after_s.get(endpoint, 0.0), queue_max(sock))

    def serve(self, link: Link) -> None:
        """Run until the link closes or a "stop" command arrives. Raises: OSError if it cannot wait for events or
        speak with the orchestrator."""
        control = link.fileno()
        handlers, connections, queues = self._handlers, self._connections, self._queues
        self._epoll.register(control, EPOLLIN)
        if not link.send(report="ready"):
            return
        while True:
            events = self._wait()
            self._quiet = self._quiet and not events
            ended = []
            for fd, event in events:
                if fd == control:
                    if not self._obey(link.receive()):
                        self._publish(now_ns())
                        return
                    continue
                try:
                    if fd in handlers:
                        handlers[fd]()
                    elif event & EPOLLOUT:
                        self._write(fd, b"")
                    elif not self._read(fd, event):
                        ended.append(fd)
                except Exception as error:
                    self._survive(fd, error)
            for fd in ended:  # after all reads: batches of one kind of system call are cheaper
                self._close(fd)
            if self._close_from is not None:
                self._close_held(self._close_from)
            now = now_ns()
            if connections and connections.run_timers(now):
                self._quiet = False
            queues.run(now, freed=bool(ended))
            gathers = self._drains and self._gather_s and ended
            if gathers or now - self._published_ns > _PUBLISH_NS:
                self._publish(now)
            if gathers:  # else each connection that ends would wake this process
                time.sleep(self._gather_s)

    def _wait(self) -> Sequence[tuple[int, int]]:
        """Return the next events; after a failed call none, and a pause."""
        try:
            events = self._epoll.poll(self._poll_timeout_s(), _EVENTS_MAX)
        except OSError as error:
            self._failures.add("epoll_wait", error)
            self._failed_waits += 1
            if self._failed_waits == _FAILED_MAX:
                raise
            time.sleep(_PAUSE_S)
            return ()
        self._failed_waits = 0
        return events

    def _obey(self, message: Message | None) -> bool:
        """Carry out a command; return False if this is the end."""
        if message is None:
            return False
        match message["do"]:
            case "start":
                self._queues.start(message["at_ns"])
            case "drain":
                self._drains = True
            case "close":
                self._close_from, self._closes_after = 0, 0
                if self._connections:
                    self._connections.close_first()
            case _:
                return False
        return True

    def _survive(self, fd: int, error: Exception) -> None:
        """Go on after an error that was not foreseen: reset the one connection that it concerns, else pause."""
        self._failures.add("connection", error)
        if fd in self._handlers:
            self._queues.pause()
        elif self._connected[fd]:
            self._break_off(fd)

    def _break_off(self, fd: int) -> None:
        reset_at_close(fd, self._failures)
        self._close(fd)

    def _poll_timeout_s(self) -> float:
        """Return the time until something is due; longer when the sink is idle and has published its counters."""
        if self._close_from is not None:
            return 0.0
        if until_ns := self._queues.gather_until_ns:
            timeout_s = max(until_ns - now_ns(), 0) / NS_PER_S
        else:
            timeout_s = _IDLE_S if self._quiet and not self._queues.waiting else _PAUSE_S
        if self._connections and (due_ns := self._connections.due_ns):
            timeout_s = min(timeout_s, max(due_ns - now_ns(), 0) / NS_PER_S)
        return timeout_s

    def _behaviour_handler(
        self, sock: socket.socket, behaviour: SinkBehaviour, certificates: Certificates | None
    ) -> Callable[[], None]:
        """Return the callback for a listening socket with a behaviour of its own."""
        from loadgen.sink.behaviour.connections import AcceptedConnections  # not imported for plain echoes
        from loadgen.sink.behaviour.listener import Listener

        if self._connections is None:
            self._connections = AcceptedConnections(self._close, self._closes_after, self._failures, self._memory)
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
        """Accept and count one batch of connections."""
        accepted = self._queues.accept(sock)
        self._counters[SinkCounter.ACCEPTED] += len(accepted)
        return accepted

    def _accept_connections(self, sock: socket.socket, connections: AcceptedConnections, listener: Listener) -> None:
        accepted = self._accept(sock)
        now = now_ns()
        for fd, address in accepted:
            self._count_client(address[0], address[1])
            self._connected[fd] = 1
            self._counters[SinkCounter.OPEN] += 1
            connections.add(fd, listener, now)

    def _accept_batch(self, sock: socket.socket) -> None:
        accepted = self._accept(sock)
        rows, connected, seen, register = self._rows, self._connected, self._seen, self._epoll.register
        opened = 0
        accepted_of = self._accepted
        closing = self._closes_after == 0
        for fd, address in accepted:
            row = rows.get(address[0])
            if row is None:
                row = self._new_row(address[0])
            accepted_of[row] += 1
            seen[row * (PORTS // 8) + (address[1] >> 3)] |= 1 << (address[1] & 7)
            if closing:
                continue
            try:
                register(fd, _HELD)
            except OSError as error:  # it would be served never
                self._failures.add("epoll_ctl", error)
                reset_at_close(fd, self._failures)
                release(fd, self._epoll, self._failures)
                continue
            connected[fd] = 1
            opened += 1
        self._counters[SinkCounter.OPEN] += opened
        if closing:
            for fd, _ in accepted:
                release(fd, self._epoll, self._failures)

    def _count_udp_client(self, address: str, port: int) -> None:
        """Count an endpoint that sent its first datagram; no state is held for it."""
        self._count_client(address, port)
        self._counters[SinkCounter.ACCEPTED] += 1

    def _count_client(self, address: str, port: int) -> None:
        """Count a client endpoint in the row of its address."""
        row = self._rows.get(address)
        if row is None:
            row = self._new_row(address)
        self._accepted[row] += 1
        self._seen[row * (PORTS // 8) + (port >> 3)] |= 1 << (port & 7)

    def _new_row(self, address: str) -> int:
        row = len(self._rows)
        if row >= self._row_max:  # not kept: a client may have any number of addresses
            return self._row_max
        self._rows[address] = row
        self._block["addresses"][row] = address.encode()
        return row

    def _read(self, fd: int, event: int) -> bool:
        """Echo the data read; return False at the end of the connection."""
        if event & (EPOLLERR | EPOLLHUP):  # reset or timed out: what was not read cannot be answered any more
            return False
        try:
            data = os.read(fd, min(_READ_SIZE, self._memory.allowance))
        except BlockingIOError:
            return True
        except OSError as error:
            self._failures.add("read", error)
            return False
        if data:
            if not self._non_blocking[fd]:
                # Accepted sockets start out blocking: connections that never send need no ioctl(2).
                try:
                    os.set_blocking(fd, False)
                except OSError as error:
                    self._failures.add("ioctl", error)
                    return False
                self._non_blocking[fd] = 1
            self._write(fd, data)
        return bool(data)

    def _write(self, fd: int, data: bytes) -> None:
        """Echo `data`; keep what the client is not reading yet, and read no more until it is written."""
        if unsent := self._unsent.pop(fd, b""):
            self._memory.used -= len(unsent)
            data = unsent + data
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._failures.add("write", error)
            self._close(fd)
            return
        self._counters[SinkCounter.ECHOED_BYTES] += sent
        if sent < len(data):
            self._unsent[fd] = data[sent:]
            self._memory.used += len(data) - sent
        if (sent < len(data)) != bool(unsent):
            try:
                self._epoll.modify(fd, EPOLLOUT if sent < len(data) else _HELD)
            except OSError as error:
                self._failures.add("epoll_ctl", error)
                self._break_off(fd)
                return
        if self._closes_after is not None and self._count_down(fd, sent) <= 0:
            self._close(fd)

    def _count_down(self, fd: int, sent: int) -> int:
        """Subtract `sent` and return the number of bytes still to send back before this side closes."""
        left = self._bytes_left[fd] = self._bytes_left.get(fd, self._closes_after or 0) - sent
        return left

    def _close(self, fd: int) -> None:
        if self._unsent:
            self._memory.used -= len(self._unsent.pop(fd, b""))
        if self._bytes_left:
            self._bytes_left.pop(fd, None)
        release(fd, self._epoll, self._failures)
        self._connected[fd] = 0
        self._non_blocking[fd] = 0
        self._counters[SinkCounter.OPEN] -= 1

    def _close_held(self, begin: int) -> None:
        """Close one batch of held connections, from descriptor `begin` on; the event loop calls again for the rest."""
        end = min(begin + _CLOSE_BATCH, len(self._connected))
        for fd in range(begin, end):
            if not self._connected[fd]:
                continue
            if self._connections and fd in self._connections:
                self._connections.close_now(fd)
            else:
                self._close(fd)
        self._close_from = end if end < len(self._connected) else None

    def _publish(self, now: int) -> None:
        self._published_ns = now
        self._quiet = True
        self._counters[SinkCounter.HEARTBEAT_NS] = now
        self._counters[SinkCounter.REFUSED_BY_LIMIT] = self._queues.exhausted
        self._counters[SinkCounter.DATAGRAMS] = self._datagrams.received
        self._counters[SinkCounter.ANSWERED] = self._datagrams.answered
        self._counters[SinkCounter.DROPPED] = self._datagrams.dropped
        publish(self._block, self._counters, self._accepted, self._failures)


def main(shard: SinkShard, link_fd: int, blocks_fd: int) -> None:
    """Entry of a forked sink; return on "stop" or when the orchestrator has exited."""
    blocks = Blocks(blocks_fd, block_dtype(shard.sources), shard.count)
    link = Link.at(link_fd)
    try:
        sink = SinkLoop(shard, blocks.records[shard.index])
    except OSError as error:
        link.send(report="failed", text=bind_failure(shard.endpoints, error, shard.transport))
        return
    try:
        sink.serve(link)
    except OSError as error:
        os.write(2, f"loadgen: sink {shard.index} cannot go on: {error}\n".encode())
        os._exit(1)
