"""What this host has: the facts that a plan is made of, read where the load will run.

Run inside the lab (by the zygote), so that the settings are those of the lab's namespace and a
source address is judged by whether it can be bound there.
"""

from __future__ import annotations

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
from itertools import islice
from pathlib import Path
from typing import Any, Final

from loadgen.errors import HostError
from loadgen.kernel import sysctl, tcp
from loadgen.model import Endpoint, PortRange
from loadgen.sourceports import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE

_LIBRARIES: Final = ("numpy", "uvloop")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the plan's arithmetic needs to know.

    descriptors: RLIMIT_NOFILE, hard. files_free: fs.file-max less what all processes have open.
    listeners: TCP ports that somebody listens on. missing_sources: asked for, on no interface here.
    default_sources: for each target, the source address that connect() alone would use.
    late_bind, port_range_option: whether the kernel has IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE.
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

    def to_json(self) -> dict[str, Any]:
        """Plain values for host.json, with the versions of what measured."""
        return {
            **asdict(self),
            "cpu_model": _cpu_model(),
            "python": sys.version.split()[0],
            "loadgen": version("loadgen"),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "clock_resolution_ns": _clock_resolution_ns(),
        }


def read(sources: Sequence[str], targets: Sequence[Endpoint]) -> HostFacts:
    """The facts of the namespace this process lives in."""
    file_max, files_used = _file_numbers()
    return HostFacts(
        kernel=platform.release(),
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        memory_available_bytes=_memory_available(),
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        files_free=file_max - files_used,
        port_range=sysctl.port_range(),
        reserved_ports=sysctl.reserved_ports(),
        unprivileged_port_start=int(sysctl.read("net.ipv4.ip_unprivileged_port_start") or 1024),
        privileged=os.geteuid() == 0,
        listeners=tuple(sorted(tcp.listeners(Path("/proc/self/net")))),
        missing_sources=tuple(islice((source for source in sources if not _can_bind(source)), _MISSING_MAX)),
        default_sources=tuple(_default_source(target) for target in targets),
        late_bind=_has_option(IP_BIND_ADDRESS_NO_PORT, 1),
        port_range_option=_has_option(IP_LOCAL_PORT_RANGE, 0),
        sysctls=sysctl.read_all(sysctl.RELEVANT),
    )


def interface_addresses(names: Sequence[str]) -> tuple[str, ...]:
    """The IPv4 and global IPv6 addresses of these interfaces, in the order the kernel lists them.

    Raises: HostError for a name that is no interface here, or one without an address.
    """
    from pyroute2 import IPRoute  # a third of a second to import, and only needed here

    found: list[str] = []
    with IPRoute() as route:
        for name in names:
            indexes = route.link_lookup(ifname=name)
            if not indexes:
                raise HostError(f"there is no interface {name!r} here; `ip link` lists those that are")
            addresses = [
                message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                for message in route.get_addr(index=indexes[0])
                if message["scope"] != _SCOPE_LINK
            ]
            if not addresses:
                raise HostError(f"interface {name!r} has no address; ip address add ADDRESS dev {name}")
            found += addresses
    return tuple(found)


#: rtnetlink(7), RT_SCOPE_LINK: fe80:: addresses, which mean nothing without their interface.
_SCOPE_LINK: Final = 253
#: Enough to name in a message; a plan with 65,536 absent addresses is not worth a longer list.
_MISSING_MAX: Final = 100


def _can_bind(address: str) -> bool:
    sock = _socket(address, socket.SOCK_STREAM)
    if sock is None:
        return False
    with sock:
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)  # the address is asked about, no port
        try:
            sock.bind((address, 0))
        except OSError as error:
            if error.errno == EADDRNOTAVAIL:
                return False
            raise
    return True


def _default_source(target: Endpoint) -> str:
    """The source address of the route to a target; "" without a route. connect() on UDP sends nothing."""
    sock = _socket(target.address, socket.SOCK_DGRAM)
    if sock is None:
        return ""
    with sock:
        if sock.connect_ex((target.address, target.port or 9)):
            return ""
        return str(sock.getsockname()[0])


def _socket(address: str, kind: int) -> socket.socket | None:
    """A socket of the address's family; None where this kernel has no such family (IPv6 switched off)."""
    try:
        return socket.socket(Endpoint(address, 0).family, kind)
    except OSError as error:
        if error.errno == EAFNOSUPPORT:
            return None
        raise


def _has_option(option: int, value: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.SOL_IP, option, value)
        except OSError as error:
            if error.errno == ENOPROTOOPT:
                return False
            raise
    return True


def _file_numbers() -> tuple[int, int]:
    """fs.file-max and what is open now; the first column of file-nr (proc_sys_fs(5))."""
    used, _, maximum = Path("/proc/sys/fs/file-nr").read_text().split()
    return int(maximum), int(used)


def _memory_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _clock_resolution_ns() -> int:
    return round(time.get_clock_info("monotonic").resolution * 1e9)
