"""Sinks with behaviour against real clients: plain sockets, ssl and http.client, each sink a process of its own."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import pytest

from loadgen.kernel import snmp
from loadgen.model import Endpoint, SinkBehaviour, Speaks
from loadgen.sink import counts
from loadgen.sink.behaviour.tls import prepare
from loadgen.sink.certificates import Certificates, issue

from .support import PROC_NET, reset, until
from .test_sink import Sinks, free_numbers

HERE: Final = Endpoint("127.0.0.1", 9000)
PLAIN: Final = Endpoint("127.0.0.1", 9001)
pytestmark = pytest.mark.lab("40000 41999")
Serve = Callable[..., Sinks]
Connect = Callable[..., socket.socket]


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return issue(["127.0.0.1", "sink.test"])


@pytest.fixture
def serve(keep: ExitStack, certificates: Certificates) -> Serve:
    """A sink process with these behaviour at HERE, and one with none at PLAIN in the same process."""

    def make(*, count: int = 1, descriptors: int = 2048, closes_after: int | None = None, **behaviour: Any) -> Sinks:
        return Sinks(
            keep,
            (HERE, PLAIN),
            count,
            4,
            descriptors,
            closes_after=closes_after,
            behaviours={HERE: SinkBehaviour(**behaviour)},
            certificates=certificates,
        )

    return make


@pytest.fixture
def connect(keep: ExitStack) -> Connect:
    def make(target: Endpoint = HERE) -> socket.socket:
        return keep.enter_context(socket.create_connection((target.address, target.port), 10))

    return make


@pytest.fixture
def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificates.ca_pem)


@pytest.fixture
def secure(keep: ExitStack, connect: Connect, trusting: ssl.SSLContext) -> Callable[..., ssl.SSLSocket]:
    """A connection after its handshake, with a certificate that was checked."""

    def make(name: str = "127.0.0.1", **more: Any) -> ssl.SSLSocket:
        return keep.enter_context(trusting.wrap_socket(connect(), server_hostname=name, **more))

    return make


@pytest.fixture
def browser(keep: ExitStack) -> Callable[..., http.client.HTTPConnection]:
    def make(kind: Any = http.client.HTTPConnection, **more: Any) -> http.client.HTTPConnection:
        made: http.client.HTTPConnection = kind(*HERE.sockaddr, timeout=10, **more)
        keep.callback(made.close)
        return made

    return make


def is_reset(connect: Connect) -> bool:
    """Whether a new connection is reset, which may show in connect(), send() or recv(); else it is echoed to."""
    try:
        sock = connect()
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
    except ConnectionResetError:
        return True
    return False


# --- HTTP -------------------------------------------------------------------------------------------


def test_http_answers_every_request_of_a_connection(serve: Serve, browser: Callable[..., Any]) -> None:
    serving = serve(speaks=Speaks.HTTP, status=503, body_bytes=1024)
    client = browser()
    for method, body in (("GET", None), ("POST", b"y" * 100_000), ("PUT", iter([b"a", b"b"])), ("GET", None)):
        client.request(method, "/", body=body, encode_chunked=True)
        response = client.getresponse()
        assert (response.status, response.reason, response.version) == (503, "Service Unavailable", 11)
        assert response.getheader("Content-Length") == "1024"
        assert response.read() == b"x" * 1024
    serving.expect(accepted=1, open=1)
    client.close()
    serving.expect(accepted=1, open=0)


def test_http_answers_pipelined_requests_in_order(serve: Serve, connect: Connect) -> None:
    serve(speaks=Speaks.HTTP, body_bytes=3)
    sock = connect()
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5 + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    received = b"".join(iter(partial(sock.recv, 65536), b""))
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 6
    assert received.count(b"Connection: close\r\n") == 1
    assert received.endswith(b"\r\n\r\nxxx")


@pytest.mark.parametrize("rubbish", [b"how do you do\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n"])
def test_http_refuses_what_is_no_request_and_closes(serve: Serve, connect: Connect, rubbish: bytes) -> None:
    serving = serve(speaks=Speaks.HTTP, body_bytes=3)
    sock = connect()
    sock.sendall(rubbish)
    received = b"".join(iter(partial(sock.recv, 65536), b""))
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    serving.expect(accepted=1, open=0)


def test_http_closes_with_the_answer_to_the_last_request(serve: Serve, browser: Callable[..., Any]) -> None:
    """And keeps TIME-WAIT, because it was the first to close."""
    serving = serve(speaks=Speaks.HTTP, close_after_requests=2)
    for _ in range(3):
        client = browser()
        closing = []
        for _ in range(2):
            client.request("GET", "/")
            response = client.getresponse()
            response.read()
            closing.append(response.getheader("Connection"))
        assert closing == [None, "close"]
    serving.expect(accepted=3, open=0)
    until(lambda: snmp.read(PROC_NET)["TcpExt.TW"] == 3)


# --- TLS --------------------------------------------------------------------------------------------


def test_tls_echoes_more_than_its_buffers_hold(serve: Serve, secure: Callable[..., ssl.SSLSocket]) -> None:
    serving = serve(tls=True)
    sock = secure()
    data = bytes(range(256)) * 8192  # 2 MiB
    sock.setblocking(False)
    sent, received = 0, bytearray()

    def finished() -> bool:
        nonlocal sent
        select.select([sock], [sock] if sent < len(data) else [], [], 0.1)
        try:
            sent += sock.send(data[sent : sent + 65536]) if sent < len(data) else 0
        except ssl.SSLWantWriteError:
            pass
        try:
            received.extend(sock.recv(65536))
        except ssl.SSLWantReadError:
            pass
        return len(received) >= len(data)

    until(finished)
    assert received == data
    sock.setblocking(True)
    sock.unwrap()  # close_notify, and the sink's own
    serving.expect(accepted=1, open=0)


def test_tls_is_trusted_under_each_name_and_no_other(serve: Serve, secure: Callable[..., ssl.SSLSocket]) -> None:
    serving = serve(tls=True)
    for name in ("127.0.0.1", "sink.test"):
        assert secure(name).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        secure("other.test")
    serving.expect(accepted=3, open=2)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_with_whichever_sink_it_comes_to(
    serve: Serve,
    certificates: Certificates,
    trusting: ssl.SSLContext,
    secure: Callable[..., ssl.SSLSocket],
    newest: ssl.TLSVersion,
) -> None:
    prepare(certificates)  # as in a run: before the sinks are forked
    trusting.maximum_version = newest
    serving = serve(tls=True, count=2)
    session = None
    for number in range(12):
        sock = secure(session=session)
        assert sock.session_reused == (number > 0)
        sock.sendall(b"x")  # what the sink sends with its answer has the ticket of TLS 1.3
        assert sock.recv(1) == b"x"
        session = sock.session
    until(lambda: counts.totals(serving.blocks)["accepted"] == 12)  # a sink counts a moment after it answers
    each = counts.counters(serving.blocks)[:, counts.SinkCounter.ACCEPTED].tolist()
    assert min(each) > 0, "one sink had them all"


def test_https(serve: Serve, browser: Callable[..., Any], trusting: ssl.SSLContext) -> None:
    serving = serve(speaks=Speaks.HTTP, tls=True, body_bytes=100_000, close_after_requests=2)
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    client = browser(http.client.HTTPSConnection, context=trusting)
    for _ in range(2):
        client.request("GET", "/")
        assert client.getresponse().read() == b"x" * 100_000
    serving.expect(accepted=1, open=0)
    client.connect()
    assert client.sock.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("said", "answer"),
    [(b"GET / HTTP/1.1\r\n\r\n", b""), (b"\x16\x03\x01\x00\x05hello", b"\x15")],  # RFC 8446 5.1: alert
)
def test_a_client_that_speaks_no_tls_is_left(serve: Serve, connect: Connect, said: bytes, answer: bytes) -> None:
    """With an alert if it began like TLS; OpenSSL has none for whoever did not."""
    serving = serve(tls=True)
    sock = connect()
    sock.sendall(said)
    assert b"".join(iter(partial(sock.recv, 100), b""))[:1] == answer
    serving.expect(accepted=1, open=0)


def test_a_client_that_leaves_within_the_handshake(serve: Serve, connect: Connect) -> None:
    serving = serve(tls=True)
    connect().close()
    reset(connect())
    serving.expect(accepted=2, open=0)


@pytest.mark.parametrize("broken", [b"\0 what?", b"\x17\x03\x03\x00\x20" + b"x" * 32])
@pytest.mark.parametrize("speaks", [Speaks.ECHO, Speaks.HTTP])
def test_tls_that_fails_while_an_answer_waits_ends_that_connection_alone(
    serve: Serve, secure: Callable[..., ssl.SSLSocket], speaks: Speaks, broken: bytes
) -> None:
    """No TLS at all, and a record that its key does not open."""
    serving = serve(speaks=speaks, tls=True, delay_s=0.1)
    other = secure()
    bad = secure()
    bad.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    raw = socket.socket(fileno=bad.detach())
    raw.sendall(broken)
    raw.settimeout(10)
    while raw.recv(65536):
        pass
    raw.close()
    other.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert other.recv(1) in (b"G", b"H")
    serving.expect(accepted=2, open=1)
    until(lambda: sum(counts.failures(serving.blocks).values()) == 1)
    assert next(iter(counts.failures(serving.blocks))).startswith("tls ")


# --- Misbehaviour -----------------------------------------------------------------------------------


def test_a_sink_that_resets(serve: Serve, connect: Connect) -> None:
    """All that come; and whoever has a plain target in the same process is served as ever."""
    serving = serve(reset=True)
    assert all(is_reset(connect) for _ in range(5))
    plain = connect(PLAIN)
    plain.sendall(b"hello")
    assert plain.recv(10) == b"hello"
    serving.expect(accepted=6, open=1)
    assert snmp.read(PROC_NET)["TcpExt.TW"] == 0


def test_a_share_is_dropped_evenly(serve: Serve, connect: Connect) -> None:
    serving = serve(drop=0.25)
    assert [is_reset(connect) for _ in range(40)] == [number % 4 == 3 for number in range(40)]
    serving.expect(accepted=40, open=30)


def test_a_sink_that_never_answers(serve: Serve, connect: Connect) -> None:
    """It reads all the same: what is sent does not stay in the way."""
    serving = serve(speaks=Speaks.NOTHING)
    sock = connect()
    sock.sendall(b"x" * 20_000_000)  # more than all buffers on the way hold
    assert select.select([sock], [], [], 0.2)[0] == []
    sock.close()
    serving.expect(accepted=1, open=0)


def test_answers_wait_and_nobody_waits_for_another(serve: Serve, connect: Connect) -> None:
    serve(delay_s=0.2)
    socks = [connect() for _ in range(20)]
    begun = time.monotonic()
    for sock in socks:
        sock.sendall(b"hello")
    quickly = connect(PLAIN)
    quickly.sendall(b"hello")
    assert quickly.recv(10) == b"hello"
    passed = []
    for sock in socks:
        assert sock.recv(10) == b"hello"
        passed.append(time.monotonic() - begun)
    assert min(passed) >= 0.2
    assert max(passed) < 20 * 0.2  # one after the other would take four seconds


def test_a_half_closed_client_gets_an_answer_that_waits(serve: Serve, connect: Connect) -> None:
    serving = serve(delay_s=0.1)
    sock = connect()
    sock.sendall(b"last words")
    sock.shutdown(socket.SHUT_WR)
    assert b"".join(iter(partial(sock.recv, 100), b"")) == b"last words"
    serving.expect(accepted=1, open=0)


def test_a_sink_that_closes_after_a_while(serve: Serve, connect: Connect) -> None:
    serving = serve(close_after_s=0.3)
    begun = time.monotonic()
    idle, talking = connect(), connect()
    talking.sendall(b"hello")
    assert talking.recv(10) == b"hello"
    assert idle.recv(10) == talking.recv(10) == b""
    assert time.monotonic() - begun >= 0.3
    serving.expect(accepted=2, open=0)


@pytest.mark.parametrize("tls", [False, True])
def test_a_sink_that_closes_after_some_requests(
    serve: Serve, connect: Connect, secure: Callable[..., ssl.SSLSocket], tls: bool
) -> None:
    """Of an echo a read is a request."""
    serving = serve(close_after_requests=3, tls=tls)
    sock = secure() if tls else connect()
    for _ in range(3):
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
    assert sock.recv(10) == b""  # after close_notify, or ssl would call it a violation of the protocol
    serving.expect(accepted=1, open=0)


def test_a_sink_that_takes_a_request_and_leaves(serve: Serve, connect: Connect) -> None:
    serving = serve(speaks=Speaks.NOTHING, close_after_requests=1)
    sock = connect()
    sock.sendall(b"hello?")
    assert sock.recv(10) == b""
    serving.expect(accepted=1, open=0)


def test_the_pace_of_a_slow_reader(serve: Serve, connect: Connect) -> None:
    serve(read_per_s=4_000)
    sock = connect()
    begun = time.monotonic()
    sock.sendall(b"x" * 2_000)
    received = 0
    while received < 2_000:
        received += len(sock.recv(65536))
    assert time.monotonic() - begun >= 0.45  # 200 bytes at a time, the first at once


def test_a_slow_reader_hurries_when_its_client_closes(serve: Serve, connect: Connect) -> None:
    """A byte a second would take the rest of the day."""
    serving = serve(read_per_s=1)
    sock = connect()
    sock.sendall(b"x" * 2_000)
    sock.shutdown(socket.SHUT_WR)
    assert len(b"".join(iter(partial(sock.recv, 65536), b""))) == 2_000
    serving.expect(accepted=1, open=0)


def test_a_sink_that_never_reads(serve: Serve, connect: Connect) -> None:
    """Its window closes after a few thousand bytes, and the client's own buffer fills up; an end is seen.

    A FIN is one only where nothing is left to be sent before it; a RST comes in any case.
    """
    serving = serve(read_per_s=0)
    sock = connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    sock.setblocking(False)
    sent = 0
    while select.select([], [sock], [], 0.3)[1]:
        sent += sock.send(b"x" * 4_096)
        assert sent < 1_000_000, "somebody reads"
    serving.expect(accepted=1, open=1)
    reset(sock)
    connect().close()
    serving.expect(accepted=2, open=0)


# --- Beside all that --------------------------------------------------------------------------------


@pytest.mark.parametrize("end_with", [socket.socket.close, reset])
@pytest.mark.parametrize("behaviour", [{"delay_s": 60.0}, {"close_after_s": 60.0}, {"speaks": Speaks.HTTP}])
def test_a_connection_ends_with_its_client(
    serve: Serve, connect: Connect, end_with: Callable[[socket.socket], None], behaviour: dict[str, Any]
) -> None:
    serving = serve(**behaviour)
    socks = [connect() for _ in range(20)]
    serving.expect(accepted=20, open=20)
    for sock in socks[:15]:
        end_with(sock)
    serving.expect(accepted=20, open=5)
    assert counts.totals(serving.blocks)["open"] == 5


@pytest.mark.parametrize("tls", [False, True])
def test_a_sink_closes_what_it_holds_when_it_is_told_to(
    serve: Serve, connect: Connect, secure: Callable[..., ssl.SSLSocket], tls: bool
) -> None:
    """With a close_notify in TLS, and whoever comes later too."""
    serving = serve(tls=tls, delay_s=1.0)
    make = secure if tls else connect
    held = [make() for _ in range(5)]
    plain = connect(PLAIN)
    serving.expect(accepted=6, open=6)
    serving.links[0].send(do="close")
    assert [sock.recv(1) for sock in (*held, plain)] == [b""] * 6
    serving.expect(accepted=6, open=0)
    assert make().recv(1) == b""


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("size", [0, 10])
def test_an_echo_with_a_behaviour_closes_first_after_its_bytes(
    serve: Serve, connect: Connect, secure: Callable[..., ssl.SSLSocket], tls: bool, size: int
) -> None:
    serving = serve(tls=tls, delay_s=0.001, closes_after=size)
    sock = secure() if tls else connect()
    for text in (b"x" * 4, b"y" * 6) if size else ():
        sock.sendall(text)
        assert sock.recv(100) == text
    assert sock.recv(100) == b""
    serving.expect(accepted=1, open=0)


def test_without_descriptors_guests_wait_in_the_queue(serve: Serve, connect: Connect) -> None:
    serving = serve(speaks=Speaks.HTTP, descriptors=64)
    first = connect()
    serving.expect(accepted=1, open=1)  # what it opened for itself only to start is closed by now
    free = 1 + len(free_numbers(serving.pids[0], 64))
    socks = [first, *(connect() for _ in range(free + 4))]
    serving.expect(accepted=free, open=free)
    for sock in socks[:10]:
        sock.close()
    serving.expect(accepted=free + 5, open=free - 5)


@pytest.fixture(autouse=True)
def _no_context_is_left() -> Iterator[None]:
    """Contexts are kept for the life of a process, which for tests is too long."""
    from loadgen.sink.behaviour.tls import server_context

    yield
    server_context.cache_clear()
