"""HTTP over sockets of our own: what is asked, what becomes of each connection, and what it is counted as.

Whichever client makes the requests: the facts are the same for loadgen's own and for aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Final, Literal, ParamSpec

import pytest
import uvloop

from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import Churn, CloseMode, Endpoint, Heartbeat, PortRange, Strategy, Target, Tls, Traffic
from loadgen.protocols.http import Http
from loadgen.results.block import Latency, consistent_breakdown
from loadgen.sink.certificates import Certificates, issue
from loadgen.worker.aiohttp_client import HttpDriver
from loadgen.worker.epoll.connector import EpollConnector
from loadgen.worker.epoll.exchange import Exchanges
from loadgen.worker.heartbeat import Beats
from loadgen.worker.tls import TlsClient
from tests.plans import plan_of

from .support import LINGER_0, PATIENCE_S, PROC_NET, Crew, Load, listen, on_loop

P = ParamSpec("P")

TARGET: Final = Endpoint("127.0.0.1", 9000)
PAIRS: Final = [("127.0.0.1", TARGET)]
FOUR: Final = PortRange(40000, 40003)
HUNDRED: Final = PortRange(40000, 40099)
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
BYE: Final = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

pytestmark = pytest.mark.lab("40000 40099")


@pytest.fixture(autouse=True, params=["loadgen", "aiohttp"])
def client(request: pytest.FixtureRequest) -> Iterator[str]:
    """By whom HTTP is spoken."""
    HttpLoad.client = request.param
    yield request.param
    del HttpLoad.client


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on the event loop of every worker, which is uvloop's.

    On asyncio's own an HTTP connection could not be ended at once: a TLS transport that is closed twice, by aiohttp and
    by us, forgets its protocol, and then abort() fails (Python 3.11.2) or does nothing (3.11.7).
    """

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        on_loop(lambda: test(*args, **kwargs), uvloop.new_event_loop)

    return run


