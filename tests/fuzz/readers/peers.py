"""Readers of what the other end of a connection sends: clients of a sink, and targets of a worker."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from select import EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Final

from loadgen.clock import NS_PER_S
from loadgen.model import CloseMode, Endpoint, PortRange, SinkBehaviour, Speaks, Strategy, Target, Tls
from loadgen.processes.shared_memory import Blocks
from loadgen.protocols import Exchange, PerTarget
from loadgen.protocols.echo import Echo
from loadgen.protocols.payload import Payload
from loadgen.results.block import block_dtype
from loadgen.sink.behaviour.connection import AcceptedConnection
from loadgen.sink.behaviour.http import HEAD_MAX, HttpResponder, HttpService
from loadgen.sink.behaviour.listener import Listener
from loadgen.sink.behaviour.tls import server_context
from loadgen.sink.certificates import Certificates, issue
from loadgen.sink.counts import SurvivedFailures
from loadgen.sink.memory import CONNECTION_MAX, HeldBytes
from loadgen.worker import socket_pool
from loadgen.worker.epoll.connector import Driver, EpollConnector
from loadgen.worker.epoll.exchange import Exchanges
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Settings, hold
from loadgen.worker.strategies import strategy_for
from loadgen.worker.tls import TlsClient
from tests.fuzz.pieces import cut
from tests.fuzz.reader import Reader
from tests.pretending import pretending

_SOURCE, _TARGET = "127.0.0.2", Endpoint("127.0.0.1", 9000)
_NOW: Final = 1_000 * NS_PER_S
#: Turns of an event loop after which a connection that goes on for ever is one.
_TURNS_MAX: Final = 20_000


@cache
def _certificates() -> Certificates:
    return issue(["sink.example"])


def _requests() -> Sequence[bytes]:
    head = b"GET /a?b=c HTTP/1.1\r\nHost: sink.example\r\n"
    return [
        head + b"\r\n",
        (head + b"\r\n") * 3,
        head.replace(b"GET", b"HEAD") + b"Connection: close\r\n\r\n",
        head.replace(b"GET", b"POST") + b"Content-Length: 5\r\n\r\nhello" + head + b"\r\n",
        head.replace(b"GET", b"PUT") + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        head.replace(b"GET", b"POST") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        head.replace(b"GET", b"CONNECT").replace(b"/a?b=c", b"a:1") + b"\r\n",
        head + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]


_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: status, body, requests after which the sink closes.
_SITES: Final = ((200, 5, None), (204, 5, None), (404, 0, 2), (200, 100_000, 1))


def _responder(data: bytes) -> object:
    """Answer the same whatever the pieces are in which the requests come."""
    answers = []
    for status, size, requests_max in _SITES:
        whole, cut_up = (HttpResponder(HttpService(status, size, requests_max)) for _ in range(2))
        at_once = b"".join(map(bytes, [*whole.receive(data), *whole.receive(b"")]))
        in_pieces = b"".join(bytes(one) for piece in (*cut(data), b"") for one in cut_up.receive(piece))
        # RFC 9110 10.1.1: no interim answer is due once the body has come.
        in_pieces = in_pieces.replace(_CONTINUE, b"")
        at_once = at_once.replace(_CONTINUE, b"")
        # Bytes that are no request may be too many of them as well, if they come at once.
        assert len(data) > HEAD_MAX or at_once == in_pieces, "another answer to the same bytes in other pieces"
        assert len(data) > HEAD_MAX or whole.finished == cut_up.finished
        answers.append(at_once)
    return answers


class _Client:
    """The client of a connection that is accepted on the other end of a socket pair, on a clock that stands still."""

    def __init__(self, behaviour: SinkBehaviour, context: ssl.SSLContext | None = None) -> None:
        self.sock, self._accepted = socket.socketpair()
        self.sock.setblocking(False)
        self._accepted.setblocking(False)
        self._memory = HeldBytes()
        self.connection = AcceptedConnection(
            self._accepted.fileno(),
            Listener(behaviour, context),
            None,
            _NOW,
            failures=SurvivedFailures(),
            memory=self._memory,
        )

    def send(self, data: bytes) -> bytes:
        """Send this, and read what comes until the sink waits for more."""
        heard = bytearray()
        rest = memoryview(data)
        for _ in range(_TURNS_MAX):
            if rest:
                try:
                    rest = rest[self.sock.send(rest) :]
                except BlockingIOError:
                    pass
                except OSError:  # it has ended
                    rest = rest[:0]
            before = len(heard)
            heard += self._read()
            if self._turn() or rest or len(heard) > before:
                continue
            return bytes(heard)
        raise AssertionError("the connection never waits for its client")

    def _read(self) -> bytes:
        try:
            return self.sock.recv(1 << 20)
        except OSError:
            return b""

    def _turn(self) -> bool:
        """Let the sink do what an event loop would; return whether there was anything to do."""
        if self.connection.ended:
            self._accepted.close()
            return False
        wanted = self.connection.interest(_NOW)
        assert self.connection.held <= 2 * CONNECTION_MAX + (1 << 20), "it holds more than its share"
        events = EPOLLOUT if wanted & EPOLLOUT else 0
        if wanted & EPOLLIN and self._readable():
            events |= EPOLLIN
        if events:
            self.connection.on_events(events, _NOW)
        return bool(events & EPOLLIN) or (bool(events) and not self.connection.ended)

    def _readable(self) -> bool:
        try:
            return bool(self._accepted.recv(1, socket.MSG_PEEK)) or True
        except BlockingIOError:
            return False

    def end(self) -> None:
        """Close from this side and let the sink take note of it."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        for _ in range(_TURNS_MAX):
            self._read()
            if self.connection.ended:
                break
            self.connection.on_events(EPOLLIN | EPOLLRDHUP, _NOW)
        assert self.connection.ended, "it does not end after its client has"

    def close(self) -> None:
        """Close both ends."""
        self.sock.close()
        self._accepted.close()


