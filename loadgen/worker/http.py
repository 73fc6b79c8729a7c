"""Connections that speak HTTP/1.1, through aiohttp, over sockets that are ours.

Who opens: the connector for plain TCP, down to the last system call. Source port, strategy, exhaustion, the
connect() and its time, and the name of what went wrong are those of `protocol: tcp`, because it is the same
code. Once a connection is established, one asyncio task takes it over: an aiohttp session with room for a single
connection, whose socket factory gives it this very socket, bound and connected. aiohttp then does what is HTTP, and
TLS below it.

What is measured. Connect: as for plain TCP, the call of connect() to its answer. Handshake: the first step of the
client's TLS (the moment at which its greeting is made) to the last. Exchange: aiohttp has the connection and is
about to write the request, to the last byte of the reply's body read; the handshake is not in it.

A connection is opened once. Whatever aiohttp is told or decides to do about one that is over, its factory has no
other socket for it; the connection is counted as lost, and why.

This costs much more than the batches do: some 0.7 ms of processor time for a connection with its first request, some
0.25 ms for each further request, and 20 KiB for each connection that is held.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
import struct
import weakref
from collections.abc import Callable, Mapping, Sequence
from errno import ECONNABORTED, EPIPE, EPROTO, ETIMEDOUT
from functools import partial
from itertools import islice
from select import EPOLLIN
from typing import Any, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from multidict import CIMultiDict
from yarl import URL

from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import CloseMode, Endpoint, Heartbeat, Plan, Tls
from loadgen.outcomes import Syscall, error_key
from loadgen.protocols.http import Http
from loadgen.worker.epoll.connector import Connector
from loadgen.worker.recorder import Recorder
from loadgen.worker.strategies import SourcePorts
from loadgen.worker.tls import context_of, reason_of

#: How a connection ended, where no error did it: as it was to.
_PLANNED: Final = 0
_END_OF_FILE: Final = error_key(Syscall.RECV, 0)
_TIMED_OUT: Final = error_key(Syscall.WAIT, ETIMEDOUT)
#: What came is no HTTP.
_NO_HTTP: Final = error_key(Syscall.RECV, EPROTO)
#: struct linger {on, 0 s}: close() sends RST and leaves no TIME-WAIT (socket(7)).
_LINGER_0: Final = struct.pack("ii", 1, 0)
#: The scenario's timeout is watched by `expire`, for all connections at once; aiohttp is to have none.
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
#: For how long aiohttp keeps an idle connection. All versions take a number here, and only the latest take None.
_KEPT_S: Final = 365 * 86_400.0
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PAUSE_MIN_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.5
_READ_SIZE: Final = 65_536


def connector_of(plan: Plan, ports: SourcePorts, recorder: Recorder, *, open_max: int, **common: Any) -> HttpConnector:
    """The connector of one shard of a plan whose traffic is HTTP; call it where an event loop runs.

    open_max: in churn, how many connections may be open. common: what every Connector is made from.
    """
    common |= {
        "http": Http(**plan.traffic.options),
        "hosts": {target.endpoint: target.host for target in plan.targets},
        "tls": plan.tls,
    }
    if plan.churn:
        return HttpChurner(plan.pairs, ports, recorder, exchanges=plan.churn.exchanges, open_max=open_max, **common)
    if plan.heartbeat:
        return HttpBeater(plan.pairs, ports, recorder, heartbeat=plan.heartbeat, **common)
    return HttpConnector(plan.pairs, ports, recorder, **common)


class Handshake(ssl.SSLObject):
    """TLS of one connection, which knows how long it took. Made by a context, see `timed`.

    What the connections of a context share is in a subclass of its own: whether to resume, the last session, and
    whether to say close_notify (RFC 8446 6.1) before closing.
    """

    resumes = False
    farewell = True
    last: ssl.SSLSession | None = None
    began_ns = took_ns = 0

    def do_handshake(self) -> None:
        """One step. Raises: ssl.SSLWantReadError when the other side has to speak first, ssl.SSLError."""
        if not self.began_ns:
            self.began_ns = now_ns()
            if self.last is not None:
                self.session = self.last
        super().do_handshake()
        self.took_ns = now_ns() - self.began_ns

    def unwrap(self) -> None:
        """Say close_notify, if that is wanted. Raises: ssl.SSLWantReadError until it is answered, ssl.SSLError."""
        if self.farewell:
            super().unwrap()

    def keep_session(self) -> None:
        """Offer this session to the next connection. In TLS 1.3 it comes after the handshake (RFC 8446 4.6.1)."""
        session = self.session
        if self.resumes and session is not None and (session.has_ticket or self.version() != "TLSv1.3"):
            type(self).last = session


def timed(context: ssl.SSLContext, *, resume: bool, farewell: bool = True) -> ssl.SSLContext:
    """The same context, whose connections are `Handshake`s. A session may only be used with its own context."""
    context.sslobject_class = type("Handshake", (Handshake,), {"resumes": resume, "farewell": farewell})
    return context


def why(error: BaseException | None) -> int:
    """The `error_key` of what ended a connection: the system's own word for it, below all that was made of it.

    error: None or without any such word: the other side said that it would send no more.
    """
    found = _END_OF_FILE
    while error is not None:
        if not isinstance(error, aiohttp.ClientError):  # those are also OSErrors, but know less
            if isinstance(error, ssl.SSLError):
                found = error_key(Syscall.TLS, reason_of(error))
            elif isinstance(error, ConnectionAbortedError):  # how event loops say that a handshake takes too long
                found = _TIMED_OUT
            elif isinstance(error, OSError) and error.errno:
                found = error_key(Syscall.SEND if error.errno == EPIPE else Syscall.RECV, error.errno)
        error = error.__cause__
    return found


class _Connected(socket.socket):
    """The socket of a connection that is there already.

    An event loop ends a socket by calling close(), or, if libuv has closed the descriptor, detach(). After either the
    port is free again, and nobody could know it sooner.
    """

    def __init__(self, sock: socket.SocketType, gone: Callable[[], None]) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._gone = gone

    def connect(self, address: Any, /) -> None:
        """Done before."""

    def close(self) -> None:
        """As of any socket, and tell."""
        super().close()
        if self.fileno() < 0:
            self._gone()

    def detach(self) -> int:
        """As of any socket, and tell."""
        fd = super().detach()
        self._gone()
        return fd


class _Client:
    """One connection: its socket, what has become of it, and the task that lives as long as it does."""

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
        #: Set when a request is to be sent, for those who wait for that.
        self.turn = asyncio.Event()
        #: How we have decided to end it, an error key or _PLANNED; None: we have not.
        self.end: int | None = None
        self.sent_ns = 0
        #: Whether the factory has given away the socket; the task has begun; its work is done; a reply is awaited.
        self.given = self.running = self.over = self.asked = False

    def give(self, _address: Any) -> socket.socket:
        """The socket factory: once. Raises: ConnectionAbortedError when aiohttp would connect again."""
        if self.given:
            raise ConnectionAbortedError(ECONNABORTED, "this connection is over")
        self.given = True
        return self.sock

    def why(self, error: BaseException | None) -> int:
        """Why it is over, as an `error_key`; for one that is gone. error: what a request has ended with."""
        if isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError)):
            return _NO_HTTP
        closed = self.closed
        return why(closed.exception() if closed is not None and closed.done() else error)

    def _ended(self) -> None:
        self.gone.set()
        self.turn.set()


class _Lane(aiohttp.TCPConnector):
    """aiohttp's way to a single connection; `ready` is awaited before each request that goes along it."""

    def __init__(self, client: _Client, ready: Callable[[_Client, aiohttp.connector.Connection], Any], **more: Any):
        super().__init__(limit=1, socket_factory=client.give, keepalive_timeout=_KEPT_S, **more)
        self._client, self._ready = client, ready

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """The connection, new or again, when its turn has come."""
        connection = await super().connect(req, traces, timeout)
        try:
            await self._ready(self._client, connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _require_counted(task: asyncio.Task[None]) -> None:
    """A task that fails has not counted its connection, and then no count is right: the worker cannot go on."""
    if not task.cancelled() and (error := task.exception()):
        raise SystemExit(f"HTTP went wrong in a way that nobody foresaw: {error!r}") from error


class HttpConnector(Connector):
    """All connections of one worker, each of which makes one request as soon as it is open, and is held.

    Made inside a running event loop. http: the request. hosts: the name of each target, "" where it has none.
    tls: for https. The rest is as for Connector.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, Endpoint]],
        ports: SourcePorts,
        recorder: Recorder,
        *,
        http: Http,
        hosts: Mapping[Endpoint, str] | None = None,
        tls: Tls | None = None,
        close: CloseMode,
        **more: Any,
    ) -> None:
        super().__init__(pairs, ports, recorder, close=close, **more)
        self._http = http
        self._endpoints = [target for _, target in pairs]
        names = hosts or {}
        self._requests = {target: self._request(target, names.get(target, ""), tls) for target in self._endpoints}
        #: TLS for each target; a session is for one target alone, and a context has one session.
        self._contexts: dict[Endpoint, ssl.SSLContext] = {}
        if tls:
            # After a FIN of the other side, close_notify would be answered with RST, and nobody had TIME-WAIT.
            make = partial(timed, resume=tls.resume, farewell=close is CloseMode.FIN)
            shared = make(context_of(tls))
            self._contexts = {target: make(context_of(tls)) if tls.resume else shared for target in self._requests}
        self._clients: dict[_Client, None] = {}
        #: Since when the step that a connection is in has been going on, the oldest first.
        self._pending: dict[_Client, int] = {}
        self._resolver = aiohttp.ThreadedResolver()  # never asked: targets are addresses
        self._cookies = aiohttp.DummyCookieJar()
        #: Becomes readable when a task has got on, so that whoever watches the epoll object hears of it.
        self._news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._news)
        self._epoll.register(self._news, EPOLLIN)

    @property
    def room(self) -> int:
        """How many more attempts may be started before some are answered, or pending ones through."""
        return max(super().room - len(self._pending), 0)

    @property
    def idle(self) -> bool:
        """Whether every attempt is answered, and no connection is pending."""
        return super().idle and not self._pending

    def expire(self, now: int) -> None:
        """Give up attempts, handshakes and exchanges that have waited longer than the scenario's timeout."""
        super().expire(now)
        expired = []
        for client, since_ns in self._pending.items():
            if now - since_ns < self._timeout_ns:
                break
            expired.append(client)
        for client in expired:
            self._hang_up(client, _TIMED_OUT)

    def close_batch(self, count: int) -> bool:
        """Begin to close up to `count` connections; True while some are left, or are still being closed."""
        for client in list(islice((client for client in self._clients if client.end is None), count)):
            self._hang_up(client, _PLANNED)
        self._recorder.publish()
        return bool(self._clients)

    def give_up(self) -> None:
        """Connections that the other side should have closed by now: lost, for want of an answer."""
        for client in self._clients:
            self._hang_up(client, _TIMED_OUT)

    # --- From open to the end -----------------------------------------------------------------------

    def _hold(self, opened: Sequence[tuple[socket.SocketType, int, int]]) -> None:
        for sock, pair, port in opened:
            self._recorder.pair_established[pair] += 1
            self._begin(_Client(sock, pair, port))

    def _hold_late(self, fd: int, sock: socket.SocketType, pair: int, port: int) -> None:
        self._epoll.unregister(fd)
        self._begin(_Client(sock, pair, port))

    def _held_event(self, fd: int, event: int) -> None:  # noqa: ARG002  # nothing but our own news is held here
        os.eventfd_read(fd)

    def _begin(self, client: _Client) -> None:
        self._clients[client] = None
        self._pending[client] = now_ns()
        client.task = asyncio.get_running_loop().create_task(self._live(client))
        client.task.add_done_callback(_require_counted)

    async def _live(self, client: _Client) -> None:
        """A connection from the moment it is established to its end, which is counted here."""
        client.running = True
        failure: Exception | None = None
        async with self._session(client) as session:
            try:
                if client.end is None:
                    await self._work(client, session)
            except asyncio.CancelledError:
                if client.end is None:  # it is not us who cancels
                    raise
            except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
                failure = error
            client.over = True
            self._close(client)
            await client.gone.wait()
        found = client.why(failure)  # asked in any case: an exception that nobody takes is complained about
        self._count_end(client, found if client.end is None else client.end)

    async def _work(self, client: _Client, session: aiohttp.ClientSession) -> None:
        """What a connection has to do until it is over: one request, and after the right reply to be there."""
        if await self._exchange(client, session):
            self._through(client)
            await client.gone.wait()
        else:
            client.end = _PLANNED

    def _through(self, client: _Client) -> None:
        """A connection has done what it had to do at once."""
        del self._pending[client]
        self._tell()

    def _hang_up(self, client: _Client, key: int) -> None:
        """Have a connection end, unless it does already; its task sees to that. key: as what to count it."""
        if client.end is not None or client.over:
            return
        client.end = key
        if client.running and client.task is not None:  # one that has not begun would never do so
            client.task.cancel()

    def _close(self, client: _Client) -> None:
        """End whatever is left. If TLS is to say farewell it does, but no answer to it is awaited."""
        if self._reset and client.sock.fileno() >= 0:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        if client.transport is not None:
            client.transport.close()
            asyncio.get_running_loop().call_soon(client.transport.abort)
        elif not client.given:
            client.sock.close()

    def _count_end(self, client: _Client, key: int) -> None:
        """A connection is closed, and its port is free."""
        del self._clients[client]
        self._pending.pop(client, None)
        if client.port:
            self._ports.release(client.pair, client.port)
        if self._frees and self._exhausted.active:
            self._exhausted.freed()
        if key == _PLANNED or (key == _END_OF_FILE and self._ending):
            self._recorder.record_closed(client.pair)
        else:
            self._recorder.record_lost(client.pair, key)
        self._tell()

    def _tell(self) -> None:
        os.eventfd_write(self._news, 1)

    # --- aiohttp ------------------------------------------------------------------------------------

    def _session(self, client: _Client) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Lane(
                client,
                self._await_turn,
                resolver=self._resolver,
                happy_eyeballs_delay=None,
                ssl=self._contexts.get(self._endpoints[client.pair], True),
            ),
            cookie_jar=self._cookies,
            timeout=_NO_TIMEOUT,
        )

    async def _await_turn(self, client: _Client, connection: aiohttp.connector.Connection) -> None:
        """aiohttp has the connection, and sends a request next."""
        if client.transport is None:
            self._taken_over(client, connection)
        client.sent_ns = now_ns()
        if self._pending.pop(client, 0):  # its patience begins again, and the youngest come last
            self._pending[client] = client.sent_ns

    def _taken_over(self, client: _Client, connection: aiohttp.connector.Connection) -> None:
        """For the first time; so the handshake, if there was any, is done."""
        if connection.protocol is None or connection.transport is None:  # over before it began
            raise aiohttp.ServerDisconnectedError
        client.transport, client.closed = connection.transport, connection.protocol.closed
        secured = client.transport.get_extra_info("ssl_object")
        if isinstance(secured, Handshake):
            client.secured = secured
            self._recorder.record_handshake(secured.took_ns, resumed=bool(secured.session_reused))

    async def _exchange(self, client: _Client, session: aiohttp.ClientSession, *, last: bool = False) -> bool:
        """One request and its reply. last: ask the other side to close after it.

        Returns: whether the reply was right. Raises: aiohttp.ClientError and OSError when there is none.
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
        """What session.request() is called with for this target."""
        http = self._http
        scheme = "https" if tls else "http"
        place = str(Endpoint(target.address.partition("%")[0], target.port))  # a zone is nobody else's (RFC 6874)
        named = f"{host}:{target.port}" if host else place
        if target.port == _DEFAULT_PORTS[scheme]:  # RFC 9110 4.2.1: then it is left out
            named = named.removesuffix(f":{target.port}")
        headers = CIMultiDict({"Host": named})
        headers.update(http.headers)
        return {
            "method": http.method,
            "url": URL(f"{scheme}://{place}{http.path}", encoded=True),
            "headers": headers,
            "data": http.body or None,
            "allow_redirects": False,
            "server_hostname": (tls.server_name or host or target.address) if tls else None,
        }


class HttpBeater(HttpConnector):
    """All held connections of one worker, a share of which makes a request now and then, from `begin` on.

    Until then nothing is sent but what TLS needs. The rest is as for HttpConnector; when a request is due, and when it
    counts as missed, is as for `loadgen.worker.epoll.heartbeat.Beater`.
    """

    def __init__(self, *args: Any, heartbeat: Heartbeat, **more: Any) -> None:
        super().__init__(*args, **more)
        self._every_ns, self._share = int(heartbeat.every_s * NS_PER_S), heartbeat.share
        #: How often to see which requests are due: ten times between two of one connection, within reason.
        self.pause_s = min(max(heartbeat.every_s / 10, _PAUSE_MIN_S), _PAUSE_MAX_S)
        self._beating: list[_Client] = []
        self._begun_ns = 0
        self._due = 0  # beats that were due so far, all connections together

    def begin(self, now: int) -> None:
        """Choose who beats, evenly over what is held, and start the clock."""
        held = [client for client in self._clients if client not in self._pending and not client.gone.is_set()]
        count = min(math.ceil(len(held) * self._share), len(held))
        self._beating = [held[n * len(held) // count] for n in range(count)]
        self._begun_ns = now
        self._recorder.beating = count

    def beat(self, now: int) -> None:
        """Send the requests that are due by now. Of rounds that were slept through only the last is sent."""
        count, recorder = len(self._beating), self._recorder
        if not count:
            return
        due = (now - self._begun_ns) * count // self._every_ns
        begin = max(self._due, due - count)
        recorder.missed += begin - self._due
        for number in range(begin, due):
            client = self._beating[number % count]
            if client.gone.is_set() or client.end is not None:
                continue
            if client.asked:
                recorder.missed += 1
            else:
                recorder.beats += 1
                client.asked = True
                client.turn.set()
        self._due = due
        recorder.publish()

    async def _work(self, client: _Client, session: aiohttp.ClientSession) -> None:
        while True:
            await self._exchange(client, session)
            client.asked = False

    async def _await_turn(self, client: _Client, connection: aiohttp.connector.Connection) -> None:
        """The request is begun early, so that aiohttp makes the connection, and waits here for its turn."""
        if client.transport is None:
            self._taken_over(client, connection)
            self._through(client)
        await client.turn.wait()
        client.turn.clear()
        if client.gone.is_set():
            raise aiohttp.ServerDisconnectedError
        await super()._await_turn(client, connection)


class HttpChurner(HttpConnector):
    """All connections of one worker, each closed when it has made its requests.

    exchanges: how many each makes. open_max: connections that may be open, or on their way, at a time. With `target`
    the last request asks the other side to close, and has a second descriptor that keeps the connection open until
    then: aiohttp closes its own as soon as it has read the reply.
    """

    def __init__(self, *args: Any, close: CloseMode, exchanges: int, open_max: int, **more: Any) -> None:
        super().__init__(*args, close=close, **more)
        self._target_closes = close is CloseMode.TARGET
        self._frees = close is not CloseMode.FIN
        self._exchanges, self._open_max = exchanges, open_max
        #: End of the duration, on the clock of `now_ns`; None: not known before the start.
        self.until_ns: int | None = None

    @property
    def room(self) -> int:
        """How many more attempts may be started before some are answered, or over."""
        unanswered = len(self._unanswered)
        return max(min(self._in_flight_max - unanswered, self._open_max - unanswered - len(self._clients)), 0)

    @property
    def idle(self) -> bool:
        """Whether no connection is open or on its way."""
        return not self._unanswered and not self._clients

    async def _work(self, client: _Client, session: aiohttp.ClientSession) -> None:
        left = self._exchanges - self._target_closes
        while left and await self._exchange(client, session):
            left -= 1
            if self.until_ns is not None and now_ns() >= self.until_ns:
                break  # and close from here, even where the other side was to close after the last exchange
        if self._target_closes and not left:
            await self._last_exchange(client, session)
        if client.end is None:
            client.end = _PLANNED

    async def _last_exchange(self, client: _Client, session: aiohttp.ClientSession) -> None:
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
