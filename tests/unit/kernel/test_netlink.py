"""Netlink attributes are packed with padding, and unpacked only if their lengths are possible."""

from __future__ import annotations

import struct

import pytest

from loadgen.kernel import netlink


def test_attributes_survive_a_round_trip() -> None:
    packed = netlink.attribute(1, b"abc") + netlink.attribute(7, b"") + netlink.attribute(9, b"12345678")
    assert len(packed) % netlink.ALIGNMENT == 0
    assert netlink.attributes(packed, 0, len(packed)) == {1: b"abc", 7: b"", 9: b"12345678"}


@pytest.mark.parametrize("length", [0, 3, 9])
def test_an_impossible_length_is_an_error(length: int) -> None:
    with pytest.raises(ValueError, match=f"attribute of {length} bytes where 8 are left"):
        netlink.attributes(struct.pack("=HHI", length, 1, 0), 0, 8)


def test_a_message_begins_with_its_length() -> None:
    message = netlink.message(24, netlink.NLM_F_REQUEST, b"12345678", sequence=5)
    assert message == struct.pack("=IHHII", 24, 24, 1, 5, 0) + b"12345678"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_an_attribute_without_its_header_is_an_error(cut: int) -> None:
    packed = netlink.attribute(1, b"abcd") + bytes(cut)
    with pytest.raises(ValueError, match="too short for its type"):
        netlink.attributes(packed, 0, len(packed))
