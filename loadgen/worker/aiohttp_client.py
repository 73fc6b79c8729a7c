"""Connections that speak HTTP/1.1 through aiohttp, over loadgen's own sockets: how a service in Python behaves on them.

The connector opens them as it opens plain TCP, down to the last system call: source port, strategy, backoff, the
connect() and its time, and the name of a failure are those of `protocol: tcp`, because it is the same code. Once a
connection is established, one asyncio task takes it over: an aiohttp session with room for a single connection, whose
socket factory returns this very socket, bound and connected. aiohttp then does HTTP, and TLS below it.

Times. Connect: as for plain TCP, the call of connect() to its answer. Handshake: the first step of the client's TLS
(the moment at which its greeting is made) to the last. Exchange: aiohttp has the connection and is about to write the
request, to the last byte of the reply's body read; the handshake is not in it.

A connection is opened once. Whenever aiohttp tries to open one that is over again, its factory has no other socket for
it; the connection is counted as lost, with the reason.

This costs much more than the batches do: some 0.7 ms of processor time for a connection with its first request, some
0.25 ms for each further request, and 20 KiB for each connection that is held.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from errno import ECONNABORTED, EPIPE, EPROTO, ETIMEDOUT
from functools import partial
from itertools import islice
from typing import Any, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from multidict import CIMultiDict
from yarl import URL

from loadgen.clock import now_ns
from loadgen.model import CloseMode, Endpoint, Plan, Tls
from loadgen.outcomes import Syscall, error_key
from loadgen.protocols.http import Http, named
from loadgen.strategies.options import LINGER_0
from loadgen.worker import survived
from loadgen.worker.epoll.connector import EVENTS_MAX, EpollConnector, Opened
from loadgen.worker.heartbeat import Beats
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Settings, Then
from loadgen.worker.strategies import SourcePorts
from loadgen.worker.tls import KeptSession, context_of, reason_of

#: How a connection ended that ended as planned, in place of an error key.
_PLANNED: Final = 0
_END_OF_FILE: Final = error_key(Syscall.RECV, 0)
_TIMED_OUT: Final = error_key(Syscall.WAIT, ETIMEDOUT)
#: The reply is not HTTP.
_NO_HTTP: Final = error_key(Syscall.RECV, EPROTO)
#: `expire` watches the scenario's timeout for all connections at once; aiohttp has none.
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
#: Time for which aiohttp keeps an idle connection. All versions take a number here, only the latest take None.
_KEPT_S: Final = 365 * 86_400.0
_READ_SIZE: Final = 65_536
#: uvloop closes a descriptor in the turn after it was told to.
_UNTOLD_S: Final = 0.1


def connector_of(plan: Plan, settings: Settings, ports: SourcePorts, recorder: Recorder) -> EpollConnector:
    """Return the connector of one shard of a plan whose traffic is HTTP; call it where an event loop runs."""
    connector = EpollConnector(settings, ports, recorder)
    hosts = {target.endpoint: target.host for target in plan.targets}
    connector.driver = HttpDriver(connector, Http(**plan.traffic.filled()), hosts, plan.tls)
    return connector


class Handshake(ssl.SSLObject):
    """TLS of one connection, with the time its handshake took. Made by a context, see `timed`.

    A subclass for each context has what its connections share: the session to resume, if any is to be, and whether to
    send close_notify (RFC 8446 6.1) before closing.
    """

    shared: KeptSession | None = None
    farewell = True
    offered = settled = False
    began_ns = took_ns = 0

    def do_handshake(self) -> None:
        """Take one step. Raises: ssl.SSLWantReadError when the other side has to speak first, ssl.SSLError."""
        if not self.began_ns:
            self.began_ns = now_ns()
            if self.shared and self.shared.session is not None:
                self.session = self.shared.session
                self.offered = True
        super().do_handshake()
        self.took_ns = now_ns() - self.began_ns

    def unwrap(self) -> None:
        """Send close_notify, where that is wanted. Raises: ssl.SSLWantReadError until it is answered, ssl.SSLError."""
        if self.farewell:
            super().unwrap()

    def keep_session(self) -> None:
        """Keep a session for the next connection. In TLS 1.3 it comes after the handshake (RFC 8446 4.6.1)."""
        if self.shared and not self.settled:
            self.settled = self.shared.keep(self, offered=self.offered)


def timed(context: ssl.SSLContext, *, resume: bool, farewell: bool = True) -> ssl.SSLContext:
    """Have a context make `Handshake`s; return it. A session may only be used with its own context."""
    context.sslobject_class = type(
        "Handshake", (Handshake,), {"shared": KeptSession() if resume else None, "farewell": farewell}
    )
    return context


def why(error: BaseException | None) -> int:
    """Return the `error_key` of what ended a connection: the system's own error below those raised from it.

    error: None or without a system error: the other side has sent its end of file.
    """
    key = _END_OF_FILE
    while error is not None:
        if not isinstance(error, aiohttp.ClientError):  # those are also OSErrors, but know less
            if isinstance(error, ssl.SSLError):
                key = error_key(Syscall.TLS, reason_of(error))
            elif isinstance(error, ConnectionAbortedError):  # raised by event loops when a handshake takes too long
                key = _TIMED_OUT
            elif isinstance(error, OSError) and error.errno:
                key = error_key(Syscall.SEND if error.errno == EPIPE else Syscall.RECV, error.errno)
        error = error.__cause__
    return key


class _Connected(socket.socket):
    """The socket of a connection that is established already.

    An event loop ends a socket by calling close(), or, if libuv has closed the descriptor, detach(). After either the
    port is free again, and not before; then `gone` is called.
    """

    def __init__(self, sock: socket.SocketType, gone: Callable[[], None]) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._gone = gone

    def connect(self, address: object, /) -> None:
        """Do nothing: it is connected."""

    def close(self) -> None:
        """Close the descriptor and call `gone`."""
        try:
            super().close()
        except OSError as error:  # the descriptor is released all the same
            survived.add("close", error)
        if self.fileno() < 0:
            self._gone()

    def detach(self) -> int:
        """Give the descriptor away and call `gone`."""
        fd = super().detach()
        self._gone()
        return fd


class _HttpConnection:
    """One connection: its socket, its state, and the task that lives as long as it does."""

    __slots__ = (
        "asked", "closed", "end", "given", "gone", "over", "pair", "port", "running", "secured", "sent_ns", "sock",
        "task", "transport", "turn",
    )  # fmt: skip

    def __init__(self, sock: socket.SocketType, pair: int, port: int) -> None:
        self.pair, self.port = pair, port
        self.sock = _Connected(sock, self._ended)
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.secured: Handshake | None = None
        #: Done when the transport is closed; its exception, if any, has the cause as its own.
        self.closed: asyncio.Future[None] | None = None
        #: Set when the descriptor is closed.
        self.gone = asyncio.Event()
        #: Set when the request of a heartbeat is to be sent.
        self.turn = asyncio.Event()
        #: How loadgen has decided to end it, an error key or _PLANNED; None: it has not.
        self.end: int | None = None
        self.sent_ns = 0
        #: True when the factory has given away the socket; the task has begun; its work is done; a reply is awaited.
        self.given = self.running = self.over = self.asked = False

    @property
    def failed(self) -> bool:
        """True if an event loop took the socket and failed: the descriptor may be closed, and its number another's."""
        return self.given and self.transport is None

    def give(self, _address: object) -> socket.socket:
        """Return the socket, once. Raises: ConnectionAbortedError when aiohttp would connect again."""
        if self.given:
            raise ConnectionAbortedError(ECONNABORTED, "this connection is over")
        self.given = True
        return self.sock

    def why(self, error: BaseException | None) -> int:
        """Return the `error_key` of why it is over; call when it is gone. error: the exception a request ended with."""
        if isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError)):
            return _NO_HTTP
        closed = self.closed
        return why(closed.exception() if closed is not None and closed.done() else error)

    def _ended(self) -> None:
        self.gone.set()
        self.turn.set()


