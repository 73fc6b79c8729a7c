"""Accounts by source address, of sockets made by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import numpy as np
import pytest

from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState
from loadgen.model import PortRange
from loadgen.strategies import Strategy
from loadgen.watch import sources
from loadgen.watch.owners import SocketOwners
from loadgen.watch.sources import BoundSockets
from loadgen.watch.space import Space

LOW = 40_000
#: A hundred ports, of which five are reserved.
OFFERED = Space.of(PortRange(LOW, LOW + 99), range(LOW + 95, LOW + 100), ()).offered
#: Source address, source port, destination port (0: not connected).
Row = tuple[str, int, int]


def table(rows: Iterable[Row], state: TcpState = TcpState.ESTABLISHED, inode: int = 0) -> Sockets:
    found = []
    for cookie, (source, port, destination) in enumerate(rows):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        packed = socket.inet_pton(family, source).ljust(16, b"\0")
        one = np.zeros(1, SOCKET)
        one["family"], one["state"], one["cookie"], one["inode"] = family, state, cookie + 1, inode
        one["source_port"], one["destination_port"] = port, destination
        one["source"] = np.frombuffer(packed, np.uint8)
        found.append(one)
    return np.concatenate([np.empty(0, SOCKET), *found])


def held(*rows: Row, only_six: tuple[bool, ...] = ()) -> BoundSockets:
    flags = np.array(only_six or (False,) * len(rows), np.bool_)
    return BoundSockets(table(rows, TcpState.CLOSE), flags)


NONE = held()
NO_LISTENER = table([])


def test_ports_are_counted_once_for_each_source() -> None:
    """Two destinations that share ports, one socket outside the range, one bound, one listener, one reserved port."""
    outgoing = table(
        [("10.0.0.1", LOW + n, 9000 + k) for n in range(10) for k in range(2)] + [("10.0.0.1", 1024, 9000)]
    )
    listening = table([("10.0.0.1", LOW + 50, 0), ("10.0.0.2", LOW + 51, 0), ("0.0.0.0", LOW + 52, 0)], TcpState.LISTEN)
    (row,) = sources.tcp(outgoing, held(("10.0.0.1", LOW + 20, 0)), listening, OFFERED, None)
    assert (row.source, row.destinations, row.unconnected, row.in_use) == ("10.0.0.1", 2, 1, 21)
    assert (row.capacity.used, row.capacity.usable, row.capacity.free) == (11, 95 - 2, 82)
    assert (row.strategy, row.owned, row.is_limit) == (None, None, False)


def test_a_port_that_is_never_used_twice_is_a_sign_of_early_binding() -> None:
    early = table([("10.0.0.1", LOW + n, 9000 + n % 5) for n in range(90)])
    (row,) = sources.tcp(early, NONE, NO_LISTENER, OFFERED, None)
    assert (row.strategy, row.is_limit) == (Strategy.BIND, True)
    assert row.because == "90 sockets to 5 destinations use 90 ports, none of them twice (by chance: < 0.1 %)"
    assert not row.shown_by

    few = table([("10.0.0.1", LOW + n, 9000 + n % 5) for n in range(10)])
    one_destination = table([("10.0.0.1", LOW + n, 9000) for n in range(90)])
    once_twice = np.concatenate([early, table([("10.0.0.1", LOW, 9001)])])
    for sockets in (few, one_destination, once_twice):
        (row,) = sources.tcp(sockets, NONE, NO_LISTENER, OFFERED, None)
        assert row.strategy is None


def test_it_is_the_process_that_binds_early() -> None:
    """Another program at the same address shares ports, and its sockets alone prove nothing."""
    proxy = table([("10.0.0.1", LOW + n, 9000 + n % 5) for n in range(80)], inode=7)
    other = table([("10.0.0.1", LOW + 90, port) for port in (53, 443)], inode=8)
    owners = SocketOwners(np.array([7, 8], np.uint32), np.array([1 << 30, (1 << 30) + 1], np.uint32), 0, True)
    (row,) = sources.tcp(np.concatenate([proxy, other]), NONE, NO_LISTENER, OFFERED, owners)
    assert row.strategy is Strategy.BIND
    assert row.shown_by == f"[{1 << 30}]"  # of a pid that is nobody's: it has no name
    assert row.because.startswith("80 sockets to 5 destinations")
    assert row.owned
    assert [owner.sockets for owner in row.owned.owners] == [80, 2]


def test_closed_connections_of_an_early_program_count_as_its_own() -> None:
    """Most sockets are in TIME-WAIT and have no process; another program's open ones share ports."""
    rows: list[Row] = [("10.0.0.1", LOW + n, 9000 + n % 5) for n in range(80)]
    proxy, closed = table(rows[:20], inode=7), table(rows[20:], TcpState.TIME_WAIT)
    other = table([("10.0.0.1", LOW + 90, port) for port in (53, 443)], inode=8)
    owners = SocketOwners(np.array([7, 8], np.uint32), np.array([1 << 30, (1 << 30) + 1], np.uint32), 0, True)
    (row,) = sources.tcp(np.concatenate([proxy, closed, other]), NONE, NO_LISTENER, OFFERED, owners)
    assert (row.strategy, row.time_wait) == (Strategy.BIND, 60)
    assert row.because.startswith("80 sockets to 5 destinations")


def test_sockets_that_never_connected_are_early() -> None:
    bound = held(*(("10.0.0.1", LOW + n, 0) for n in range(50)))
    (row,) = sources.tcp(table([]), bound, NO_LISTENER, OFFERED, None)
    assert (row.strategy, row.because) == (Strategy.BIND, "50 of 50 sockets are bound and not connected")
    assert (row.capacity.used, row.capacity.free, row.unconnected) == (50, 45, 50)


def test_without_udp_sockets_in_the_range_there_is_no_account() -> None:
    assert sources.udp(held(("0.0.0.0", 53, 0)), OFFERED, None) == []


@pytest.mark.parametrize(
    ("only_six", "used"),
    [
        (False, {"0.0.0.0": 7, "10.0.0.1": 6, "10.0.0.2": 4, "::": 12, "::1": 6}),
        (True, {"0.0.0.0": 6, "10.0.0.1": 5, "10.0.0.2": 3, "::": 12, "::1": 6}),
    ],
)
def test_a_udp_socket_on_all_addresses_counts_for_all(only_six: bool, used: dict[str, int]) -> None:
    """:: counts for IPv4, unless the socket is for IPv6 alone; a row for :: counts everything."""
    rows: list[Row] = [("10.0.0.1", LOW + n, 53) for n in range(3)]
    rows += [("10.0.0.2", LOW + 10, 0), ("0.0.0.0", LOW + 20, 0), ("0.0.0.0", LOW + 21, 0)]
    rows += [("::1", LOW + 30 + n, 53) for n in range(5)] + [("::", LOW + 40, 0)]
    flags = tuple(source == "::" and only_six for source, _, _ in rows)
    found = {row.source: row.capacity.used for row in sources.udp(held(*rows, only_six=flags), OFFERED, None)}
    assert found == used


def test_an_unbound_udp_client_needs_a_port_that_is_free_everywhere() -> None:
    """So the row of all addresses is there without a socket of its own."""
    rows = sources.udp(held(("10.0.0.1", LOW, 53), ("10.0.0.2", LOW + 1, 53)), OFFERED, None)
    assert [(row.source, row.capacity.used, row.in_use) for row in rows] == [
        ("0.0.0.0", 2, 0), ("10.0.0.1", 1, 1), ("10.0.0.2", 1, 1),
    ]  # fmt: skip
    assert all(row.is_limit for row in rows)
