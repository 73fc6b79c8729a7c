"""The server side of TLS against Python's client, in memory."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Speaks
from loadgen.sink.behaviour.tls import TlsSession, server_context
from loadgen.sink.certificates import Certificates, issue


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return issue(["sink.test"])


class Client:
    """The client of a TlsSession, in memory."""

    def __init__(self, certificates: Certificates) -> None:
        self.context = ssl.create_default_context(cadata=certificates.ca_pem)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname="sink.test")

    def handshake(self, session: TlsSession) -> None:
        for _ in range(3):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            assert session.receive(self.outgoing.read()) == b""
            self.incoming.write(session.outgoing())
            if session.ready:
                return
        raise AssertionError("no handshake")


def test_a_session_decrypts_and_encrypts(certificates: Certificates) -> None:
    session, client = TlsSession(server_context(certificates, Speaks.ECHO)), Client(certificates)
    client.handshake(session)
    client.tls.write(b"hello")
    data = client.outgoing.read()
    assert session.receive(data[:7]) == b""
    assert session.receive(data[7:]) == b"hello"
    session.send(b"welcome")
    client.incoming.write(session.outgoing())
    assert client.tls.read(100) == b"welcome"
    session.close_notify()
    client.incoming.write(session.outgoing())
    assert client.tls.read(100) == b""
    assert not session.ended


def test_a_session_ends_with_close_notify_or_end_of_file(certificates: Certificates) -> None:
    for close_notify in (True, False):
        session, client = TlsSession(server_context(certificates, Speaks.ECHO)), Client(certificates)
        client.handshake(session)
        client.tls.write(b"last words")
        if close_notify:
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.unwrap()
        assert session.receive(client.outgoing.read()) == b"last words"
        assert session.ended == close_notify
        assert session.receive(b"") == b""
        assert session.ended


def test_a_session_refuses_data_that_is_not_tls(certificates: Certificates) -> None:
    session = TlsSession(server_context(certificates, Speaks.ECHO))
    with pytest.raises(ssl.SSLError):
        session.receive(b"GET / HTTP/1.1\r\n\r\n")
    session.close_notify()
    assert not session.ready


def test_a_context_is_made_once_so_that_tickets_are_valid_in_every_sink(certificates: Certificates) -> None:
    assert server_context(certificates, Speaks.HTTP) is server_context(certificates, Speaks.HTTP)
    assert server_context(certificates, Speaks.HTTP).num_tickets > 0


def test_a_key_that_does_not_match_is_refused(certificates: Certificates) -> None:
    other = Certificates("", certificates.certificate_pem, issue(["sink.test"]).key_pem)
    with pytest.raises(ssl.SSLError):
        server_context(other, Speaks.ECHO)


@given(st.lists(st.binary(max_size=300), max_size=4), st.booleans())
def test_no_input_raises_anything_but_an_error_of_tls(chunks: list[bytes], handshaken: bool) -> None:
    """Before the handshake and after it; neither do the methods that end a session which has failed."""
    session, client = TlsSession(server_context(FUZZED, Speaks.ECHO)), Client(FUZZED)
    if handshaken:
        client.handshake(session)
    for chunk in chunks:
        try:
            session.receive(chunk)
            if session.ready:
                session.send(b"answer")
        except ssl.SSLError:
            pass
        session.close_notify()
        session.outgoing()


FUZZED = issue(["sink.test"])
