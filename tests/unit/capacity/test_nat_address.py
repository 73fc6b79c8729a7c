"""The hash with which the kernel chooses among outside addresses, against what Linux 6.18 did in a lab.

tests/lab/test_nat.py does the same on the kernel at hand.
"""

from __future__ import annotations

from collections import Counter
from socket import AF_INET6

import pytest

from loadgen.capacity.nat_address import outside, outsides
from loadgen.model import Nat, NatFlag, NatKind

#: Outside addresses of connections from 198.18.0.2-41 to 198.19.0.1, and from fd00::2-29 to fd00:1::1, five each.
SEEN = {
    "192.0.2.1": 50,
    "192.0.2.2": 40,
    "192.0.2.3": 35,
    "192.0.2.4": 45,
    "192.0.2.5": 30,
    "2001:db8::10": 35,
    "2001:db8::11": 45,
    "2001:db8::12": 40,
    "2001:db8::13": 30,
    "2001:db8::14": 20,
    "2001:db8::15": 20,
    "2001:db8::16": 10,
}
NAT = Nat(NatKind.SNAT, tuple(SEEN))


@pytest.mark.skipif("sys.byteorder != 'little'", reason="seen on a little-endian machine")
def test_the_hash_is_that_of_the_kernel() -> None:
    pairs = [(f"198.18.0.{n}", "198.19.0.1") for n in range(2, 42)]
    pairs += [(f"fd00::{n:x}", "fd00:1::1") for n in range(2, 42)]
    assert Counter({name: 5 * n for name, n in Counter(outside(NAT, *pair) for pair in pairs).items()}) == SEEN


def test_a_pool_of_one_address_needs_no_hash() -> None:
    assert outside(Nat(NatKind.SNAT, ("192.0.2.1", "2001:db8::1")), "198.18.0.2", "198.19.0.1") == "192.0.2.1"


def test_persistent_is_the_same_for_all_targets() -> None:
    nat = Nat(NatKind.SNAT, NAT.pool(2), flags=(NatFlag.PERSISTENT,))
    for n in range(2, 22):
        assert len({outside(nat, f"198.18.0.{n}", f"198.19.0.{target}") for target in range(1, 9)}) == 1
        assert outside(nat, f"198.18.0.{n}", "198.19.0.1") in nat.addresses


def test_many_are_hashed_as_one_is() -> None:
    sources = [f"fd00::{n:x}" for n in range(1, 300)]
    together = outsides(NAT, sources, "fd00:1::1")
    assert together == [outside(NAT, source, "fd00:1::1") for source in sources]
    assert set(together) == set(NAT.pool(AF_INET6))
