"""Limits of a control group, from files as the kernel writes them: cgroup versions 1 and 2."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from loadgen.kernel import cgroup
from loadgen.kernel.cgroup import CgroupLimits, CgroupUsage, CpuQuota

CAPTURED: Final = Path(__file__).parents[2] / "data" / "cgroup" / "v1-linux-6.18"
UNIFIED: Final = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
SLICE: Final = "sys/fs/cgroup/system.slice"
SERVICE: Final = f"{SLICE}/load.service"
#: A service that may have 4 GB, one and a half processors and 500 processes, in a slice without limits.
VERSION_2: Final = {
    "proc/self/cgroup": "0::/system.slice/load.service\n",
    "proc/self/mountinfo": f"23 27 0:22 / /sys rw,relatime - sysfs sysfs rw\n{UNIFIED}",
    f"{SLICE}/memory.max": "max\n",
    f"{SLICE}/memory.high": "max\n",
    f"{SLICE}/memory.current": "9000000000\n",
    f"{SLICE}/cpu.max": "max 100000\n",
    f"{SLICE}/pids.max": "max\n",
    f"{SERVICE}/memory.max": "4000000000\n",
    f"{SERVICE}/memory.high": "max\n",
    f"{SERVICE}/memory.current": "1500000000\n",
    f"{SERVICE}/memory.stat": "anon 400000000\nfile 1000000000\ninactive_file 700000000\nactive_file 300000000\n",
    f"{SERVICE}/cpu.max": "150000 100000\n",
    f"{SERVICE}/pids.max": "500\n",
    f"{SERVICE}/pids.current": "20\n",
}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CAPTURED, tmp_path / "v1"))


def test_a_captured_host_without_limits_has_none() -> None:
    """Its memory limit is 9223372036854771712, its processor quota -1."""
    assert cgroup.read(CAPTURED) == CgroupLimits()


def test_version_1_is_read_controller_by_controller(version_1: Path) -> None:
    memory = version_1 / "sys/fs/cgroup/memory/load/worker"
    inactive = 32_768  # total_inactive_file of the capture, less than is in use
    stat = "".join(
        f"total_inactive_file {inactive}\n" if line.startswith("total_inactive_file") else line
        for line in (memory / "memory.stat").read_text().splitlines(keepends=True)
    )
    assert f"total_inactive_file {inactive}\n" in stat
    tree(memory, {"memory.limit_in_bytes": "2000000000\n", "memory.usage_in_bytes": "500000000\n", "memory.stat": stat})
    tree(version_1 / "sys/fs/cgroup/cpu", {"cpu.cfs_quota_us": "50000\n"})
    tree(version_1 / "sys/fs/cgroup/pids", {"pids.max": "64\n", "pids.current": "4\n"})
    found = cgroup.read(version_1)
    assert found.memory == CgroupUsage(2_000_000_000, 500_000_000 - inactive, str(memory / "memory.limit_in_bytes"))
    assert found.cpu == CpuQuota(0.5, str(version_1 / "sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
    assert found.pids is not None
    assert found.pids.free == 60


def test_a_limit_of_a_parent_group_applies(version_1: Path) -> None:
    """/load has 1 GB for all of its groups, and the root of the captured hierarchy none."""
    files = {"memory.limit_in_bytes": "1000000000\n", "memory.usage_in_bytes": "900000000\n"}
    above = tree(version_1 / "sys/fs/cgroup/memory/load", files)
    tree(above / "worker", {"memory.limit_in_bytes": "2000000000\n", "memory.usage_in_bytes": "500000000\n"})
    memory = cgroup.read(version_1).memory
    assert memory is not None
    assert (memory.free, memory.file) == (100_000_000, str(above / "memory.limit_in_bytes"))


def test_version_2_has_one_hierarchy(tmp_path: Path) -> None:
    found = cgroup.read(tree(tmp_path, VERSION_2))
    service = tmp_path / SERVICE
    assert found.memory == CgroupUsage(4_000_000_000, 800_000_000, str(service / "memory.max"))
    assert found.memory.free == 3_200_000_000
    assert found.cpu == CpuQuota(1.5, str(service / "cpu.max"))
    assert found.pids == CgroupUsage(500, 20, str(service / "pids.max"))


def test_memory_high_is_a_limit_too(tmp_path: Path) -> None:
    memory = cgroup.read(tree(tmp_path, {**VERSION_2, f"{SERVICE}/memory.high": "2000000000\n"})).memory
    assert memory is not None
    assert (memory.limit, memory.file) == (2_000_000_000, str(tmp_path / SERVICE / "memory.high"))


def test_a_container_sees_its_own_group_at_the_mount_point(tmp_path: Path) -> None:
    """With a cgroup namespace as "/", without one as the top of a mount that is its group."""
    own = {"sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "400\n"}
    with_namespace = {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": UNIFIED, **own}
    assert cgroup.read(tree(tmp_path / "with", with_namespace)).memory is not None
    bound = UNIFIED.replace(" / /sys", " /docker/0f3a /sys")
    without = {"proc/self/cgroup": "0::/docker/0f3a\n", "proc/self/mountinfo": bound, **own}
    memory = cgroup.read(tree(tmp_path / "without", without)).memory
    assert memory is not None
    assert memory.free == 600


@pytest.mark.parametrize("path", ["/../elsewhere", "/another/group"])
def test_a_group_outside_of_the_mount_shows_as_the_mount_point(tmp_path: Path, path: str) -> None:
    mount = UNIFIED.replace(" / /sys", " /docker /sys")
    files = {"proc/self/cgroup": f"0::{path}\n", "proc/self/mountinfo": mount, "sys/fs/cgroup/pids.max": "7\n"}
    pids = cgroup.read(tree(tmp_path, files)).pids
    assert pids is not None
    assert pids.limit == 7


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup.read(tmp_path) == CgroupLimits()


def test_a_group_over_its_limit_has_nothing_left() -> None:
    assert CgroupUsage(100, 250, "memory.max").free == 0


def test_several_controllers_may_share_a_hierarchy_and_a_mount_point_may_have_spaces() -> None:
    assert list(cgroup.parse_groups("4:cpu,cpuacct:/a:b\n")) == [("cpu", "/a:b"), ("cpuacct", "/a:b")]
    line = "32 31 0:29 / /sys/fs/cgroup/cpu\\040cpuacct rw shared:9 master:1 - cgroup cgroup rw,cpu,cpuacct\n"
    found = [(controller, point) for controller, _, point in cgroup.parse_mounts(line)]
    assert ("cpu", "/sys/fs/cgroup/cpu cpuacct") in found
    assert ("cpuacct", "/sys/fs/cgroup/cpu cpuacct") in found


def test_the_limits_of_this_host_can_be_read() -> None:
    found = cgroup.read()
    assert found.cpu is None or found.cpu.cpus > 0
    assert found.memory is None or found.memory.limit >= found.memory.free >= 0


@pytest.mark.parametrize("file", sorted(VERSION_2))
@pytest.mark.parametrize("text", ["", "x", "0", "-1", "max max", "9" * 5_000, "1 0", "\x00", "\udcff", "a: b - c\n::"])
def test_files_that_a_container_makes_up_set_no_limit(tmp_path: Path, file: str, text: str) -> None:
    """lxcfs and gVisor put files of their own in place of these."""
    root = tree(tmp_path, VERSION_2)
    (root / file).write_bytes(text.encode(errors="surrogateescape"))
    found = cgroup.read(root)
    assert found.cpu is None or found.cpu.cpus == 1.5
    assert found.pids is None or found.pids.limit in (0, 500)
