"""Facts about this host that a plan depends on, read where the load will run.

Runs inside the lab (in the zygote), so the settings are those of the lab's namespace, and a source address counts as
present if it can be bound there.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from errno import EADDRNOTAVAIL, EAFNOSUPPORT, ENOPROTOOPT
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from loadgen.errors import HostError
from loadgen.kernel import cgroup, conntrack, missing, neighbours, procfs, route, sockdiag, sysctl, tcp
from loadgen.kernel.missing import Missing
from loadgen.model import Endpoint, PortRange, Transport
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE

_LIBRARIES: Final = ("numpy", "uvloop")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts for the arithmetic of a plan.

    cpus, memory_available_bytes: of the machine or of the control group (`loadgen.kernel.cgroup`), whichever is less.
    descriptors: RLIMIT_NOFILE, hard. files_free: fs.file-max less the open files of all processes.
    listeners: TCP ports with a listener. missing_sources: requested source addresses that cannot be bound here, or
    with IP_FREEBIND are not routed to this host; at most `LISTED_MAX` of `missing_count`. missing_because: why, for
    each of those listed.
    datagram_ports: UDP ports in use on any address; read only for UDP.
    default_sources: for each target, the source address that connect() alone would use.
    no_io_uring: the reason why io_uring cannot be used; empty if it can, or was not requested.
    tracks_connections: True if connection tracking of this namespace has rules to track for; None: not known.
    tracking_counters: True if the kernel shows what its table dropped (CONFIG_NF_CONNTRACK_PROCFS).
    next_hops: for each target, the neighbour whose hardware address is resolved to reach it, itself or a gateway; ""
    for none. sources_on_link: True if loadgen's own sinks are on one link with the sources, and resolve each of them.
    late_bind, port_range_option: True if the kernel has IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE.
    """

    kernel: str
    machine: str
    cpus: int
    memory_available_bytes: int
    descriptors: int
    files_free: int
    port_range: PortRange
    reserved_ports: tuple[int, ...]
    unprivileged_port_start: int
    privileged: bool
    listeners: tuple[int, ...]
    missing_sources: tuple[str, ...]
    default_sources: tuple[str, ...]
    late_bind: bool
    port_range_option: bool
    sysctls: dict[str, str]
    datagram_ports: tuple[int, ...] = ()
    no_io_uring: str = ""
    missing_because: tuple[Missing, ...] = ()
    missing_count: int = 0
    tracks_connections: bool | None = None
    tracking_counters: bool = False
    next_hops: tuple[str, ...] = ()
    sources_on_link: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for host.json, with the versions of Python, loadgen and libraries."""
        return {
            **asdict(self),
            "cpu_model": _cpu_model(),
            "python": sys.version.split()[0],
            "loadgen": version("loadgen"),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "clock_resolution_ns": _clock_resolution_ns(),
        }


def read(
    sources: Sequence[str],
    targets: Sequence[Endpoint],
    transport: Transport = Transport.TCP,
    freebind: bool = False,
) -> HostFacts:
    """Read the facts of the current namespace that matter to this transport.

    freebind: a source address needs a local route only, no interface.

    Raises: HostError if the kernel does not report a fact, and for a zone (fe80::1%eth0) that is no interface here.
    """
    _require_zones([*sources, *(target.address for target in targets)])
    file_max, files_used = file_numbers()
    group = cgroup.read()
    missing_sources = _missing(sources, freebind=freebind)
    missing_because = missing.reasons(missing_sources[:LISTED_MAX], freebind=freebind)
    appeared = len(missing_sources[:LISTED_MAX]) - len(missing_because)  # between the two looks
    return HostFacts(
        kernel=platform.release(),
        machine=platform.machine(),
        cpus=_cpus(len(os.sched_getaffinity(0)), group),
        memory_available_bytes=_memory(memory_available(), group),
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        files_free=file_max - files_used,
        port_range=sysctl.port_range(),
        reserved_ports=sysctl.reserved_ports(),
        unprivileged_port_start=int(sysctl.read("net.ipv4.ip_unprivileged_port_start") or 1024),
        privileged=os.geteuid() == 0,
        listeners=tuple(sorted(tcp.listeners(Path("/proc/self/net")))),
        missing_sources=tuple(source.address for source in missing_because),
        default_sources=tuple(_default_source(target) for target in targets),
        late_bind=has_option(IP_BIND_ADDRESS_NO_PORT, 1),
        port_range_option=has_option(IP_LOCAL_PORT_RANGE, 0),
        tracking_counters=bool(conntrack.read(Path("/proc/self/net"))),
        sysctls=sysctl.read_all(sysctl.RELEVANT),
        datagram_ports=_datagram_ports() if transport is Transport.UDP else (),
        missing_because=missing_because,
        missing_count=len(missing_sources) - appeared,
        next_hops=neighbours.next_hops([target.address for target in targets]),
    )


def _datagram_ports() -> tuple[int, ...]:
    """Return all UDP ports in use, by sock_diag(7), which lists the unconnected sockets of every user as well."""
    with sockdiag.Reader() as reader:
        sockets = reader.dump(protocol=socket.IPPROTO_UDP).sockets
    return tuple(sorted({int(port) for port in sockets["source_port"]}))


def interface_addresses(names: Sequence[str]) -> tuple[str, ...]:
    """Return the IPv4 and global IPv6 addresses of these interfaces, in the order the kernel lists them.

    Raises: HostError for a name that is no interface here, or an interface without an address.
    """
    from pyroute2 import IPRoute  # takes a third of a second to import, and is needed only here

    addresses: list[str] = []
    with IPRoute() as netlink:
        for name in names:
            indexes = netlink.link_lookup(ifname=name)
            if not indexes:
                raise HostError(f"there is no interface {name!r} here; `ip link` lists those that are")
            addresses_of_name = [
                message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                for message in netlink.get_addr(index=indexes[0])
                if message["scope"] != _SCOPE_LINK
            ]
            if not addresses_of_name:
                raise HostError(f"interface {name!r} has no address; ip address add ADDRESS dev {name}")
            addresses += addresses_of_name
    return tuple(addresses)


#: rtnetlink(7), RT_SCOPE_LINK: fe80:: addresses, which mean nothing without their interface.
_SCOPE_LINK: Final = 253
#: Most missing addresses that are listed and explained, of a plan with up to 65,536 of them.
LISTED_MAX: Final = 100


def _require_zones(addresses: Sequence[str]) -> None:
    present = {name for _, name in socket.if_nameindex()}
    for address in addresses:
        zone = address.partition("%")[2]
        if zone and zone not in present:
            raise HostError(f"there is no interface {zone!r} here, as in {address}; `ip link` lists those that are")


def _missing(sources: Sequence[str], *, freebind: bool) -> list[str]:
    return list(route.not_local(sources)) if freebind else [source for source in sources if not can_bind(source)]


def can_bind(address: str) -> bool:
    """Return True if a socket of this namespace can be bound to the address; no port is taken."""
    sock = _socket(address, socket.SOCK_STREAM)
    if sock is None:
        return False
    with sock:
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)  # test the address without taking a port
        try:
            sock.bind(Endpoint(address, 0).sockaddr)
        except OSError as error:
            if error.errno == EADDRNOTAVAIL:
                return False
            raise
    return True


def _default_source(target: Endpoint) -> str:
    """Return the source address of the route to a target; "" without a route. connect() on UDP sends no packet."""
    sock = _socket(target.address, socket.SOCK_DGRAM)
    if sock is None:
        return ""
    with sock:
        if sock.connect_ex(Endpoint(target.address, target.port or 9).sockaddr):
            return ""
        address, _, *scope = sock.getsockname()
        zone = f"%{socket.if_indextoname(scope[1])}" if scope and scope[1] else ""
        return f"{address}{zone}"


def _socket(address: str, kind: int) -> socket.socket | None:
    """Open a socket of the address's family; return None if this kernel lacks the family (IPv6 switched off)."""
    try:
        return socket.socket(Endpoint(address, 0).family, kind)
    except OSError as error:
        if error.errno == EAFNOSUPPORT:
            return None
        raise


def has_option(option: int, value: int) -> bool:
    """Return True if this kernel has this option of SOL_IP, by setting it on a temporary socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.SOL_IP, option, value)
        except OSError as error:
            if error.errno == ENOPROTOOPT:
                return False
            raise
    return True


def file_numbers() -> tuple[int, int]:
    """Return fs.file-max and the number of open files; file-nr in proc_sys_fs(5). Raises: HostError."""
    used, _, maximum = procfs.read(Path("/proc/sys/fs/file-nr")).split()
    return int(maximum), int(used)


def memory_available() -> int:
    """Return the bytes of memory that programs can use without swapping; proc_meminfo(5), MemAvailable.

    Raises: HostError.
    """
    for line in procfs.read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _memory(available: int, group: cgroup.CgroupLimits) -> int:
    return min(available, group.memory.free) if group.memory else available


def _cpus(allowed: int, group: cgroup.CgroupLimits) -> int:
    """Return the number of usable cores; a fraction of a core counts as one: 1.5 as 2, 0.2 as 1."""
    return min(allowed, math.ceil(group.cpu.cpus)) if group.cpu else allowed


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _clock_resolution_ns() -> int:
    return round(time.get_clock_info("monotonic").resolution * 1e9)
