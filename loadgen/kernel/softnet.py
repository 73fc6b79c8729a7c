"""What the cores did with packets that came in: /proc/net/softnet_stat.

The counters are of the whole host, not of a network namespace, wherever the file is read: there is one set for
each core, and every packet is counted that took its way through the backlog of that core, all of loopback and of
virtual cables among them. So what they show may be somebody else's.

Sources: softnet_seq_show() in net/core/net-procfs.c; Documentation/admin-guide/sysctl/net.rst (netdev_max_backlog,
netdev_budget).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: The first columns of every kernel. dropped: the backlog of the core was full (net.core.netdev_max_backlog).
#: time_squeeze: packets were left when the core's turn was over (net.core.netdev_budget, netdev_budget_usecs).
COLUMNS: Final = ("processed", "dropped", "time_squeeze")
#: What the kernel prints are 32 bits.
_WRAP: Final = 1 << 32


def parse(text: str) -> dict[str, int]:
    """The sums over all cores, {"processed": 9, "dropped": 0, "time_squeeze": 1}; columns of later kernels are let be.

    Raises: ValueError quoting the first line that breaks the format, or about a text without lines.
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
    """The file below a directory such as /proc/self/net.

    Raises: ValueError as `parse`; OSError when the process is gone that names the directory.
    """
    return parse((proc_net / "softnet_stat").read_text())


def delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was added to the sums, without the zeros; right as long as that is below 2**32.

    Each core's counter begins anew after 2**32, and so does its share of the sum: the difference of two sums is
    right but for a multiple of that.
    """
    differences = {name: (value - before[name]) % _WRAP for name, value in after.items()}
    return {name: difference for name, difference in differences.items() if difference}
