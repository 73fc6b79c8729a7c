"""Values of --source and --destination, and the groups they select."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest

from loadgen.watch.filters import GroupFilter, destination, network


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.0.0.1", "10.0.0.1/32", 0),
        ("10.0.0.0/8", "10.0.0.0/8", 0),
        ("10.0.0.1:443", "10.0.0.1/32", 443),
        ("10.0.0.0/8:443", "10.0.0.0/8", 443),
        ("::1", "::1/128", 0),
        ("fd00::/8", "fd00::/8", 0),
        ("[::1]:443", "::1/128", 443),
        ("[fd00::/8]:443", "fd00::/8", 443),
        ("[::1]", "::1/128", 0),
        (":443", None, 443),
    ],
)
def test_a_destination(text: str, address: str | None, port: int) -> None:
    assert destination(text) == (ip_network(address) if address else None, port)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "an address, a CIDR or a port"),
        ("somewhere", "an address or a CIDR"),
        ("10.0.0.1:", "an address or a CIDR"),
        ("10.0.0.1:0", "a port from 1 to 65535"),
        ("10.0.0.1:65536", "a port from 1 to 65535"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("10.0.0.0/33", "an address or a CIDR"),
        ("fd00::1/8", "write fd00::/8"),
        ("[10.0.0.1", "an address or a CIDR"),
        ("[]:443", "an address or a CIDR"),
    ],
)
def test_an_invalid_destination(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        destination(text)


def test_a_source_has_no_port() -> None:
    assert network("127.0.0.0/8") == ip_network("127.0.0.0/8")
    with pytest.raises(ValueError, match="an address or a CIDR"):
        network("127.0.0.1:9000")


def test_a_filter_selects_groups() -> None:
    group = ("127.0.0.1", "10.1.2.3", 443)
    assert GroupFilter().include(*group)
    assert GroupFilter(network("127.0.0.0/8"), network("10.1.0.0/16"), 443).include(*group)
    assert not GroupFilter(source=network("127.0.0.2")).include(*group)
    assert not GroupFilter(destination=network("10.2.0.0/16")).include(*group)
    assert not GroupFilter(port=80).include(*group)
    assert not GroupFilter(source=network("::/0")).include(*group)
