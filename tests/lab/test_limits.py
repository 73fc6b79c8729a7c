"""Sockets of a namespace that are bound and never connected, as a plan finds them."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from loadgen.kernel import limits
from loadgen.kernel.limits import BoundPorts

pytestmark = pytest.mark.lab("40000 40009")


def bind(family: int, address: str, port: int, keep: ExitStack, *, only_six: bool = False) -> None:
    sock = keep.enter_context(socket.socket(family))
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_six)
    sock.bind((address, port))


def test_bound_sockets_are_found_by_address(keep: ExitStack) -> None:
    assert limits.bound() == ()
    bind(socket.AF_INET, "127.0.0.5", 40_000, keep)
    bind(socket.AF_INET, "127.0.0.5", 40_001, keep)
    bind(socket.AF_INET6, "::", 40_002, keep)
    bind(socket.AF_INET6, "::", 40_003, keep, only_six=True)
    assert limits.bound() == (
        BoundPorts("0.0.0.0", (40_002,)),
        BoundPorts("127.0.0.5", (40_000, 40_001)),
        BoundPorts("::", (40_002, 40_003)),
    )


def test_where_no_port_is_left_the_others_are_counted_all_the_same(keep: ExitStack) -> None:
    for port in range(40_000, 40_010):
        bind(socket.AF_INET, "127.0.0.5", port, keep)
        bind(socket.AF_INET6, "::1", port, keep)
    assert [one.address for one in limits.bound()] == ["127.0.0.5", "::1"]
