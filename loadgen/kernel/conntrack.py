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
from errno import ENOENT
from pathlib import Path
from typing import Final

from loadgen.kernel import core_stats

#: Counters of a full table; they never decrease. drop: packets without room for an entry, and some that lost a race to
#: make the same entry. early_drop: unanswered entries that were evicted. insert_failed: entries that existed already.
LOSSES: Final = ("drop", "early_drop", "insert_failed")
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


def read_setting(fd: int) -> int | None:
    """Return the value behind a descriptor of `open_settings`, in any namespace; None once the module is unloaded."""
    try:
        return int(os.pread(fd, 32, 0))
    except OSError as error:
        if error.errno != ENOENT:
            raise
        return None
