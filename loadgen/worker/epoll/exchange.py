"""Connections that say something: exchanges of any protocol, below them TLS where it is asked for.

A connection that has been opened goes through what it has to do at once: the handshake, then so many exchanges, one
after the other. Until that is through it is pending, which is bounded by the scenario's timeout. What follows is
up to those who build on this: a connection is held, is asked again now and then, or is closed.

The protocol sees bytes and no socket. A request that does not fit into the socket's buffer is sent as room is made in
it, a reply may come in pieces, and what nobody asked for is thrown away.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import ETIMEDOUT
from select import EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Any, Final

from loadgen.clock import now_ns
from loadgen.model import CloseMode
from loadgen.outcomes import Syscall, error_key
from loadgen.protocols import Exchange
from loadgen.worker.epoll.connector import Connector
from loadgen.worker.tls import Channel, Client, reason_of

#: A reply that is longer is wrong.
REPLY_MAX: Final = 1 << 20
_READING: Final = EPOLLIN | EPOLLRDHUP
#: Events at a time with TLS, where each may be the end of a handshake, which takes a millisecond.
_TLS_EVENTS_MAX: Final = 32
_END_OF_FILE: Final = error_key(Syscall.RECV, 0)


@dataclass(slots=True)
class Talk:
    """An exchange under way: since when, what was asked, what has come of the reply; how many are to follow."""

    began_ns: int
    request: bytes
    left: int
    received: bytes = b""


class Talker(Connector):
    """All connections of one worker, held once they are secured and have made their exchanges.

    exchange: what they say; None: nothing. client: the TLS below it; None: none.
    exchanges: how many each makes as soon as it is open.
    pending_max: connections that may be on their way, or pending, at a time; left out: in_flight_max.
    The rest is as for Connector.
    """

    def __init__(
        self,
        *args: Any,
        exchange: Exchange | None = None,
        client: Client | None = None,
        exchanges: int = 1,
        pending_max: int | None = None,
        close: CloseMode,
        **more: Any,
    ) -> None:
        super().__init__(*args, close=close, **more)
        self._client, self._exchanges = client, exchanges if exchange else 0
        if exchange:
            self._request, self._reply = exchange.request, exchange.reply
        if client:
            self._events_max = _TLS_EVENTS_MAX
        self._says_farewell = close is CloseMode.FIN
        self._pending_max = self._in_flight_max if pending_max is None else pending_max
        self._asked = 0
        self._talks: dict[int, Talk] = {}
        #: By descriptor: since when the step it is in has been going on, the oldest first.
        self._pending: dict[int, int] = {}
        #: By descriptor: what the socket's buffer had no room for.
        self._unsent: dict[int, memoryview] = {}
        self._channels: dict[int, Channel] = {}

    @property
    def room(self) -> int:
        """How many more attempts may be started before some are answered, or pending ones through."""
        return min(super().room, self._pending_max - len(self._unanswered) - len(self._pending))

    @property
    def idle(self) -> bool:
        """Whether every attempt is answered, and no connection is pending."""
        return super().idle and not self._pending

    def expire(self, now: int) -> None:
        """Give up attempts, handshakes and exchanges that have waited longer than the scenario's timeout."""
        super().expire(now)
        expired = []
        for fd, since_ns in self._pending.items():
            if now - since_ns < self._timeout_ns:
                break
            expired.append(fd)
        for fd in expired:
            self._expired(fd)

    def _expired(self, fd: int) -> None:
        """What a connection is waiting for has not come in time."""
        self._lose(fd, error_key(Syscall.WAIT, ETIMEDOUT))

    # --- From open to through -----------------------------------------------------------------------

    def _hold(self, opened: Sequence[tuple[socket.SocketType, int, int]]) -> None:
        super()._hold(opened)
        self._begin([sock for sock, _, _ in opened])

    def _hold_late(self, fd: int, sock: socket.SocketType, pair: int, port: int) -> None:
        super()._hold_late(fd, sock, pair, port)
        self._begin((sock,))

    def _begin(self, opened: Iterable[socket.SocketType]) -> None:
        """These are open: have each do what it has to."""
        established_ns = now_ns()
        for sock in opened:
            fd = sock.fileno()
            if fd < 0:  # it could not be watched, and is lost already
                continue
            self._pending[fd] = established_ns
            if self._client is None:
                self._go_on(fd, sock, self._exchanges)
            else:
                channel = self._channels[fd] = self._client.channel(self._pair_of[fd])
                channel.shake()  # says hello, which cannot fail
                self._send(fd, sock, channel.outgoing())

    def _go_on(self, fd: int, sock: socket.SocketType, exchanges: int) -> None:
        """Make one of so many exchanges that are left, if there are any."""
        if exchanges:
            self._ask(fd, sock, exchanges - 1)
        else:
            self._through(fd, sock)

    def _through(self, fd: int, sock: socket.SocketType) -> None:  # noqa: ARG002  # for those who close it
        """A connection has done what it had to: it is held from now on."""
        del self._pending[fd]

    def _end(self, fd: int, sock: socket.SocketType) -> None:
        """Close a connection as planned."""
        self._recorder.record_closed(self._forget(fd))
        self._close_all((sock,))

    # --- Exchanges ----------------------------------------------------------------------------------

    def _ask(self, fd: int, sock: socket.SocketType, left: int = 0) -> None:
        """Begin an exchange, after which so many are left to be made at once."""
        try:
            request = self._request(self._asked)
        except Exception as error:
            raise SystemExit(f"the protocol cannot make request {self._asked}: {error!r}") from error
        self._asked += 1
        began_ns = now_ns()
        self._talks[fd] = Talk(began_ns, request, left)
        if self._pending and self._pending.pop(fd, 0):  # its patience begins again, and the youngest come last
            self._pending[fd] = began_ns
        if request:
            self._send(fd, sock, self._channels[fd].encrypted(request) if self._channels else request)

    def _received(self, fd: int, data: bytes) -> None:
        """Some bytes of the other side: of a handshake, of a reply, or such as nobody asked for."""
        if self._client is not None:
            self._secured(fd, data)
        elif talk := self._talks.get(fd):
            self._heard(fd, talk, data)

    def _heard(self, fd: int, talk: Talk, data: bytes) -> None:
        """Some of the reply, or all of it."""
        received = talk.received + data if talk.received else data
        try:
            right = self._reply(talk.request, received)
        except Exception as error:  # a bug in it, which would come up again with every reply
            raise SystemExit(f"the protocol cannot read a reply: {error!r}") from error
        if right is None and len(received) <= REPLY_MAX:
            talk.received = received
            return
        if right:
            self._recorder.record_exchange(now_ns() - talk.began_ns)
        else:
            self._recorder.wrong += 1
        del self._talks[fd]
        if fd in self._pending:
            self._replied(fd, talk.left, right=bool(right))

    def _replied(self, fd: int, left: int, *, right: bool) -> None:
        """An exchange of a connection that is pending is over; one with a wrong reply makes no more of them."""
        sock = self._sockets[fd]
        assert sock is not None
        if right:
            self._go_on(fd, sock, left)
        else:
            self._end(fd, sock)

    # --- TLS ----------------------------------------------------------------------------------------

    def _secured(self, fd: int, data: bytes) -> None:
        """Bytes that TLS has to see first."""
        channel, sock = self._channels[fd], self._sockets[fd]
        assert sock is not None
        channel.received(data)
        try:
            if not channel.secured:
                done = channel.shake()
                if (answer := channel.outgoing()) and not self._send(fd, sock, answer):
                    return
                if not done:
                    return
                self._recorder.record_handshake(now_ns() - self._pending[fd], resumed=channel.resumed)
                self._go_on(fd, sock, self._exchanges)
                if self._sockets[fd] is None:  # it had nothing more to do, or is lost
                    return
            plain = channel.read()
            if (answer := channel.outgoing()) and not self._send(fd, sock, answer):
                return
        except ssl.SSLError as error:
            if alert := channel.outgoing():
                try:
                    sock.send(alert)
                except OSError:  # it is closed next, whether the other side has heard why or not
                    pass
            self._lose(fd, error_key(Syscall.TLS, reason_of(error)))
            return
        if plain and (talk := self._talks.get(fd)):
            self._heard(fd, talk, plain)
        # Where its end is planned the end of file follows, and whoever sends that first keeps TIME-WAIT.
        if channel.ended and self._sockets[fd] is sock and not self._ends_well(fd):
            self._lose(fd, _END_OF_FILE)

    # --- Sending ------------------------------------------------------------------------------------

    def _send(self, fd: int, sock: socket.SocketType, data: bytes) -> bool:
        """Send, now what the socket's buffer takes and the rest when there is room; False: the connection is lost."""
        if self._unsent and (unsent := self._unsent.get(fd)):
            self._unsent[fd] = memoryview(bytes(unsent) + data)
            return True
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(fd, error_key(Syscall.SEND, error.errno or 0))
            return False
        if sent < len(data):
            self._unsent[fd] = memoryview(data)[sent:]
            self._epoll.modify(fd, _READING | EPOLLOUT)
        return True

    def _send_on(self, fd: int) -> None:
        """There is room for more of what is not sent yet."""
        sock, unsent = self._sockets[fd], self._unsent.get(fd)
        if sock is None or unsent is None:  # over since the kernel reported it
            return
        try:
            unsent = self._unsent[fd] = unsent[sock.send(unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(fd, error_key(Syscall.SEND, error.errno or 0))
            return
        if not unsent:
            del self._unsent[fd]
            self._epoll.modify(fd, _READING)

    def _held_event(self, fd: int, event: int) -> None:
        if event & EPOLLOUT:
            self._send_on(fd)
            if event == EPOLLOUT:
                return
        super()._held_event(fd, event)

    # --- The end ------------------------------------------------------------------------------------

    def _close_all(self, closing: Sequence[socket.SocketType]) -> None:
        if self._channels:
            for sock in closing:
                channel = self._channels.pop(sock.fileno(), None)
                if channel and self._says_farewell and (farewell := channel.farewell()):
                    try:
                        sock.send(farewell)
                    except OSError:  # it is closed next, whether the other side has heard so or not
                        pass
        super()._close_all(closing)

    def _lose(self, fd: int, key: int) -> None:
        self._channels.pop(fd, None)
        super()._lose(fd, key)

    def _forget(self, fd: int) -> int:
        self._talks.pop(fd, None)
        self._pending.pop(fd, None)
        self._unsent.pop(fd, None)
        return super()._forget(fd)
