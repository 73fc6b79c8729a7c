"""The connection tracking table of a network namespace: how full it is, and what that cost.

Two places tell, each where the module nf_conntrack is loaded:

- net.netfilter.nf_conntrack_count and nf_conntrack_max below /proc/sys. Below /proc/sys/net everybody finds the
  settings of his own namespace (net_ctl_header_lookup() in net/sysctl_net.c asks for that of the process that
  opens), and /proc/<pid>/root leads to the same. But a file once opened stays with its namespace, whoever reads
  it: so a process inside opens these, and hands them out.
- /proc/net/stat/nf_conntrack, of the namespace of whoever's /proc/<pid>/net it is, with
  CONFIG_NF_CONNTRACK_PROCFS: a line of counters for each core.

A table that is full makes the kernel drop what would begin a connection: nobody is told, the attempt runs into a
time-out. Its only trace is the counter "drop" and a line in the kernel's log.

Sources: Documentation/networking/nf_conntrack-sysctl.rst; ct_cpu_seq_show() in
net/netfilter/nf_conntrack_standalone.c; __nf_conntrack_alloc(), early_drop() and nf_conntrack_in() in
net/netfilter/nf_conntrack_core.c.
"""

from __future__ import annotations

import os
from errno import ENOENT
from pathlib import Path
from typing import Final

#: Counters that only ever grow and speak of a table that is full. drop: packets that found no room, and some of those
#: that made an entry which another made as well. early_drop: entries of connections without an answer that had to
#: go. insert_failed: entries that were there already.
LOSSES: Final = ("drop", "early_drop", "insert_failed")
_SETTINGS: Final = {name: f"/proc/sys/net/netfilter/nf_conntrack_{name}" for name in ("count", "max")}


def parse(text: str) -> dict[str, int]:
    """The text of /proc/net/stat/nf_conntrack: "entries" as it is, everything else summed over the cores.

    The names are those of the kernel, which has changed some over time: "searched" became "clashres".

    Raises: ValueError quoting the first line that breaks the format.
    """
    header, *lines = text.splitlines() or [""]
    names = header.split()
    if names[:1] != ["entries"] or not lines:
        raise ValueError(f"no header of connection tracking with lines of counters: {header!r}")
    sums = dict.fromkeys(names, 0)
    for line in lines:
        try:
            numbers = dict(zip(names, (int(number, 16) for number in line.split()), strict=True))
        except ValueError as error:
            raise ValueError(f"not one hexadecimal number for each name: {line!r}") from error
        sums = {name: sums[name] + numbers[name] for name in names}
        entries = numbers["entries"]  # of the whole table, on every line again
    return {**sums, "entries": entries}


def read(proc_net: Path) -> dict[str, int]:
    """The counters below a directory such as /proc/self/net; {} where the kernel has no such file.

    Raises: ValueError as `parse`; OSError but ENOENT when the process is gone that names the directory.
    """
    try:
        text = (proc_net / "stat" / "nf_conntrack").read_text()
    except FileNotFoundError:
        return {}
    return parse(text)


def open_settings() -> dict[str, int]:
    """Descriptors of count and max in the namespace this process is in now, {"count": 5, "max": 6}; {} without a table.

    An older kernel hides them in the namespaces of an ordinary user, and then there are none either.
    """
    found: dict[str, int] = {}
    for name, path in _SETTINGS.items():
        try:
            found[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
    return found


def read_setting(fd: int) -> int | None:
    """The number behind a descriptor of `open_settings`, read in whatever namespace; None once the module is gone."""
    try:
        return int(os.pread(fd, 32, 0))
    except OSError as error:
        if error.errno != ENOENT:
            raise
        return None
