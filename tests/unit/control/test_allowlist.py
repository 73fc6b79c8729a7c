"""Flags needed to send load to an address: every rule, every flag, every embedding of an address."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.control.allowlist import RULES, AddressClass, check, rule_of
from loadgen.errors import UsageError

#: As much as `--allow` can be given: all of IPv4, and the parts of IPv6 that the tests ask for.
EVERYTHING = [
    *(f"{first}.0.0.0/8" for first in range(256)),
    *(f"{first}::/16" for first in ["0", "64", "2001", "2002", "fd00", "fd20", "fe80", "febf", "ff02"]),
]


def refusal(address: str, *allowed: str, authorized: bool = False, lab: tuple[str, ...] = ()) -> str:
    with pytest.raises(UsageError) as caught:
        check(address, allowed=allowed, authorized=authorized, lab=lab)
    return str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_free(address: str) -> None:
    check(address, allowed=(), authorized=False)


def test_only_networks_of_the_lab_are_free() -> None:
    check("198.18.0.1", allowed=(), authorized=False, lab=("198.18.0.0/24", "fd00:1::/64"))
    check("fd00:1::5", allowed=(), authorized=False, lab=("198.18.0.0/24", "fd00:1::/64"))
    assert "--allow 198.18.1.1/32" in refusal("198.18.1.1", lab=("198.18.0.0/24",))


@pytest.mark.parametrize(
    ("address", "covering", "rfc"),
    [
        ("10.1.2.3", "10.0.0.0/8", "RFC 1918"),
        ("172.31.255.255", "172.16.0.0/12", "RFC 1918"),
        ("192.168.1.1", "192.168.1.1/32", "RFC 1918"),
        ("::ffff:192.168.1.1", "192.168.1.0/24", "RFC 1918"),
        ("10.1.2.3", "::ffff:10.0.0.0/104", "RFC 1918"),
        ("100.64.0.1", "100.64.0.0/10", "RFC 6598"),
        ("198.19.255.1", "198.18.0.0/15", "RFC 2544"),
        ("2001:2::1", "2001:2::/48", "RFC 5180"),
        ("fd12:3456::1", "fd12:3456::/32", "RFC 4193"),
        ("fc00::1", "fc00::/16", "RFC 4193"),
        ("fe80::1", "fe80::/10", "RFC 4291"),
        ("fe80::1%eth0", "fe80::/64", "RFC 4291"),
        ("febf::1", "febf::/16", "RFC 4291"),
    ],
)
def test_private_needs_a_covering_allow_and_only_that(address: str, covering: str, rfc: str) -> None:
    message = refusal(address)
    assert "add --allow " in message
    assert "--i-am-authorized" not in message
    assert rfc in message
    refusal(address, "11.0.0.0/8", "2a00::/16", authorized=True)
    check(address, allowed=["11.0.0.0/8", covering], authorized=False)


@pytest.mark.parametrize(
    ("address", "covering"),
    [
        ("8.8.8.8", "8.8.8.0/24"),
        ("172.32.0.1", "172.32.0.1/32"),
        ("192.0.2.1", "192.0.2.0/24"),  # documentation
        ("240.0.0.1", "240.0.0.0/8"),  # reserved
        ("2001:db8::1", "2001:db8::/32"),  # documentation
        ("2606:4700::1111", "2606:4700::/32"),
        ("fec0::1", "fec0::/16"),  # site-local, deprecated
    ],
)
def test_everything_else_needs_both_flags(address: str, covering: str) -> None:
    message = refusal(address)
    assert "--allow " in message
    assert "--i-am-authorized" in message
    message = refusal(address, covering)
    assert "add --i-am-authorized" in message
    assert "--allow" not in message
    assert "--i-am-authorized" not in refusal(address, authorized=True)
    check(address, allowed=[covering], authorized=True)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("fe80::a9fe:a9fe", "cloud metadata"),
        ("fe80::a9fe:a9fe%eth0", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("192.0.0.192", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("64:ff9b::a9fe:a9fe", "link-local"),  # NAT64 of 169.254.169.254
        ("2002:a9fe:a9fe::1", "link-local"),  # 6to4 of the same
        ("::a9fe:a9fe", "link-local"),  # IPv4-compatible
        ("::ffff:0:169.254.169.254", "link-local"),  # SIIT
        ("2001:0:1:1:0:0:5601:5601", "link-local"),  # Teredo, whose client address is inverted
        ("64:ff9b:1::808:808", "local-use NAT64"),
        ("64:ff9b::127.0.0.1", "loopback"),  # the translator's loopback, not ours
        ("2002:7f00:1::", "loopback"),
    ],
)
def test_some_addresses_are_never_permitted(address: str, name: str) -> None:
    message = refusal(address, *EVERYTHING, authorized=True, lab=("0.0.0.0/0", "::/0"))
    assert name in message
    assert "--" not in message
    assert "script" not in message


@pytest.mark.parametrize(
    ("address", "here"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::ffff:0.0.0.0", "127.0.0.1")]
)
def test_an_unspecified_address_reaches_this_host_and_says_what_to_write(address: str, here: str) -> None:
    """tests/lab/test_addresses.py has the kernel say so."""
    message = refusal(address)
    assert "reach this host itself" in message
    assert message.endswith(here)


def test_other_addresses_of_that_network_do_not_reach_this_host() -> None:
    assert "this host" not in refusal("0.1.2.3")
    assert "this host" not in refusal("::ffff:0.1.2.3")


def test_an_embedded_address_decides() -> None:
    """Allowing 64:ff9b::/96 would allow the whole of IPv4."""
    message = refusal("64:ff9b::808:808", "64:ff9b::/96", authorized=True)
    assert "64:ff9b::808:808 leads to 8.8.8.8 (NAT64, RFC 6052)" in message
    assert "add --allow 8.8.8.8/32" in message
    check("64:ff9b::808:808", allowed=["8.8.8.8/32"], authorized=True)
    check("2002:a00:1::1", allowed=["10.0.0.0/24"], authorized=False)
    refusal("64:ff9b::a00:1", lab=("64:ff9b::/96", "10.0.0.0/8"))


@pytest.mark.parametrize(
    ("allow", "hint"),
    [
        ("banana", "is not a CIDR"),
        ("", "is not a CIDR"),
        ("10.0.0.1", "write ADDRESS/LENGTH"),
        ("10.0.0.1/8", "host bits set"),
        ("10.0.0.0/33", "is not a CIDR"),
        ("010.0.0.0/8", "is not a CIDR"),
        ("0.0.0.0/0", "/8 or longer"),
        ("10.0.0.0/7", "/8 or longer"),
        ("::/0", "/16 or longer"),
        ("fc00::/7", "/16 or longer"),
        ("fe00::/9", "/16 or longer"),
        ("::ffff:0:0/96", "/8 or longer"),
        ("\x1b[31m/8", "is not a CIDR"),
    ],
)
def test_a_wrong_allow_is_refused_even_when_it_is_not_needed(allow: str, hint: str) -> None:
    message = refusal("127.0.0.1", allow)
    assert hint in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "010.0.0.1",
        "1.2.3",
        "1.2.3.4:80",
        "[::1]",
        "::1\n",
        "x" * 999,
        'fe80::1%"><script>',
        "fe80::1%a\n",
        "fe80::1%" + "x" * 16,
    ],
)
def test_only_literal_addresses_are_accepted(address: str) -> None:
    message = refusal(address)
    assert "is not a literal IP address" in message
    assert message.isprintable()
    assert len(message) < 200


@settings(max_examples=200)
@given(st.ip_addresses())
def test_only_loopback_is_free(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Whatever address hypothesis finds, nothing beyond this machine passes without a flag."""
    if address.is_loopback or getattr(address, "ipv4_mapped", None):
        return
    assert "--allow" in refusal(str(address)) or "never" in refusal(str(address)) or "loopback" in refusal(str(address))


@settings(max_examples=200)
@given(st.ip_addresses())
def test_global_is_what_the_standard_library_calls_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """IANA's registry, as ipaddress has it, agrees: what it calls global never passes as private or free."""
    if address.is_global:
        assert rule_of(address).address_class in (AddressClass.GLOBAL, AddressClass.NEVER)


def test_every_rule_names_its_source() -> None:
    assert all("RFC" in rule.source or rule.name == "cloud metadata" for rule in RULES)
    assert all(rule.networks for rule in RULES)
