"""TLS as a server, apart from any socket: what came off the wire in, what goes onto it out."""

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
    """The context of all connections that show this certificate, made once for a process and those it forks later.

    Tickets are on, and their keys belong to the context: so a client resumes with whichever sink it comes to, as long
    as all of them were forked after this was called.

    Raises: ssl.SSLError when certificate and key are none, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if speaks is Speaks.HTTP:
        context.set_alpn_protocols(["http/1.1"])
    fd = os.memfd_create("certificate")  # ssl reads them from a file only, and no file of ours shall have the key
    try:
        os.write(fd, f"{certificates.certificate_pem}\n{certificates.key_pem}".encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}", password="")  # none, instead of asking for it on the terminal
    finally:
        os.close(fd)
    return context


def prepare(certificates: Certificates) -> None:
    """Make the contexts before sinks are forked. Raises: as server_context."""
    for speaks in Speaks:
        server_context(certificates, speaks)


class Cipher:
    """One connection's TLS. ready: the handshake is done. ended: the client has said that nothing more will come."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ready = self.ended = False

    def receive(self, data: bytes) -> bytes:
        """What the client has said, with what came off the wire now; empty data: end of file.

        Raises: ssl.SSLError when it is no TLS, or none that we take; there is an alert to send then.
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

    def send(self, plain: bytes) -> None:
        """Have something said; `outgoing` has it then."""
        self._object.write(plain)

    def goodbye(self) -> None:
        """Say that nothing more will come from this side: close_notify, after a handshake only."""
        if self.ready:
            try:
                self._object.unwrap()
            except ssl.SSLError:  # it would wait for the client's; its socket is closed instead
                pass

    def outgoing(self) -> bytes:
        """What is to go onto the wire, once."""
        return self._outgoing.read()
