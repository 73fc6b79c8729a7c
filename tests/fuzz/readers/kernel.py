"""Readers of what the kernel says: netlink messages, and files of /proc and /sys."""

from __future__ import annotations

import socket
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from loadgen.errors import HostError
from loadgen.kernel import (
    cgroup,
    core_stats,
    groups,
    limits,
    missing,
    netlink,
    port_holders,
    route,
    snmp,
    snmp6,
    sockdiag,
    sockstat,
    softnet,
    sysctl,
    sysctl_conf,
    tcp,
)
from tests.fuzz.reader import Reader

_DATA: Final = Path(__file__).parents[2] / "data"
#: Sequence number of the captured answers of sock_diag(7).
_SEQUENCE: Final = 0x5D1A6000


def _captured(*patterns: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [file.read_bytes() for pattern in patterns for file in sorted(_DATA.glob(pattern))]


def _of_text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    # Files of /proc are opened as text, and so is a byte that is not UTF-8 a UnicodeDecodeError, a ValueError.
    return lambda data: parse(data.decode())


def _sockdiag(data: bytes) -> object:
    part = sockdiag.parse(data, _SEQUENCE)
    with_attributes = sockdiag.parse(data, _SEQUENCE, attributes=True)
    assert (part.sockets == with_attributes.sockets).all()
    assert len(with_attributes.attributes) == part.sockets.size
    # What is read is used: by a plan, by `watch`, and where a port is held.
    sockdiag.count_states(part.sockets)
    found = groups.group(groups.outbound(part.sockets))
    assert sum(one.in_use + one.time_wait for one in found) <= part.sockets.size
    groups.sources(part.sockets)
    groups.destinations(part.sockets)
    port_holders.sorted_out(part.sockets, "::")
    list(limits.grouped(part.sockets, ["127.0.0.1", "::1"]))
    list(limits.by_address(part.sockets, [False] * part.sockets.size))
    return part


def _route_seeds() -> Sequence[bytes]:
    body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 254, 0, 0, 2, 0)
    attributes = netlink.attribute(1, bytes((127, 0, 0, 1))) + netlink.attribute(4, struct.pack("=I", 1))
    attributes += netlink.attribute(7, bytes((127, 0, 0, 1))) + netlink.attribute(5, bytes(4))
    six = struct.pack("=8BI", socket.AF_INET6, 128, 0, 0, 254, 0, 0, 1, 0) + netlink.attribute(5, bytes(16))
    refused = struct.pack("=i", -113) + netlink.message(26, 1, b"")
    return [netlink.message(24, 0, body + attributes), netlink.message(24, 0, six), netlink.message(2, 0, refused)]


def _route(data: bytes) -> object:
    found = route.parse(data)
    assert route.is_local(data) == (found.kind == "local")
    return found


def _address_seeds() -> Sequence[bytes]:
    one = struct.pack("=4BI", socket.AF_INET, 8, 0x80, 254, 1)
    one += netlink.attribute(1, bytes((127, 0, 0, 1))) + netlink.attribute(2, bytes((127, 0, 0, 1)))
    one += netlink.attribute(8, struct.pack("=I", 0x80))
    message = netlink.message(20, 2, one)
    return [message, message * 3 + netlink.message(3, 2, bytes(4))]


def _addresses(data: bytes) -> object:
    return [missing.parse(payload) for kind, payload in missing.messages(data) if kind == 20]


def _attributes(data: bytes) -> object:
    return netlink.attributes(data, 0, len(data))


