"""The listening side: accept in batches, hold, echo, close on end of file; and count all of it.

Or close first: all of what is held when told to, or in churn each connection as soon as it is accepted,
or has had its bytes sent back. Then it is this side that keeps TIME-WAIT.

Where a target has manners of its own (HTTP, TLS, delays, resets, ...) `loadgen.sink.behaviour` serves its connections.

Several processes share each address with SO_REUSEPORT, because one process may hold only so many
descriptors; the kernel spreads connections over them by a hash of the four-tuple. Plain integers
and one epoll object, as in the connector: a held connection is a bare descriptor.

A sink knows its clients by their source address. It counts what it accepted from each and marks
every source port seen, so that a run can say that both sides mean the same connections.
"""

from __future__ import annotations

import os
import signal
import socket
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from errno import EADDRINUSE, EADDRNOTAVAIL, ECONNABORTED, EMFILE, ENFILE, ENODEV, errorcode
from functools import partial
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import HostError
from loadgen.model import Endpoint, Manners, Transport
from loadgen.processes.link import Link
from loadgen.processes.shared_memory import Blocks
from loadgen.sink.certificates import Certificates
from loadgen.sink.udp import DatagramPort, Datagrams

if TYPE_CHECKING:
    from loadgen.sink.behaviour.connections import Guests
    from loadgen.sink.behaviour.listener import Door

#: listen(2) cuts this to net.core.somaxconn without a word.
BACKLOG: Final = 65535
PORTS: Final = 65536

_HELD: Final = EPOLLIN | EPOLLRDHUP
_ACCEPT_BATCH: Final = 128
_CLOSE_BATCH: Final = 1024
_EVENTS_MAX: Final = 512
_READ_SIZE: Final = 65536
_PUBLISH_NS: Final = 50_000_000
#: How long a sink without a free descriptor leaves its queue alone before it looks again.
_PAUSE_NS: Final = 50_000_000
_PAUSE_S: Final = _PAUSE_NS / 1e9
#: How often a sink to which nothing happens shows that it is there.
_IDLE_S: Final = 0.2
#: Receive buffer of a sink that reads slowly, so that its clients feel it; the kernel doubles it (socket(7)).
_SLOW_BUFFER: Final = 8_192
#: Longest text of an IPv6 address with a zone: INET6_ADDRSTRLEN + IFNAMSIZ.
_ADDRESS_SIZE: Final = 62


class SinkCounter(IntEnum):
    """Positions in a sink's counters."""

    ACCEPTED = 0
    OPEN = 1
    ECHOED_BYTES = 2
    REFUSED_BY_LIMIT = 3
    HEARTBEAT_NS = 4
    DATAGRAMS = 5
    ANSWERED = 6
    DROPPED = 7


