"""Kernel settings under /proc/sys, by their dotted names: "net.ipv4.tcp_tw_reuse".

Most of net.* exists once per network namespace, and /proc/sys/net always shows that of the process
which opens it, not of a process named in the path: to read or set those of a lab, be inside it.

Values are text with single spaces, "32768 60999", where the kernel prints tabs.

Sources: proc_sys_net(5), ip(7), tcp(7); Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from loadgen.errors import HostError, UsageError
from loadgen.model import PortRange

_ROOT: Final = Path("/proc/sys")
_NAME: Final = re.compile(r"[A-Za-z0-9_:@-]+(\.[A-Za-z0-9_:@-]+)+")
_PORT_RANGE: Final = "net.ipv4.ip_local_port_range"
_RESERVED_PORTS: Final = "net.ipv4.ip_local_reserved_ports"

#: What a run writes down about its host, because another value can give another result.
RELEVANT: Final = (
    # which source ports there are, and who may share them
    _PORT_RANGE,
    _RESERVED_PORTS,
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_autobind_reuse",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv6.ip_nonlocal_bind",
    # how long a four-tuple stays taken
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_rfc1337",
    # how long a connect() tries
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_syn_linear_timeouts",
    # what the listening side takes
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_abort_on_overflow",
    "net.core.somaxconn",
    "net.core.netdev_max_backlog",
    # memory and tables
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_child_ehash_entries",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    # descriptors
    "fs.file-max",
    "fs.nr_open",
)


def _path(name: str, root: Path) -> Path:
    # A name may come from a scenario, so it must not lead out of the tree: no slash, no empty part,
    # and therefore no "..".
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no sysctl; give a dotted name such as net.ipv4.tcp_tw_reuse")
    return root.joinpath(*name.split("."))


def read(name: str, *, root: Path = _ROOT) -> str | None:
    """The value, whitespace normalised; None where this kernel (or namespace) has no such setting.

    Raises: HostError when it is there but cannot be read; UsageError when it is no dotted name.
    """
    path = _path(name, root)
    try:
        return " ".join(path.read_text().split())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HostError(f"cannot read sysctl {name}: {error.strerror}") from error


def write(name: str, value: str, *, root: Path = _ROOT) -> None:
    """Set a value and read it back: the kernel accepts some values and then keeps another one.

    Raises: HostError naming setting, value and reason when it is refused or comes back different;
        UsageError when the name is no dotted name.
    """
    path = _path(name, root)
    wanted = " ".join(value.split())
    try:
        # Not open(path, "w"): a missing setting must be an error in a test's directory as well.
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{wanted}\n".encode())  # a sysctl is set by one write()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HostError(f"cannot set sysctl {name} to {wanted!r}: {error.strerror}") from error
    found = read(name, root=root)
    if found is None or not _same(name, wanted, found):
        raise HostError(f"cannot set sysctl {name} to {wanted!r}: the kernel made it {found!r}")


def _same(name: str, wanted: str, found: str) -> bool:
    if wanted == found:
        return True
    if name != _RESERVED_PORTS:
        return False
    try:
        return parse_ports(wanted) == parse_ports(found)  # the kernel sorts and joins: 8081,8080 is 8080-8081
    except ValueError:
        return False


def read_all(names: Iterable[str] = RELEVANT, *, root: Path = _ROOT) -> dict[str, str]:
    """The values of all these settings, in their order, without those that are absent here.

    Raises: HostError, UsageError as `read`.
    """
    values = ((name, read(name, root=root)) for name in names)
    return {name: value for name, value in values if value is not None}


def port_range(*, root: Path = _ROOT) -> PortRange:
    """Where the kernel takes automatic source ports from, ip_local_port_range (IPv6 uses it too).

    Raises: HostError when it is absent or makes no range of ports.
    """
    text = read(_PORT_RANGE, root=root)
    try:
        low, high = (text or "").split()
        return PortRange(int(low), int(high))
    except ValueError as error:
        raise HostError(f"sysctl {_PORT_RANGE} is {text!r}, which is no range of ports") from error


def reserved_ports(*, root: Path = _ROOT) -> tuple[int, ...]:
    """The ports that automatic choice leaves out, rising; an explicit bind() may still take them.

    Raises: HostError when the setting is no list of ports; without the setting there are none.
    """
    text = read(_RESERVED_PORTS, root=root)
    try:
        return parse_ports(text or "")
    except ValueError as error:
        raise HostError(f"sysctl {_RESERVED_PORTS}: {error}") from error


def parse_ports(text: str) -> tuple[int, ...]:
    """The ports in a list such as "8080,9000-9010", rising and each once; none in an empty text.

    Raises: ValueError quoting the part that is no port from 0 to 65535 and no range of them.
    """
    ports: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        first, dash, last = part.strip().partition("-")
        if not all(bound.isascii() and bound.isdecimal() for bound in ((first, last) if dash else (first,))):
            raise ValueError(f"{part!r} is neither a port nor a range of ports")
        low, high = int(first), int(last or first)
        if not low <= high <= 65535:
            raise ValueError(f"{part!r} is neither a port nor a range of ports")
        ports.update(range(low, high + 1))
    return tuple(sorted(ports))