def _in_files(names: Sequence[str], read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a reader of a directory with these files, all with the same content, or parts of it split at NULs."""

    def read_all(data: bytes) -> object:
        parts = data.split(b"\0")
        with tempfile.TemporaryDirectory() as root:
            for number, name in enumerate(names):
                file = Path(root, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(parts[number % len(parts)])
            return read(Path(root))

    return read_all


def _cgroups(data: bytes) -> object:
    text = data.decode()
    return list(cgroup.parse_groups(text)), list(cgroup.parse_mounts(text))


_V2: Final = "sys/fs/cgroup/"
_CGROUP_FILES: Final = (
    "proc/self/cgroup",
    "proc/self/mountinfo",
    *(_V2 + name for name in ("memory.max", "memory.high", "memory.current", "memory.stat", "cpu.max", "pids.max")),
    _V2 + "pids.current",
    "v1/cpu.cfs_quota_us",
    "v1/cpu.cfs_period_us",
)


def _cgroup_seeds() -> Sequence[bytes]:
    mounts = (
        b"29 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
        b"30 24 0:27 / /v1 rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    )
    values = (b"max", b"max", b"1000000", b"anon 1\ninactive_file 4096", b"150000 100000", b"max", b"12")
    return [
        b"\0".join((b"0::/\n4:cpu,cpuacct:/\n", mounts, *values, b"-1", b"100000")),
        b"\0".join((b"0::/a/b", mounts, b"1000", b"2000", b"1000", b"", b"max 100000", b"33", b"12", b"5000", b"1")),
    ]


def _settings(root: Path) -> object:
    return (
        sysctl.read("net.ipv4.tcp_tw_reuse", root=root),
        sysctl.port_range(root=root),
        sysctl.reserved_ports(root=root),
    )


_SYSCTL_FILES: Final = (
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_local_reserved_ports",
    "net/ipv4/tcp_tw_reuse",
)

READERS: Final = (
    Reader("sock_diag", _sockdiag, _captured("netlink/*/*.bin"), (ValueError,)),
    Reader("route", _route, _route_seeds, (ValueError,)),
    Reader("addresses", _addresses, _address_seeds, (ValueError,)),
    Reader(
        "attributes", _attributes, lambda: [b"".join(_route_seeds())[28:], netlink.attribute(1, b"abc")], (ValueError,)
    ),
    Reader("snmp", _of_text(snmp.parse), _captured("proc/*/net/snmp", "proc/*/net/netstat"), (ValueError,)),
    Reader("snmp6", _of_text(snmp6.parse), _captured("proc/*/net/snmp6"), (ValueError,)),
    Reader("sockstat", _of_text(sockstat.parse), _captured("proc/*/net/sockstat*"), (ValueError,)),
    Reader("softnet_stat", _of_text(softnet.parse), _captured("proc/*/net/softnet_stat"), (ValueError,)),
    Reader("core statistics", _of_text(core_stats.parse), _captured("proc/*/net/stat/*"), (ValueError,)),
    Reader("proc net tcp", _of_text(tcp.parse), _captured("proc/*/net/tcp"), (ValueError,)),
    Reader(
        "cgroup texts",
        _cgroups,
        _captured("cgroup/*/proc/self/*"),
        (ValueError,),
    ),
    Reader("cgroup", _in_files(_CGROUP_FILES, cgroup.read), _cgroup_seeds, tries=50),
    Reader(
        "sysctls",
        _in_files(_SYSCTL_FILES, _settings),
        lambda: [b"32768\t60999\n\x008080,9000-9010\n\x001\n", b"1024 65535\0\x002"],
        (HostError,),
        tries=100,
    ),
    Reader(
        "ports",
        _of_text(lambda text: sysctl.parse_ports(sysctl.ports_text(sysctl.parse_ports(text)))),
        lambda: [b"8080,9000-9010", b"22", b""],
        (ValueError,),
    ),
    Reader(
        "sysctl.conf",
        _in_files(("etc/sysctl.conf", "etc/sysctl.d/a.conf", "run/sysctl.d/a.conf"), sysctl_conf.read),
        lambda: [b"# a\nnet.ipv4.tcp_tw_reuse = 1\n; b\n-net/ipv4/x=2\n\x00a=1\nb"],
        tries=80,
    ),
)
