"""The connection tracking table of a network namespace: its size, and the losses when it is full.

With the module nf_conntrack loaded, two files report on it:

- net.netfilter.nf_conntrack_count and nf_conntrack_max below /proc/sys. /proc/sys/net shows the settings of the
  process that opens a file (net_ctl_header_lookup() in net/sysctl_net.c), even through /proc/<pid>/root. An open file
  stays with its namespace, regardless of the reader: so a process inside the namespace opens these files and passes
  the descriptors on.
- /proc/<pid>/net/stat/nf_conntrack, of the namespace of that process, with CONFIG_NF_CONNTRACK_PROCFS: a line of
  counters for each core.

When the table is full the kernel silently drops packets that would begin a connection, and the attempt times out. The
only traces are the counter "drop" and a line in the kernel's log.

Sources: Documentation/networking/nf_conntrack-sysctl.rst; ct_cpu_seq_show() in
net/netfilter/nf_conntrack_standalone.c; __nf_conntrack_alloc(), early_drop() and nf_conntrack_in() in
net/netfilter/nf_conntrack_core.c.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from errno import ENOENT
from pathlib import Path
from typing import Final

from loadgen.kernel import core_stats

#: Counters of a full table; they never decrease. drop: packets without room for an entry, and some that lost a race to
#: make the same entry. early_drop: unanswered entries that were evicted. insert_failed: entries that existed already.
LOSSES: Final = ("drop", "early_drop", "insert_failed")
#: Loopback delivers at once.
_LOOPBACK_TIMEOUT_S: Final = 0.5
_SETTINGS: Final = {name: f"/proc/sys/net/netfilter/nf_conntrack_{name}" for name in ("count", "max")}


def read(proc_net: Path) -> dict[str, int]:
    """Return the counters below a directory such as /proc/self/net; {} if the kernel has no such file.

    Raises: ValueError, see `core_stats.parse`; OSError other than ENOENT if the process that names the directory has
        exited.
    """
    try:
        text = (proc_net / "stat" / "nf_conntrack").read_text()
    except FileNotFoundError:
        return {}
    return core_stats.parse(text)


def open_settings() -> dict[str, int]:
    """Open count and max in the current namespace; return their descriptors, {"count": 5, "max": 6}.

    Returns {} without a table, and on older kernels in a namespace of an ordinary user, which hide the settings there.
    """
    descriptors: dict[str, int] = {}
    for name, path in _SETTINGS.items():
        try:
            descriptors[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
    return descriptors


def tracks(families: Collection[int]) -> bool | None:
    """Return True if connections of this namespace are tracked, False if not; None if that cannot be told.

    The table alone does not say: an empty one may belong to rules that have had nothing to track yet. So a socket on
    loopback sends one empty datagram to itself for each of these address families; where a rule tracks, that makes an
    entry, for nf_conntrack_udp_timeout. Rules for other interfaces only do not show.
    """
    entries = _entries()
    if entries is None or not families:
        return None
    answers = [_tracks(family) for family in families] if not entries else [True]
    return True if True in answers else None if None in answers else False


def _tracks(family: int) -> bool | None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_LOOPBACK_TIMEOUT_S)
            sock.bind((loopback, 0))
            sock.sendto(b"", sock.getsockname())
            sock.recv(1)
    except OSError:  # no such address, or a rule dropped it: perhaps not before it was tracked
        return True if _entries() else None
    return bool(_entries())


def _entries() -> int | None:
    try:
        return int(Path(_SETTINGS["count"]).read_text())
    except FileNotFoundError:
        return None


def read_setting(fd: int) -> int | None:
    """Return the value behind a descriptor of `open_settings`, in any namespace; None once the module is unloaded."""
    try:
        return int(os.pread(fd, 32, 0))
    except OSError as error:
        if error.errno != ENOENT:
            raise
        return None
