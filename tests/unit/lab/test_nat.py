"""The rules of a gateway, as nft reads them."""

from __future__ import annotations

import socket

import pytest

from loadgen.lab.nat import ruleset
from loadgen.model import Nat, NatFlag, NatKind, PortRange

V4, V6 = socket.AF_INET, socket.AF_INET6
ONE = ("192.0.2.1", "2001:db8::1")
POOL = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2")
PORTS = PortRange(20_000, 20_099)
RANDOM = (NatFlag.FULLY_RANDOM, NatFlag.PERSISTENT)


@pytest.mark.parametrize(
    ("nat", "family", "statement"),
    [
        (Nat(NatKind.SNAT, ONE), V4, "snat to 192.0.2.1"),
        (Nat(NatKind.SNAT, ONE), V6, "snat to 2001:db8::1"),
        (Nat(NatKind.SNAT, ONE, PORTS), V4, "snat to 192.0.2.1:20000-20099"),
        (Nat(NatKind.SNAT, ONE, PORTS), V6, "snat to [2001:db8::1]:20000-20099"),
        (Nat(NatKind.SNAT, POOL), V6, "snat to 2001:db8::1-2001:db8::2"),
        (Nat(NatKind.SNAT, POOL, PORTS, RANDOM), V4, "snat to 192.0.2.1-192.0.2.3:20000-20099 fully-random,persistent"),
        (Nat(NatKind.SNAT, POOL, PORTS), V6, "snat to [2001:db8::1]-[2001:db8::2]:20000-20099"),
        (Nat(NatKind.MASQUERADE, ONE), V4, "masquerade"),
        (Nat(NatKind.MASQUERADE, ONE, PORTS, RANDOM[:1]), V6, "masquerade to :20000-20099 fully-random"),
    ],
)
def test_the_statement(nat: Nat, family: int, statement: str) -> None:
    text = ruleset(nat, family)
    assert text.startswith("table ip gateway " if family == V4 else "table ip6 gateway ")
    assert f"meta l4proto {{ tcp, udp }} {statement};" in text
