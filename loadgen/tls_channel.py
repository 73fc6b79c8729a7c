"""TLS of one connection without a socket: bytes in, bytes out.

OpenSSL reads and writes memory here (ssl.MemoryBIO), so worker and sink keep their own system calls, their own epoll
objects and their own counts of failures. A connection costs two such memories and an SSLObject.
"""

from __future__ import annotations

import ssl
from typing import Final

#: A TLS record carries no more (RFC 8446 5.1), so one read takes one record.
_RECORD: Final = 16_384


class TlsChannel:
    """Either side of TLS. `outgoing` returns what is to be sent, after a failure the alert.

    secured: the handshake is done. ended: the other side has sent close_notify or its end of file since.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "secured")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
        server_side: bool = False,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side, server_hostname=server_hostname, session=session
        )
        self.secured = self.ended = False

    @property
    def held(self) -> int:
        """Bytes received and not read, and bytes to send. OpenSSL itself keeps one record at most."""
        return self._incoming.pending + self._outgoing.pending

    def received(self, data: bytes) -> None:
        """Take bytes of the other side, as they came from the socket; empty data is its end of file."""
        if data:
            self._incoming.write(data)
        else:
            self.ended = True

    def outgoing(self) -> bytes:
        """Return the bytes to send and forget them; empty if there are none."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def shake(self) -> bool:
        """Continue the handshake as far as the bytes received allow; return True when it is done.

        Raises: ssl.SSLError when it fails, ssl.SSLCertVerificationError for a bad certificate.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.secured = True
        return True

    def encrypted(self, data: bytes | memoryview) -> bytes:
        """Return what to send for these bytes, after messages of TLS itself that were not sent yet.

        Raises: ssl.SSLError once the session has failed, see SSL_get_error(3).
        """
        self._object.write(data)
        return self._outgoing.read()

    def read(self) -> bytes:
        """Return the plain bytes of what was received, empty if there are none yet.

        Raises: ssl.SSLError when what the other side sends is not what it should be.
        """
        read, incoming, data = self._object.read, self._incoming, b""
        try:
            while more := read(_RECORD):
                data = data + more if data else more
                if not incoming.pending:  # OpenSSL takes a record from there when it is asked for it, and no more
                    break
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # close_notify, where this side has sent its own
            self.ended = True
        return data

    def farewell(self) -> bytes:
        """Return close_notify (RFC 8446 6.1); empty where the handshake was not done. No answer is awaited."""
        if self.secured:
            try:
                self._object.unwrap()
            except ssl.SSLError:  # the answer is not there, or nothing can be sent any more
                pass
        return self._outgoing.read()
