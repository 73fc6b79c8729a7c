"""Sentences of netstat -s stand for counters that the kernel has or had."""

from __future__ import annotations

from pathlib import Path

from loadgen.explain.formats import netstat_prose
from loadgen.kernel import snmp, snmp6

PROC = Path(__file__).parents[3] / "data" / "proc"
#: Counters of older kernels.
GONE = {"TcpExt.PAWSPassive", "TcpExt.SockMallocOOM", "TcpExt.TCPAbortOnSyn"}


def test_counters_are_those_of_the_kernel() -> None:
    net = PROC / "linux-6.18" / "net"
    known = {**snmp.read(net), **snmp6.read(net)}
    named = {f"{group}.{name}" for group, sentences in netstat_prose.SENTENCES.items() for name in sentences.values()}
    assert named - set(known) == GONE


def test_a_sentence_has_one_place_for_the_number() -> None:
    for sentences in netstat_prose.SENTENCES.values():
        assert [text for text in sentences if text.split().count("N") != 1 or text.endswith(".")] == []


def test_what_two_groups_say_is_not_understood_alone() -> None:
    assert "N packets sent" not in netstat_prose.ALONE
    assert netstat_prose.ALONE["N SYNs to LISTEN sockets ignored"] == "TcpExt.ListenDrops"
