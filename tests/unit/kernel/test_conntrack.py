"""The connection tracking table: counters of two kernels, settings through descriptors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadgen.kernel import conntrack

PROC = Path(__file__).parents[2] / "data" / "proc"


def test_counters_are_summed_and_entries_are_not() -> None:
    counters = conntrack.read(PROC / "linux-4.19" / "net")
    assert counters["entries"] == 1023
    assert {name: counters[name] for name in conntrack.LOSSES} == {"drop": 27, "early_drop": 7, "insert_failed": 1}
    assert counters["searched"] == 0
    assert counters["search_restart"] == 2


def test_the_counters_of_losses_exist_on_a_newer_kernel() -> None:
    counters = conntrack.read(PROC / "linux-6.18" / "net")
    assert counters["entries"] == 0
    assert {"clashres", "chainlength", *conntrack.LOSSES} <= set(counters)
    assert "searched" not in counters


def test_without_connection_tracking_there_are_no_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert conntrack.read(tmp_path) == {}
    monkeypatch.setattr(conntrack, "_SETTINGS", {"count": str(tmp_path / "count"), "max": str(tmp_path / "max")})
    assert conntrack.open_settings() == {}


def test_a_setting_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = tmp_path / "count"
    count.write_text("17\n")
    monkeypatch.setattr(conntrack, "_SETTINGS", {"count": str(count), "max": str(tmp_path / "max")})
    found = conntrack.open_settings()
    assert list(found) == ["count"]
    assert conntrack.read_setting(found["count"]) == 17
    count.write_text("4\n")
    assert conntrack.read_setting(found["count"]) == 4
    os.close(found["count"])
