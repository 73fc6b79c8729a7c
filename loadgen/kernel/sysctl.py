"""Kernel settings under /proc/sys, by their dotted names: "net.ipv4.tcp_tw_reuse".

Most of net.* exists once per network namespace, and /proc/sys/net always shows the namespace of the process that opens
a file, even through another process's root: to read or set the settings of a lab, be inside it.

Values are text with single spaces, "32768 60999", where the kernel prints tabs.

Sources: proc_sys_net(5), ip(7), tcp(7); Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from errno import ENOENT
from pathlib import Path
from typing import Final

from loadgen.errors import HostError, KernelLacksError, UsageError
from loadgen.kernel import procfs, sysctl_names
from loadgen.model import PortRange

_ROOT: Final = Path("/proc/sys")
_NAME: Final = re.compile(r"[A-Za-z0-9_:@-]+(\.[A-Za-z0-9_:@-]+)+")
_PORT_RANGE: Final = "net.ipv4.ip_local_port_range"
_RESERVED_PORTS: Final = "net.ipv4.ip_local_reserved_ports"

#: Settings recorded with every run, because they can change its result.
RELEVANT: Final = (
    # source ports, and sharing of them
    _PORT_RANGE,
    _RESERVED_PORTS,
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_autobind_reuse",
    "net.ipv4.ip_local_port_step_width",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv6.ip_nonlocal_bind",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.lo.disable_ipv6",
    # how long a four-tuple stays in use
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_rfc1337",
    # how long connect() tries
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_rto_max_ms",
    "net.ipv4.tcp_syn_linear_timeouts",
    "net.ipv4.tcp_ecn",
    # the listening side
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
    "net.ipv6.neigh.default.gc_thresh3",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
    # how long connection tracking remembers a connection, by its last state
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_last_ack",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_close",
    "net.netfilter.nf_conntrack_udp_timeout",
    # descriptors
    "fs.file-max",
    "fs.nr_open",
    "fs.epoll.max_user_watches",
)


def _path(name: str, root: Path) -> Path:
    # A name may come from a scenario, so it must not lead out of the tree: it has no slash and no empty part, and
    # therefore no "..".
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a sysctl; give a dotted name such as net.ipv4.tcp_tw_reuse")
    return root.joinpath(*name.split("."))


def read(name: str, *, root: Path = _ROOT) -> str | None:
    """Return the value with single spaces; None if this kernel (or namespace) lacks the setting.

    Raises: HostError if it exists but cannot be read; UsageError if the name is not a dotted name.
    """
    path = _path(name, root)
    try:
        return " ".join(path.read_text(errors="backslashreplace").split())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HostError(f"cannot read sysctl {name}: {error.strerror}") from error


def is_writable(name: str, *, root: Path = _ROOT) -> bool:
    """Return True for a setting that exists and that its file's mode lets be changed.

    Raises: UsageError if the name is not a dotted name.
    """
    try:
        return bool(_path(name, root).stat().st_mode & stat.S_IWUSR)
    except OSError:
        return False


def write(name: str, value: str, *, root: Path = _ROOT, elsewhere: bool = False) -> None:
    """Set a value and read it back: the kernel accepts some values and then keeps a different one.

    A setting that cannot be written, and has the value already, is as it should be.

    elsewhere: the setting can be written outside of this namespace, which explains a refusal here.

    Raises: HostError naming setting, value, reason and remedy if the kernel refuses or changes it, KernelLacksError
        where a later kernel would not; UsageError if the name is not a dotted name.
    """
    path = _path(name, root)
    wanted = " ".join(value.split())
    try:
        # Not open(path, "w"), which would create a missing setting in the directory of a test.
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{wanted}\n".encode())  # a sysctl is set by a single write()
        finally:
            os.close(descriptor)
    except OSError as error:
        if _holds(name, wanted, root):  # in most containers nothing can be written, and often nothing needs to be
            return
        if error.errno == ENOENT and (nothing := procfs.absence()) and root == _ROOT:
            raise HostError(f"cannot set sysctl {name} to {wanted!r}: {nothing}") from error
        number = error.errno or 0
        why = sysctl_names.explained(name, wanted, number, elsewhere=elsewhere)
        kind = KernelLacksError if sysctl_names.too_new(name, wanted, number) else HostError
        raise kind(f"cannot set sysctl {name} to {wanted!r}: {why or error.strerror}") from error
    actual = read(name, root=root)
    if actual is None or not _same(name, wanted, actual):
        raise HostError(f"cannot set sysctl {name} to {wanted!r}: the kernel made it {actual!r}")


def _holds(name: str, wanted: str, root: Path) -> bool:
    try:
        actual = read(name, root=root)
    except HostError:
        return False
    return actual is not None and _same(name, wanted, actual)


def _same(name: str, wanted: str, actual: str) -> bool:
    if wanted == actual:
        return True
    if name != _RESERVED_PORTS:
        return False
    try:
        return parse_ports(wanted) == parse_ports(actual)  # the kernel sorts and joins: 8081,8080 is 8080-8081
    except ValueError:
        return False


def read_all(names: Iterable[str] = RELEVANT, *, root: Path = _ROOT) -> dict[str, str]:
    """Return the values of these settings, in their order, without those that do not exist here.

    Raises: HostError, UsageError, see `read`.
    """
    values = ((name, read(name, root=root)) for name in names)
    return {name: value for name, value in values if value is not None}


def of_host(*, root: Path = _ROOT) -> dict[str, str]:
    """Return the relevant settings that exist once per host, which the initial network namespace alone shows in full.

    Raises: HostError, see `read`.
    """
    return read_all(filter(sysctl_names.is_host_wide, RELEVANT), root=root)


def port_range(*, root: Path = _ROOT) -> PortRange:
    """Return the range of automatic source ports, ip_local_port_range (used for IPv6 too).

    Raises: HostError if the setting is absent or not a port range.
    """
    text = read(_PORT_RANGE, root=root)
    try:
        low, high = (text or "").split()
        return PortRange(int(low), int(high))
    except ValueError as error:
        if text is None:
            raise HostError(procfs.absence() or f"this kernel has no sysctl {_PORT_RANGE}") from error
        raise HostError(f"sysctl {_PORT_RANGE} is {text!r}, which is not a port range") from error


def reserved_ports(*, root: Path = _ROOT) -> tuple[int, ...]:
    """Return the ports that automatic choice skips, in rising order; an explicit bind() may still use them.

    Raises: HostError if the setting is not a list of ports; without the setting the result is empty.
    """
    text = read(_RESERVED_PORTS, root=root)
    try:
        return parse_ports(text or "")
    except ValueError as error:
        raise HostError(f"sysctl {_RESERVED_PORTS}: {error}") from error


def parse_ports(text: str) -> tuple[int, ...]:
    """Return the ports of a list such as "8080,9000-9010", rising and without duplicates.

    Raises: ValueError quoting the part that is neither a port (0 to 65535) nor a range.
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


def ports_text(ports: Iterable[int]) -> str:
    """Return ports as a list that `parse_ports` and ip_local_reserved_ports take: 22,8080-8082."""
    runs: list[list[int]] = []
    for port in sorted(set(ports)):
        if runs and port == runs[-1][1] + 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
