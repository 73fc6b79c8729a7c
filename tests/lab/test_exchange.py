"""Exchanges and TLS over real sockets: who says what, who ends it, and what is counted then."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme

from loadgen.clock import NS_PER_S, now_ns
from loadgen.kernel import sockstat
from loadgen.model import CloseMode, Endpoint, Heartbeat, PortRange, Strategy, Target, Tls
from loadgen.protocols.echo import Echo
from loadgen.protocols.payload import Payload
from loadgen.results.block import Latency, consistent_breakdown
from loadgen.worker.tls import TlsClient

from .support import PROC_NET, Load, accept_all, listen, reset

TARGET = Endpoint("127.0.0.1", 9000)
PAIRS = [("127.0.0.2", TARGET)]
Open = Callable[..., Load]

pytestmark = pytest.mark.lab("40000 40099")


@pytest.fixture
def listener(_lab: None) -> Iterator[socket.socket]:
    with listen(TARGET) as listening:
        yield listening


@pytest.fixture
def load(listener: socket.socket) -> Iterator[Open]:  # noqa: ARG001  # must be there first
    with ExitStack() as stack:

        def make(**more: Any) -> Load:
            more = {"close": CloseMode.RST, **more}
            made = Load(Strategy.LATE_RANGE, PAIRS, PortRange(40000, 40099), **more)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> Callable[..., TlsClient]:
    """TLS for the connector, trusting the authority of the test."""

    def make(**more: Any) -> TlsClient:
        tls = Tls(**{"ca": authority.cert_pem.bytes().decode(), **more})
        return TlsClient(tls, PAIRS, [Target(TARGET, False)])

    return make


@pytest.fixture
def server(listener: socket.socket, authority: trustme.CA) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*names: str, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, tickets: int = 2, **dates: Any) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = most
        context.num_tickets = tickets
        authority.issue_cert(*(names or ("127.0.0.1",)), **dates).configure_cert(context)
        made.append(Server(listener, context))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Server:
    """Accepts whatever comes, shakes hands and sends back what it hears, whenever it is asked to go on."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        self._listener, self._context = listener, context
        self.open: list[ssl.SSLSocket] = []
        self.heard: list[bytes] = []
        #: How connections ended here, in the order in which they did.
        self.ends: list[str] = []

    def go_on(self) -> None:
        try:
            while True:
                plain = self._listener.accept()[0]
                plain.setblocking(False)
                self.open.append(
                    self._context.wrap_socket(
                        plain, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
                    )
                )
        except BlockingIOError:
            pass
        for peer in tuple(self.open):
            try:
                peer.do_handshake()
                if data := peer.recv(65536):
                    self.heard.append(data)
                    peer.sendall(data)
                else:
                    self._ended(peer, "close_notify")
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except ssl.SSLError as error:
                self._ended(peer, error.reason)
            except OSError as error:
                self._ended(peer, type(error).__name__)

    def _ended(self, peer: ssl.SSLSocket, how: str) -> None:
        self.ends.append(how)
        self.open.remove(peer)
        peer.close()

    def close(self) -> None:
        for peer in self.open:
            peer.close()


def settle(load: Load, server: Server, done: Callable[[], object]) -> None:
    """Let both sides go on until `done`."""

    def over() -> bool:
        server.go_on()
        return bool(done())

    load.settle(over)


def count(load: Load, latency: Latency) -> int:
    load.recorder.publish_all()
    return int(consistent_breakdown(load.block)["latency"][latency].sum())


# --- TLS ------------------------------------------------------------------------------------------


