"""The counters of connection tracking, of a namespace that need not be one's own, through a descriptor.

/proc/net/stat/nf_conntrack has them where the kernel is built with CONFIG_NF_CONNTRACK_PROCFS; once open, the file
stays with its namespace. Elsewhere ctnetlink answers for the namespace that its socket was made in, as `conntrack -S`
asks it. In both, a line or a message for each core.

Sources: ct_cpu_seq_show() in net/netfilter/nf_conntrack_standalone.c; ctnetlink_ct_stat_cpu_fill_info() in
net/netfilter/nf_conntrack_netlink.c; linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import Final

from loadgen.kernel import core_stats, netlink

#: Counters of a gateway that translates; they never decrease. insert_failed: entries whose translated ports another
#: entry had; drop: packets dropped for that or for want of room; early_drop: unanswered entries that were evicted;
#: found: translated ports that were tried and taken; invalid: packets of no connection; search_restart: searches that
#: the table moved under; clash_resolve: two packets that made one entry.
COUNTERS: Final = ("insert_failed", "drop", "early_drop", "found", "invalid", "search_restart", "clash_resolve")
#: Names in /proc, where they are others.
_IN_PROC: Final = {"clash_resolve": "clashres"}
#: enum ctattr_stats_cpu.
_CTA_STATS: Final = {
    "found": 2,
    "invalid": 4,
    "insert_failed": 9,
    "drop": 10,
    "early_drop": 11,
    "search_restart": 13,
    "clash_resolve": 14,
}
_NETLINK_NETFILTER: Final = 12
#: NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS_CPU.
_GET_STATS: Final = 0x0104
#: struct nfgenmsg.
_FAMILY_BYTES: Final = 4
_TIMEOUT_S: Final = 2.0
_BUFFER_BYTES: Final = 65_536
_FILE: Final = Path("/proc/self/net/stat/nf_conntrack")


def open_file(path: Path = _FILE) -> int | None:
    """Open the counters of the current namespace in /proc; None if this kernel has no such file. Raises: OSError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def open_socket() -> int:
    """Open a socket that asks ctnetlink about the current namespace. Raises: OSError."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER).detach()


def read_file(fd: int) -> dict[str, int]:
    """Return `COUNTERS` from a descriptor of `open_file`, those that the kernel has. Raises: OSError, ValueError."""
    return counters_of(core_stats.parse(os.pread(fd, _BUFFER_BYTES, 0).decode()))


def counters_of(parsed: dict[str, int]) -> dict[str, int]:
    """Return `COUNTERS` among those of the file, by their names here."""
    named = {name: _IN_PROC.get(name, name) for name in COUNTERS}
    return {name: parsed[column] for name, column in named.items() if column in parsed}


def read_socket(fd: int) -> dict[str, int]:
    """Return `COUNTERS` from a descriptor of `open_socket`. Raises: OSError, of which TimeoutError; ValueError."""
    sums: Counter[str] = Counter()
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.send(netlink.message(_GET_STATS, netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP, bytes(_FAMILY_BYTES)))
        while not add_answer(sock.recv(_BUFFER_BYTES), sums):
            pass
    return dict(sums)


def add_answer(answer: bytes, sums: Counter[str]) -> bool:
    """Add the counters of the cores in a datagram of ctnetlink; return True if it was the last.

    Raises: OSError, if it says so; ValueError for a message that breaks the format.
    """
    at = 0
    while at < len(answer):
        length, kind = netlink.unpacked("=IH", answer, at)
        end = at + length
        if length < netlink.HEADER_BYTES or end > len(answer):
            raise ValueError(f"a message of {length} bytes where {len(answer) - at} are left")
        if kind == netlink.NLMSG_DONE:
            return True
        if kind == netlink.NLMSG_ERROR:
            (number,) = netlink.unpacked("=i", answer, at + netlink.HEADER_BYTES)
            raise OSError(-number, os.strerror(-number), "ctnetlink")
        found = netlink.attributes(answer, at + netlink.HEADER_BYTES + _FAMILY_BYTES, end)
        for name, attribute in _CTA_STATS.items():
            if payload := found.get(attribute):
                sums[name] += struct.unpack("!I", payload)[0]
        at = netlink.aligned(end)
    return False
