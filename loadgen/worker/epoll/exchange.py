"""Exchanges of any protocol on established connections, below them TLS where the scenario asks for it.

A connection that has been established first does what it has to do at once: the TLS handshake, then its exchanges,
one after the other. Until then it is pending, and each step may take the scenario's timeout. What follows is in the
schedule: the connection is held, beats now and then, or is closed.

The protocol sees bytes and no socket. A request that does not fit into the socket's buffer is sent as there is room,
a reply may come in pieces, and data that was not asked for is thrown away.

An exchange has its places in arrays by descriptor and no object. Only a reply that comes in pieces is kept, as the
bytes so far or as the protocol's reader.
"""

from __future__ import annotations

import socket
import ssl
from array import array
from collections.abc import Iterable, Sequence
from errno import EPROTO, ETIMEDOUT
from select import EPOLLOUT, EPOLLRDHUP
from typing import Final

from loadgen.clock import now_ns
from loadgen.model import CloseMode, Endpoint, Target
from loadgen.outcomes import Syscall, error_key
from loadgen.protocols import Exchange, LastReply, PerTarget, ReplyReader
from loadgen.worker.epoll.connector import EVENTS_MAX, GONE, READ_SIZE, EpollConnector, Opened
from loadgen.worker.heartbeat import Beats
from loadgen.worker.settings import Then
from loadgen.worker.tls import Channel, TlsClient, reason_of

#: Maximum length of a reply; a longer one is wrong.
REPLY_MAX: Final = 1 << 20
#: Events at a time with TLS, where each may be the end of a handshake, which takes a millisecond.
_TLS_EVENTS_MAX: Final = 32

#: The reply is not of the protocol.
_UNREADABLE: Final = error_key(Syscall.RECV, EPROTO)


def _by_pair(
    exchange: Exchange | PerTarget, pairs: Sequence[tuple[str, Endpoint]], targets: Sequence[Target], *, secured: bool
) -> list[Exchange]:
    """Return the exchange of each pair; those to one target share it."""
    if not isinstance(exchange, PerTarget):
        return [exchange] * len(pairs)
    hosts = {target.endpoint: target.host for target in targets}
    by_target = {target: exchange.at(target, hosts.get(target, ""), secured=secured) for _, target in pairs}
    return [by_target[target] for _, target in pairs]


def _is_right(verdict: object) -> bool:
    return verdict is True or verdict is LastReply.RIGHT


