"""An authority signs for hosts, and no certificate of it outlives it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from loadgen.authority import Authority, KeyPair


def certificate(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate_pem.encode())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new("test authority")


def test_it_signs_for_any_number_of_hosts_each_with_a_key_of_its_own(authority: Authority) -> None:
    pairs = [authority.issue(name, [name]) for name in ("a", "b")]
    for pair in pairs:
        certificate(pair).verify_directly_issued_by(certificate(authority.pair))
        assert load_pem_private_key(pair.key_pem.encode(), None).public_key() == certificate(pair).public_key()
    assert pairs[0].key_pem != pairs[1].key_pem


@pytest.mark.parametrize("client", [False, True])
def test_only_where_it_is_wanted_a_certificate_is_a_clients(authority: Authority, client: bool) -> None:
    found = certificate(authority.issue("a", ["a"], client=client))
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in usage
    assert (ExtendedKeyUsageOID.CLIENT_AUTH in usage) is client


def test_no_certificate_outlives_its_authority(authority: Authority) -> None:
    later = datetime.now(UTC) + timedelta(days=100)
    assert (
        certificate(authority.issue("a", ["a"], not_before=later)).not_valid_after_utc
        == certificate(authority.pair).not_valid_after_utc
    )


def test_a_certificate_of_the_past(authority: Authority) -> None:
    begins = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    found = certificate(authority.issue("a", ["a"], not_before=begins, lifetime=timedelta(days=1)))
    assert (found.not_valid_before_utc, found.not_valid_after_utc) == (begins, begins + timedelta(days=1))


@pytest.mark.parametrize(("names", "words"), [((), "needs a name"), (("bücher.test",), "A-label")])
def test_names_that_no_certificate_can_have(authority: Authority, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        authority.issue("x", names)


def test_keys_are_in_no_text_about_them(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority)
    assert "PRIVATE" in authority.pair.key_pem