async def come_true(condition: Callable[[], Any]) -> None:
    """Let the event loop run until this is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


def polite(request: bytes) -> bytes:
    """A reply that closes when that was asked for."""
    return BYE if b"\r\nConnection: close\r\n" in request else OK


class Site:
    """A server that answers each request with `reply`, or with what `reply` returns for it; None: it closes."""

    def __init__(self, reply: bytes | Callable[[bytes], bytes | None] | None) -> None:
        self.reply = reply
        self.requests: list[bytes] = []
        #: Whether the other side closed first, of each connection that is over.
        self.left: list[bool] = []
        self.streams: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.current_task())  # type: ignore[arg-type]  # this is one
        self.streams.append(writer)
        try:
            while request := await self._request(reader):
                self.requests.append(request)
                answer = self.reply(request) if callable(self.reply) else self.reply
                if answer is None or answer == BYE:
                    writer.write(answer or b"")
                    self.left.append(False)
                    return
                writer.write(answer)
            self.left.append(True)
        except (ConnectionError, ssl.SSLError):
            self.left.append(True)
        finally:
            writer.close()

    async def end(self) -> None:
        for writer in self.streams:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    async def _request(reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return head + (await reader.readexactly(int(length[0].split(b":")[1])) if length else b"")


@asynccontextmanager
async def site(
    reply: bytes | Callable[[bytes], bytes | None] | None = OK, secured: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    """A `Site` at TARGET."""
    made = Site(reply)
    server = await asyncio.start_server(made.serve, sock=listen(TARGET), ssl=secured)
    try:
        yield made
    finally:
        server.close()
        await made.end()


class HttpLoad(Load):
    """A `Load` whose connector speaks HTTP; its questions are asked while the event loop runs.

    client: by whom, see the fixture of that name.
    """

    client: Literal["loadgen", "aiohttp"]

    def __init__(
        self,
        http: Http | None = None,
        *,
        strategy: Strategy = Strategy.LATE_RANGE,
        ports: PortRange = HUNDRED,
        close: CloseMode = CloseMode.RST,
        timeout_s: float = 600.0,
        heartbeat: Heartbeat | None = None,
        exchanges: int = 0,
        open_max: int = 1000,
        tls: Tls | None = None,
        host: str = "",
        self_connect: bool = False,
    ) -> None:
        super().__init__(
            strategy,
            PAIRS,
            ports,
            close=close,
            timeout_s=timeout_s,
            heartbeat=heartbeat,
            churn=exchanges > 0,
            exchanges=exchanges,
            open_max=open_max,
            self_connect=self_connect,
        )
        self.connector = epoll = EpollConnector(self.settings, self.ports, self.recorder)
        http, targets = http or Http(), [Target(TARGET, sink=False, host=host)]
        if self.client == "aiohttp":
            epoll.driver = HttpDriver(epoll, http, {TARGET: host}, tls)
        else:
            epoll.driver = Exchanges(epoll, http, TlsClient(tls, PAIRS, targets) if tls else None, targets)

    async def opened(self, count: int = 1) -> HttpLoad:
        """Make `count` attempts, and wait until each is answered and no connection is pending."""
        self.start(count)
        await self.settled(lambda: self.lifecycle.idle)
        return self

    async def settled(self, done: Callable[[], Any]) -> None:
        """Take what there is to hear until `done`."""

        def drained() -> Any:
            self.connector.drain_events()
            return done()

        await come_true(drained)
        self.check()

    async def closed(self) -> None:
        """Close whatever is open, and wait until it is."""
        self.connector.abandon()
        await self.settled(lambda: not self.connector.close_batch(1000))

    def begin_beating(self) -> Beats[Any]:
        """Begin the heartbeats, whose clock is at 0 then."""
        beats = self.connector.heartbeat
        assert beats is not None
        beats.begin(0)
        return beats

    def count(self, latency: Latency) -> int:
        self.recorder.publish_all()
        return int(consistent_breakdown(self.block)["latency"][latency].sum())

    @property
    def exchanges(self) -> int:
        return self.count(Latency.EXCHANGE)


@asynccontextmanager
async def loading(*args: Any, **more: Any) -> AsyncIterator[HttpLoad]:
    """An `HttpLoad`, which is closed."""
    made = HttpLoad(*args, **more)
    try:
        yield made
    finally:
        await made.closed()
        assert made.recorder.open == 0
        made.close()


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    writer.transport.abort()


def clients_in(state: str = "01") -> set[int]:
    """Ports of the client's ends in a state: 01 established, 06 TIME-WAIT (include/net/tcp_states.h)."""
    lines = [line.split() for line in (PROC_NET / "tcp").read_text().splitlines()[1:]]
    ports = {int(line[1].partition(":")[2], 16) for line in lines if line[3] == state}
    return {port for port in ports if port in HUNDRED}


# --- Held -------------------------------------------------------------------------------------------


@on_uvloop
async def test_a_connection_makes_one_request_and_is_held() -> None:
    async with site() as served, loading(Http(path="/a?b=%20c", headers={"X-Test": "1"})) as load:
        await load.opened(20)
        now = load.recorder
        assert (now.established, now.open, now.lost, now.wrong, load.exchanges) == (20, 20, 0, 0, 20)
        assert clients_in() == set(range(40000, 40020))
        assert len(served.requests) == len(served.streams) == 20
        head = served.requests[0].lower()
        assert head.startswith(b"get /a?b=%20c http/1.1\r\n")
        assert b"\r\nx-test: 1\r\n" in head
        assert b"\r\nhost: 127.0.0.1:9000\r\n" in head
        await load.closed()
        assert (now.closed, now.lost, load.errors) == (20, 0, {})
        await come_true(lambda: served.left == [True] * 20)


@pytest.mark.parametrize(
    ("http", "host", "named"),
    [
        (Http(), "site.example", b"site.example:9000"),
        (Http(headers={"host": "other.example"}), "site.example", b"other.example"),
    ],
)
@on_uvloop
async def test_the_host_is_the_targets_name_unless_the_headers_have_one(http: Http, host: str, named: bytes) -> None:
    async with site() as served, loading(http, host=host) as load:
        await load.opened()
        hosts = [line for line in served.requests[0].split(b"\r\n") if line.lower().startswith(b"host:")]
        assert [line.split(b": ", 1)[1] for line in hosts] == [named]


@on_uvloop
async def test_a_body_is_sent_by_the_method() -> None:
    async with site() as served, loading(Http(method="POST", body="größer")) as load:
        await load.opened()
        assert served.requests[0].startswith(b"POST / ")
        assert served.requests[0].endswith("\r\n\r\ngrößer".encode())