@contextmanager
def _client(behaviour: SinkBehaviour, context: ssl.SSLContext | None = None) -> Iterator[_Client]:
    client = _Client(behaviour, context)
    try:
        yield client
    finally:
        client.close()


#: Behaviours that take input in different ways; those with time in them are for tests of their own.
_BEHAVIOURS: Final = (
    SinkBehaviour(),
    SinkBehaviour(speaks=Speaks.HTTP, body_bytes=100_000),
    SinkBehaviour(speaks=Speaks.NOTHING),
    SinkBehaviour(close_after_requests=2),
)


def _accepted(data: bytes) -> object:
    """Serve a client of each behaviour."""
    for behaviour in _BEHAVIOURS:
        with _client(behaviour) as client:
            heard = b"".join(map(client.send, cut(data)))
            if behaviour == SinkBehaviour():
                assert heard == data, "no echo"
            client.end()
    return None


def _accepted_tls(data: bytes) -> object:
    """Serve clients that never speak TLS, and clients that stop to speak it after a request."""
    context = server_context(_certificates(), Speaks.HTTP)
    behaviour = SinkBehaviour(speaks=Speaks.HTTP, body_bytes=100, delay_s=0.0)
    with _client(behaviour, context) as client:
        for piece in cut(data):
            client.send(piece)
        client.end()
    with _client(behaviour, context) as client:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        speaker = _tls_client().wrap_bio(incoming, outgoing)
        while not _stepped(speaker.do_handshake):
            incoming.write(client.send(outgoing.read()))
        speaker.write(_requests()[0])
        incoming.write(client.send(outgoing.read()))
        assert speaker.read(1 << 16).startswith(b"HTTP/1.1 200"), "no answer to a request"
        for piece in cut(data):
            client.send(piece)
        client.end()
    return None


def _stepped(step: Callable[[], object]) -> bool:
    """Take a step of TLS; return False where the other side has to speak first."""
    try:
        step()
    except ssl.SSLWantReadError:
        return False
    return True


@cache
def _tls_client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _records() -> Sequence[bytes]:
    """Return heads of records of each type, with and without a body."""
    return [
        bytes.fromhex(text)
        for text in (
            "16030100050100000100",
            "170303001100112233445566778899aabbccddeeff00",
            "15030300020100",
            "150303001a" + "00" * 26,
            "140303000101",
            "1703034001",
            "ff0303ffff00",
            "474554202f20485454502f312e310d0a0d0a",
        )
    ]