class _Lane(aiohttp.TCPConnector):
    """aiohttp's connector of a single connection; `ready` is awaited before each request that uses it."""

    def __init__(
        self,
        client: _HttpConnection,
        ready: Callable[[_HttpConnection, aiohttp.connector.Connection], Awaitable[None]],
        *,
        resolver: aiohttp.ThreadedResolver,
        secured: ssl.SSLContext | bool,
    ) -> None:
        super().__init__(
            limit=1,
            socket_factory=client.give,
            keepalive_timeout=_KEPT_S,
            resolver=resolver,
            happy_eyeballs_delay=None,
            ssl=secured,
        )
        self._client, self._ready = client, ready

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """Return the connection, new or used before, when its turn has come."""
        connection = await super().connect(req, traces, timeout)
        try:
            await self._ready(self._client, connection)
        except BaseException:
            connection.close()
            raise
        return connection


async def _until_gone(client: _HttpConnection) -> None:
    """Wait until the descriptor is closed, by the event loop or by us."""
    if not client.failed:
        await client.gone.wait()
        return
    # uvloop closes the descriptor of a transport that is reset before its handshake, and if it does so before it has
    # attached the socket, it never tells the socket (Loop.create_connection, UVHandle._close). So the number is
    # forgotten and not closed.
    try:
        async with asyncio.timeout(_UNTOLD_S):
            await client.gone.wait()
    except TimeoutError:
        client.sock.detach()


