"""The server side of TLS without a socket: received ciphertext in, ciphertext to send out."""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import Final

from loadgen.model import Speaks
from loadgen.sink.certificates import Certificates

_READ_SIZE: Final = 65_536


@cache
def server_context(certificates: Certificates, speaks: Speaks) -> ssl.SSLContext:
    """Return the TLS context for this certificate, made once per process and inherited by the processes it forks.

    Session tickets are on, and their keys belong to the context: a client can resume its session with any sink that
    was forked after this call.

    Raises: ssl.SSLError if certificate or key is malformed, or they do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if speaks is Speaks.HTTP:
        context.set_alpn_protocols(["http/1.1"])
    # ssl reads files only, and the key must not reach a disk.
    with open(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(f"{certificates.certificate_pem}\n{certificates.key_pem}".encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")  # else ssl prompts on the terminal
    return context


def prepare(certificates: Certificates) -> None:
    """Make the contexts before sinks are forked. Raises: ssl.SSLError, see server_context."""
    for speaks in Speaks:
        server_context(certificates, speaks)


class TlsSession:
    """TLS of one connection. ready: the handshake is done. ended: the client has sent close_notify or end of file."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ready = self.ended = False

    @property
    def held(self) -> int:
        """Bytes kept: of records that are incomplete, and of those to send."""
        return self._incoming.pending + self._outgoing.pending

    def receive(self, data: bytes) -> bytes:
        """Return the plaintext decrypted from this ciphertext; empty data is end of file.

        Raises: ssl.SSLError on a failed handshake or a malformed record; `outgoing` then has the alert to send.
        """
        if data:
            self._incoming.write(data)
        else:
            self.ended = True
        plain = bytearray()
        try:
            if not self.ready:
                self._object.do_handshake()
                self.ready = True
            while part := self._object.read(_READ_SIZE):
                plain += part
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # close_notify
            self.ended = True
        return bytes(plain)

    def send(self, plain: bytes | memoryview) -> None:
        """Encrypt data for `outgoing`. Raises: ssl.SSLError once the session has failed, see SSL_get_error(3)."""
        self._object.write(plain)

    def close_notify(self) -> None:
        """Put a close_notify alert into `outgoing`; does nothing before the handshake is done."""
        if self.ready:
            try:
                self._object.unwrap()
            except ssl.SSLError:  # unwrap() asks for the client's close_notify, which the sink does not wait for
                pass

    def outgoing(self) -> bytes:
        """Return the ciphertext to send and forget it."""
        return self._outgoing.read()
