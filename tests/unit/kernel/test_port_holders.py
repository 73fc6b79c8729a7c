"""Sockets that keep a listener from its port, from a table of sockets."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from loadgen.kernel import port_holders
from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState

TABLE = (
    ("127.0.0.1", TcpState.ESTABLISHED),
    ("127.0.0.1", TcpState.TIME_WAIT),
    ("127.0.0.2", TcpState.SYN_SENT),
    ("::ffff:127.0.0.2", TcpState.CLOSE_WAIT),
    ("::1", TcpState.CLOSE),
)


def table(*rows: tuple[str, TcpState]) -> Sockets:
    found = np.zeros(len(rows), SOCKET)
    for one, (source, state) in zip(found, rows, strict=True):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        packed = socket.inet_pton(family, source)
        one["family"], one["state"] = family, state
        one["source"][: len(packed)] = list(packed)
    return found


@pytest.mark.parametrize(
    ("address", "holders"),
    [
        ("127.0.0.1", {"connection": 1, "time-wait": 1}),
        ("127.0.0.2", {"connection": 2}),
        ("127.0.0.3", {}),
        ("::1", {"bound": 1}),
        ("fd00::1", {}),
        ("0.0.0.0", {"connection": 3, "time-wait": 1}),
        ("::", {"connection": 3, "time-wait": 1, "bound": 1}),
    ],
)
def test_what_is_in_the_way_depends_on_the_address(address: str, holders: dict[str, int]) -> None:
    assert port_holders.sorted_out(table(*TABLE), address) == holders


@pytest.mark.parametrize(
    ("listener", "address", "in_the_way"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::", "::1", True),
        ("::", "127.0.0.1", True),
        ("::", "0.0.0.0", True),
        ("0.0.0.0", "::", True),
    ],
)
def test_a_listener_on_all_addresses_is_in_the_way_of_each(listener: str, address: str, *, in_the_way: bool) -> None:
    found = port_holders.sorted_out(table((listener, TcpState.LISTEN)), address)
    assert found == ({"listener": 1} if in_the_way else {})


def test_bytes_of_ipv4_are_no_address_of_ipv6() -> None:
    """127.0.0.1 with zeros behind it is 7f00:1:: to IPv6."""
    assert port_holders.sorted_out(table(("127.0.0.1", TcpState.ESTABLISHED)), "7f00:1::") == {}
    assert port_holders.sorted_out(table(("7f00:1::", TcpState.ESTABLISHED)), "127.0.0.1") == {}
