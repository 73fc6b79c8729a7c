"""Facts of a host, from captured files and fake sockets."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loadgen.errors import HostError
from loadgen.kernel import cgroup, host, missing, neighbours, route, sysctl
from loadgen.kernel.missing import Missing, MissingReason
from loadgen.model import Endpoint, PortRange
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE

TEXTS = {
    "/proc/sys/fs/file-nr": "1312\t0\t9223372036854775807\n",
    "/proc/meminfo": "MemTotal:       24689764 kB\nMemFree:         1000000 kB\nMemAvailable:   23456789 kB\n",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU: 2.1 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n",
}
FACTS = host.HostFacts(
    kernel="6.18.0",
    machine="x86_64",
    cpus=2,
    memory_available_bytes=1,
    descriptors=20_000,
    files_free=1,
    port_range=PortRange(32_768, 60_999),
    reserved_ports=(8080,),
    unprivileged_port_start=1024,
    privileged=False,
    listeners=(22,),
    missing_sources=(),
    default_sources=("127.0.0.1",),
    late_bind=True,
    port_range_option=True,
    sysctls={"net.ipv4.tcp_tw_reuse": "2"},
)


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of /proc that host.py reads, as text to change."""
    texts, real = dict(TEXTS), Path.read_text

    def read_text(path: Path, *args: Any, **options: Any) -> str:
        return texts[str(path)] if str(path) in TEXTS else real(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    return texts


class FakeSocket:
    """Answers bind(), connect_ex() and setsockopt() from the class, and opens nothing."""

    bind_errno: dict[str, int]
    connect_errno = 0
    name: tuple[Any, ...] = ("198.18.0.1", 12345)
    option_errno: dict[int, int]
    no_family: set[int]

    def __init__(self, family: int, kind: int) -> None:
        if family in self.no_family:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        self.family, self.kind = family, kind

    def __enter__(self) -> FakeSocket:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setsockopt(self, _level: int, option: int, _value: int) -> None:
        if number := self.option_errno.get(option):
            raise OSError(number, os.strerror(number))

    def bind(self, address: tuple[Any, ...]) -> None:
        assert address[1] == 0
        if number := self.bind_errno.get(address[0]):
            raise OSError(number, os.strerror(number))

    def connect_ex(self, address: tuple[str, int]) -> int:
        assert self.kind == socket.SOCK_DGRAM, "nothing may be sent"
        assert address[1] > 0
        return self.connect_errno

    def getsockname(self) -> tuple[Any, ...]:
        return self.name


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeSocket]:
    class Fake(FakeSocket):
        bind_errno: dict[str, int] = {}  # noqa: RUF012  # one class for each test
        option_errno: dict[int, int] = {}  # noqa: RUF012
        no_family: set[int] = set()  # noqa: RUF012

    monkeypatch.setattr(socket, "socket", Fake)
    return Fake


def test_free_files_are_the_first_and_last_column(proc: dict[str, str]) -> None:
    assert host.file_numbers() == (2**63 - 1, 1312)
    proc["/proc/sys/fs/file-nr"] = "100 5 2000\n"
    assert host.file_numbers() == (2000, 100)


def test_memory_is_what_is_available_in_bytes(proc: dict[str, str]) -> None:
    assert host.memory_available() == 23_456_789 * 1024
    proc["/proc/meminfo"] = "MemTotal: 1 kB\n"
    assert host.memory_available() == 0


@pytest.mark.parametrize(
    ("limit", "used", "left"), [(None, 0, 5_000), (4_000, 1_000, 3_000), (9_000, 1_000, 5_000), (1_000, 2_000, 0)]
)
def test_memory_is_the_smaller_of_host_and_control_group(limit: int | None, used: int, left: int) -> None:
    group = cgroup.CgroupLimits(memory=None if limit is None else cgroup.CgroupUsage(limit, used, "memory.max"))
    assert host._memory(5_000, group) == left


