"""Values of this host's limits, as its files have them; nothing is judged here, and nothing written.

Sources: proc_sys_net(5), proc_sys_fs(5), proc_loadavg(5), getrlimit(2), sched_getaffinity(2).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadgen.errors import HostError
from loadgen.kernel import cgroup, host, sockstat, sysctl, tcp
from loadgen.model import PortRange

SYSCTLS: Final = (
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_autobind_reuse",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_fin_timeout",
    "net.core.somaxconn",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_syncookies",
    "net.core.netdev_max_backlog",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
    "fs.nr_open",
    "fs.file-max",
    "fs.epoll.max_user_watches",
    "kernel.threads-max",
    "kernel.pid_max",
    # what may forbid a lab to an ordinary user
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
    "user.max_user_namespaces",
    "user.max_net_namespaces",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A host at one moment.

    sysctls: by dotted name, without those that are not here. refused: those that are here and may not be read.
    files_used: open files of the whole machine. descriptors: RLIMIT_NOFILE of this process, soft and hard.
    listeners: TCP ports that are listened on. sockets: as `loadgen.kernel.sockstat` counts them.
    memory_available_bytes, cpus: those of the machine that this process may use, whatever its control group says.
    tasks: processes and threads of the whole machine.
    """

    sysctls: Mapping[str, str]
    descriptors: tuple[int, int]
    files_used: int
    memory_available_bytes: int
    cpus: int
    tasks: int
    listeners: frozenset[int] = frozenset()
    sockets: Mapping[str, int] = field(default_factory=dict)
    group: cgroup.CgroupLimits = field(default_factory=cgroup.CgroupLimits)
    refused: frozenset[str] = frozenset()
    page_bytes: int = 4096

    def number(self, name: str, missing: int = 0) -> int:
        """A setting that is one number; `missing` where it is not here."""
        return int(self.sysctls.get(name, missing))

    def numbers(self, name: str) -> tuple[int, ...]:
        """A setting that is several numbers."""
        return tuple(map(int, self.sysctls.get(name, "").split()))

    @property
    def port_range(self) -> PortRange:
        """Where automatic source ports come from."""
        low, high = self.numbers("net.ipv4.ip_local_port_range")
        return PortRange(low, high)

    @property
    def reserved_ports(self) -> frozenset[int]:
        """Ports that automatic choice leaves out, inside the range or not."""
        return frozenset(sysctl.parse_ports(self.sysctls.get("net.ipv4.ip_local_reserved_ports", "")))

    @property
    def usable_ports(self) -> int:
        """Ports of the range that automatic choice can give to one source address and destination."""
        ports = self.port_range
        return len(ports) - sum(port in ports for port in self.reserved_ports | self.listeners)


def read() -> Reading:
    """This host as it is now, in the network namespace of this process.

    Raises: HostError without a usable ip_local_port_range; OSError where /proc is not mounted.
    """
    sysctl.port_range()  # without it nothing here means anything
    sysctls, refused = read_settings(SYSCTLS)
    return Reading(
        sysctls=sysctls,
        refused=refused,
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE),
        files_used=host.file_numbers()[1],
        memory_available_bytes=host.memory_available(),
        cpus=len(os.sched_getaffinity(0)),
        tasks=parse_tasks(Path("/proc/loadavg").read_text()),
        listeners=frozenset(tcp.listeners(Path("/proc/self/net"))),
        sockets=sockstat.read(Path("/proc/self/net")),
        group=cgroup.read(),
        page_bytes=os.sysconf("SC_PAGESIZE"),
    )


def read_settings(names: Iterable[str], *, root: Path = Path("/proc/sys")) -> tuple[dict[str, str], frozenset[str]]:
    """The values of those that are here, and the names of those that may not be read."""
    values: dict[str, str] = {}
    refused = set()
    for name in names:
        try:
            value = sysctl.read(name, root=root)
        except HostError:
            refused.add(name)
        else:
            values |= {} if value is None else {name: value}
    return values, frozenset(refused)


def parse_tasks(loadavg: str) -> int:
    """How many processes and threads there are: the number after the slash of "0.20 0.18 0.12 1/80 11206".

    Raises: ValueError when there is none.
    """
    return int(loadavg.split()[3].partition("/")[2])
