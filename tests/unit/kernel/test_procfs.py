"""A file of /proc that is not there names the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.errors import HostError
from loadgen.kernel import procfs


def test_why_there_is_nothing(tmp_path: Path) -> None:
    assert procfs.absence(tmp_path).startswith(f"{tmp_path} is not mounted here")
    (tmp_path / "self").mkdir()
    assert "shows processes only (mount option subset=pid)" in procfs.absence(tmp_path)
    (tmp_path / "sys").mkdir()
    assert procfs.absence(tmp_path) == ""


def test_reading(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable: 1 kB\n")
    assert procfs.read(tmp_path / "meminfo") == "MemAvailable: 1 kB\n"
    with pytest.raises(HostError, match=r"cannot read .*/loadavg: No such file or directory"):
        procfs.read(tmp_path / "loadavg")