def block_dtype(sources: int) -> np.dtype[np.void]:
    """The layout of one sink process's block; `sources` rows, the last for all addresses beyond.

    seen: a bit for every source port of that source address that a connection came from.
    """
    return np.dtype(
        [
            ("counters", "i8", (len(SinkCounter),)),
            ("addresses", f"S{_ADDRESS_SIZE}", (sources,)),
            ("accepted", "i8", (sources,)),
            ("open", "i8", (sources,)),
            ("seen", "u1", (sources, PORTS // 8)),
        ]
    )


def totals(blocks: Blocks, gone: Collection[int] = ()) -> dict[str, int]:
    """What all sink processes together have accepted and hold now; those that are `gone` hold nothing."""
    every = blocks.records["counters"].copy()
    every[list(gone), SinkCounter.OPEN] = 0
    counters = every.sum(axis=0)
    return {"accepted": int(counters[SinkCounter.ACCEPTED]), "open": int(counters[SinkCounter.OPEN])}


def datagrams(blocks: Blocks) -> dict[str, int]:
    """What all sink processes together have had of UDP: received, answered, and dropped on purpose."""
    counters = blocks.records["counters"].sum(axis=0)
    names = {"received": SinkCounter.DATAGRAMS, "answered": SinkCounter.ANSWERED, "dropped": SinkCounter.DROPPED}
    return {name: int(counters[counter]) for name, counter in names.items()}


def by_source(blocks: Blocks) -> list[dict[str, Any]]:
    """For each source address: connections accepted, and distinct source ports seen, over all processes.

    The ports are counted over the whole life of the sink, so they are fewer than the connections
    where a port came back or served several targets.
    """
    accepted: dict[str, int] = {}
    seen: dict[str, Any] = {}
    for record in blocks.records:
        for row in np.flatnonzero(record["accepted"]):
            address = record["addresses"][row].decode() or "others"
            accepted[address] = accepted.get(address, 0) + int(record["accepted"][row])
            seen[address] = record["seen"][row] | seen.get(address, 0)
    return [
        {"source": address, "accepted": count, "source_ports": int(np.unpackbits(seen[address]).sum())}
        for address, count in sorted(accepted.items())
    ]


@dataclass(frozen=True, slots=True)
class SinkShard:
    """One sink process's part: it listens everywhere, and the kernel gives it a share.

    sources: rows of its block. descriptors: its limit of open files.
    backlogs: what to give to listen() where it is not BACKLOG.
    accept_after_s: where accepting begins so long after "start", or never (None), instead of at once.
    closes_after: close first, after so many bytes were sent back; None: the client closes first.
    manners: of the endpoints that have other manners than the plain ones. certificates: where they speak TLS.
    gather_s: how long to leave the queue alone after it was emptied. With many sinks on few cores each
    connection would wake another of them; so it wakes one for several. The handshake needs no accept().
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
    manners: Mapping[Endpoint, Manners] = field(default_factory=dict)
    certificates: Certificates | None = None
    transport: Transport = Transport.TCP


class Sink:
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
        self._owed: dict[int, int] = {}
        self._close_from: int | None = None
        self._unsent: dict[int, bytes] = {}
        self._published_ns = 0
        self._paused_ns = 0
        self._gather_ns = int(shard.gather_s * NS_PER_S)
        self._gather_until_ns = 0
        self._quiet = True
        self._epoll = epoll()
        #: What is done when a descriptor that is no connection is ready. Each has its listener and keeps it open.
        self._handlers: dict[int, Callable[[], None]] = {}
        self._guests: Guests | None = None
        #: Listeners that are accepted from, and those that will be: (seconds after "start", descriptor).
        self._accepting: list[int] = []
        self._later: list[tuple[float, int]] = []
        self._start_ns = 0
        self._datagrams = Datagrams()
        for endpoint in shard.endpoints:
            manners = shard.manners.get(endpoint, Manners())
            if shard.transport is Transport.UDP:
                port = DatagramPort(endpoint, manners, self._heard, self._datagrams)
                self._handlers[port.fileno()] = port.receive
                self._epoll.register(port.fileno(), EPOLLIN)
                continue
            listener = _listen(endpoint, shard.backlogs.get(endpoint, BACKLOG), manners)
            fd = listener.fileno()
            if manners == Manners():
                self._handlers[fd] = partial(self._accept_batch, listener)
            else:
                self._handlers[fd] = self._reception(listener, manners, shard.certificates)
            after_s = shard.accept_after_s.get(endpoint, 0.0)
            if after_s == 0:
                self._accept_from(fd)
            elif after_s is not None:
                self._later.append((after_s, fd))

    def serve(self, link: Link) -> None:
        """Run until the link says stop or closes."""
        control = link.fileno()
        handlers, guests = self._handlers, self._guests
        self._epoll.register(control, EPOLLIN)
        link.send(report="ready")
        while True:
            events = self._epoll.poll(self._patience_s(), _EVENTS_MAX)
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
                            if guests:
                                guests.close_first()
                        case _:
                            self._publish(now_ns())
                            return
                elif event & EPOLLOUT:
                    self._write(fd, b"")
                elif not self._read(fd, event):
                    ended.append(fd)
            for fd in ended:  # apart from the reads: one kind of call at a time is the cheaper way
                self._close(fd)
            if self._close_from is not None:
                self._close_held(self._close_from)
            now = now_ns()
            if guests and guests.act(now):
                self._quiet = False
            if self._paused_ns and (ended or now - self._paused_ns > _PAUSE_NS):
                self._resume()
            if self._gather_until_ns and now >= self._gather_until_ns:
                self._gather_until_ns = 0
                self._watch_queues(EPOLLIN)
            if self._later and self._start_ns:
                self._begin_late(now)
            if now - self._published_ns > _PUBLISH_NS:
                self._publish(now)

    def _patience_s(self) -> float:
        """How long to sleep if nothing happens: until something is due, or for long when all is told already."""
        if self._close_from is not None:
            return 0.0
        if self._gather_until_ns:
            patience_s = max(self._gather_until_ns - now_ns(), 0) / NS_PER_S
        else:
            patience_s = _IDLE_S if self._quiet and not self._paused_ns and not self._later else _PAUSE_S
        if self._guests and (due_ns := self._guests.due_ns):
            patience_s = min(patience_s, max(due_ns - now_ns(), 0) / NS_PER_S)
        return patience_s

    def _watch_queues(self, events: int) -> None:
        for fd in self._accepting:
            self._epoll.modify(fd, events)

    def _accept_from(self, fd: int) -> None:
        self._accepting.append(fd)
        self._epoll.register(fd, EPOLLIN)

    def _begin_late(self, now: int) -> None:
        """Begin to accept where the time for it has come."""
        for after_s, fd in tuple(self._later):
            if now - self._start_ns >= after_s * NS_PER_S:
                self._later.remove((after_s, fd))
                self._accept_from(fd)

    def _reception(
        self, listener: socket.socket, manners: Manners, certificates: Certificates | None
    ) -> Callable[[], None]:
        """What to do with those who come to a listener with manners of its own."""
        from loadgen.sink.behaviour.connections import Guests
        from loadgen.sink.behaviour.listener import Door  # for those who need it

        if self._guests is None:
            self._guests = Guests(self._close, self._closes_after)
            fd = self._guests.fileno()
            self._handlers[fd] = lambda guests=self._guests: guests.serve(now_ns())  # type: ignore[misc]
            self._epoll.register(fd, EPOLLIN)
        context = None
        if manners.tls:
            from loadgen.sink.behaviour.tls import server_context

            assert certificates is not None, "a sink that speaks TLS has a certificate"
            context = server_context(certificates, manners.speaks)
        return partial(self._receive_guests, listener, self._guests, Door(manners, context))

    def _take(self, listener: socket.socket) -> list[tuple[int, Any]]:
        """A batch of what has been waiting in a queue: (descriptor, address) each."""
        accept = listener._accept  # type: ignore[attr-defined]  # accept4(2) without an object per connection
        accepted = []
        try:
            for _ in range(_ACCEPT_BATCH):
                accepted.append(accept())  # noqa: PERF401  # what came before an error must not be lost
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in (EMFILE, ENFILE):
                self._pause()
            elif error.errno != ECONNABORTED:  # gone before it was accepted
                raise
        self._counters[SinkCounter.ACCEPTED] += len(accepted)
        if self._gather_ns and not self._paused_ns:
            self._gather_until_ns = now_ns() + self._gather_ns
            self._watch_queues(0)
        return accepted

    def _receive_guests(self, listener: socket.socket, guests: Guests, door: Door) -> None:
        accepted = self._take(listener)
        now = now_ns()
        for fd, address in accepted:
            row = self._row_of[fd] = self._book(address[0], address[1])
            self._open[row] += 1
            self._counters[SinkCounter.OPEN] += 1
            guests.admit(fd, door, now)

    def _accept_batch(self, listener: socket.socket) -> None:
        accepted = self._take(listener)
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

    def _heard(self, address: str, port: int) -> None:
        """Count an endpoint that a datagram came from for the first time; nothing of it is held."""
        self._book(address, port)
        self._counters[SinkCounter.ACCEPTED] += 1

    def _book(self, address: str, port: int) -> int:
        """Write down where somebody comes from; the row of that address."""
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
        """Echo what has come; False when the connection is at its end."""
        if event & (EPOLLERR | EPOLLHUP) and not event & EPOLLIN:
            return False
        try:
            data = os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return True
        except OSError:  # reset by the client; it is closing, whatever its reason
            return False
        if data:
            if not self._non_blocking[fd]:
                # Accepted sockets are left blocking: connections that never send need no fcntl(2).
                os.set_blocking(fd, False)
                self._non_blocking[fd] = 1
            self._write(fd, data)
        return bool(data)

    def _write(self, fd: int, data: bytes) -> None:
        """Echo; what the client is not reading yet waits, and so do we with reading more."""
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
        if self._closes_after is not None and self._owes(fd, sent) <= 0:
            self._close(fd)

    def _owes(self, fd: int, sent: int) -> int:
        """How many bytes are still to be sent back before this side closes."""
        owed = self._owed[fd] = self._owed.get(fd, self._closes_after or 0) - sent
        return owed

    def _close(self, fd: int) -> None:
        self._unsent.pop(fd, None)
        self._owed.pop(fd, None)
        os.close(fd)
        self._open[self._row_of[fd]] -= 1
        self._row_of[fd] = -1
        self._non_blocking[fd] = 0
        self._counters[SinkCounter.OPEN] -= 1

    def _close_held(self, begin: int) -> None:
        """Close some of what is held, from this descriptor on; the loop comes back for the rest."""
        end = min(begin + _CLOSE_BATCH, len(self._row_of))
        for fd in range(begin, end):
            if self._row_of[fd] < 0:
                continue
            if self._guests and fd in self._guests:
                self._guests.dismiss(fd)
            else:
                self._close(fd)
        self._close_from = end if end < len(self._row_of) else None

    def _pause(self) -> None:
        """No descriptor is free: leave the queue alone for a moment instead of spinning on it."""
        self._counters[SinkCounter.REFUSED_BY_LIMIT] += 1
        self._paused_ns = now_ns()
        self._gather_until_ns = 0
        self._watch_queues(0)

    def _resume(self) -> None:
        """Look again: something was closed, or it has been quiet for a while."""
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


def require_free(endpoints: Sequence[Endpoint]) -> None:
    """Make sure that nobody listens there yet: SO_REUSEPORT would let us share with another sink unasked.

    Raises: HostError with the remedy.
    """
    for endpoint in endpoints:
        with socket.socket(endpoint.family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME-WAIT is in nobody's way
            try:
                sock.bind(endpoint.sockaddr)
            except OSError as error:
                raise HostError(_cannot_listen([endpoint], error)) from error


def _listen(endpoint: Endpoint, backlog: int, manners: Manners) -> socket.socket:
    """A listener; what is set on it, accepted sockets inherit."""
    listener = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if manners != Manners():  # an answer behind the tickets of TLS would wait for the client's delayed ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if manners.read_per_s is not None:  # before listen(): the first window is made from it (tcp(7))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
    listener.bind(endpoint.sockaddr)
    listener.listen(backlog)
    return listener


def main(shard: SinkShard, link_fd: int, blocks_fd: int) -> None:
    """Entry of a forked sink; returns when told to stop or when the orchestrator is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    blocks = Blocks(blocks_fd, block_dtype(shard.sources), shard.count)
    link = Link(socket.socket(fileno=link_fd))
    try:
        sink = Sink(shard, blocks.records[shard.index])
    except OSError as error:
        link.send(report="failed", text=_cannot_listen(shard.endpoints, error))
        return
    sink.serve(link)


def _cannot_listen(endpoints: Sequence[Endpoint], error: OSError) -> str:
    where = ", ".join(map(str, endpoints))
    remedy = {
        EADDRINUSE: "another socket has that port: choose another, or stop what listens there (ss -ltnp)",
        EADDRNOTAVAIL: "the address is not on this host: ip address add ADDRESS dev lo",
        ENODEV: "what stands after % is no interface here: ip link lists those that are",
    }.get(error.errno or 0, "choose a port above net.ipv4.ip_unprivileged_port_start, or run as root")
    return f"the sink cannot listen on {where}: {errorcode.get(error.errno or 0, '')}; {remedy}"