@pytest.mark.parametrize(("quota", "cpus"), [(None, 4), (0.2, 1), (1.5, 2), (4.0, 4), (8.0, 4)])
def test_cpus_are_the_smaller_of_host_and_control_group(quota: float | None, cpus: int) -> None:
    assert host._cpus(4, cgroup.CgroupLimits(cpu=None if quota is None else cgroup.CpuQuota(quota, "cpu.max"))) == cpus


def test_facts_respect_the_control_group(fake: type[FakeSocket], monkeypatch: pytest.MonkeyPatch) -> None:
    group = cgroup.CgroupLimits(
        memory=cgroup.CgroupUsage(3_000, 1_000, "memory.max"), cpu=cgroup.CpuQuota(0.5, "cpu.max")
    )
    monkeypatch.setattr(cgroup, "read", lambda: group)
    found = host.read([], [])
    assert (found.memory_available_bytes, found.cpus) == (2_000, 1)
    assert fake.connect_errno == 0


def test_the_first_cpu_names_the_model(proc: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert host._cpu_model() == "Some CPU: 2.1 GHz"
    proc["/proc/cpuinfo"] = "processor\t: 0\nBogoMIPS\t: 50\n"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert host._cpu_model() == "aarch64"


def test_an_address_is_present_if_it_can_be_bound(fake: type[FakeSocket]) -> None:
    fake.bind_errno = {"10.0.0.1": errno.EADDRNOTAVAIL, "fd00::1": errno.EADDRNOTAVAIL}
    for address, here in (("127.0.0.2", True), ("10.0.0.1", False), ("::1", True), ("fd00::1", False)):
        assert host.can_bind(address) is here


def test_another_bind_error_does_not_make_an_address_missing(fake: type[FakeSocket]) -> None:
    fake.bind_errno = {"10.0.0.1": errno.EPERM}
    with pytest.raises(PermissionError):
        host.can_bind("10.0.0.1")


def test_without_ipv6_an_ipv6_address_is_missing(fake: type[FakeSocket]) -> None:
    fake.no_family = {socket.AF_INET6}
    assert host.can_bind("::1") is False


def test_without_ipv6_there_is_no_route_to_an_ipv6_target(fake: type[FakeSocket]) -> None:
    fake.no_family = {socket.AF_INET6}
    assert host._default_source(Endpoint("::1", 9000)) == ""


@pytest.mark.parametrize("port", [0, 9000])
def test_the_route_to_a_target_gives_its_source(fake: type[FakeSocket], port: int) -> None:
    assert host._default_source(Endpoint("198.18.0.9", port)) == "198.18.0.1"
    fake.connect_errno = errno.ENETUNREACH
    assert host._default_source(Endpoint("198.18.0.9", port)) == ""


def test_the_source_of_a_link_local_route_has_its_zone(fake: type[FakeSocket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_indextoname", {7: "eth0"}.__getitem__)
    monkeypatch.setattr(socket, "if_nametoindex", {"eth0": 7}.__getitem__)
    fake.name = ("fe80::2", 12345, 0, 7)
    assert host._default_source(Endpoint("fe80::1%eth0", 9000)) == "fe80::2%eth0"
    fake.name = ("fd00::2", 12345, 0, 0)
    assert host._default_source(Endpoint("fd00::1", 9000)) == "fd00::2"


@pytest.mark.parametrize(("sources", "target"), [(["fe80::2%eth9"], "127.0.0.1"), ([], "fe80::1%eth9")])
def test_a_zone_has_to_be_an_interface(sources: list[str], target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    with pytest.raises(HostError, match="no interface 'eth9' here"):
        host.read(sources, [Endpoint(target, 80)])
    host._require_zones(["fe80::2%eth0", "127.0.0.1", "::1"])


def test_with_freebind_an_address_is_present_if_it_is_routed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "not_local", lambda sources: iter(sources[1:]))
    monkeypatch.setattr(host, "can_bind", lambda _: False)
    assert host._missing(["a", "b"], freebind=True) == ["b"]
    assert host._missing(["a", "b"], freebind=False) == ["a", "b"]


def test_an_option_is_present_unless_the_kernel_refuses_it(fake: type[FakeSocket]) -> None:
    fake.option_errno = {IP_LOCAL_PORT_RANGE: errno.ENOPROTOOPT}
    assert host.has_option(IP_BIND_ADDRESS_NO_PORT, 1)
    assert not host.has_option(IP_LOCAL_PORT_RANGE, 0)
    fake.option_errno = {IP_LOCAL_PORT_RANGE: errno.EPERM}
    with pytest.raises(PermissionError):
        host.has_option(IP_LOCAL_PORT_RANGE, 0)


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every missing address is absent."""

    def absent(addresses: Sequence[str], *, freebind: bool) -> tuple[Missing, ...]:
        assert freebind is False
        return tuple(Missing(address, MissingReason.ABSENT, "lo", 32) for address in addresses)

    monkeypatch.setattr(missing, "reasons", absent)


@pytest.mark.usefixtures("reasons")
def test_all_missing_addresses_are_counted_and_some_listed(
    fake: type[FakeSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "can_bind", lambda address: address == "10.0.0.7")
    found = host.read([f"10.0.{n >> 8}.{n & 255}" for n in range(2000)], [])
    assert found.missing_sources[0] == "10.0.0.0"
    assert len(found.missing_sources) == len(found.missing_because) == host.LISTED_MAX
    assert found.missing_count == 1999
    assert fake.no_family == set()


def test_an_address_that_appears_meanwhile_is_not_missing(
    fake: type[FakeSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.bind_errno = {"10.0.0.1": errno.EADDRNOTAVAIL, "10.0.0.2": errno.EADDRNOTAVAIL}
    still = Missing("10.0.0.2", MissingReason.ABSENT, "lo", 32)
    monkeypatch.setattr(missing, "reasons", lambda _addresses, **_: (still,))
    found = host.read(["10.0.0.1", "10.0.0.2"], [])
    assert (found.missing_sources, found.missing_because, found.missing_count) == (("10.0.0.2",), (still,), 1)


@pytest.mark.usefixtures("reasons")
def test_the_facts_of_this_host(fake: type[FakeSocket], monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of /proc only; the sockets are fakes."""
    monkeypatch.setattr(neighbours, "next_hops", lambda addresses: tuple(f"via {address}" for address in addresses))
    fake.bind_errno = {"10.0.0.1": errno.EADDRNOTAVAIL}
    found = host.read(["127.0.0.2", "10.0.0.1"], [Endpoint("127.0.0.1", 9000)])
    assert found.missing_sources == ("10.0.0.1",)
    assert found.next_hops == ("via 127.0.0.1",)
    assert found.default_sources == ("198.18.0.1",)
    assert 1 <= found.cpus <= len(os.sched_getaffinity(0))
    assert found.privileged is (os.geteuid() == 0)
    assert min(found.memory_available_bytes, found.descriptors, found.files_free, len(found.port_range)) > 0
    assert list(found.listeners) == sorted(set(found.listeners))


@pytest.mark.parametrize(("text", "start"), [("0", 0), ("80", 80), (None, 1024)])
def test_where_unprivileged_ports_start(
    fake: type[FakeSocket], monkeypatch: pytest.MonkeyPatch, text: str | None, start: int
) -> None:
    """0 is a value; a kernel without the setting starts at 1024."""
    real = sysctl.read

    def read(name: str, **options: Any) -> str | None:
        return text if name == "net.ipv4.ip_unprivileged_port_start" else real(name, **options)

    monkeypatch.setattr(sysctl, "read", read)
    assert host.read([], []).unprivileged_port_start == start
    assert fake.connect_errno == 0


def test_facts_become_plain_json_with_versions(proc: dict[str, str]) -> None:
    del proc["/proc/meminfo"], proc["/proc/sys/fs/file-nr"]
    data: dict[str, Any] = json.loads(json.dumps(FACTS.to_json()))
    assert data["kernel"] == "6.18.0"
    assert data["port_range"] == {"low": 32_768, "high": 60_999}
    assert data["cpu_model"] == "Some CPU: 2.1 GHz"
    assert set(data["libraries"]) == {"numpy", "uvloop"}
    assert data["loadgen"]
    assert data["python"].startswith("3.")
    assert 1 <= data["clock_resolution_ns"] < 1_000_000