@pytest.mark.parametrize(
    ("http", "reply"),
    [
        (Http(status=404), OK),
        (Http(), OK.replace(b"200", b"302").replace(b"\r\n\r\n", b"\r\nLocation: /elsewhere\r\n\r\n")),
        (Http(expect="bye"), OK),
        (Http(max_body=4), OK),
    ],
)
@on_uvloop
async def test_a_wrong_reply_is_counted_and_ends_the_connection(http: Http, reply: bytes) -> None:
    async with site(reply) as served, loading(http) as load:
        await load.opened(3)
        now = load.recorder
        await load.settled(lambda: now.open == 0)
        assert (now.wrong, load.exchanges, now.closed, now.lost, len(served.requests)) == (3, 0, 3, 0, 3)


@pytest.mark.parametrize(
    "http",
    [Http(status=(404, 200)), Http(expect="ell"), Http(max_body=5), Http(method="HEAD", expect="")],
)
@on_uvloop
async def test_a_right_reply_is_as_the_options_say(http: Http) -> None:
    def reply(request: bytes) -> bytes:
        return OK.removesuffix(b"hello") if request.startswith(b"HEAD") else OK

    async with site(reply), loading(http) as load:
        await load.opened(3)
        assert (load.recorder.wrong, load.exchanges) == (0, 3)


@pytest.mark.parametrize(
    ("ending", "lost_as"),
    [
        (asyncio.StreamWriter.close, ("recv", "EOF")),
        (reset, ("recv", "ECONNRESET")),
    ],
)
@on_uvloop
async def test_a_held_connection_that_the_server_ends_is_lost_and_not_opened_again(
    ending: Callable[[asyncio.StreamWriter], None], lost_as: tuple[str, str]
) -> None:
    async with site() as served, loading() as load:
        await load.opened(3)
        ending(served.streams[1])
        await load.settled(lambda: load.recorder.lost)
        assert load.errors == {lost_as: 1}
        assert (load.recorder.open, load.recorder.started, len(served.streams)) == (2, 3, 3)


@on_uvloop
async def test_a_reply_that_closes_the_connection_loses_it() -> None:
    async with site(BYE), loading() as load:
        load.start(2)
        await load.settled(lambda: load.recorder.lost == 2)
        assert (load.exchanges, load.errors) == (2, {("recv", "EOF"): 2})


@pytest.mark.parametrize(
    ("reply", "wrong", "lost_as"),
    [
        (None, 0, ("recv", "EOF")),
        (b"220 mail.example ESMTP\r\n\r\n", 2, ("recv", "EPROTO")),
    ],
)
@on_uvloop
async def test_a_connection_without_a_reply_in_http_is_lost(
    reply: bytes | None, wrong: int, lost_as: tuple[str, str]
) -> None:
    async with site(reply), loading() as load:
        load.start(2)
        await load.settled(lambda: load.recorder.lost == 2)
        assert (load.recorder.wrong, load.exchanges, load.errors) == (wrong, 0, {lost_as: 2})


@pytest.mark.parametrize("reply", [b"", OK.removesuffix(b"lo")])
@on_uvloop
async def test_a_reply_that_does_not_come_in_time_loses_the_connection(reply: bytes) -> None:
    async with site(reply) as served, loading(timeout_s=5.0) as load:
        load.start(2)
        await load.settled(lambda: len(served.requests) == 2)
        assert not load.lifecycle.idle
        load.connector.expire(now_ns())
        await load.settled(lambda: True)
        assert load.recorder.lost == 0
        load.connector.expire(now_ns() + 5 * NS_PER_S)
        await load.settled(lambda: load.recorder.lost == 2)
        assert (load.errors, load.lifecycle.idle) == ({("wait", "ETIMEDOUT"): 2}, True)


@on_uvloop
async def test_with_close_target_the_end_that_the_server_makes_is_as_planned() -> None:
    async with site() as served, loading(close=CloseMode.TARGET) as load:
        await load.opened(3)
        load.lifecycle.ending = True
        for writer in served.streams[:2]:
            writer.close()
        await load.settled(lambda: load.recorder.open == 1)
        load.connector.give_up()
        await load.settled(lambda: load.recorder.open == 0)
        assert (load.recorder.closed, load.errors) == (2, {("wait", "ETIMEDOUT"): 1})


