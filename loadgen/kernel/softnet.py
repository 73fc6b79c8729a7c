"""Packet reception by the cores: /proc/net/softnet_stat.

The counters belong to the whole host, not to a network namespace: one set for each core, which counts every packet
that passed through the backlog of that core, including all of loopback and of virtual cables. So they may count
traffic of other programs.

Sources: softnet_seq_show() in net/core/net-procfs.c; Documentation/admin-guide/sysctl/net.rst (netdev_max_backlog,
netdev_budget).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: The first columns on every kernel. dropped: the backlog of the core was full (net.core.netdev_max_backlog).
#: time_squeeze: packets were left at the end of the core's turn (net.core.netdev_budget, netdev_budget_usecs).
COLUMNS: Final = ("processed", "dropped", "time_squeeze")
#: The kernel prints 32 bits of each counter.
_WRAP: Final = 1 << 32


def parse(text: str) -> dict[str, int]:
    """Return the sums over all cores, {"processed": 9, "dropped": 0, "time_squeeze": 1}; later columns are ignored.

    Raises: ValueError quoting the first line that breaks the format, or if there are no lines.
    """
    sums = [0] * len(COLUMNS)
    lines = text.splitlines()
    if not lines:
        raise ValueError("no core has a line")
    for line in lines:
        try:
            numbers = [int(number, 16) for number in line.split()[: len(COLUMNS)]]
            sums = [total + number for total, number in zip(sums, numbers, strict=True)]
        except ValueError as error:
            raise ValueError(f"not the hexadecimal numbers of a core: {line!r}") from error
    return dict(zip(COLUMNS, sums, strict=True))


def read(proc_net: Path) -> dict[str, int]:
    """Return the counters of the file below a directory such as /proc/self/net.

    Raises: ValueError, see `parse`; OSError if the process that names the directory has exited.
    """
    return parse((proc_net / "softnet_stat").read_text())


def delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return the increase of each sum, without zeros; correct while it is below 2**32.

    Each core's counter wraps at 2**32, so the difference of two sums is correct modulo 2**32.
    """
    differences = {name: (value - before[name]) % _WRAP for name, value in after.items()}
    return {name: difference for name, difference in differences.items() if difference}
