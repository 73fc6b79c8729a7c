"""What a reading takes out of files, and what it counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadgen.doctor import limits, reading
from loadgen.errors import HostError
from loadgen.kernel import devices, sockdiag, sysctl
from loadgen.kernel.devices import Device

from .reading import HOST


def test_a_setting_is_read_missing_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "nr_open").write_text("1048576\n")
    (tmp_path / "fs" / "file-max").write_text("")
    real = sysctl.read

    def read(name: str, *, root: Path) -> str | None:
        if name == "fs.file-max":
            raise HostError("cannot read sysctl fs.file-max: Permission denied")
        return real(name, root=root)

    monkeypatch.setattr(sysctl, "read", read)
    names = ("fs.nr_open", "fs.file-max", "fs.epoll.max_user_watches")
    values, refused = reading.read_settings(names, root=tmp_path)
    assert values == {"fs.nr_open": "1048576"}
    assert refused == {"fs.file-max"}


def test_tasks_are_all_processes_and_threads() -> None:
    assert reading.parse_tasks("0.20 0.18 0.12 1/80 11206\n") == 80
    with pytest.raises(ValueError, match="invalid literal"):
        reading.parse_tasks("0.20 0.18 0.12 1 11206\n")


def test_usable_ports_are_those_that_nobody_keeps() -> None:
    assert HOST.usable_ports == 28_232
    settings = {**HOST.sysctls, "net.ipv4.ip_local_reserved_ports": "40000-40009,80"}
    host = replace(HOST, sysctls=settings, listeners=frozenset({22, 40_009, 40_010}))
    assert host.usable_ports == 28_232 - 11


def test_numbers_of_settings() -> None:
    assert HOST.number("net.ipv4.tcp_tw_reuse") == 2
    assert HOST.number("no.such", 7) == 7
    assert HOST.numbers("net.ipv4.ip_local_port_range") == (32_768, 60_999)
    assert HOST.numbers("no.such") == ()


def test_every_setting_that_is_judged_is_read() -> None:
    dotted = {limit.name for limit in limits.ALL if limit.name.startswith(("net.", "fs.", "kernel."))}
    assert dotted <= set(reading.SYSCTLS)
    assert len(dotted) == 29


def test_this_very_host_can_be_read() -> None:
    found = reading.read()
    assert 0 < found.usable_ports <= len(found.port_range) <= 65_535
    assert 0 < found.descriptors[0] <= found.descriptors[1]
    assert min(found.cpus, found.tasks, found.memory_available_bytes, found.files_used) > 0
    assert "net.ipv4.ip_local_port_range" in found.sysctls


def test_ports_that_only_vrfs_listen_on_are_free_to_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """eth0 is in the VRF blue; port 80 is listened on there alone, 81 there and elsewhere, 82 on the device lo."""
    sockets = np.zeros(4, sockdiag.SOCKET)
    sockets["source_port"], sockets["interface"] = [80, 81, 81, 82], [2, 7, 0, 1]
    table = {1: Device("lo"), 2: Device("eth0", "", 7), 7: Device("blue", "vrf")}
    monkeypatch.setattr(sockdiag.Reader, "dump", lambda *_, **__: sockdiag.Dump(sockets, interrupted=False))
    monkeypatch.setattr(devices, "read", lambda: table)
    assert reading._of_vrfs() == {80}
    sockets["interface"] = 0
    assert reading._of_vrfs() == frozenset()