@pytest.mark.parametrize(("close", "resting"), [(CloseMode.FIN, 4), (CloseMode.RST, 0)])
@on_uvloop
async def test_who_keeps_time_wait(close: CloseMode, resting: int) -> None:
    async with site() as served, loading(close=close) as load:
        await load.opened(4)
        await load.closed()
        await come_true(lambda: served.left == [True] * 4)
        # Only when none is on its way any more: before, nothing would be in TIME-WAIT in either case.
        await come_true(lambda: not any(clients_in(f"{state:02X}") for state in range(1, 13) if state != 6))
        assert len(clients_in("06")) == resting


@on_uvloop
async def test_what_is_closed_in_the_middle_of_it_all_is_counted_as_closed() -> None:
    """Some have not even begun, some wait for a reply."""
    async with site(b"") as served, loading() as load:
        load.start(5)
        await load.settled(lambda: len(served.requests) == 5)
        load.start(5)
        await load.closed()
        assert (load.recorder.established, load.recorder.closed, load.errors) == (10, 10, {})


# --- What can go wrong before -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "ended_by"),
    [(Strategy.LATE_RANGE, ("connect", "EADDRNOTAVAIL")), (Strategy.EXCLUSIVE, ("bind", "EADDRINUSE"))],
)
@on_uvloop
async def test_the_fifth_connection_of_four_ports_fails(strategy: Strategy, ended_by: tuple[str, str]) -> None:
    async with site(), loading(ports=FOUR, strategy=strategy) as load:
        await load.opened(5)
        assert load.errors == {ended_by: 1}
        assert (load.recorder.open, load.exchanges, clients_in()) == (4, 4, set(range(40000, 40004)))


@pytest.mark.parametrize("strategy", list(Strategy))
@on_uvloop
async def test_every_strategy_opens(strategy: Strategy) -> None:
    async with site(), loading(strategy=strategy) as load:
        await load.opened(10)
        assert (load.recorder.open, load.exchanges, load.errors) == (10, 10, {})


@on_uvloop
async def test_a_port_that_somebody_else_has_is_passed_over() -> None:
    async with site():
        _, writer = await asyncio.open_connection(*TARGET.sockaddr, local_addr=("127.0.0.1", 40000))
        async with loading() as load:
            await load.opened(2)
            assert (load.recorder.open, load.errors, load.ports.retried) == (2, {}, 1)
        writer.transport.abort()


@on_uvloop
async def test_a_closed_port_refuses() -> None:
    async with loading() as load:
        await load.opened(3)
        assert (load.recorder.failed, load.errors) == (3, {("connect", "ECONNREFUSED"): 3})


@on_uvloop
async def test_a_target_that_does_not_answer_times_out() -> None:
    """A full backlog: the first two are established by the kernel alone, and the others wait."""
    with listen(TARGET, backlog=1):
        async with loading(timeout_s=5.0) as load:
            load.start(4)
            await load.settled(lambda: load.recorder.in_flight == 2)
            load.connector.expire(now_ns() + 5 * NS_PER_S)
            await load.settled(lambda: load.lifecycle.idle)
            assert load.errors == {("wait", "ETIMEDOUT"): 4}
            assert (load.recorder.failed, load.recorder.lost) == (2, 2)


# --- Heartbeats -------------------------------------------------------------------------------------


@on_uvloop
async def test_a_beat_is_a_request() -> None:
    async with site() as served, loading(heartbeat=Heartbeat(every_s=1.0, share=0.5)) as load:
        await load.opened(10)
        beats = load.begin_beating()
        assert (served.requests, load.recorder.beating) == ([], 5)
        for second in (1, 2, 3):
            beats.beat(second * NS_PER_S)
            await load.settled(lambda second=second: load.exchanges == 5 * second)  # type: ignore[misc]
        now = load.recorder
        assert (now.beats, now.missed, now.wrong, now.open) == (15, 0, 0, 10)
        await come_true(lambda: len(served.streams) == 10)


