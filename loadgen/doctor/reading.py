"""Values of this host's limits, as its files have them; nothing is judged here, and nothing written.

Sources: proc_sys_net(5), proc_sys_fs(5), proc_loadavg(5), getrlimit(2), sched_getaffinity(2).
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from loadgen.errors import HostError
from loadgen.kernel import (
    cgroup,
    conntrack,
    devices,
    host,
    procfs,
    sockdiag,
    sockstat,
    sysctl,
    sysctl_conf,
    sysctl_names,
    tcp,
)
from loadgen.kernel.devices import vrf_of
from loadgen.kernel.sysctl_conf import SysctlLine
from loadgen.model import PortRange

SYSCTLS: Final = (
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_autobind_reuse",
    "net.ipv4.ip_local_port_step_width",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_syn_linear_timeouts",
    "net.ipv4.tcp_rto_max_ms",
    "net.ipv4.tcp_ecn",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_child_ehash_entries",
    "net.ipv4.tcp_tw_recycle",
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
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_close",
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
    listeners: TCP ports that are listened on, over IPv4 or IPv6. connected: TCP ports that were asked for and that a
    connection has. udp_ports: of UDP sockets without a peer. files: lines of sysctl.conf(5) and sysctl.d(5).
    sockets: as `loadgen.kernel.sockstat` counts them. tracked: whether connections of this namespace are tracked; None:
    not known. gone: names in `files` that this kernel lacks because it is too new, each with what to know about it.
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
    connected: frozenset[int] = frozenset()
    udp_ports: frozenset[int] = frozenset()
    files: tuple[SysctlLine, ...] = ()
    tracked: bool | None = False
    gone: Mapping[str, str] = field(default_factory=dict)
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

    def with_sysctl(self, name: str, value: str) -> Reading:
        """Return the same host with another value of a setting."""
        return replace(self, sysctls={**self.sysctls, name: value})

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
    def tracks(self) -> bool | None:
        """True if connections are tracked here: there are entries, or rules that would make them; None: not known."""
        return True if self.number("net.netfilter.nf_conntrack_count") else self.tracked

    @property
    def usual_tw_buckets(self) -> int:
        """The default of tcp_max_tw_buckets, half of the entries of the table of connections; 0: unknown.

        Source: tcp_sk_init(), net/ipv4/tcp_ipv4.c. tcp_ehash_entries is negative where the table is the host's.
        """
        return abs(self.number("net.ipv4.tcp_ehash_entries")) // 2

    @property
    def taken_ports(self) -> frozenset[int]:
        """Ports that automatic choice leaves out, reserved or with a listener, inside the range or not."""
        return self.reserved_ports | self.listeners

    @property
    def usable_ports(self) -> int:
        """Ports of the range that automatic choice can give to one source address and destination."""
        ports = self.port_range
        return len(ports) - sum(port in ports for port in self.taken_ports)


def read(services: Iterable[int] = ()) -> Reading:
    """This host as it is now, in the network namespace of this process.

    services: TCP ports of which it matters whether a connection has them.

    Raises: HostError without a usable ip_local_port_range, or where /proc does not show the host.
    """
    sysctl.port_range()  # without it nothing here means anything
    sysctls, refused = read_settings(SYSCTLS)
    files = sysctl_conf.read()
    return Reading(
        sysctls=sysctls,
        refused=refused,
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE),
        files_used=host.file_numbers()[1],
        memory_available_bytes=host.memory_available(),
        cpus=len(os.sched_getaffinity(0)),
        tasks=parse_tasks(procfs.read(Path("/proc/loadavg"))),
        listeners=frozenset(tcp.listeners(Path("/proc/self/net"))) - _of_vrfs(),
        connected=frozenset(port for port in services if _is_connected(port)),
        udp_ports=_udp_ports(),
        files=files,
        tracked=conntrack.tracks((socket.AF_INET,)),
        gone=_gone(files),
        sockets=sockstat.read(Path("/proc/self/net")),
        group=cgroup.read(),
        page_bytes=os.sysconf("SC_PAGESIZE"),
    )


def _gone(files: Iterable[SysctlLine]) -> dict[str, str]:
    """Return the names that Linux no longer has, each with the version and what to use."""
    named = {line.name: sysctl_names.gone(line.name) for line in files}
    return {name: why for name, why in named.items() if why and not read_settings((name,))[0]}


def _is_connected(port: int) -> bool:
    """Return True if a TCP socket has the port and does not listen, one in TIME-WAIT too. Raises: HostError."""
    with sockdiag.Reader() as reader:
        return bool(reader.dump(sockdiag.TUPLES, source_port=port).sockets.size)


def _of_vrfs() -> frozenset[int]:
    """Return the ports that are listened on in VRFs alone; empty where the kernel does not list such sockets.

    Such a listener takes no port from connections without a device: see `loadgen.kernel.devices`.
    """
    try:
        with sockdiag.Reader() as reader:
            sockets = reader.dump(sockdiag.mask(sockdiag.TcpState.LISTEN)).sockets
        table = devices.read() if sockets["interface"].any() else {}
    except HostError:
        return frozenset()
    inside = [bool(vrf_of(index, table)) for index in sockets["interface"].tolist()]
    ports = list(zip(sockets["source_port"].tolist(), inside, strict=True))
    return frozenset(port for port, vrf in ports if vrf) - frozenset(port for port, vrf in ports if not vrf)


def _udp_ports() -> frozenset[int]:
    """Return the ports of UDP sockets without a peer; empty where the kernel does not list them."""
    try:
        with sockdiag.Reader() as reader:
            sockets = reader.dump(sockdiag.mask(sockdiag.TcpState.CLOSE), protocol=socket.IPPROTO_UDP).sockets
    except HostError:
        return frozenset()
    return frozenset(sockets["source_port"].tolist())


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
