"""What readers of numbers share: gauges are of now, and one variable has one name."""

from __future__ import annotations

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.readings import ReadingLines

HERE = Where("-", 1)


def test_a_gauge_is_of_now_whatever_the_counters_beside_it_count_from() -> None:
    evidence = Evidence()
    lines = ReadingLines(evidence, "-")
    lines.keep_counter("Tcp.CurrEstab", 4, "boot", HERE)
    lines.keep_counter("Tcp.ActiveOpens", 4, "boot", HERE)
    assert [one.since for one in evidence.counters] == ["now", "boot"]


def test_two_names_of_one_setting_are_one() -> None:
    evidence = Evidence()
    ReadingLines(evidence, "-").keep_sysctl("net.nf_conntrack_max", "65536", HERE)
    assert [one.name for one in evidence.sysctls] == ["net.netfilter.nf_conntrack_max"]