@on_uvloop
async def test_a_beat_that_is_not_answered_is_missed_and_waited_for() -> None:
    async with site(b"") as served, loading(heartbeat=Heartbeat(every_s=1.0, share=1.0)) as load:
        await load.opened(3)
        beats = load.begin_beating()
        for second in (1, 2, 3):
            beats.beat(second * NS_PER_S)
        await load.settled(lambda: len(served.requests) == 3)
        now = load.recorder
        assert (now.beats, now.missed) == (3, 6)
        for writer in served.streams:
            writer.write(OK.replace(b"200", b"500"))
        await load.settled(lambda: now.wrong == 3)
        served.reply = OK
        beats.beat(4 * NS_PER_S)
        await load.settled(lambda: load.exchanges == 3)
        assert (now.beats, now.missed, now.lost) == (6, 6, 0)


@on_uvloop
async def test_a_connection_that_the_server_ends_between_beats_is_lost_at_once() -> None:
    async with site() as served, loading(heartbeat=Heartbeat(every_s=1.0, share=1.0)) as load:
        await load.opened(2)
        beats = load.begin_beating()
        await come_true(lambda: len(served.streams) == 2)
        served.streams[0].close()
        await load.settled(lambda: load.recorder.lost == 1)
        beats.beat(NS_PER_S)
        await load.settled(lambda: load.exchanges == 1)
        served.streams[1].close()
        await load.settled(lambda: load.recorder.lost == 2)
        assert (load.errors, load.recorder.beats) == ({("recv", "EOF"): 2}, 1)


# --- Churn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchanges", [1, 3])
@pytest.mark.parametrize(
    ("close", "resting"), [(CloseMode.FIN, range(40000, 40080)), (CloseMode.RST, ()), (CloseMode.TARGET, ())]
)
@on_uvloop
async def test_churn_makes_its_requests_and_closes(exchanges: int, close: CloseMode, resting: Sequence[int]) -> None:
    """With `target` the last request asks for the close, and the server is the first to do so."""
    async with site(polite) as served, loading(close=close, exchanges=exchanges) as load:
        for _ in range(4):
            await load.opened(20)
        now = load.recorder
        assert (now.established, now.closed, now.open, load.errors) == (80, 80, 0, {})
        assert load.exchanges == len(served.requests) == 80 * exchanges
        await come_true(lambda: len(served.left) == 80)
        assert set(served.left) == {close is not CloseMode.TARGET}
        await come_true(lambda: clients_in("06") == set(resting))


@on_uvloop
async def test_churn_ends_as_planned_though_the_reply_closes() -> None:
    async with site(BYE), loading(exchanges=1) as load:
        await load.opened(20)
        assert (load.recorder.closed, load.exchanges, load.errors) == (20, 20, {})


@on_uvloop
async def test_in_churn_a_wrong_reply_is_the_last() -> None:
    async with site() as served, loading(Http(status=201), exchanges=5) as load:
        await load.opened(3)
        now = load.recorder
        assert (now.wrong, now.closed, load.errors, len(served.requests)) == (3, 3, {}, 3)


@on_uvloop
async def test_with_target_and_a_server_that_does_not_close_the_timeout_does() -> None:
    async with site(OK), loading(close=CloseMode.TARGET, exchanges=1, timeout_s=5.0) as load:
        load.start(2)
        await load.settled(lambda: load.exchanges == 2)
        assert load.recorder.open == 2
        load.connector.expire(now_ns() + 5 * NS_PER_S)
        await load.settled(lambda: load.lifecycle.idle)
        assert load.errors == {("wait", "ETIMEDOUT"): 2}


@on_uvloop
async def test_a_port_is_used_again_only_when_its_socket_is_closed() -> None:
    """Four ports, a hundred connections one after the other by fours, and never one that finds its port taken."""
    async with site(), loading(ports=FOUR, strategy=Strategy.EXCLUSIVE, exchanges=1) as load:
        for _ in range(25):
            await load.opened(4)
        assert (load.recorder.closed, load.errors, load.ports.retried) == (100, {}, 0)


@on_uvloop
async def test_room_is_what_may_be_open() -> None:
    async with site(b""), loading(exchanges=1, open_max=7) as load:
        load.start(5)
        assert load.lifecycle.room == 2


# --- TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return issue(["127.0.0.1", "site.example"])


