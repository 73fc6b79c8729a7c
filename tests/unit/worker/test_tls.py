"""TLS in memory, with a server that is made for the test; no socket."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from loadgen.model import Endpoint, Target, Tls
from loadgen.outcomes import TlsReason
from loadgen.worker.tls import Channel, KeptSession, TlsClient, context_of, reason_of

TARGET = Endpoint("127.0.0.1", 9000)
OTHER = Endpoint("127.0.0.1", 9001)
Serve = Callable[..., ssl.SSLContext]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> Callable[..., Tls]:
    pem = authority.cert_pem.bytes().decode()
    return lambda **more: Tls(**{"ca": pem, **more})


@pytest.fixture
def serve(authority: trustme.CA) -> Serve:
    """The server's context, for a certificate with these names."""

    def context(*names: str, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, **dates: Any) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.maximum_version = most
        made.set_alpn_protocols(["echo"])
        authority.issue_cert(*(names or ("127.0.0.1", "sink.example")), **dates).configure_cert(made)
        return made

    return context


class Peer:
    """The server's end of a connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def hear(self, data: bytes) -> bytes:
        """Go on with the handshake, and say what there is to say."""
        self._incoming.write(data)
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        self.object.write(data)
        return self._outgoing.read()


def shaken(client: TlsClient, context: ssl.SSLContext, pair: int = 0) -> tuple[Channel, Peer]:
    """Both ends after the handshake, what the server sent last not read yet."""
    channel, peer = client.channel(pair), Peer(context)
    assert not channel.shake()
    channel.received(peer.hear(channel.outgoing()))
    if not channel.shake():  # TLS 1.2 goes to and fro once more
        channel.received(peer.hear(channel.outgoing()))
        assert channel.shake()
    channel.received(peer.hear(channel.outgoing()))
    return channel, peer


def client_of(tls: Tls, *hosts: str) -> TlsClient:
    endpoints = (TARGET, OTHER)
    targets = [Target(one, False, host=host) for one, host in zip(endpoints, (*hosts, "", "")[:2], strict=True)]
    return TlsClient(tls, [("127.0.0.2", one) for one in endpoints], targets)


def failure(client: TlsClient, context: ssl.SSLContext) -> TlsReason:
    with pytest.raises(ssl.SSLError) as raised:
        shaken(client, context)
    return reason_of(raised.value)


def test_bytes_go_through_in_both_directions(tls: Callable[..., Tls], serve: Serve) -> None:
    channel, peer = shaken(client_of(tls()), serve())
    assert channel.secured
    peer.hear(channel.encrypted(b"x" * 100_000))
    assert sum(len(peer.object.read(100_000)) for _ in range(7)) == 100_000
    sent = peer.say(b"y" * 100_000)
    channel.received(sent[:70_000])
    begun = channel.read()
    channel.received(sent[70_000:])
    assert begun + channel.read() == b"y" * 100_000
    assert 0 < len(begun) < 100_000
    assert channel.read() == b""


@pytest.mark.parametrize(
    ("more", "hosts", "name"),
    [({"server_name": "sink.example"}, (), "sink.example"), ({}, ("sink.example",), "sink.example"), ({}, (), None)],
)
def test_the_name_is_given_or_the_targets_and_an_address_is_not_sent(
    tls: Callable[..., Tls], serve: Serve, more: dict[str, str], hosts: tuple[str, ...], name: str | None
) -> None:
    context, asked = serve(), []
    context.sni_callback = lambda _, named, __: asked.append(named)
    channel, _ = shaken(client_of(tls(**more), *hosts), context)
    assert (channel.secured, asked) == (True, [name])


def test_protocols_are_offered(tls: Callable[..., Tls], serve: Serve) -> None:
    _, peer = shaken(client_of(tls(alpn=("h2", "echo"))), serve())
    assert peer.object.selected_alpn_protocol() == "echo"


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_at_the_same_target_only(
    tls: Callable[..., Tls], serve: Serve, most: ssl.TLSVersion
) -> None:
    client, context = client_of(tls(resume=True)), serve(most=most)
    first, _ = shaken(client, context)
    assert not first.resumed
    assert first.awaits_session == (most is ssl.TLSVersion.TLSv1_3)  # where it comes after the handshake
    assert first.read() == b""
    assert not first.awaits_session
    for _ in range(2):
        again, _ = shaken(client, context)
        assert again.resumed
        again.read()
    elsewhere, _ = shaken(client, context, pair=1)
    assert not elsewhere.resumed


class Secured:
    """What is asked of a connection whose handshake is done, and how often its session is read."""

    def __init__(self, *, reused: bool = False, expires_s: float = 300, ticket: bool = True) -> None:
        self.session_reused, self.reads = reused, 0
        self._session = SimpleNamespace(time=time.time() - 100, timeout=100 + expires_s, has_ticket=ticket, id=b"")

    @property
    def session(self) -> Any:
        self.reads += 1
        return self._session

    def version(self) -> str:
        return "TLSv1.3"


def read_by(kept: KeptSession, *connections: Secured) -> list[int]:
    """How often each of these has its session read, the first of which has none to offer."""
    for connection in connections:
        kept.keep(connection, offered=kept.session is not None)  # type: ignore[arg-type]
    return [connection.reads for connection in connections]


def test_a_session_that_the_target_takes_again_and_again_is_read_once() -> None:
    """Because a process cannot get back the memory that reading takes."""
    assert read_by(KeptSession(), Secured(), *(Secured(reused=True) for _ in range(5))) == [1, 0, 0, 0, 0, 0]


def test_a_session_that_has_expired_is_replaced_and_the_next_one_serves_again() -> None:
    expired = (Secured(expires_s=-1), Secured(reused=True), Secured())
    assert read_by(KeptSession(), *expired, Secured(reused=True), Secured(reused=True)) == [1, 0, 1, 0, 0]


def test_at_a_target_that_takes_each_session_once_every_connection_brings_the_next() -> None:
    once = (Secured(), Secured(reused=True), Secured())
    assert read_by(KeptSession(), *once, Secured(reused=True), Secured(reused=True)) == [1, 0, 1, 1, 1]


def test_a_session_that_is_not_there_yet_is_asked_for_again() -> None:
    kept = KeptSession()
    assert read_by(kept, Secured(ticket=False), Secured()) == [1, 1]
    assert (kept.awaited, kept.session is None) == (False, False)


def test_without_resume_no_session_is_kept(tls: Callable[..., Tls], serve: Serve) -> None:
    client, context = client_of(tls()), serve()
    for _ in range(2):
        channel, _ = shaken(client, context)
        channel.read()
        assert (channel.resumed, channel.awaits_session) == (False, False)


def test_a_session_that_did_not_come_is_waited_for_once(tls: Callable[..., Tls], serve: Serve) -> None:
    client, context = client_of(tls(resume=True)), serve()
    context.num_tickets = 0
    first, _ = shaken(client, context)
    first.read()
    assert first.awaits_session
    first.expect_no_session()
    second, _ = shaken(client, context)
    assert (second.awaits_session, second.resumed) == (False, False)


def test_why_a_certificate_is_not_good(tls: Callable[..., Tls], serve: Serve) -> None:
    past = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)}
    future = {"not_before": datetime(2120, 1, 1, tzinfo=UTC), "not_after": datetime(2121, 1, 1, tzinfo=UTC)}
    stranger = trustme.CA().cert_pem.bytes().decode()
    assert failure(client_of(tls()), serve("127.0.0.1", **past)) is TlsReason.CERTIFICATE_EXPIRED
    assert failure(client_of(tls()), serve("127.0.0.1", **future)) is TlsReason.CERTIFICATE_REFUSED
    assert failure(client_of(tls(ca=stranger)), serve()) is TlsReason.CERTIFICATE_UNKNOWN_ISSUER
    assert failure(client_of(tls(ca="")), serve()) is TlsReason.CERTIFICATE_UNKNOWN_ISSUER
    assert failure(client_of(tls()), serve("127.0.0.9")) is TlsReason.CERTIFICATE_WRONG_NAME
    assert failure(client_of(tls(server_name="a.example")), serve()) is TlsReason.CERTIFICATE_WRONG_NAME


def test_without_verify_any_certificate_will_do(tls: Callable[..., Tls], serve: Serve) -> None:
    channel, _ = shaken(client_of(tls(verify=False, server_name="a.example")), serve("127.0.0.9"))
    assert channel.secured


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"220 mail.example ESMTP\r\n", TlsReason.NOT_TLS),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", TlsReason.NOT_TLS),
        (bytes(16), TlsReason.NOT_TLS),
        (b"\x16\x03\x03\xff\xff" + bytes(10), TlsReason.NOT_TLS),
        (None, TlsReason.NOT_TLS),
        (b"\x15\x03\x01\x00\x02\x02\x28", TlsReason.ALERT),  # fatal, handshake_failure
        (b"\x15\x03\x01\x00\x02\x02\x46", TlsReason.WRONG_VERSION),  # fatal, protocol_version
    ],
)
def test_what_is_no_answer(tls: Callable[..., Tls], answer: bytes | None, reason: TlsReason) -> None:
    """None: our own greeting, as an echo sends it back."""
    channel = client_of(tls()).channel(0)
    channel.shake()
    channel.received(channel.outgoing() if answer is None else answer)
    with pytest.raises(ssl.SSLError) as raised:
        channel.shake()
    assert reason_of(raised.value) is reason


def test_a_reason_that_nobody_listed_is_called_other() -> None:
    error = ssl.SSLError(1, "[SSL: MADE_UP] made up")
    error.reason = "MADE_UP"
    assert reason_of(error) is reason_of(ssl.SSLError("no reason")) is TlsReason.OTHER


def test_a_farewell_is_said_once_the_handshake_is_done(tls: Callable[..., Tls], serve: Serve) -> None:
    begun = client_of(tls()).channel(0)
    begun.shake()
    begun.outgoing()
    assert begun.farewell() == b""
    channel, peer = shaken(client_of(tls()), serve())
    peer.hear(channel.farewell())
    assert peer.object.read(1) == b""  # the end, and not "nothing yet", which is SSLWantReadError


def test_the_farewell_of_the_other_side_comes_after_its_last_bytes(tls: Callable[..., Tls], serve: Serve) -> None:
    channel, peer = shaken(client_of(tls()), serve())
    channel.received(peer.say(b"bye"))
    with pytest.raises(ssl.SSLWantReadError):
        peer.object.unwrap()
    channel.received(peer.hear(b""))
    assert (channel.read(), channel.ended) == (b"bye", True)


def test_authorities_that_are_none_are_refused() -> None:
    with pytest.raises(ssl.SSLError):
        context_of(Tls(ca="-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n"))
