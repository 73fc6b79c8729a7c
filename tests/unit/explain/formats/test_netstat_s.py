"""`netstat -s` of several versions, and lines that grep cut out of it."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.netstat_s import NETSTAT_S
from tests.pasted import captured, counters, read, since, unread


def test_the_sentences_and_names_of_a_new_version() -> None:
    evidence = captured("netstat-s-net-tools-2.10")
    nstat = counters(captured("nstat-az-iproute2-6.1"))  # of the same namespace
    found = counters(evidence)
    assert (unread(evidence), since(evidence)) == ([], {"boot"})
    assert found["Tcp.CurrEstab"] == 4
    beside = {name: value for name, value in found.items() if name not in ("Tcp.CurrEstab", "Ip.Forwarding")}
    assert {name: nstat[name] for name in beside} == beside
    assert {"TcpExt.ListenOverflows", "TcpExt.TCPSynRetrans", "Tcp.AttemptFails", "IpExt.InOctets"} < set(beside)


def test_the_sentences_of_an_old_version() -> None:
    evidence = captured("netstat-s-net-tools-1.60")
    found = counters(evidence)
    assert unread(evidence) == []
    assert {name: found[f"TcpExt.{name}"] for name in ("ListenOverflows", "ListenDrops", "TW", "TWRecycled")} == {
        "ListenOverflows": 9107,
        "ListenDrops": 9311,
        "TW": 8123401,
        "TWRecycled": 17,
    }
    assert (found["TcpExt.PAWSPassive"], found["TcpExt.PAWSEstab"]) == (387158, 285)
    assert (found["Tcp.RetransSegs"], found["Udp.NoPorts"], found["IcmpMsg.InType3"]) == (90411, 288, 401)
    assert "IpExt.InOctets" not in found  # printed below 0: the number is not known


def test_lines_cut_out_by_grep() -> None:
    text = (
        "    24 times the listen queue of a socket overflowed\n"
        "    18 SYNs to LISTEN sockets dropped\n    TCPSynRetrans: 4\nTCP ran low on memory 3 times\n"
    )
    evidence = read(text)
    assert counters(evidence) == {
        "TcpExt.ListenOverflows": 24,
        "TcpExt.ListenDrops": 18,
        "TcpExt.TCPSynRetrans": 4,
        "TcpExt.TCPMemoryPressures": 3,
    }
    assert unread(evidence) == []


def test_a_sentence_of_two_groups_needs_its_title() -> None:
    assert counters(read("    5 packets sent\n", NETSTAT_S)) == {}
    assert counters(read("Udp:\n    5 packets sent\n")) == {"Udp.OutDatagrams": 5}
    assert counters(read("Udp6:\n    5 packets sent\n    Udp6MemErrors: 2\n")) == {
        "Udp6.OutDatagrams": 5,
        "Udp6.MemErrors": 2,
    }


@pytest.mark.parametrize(
    "text",
    [
        "Tcp:\nwe saw 5 resets\n",
        "tcp:\n\t5 packets sent\n",
        "we saw 24 times the listen queue of a socket overflowed\n",
        "    24 times the listen queue of a socket overflowed, and 5 more\n",
        "5 connections\n",
        "Status: 4\n",
    ],
)
def test_prose_and_other_systems_are_not_read(text: str) -> None:
    evidence = read(text, NETSTAT_S)
    assert (counters(evidence), unread(evidence)) == ({}, [(1, text.count("\n"))])
