"""TLS as the client of every connection: its context, why it fails, and the sessions that are resumed.

A session that the target gave to an earlier connection can be offered to the next one. In TLS 1.2 it is there when
the handshake is done; in TLS 1.3 it comes as a ticket after it (RFC 8446 4.6.1), with the first bytes that the server
sends. So a session of each target is kept as it arrives.

Reading `SSLObject.session` leaks some 6 KB each time (measured with CPython 3.10 to 3.13, which copies the session and
forgets the copy). So a session serves until it is refused, and a connection that keeps none never reads its own.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Final

from loadgen.model import Endpoint, Target, Tls
from loadgen.outcomes import TlsReason
from loadgen.tls_channel import TlsChannel

#: X509_V_ERR_* of openssl/x509_vfy.h; any other fault of a certificate is CERTIFICATE_REFUSED.
_VERIFY_CODES: Final = {
    2: TlsReason.CERTIFICATE_UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT
    10: TlsReason.CERTIFICATE_EXPIRED,  # CERT_HAS_EXPIRED
    18: TlsReason.CERTIFICATE_UNKNOWN_ISSUER,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: TlsReason.CERTIFICATE_UNKNOWN_ISSUER,  # SELF_SIGNED_CERT_IN_CHAIN
    20: TlsReason.CERTIFICATE_UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: TlsReason.CERTIFICATE_UNKNOWN_ISSUER,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    62: TlsReason.CERTIFICATE_WRONG_NAME,  # HOSTNAME_MISMATCH
    64: TlsReason.CERTIFICATE_WRONG_NAME,  # IP_ADDRESS_MISMATCH
}
#: Reasons of openssl/sslerr.h, by the fault of the other side.
_REASONS: Final = {
    "TLSV1_ALERT_PROTOCOL_VERSION": TlsReason.WRONG_VERSION,
    "UNSUPPORTED_PROTOCOL": TlsReason.WRONG_VERSION,
    "NO_PROTOCOLS_AVAILABLE": TlsReason.WRONG_VERSION,
    "WRONG_SSL_VERSION": TlsReason.WRONG_VERSION,
    # The first bytes of another protocol, where the header of a record has its version and its length.
    "WRONG_VERSION_NUMBER": TlsReason.NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": TlsReason.NOT_TLS,
    "RECORD_LAYER_FAILURE": TlsReason.NOT_TLS,
    "HTTP_REQUEST": TlsReason.NOT_TLS,
    # Our own greeting, sent back.
    "UNEXPECTED_MESSAGE": TlsReason.NOT_TLS,
}


def reason_of(error: ssl.SSLError) -> TlsReason:
    """Return the reason of a TLS failure, as the metrics name it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, TlsReason.CERTIFICATE_REFUSED)
    reason = getattr(error, "reason", None) or ""  # only errors raised by OpenSSL have one
    if known := _REASONS.get(reason):
        return known
    return TlsReason.ALERT if "_ALERT_" in reason else TlsReason.OTHER


def context_of(tls: Tls) -> ssl.SSLContext:
    """Return the context that all connections of a worker share.

    Raises: ssl.SSLError or ValueError when `ca` is not PEM, or an ALPN name is too long.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_RENEGOTIATION  # a write would then have to wait for something to be read
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca:
        context.load_verify_locations(cadata=tls.ca)
    else:
        context.load_default_certs()
    if tls.alpn:
        context.set_alpn_protocols(list(tls.alpn))
    return context


class KeptSession:
    """The session of one target that its next connections offer; None until there is one.

    It is replaced when the target refuses it. A target that refuses one which it took before, and which has not
    expired, takes each only once: from then on every connection brings the session for the next.

    awaited: no session has come yet, and one may.
    """

    __slots__ = ("_once", "_taken", "awaited", "session")

    def __init__(self) -> None:
        self.session: ssl.SSLSession | None = None
        self.awaited = True
        self._taken = self._once = False

    def keep(self, secured: ssl.SSLObject, *, offered: bool) -> bool:
        """Keep the session of a connection if it is wanted; return False while it may still come.

        offered: whether this connection offered one. Call it when the handshake is done, in TLS 1.3 when bytes have
        been read after it.
        """
        if secured.session_reused:
            self._taken = True
            if not self._once:
                return True
        elif offered and self._taken and self.session is not None:
            self._once = time.time() < self.session.time + self.session.timeout
        session = secured.session
        if session is None or not (session.has_ticket or (secured.version() != "TLSv1.3" and session.id)):
            return False
        self.session, self.awaited, self._taken = session, False, False
        return True


class TlsClient:
    """TLS of all connections of one worker.

    pairs: (source, target) as the connector counts them. targets: those of the plan, for the names they go by.
    """

    def __init__(self, tls: Tls, pairs: Sequence[tuple[str, Endpoint]], targets: Sequence[Target]) -> None:
        self._context = context_of(tls)
        hosts = {target.endpoint: target.host for target in targets}
        #: For each pair: its target, and the name that the certificate has to have.
        self._names = [(target, tls.server_name or hosts.get(target) or target.address) for _, target in pairs]
        self._kept = {target: KeptSession() for target, _ in self._names} if tls.resume else {}

    def channel(self, pair: int) -> Channel:
        """Return the TLS of a new connection, whose handshake has not begun."""
        target, name = self._names[pair]
        return Channel(self._context, name, self._kept.get(target))


class Channel(TlsChannel):
    """TLS of one connection of a worker. kept: where a session of its target is kept; None: none is."""

    __slots__ = ("_kept", "_offered")

    def __init__(self, context: ssl.SSLContext, server_hostname: str, kept: KeptSession | None) -> None:
        session = kept.session if kept else None
        super().__init__(context, server_hostname=server_hostname, session=session)
        self._kept, self._offered = kept, session is not None

    @property
    def resumed(self) -> bool:
        """True if the handshake resumed an earlier session."""
        return bool(self._object.session_reused)

    @property
    def awaits_session(self) -> bool:
        """True while a session of this target is wanted, and no connection has got one yet."""
        return self._kept is not None and self._kept.awaited

    def expect_no_session(self) -> None:
        """Let no connection wait for a session of this target any more."""
        if self._kept is not None:
            self._kept.awaited = False

    def shake(self) -> bool:
        """Continue the handshake, see TlsChannel; in TLS 1.2 the session comes with it."""
        done = super().shake()
        if done and self._object.version() != "TLSv1.3":
            self._keep_session()
        return done

    def read(self) -> bytes:
        """Return the plain bytes of what was received, see TlsChannel; in TLS 1.3 the session is among it."""
        data = super().read()
        if self._kept is not None:
            self._keep_session()
        return data

    def _keep_session(self) -> None:
        """Keep the session once it is there, for the next connection to the same target."""
        if self._kept is not None and self._kept.keep(self._object, offered=self._offered):
            self._kept = None
