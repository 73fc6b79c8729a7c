"""Both sides of TLS in memory: a server's channel against Python's client. A worker's is in worker/test_tls.py."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Speaks
from loadgen.sink.behaviour.tls import server_context
from loadgen.sink.certificates import issue
from loadgen.tls_channel import TlsChannel

CERTIFICATES = issue(["sink.test"])


def serving() -> TlsChannel:
    return TlsChannel(server_context(CERTIFICATES, Speaks.ECHO), server_side=True)


def heard(channel: TlsChannel, data: bytes) -> bytes:
    """Return what the channel reads once it has got these bytes."""
    channel.received(data)
    return channel.read() if channel.secured or channel.shake() else b""


class Client:
    """The client of a channel, in memory."""

    def __init__(self) -> None:
        context = ssl.create_default_context(cadata=CERTIFICATES.ca_pem)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="sink.test")

    def handshake(self, channel: TlsChannel) -> None:
        for _ in range(3):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            assert heard(channel, self.outgoing.read()) == b""
            self.incoming.write(channel.outgoing())
            if channel.secured:
                return
        raise AssertionError("no handshake")


def test_a_channel_decrypts_and_encrypts() -> None:
    channel, client = serving(), Client()
    client.handshake(channel)
    client.tls.write(b"hello")
    data = client.outgoing.read()
    assert heard(channel, data[:7]) == b""
    assert heard(channel, data[7:]) == b"hello"
    client.incoming.write(channel.encrypted(b"welcome"))
    assert client.tls.read(100) == b"welcome"
    client.incoming.write(channel.farewell())
    assert client.tls.read(100) == b""
    assert not channel.ended


def test_a_channel_reads_many_records_at_once() -> None:
    channel, client = serving(), Client()
    client.handshake(channel)
    client.tls.write(b"x" * 100_000)
    client.tls.write(b"y")
    assert heard(channel, client.outgoing.read()) == b"x" * 100_000 + b"y"


@pytest.mark.parametrize("said_before", [False, True])
@pytest.mark.parametrize("close_notify", [False, True])
def test_a_channel_ends_with_close_notify_or_end_of_file(close_notify: bool, said_before: bool) -> None:
    """Whether this side has sent its own close_notify or not."""
    channel, client = serving(), Client()
    client.handshake(channel)
    client.tls.write(b"last words")
    if close_notify:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
    if said_before:
        channel.farewell()
    assert heard(channel, client.outgoing.read()) == b"last words"
    assert channel.ended == close_notify
    assert heard(channel, b"") == b""
    assert channel.ended


def test_a_channel_holds_what_it_is_to_send() -> None:
    channel, client = serving(), Client()
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    heard(channel, client.outgoing.read())
    assert channel.held == len(channel.outgoing()) > 0
    assert channel.held == 0


def test_a_channel_refuses_data_that_is_not_tls() -> None:
    channel = serving()
    with pytest.raises(ssl.SSLError):
        heard(channel, b"GET / HTTP/1.1\r\n\r\n")
    assert channel.farewell() == b""
    assert not channel.secured


@given(st.lists(st.binary(max_size=300), max_size=4), st.booleans())
def test_no_input_raises_anything_but_an_error_of_tls(chunks: list[bytes], handshaken: bool) -> None:
    """Before the handshake and after it; neither do the methods that end a channel which has failed."""
    channel, client = serving(), Client()
    if handshaken:
        client.handshake(channel)
    for chunk in chunks:
        try:
            heard(channel, chunk)
            if channel.secured:
                channel.encrypted(b"answer")
        except ssl.SSLError:
            pass
        channel.farewell()
        channel.outgoing()
