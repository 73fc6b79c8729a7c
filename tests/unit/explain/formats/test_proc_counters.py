"""Files of /proc/net, whole, and lines of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.explain.formats.proc_counters import SNMP, SNMP6, SOCKSTAT
from loadgen.kernel import snmp, snmp6, sockstat
from tests.pasted import counters, read, since, unread

PROC = Path(__file__).parents[3] / "data" / "proc"


@pytest.mark.parametrize("kernel", ["linux-6.18", "linux-5.10"])
def test_the_files_have_what_the_kernels_own_readers_find(kernel: str) -> None:
    net = PROC / kernel / "net"
    text = "".join((net / name).read_text() for name in ("snmp", "netstat", "snmp6") if (net / name).exists())
    evidence = read(text)
    assert counters(evidence) == snmp.read(net) | snmp6.read(net)
    assert (since(evidence), unread(evidence)) == ({"boot"}, [])
    assert {one.name for one in evidence.counters if one.since == "now"} >= {"Tcp.CurrEstab", "Tcp.MaxConn"}


def test_sockstat_is_of_now() -> None:
    net = PROC / "linux-6.18" / "net"
    evidence = read((net / "sockstat").read_text() + (net / "sockstat6").read_text())
    expected = {f"sockstat.{name}": value for name, value in sockstat.read(net).items()}
    assert counters(evidence) == expected
    assert {one.since for one in evidence.counters} == {"now"}


def test_a_grepped_pair_is_read() -> None:
    text = "/proc/net/netstat:TcpExt: SyncookiesSent ListenOverflows\n/proc/net/netstat:TcpExt: 0 7\n"
    assert counters(read(text)) == {"TcpExt.SyncookiesSent": 0, "TcpExt.ListenOverflows": 7}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Tcp: ActiveOpens PassiveOpens\n", [(1, 1)]),
        ("Tcp: ActiveOpens PassiveOpens\nTcp: 1\n", [(2, 2), (1, 1)]),
        ("Tcp: ActiveOpens\nUdp: 1\n", [(2, 2), (1, 1)]),
        ("Tcp: 1 2 3\n", [(1, 1)]),
        ("Note: This Is Prose\n", [(1, 1)]),
    ],
)
def test_names_without_their_values_are_not_guessed(text: str, lines: list[tuple[int, int]]) -> None:
    evidence = read(text, SNMP)
    assert counters(evidence) == {}
    assert sorted(unread(evidence)) == sorted(lines)


def test_names_without_values_are_said_with_the_remedy() -> None:
    (unread_line,) = read("Tcp: ActiveOpens PassiveOpens\n", SNMP).unread
    assert "unwrapped" in unread_line.why


@pytest.mark.parametrize("text", ["Ip6InReceives 3 0.0\n", "IpInReceives 3\n", "TCP: 3 sockets\n", "TCP: inuse\n"])
def test_other_lines_are_not_read(text: str) -> None:
    assert counters(read(text, SNMP6, SOCKSTAT)) == {}
