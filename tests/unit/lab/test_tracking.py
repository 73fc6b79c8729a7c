"""The message that makes an entry of the connection tracking table."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.errors import HostError
from loadgen.kernel import netlink
from loadgen.lab import tracking


def unpacked(message: bytes) -> dict[int, bytes]:
    """The attributes of a message, without the bit that says that others are inside."""
    at = netlink.HEADER_BYTES + 4
    return {kind & 0x7FFF: payload for kind, payload in netlink.attributes(message, at, len(message)).items()}


def inside(payload: bytes) -> dict[int, bytes]:
    return {kind & 0x7FFF: part for kind, part in netlink.attributes(payload, 0, len(payload)).items()}


@given(st.integers(0, 10_000_000))
def test_an_entry_is_an_established_connection_that_is_never_evicted(number: int) -> None:
    message = tracking.entry(number)
    length, kind = struct.unpack_from("=IH", message)
    assert (length, kind) == (len(message), 0x0100)
    found = unpacked(message)
    there, back = inside(inside(found[1])[1]), inside(inside(found[2])[1])
    assert int.from_bytes(there[1], "big") == 0x0A000001 + number
    assert (there[1], there[2]) == (back[2], back[1])
    assert int.from_bytes(found[3], "big") & 0b100  # IPS_ASSURED
    assert inside(inside(found[4])[1])[1] == b"\3"  # TCP_CONNTRACK_ESTABLISHED


def test_entries_differ_in_the_client_alone() -> None:
    """So one message serves for all, with other numbers in two places."""
    one, other = tracking.entry(0), tracking.entry(0x01010101)
    assert len(one) == len(other)
    assert sum(a != b for a, b in zip(one, other, strict=True)) == 8


def test_a_lab_without_tracking_learns_which_rule_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(tracking, "_SETTINGS", tmp_path)
    with pytest.raises(HostError, match="ct state established accept"):
        tracking.fill(10)


def test_a_table_with_less_room_than_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_setting", {"max": 100, "count": 30}.__getitem__)
    with pytest.raises(HostError, match="room for 70 entries"):
        tracking.fill(71)
