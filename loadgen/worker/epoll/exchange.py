"""Exchanges of any protocol on established connections, below them TLS where the scenario asks for it.

A connection that has been established first does what it has to do at once: the TLS handshake, then its exchanges,
one after the other. Until then it is pending, and each step may take the scenario's timeout. What follows is in the
schedule: the connection is held, beats now and then, or is closed.

The protocol sees bytes and no socket. A request that does not fit into the socket's buffer is sent as there is room,
a reply may come in pieces, and data that was not asked for is thrown away.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import ETIMEDOUT
from select import EPOLLOUT
from typing import Final

from loadgen.clock import now_ns
from loadgen.model import CloseMode
from loadgen.outcomes import Syscall, error_key
from loadgen.protocols import Exchange
from loadgen.worker.epoll.connector import EVENTS_MAX, EpollConnector, Opened
from loadgen.worker.heartbeat import Beats
from loadgen.worker.settings import Then
from loadgen.worker.tls import Channel, TlsClient, reason_of

#: Maximum length of a reply; a longer one is wrong.
REPLY_MAX: Final = 1 << 20
#: Events at a time with TLS, where each may be the end of a handshake, which takes a millisecond.
_TLS_EVENTS_MAX: Final = 32
_END_OF_FILE: Final = error_key(Syscall.RECV, 0)


@dataclass(slots=True)
class OpenExchange:
    """An exchange under way: when it began, its request, what has come of the reply, exchanges left after it."""

    began_ns: int
    request: bytes
    left: int
    received: bytes = b""


class Exchanges:
    """The driver of connections that shake hands, make exchanges, or wait for the target to close them.

    exchange: the protocol; None: nothing is sent. client: the TLS below it; None: none.
    """

    def __init__(self, connector: EpollConnector, exchange: Exchange | None, client: TlsClient | None) -> None:
        settings = connector.settings
        schedule = settings.schedule
        self._connector, self._recorder, self._lifecycle = connector, connector.recorder, connector.lifecycle
        self._client, self._exchanges = client, schedule.exchanges if exchange else 0
        if exchange:
            self._request, self._reply = exchange.request, exchange.reply
        self._says_farewell = settings.close is CloseMode.FIN
        self._then = schedule.then
        self._datagrams = connector.rules.datagrams
        self._asked = 0
        # By descriptor: the exchange under way; bytes that the socket's buffer had no room for; TLS.
        self._under_way: dict[int, OpenExchange] = {}
        self._unsent: dict[int, memoryview] = {}
        self._channels: dict[int, Channel] = {}
        self._pending = connector.lifecycle.pending
        self.events_max = _TLS_EVENTS_MAX if client else EVENTS_MAX
        self.heartbeat = (
            Beats(schedule.heartbeat, connector.recorder, self._idle, self._beat) if schedule.heartbeat else None
        )

    # --- What the connector reports ---------------------------------------------------------------------

    def opened(self, opened: Sequence[Opened]) -> None:
        """Watch connections that are established, and begin what they have to do."""
        self._connector.watch(opened)
        self._begin([sock for sock, _, _ in opened])

    def opened_late(self, fd: int, opened: Opened) -> None:
        """Begin what a connection has to do that had to wait for its answer."""
        self._connector.watch_late(fd, opened)
        self._begin(opened[:1])

    def event(self, fd: int, event: int) -> None:
        """Send what is left to be sent, read what has come, or count the end."""
        if event & EPOLLOUT:
            self._send_on(fd)
            if event == EPOLLOUT:
                return
        received = self._connector.receive(fd, event)
        if received is None:
            return
        if isinstance(received, int):
            self._connector.end(fd, received, planned=self._ends_well(fd))
        elif self._client is not None:
            self._secured(fd, received)
        elif exchange := self._under_way.get(fd):
            self._heard(fd, exchange, received)

    def over(self, fd: int, sock: socket.SocketType, *, planned: bool) -> None:
        """Forget a connection that is closed next; where TLS is to say close_notify, it does."""
        exchange = self._under_way.pop(fd, None)
        if exchange and self._datagrams and not planned:
            self._recorder.unanswered += 1
        self._pending.pop(fd, None)
        self._unsent.pop(fd, None)
        channel = self._channels.pop(fd, None)
        if channel and planned and self._says_farewell and (farewell := channel.farewell()):
            try:
                sock.send(farewell)
            except OSError:  # it is closed next, whether the other side has received this or not
                pass

    def expire(self, now: int) -> None:
        """End connections whose handshake, exchange or close by the target has taken the scenario's timeout."""
        for fd in self._lifecycle.expired_pending(now):
            channel = self._channels.get(fd)
            if channel and self._only_awaits_session(fd, channel):
                channel.expect_no_session()  # no other connection has to wait for one
                self._connector.close((fd,))
            else:
                self._connector.lose(fd, error_key(Syscall.WAIT, ETIMEDOUT))

    def close_batch(self, count: int) -> bool:
        """Close up to `count` connections; return True while some are left."""
        return self._connector.close_held(count)

    def give_up(self) -> None:
        """Count connections as lost that the target should have closed by now."""
        self._connector.give_up_held()

    def _ends_well(self, fd: int) -> bool:
        """Return True if an end of file is planned: in churn, when the target is to close and nothing is left to do."""
        if self._then is Then.HOLD:
            return self._lifecycle.ending
        channel = self._channels.get(fd)
        return self._then is Then.AWAIT_CLOSE and fd not in self._under_way and (channel is None or channel.secured)

    # --- From established to done -------------------------------------------------------------------------

    def _begin(self, opened: Iterable[socket.SocketType]) -> None:
        established_ns = now_ns()
        for sock in opened:
            fd = sock.fileno()
            if fd < 0:  # it could not be watched, and is lost already
                continue
            self._pending[fd] = established_ns
            if self._client is None:
                self._go_on(fd, sock, self._exchanges)
            else:
                channel = self._channels[fd] = self._client.channel(self._connector.pair_of(fd))
                channel.shake()  # makes the greeting, which cannot fail
                self._send(fd, sock, channel.outgoing())

    def _go_on(self, fd: int, sock: socket.SocketType, exchanges: int) -> None:
        """Begin the next exchange, or do what follows the last."""
        if exchanges:
            self._ask(fd, sock, exchanges - 1)
            return
        if self._then is Then.HOLD:
            del self._pending[fd]
            return
        channel = self._channels.get(fd)
        if self._then is Then.AWAIT_CLOSE or (channel and channel.awaits_session):
            del self._pending[fd]  # its timeout begins again, and the youngest come last
            self._pending[fd] = now_ns()
        else:
            self._connector.close((fd,))

    def _only_awaits_session(self, fd: int, channel: Channel) -> bool:
        """Return True if a connection is closed from here as soon as its TLS session has come."""
        return self._then is Then.CLOSE and channel.secured and fd not in self._under_way

    # --- Exchanges ----------------------------------------------------------------------------------------

    def _ask(self, fd: int, sock: socket.SocketType, left: int = 0) -> None:
        """Begin an exchange. left: number of exchanges to be made at once after it."""
        if self._datagrams:
            self._recorder.asked += 1
        try:
            request = self._request(self._asked)
        except Exception as error:
            raise SystemExit(f"the protocol cannot make request {self._asked}: {error!r}") from error
        self._asked += 1
        began_ns = now_ns()
        self._under_way[fd] = OpenExchange(began_ns, request, left)
        if self._pending and self._pending.pop(fd, 0):  # its timeout begins again, and the youngest come last
            self._pending[fd] = began_ns
        if request:
            self._send(fd, sock, self._channels[fd].encrypted(request) if self._channels else request)

    def _heard(self, fd: int, exchange: OpenExchange, data: bytes) -> None:
        """Judge the reply as far as it has come. In UDP it is this datagram, or a datagram that is still to come."""
        received = exchange.received + data if exchange.received else data
        try:
            right = self._reply(exchange.request, received)
        except Exception as error:  # a bug in the protocol, which would come up again with every reply
            raise SystemExit(f"the protocol cannot read a reply: {error!r}") from error
        if self._datagrams and not right:
            self._recorder.wrong += 1
            return
        if right is None and len(received) <= REPLY_MAX:
            exchange.received = received
            return
        if right:
            self._recorder.record_exchange(now_ns() - exchange.began_ns)
        else:
            self._recorder.wrong += 1
        del self._under_way[fd]
        if fd in self._pending:
            self._replied(fd, exchange.left, right=bool(right))

    def _replied(self, fd: int, left: int, *, right: bool) -> None:
        """Go on after an exchange of a pending connection.

        After a wrong reply, and after the end of churn's duration, the exchanges that are left are not made.
        """
        sock = self._connector.socket_of(fd)
        assert sock is not None
        if right and not (left and self._lifecycle.over(now_ns())):
            self._go_on(fd, sock, left)
        else:
            self._connector.close((fd,))

    # --- Heartbeat ----------------------------------------------------------------------------------------

    def _idle(self) -> list[int]:
        return [fd for fd in self._connector.held() if fd not in self._pending]

    def _beat(self, fd: int) -> bool | None:
        """Begin the exchange of a heartbeat, see Beats. In UDP the last one is given up if it has no reply yet."""
        sock = self._connector.socket_of(fd)
        if sock is None:
            return None
        if fd in self._under_way:
            if not self._datagrams:
                return False
            self._recorder.missed += 1
            self._recorder.unanswered += 1
        self._ask(fd, sock)
        return True

    # --- TLS ----------------------------------------------------------------------------------------------

    def _secured(self, fd: int, data: bytes) -> None:
        """Handle bytes of the other side that TLS has to see first."""
        channel, sock = self._channels[fd], self._connector.socket_of(fd)
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
                if self._connector.socket_of(fd) is None:  # it had nothing more to do, or is lost
                    return
            plain = channel.read()
            if (answer := channel.outgoing()) and not self._send(fd, sock, answer):
                return
        except ssl.SSLError as error:
            if alert := channel.outgoing():
                try:
                    sock.send(alert)
                except OSError:  # it is closed next, whether the other side has received the reason or not
                    pass
            self._connector.lose(fd, error_key(Syscall.TLS, reason_of(error)))
            return
        if plain and (exchange := self._under_way.get(fd)):
            self._heard(fd, exchange, plain)
        if self._connector.socket_of(fd) is not sock:
            return
        # Where its end is planned the end of file follows, and the side that sends that first keeps TIME-WAIT.
        if channel.ended and not self._ends_well(fd):
            self._connector.lose(fd, _END_OF_FILE)
        elif self._only_awaits_session(fd, channel) and not channel.awaits_session:
            self._connector.close((fd,))

    # --- Sending ------------------------------------------------------------------------------------------

    def _send(self, fd: int, sock: socket.SocketType, data: bytes) -> bool:
        """Send as much as the socket's buffer takes, the rest when there is room; False: the connection is lost."""
        if self._unsent and (unsent := self._unsent.get(fd)):
            self._unsent[fd] = memoryview(bytes(unsent) + data)
            return True
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._connector.lose(fd, error_key(Syscall.SEND, error.errno or 0))
            return False
        if sent < len(data):
            self._unsent[fd] = memoryview(data)[sent:]
            self._connector.watch_writable(fd, writable=True)
            return self._connector.socket_of(fd) is sock
        return True

    def _send_on(self, fd: int) -> None:
        """Send more of what is not sent yet."""
        sock, unsent = self._connector.socket_of(fd), self._unsent.get(fd)
        if sock is None or unsent is None:  # over since the kernel reported it
            return
        try:
            unsent = self._unsent[fd] = unsent[sock.send(unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._connector.lose(fd, error_key(Syscall.SEND, error.errno or 0))
            return
        if not unsent:
            del self._unsent[fd]
            self._connector.watch_writable(fd, writable=False)