@pytest.fixture
def secured(certificates: Certificates, tmp_path: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = tmp_path / "server.pem"
    pem.write_text(certificates.certificate_pem + certificates.key_pem)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
@pytest.mark.parametrize(("name", "host"), [("", ""), ("site.example", ""), ("", "site.example")])
@on_uvloop
async def test_tls_is_below_http(
    secured: ssl.SSLContext, certificates: Certificates, name: str, host: str, close: CloseMode
) -> None:
    tls = Tls(server_name=name, ca=certificates.ca_pem)
    async with site(secured=secured) as served, loading(tls=tls, host=host, close=close) as load:
        await load.opened(5)
        now = load.recorder
        assert (load.exchanges, now.open, now.resumed, load.errors) == (5, 5, 0, {})
        assert load.count(Latency.HANDSHAKE) == 5
        served.streams[0].close()
        await load.settled(lambda: now.lost == 1)
        assert load.errors == {("recv", "EOF"): 1}


@on_uvloop
async def test_with_fin_tls_says_farewell(secured: ssl.SSLContext, certificates: Certificates) -> None:
    """Without close_notify the end of file is an error of TLS, if it is asked to be one."""

    def serve(listener: socket.socket) -> bytes:
        accepted, _ = listener.accept()
        with secured.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as sock:
            sock.settimeout(PATIENCE_S)
            sock.recv(65536)
            sock.sendall(OK)
            return sock.recv(65536)

    with listen(TARGET) as listener:
        listener.settimeout(PATIENCE_S)
        end = asyncio.create_task(asyncio.to_thread(serve, listener))
        async with loading(tls=Tls(ca=certificates.ca_pem), close=CloseMode.FIN) as load:
            await load.opened()
            await load.closed()
        assert await end == b""


@on_uvloop
async def test_with_target_tls_leaves_the_last_word_to_the_server(
    secured: ssl.SSLContext, certificates: Certificates
) -> None:
    """A close_notify after its FIN would be answered with RST, and its TIME-WAIT be gone."""

    def serve(listener: socket.socket) -> None:
        for _ in range(3):
            accepted, _ = listener.accept()
            with secured.wrap_socket(accepted, server_side=True) as sock:
                sock.settimeout(PATIENCE_S)
                while b"\r\nConnection: close\r\n" not in sock.recv(65536):
                    sock.sendall(OK)
                sock.sendall(BYE)

    with listen(TARGET) as listener:
        listener.settimeout(PATIENCE_S)
        end = asyncio.create_task(asyncio.to_thread(serve, listener))
        async with loading(tls=Tls(ca=certificates.ca_pem), close=CloseMode.TARGET, exchanges=2) as load:
            await load.opened(3)
            await end
            assert (load.recorder.closed, load.exchanges, load.errors) == (3, 6, {})
        lines = [line.split() for line in (PROC_NET / "tcp").read_text().splitlines()[1:]]
        assert [line[1].endswith(f":{TARGET.port:04X}") for line in lines if line[3] == "06"] == [True] * 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("resume", "resumed"), [(True, 2), (False, 0)])
@on_uvloop
async def test_sessions_are_resumed_if_asked_for(
    secured: ssl.SSLContext, certificates: Certificates, version: ssl.TLSVersion, resume: bool, resumed: int
) -> None:
    secured.maximum_version = version

    tls = Tls(ca=certificates.ca_pem, resume=resume)
    async with site(secured=secured), loading(tls=tls, exchanges=1) as load:
        for _ in range(3):
            await load.opened()
        assert (load.recorder.resumed, load.exchanges, load.errors) == (resumed, 3, {})


@pytest.mark.parametrize(
    ("tls", "reason"),
    [(Tls(), "CERTIFICATE_UNKNOWN_ISSUER"), (Tls(server_name="other.example"), "CERTIFICATE_WRONG_NAME")],
)
@pytest.mark.parametrize("heartbeat", [None, Heartbeat(every_s=1.0, share=1.0)])
@on_uvloop
async def test_a_certificate_that_is_not_good_loses_the_connection(
    secured: ssl.SSLContext, certificates: Certificates, tls: Tls, reason: str, heartbeat: Heartbeat | None
) -> None:
    trusting = Tls(server_name=tls.server_name, ca=certificates.ca_pem if tls.server_name else "")

    async with site(secured=secured), loading(tls=trusting, heartbeat=heartbeat) as load:
        await load.opened(3)
        assert (load.recorder.established, load.recorder.lost) == (3, 3)
        assert (load.errors, load.exchanges) == ({("tls", reason): 3}, 0)


