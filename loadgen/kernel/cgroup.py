"""Limits of this process's control group: memory, processor time, processes; cgroup versions 1 and 2.

A group is held to its own limits and to those of every group above it, so each result is the tightest limit on the
way up. The cgroup namespace decides how far up a process can see: in a container the mount point is usually the
container's own group, and the groups above it cannot be read.

A file that is missing or unreadable, and a line or value that is not as the kernel writes it, counts as no limit:
containers put files of their own in place of these (lxcfs, gVisor).

Sources: cgroups(7), cgroup_namespaces(7); Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.high, cpu.max,
pids.max), cgroup-v1/memory.rst, scheduler/sched-bwc.rst; proc_pid_mountinfo(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

#: The unified hierarchy has no controllers in /proc/self/cgroup.
_UNIFIED: Final = ""
#: Version 1 expresses "no limit" as the largest number of pages, far above this.
_UNLIMITED: Final = 1 << 62
#: 64 bits.
_DIGITS_MAX: Final = 20
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
#: `4:cpu,cpuacct:/a`: hierarchy, controllers, path.
_GROUP: Final = re.compile(r"\d+:([^:]*):(/.*)")
#: `29 24 0:26 /top /point rw,nosuid shared:4 - cgroup2 cgroup2 rw`; other filesystems are of no interest.
_MOUNT: Final = re.compile(r"\d+ \d+ \d+:\d+ (/\S*) (/\S*) .*- (cgroup2?) \S+ (\S+)")


@dataclass(frozen=True, slots=True)
class CgroupUsage:
    """A limit, the amount in use, and the file that sets the limit."""

    limit: int
    used: int
    file: str

    @property
    def free(self) -> int:
        """The amount left; 0 if the group is over its limit."""
        return max(self.limit - self.used, 0)


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """The maximum processor time in cores, 1.5 for instance, and the file that sets it."""

    cpus: float
    file: str


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """The tightest limit of each kind; None: no readable group sets one.

    memory: bytes. Inactive page cache does not count as used, because the kernel reclaims it first.
    pids: processes and threads.
    """

    memory: CgroupUsage | None = None
    cpu: CpuQuota | None = None
    pids: CgroupUsage | None = None


def read(root: Path = Path("/")) -> CgroupLimits:
    """Return the limits of this process's group; without control groups there are none.

    root: directory that contains /proc and the mounted hierarchies.
    """
    hierarchies = _hierarchies(root)
    unified = hierarchies.get(_UNIFIED, [])
    memory = [*map(_memory_v1, hierarchies.get("memory", [])), *map(_memory_v2, unified)]
    cpu = [*map(_cpu_v1, hierarchies.get("cpu", [])), *map(_cpu_v2, unified)]
    pids = map(_pids, [*hierarchies.get("pids", []), *unified])
    return CgroupLimits(
        memory=min((use for use in memory if use), key=lambda use: use.free, default=None),
        cpu=min((quota for quota in cpu if quota), key=lambda quota: quota.cpus, default=None),
        pids=min((use for use in pids if use), key=lambda use: use.free, default=None),
    )


def _hierarchies(root: Path) -> dict[str, list[Path]]:
    """Return, for each controller, the directories of this process's group and of those above it."""
    groups = dict(parse_groups(_text(root / "proc/self/cgroup")))
    return {
        controller: _upwards(root / point.lstrip("/"), groups[controller], top)
        for controller, top, point in parse_mounts(_text(root / "proc/self/mountinfo"))
        if controller in groups
    }


def parse_groups(text: str) -> Iterator[tuple[str, str]]:
    """Yield (controller, path of the group) for each entry of /proc/PID/cgroup, "4:cpu,cpuacct:/a" or "0::/a"."""
    for line in text.splitlines():
        if found := _GROUP.fullmatch(line):
            for controller in found[1].split(","):
                yield controller, found[2]


def parse_mounts(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield (controller, group at the top of the mount, mount point) for each hierarchy in /proc/PID/mountinfo."""
    for line in text.splitlines():
        if found := _MOUNT.fullmatch(line):
            top, point = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), field) for field in found.group(1, 2))
            for controller in [_UNIFIED] if found[3] == "cgroup2" else found[4].split(","):
                yield controller, top, point


def _upwards(point: Path, group: str, top: str) -> list[Path]:
    """Return the directories from the group's own up to the mount point.

    A group outside the mount ("/..", in another cgroup namespace) is represented by the mount point alone.
    """
    group_path = PurePosixPath(group)
    if ".." in group_path.parts or not group_path.is_relative_to(top):
        return [point]
    below = group_path.relative_to(top)
    return [point / part for part in (below, *below.parents)] if below.parts else [point]


def _memory_v1(group: Path) -> CgroupUsage | None:
    return _use(group / "memory.limit_in_bytes", group / "memory.usage_in_bytes", _cache(group, "total_inactive_file"))


def _memory_v2(group: Path) -> CgroupUsage | None:
    """Return the tighter of memory.max and memory.high: above memory.high all allocations wait for reclaim."""
    files = (group / "memory.max", group / "memory.high")
    cache = _cache(group, "inactive_file")
    uses = [use for file in files if (use := _use(file, group / "memory.current", cache))]
    return min(uses, key=lambda use: use.limit, default=None)


def _cache(group: Path, name: str) -> int:
    for line in _text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value) or 0
    return 0


def _cpu_v1(group: Path) -> CpuQuota | None:
    return _quota(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"), group / "cpu.cfs_quota_us")


def _cpu_v2(group: Path) -> CpuQuota | None:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    return _quota(quota, period, group / "cpu.max")


def _quota(quota: str, period: str, file: Path) -> CpuQuota | None:
    """Return how much of each period may be used; None for "max" and -1, which are no limit."""
    used_us, of_us = _number(quota), _number(period)
    return CpuQuota(used_us / of_us, str(file)) if used_us and of_us else None


def _pids(group: Path) -> CgroupUsage | None:
    return _use(group / "pids.max", group / "pids.current")


def _use(limit_file: Path, used_file: Path, cache: int = 0) -> CgroupUsage | None:
    limit, used = _number(_text(limit_file)), _number(_text(used_file))
    if limit is None or limit >= _UNLIMITED:  # "max", or the file does not exist
        return None
    return CgroupUsage(limit, max((used or 0) - cache, 0), str(limit_file))


def _number(text: str) -> int | None:
    """Return a whole number that a kernel could mean, None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="surrogateescape").strip()
    except (OSError, ValueError):  # no limit; see the module's docstring. ValueError: a NUL in the path of a group
        return ""
