"""What the control group of this process may use: memory, processor time, processes; version 1 and version 2.

A group is held to its own limits and to those of every group above it, so each answer here is that of the
tightest on the way up. How far up one sees is up to the cgroup namespace: in a container the mount point is
usually the container's own group, and what is above cannot be read (nor be known).

A file that is missing, or may not be read, tells no limit.

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
#: Version 1 says "no limit" with the largest number of pages; nobody has half of that.
_UNLIMITED: Final = 1 << 62
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Use:
    """A limit, what of it is in use, and the file that sets it."""

    limit: int
    used: int
    file: str

    @property
    def free(self) -> int:
        """What is left; none where the group is over its limit."""
        return max(self.limit - self.used, 0)


@dataclass(frozen=True, slots=True)
class Quota:
    """So many processors' time at most, 1.5 for instance, and the file that says so."""

    cpus: float
    file: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The tightest of each kind; None: no group limits it, as far as can be read.

    memory: bytes; page cache that nobody has used lately does not count as used, because it gives way first.
    pids: processes and threads.
    """

    memory: Use | None = None
    cpu: Quota | None = None
    pids: Use | None = None


def read(root: Path = Path("/")) -> Limits:
    """The limits of the group this process is in; without control groups there are none.

    root: where /proc and the mounted hierarchies are looked for.
    """
    hierarchies = _hierarchies(root)
    unified = hierarchies.get(_UNIFIED, [])
    memory = [*map(_memory_v1, hierarchies.get("memory", [])), *map(_memory_v2, unified)]
    cpu = [*map(_cpu_v1, hierarchies.get("cpu", [])), *map(_cpu_v2, unified)]
    pids = map(_pids, [*hierarchies.get("pids", []), *unified])
    return Limits(
        memory=min((use for use in memory if use), key=lambda use: use.free, default=None),
        cpu=min((quota for quota in cpu if quota), key=lambda quota: quota.cpus, default=None),
        pids=min((use for use in pids if use), key=lambda use: use.free, default=None),
    )


def _hierarchies(root: Path) -> dict[str, list[Path]]:
    """For each controller the directories of our group and of those above it; "" is the unified hierarchy."""
    groups = dict(parse_groups(_text(root / "proc/self/cgroup")))
    return {
        controller: _upwards(root / point.lstrip("/"), groups[controller], top)
        for controller, top, point in parse_mounts(_text(root / "proc/self/mountinfo"))
        if controller in groups
    }


def parse_groups(text: str) -> Iterator[tuple[str, str]]:
    """(controller, path of our group in its hierarchy) for each in /proc/PID/cgroup, "4:cpu,cpuacct:/a" or "0::/a"."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def parse_mounts(text: str) -> Iterator[tuple[str, str, str]]:
    """(controller, group at the top of the mount, mount point) for each hierarchy in /proc/PID/mountinfo."""
    for line in text.splitlines():
        ours, _, theirs = line.partition(" - ")
        kind, _, options = theirs.split(" ", 2)
        top, point = (_OCTAL.sub(lambda found: chr(int(found[1], 8)), field) for field in ours.split(" ")[3:5])
        if kind == "cgroup2":
            yield _UNIFIED, top, point
        elif kind == "cgroup":
            for controller in options.split(","):
                yield controller, top, point


def _upwards(point: Path, group: str, top: str) -> list[Path]:
    """The directories from a group's own up to the mount point.

    A group outside of what is mounted ("/..", of another cgroup namespace) shows as the mount point alone.
    """
    group_path = PurePosixPath(group)
    if ".." in group_path.parts or not group_path.is_relative_to(top):
        return [point]
    below = group_path.relative_to(top)
    return [point / part for part in (below, *below.parents)] if below.parts else [point]


def _memory_v1(group: Path) -> Use | None:
    return _use(group / "memory.limit_in_bytes", group / "memory.usage_in_bytes", _cache(group, "total_inactive_file"))


def _memory_v2(group: Path) -> Use | None:
    """Above memory.high nothing is refused, but everything waits for memory to be reclaimed: it is a limit, too."""
    files = (group / "memory.max", group / "memory.high")
    cache = _cache(group, "inactive_file")
    uses = [use for file in files if (use := _use(file, group / "memory.current", cache))]
    return min(uses, key=lambda use: use.limit, default=None)


def _cache(group: Path, name: str) -> int:
    for line in _text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _cpu_v1(group: Path) -> Quota | None:
    quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    if not quota or not period or int(quota) <= 0:
        return None
    return Quota(int(quota) / int(period), str(group / "cpu.cfs_quota_us"))


def _cpu_v2(group: Path) -> Quota | None:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    return Quota(int(quota) / int(period), str(group / "cpu.max")) if quota.isdecimal() else None


def _pids(group: Path) -> Use | None:
    return _use(group / "pids.max", group / "pids.current")


def _use(limit_file: Path, used_file: Path, cache: int = 0) -> Use | None:
    limit, used = _text(limit_file), _text(used_file)
    if not limit.isdecimal() or int(limit) >= _UNLIMITED:  # "max", or there is no such file
        return None
    return Use(int(limit), max(int(used or 0) - cache, 0), str(limit_file))


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # told in the module's docstring
        return ""