@on_uvloop
async def test_a_target_without_tls_is_none(certificates: Certificates) -> None:
    with listen(TARGET) as listener:
        async with loading(tls=Tls(ca=certificates.ca_pem), timeout_s=5.0) as load:
            load.start(2)
            for _ in range(2):
                accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
                with accepted:
                    accepted.send(b"220 mail.example ESMTP\r\n")
                    await asyncio.get_running_loop().sock_recv(accepted, 65536)
            await load.settled(lambda: load.lifecycle.idle)
            assert load.errors == {("tls", "NOT_TLS"): 2}


@pytest.mark.parametrize("answer", [b"", None])
@on_uvloop
async def test_a_handshake_that_is_not_answered_or_cut_off(certificates: Certificates, answer: bytes | None) -> None:
    """Silence ends with the scenario's timeout; a close is the end of file that it is."""
    with listen(TARGET) as listener:
        async with loading(tls=Tls(ca=certificates.ca_pem), timeout_s=5.0) as load:
            load.start()
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted:
                await load.settled(lambda: True)
                await asyncio.get_running_loop().sock_recv(accepted, 65536)
                if answer is None:
                    accepted.close()
                else:
                    load.connector.expire(now_ns() + 5 * NS_PER_S)
                await load.settled(lambda: load.lifecycle.idle)
            assert load.errors == {("recv", "EOF") if answer is None else ("wait", "ETIMEDOUT"): 1}


@pytest.mark.parametrize("close", [CloseMode.RST, CloseMode.FIN])
@pytest.mark.parametrize("secure", [True, False])
@on_uvloop
async def test_a_reset_before_anything_is_sent_loses_the_connection(
    certificates: Certificates, secure: bool, close: CloseMode
) -> None:
    """uvloop closes the descriptor then and tells the socket nothing; the connection is over all the same."""
    with listen(TARGET) as listener:
        async with loading(tls=Tls(ca=certificates.ca_pem) if secure else None, close=close) as load:
            load.start(3)
            for _ in range(3):
                accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                accepted.close()
            await load.settled(lambda: not load.recorder.open)
            assert load.errors == {("recv", "ECONNRESET"): 3}


# --- Workers ----------------------------------------------------------------------------------------


def test_two_workers_hold_and_close(client: str) -> None:
    async def body() -> None:
        plan = plan_of(
            connections=30,
            targets=(Target(TARGET, sink=False),),
            traffic=Traffic("http", {"path": "/x", "status": [200, 204], "client": client}),
            ports=HUNDRED,
            workers=2,
        )
        async with site() as served, Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert (line.established, line.open, line.wrong, len(served.requests)) == (30, 30, 0, 30)
            await crew.drain()
            assert (crew.line().closed, crew.line().lost) == (30, 0)

    on_loop(body, uvloop.new_event_loop)


def test_a_worker_beats(client: str) -> None:
    async def body() -> None:
        plan = plan_of(
            traffic=Traffic("http", {"client": client}), heartbeat=Heartbeat(every_s=0.05, share=1.0), ports=HUNDRED
        )
        async with site() as served, Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            assert served.requests == []
            crew.fleet.tell("worker", do="hold")
            await come_true(lambda: len(served.requests) >= 12)
            await crew.drain()
            line = crew.line()
            assert (line.beating, line.wrong, line.lost, line.closed) == (4, 0, 0, 4)

    on_loop(body, uvloop.new_event_loop)


@pytest.mark.parametrize("close", list(CloseMode))
def test_a_worker_in_churn_keeps_on(client: str, close: CloseMode) -> None:
    async def body() -> None:
        plan = plan_of(
            connections=5,
            traffic=Traffic("http", {"client": client}),
            churn=Churn(duration_s=0.5, exchanges=2),
            ports=HUNDRED,
            close=close,
        )
        async with site(polite) as served, Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            await crew.drain()
            line = crew.line()
            assert line.closed == line.established >= 10
            assert (line.lost, line.wrong, line.open_peak) == (0, 0, 5)
            # Up to five are under way at the end of the duration, and make no second request then.
            assert 2 * line.closed - 5 <= len(served.requests) <= 2 * line.closed

    on_loop(body, uvloop.new_event_loop)