class Exchanges:
    """The driver of connections that shake hands, make exchanges, or wait for the target to close them.

    exchange: the protocol; None: nothing is sent. client: the TLS below it; None: none. targets: those of the plan, for
    the names they go by.
    """

    def __init__(
        self,
        connector: EpollConnector,
        exchange: Exchange | PerTarget | None,
        client: TlsClient | None,
        targets: Sequence[Target] = (),
    ) -> None:
        settings = connector.settings
        schedule = settings.schedule
        self._connector, self._recorder, self._lifecycle = connector, connector.recorder, connector.lifecycle
        self._client, self._exchanges = client, schedule.exchanges if exchange else 0
        self._by_pair = _by_pair(exchange, settings.pairs, targets, secured=client is not None) if exchange else []
        self._record_exchange = connector.recorder.record_exchange
        self._receive = connector.receive
        self._says_farewell = settings.close is CloseMode.FIN
        self._then = schedule.then
        # In churn without TLS nothing follows the last reply but the close.
        self._finishes = client is None and schedule.then is not Then.HOLD
        self._datagrams = connector.rules.datagrams
        self._asked = 0
        # By descriptor: the exchange with its target. Of the one under way: when it began (0: there is none), its
        # request, and the number of exchanges to be made at once after it.
        self._exchange_of: list[Exchange | None] = [None] * settings.descriptors
        self._began_ns = array("q", [0]) * settings.descriptors
        self._requests = [b""] * settings.descriptors
        self._left = array("l", [0]) * settings.descriptors
        # By descriptor: what has come of an incomplete reply; bytes that the socket's buffer had no room for; TLS.
        self._partial: dict[int, bytes | ReplyReader] = {}
        self._unsent: dict[int, memoryview] = {}
        self._channels: dict[int, Channel] = {}
        self._pending = connector.lifecycle.pending
        self._sockets = connector.sockets
        self.needs_loop = False
        self.events_max = _TLS_EVENTS_MAX if client else EVENTS_MAX
        self.heartbeat = (
            Beats(schedule.heartbeat, connector.recorder, self._idle, self._beat) if schedule.heartbeat else None
        )

    # --- What the connector reports ---------------------------------------------------------------------

    def opened(self, opened: Sequence[Opened]) -> None:
        """Watch connections that are established, and begin what they have to do."""
        self._connector.watch(opened)
        if self._client is None and self._exchanges:
            self._ask_all(opened)
        else:
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
        received = self._receive(fd, event)
        if not isinstance(received, bytes):
            if received is not None:
                self._ended(fd, received)
            return
        # Data that is all there was, and after it the end of file: another event for it would only say so again.
        ended = event & GONE == EPOLLRDHUP and len(received) < READ_SIZE
        if self._client is not None:
            self._secured(fd, received)
        elif self._began_ns[fd]:
            self._heard(fd, received, ended=ended)
        if ended and self._sockets[fd] is not None:
            self._ended(fd, 0)

    def over(self, fd: int, sock: socket.SocketType, *, planned: bool) -> None:
        """Forget a connection that is closed next; where TLS is to say close_notify, it does."""
        if self._began_ns[fd]:
            self._recorder.unanswered += self._datagrams and not planned
            self._began_ns[fd], self._requests[fd] = 0, b""
        self._partial.pop(fd, None)
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
        return self._then is Then.AWAIT_CLOSE and not self._began_ns[fd] and (channel is None or channel.secured)

    # --- From established to done -------------------------------------------------------------------------

    def _begin(self, opened: Iterable[socket.SocketType]) -> None:
        established_ns = now_ns()
        for sock in opened:
            fd = sock.fileno()
            if fd < 0:  # it could not be watched, and is lost already
                continue
            pair = self._connector.pair_of(fd)
            if self._by_pair:
                self._exchange_of[fd] = self._by_pair[pair]
            if self._client is None:
                self._go_on(fd, sock, self._exchanges, established_ns)
            else:
                self._pending[fd] = established_ns
                channel = self._channels[fd] = self._client.channel(pair)
                channel.shake()  # makes the greeting, which cannot fail
                self._send(fd, sock, channel.outgoing())

    def _go_on(self, fd: int, sock: socket.SocketType, exchanges: int, now: int) -> None:
        """Begin the next exchange, or do what follows the last."""
        pending = self._pending
        pending.pop(fd, None)  # the timeout of each step begins with it, and the youngest come last
        if exchanges:
            pending[fd] = now
            self._ask(fd, sock, exchanges - 1, now)
            return
        if self._then is Then.HOLD:
            return
        channel = self._channels.get(fd)
        if self._then is Then.AWAIT_CLOSE or (channel and channel.awaits_session):
            pending[fd] = now
        else:
            self._connector.close((fd,))

    def _only_awaits_session(self, fd: int, channel: Channel) -> bool:
        """Return True if a connection is closed from here as soon as its TLS session has come."""
        return self._then is Then.CLOSE and channel.secured and not self._began_ns[fd]

    # --- Exchanges ----------------------------------------------------------------------------------------

    def _ask(self, fd: int, sock: socket.SocketType, left: int, now: int) -> None:
        """Begin an exchange. left: number of exchanges to be made at once after it."""
        request = self._request(fd, left)
        self._began_ns[fd], self._requests[fd], self._left[fd] = now, request, left
        if request:
            self._send(fd, sock, self._channels[fd].encrypted(request) if self._channels else request)

    def _ask_all(self, opened: Iterable[Opened]) -> None:
        """Begin the first exchange of connections without TLS: what `_begin`, `_go_on` and `_ask` do.

        Without their questions and calls, for in churn they would come again with each exchange.
        """
        now, left = now_ns(), self._exchanges - 1
        for sock, pair, _ in opened:
            fd = sock.fileno()
            if fd < 0:  # it could not be watched, and is lost already
                continue
            self._exchange_of[fd] = self._by_pair[pair]
            request = self._request(fd, left)
            self._began_ns[fd] = self._pending[fd] = now
            self._requests[fd], self._left[fd] = request, left
            if request:
                self._send(fd, sock, request)

    def _request(self, fd: int, left: int) -> bytes:
        """Return the next request of a connection, see `_ask`."""
        exchange = self._exchange_of[fd]
        make = exchange.request  # type: ignore[union-attr]  # only connections with one come here
        if not left and self._then is Then.AWAIT_CLOSE:
            make = getattr(exchange, "last_request", make)
        try:
            request = make(self._asked)
        except Exception as error:
            raise SystemExit(f"the protocol cannot make request {self._asked}: {error!r}") from error
        self._asked += 1
        if self._datagrams:
            self._recorder.asked += 1
        return request

    def _heard(self, fd: int, data: bytes, *, ended: bool = False) -> None:
        """Judge the reply as far as it has come. In UDP it is this datagram, or a datagram that is still to come.

        ended: the other side has ended the connection after this data.
        """
        partial = self._partial.get(fd) if self._partial else None
        try:
            if partial is None:
                verdict = self._exchange_of[fd].reply(self._requests[fd], data)  # type: ignore[union-attr]  # see _ask
            elif isinstance(partial, bytes):
                data = partial + data
                verdict = self._exchange_of[fd].reply(self._requests[fd], data)  # type: ignore[union-attr]
            else:
                data, verdict = b"", partial.read(data)
        except Exception as error:  # a bug in the protocol, which would come up again with every reply
            raise SystemExit(f"the protocol cannot read a reply: {error!r}") from error
        left = self._left[fd]
        if left and verdict is True and partial is None:
            self._repeat(fd, left - 1)
        elif not left and self._finishes and (ended or self._then is Then.CLOSE) and _is_right(verdict):
            self._finish(fd)
        elif verdict is True or isinstance(verdict, LastReply):
            self._judged(fd, verdict, ended=ended)
        elif self._datagrams:
            self._recorder.wrong += 1
        elif verdict is False or len(data) > REPLY_MAX:
            self._judged(fd, False)
        elif verdict is not None:
            self._partial[fd] = verdict
        elif data:
            self._partial[fd] = data

    def _repeat(self, fd: int, left: int) -> None:
        """Count a right reply and begin the exchange that follows. left: as in `_ask`.

        What `_judged`, `_ask` and `_send` do, without their questions and calls: with connections that are kept alive
        nearly all events come here, and a worker does little else.
        """
        now, sock, until_ns = now_ns(), self._sockets[fd], self._lifecycle.until_ns
        if sock is None or self._unsent or (until_ns is not None and now >= until_ns):
            self._judged(fd, True)
            return
        self._record_exchange(now - self._began_ns[fd])
        request = self._request(fd, left)
        self._began_ns[fd], self._requests[fd], self._left[fd] = now, request, left
        if self._pending.pop(fd, None) is not None:  # as in `_go_on`
            self._pending[fd] = now
        data = self._channels[fd].encrypted(request) if self._channels else request
        try:
            sent = sock.send(data) if data else 0
        except OSError as error:
            self._not_sent(fd, sock, data, error)
        else:
            if sent < len(data):
                self._keep(fd, sock, data, sent)

    def _finish(self, fd: int) -> None:
        """Count the last right reply of a connection, and close it: what `_judged`, `_go_on` and `over` do.

        Without their questions and calls: in churn nearly all events come here.
        """
        self._record_exchange(now_ns() - self._began_ns[fd])
        self._began_ns[fd], self._requests[fd] = 0, b""
        del self._pending[fd]
        if self._partial:
            self._partial.pop(fd, None)
        if self._unsent:
            self._unsent.pop(fd, None)
        self._connector.finish(fd)

    def _judged(self, fd: int, verdict: bool | LastReply, *, ended: bool = False) -> None:
        """Count a reply, and go on with its connection. ended: the other side has ended it with the reply."""
        now, began_ns, left = now_ns(), self._began_ns[fd], self._left[fd]
        self._began_ns[fd], self._requests[fd] = 0, b""
        if self._partial:
            self._partial.pop(fd, None)
        right = _is_right(verdict)
        if right:
            self._record_exchange(now - began_ns)
        else:
            self._recorder.wrong += 1
        if verdict is LastReply.UNREADABLE:
            self._connector.lose(fd, _UNREADABLE)
            return
        over = ended or verdict is not right  # that is, a LastReply
        if fd not in self._pending:
            if over:
                self._connector.end(fd, 0, planned=self._lifecycle.ending)
        elif not right or (left and self._lifecycle.over(now)):
            # After a wrong reply, and after the end of churn's duration, the exchanges that are left are not made.
            self._connector.close((fd,))
        elif over and (left or self._then is Then.HOLD):
            self._connector.end(fd, 0, planned=self._lifecycle.ending)
        elif ended:
            self._connector.close((fd,))
        else:
            sock = self._sockets[fd]
            assert sock is not None
            self._go_on(fd, sock, left, now)

    def _ended(self, fd: int, number: int) -> None:
        """Count the end of a connection, by an errno or 0: the end of file, which may be the end of a reply as well."""
        partial = self._partial.get(fd)
        if number or partial is None or isinstance(partial, bytes) or (verdict := partial.end()) is None:
            self._connector.end(fd, number, planned=self._ends_well(fd))
        else:
            self._judged(fd, verdict, ended=True)

    # --- Heartbeat ----------------------------------------------------------------------------------------

    def _idle(self) -> list[int]:
        return [fd for fd in self._connector.held() if fd not in self._pending]

    def _beat(self, fd: int) -> bool | None:
        """Begin the exchange of a heartbeat, see Beats. In UDP the last one is given up if it has no reply yet."""
        sock = self._sockets[fd]
        if sock is None:
            return None
        if self._began_ns[fd]:
            if not self._datagrams:
                return False
            self._recorder.missed += 1
            self._recorder.unanswered += 1
        self._ask(fd, sock, 0, now_ns())
        return True

    # --- TLS ----------------------------------------------------------------------------------------------

    def _secured(self, fd: int, data: bytes) -> None:
        """Handle bytes of the other side that TLS has to see first."""
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
                now = now_ns()
                self._recorder.record_handshake(now - self._pending[fd], resumed=channel.resumed)
                self._go_on(fd, sock, self._exchanges, now)
                if self._sockets[fd] is None:  # it had nothing more to do, or is lost
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
        if plain and self._began_ns[fd]:
            self._heard(fd, plain)
        if self._sockets[fd] is not sock:
            return
        # Where its end is planned the end of file follows, and the side that sends that first keeps TIME-WAIT.
        if channel.ended and not self._ends_well(fd):
            self._ended(fd, 0)
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
        except OSError as error:
            return self._not_sent(fd, sock, data, error)
        return sent == len(data) or self._keep(fd, sock, data, sent)

    def _not_sent(self, fd: int, sock: socket.SocketType, data: bytes, error: OSError) -> bool:
        """Handle the error of send(2); return as `_send`."""
        if isinstance(error, BlockingIOError):
            return self._keep(fd, sock, data, 0)
        self._connector.lose(fd, error_key(Syscall.SEND, error.errno or 0))
        return False

    def _keep(self, fd: int, sock: socket.SocketType, data: bytes, sent: int) -> bool:
        """Keep what the socket's buffer had no room for; return as `_send`."""
        self._unsent[fd] = memoryview(data)[sent:]
        self._connector.watch_writable(fd, writable=True)
        return self._sockets[fd] is sock

    def _send_on(self, fd: int) -> None:
        """Send more of what is not sent yet."""
        sock, unsent = self._sockets[fd], self._unsent.get(fd)
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