def test_with_tcp_a_connection_is_held_once_it_is_secured(
    load: Open, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    holding, serving = load(client=trusting()), server()
    holding.open(5)
    assert (holding.lifecycle.idle, holding.lifecycle.room) == (False, 995)
    settle(holding, serving, lambda: holding.lifecycle.idle)
    assert (count(holding, Latency.HANDSHAKE), count(holding, Latency.EXCHANGE)) == (5, 0)
    assert (holding.recorder.open, holding.recorder.lost, holding.recorder.resumed) == (5, 0, 0)


def test_an_exchange_goes_through_it(
    load: Open, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    holding, serving = load(client=trusting(), exchange=Echo(16)), server()
    holding.open(3)
    settle(holding, serving, lambda: holding.lifecycle.idle)
    assert (count(holding, Latency.HANDSHAKE), count(holding, Latency.EXCHANGE)) == (3, 3)
    assert serving.heard == [Echo(16).request(number) for number in range(3)]


def test_heartbeats_go_through_it(
    load: Open, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    holding = load(client=trusting(), exchange=Echo(100), heartbeat=Heartbeat(1.0, 1.0))
    serving, beats = server(), holding.connector.heartbeat
    assert beats is not None
    holding.open(4)
    settle(holding, serving, lambda: holding.lifecycle.idle)
    beats.begin(0)
    for second in (1, 2):
        beats.beat(second * NS_PER_S)
        settle(holding, serving, lambda second=second: count(holding, Latency.EXCHANGE) == 4 * second)  # type: ignore[misc]
    assert (holding.recorder.beats, holding.recorder.missed, holding.recorder.wrong) == (8, 0, 0)


def test_a_big_request_and_its_reply_are_sent_bit_by_bit(
    load: Open, listener: socket.socket, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    text = "x" * 500_000
    holding, serving = load(client=trusting(), exchange=Payload(send=text, expect_length=100_000)), server()
    holding.open()
    settle(holding, serving, lambda: sum(map(len, serving.heard)) == 500_000)
    settle(holding, serving, lambda: holding.lifecycle.idle)
    assert (count(holding, Latency.EXCHANGE), holding.recorder.lost) == (1, 0)


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("exchange", [None, Echo(16)])
@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
def test_the_next_connection_resumes_the_session(
    load: Open,
    server: Callable[..., Server],
    trusting: Callable[..., TlsClient],
    most: ssl.TLSVersion,
    exchange: Echo | None,
    close: CloseMode,
) -> None:
    """Also where there is nothing to do but to wait for the ticket of TLS 1.3."""
    churning = load(client=trusting(resume=True), exchange=exchange, churn=True, close=close)
    serving = server(most=most)
    for done in range(1, 5):
        churning.open()
        settle(churning, serving, lambda done=done: churning.recorder.closed == done)  # type: ignore[misc]
    assert (churning.recorder.resumed, churning.errors) == (3, {})
    assert count(churning, Latency.HANDSHAKE) == 4


def test_a_ticket_that_never_comes_is_waited_for_once(
    load: Open, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    churning, serving = load(client=trusting(resume=True), churn=True, timeout_s=5.0), server(tickets=0)
    churning.open()
    settle(churning, serving, lambda: count(churning, Latency.HANDSHAKE) == 1)
    assert churning.recorder.open == 1
    churning.connector.expire(now_ns() + 5 * NS_PER_S)
    churning.check()
    churning.open()
    settle(churning, serving, lambda: churning.recorder.closed == 2)
    assert (churning.recorder.resumed, churning.errors) == (0, {})


@pytest.mark.parametrize(
    ("names", "dates", "more", "reason"),
    [
        (
            ("127.0.0.1",),
            {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)},
            {},
            "CERTIFICATE_EXPIRED",
        ),
        (("127.0.0.1",), {}, {"ca": trustme.CA().cert_pem.bytes().decode()}, "CERTIFICATE_UNKNOWN_ISSUER"),
        (("127.0.0.9",), {}, {}, "CERTIFICATE_WRONG_NAME"),
        (("127.0.0.1",), {}, {"server_name": "a.example"}, "CERTIFICATE_WRONG_NAME"),
    ],
)
def test_a_certificate_that_is_not_good_loses_the_connection_and_the_server_hears_why(
    load: Open,
    server: Callable[..., Server],
    trusting: Callable[..., TlsClient],
    names: tuple[str, ...],
    dates: dict[str, datetime],
    more: dict[str, str],
    reason: str,
) -> None:
    holding, serving = load(client=trusting(**more)), server(*names, **dates)
    holding.open(2)
    settle(holding, serving, lambda: holding.lifecycle.idle and len(serving.ends) == 2)
    assert holding.errors == {("tls", reason): 2}
    assert (count(holding, Latency.HANDSHAKE), holding.recorder.lost) == (0, 2)
    assert all("ALERT" in end for end in serving.ends)


@pytest.mark.parametrize("answer", [b"220 mail.example ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_who_does_not_speak_tls_is_told_from_who_does_it_wrongly(
    load: Open, listener: socket.socket, trusting: Callable[..., TlsClient], answer: bytes
) -> None:
    holding = load(client=trusting())
    holding.open()
    (peer,) = accept_all(listener, 1)
    peer.sendall(answer)
    holding.settle(lambda: holding.lifecycle.idle)
    assert holding.errors == {("tls", "NOT_TLS"): 1}
    peer.close()


@pytest.mark.parametrize(("end", "number"), [(socket.socket.close, "EOF"), (reset, "ECONNRESET")])
@pytest.mark.parametrize("churn", [False, True])
@pytest.mark.parametrize("close", [CloseMode.RST, CloseMode.TARGET])
def test_an_end_during_the_handshake_is_a_loss_whoever_was_to_close(
    load: Open,
    listener: socket.socket,
    trusting: Callable[..., TlsClient],
    end: Callable[[socket.socket], None],
    number: str,
    churn: bool,
    close: CloseMode,
) -> None:
    opening = load(client=trusting(), churn=churn, close=close)
    opening.open()
    (peer,) = accept_all(listener, 1)
    assert peer.recv(65536)  # unread data would turn any close into a reset
    end(peer)
    opening.settle(lambda: opening.lifecycle.idle)
    assert (opening.errors, opening.recorder.closed) == ({("recv", number): 1}, 0)


def test_a_handshake_is_bounded_by_the_timeout(load: Open, trusting: Callable[..., TlsClient]) -> None:
    holding = load(client=trusting(), timeout_s=5.0)
    holding.open(2)
    holding.connector.expire(now_ns())
    assert holding.recorder.lost == 0
    holding.connector.expire(now_ns() + 5 * NS_PER_S)
    assert (holding.errors, holding.lifecycle.idle) == ({("wait", "ETIMEDOUT"): 2}, True)


def test_a_farewell_goes_before_the_fin_and_not_before_a_reset(
    load: Open, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    serving = server()
    for close, says_it in ((CloseMode.FIN, True), (CloseMode.RST, False)):
        holding = load(client=trusting(), close=close)
        holding.open()
        settle(holding, serving, lambda holding=holding: holding.lifecycle.idle)  # type: ignore[misc]
        holding.connector.drain_events()
        assert not holding.connector.close_batch(8192)
        settle(holding, serving, lambda: not serving.open)
        assert (serving.ends.pop() == "close_notify") == says_it


def test_a_target_that_closes_keeps_time_wait_with_tls_as_without(
    load: Open, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    churning = load(client=trusting(), exchange=Echo(16), churn=True, close=CloseMode.TARGET)
    serving = server()
    churning.open()
    settle(churning, serving, lambda: count(churning, Latency.EXCHANGE) == 1)
    assert churning.recorder.open == 1
    (peer,) = serving.open
    with pytest.raises((ssl.SSLWantReadError, ssl.SSLError)):
        peer.unwrap()  # says close_notify, and would wait for the answer
    churning.connector.drain_events()
    assert churning.recorder.open == 1
    peer.close()
    serving.open.clear()
    churning.settle(lambda: churning.recorder.closed == 1)
    assert churning.recorder.lost == 0
    assert sockstat.read(PROC_NET)["tcp_tw"] == 1


def test_who_says_farewell_to_a_held_connection_has_left_it(
    load: Open, server: Callable[..., Server], trusting: Callable[..., TlsClient]
) -> None:
    holding, serving = load(client=trusting()), server()
    holding.open()
    settle(holding, serving, lambda: holding.lifecycle.idle)
    with pytest.raises((ssl.SSLWantReadError, ssl.SSLError)):
        serving.open[0].unwrap()
    holding.settle(lambda: holding.recorder.lost == 1)
    assert holding.errors == {("recv", "EOF"): 1}


# --- Without TLS ----------------------------------------------------------------------------------


def test_a_held_connection_makes_one_exchange(load: Open, listener: socket.socket) -> None:
    holding = load(exchange=Payload(send=r"PING\r\n", expect=r"+PONG\r\n"))
    holding.open()
    (peer,) = accept_all(listener, 1)
    assert peer.recv(100) == b"PING\r\n"
    for piece in (b"+PO", b"NG", b"\r\n"):
        assert not holding.lifecycle.idle
        peer.sendall(piece)
        holding.connector.drain_events()
    holding.settle(lambda: holding.lifecycle.idle)
    assert (count(holding, Latency.EXCHANGE), holding.recorder.open) == (1, 1)
    peer.close()


def test_a_wrong_reply_ends_a_first_exchange(load: Open, listener: socket.socket) -> None:
    holding = load(exchange=Payload(expect="220 "))
    holding.open()
    (peer,) = accept_all(listener, 1)
    peer.sendall(b"554 no\r\n")
    holding.settle(lambda: holding.lifecycle.idle)
    assert (holding.recorder.wrong, holding.recorder.closed, holding.errors) == (1, 1, {})
    peer.close()


@pytest.mark.parametrize(("end", "number"), [(socket.socket.close, "EOF"), (reset, "ECONNRESET")])
def test_an_end_before_the_reply_is_a_loss(
    load: Open, listener: socket.socket, end: Callable[[socket.socket], None], number: str
) -> None:
    holding = load(exchange=Echo(16))
    holding.open()
    (peer,) = accept_all(listener, 1)
    assert peer.recv(100)
    end(peer)
    holding.settle(lambda: holding.lifecycle.idle)
    assert (holding.errors, holding.recorder.closed) == ({("recv", number): 1}, 0)


def test_a_slow_reader_gets_all_of_a_big_request(load: Open, listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    holding = load(exchange=Payload(send="0123456789" * 100_000, expect="ok"))
    holding.open()
    (peer,) = accept_all(listener, 1)
    peer.setblocking(False)
    got = bytearray()

    def read() -> bool:
        try:
            got.extend(peer.recv(10_000))
        except BlockingIOError:
            pass
        return len(got) == 1_000_000

    holding.settle(read)
    assert got == b"0123456789" * 100_000
    peer.sendall(b"ok")
    holding.settle(lambda: holding.lifecycle.idle)
    assert (count(holding, Latency.EXCHANGE), holding.recorder.lost) == (1, 0)
    peer.close()