def _require_counted(task: asyncio.Task[None]) -> None:
    """End the worker when a task has failed: its connection is not counted, so no count is right."""
    if not task.cancelled() and (error := task.exception()):
        raise SystemExit(f"unexpected error in an HTTP connection: {error!r}") from error


class HttpDriver:
    """The driver of connections that speak HTTP: a task for each, which makes the requests of the schedule.

    Made inside a running event loop. http: the request. hosts: the name of each target, "" where it has none.
    tls: for https.
    """

    needs_loop = True

    def __init__(self, connector: EpollConnector, http: Http, hosts: Mapping[Endpoint, str], tls: Tls | None) -> None:
        settings = connector.settings
        self._connector, self._lifecycle, self._recorder = connector, connector.lifecycle, connector.recorder
        self._schedule, self._http = settings.schedule, http
        self._reset = settings.close is CloseMode.RST
        self._endpoints = [target for _, target in settings.pairs]
        self._requests = {target: self._request(target, hosts.get(target, ""), tls) for target in self._endpoints}
        #: TLS for each target; a session is for one target alone, and a context has one session.
        self._contexts: dict[Endpoint, ssl.SSLContext] = {}
        if tls:
            # After a FIN of the other side close_notify would be answered with RST, and no side would keep TIME-WAIT.
            make = partial(timed, resume=tls.resume, farewell=settings.close is CloseMode.FIN)
            shared = make(context_of(tls))
            self._contexts = {target: make(context_of(tls)) if tls.resume else shared for target in self._requests}
        self._clients: dict[_HttpConnection, None] = {}
        self._pending: dict[_HttpConnection, int] = connector.lifecycle.pending
        self._resolver = aiohttp.ThreadedResolver()  # never asked: targets are addresses
        self._cookies = aiohttp.DummyCookieJar()
        #: Becomes readable when a task has got on, so that the event loop that watches the connector learns of it.
        self._news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._news)
        connector.watch_readable(self._news)
        heartbeat = settings.schedule.heartbeat
        self.heartbeat = Beats(heartbeat, connector.recorder, self._idle, self._beat) if heartbeat else None
        self.events_max = EVENTS_MAX

    # --- What the connector reports -----------------------------------------------------------------

    def opened(self, opened: Sequence[Opened]) -> None:
        """Begin the tasks of connections that are established."""
        for connection in opened:
            self._begin(_HttpConnection(*connection))

    def opened_late(self, fd: int, opened: Opened) -> None:
        """Begin the task of a connection that had to wait for its answer."""
        try:
            self._connector.unwatch(fd)
        except OSError as error:  # two event loops would read from it
            sock, pair, port = opened
            self._lifecycle.lose(pair, error_key(Syscall.REGISTER, error.errno or 0))
            survived.close(sock)
            self._connector.release_port(pair, port)
            return
        self._begin(_HttpConnection(*opened))

    def event(self, fd: int, event: int) -> None:  # noqa: ARG002  # the connector watches nothing else for this driver
        """Take note that a task has got on."""
        if fd == self._news:
            with suppress(BlockingIOError):
                os.eventfd_read(fd)

    def over(self, fd: int, sock: socket.SocketType, *, planned: bool) -> None:
        """Do nothing: the connector itself holds no connection of this driver."""

    def expire(self, now: int) -> None:
        """End connections whose handshake or exchange has taken the scenario's timeout."""
        for client in self._lifecycle.expired_pending(now):
            self._hang_up(client, _TIMED_OUT)

    def close_batch(self, count: int) -> bool:
        """Begin to close up to `count` connections; return True while some are left, or are still being closed."""
        for client in list(islice((client for client in self._clients if client.end is None), count)):
            self._hang_up(client, _PLANNED)
        return bool(self._clients)

    def give_up(self) -> None:
        """Count connections as lost (`wait ETIMEDOUT`) that the target should have closed by now."""
        for client in self._clients:
            self._hang_up(client, _TIMED_OUT)

    # --- From established to the end ----------------------------------------------------------------

    def _begin(self, client: _HttpConnection) -> None:
        self._clients[client] = None
        self._pending[client] = now_ns()
        client.task = asyncio.get_running_loop().create_task(self._live(client))
        client.task.add_done_callback(_require_counted)

    async def _live(self, client: _HttpConnection) -> None:
        """Drive a connection from the moment it is established to its end, and count that."""
        client.running = True
        failure: Exception | None = None
        async with self._session(client) as session:
            try:
                if client.end is None:
                    await self._work(client, session)
            except asyncio.CancelledError:
                if client.end is None:  # not cancelled by _hang_up
                    raise
            except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
                failure = error
            client.over = True
            self._close(client)
            await _until_gone(client)
        reason = client.why(failure)  # asked in any case: asyncio complains about an exception that is never retrieved
        self._count_end(client, reason if client.end is None else client.end)

    async def _work(self, client: _HttpConnection, session: aiohttp.ClientSession) -> None:
        """Do what the schedule says until the connection is over."""
        if self._schedule.heartbeat:
            while True:
                await self._exchange(client, session)
                client.asked = False
        if self._schedule.then is not Then.HOLD:
            await self._churn(client, session)
        elif await self._exchange(client, session):
            self._done(client)
            await client.gone.wait()
        else:
            client.end = _PLANNED

    async def _churn(self, client: _HttpConnection, session: aiohttp.ClientSession) -> None:
        """Make all requests, then close. Where the target is to close first, the last request asks it to."""
        target_closes = self._schedule.then is Then.AWAIT_CLOSE
        left = self._schedule.exchanges - target_closes
        while left and await self._exchange(client, session):
            left -= 1
            if self._lifecycle.over(now_ns()):
                break  # and close from here, even where the target was to close after the last exchange
        if target_closes and not left:
            await self._last_exchange(client, session)
        if client.end is None:
            client.end = _PLANNED

    async def _last_exchange(self, client: _HttpConnection, session: aiohttp.ClientSession) -> None:
        """Have the target close. aiohttp closes its descriptor after the reply, so a second one awaits the end."""
        loop, sock = asyncio.get_running_loop(), client.sock
        try:
            kept = socket.fromfd(sock.fileno(), sock.family, sock.type)
        except OSError as error:
            client.end = error_key(Syscall.SOCKET, error.errno or 0)
            return
        with kept:
            kept.setblocking(False)
            await self._exchange(client, session, last=True)
            while await loop.sock_recv(kept, _READ_SIZE):
                pass

    def _done(self, client: _HttpConnection) -> None:
        """Note that a connection has done what it had to do at once."""
        del self._pending[client]
        self._tell()

    def _hang_up(self, client: _HttpConnection, key: int) -> None:
        """Have the task of a connection end it, unless it does already. key: what to count it as."""
        if client.end is not None or client.over:
            return
        client.end = key
        if client.running and client.task is not None:  # a task that is cancelled before it begins never does
            client.task.cancel()

    def _close(self, client: _HttpConnection) -> None:
        """Close what is left. TLS says close_notify where it is to, but no answer to it is awaited."""
        if self._reset and not client.failed and client.sock.fileno() >= 0:
            try:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            except OSError as error:
                survived.add("setsockopt", error)
        if client.transport is not None:
            client.transport.close()
            asyncio.get_running_loop().call_soon(client.transport.abort)
        elif not client.given:
            client.sock.close()

    def _count_end(self, client: _HttpConnection, key: int) -> None:
        """Count a connection that is closed, and give its port back."""
        del self._clients[client]
        self._pending.pop(client, None)
        self._connector.release_port(client.pair, client.port)
        if key == _PLANNED or (key == _END_OF_FILE and self._lifecycle.ending):
            self._lifecycle.close((client.pair,))
        else:
            self._lifecycle.lose(client.pair, key)
        self._tell()

    def _tell(self) -> None:
        with suppress(OSError):  # else the next tick of the worker notices
            os.eventfd_write(self._news, 1)

    # --- Heartbeat ----------------------------------------------------------------------------------

    def _idle(self) -> list[_HttpConnection]:
        return [client for client in self._clients if client not in self._pending and not client.gone.is_set()]

    def _beat(self, client: _HttpConnection) -> bool | None:
        """Let the next request go, see Beats."""
        if client.gone.is_set() or client.end is not None:
            return None
        if client.asked:
            return False
        client.asked = True
        client.turn.set()
        return True

    # --- aiohttp ------------------------------------------------------------------------------------

    def _session(self, client: _HttpConnection) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Lane(
                client,
                self._await_turn,
                resolver=self._resolver,
                secured=self._contexts.get(self._endpoints[client.pair], True),
            ),
            cookie_jar=self._cookies,
            timeout=_NO_TIMEOUT,
        )

    async def _await_turn(self, client: _HttpConnection, connection: aiohttp.connector.Connection) -> None:
        """Return when the request may be sent; aiohttp has the connection and sends it next.

        With a heartbeat the request is begun early, so that aiohttp makes the connection, and waits here for its turn.
        """
        if client.transport is None:
            self._taken_over(client, connection)
            if self._schedule.heartbeat:
                self._done(client)
        if self._schedule.heartbeat:
            await client.turn.wait()
            client.turn.clear()
            if client.gone.is_set():
                raise aiohttp.ServerDisconnectedError
        client.sent_ns = now_ns()
        if self._pending.pop(client, 0):  # its timeout begins again, and the youngest come last
            self._pending[client] = client.sent_ns

    def _taken_over(self, client: _HttpConnection, connection: aiohttp.connector.Connection) -> None:
        """Note that aiohttp has the connection for the first time; so the handshake, if there was one, is done."""
        if connection.protocol is None or connection.transport is None:  # over before it began
            raise aiohttp.ServerDisconnectedError
        client.transport, client.closed = connection.transport, connection.protocol.closed
        secured = client.transport.get_extra_info("ssl_object")
        if isinstance(secured, Handshake):
            client.secured = secured
            self._recorder.record_handshake(secured.took_ns, resumed=bool(secured.session_reused))

    async def _exchange(self, client: _HttpConnection, session: aiohttp.ClientSession, *, last: bool = False) -> bool:
        """Make one request and read its reply. last: ask the other side to close after it.

        Returns: True if the reply was right. Raises: aiohttp.ClientError and OSError when there is none.
        """
        http, request = self._http, self._requests[self._endpoints[client.pair]]
        if last:
            headers = request["headers"].copy()
            headers["Connection"] = "close"
            request = {**request, "headers": headers}
        body = bytearray()
        try:
            async with session.request(**request) as response:
                async for piece in response.content.iter_any():
                    if len(body) <= http.max_body:
                        body += piece
        except (aiohttp.ClientResponseError, HttpProcessingError):
            self._recorder.wrong += 1
            raise
        right = http.right(response.status, body)
        if right:
            self._recorder.record_exchange(now_ns() - client.sent_ns)
        else:
            self._recorder.wrong += 1
        if client.secured is not None:
            client.secured.keep_session()
        return right

    def _request(self, target: Endpoint, host: str, tls: Tls | None) -> dict[str, Any]:
        """Return the arguments of session.request() for this target."""
        http = self._http
        scheme = "https" if tls else "http"
        place = str(Endpoint(target.address.partition("%")[0], target.port))
        headers = CIMultiDict({"Host": named(target, host, secured=tls is not None)})
        headers.update(http.headers)
        return {
            "method": http.method,
            "url": URL(f"{scheme}://{place}{http.path}", encoded=True),
            "headers": headers,
            "data": http.body or None,
            "allow_redirects": False,
            "server_hostname": (tls.server_name or host or target.address) if tls else None,
        }