# --- Targets ----------------------------------------------------------------------------------------


@contextmanager
def connected(drive: Callable[[EpollConnector], Driver]) -> Iterator[tuple[EpollConnector, socket.socket]]:
    """A worker's connector with one connection that is open, and the target's end of it.

    drive: makes the driver of the connector. The connection has to be over at the end.
    """
    blocks = Blocks.create("fuzz", block_dtype(1), 1)
    os.close(blocks.fd)
    settings = Settings(
        pairs=((_SOURCE, _TARGET),),
        first_pair=0,
        self_connect=(False,),
        close=CloseMode.FIN,
        timeout_s=1.0,
        in_flight_max=10,
        descriptors=4096,
        schedule=hold(),
    )
    recorder = Recorder(blocks.records[0], scheduled=None)
    connector = EpollConnector(settings, strategy_for(Strategy.KERNEL, (_SOURCE,), PortRange(1, 9)), recorder)
    connector.driver = drive(connector)
    real, sockets = socket_pool.Socket, pretending()
    setattr(socket_pool, "Socket", sockets)  # noqa: B010  # a constant to everybody else
    try:
        connector.prepare(1, 1)
        connector.open_batch([_NOW])
        yield connector, sockets.peers[0]
        assert recorder.open == 0, "a connection that is over and counted as open"
        assert recorder.established == recorder.lost + recorder.closed == 1
    finally:
        setattr(socket_pool, "Socket", real)  # noqa: B010
        for peer in sockets.peers:
            peer.close()


@contextmanager
def worker(
    exchange: Exchange | PerTarget, tls: TlsClient | None = None
) -> Iterator[tuple[EpollConnector, socket.socket]]:
    """As `connected`, with the exchanges of a protocol; what is left at the end is closed."""
    with connected(lambda connector: Exchanges(connector, exchange, tls)) as (connector, peer):
        yield connector, peer
        connector.abandon()
        while connector.close_batch(4096):
            pass


def say(connector: EpollConnector, peer: socket.socket, data: bytes) -> None:
    """Send from the target's end, and let the worker receive it."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[peer.send(rest) :]
        except BlockingIOError:
            pass
        except OSError:  # the worker has closed
            return
        connector.drain_events()


_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Echo(),
    Payload(send="PING", expect="+PONG"),
    Payload(expect_regex="^HTTP/1.1 200"),
    Payload(send="a", expect_length=1_000),
)


def _replied(data: bytes) -> object:
    for exchange in _EXCHANGES:
        with worker(exchange) as (connector, peer):
            for piece in cut(data):
                say(connector, peer, piece)
            peer.shutdown(socket.SHUT_WR)
            connector.drain_events()
    return None


def _replied_tls(data: bytes) -> object:
    """Make connections to targets that never speak TLS, and to targets that stop to speak it after the handshake."""
    for shakes in (False, True):
        client = TlsClient(
            Tls(verify=False), ((_SOURCE, _TARGET),), (Target(_TARGET, sink=False, host="sink.example"),)
        )
        with worker(Echo(), client) as (connector, peer):
            if shakes:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                speaker = server_context(_certificates(), Speaks.ECHO).wrap_bio(incoming, outgoing, server_side=True)
                while not _stepped(speaker.do_handshake):
                    say(connector, peer, outgoing.read())
                    incoming.write(peer.recv(1 << 16))
                say(connector, peer, outgoing.read())
                # The request came with the end of the worker's handshake.
                assert len(speaker.read(1 << 16)) == Echo().size, "no request after the handshake"
            for piece in cut(data):
                say(connector, peer, piece)
            try:
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            connector.drain_events()
    return None


READERS: Final = (
    Reader("sink HTTP", _responder, _requests),
    Reader("sink", _accepted, _requests, tries=60),
    Reader("sink TLS", _accepted_tls, _records, tries=40),
    Reader(
        "target",
        _replied,
        lambda: (b"." * 16, b"+PONG\r\n", b"HTTP/1.1 200 OK\r\n\r\n", bytes(1_000), *_requests()[:1]),
        tries=50,
    ),
    Reader("target TLS", _replied_tls, _records, tries=30),
)
