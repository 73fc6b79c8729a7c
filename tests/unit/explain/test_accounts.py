"""Accounts of pasted listings: which end began, ranges, several listings, owners."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain import accounts
from loadgen.explain.explanation import SpaceRow
from loadgen.explain.port_settings import PortSettings
from loadgen.kernel.sockdiag import SOCKET, TcpState
from loadgen.model import PortRange
from loadgen.strategies import Strategy, Transport
from tests.pasted import read
from tests.unit.explain.samples import RANGE, case, explained, listing, space

DEFAULT = PortRange(32_768, 60_999)


def rows(*texts: str) -> list[SpaceRow]:
    return [one.row for one in case(*texts).accounts]


def pair(*texts: str) -> SpaceRow:
    return next(row for row in rows(*texts) if row.scope == "pair")


def test_a_pair_and_its_source_are_counted() -> None:
    found = rows(RANGE, listing(*space("ESTAB", 30), *space("TIME-WAIT", 20, low=40_030)))
    assert [(row.scope, row.used, row.in_use, row.time_wait, row.usable, row.free) for row in found] == [
        ("pair", 50, 30, 20, 100, 50),
        ("source", 50, 30, 20, 100, 50),
    ]
    assert [row.is_limit for row in found] == [True, False]


def test_reserved_ports_and_listeners_are_not_usable() -> None:
    reserved = "net.ipv4.ip_local_reserved_ports = 40090-40099\n"
    row = pair(RANGE, reserved, listing("LISTEN 0.0.0.0:40089 0.0.0.0:*", *space("ESTAB", 10)))
    assert (row.usable, row.assumed) == (89, False)


def test_a_range_that_is_not_in_the_evidence_is_assumed_unless_the_sockets_show_another() -> None:
    assert (pair(listing(*space("ESTAB", 10))).usable, pair(listing(*space("ESTAB", 10))).assumed) == (28_232, True)
    wide = listing(*space("ESTAB", 20_000, low=10_000))
    assert (pair(wide).usable, pair(wide).used) == (64_512, 20_000)


def test_accepted_connections_are_no_space_with_listeners_and_without() -> None:
    served = [f"TIME-WAIT 10.0.0.7:80 10.3.0.{n}:{33_000 + n}" for n in range(1, 50)]
    assert rows(listing("LISTEN 0.0.0.0:80 0.0.0.0:*", *served)) == []
    assert rows(listing(*served)) == []
    inside = [f"ESTAB 10.0.0.7:50051 10.3.0.{n}:{33_000 + n}" for n in range(1, 50)]
    assert rows(listing(*inside)) == []
    outgoing = [f"ESTAB 10.0.0.5:{33_000 + n} 10.0.0.7:50051" for n in range(50)]
    assert pair(listing(*outgoing)).used == 50


def test_listeners_of_another_listing_of_the_file_are_known() -> None:
    connections = (
        "$ ss -tn\n" + listing(*(f"ESTAB 10.0.0.7:40080 10.3.0.1:{52_000 + n}" for n in range(2))).split("\n", 1)[1]
    )
    assert pair(RANGE, connections).used == 1
    assert rows(RANGE, connections, "$ ss -ltn\n" + listing("LISTEN 0.0.0.0:40080 0.0.0.0:*").split("\n", 1)[1]) == []


def test_two_listings_are_two_looks_and_the_fullest_counts() -> None:
    twice = listing(*space("ESTAB", 30)) + "\n" + listing(*space("ESTAB", 40))
    assert [(row.scope, row.used) for row in rows(RANGE, twice)] == [("pair", 40), ("source", 40)]


def test_workers_of_one_program_are_one_owner() -> None:
    lines = "".join(
        f'ESTAB 0 0 10.0.0.5:{40_000 + n} 10.0.0.7:80 users:(("nginx",pid={100 + n % 4},fd={n}))\n' for n in range(40)
    )
    other = 'ESTAB 0 0 10.0.0.5:40090 10.0.0.7:80 users:(("curl",pid=7,fd=3))\n'
    assert pair(RANGE, listing() + lines + other).owners == (("nginx", 40), ("curl", 1))


def test_udp_is_counted_by_source_and_all_addresses_only_with_a_socket_there() -> None:
    text = "$ ss -uan\nState Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
    text += "".join(f"ESTAB 0 0 10.0.0.5:{40_000 + n} 10.0.0.53:53\n" for n in range(100))
    (row,) = rows(RANGE, text)
    assert (row.transport, row.source, row.used, row.free, row.is_limit) == (Transport.UDP, "10.0.0.5", 100, 0, True)


def test_the_account_of_watch_is_taken_as_it_is() -> None:
    found = explained(
        '{"schema": "loadgen.watch/1", "at": "2026-11-29T06:00:00Z", "t_s": 0, "ports": {"low": 40000, "high": 40099, '
        '"reserved": 0, "listening": 0, "usable": 100}, "tcp_tw_reuse": 2, "states": {}, "group_count": 0, '
        '"groups": [], '
        '"sources": [{"source": "10.0.0.9", "in_use": 100, "time_wait": 0, "unconnected": 0, "destinations": 10, '
        '"used": 100, "usable": 100, "free": 0, "used_share": 1.0, "strategy": "bind", "because": "none twice", '
        '"shown_by": "", "growth_per_s": null, "exhausts_in_s": null, "owners": null}], "udp": null, "inbound": [], '
        '"bound": {"unknown": "old"}, "counters": {}, "interrupted": false}\n'
    )
    (row,) = found.spaces
    assert (row.scope, row.source, row.used, row.strategy) == ("source", "10.0.0.9", 100, Strategy.BIND)
    assert found.findings[0].limit == "source-ports"


def test_a_socket_that_met_itself_is_found() -> None:
    finding = explained(
        listing("ESTAB 127.0.0.1:40001 127.0.0.1:40001", "ESTAB 127.0.0.1:40002 127.0.0.2:40002")
    ).findings[0]
    assert (finding.limit, finding.target, finding.confidence) == ("self-connect", "127.0.0.1:40001", "certain")


def test_sockets_of_a_port_are_told_with_their_line() -> None:
    evidence = read(listing("ESTAB 10.0.0.5:38151 10.0.0.7:443", "TIME-WAIT 10.0.0.5:38151 10.0.0.8:443"))
    row = accounts.of_port(evidence.listings, 38_151)
    assert row
    assert (row.used, row.in_use, row.time_wait, row.where.line) == (2, 1, 1, 3)
    assert accounts.of_port(evidence.listings, 1) is None


ports = st.integers(1, 65_535)


@given(st.lists(st.tuples(ports, ports, st.sampled_from([TcpState.ESTABLISHED, TcpState.TIME_WAIT])), max_size=60))
def test_no_connection_is_counted_twice_or_invented(drawn: list[tuple[int, int, TcpState]]) -> None:
    sockets = np.zeros(len(drawn), SOCKET)
    for row, (local, peer, state) in zip(sockets, drawn, strict=True):
        row["family"], row["state"], row["source_port"], row["destination_port"] = 2, state, local, peer
        row["source"][0], row["destination"][0] = 10, 11
    none = np.zeros(0, SOCKET)
    kept = accounts.outbound(sockets, none, DEFAULT)
    every = Counter((int(row["source_port"]), int(row["destination_port"])) for row in sockets)
    assert not Counter((int(row["source_port"]), int(row["destination_port"])) for row in kept) - every
    with_listeners = sockets.copy()
    with_listeners["state"], with_listeners["destination_port"] = TcpState.LISTEN, 0
    assert accounts.outbound(sockets, with_listeners, DEFAULT).size == 0


@pytest.mark.parametrize("text", ["", "x", "1 2 3", "60999 32768", "-1 5", "0 70000", "9" * 5000, "1\n2" * 100])
def test_a_range_that_is_none_is_assumed(text: str) -> None:
    settings = PortSettings.of(read(f"net.ipv4.ip_local_port_range = {text}\n"))
    assert (settings.ports, settings.assumed) == (DEFAULT, True)
