"""The tables of neighbours, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.kernel import neighbours

HEADER = "entries  allocs   destroys hash_grows lookups  hits     res_failed unresolved_discards table_fulls\n"
CORE = "{:08x} 000002af 000002bc 00000001   0000076f 00000000 00000000   00000000            {:08x}\n"


def write(proc_net: Path, file: str, entries: int, *fulls: int) -> None:
    (proc_net / "stat").mkdir(exist_ok=True)
    (proc_net / "stat" / file).write_text(HEADER + "".join(CORE.format(entries, full) for full in fulls))


def test_what_was_refused_since_is_counted_for_both_families(tmp_path: Path) -> None:
    write(tmp_path, "arp_cache", 2, 5, 0)
    write(tmp_path, "ndisc_cache", 4, 0, 0)
    before = neighbours.read(tmp_path)
    assert before.gauges == {"neigh.entries": 2, "neigh6.entries": 4}
    assert before.delta(before) == {}
    write(tmp_path, "arp_cache", 1024, 5, 9)
    after = neighbours.read(tmp_path)
    assert before.delta(after) == {"neigh.table_fulls": 9}
    assert after.gauges == {"neigh.entries": 1024, "neigh6.entries": 4}


@pytest.mark.parametrize("text", [None, "entries  allocs\n00000002 00000005\n"])
def test_elsewhere_and_on_old_kernels_nothing_is_refused(tmp_path: Path, text: str | None) -> None:
    """The files are those of the initial namespace, and table_fulls came later."""
    if text:
        (tmp_path / "stat").mkdir()
        (tmp_path / "stat" / "arp_cache").write_text(text)
    found = neighbours.read(tmp_path)
    assert found.gauges == ({"neigh.entries": 2} if text else {})
    assert found.delta(found) == {}
