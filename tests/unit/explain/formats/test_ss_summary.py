"""`ss -s`, new and old."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.ss_summary import SS_SUMMARY
from tests.pasted import captured, counters, read, unread


def test_the_new_form() -> None:
    evidence = captured("ss-s-iproute2-6.1")
    assert unread(evidence) == []
    assert {one.since for one in evidence.counters} == {"now"}
    assert counters(evidence) == {
        "sockstat.sockets_used": 14,
        "Tcp.CurrEstab": 4,
        "sockstat.tcp_orphan": 0,
        "sockstat.tcp_tw": 5,
        "sockstat.tcp_alloc": 16,
        "sockstat.raw_inuse": 0,
        "sockstat.raw6_inuse": 0,
        "sockstat.udp_inuse": 0,
        "sockstat.udp6_inuse": 0,
        "sockstat.tcp_inuse": 12,
        "sockstat.tcp6_inuse": 0,
    }


def test_the_old_form_has_no_count_of_allocated_sockets() -> None:
    evidence = captured("ss-s-iproute2-4.9")
    found = counters(evidence)
    assert unread(evidence) == []
    assert (found["sockstat.tcp_tw"], found["Tcp.CurrEstab"], found["sockstat.tcp6_inuse"]) == (28077, 211, 47)
    assert "sockstat.tcp_alloc" not in found


def test_a_single_line_is_enough() -> None:
    text = "TCP:   17 (estab 2, closed 1, orphaned 0, synrecv 0, timewait 1/0), ports 13\n"
    assert counters(read(text)) == {"Tcp.CurrEstab": 2, "sockstat.tcp_orphan": 0, "sockstat.tcp_tw": 1}


@pytest.mark.parametrize("text", ["Total: 5\n", "Total: 5\n\nTCP is fine\n", "TCP: 5 (estab 2)\n", "Total: -1\n"])
def test_a_total_of_something_else_is_not_read(text: str) -> None:
    assert counters(read(text, SS_SUMMARY)) == {}
