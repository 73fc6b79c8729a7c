"""Metrics of node_exporter become the readings that /proc would have given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats.exposition import EXPOSITION
from tests.pasted import counters, read, since, unread

PAGE = """\
# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 8
# HELP node_arp_entries ARP entries by device
# TYPE node_arp_entries gauge
node_arp_entries{device="eth0"} 12
node_arp_entries{device="eth1"} 30
# TYPE node_filefd_allocated gauge
node_filefd_allocated 1632
node_filefd_maximum 9.223372036854775807e+18
node_netstat_TcpExt_ListenOverflows 6021
node_netstat_Tcp_CurrEstab 28232
node_nf_conntrack_entries 262144
node_nf_conntrack_entries_limit 262144
node_nf_conntrack_stat_insert_failed 17
node_sockstat_TCP6_inuse 4
node_sockstat_TCP_tw 2.8232e+04
node_softnet_dropped_total{cpu="0"} 1
node_softnet_dropped_total{cpu="1"} 2
node_disk_info{device="sda",model="x y"} 1
"""


def test_a_page() -> None:
    evidence = read(PAGE)
    assert not unread(evidence)
    assert counters(evidence) == {
        "TcpExt.ListenOverflows": 6021,
        "Tcp.CurrEstab": 28232,
        "conntrack.count": 262144,
        "conntrack.insert_failed": 17,
        "sockstat.tcp6_inuse": 4,
        "sockstat.tcp_tw": 28232,
        "softnet.dropped": 3,
        "neigh.entries": 42,
    }
    assert since(evidence) == {"boot"}
    settings = {one.name: one.value for one in evidence.sysctls}
    assert settings["net.netfilter.nf_conntrack_max"] == "262144"


@pytest.mark.parametrize(
    "line",
    [
        'node_sockstat_TCP_tw{instance="web1:9100", job="node"} 5',
        "node_sockstat_TCP_tw 5 1700000000123",
        'node_sockstat_TCP_tw{instance="web1:9100"} => 5 @[1700000000.123]',
        "  node_sockstat_TCP_tw   5.0",
    ],
)
def test_a_line_as_people_cut_it_out(line: str) -> None:
    evidence = read(line)
    assert counters(evidence) == {"sockstat.tcp_tw": 5}
    assert evidence.pieces[0].format == "exposition"


def test_two_pages_are_two_readings_of_each_sum() -> None:
    evidence = read(PAGE + PAGE.replace('"eth1"} 30', '"eth1"} 31'))
    assert [one.value for one in evidence.readings("neigh.entries")] == [42, 43]
    assert [one.value for one in evidence.readings("TcpExt.ListenOverflows")] == [6021, 6021]


def test_another_instance_is_another_host() -> None:
    evidence = read("".join(f'node_netstat_TcpExt_ListenOverflows{{instance="web{n}"}} {n}\n' for n in (1, 2, 1)))
    assert [one.value for one in evidence.readings("TcpExt.ListenOverflows")] == [1, 1]
    assert unread(evidence) == [(2, 2)]
    assert "another instance" in evidence.unread[0].why


@pytest.mark.parametrize(
    "value", ["NaN", "+Inf", "-5", "1.5", "1e999", "5 6 7", "", "0x10", "1_000", "1e", "--5", "5 @x"]
)
def test_what_is_no_count_is_no_reading(value: str) -> None:
    assert not counters(read(f"node_sockstat_TCP_tw {value}\n"))


@pytest.mark.parametrize(
    "line", ["node_sockstat_TCP_tw is high", "the metric node_sockstat_TCP_tw 5", "# a heading", "# TYPE of it"]
)
def test_prose_about_a_metric_is_left_alone(line: str) -> None:
    assert not read(line, EXPOSITION).pieces


@given(st.lists(st.sampled_from(PAGE.splitlines()), max_size=6), st.text(max_size=20), st.integers(0, 60))
def test_damaged_lines_are_answered(lines: list[str], foreign: str, at: int) -> None:
    text = "\n".join(line[:at] + foreign + line[at:] for line in lines)
    pieces = read(text, EXPOSITION).pieces
    assert all(1 <= piece.first <= piece.last <= text.count("\n") + 1 for piece in pieces)
    read("\n".join(f"node_arp_entries{{{foreign}}} {line[:at]}" for line in lines), EXPOSITION)
