"""Entries of the tables of neighbours are counted by family."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from loadgen.explain.formats.neighbours import ARP, NEIGHBOURS
from tests.explained import captured, evidence_of, lines_accounted_for, wrecked


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("ip-neigh.txt", {"neigh.entries": 1, "neigh6.entries": 1}),
        ("ip-s-s-neigh.txt", {"neigh.entries": 1, "neigh6.entries": 1}),
        ("arp-n.txt", {"neigh.entries": 1}),
        ("arp-an.txt", {"neigh.entries": 1}),
        ("proc-net-arp.txt", {"neigh.entries": 1}),
    ],
)
def test_every_form(name: str, counts: dict[str, int]) -> None:
    assert {one.name: one.value for one in captured(f"ip/{name}").counters} == counts


def test_entries_that_failed_are_in_the_table_too() -> None:
    found = evidence_of(
        "10.0.0.8 dev eth0  FAILED\n10.0.0.9 dev eth0  INCOMPLETE\n"
        "fe80::1 dev eth0 lladdr 02:42:ac:11:00:01 router STALE\n"
    )
    assert {one.name: (one.value, one.since) for one in found.counters} == {
        "neigh.entries": (2, "now"),
        "neigh6.entries": (1, "now"),
    }
    assert found.unread == []


def test_prose_is_no_entry() -> None:
    assert evidence_of("10.0.0.9 dev box is REACHABLE again").counters == []


@settings(max_examples=60)
@given(wrecked("ip/ip-s-s-neigh.txt", "ip/arp-n.txt", "ip/arp-an.txt", "ip/proc-net-arp.txt"))
def test_any_text_is_read_or_left(text: str) -> None:
    assert lines_accounted_for(text, evidence_of(text, [NEIGHBOURS, ARP]))
