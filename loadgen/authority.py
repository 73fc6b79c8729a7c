"""A certificate authority for one purpose, and the certificates it signs: EC P-256, PEM text (RFC 7468), in memory.

Clients and servers trust each other through the authority's certificate. The caller discards its key,
so that it signs nothing else, or keeps it to sign for further hosts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import CertificateBuilder, GeneralName, KeyUsage, Name

#: Start of validity before the present: clocks differ.
_EARLIER: Final = timedelta(hours=1)
LIFETIME: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM. key_pem: left out of repr, and so out of logs."""

    certificate_pem: str
    key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """The certificate and key that sign others; both PEM."""

    pair: KeyPair

    @classmethod
    def new(cls, subject: str = "loadgen authority") -> Authority:
        """Return a new authority, valid from an hour ago for a year."""
        from cryptography import x509

        key = _new_key()
        builder = (
            _builder(_named(subject), _named(subject), key, datetime.now(UTC) - _EARLIER, LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        return cls(KeyPair(_signed(builder, key), _pem_of(key)))

    def issue(
        self,
        subject: str,
        names: Sequence[str],
        *,
        client: bool = False,
        not_before: datetime | None = None,
        lifetime: timedelta = LIFETIME,
    ) -> KeyPair:
        """Issue a server's certificate for host names and literal addresses, and its key.

        Names are in subjectAltName alone, where clients look for them (RFC 9525 6.3). client: it is also a client's, as
        both ends of mutual TLS need. not_before: an hour ago for None. It is valid no longer than the authority.
        Raises: ValueError if there is no name, or one that cannot stand in a certificate.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509.oid import ExtendedKeyUsageOID

        if not names:
            raise ValueError("a certificate needs a name")
        own = x509.load_pem_x509_certificate(self.pair.certificate_pem.encode())
        own_key = cast("EllipticCurvePrivateKey", load_pem_private_key(self.pair.key_pem.encode(), None))
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
        begins, key = not_before or datetime.now(UTC) - _EARLIER, _new_key()
        lifetime = min(lifetime, max(own.not_valid_after_utc - begins, timedelta(seconds=1)))
        builder = (
            _builder(_named(subject), own.subject, key, begins, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own_key.public_key()), critical=False)
        )
        return KeyPair(_signed(builder, own_key), _pem_of(key))


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _pem_of(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _named(common_name: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: Name, issuer: Name, key: EllipticCurvePrivateKey, not_before: datetime, lifetime: timedelta
) -> CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(builder: CertificateBuilder, authority: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    return builder.sign(authority, SHA256()).public_bytes(Encoding.PEM).decode()


def _key_usage(*, signs_certificates: bool) -> KeyUsage:
    from cryptography.x509 import KeyUsage

    return KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> GeneralName:
    from cryptography.x509 import DNSName, IPAddress

    try:
        return IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return DNSName(name)
