"""Four-tuples of other sockets, from a table of sockets; limits of this host."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from loadgen.kernel import limits, neighbours, sysctl
from loadgen.kernel.limits import BoundPorts, HostLimit, InUse
from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState
from loadgen.model import Endpoint, Transport


def table(*rows: tuple[str, int, str, int, TcpState]) -> Sockets:
    """Sockets as (source, source port, destination, destination port, state)."""
    found = np.zeros(len(rows), SOCKET)
    for one, (source, source_port, destination, port, state) in zip(found, rows, strict=True):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        one["family"], one["state"] = family, state
        one["source_port"], one["destination_port"] = source_port, port
        for name, address in (("source", source), ("destination", destination)):
            packed = socket.inet_pton(family, address)
            one[name][: len(packed)] = list(packed)
    return found


def test_sockets_of_the_sources_are_grouped_by_target() -> None:
    sockets = table(
        ("127.0.0.2", 40_001, "127.0.0.1", 9000, TcpState.ESTABLISHED),
        ("127.0.0.2", 40_000, "127.0.0.1", 9000, TcpState.SYN_SENT),
        ("127.0.0.2", 40_002, "127.0.0.1", 9000, TcpState.TIME_WAIT),
        ("127.0.0.2", 40_001, "127.0.0.1", 9001, TcpState.ESTABLISHED),
        ("127.0.0.3", 40_001, "127.0.0.1", 9000, TcpState.ESTABLISHED),
        ("127.0.0.1", 9000, "127.0.0.2", 40_001, TcpState.ESTABLISHED),
        ("::1", 40_005, "::1", 9000, TcpState.ESTABLISHED),
    )
    assert set(limits.grouped(sockets, ["127.0.0.2", "::1"])) == {
        InUse("127.0.0.2", Endpoint("127.0.0.1", 9000), (40_000, 40_001), (40_002,)),
        InUse("127.0.0.2", Endpoint("127.0.0.1", 9001), (40_001,), ()),
        InUse("::1", Endpoint("::1", 9000), (40_005,), ()),
    }
    assert list(limits.grouped(table(), ["127.0.0.2"])) == []


def test_equal_bytes_of_two_families_are_two_addresses() -> None:
    """127.0.0.2 with zeros behind it is 7f00:2:: to IPv6."""
    sockets = table(("7f00:2::", 40_001, "::1", 9000, TcpState.ESTABLISHED))
    assert list(limits.grouped(sockets, ["127.0.0.2"])) == []


def test_bound_ports_are_listed_by_address() -> None:
    """One of IPv6 that is bound to all addresses takes those of IPv4, unless it is of IPv6 alone."""
    sockets = table(
        ("127.0.0.5", 40_002, "0.0.0.0", 0, TcpState.CLOSE),
        ("127.0.0.5", 40_001, "0.0.0.0", 0, TcpState.CLOSE),
        ("::ffff:127.0.0.5", 40_003, "::", 0, TcpState.CLOSE),
        ("::", 40_004, "::", 0, TcpState.CLOSE),
        ("::", 40_005, "::", 0, TcpState.CLOSE),
        ("0.0.0.0", 40_006, "0.0.0.0", 0, TcpState.CLOSE),
    )
    assert list(limits.by_address(sockets, [False, False, False, True, False, False])) == [
        BoundPorts("0.0.0.0", (40_005, 40_006)),
        BoundPorts("127.0.0.5", (40_001, 40_002, 40_003)),
        BoundPorts("::", (40_004, 40_005)),
    ]
    assert list(limits.by_address(table(), [])) == []


def test_udp_sockets_are_not_counted() -> None:
    assert limits.in_use(["127.0.0.1"], Transport.UDP) == ()
    assert limits.bound(Transport.UDP) == ()


def test_over_the_limit_nothing_is_free() -> None:
    assert HostLimit(limit=10, used=4, name="x").free == 6
    assert HostLimit(limit=10, used=14, name="x").free == 0


def test_tables_of_neighbours_are_those_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a namespace that is not the initial one, neither the entries nor the sysctl."""
    shown = neighbours.Neighbours({"neigh": 7}, {})
    monkeypatch.setattr(neighbours, "read", lambda _: shown)
    monkeypatch.setattr(sysctl, "read", {"net.ipv4.neigh.default.gc_thresh3": "1024"}.get)
    assert list(limits._neighbours()) == [HostLimit(1024, 7, "net.ipv4.neigh.default.gc_thresh3")]
    monkeypatch.setattr(sysctl, "read", lambda _: None)
    assert list(limits._neighbours()) == []


def test_the_limits_of_this_host_can_be_read() -> None:
    found = limits.of_host()
    assert found.processes
    assert 0 < found.processes.free < found.processes.limit
    assert found.processes.name
    assert found.in_use == ()
