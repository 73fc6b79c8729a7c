"""Certificates of our own: for whom, by whom, how long."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from loadgen.sink.certificates import Certificates, issue

NAMES = ("127.0.0.1", "::1", "sink.test", "127.0.0.1")


@pytest.fixture(scope="module")
def issued() -> Certificates:
    return issue(NAMES)


def leaf_and_ca(issued: Certificates) -> tuple[x509.Certificate, x509.Certificate]:
    return tuple(x509.load_pem_x509_certificate(pem.encode()) for pem in (issued.certificate_pem, issued.ca_pem))  # type: ignore[return-value]


def test_the_leaf_is_for_every_name_once(issued: Certificates) -> None:
    leaf, _ = leaf_and_ca(issued)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]
    assert names.get_values_for_type(x509.DNSName) == ["sink.test"]


def test_the_leaf_is_signed_by_the_authority_and_has_the_key(issued: Certificates) -> None:
    leaf, ca = leaf_and_ca(issued)
    leaf.verify_directly_issued_by(ca)
    key = load_pem_private_key(issued.key_pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert key.public_key() == leaf.public_key()
    assert leaf.public_key() != ca.public_key()


def test_only_the_authority_signs_certificates(issued: Certificates) -> None:
    for certificate, signs in zip(leaf_and_ca(issued), (False, True), strict=True):
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is signs
        assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is signs


def test_it_is_valid_from_an_hour_ago_for_a_year(issued: Certificates) -> None:
    now = datetime.now(UTC)
    for certificate in leaf_and_ca(issued):
        assert timedelta(0) < now - certificate.not_valid_before_utc - timedelta(hours=1) < timedelta(minutes=10)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=365)


def test_two_of_them_have_nothing_in_common(issued: Certificates) -> None:
    other = issue(NAMES)
    assert {other.ca_pem, other.certificate_pem, other.key_pem}.isdisjoint(
        {issued.ca_pem, issued.certificate_pem, issued.key_pem}
    )
    with pytest.raises(InvalidSignature):
        leaf_and_ca(issued)[0].verify_directly_issued_by(leaf_and_ca(other)[1])


def test_clients_can_load_the_authority(issued: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=issued.ca_pem)
    assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}


def test_the_key_is_in_no_text_about_them(issued: Certificates) -> None:
    assert "PRIVATE" not in repr(issued)
    assert "PRIVATE" in issued.key_pem


@pytest.mark.parametrize(("names", "words"), [((), "needs a name"), (("bücher.test",), "A-label")])
def test_names_that_no_certificate_can_have(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        issue(names)
