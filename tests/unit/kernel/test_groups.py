"""Groups of sockets compared with a plain count, from a kernel's answer, and with hash collisions."""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.kernel import groups, sockdiag
from loadgen.kernel.groups import SocketGroup, group, outbound
from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState

NETLINK: Final = Path(__file__).parents[2] / "data" / "netlink" / "linux-6.18"


class Row(NamedTuple):
    """One socket in readable form."""

    state: TcpState
    source: str
    source_port: int
    destination: str
    destination_port: int


def table(rows: Sequence[Row]) -> Sockets:
    """Return the rows as the kernel lists them."""
    sockets = np.zeros(len(rows), SOCKET)
    for record, row in zip(sockets, rows, strict=True):
        four = ":" not in row.source
        record["family"] = socket.AF_INET if four else socket.AF_INET6
        record["state"] = row.state
        for name in ("source", "destination"):
            packed = ip_address(getattr(row, name)).packed
            record[name][: len(packed)] = list(packed)
            record[f"{name}_port"] = getattr(row, f"{name}_port")
    return sockets


def unmapped(text: str) -> str:
    address = ip_address(text)
    inner = None if isinstance(address, IPv4Address) else address.ipv4_mapped
    return str(inner or address)


def counted(rows: Sequence[Row]) -> dict[tuple[str, str, int], tuple[dict[TcpState, int], int]]:
    """Return the same by plain counting."""
    states: dict[tuple[str, str, int], Counter[TcpState]] = defaultdict(Counter)
    ports: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for row in rows:
        key = unmapped(row.source), unmapped(row.destination), row.destination_port
        states[key][row.state] += 1
        ports[key].add(row.source_port)
    return {key: (dict(states[key]), len(ports[key])) for key in states}


four = st.sampled_from(["127.0.0.1", "127.0.0.2", "10.1.2.3", "255.255.255.255", "0.0.0.0"])
six = st.sampled_from(["::1", "::", "fd00::7f00:1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3"])
port = st.sampled_from([0, 1, 9000, 9001, 65535])


def row_of(address: st.SearchStrategy[str]) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.sampled_from(TcpState), address, port, address, port)


@given(st.lists(row_of(four) | row_of(six), max_size=60))
def test_groups_equal_a_plain_count(rows: list[Row]) -> None:
    found = group(table(rows))
    assert {(g.source, g.destination, g.destination_port): (g.states, g.source_ports) for g in found} == counted(rows)
    sizes = [sum(g.states.values()) for g in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(g.in_use + g.time_wait for g in found) == len(rows)


@pytest.mark.parametrize("multiplier", [0, 1 << 63])
def test_hash_collisions_join_no_groups(multiplier: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad multiplier makes (nearly) all hashes equal."""
    rows = [Row(TcpState.ESTABLISHED, f"10.0.0.{n % 5}", 40000 + n, "10.9.9.9", 9000 + n % 3) for n in range(60)]
    before = group(table(rows))
    monkeypatch.setattr(groups, "_MULTIPLIER", np.uint64(multiplier))
    assert group(table(rows)) == before
    assert len(before) == 15


def test_all_fields_of_a_group() -> None:
    rows = [
        Row(TcpState.ESTABLISHED, "10.0.0.1", 40000, "10.9.9.9", 443),
        Row(TcpState.TIME_WAIT, "10.0.0.1", 40001, "10.9.9.9", 443),
        Row(TcpState.TIME_WAIT, "::ffff:10.0.0.1", 40002, "::ffff:10.9.9.9", 443),
        Row(TcpState.SYN_SENT, "10.0.0.1", 40002, "10.9.9.9", 443),
    ]
    (found,) = group(table(rows))
    states = {TcpState.ESTABLISHED: 1, TcpState.SYN_SENT: 1, TcpState.TIME_WAIT: 2}
    assert found == SocketGroup("10.0.0.1", "10.9.9.9", 443, states, source_ports=3)
    assert (found.in_use, found.time_wait) == (2, 2)


def test_the_largest_group_comes_first_then_order_is_by_address_and_port() -> None:
    ends = [("10.0.0.2", 80), ("10.0.0.10", 80), ("10.0.0.1", 81), ("10.0.0.1", 9), ("10.0.0.1", 80), ("10.0.0.9", 1)]
    rows = [Row(TcpState.ESTABLISHED, "10.1.0.1", 40000, *end) for end in [*ends, ends[-1]]]
    expected = [("10.0.0.9", 1), *sorted(ends[:-1], key=lambda end: (ip_address(end[0]), end[1]))]
    assert [(g.destination, g.destination_port) for g in group(table(rows))] == expected
    assert [(g.destination, g.destination_port) for g in group(table(rows), limit=2)] == expected[:2]


def test_no_sockets_no_groups() -> None:
    empty = np.empty(0, SOCKET)
    assert group(empty) == []
    assert outbound(empty).size == 0


# --- which side of a connection


def kept(*rows: Row) -> list[int]:
    """Return the indexes of the outbound rows."""
    sockets = table(rows)
    sockets["inode"] = range(len(rows))
    return [int(inode) for inode in outbound(sockets)["inode"]]


LISTENER: Final = Row(TcpState.LISTEN, "127.0.0.1", 9000, "0.0.0.0", 0)
CLIENT: Final = Row(TcpState.ESTABLISHED, "127.0.0.2", 40000, "127.0.0.1", 9000)
ACCEPTED: Final = Row(TcpState.ESTABLISHED, "127.0.0.1", 9000, "127.0.0.2", 40000)


def test_accepted_connections_are_not_outbound() -> None:
    assert kept(ACCEPTED, LISTENER, CLIENT, ACCEPTED._replace(state=TcpState.TIME_WAIT)) == [2]


def test_without_its_listener_an_accepted_connection_counts_as_outbound() -> None:
    assert kept(CLIENT, ACCEPTED) == [0, 1]


def test_the_port_of_a_listener_on_another_address_is_free_to_connect_from() -> None:
    assert kept(LISTENER, CLIENT._replace(source_port=9000), ACCEPTED) == [1]


@pytest.mark.parametrize("anywhere", ["0.0.0.0", "::"])
def test_a_listener_on_every_address(anywhere: str) -> None:
    assert kept(LISTENER._replace(source=anywhere, destination=anywhere), CLIENT, ACCEPTED) == [1]


def test_mapped_and_plain_are_one_address() -> None:
    mapped = ACCEPTED._replace(source="::ffff:127.0.0.1", destination="::ffff:127.0.0.2")
    assert kept(LISTENER, CLIENT, mapped) == [1]


def test_the_outbound_groups_of_a_kernels_answer() -> None:
    sockets = sockdiag.parse((NETLINK / "tcp4.bin").read_bytes(), 0x5D1A6000).sockets
    assert group(outbound(sockets)) == [
        SocketGroup("127.0.0.2", "127.0.0.1", 9000, {TcpState.ESTABLISHED: 1, TcpState.FIN_WAIT2: 1}, 2),
        SocketGroup("127.0.0.3", "127.0.0.1", 9000, {TcpState.TIME_WAIT: 1}, 1),
        SocketGroup("127.0.0.4", "127.0.0.1", 9001, {TcpState.ESTABLISHED: 1}, 1),
        SocketGroup("127.0.0.5", "0.0.0.0", 0, {TcpState.CLOSE: 1}, 1),
    ]
