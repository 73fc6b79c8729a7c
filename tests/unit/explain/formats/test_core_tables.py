"""Counters of each core, summed; which table it is comes from its columns, or else from the command line."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.core_tables import CONNTRACK_STATS, CORE_TABLES, SOFTNET
from tests.pasted import CAPTURED, captured, counters, read, since, unread

ARP = (CAPTURED / "stat-arp_cache-linux-6.18").read_text()
SOFTNET_TEXT = (CAPTURED / "softnet_stat-linux-6.18").read_text()


def test_nf_conntrack_is_summed_and_its_entries_are_not() -> None:
    evidence = captured("stat-nf_conntrack-linux-4.19")
    found = counters(evidence)
    assert (found["conntrack.count"], found["conntrack.drop"], found["conntrack.insert_failed"]) == (0x3FFF0, 55, 5)
    assert found["conntrack.found"] == 0x6BFC + 0x55C8
    assert (since(evidence), unread(evidence)) == ({"boot"}, [])


def test_the_columns_of_a_newer_kernel() -> None:
    found = counters(captured("stat-nf_conntrack-linux-6.18"))
    assert (found["conntrack.clashres"], found["conntrack.drop"]) == (0, 0)
    assert "conntrack.searched" not in found


@pytest.mark.parametrize(
    ("name", "failed", "dropped"),
    [("conntrack-S-1.4.7", 0, 0), ("conntrack-S-1.4.4", 36137, 36131), ("conntrack-S-0.9", 11, 7021)],
)
def test_conntrack_statistics_of_three_versions(name: str, failed: int, dropped: int) -> None:
    evidence = captured(name)
    found = counters(evidence)
    assert (found["conntrack.insert_failed"], found["conntrack.drop"]) == (failed, dropped)
    assert (since(evidence), unread(evidence)) == ({"boot"}, [])


def test_a_second_call_is_a_second_reading() -> None:
    text = "cpu=0   \tfound=1 drop={}\ncpu=1   \tfound=1 drop=1\n"
    evidence = read(text.format(5) + text.format(9))
    assert [(one.value, one.where.line) for one in evidence.readings("conntrack.drop")] == [(6, 1), (10, 3)]


def test_arp_cache_needs_its_name() -> None:
    assert counters(read(ARP)) == {}
    assert "paste the command line" in read(ARP).unread[0].why
    named = read(f"$ cat /proc/net/stat/arp_cache /proc/net/stat/ndisc_cache\n{ARP}{ARP}")
    assert (counters(named)["neigh.entries"], counters(named)["neigh6.table_fulls"]) == (4, 0)
    assert counters(read(f"==> /proc/net/stat/ndisc_cache <==\n{ARP}"))["neigh6.allocs"] == 0x163 + 0x17F
    assert counters(read(ARP, file="host/proc/net/stat/arp_cache"))["neigh.entries"] == 4


def test_softnet_stat_needs_its_name() -> None:
    assert unread(read(SOFTNET_TEXT)) == [(1, 2)]
    expected = {"softnet.processed": 0x3E8008 + 0x391CB3, "softnet.dropped": 0, "softnet.time_squeeze": 3}
    assert counters(read(f"# cat /proc/net/softnet_stat\n{SOFTNET_TEXT}")) == expected
    assert counters(read(SOFTNET_TEXT, file="proc/net/softnet_stat")) == expected


@pytest.mark.parametrize(
    "text",
    [
        "entries found\n00000001 00000002\n",
        "entries  searched found\n0000000g 00000000 00000000\n",
        "cpu=0 found=x\n",
        "entries 5\nfoo 6\n",
        "cpu=0\n",
    ],
)
def test_broken_tables_have_no_counters(text: str) -> None:
    assert counters(read(text, CORE_TABLES, CONNTRACK_STATS, SOFTNET)) == {}


def test_a_row_with_a_column_too_few_is_left_out() -> None:
    text = (CAPTURED / "stat-nf_conntrack-linux-4.19").read_text().splitlines()
    evidence = read("\n".join([*text[:2], text[2].rpartition(" ")[0]]))
    assert (counters(evidence)["conntrack.drop"], unread(evidence)) == (0x2A, [(3, 3)])
