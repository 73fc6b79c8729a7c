"""Pools as networks, and networks as netlink messages."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from loadgen.lab.veth import local_route, networks_of


@pytest.mark.parametrize(
    ("addresses", "networks"),
    [
        ([], []),
        (["198.18.0.7"], ["198.18.0.7/32"]),
        (["198.18.0.3", "198.18.0.0", "198.18.0.1", "198.18.0.2", "198.18.0.1"], ["198.18.0.0/30"]),
        (["198.18.0.1", "198.18.0.3"], ["198.18.0.1/32", "198.18.0.3/32"]),
        (["fd00::1", "fd00::0"], ["fd00::/127"]),
    ],
)
def test_addresses_become_the_fewest_networks(addresses: list[str], networks: list[str]) -> None:
    assert [str(network) for network in networks_of(addresses)] == networks


def test_a_pool_without_its_first_and_last_address_is_a_few_networks() -> None:
    """As for 198.18.0.0/16 in a scenario: two networks of every length except the longest."""
    pool = [str(address) for address in ipaddress.ip_network("198.18.0.0/16").hosts()]
    networks = networks_of(pool)
    assert len(networks) == 30
    assert sum(network.num_addresses for network in networks) == 65_534


@pytest.mark.parametrize(
    ("network", "family", "length"), [("198.18.0.0/15", 2, 44), ("fd00::1/128", 10, 56)], ids=["IPv4", "IPv6"]
)
def test_a_local_route_is_one_message(network: str, family: int, length: int) -> None:
    """The length in its header is its own, and all attributes fill it to the end; netlink(7) wants multiples of 4."""
    parsed = ipaddress.ip_network(network)
    message = local_route(parsed)
    assert struct.unpack_from("=IHH", message) == (length, 24, 0x601)
    assert len(message) == length
    assert message[16:24] == bytes([family, parsed.prefixlen, 0, 0, 255, 3, 254, 2])
    attributes, at = {}, 28
    while at < len(message):
        size, kind = struct.unpack_from("=HH", message, at)
        attributes[kind] = message[at + 4 : at + size]
        at += size
    assert attributes == {1: parsed.network_address.packed, 4: struct.pack("=i", 1)}
