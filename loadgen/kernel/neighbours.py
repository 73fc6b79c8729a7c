"""The tables of neighbours: who is reachable directly, by address and hardware address, for IPv4 and IPv6.

A table with gc_thresh3 entries takes no further one: connect() to a new address on a segment fails, and answers to
a new address on it are dropped. The tables and their limits belong to the whole host, for all of its network
namespaces together. Their counters are shown in the initial namespace only, as are
net.ipv4.neigh.default.gc_thresh3 and its twin of IPv6.

Sources: arp(7), gc_thresh3; neigh_alloc() and neigh_table_init() in net/core/neighbour.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.kernel import core_stats

#: The files below /proc/net/stat, by the prefix of their counters.
FILES: Final = {"neigh": "arp_cache", "neigh6": "ndisc_cache"}
#: Counter of entries that were refused because the table was full (Linux 3.17).
_TABLE_FULLS: Final = "table_fulls"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The two tables; empty where they are not shown. entries, table_fulls: {"neigh": 2, "neigh6": 4}."""

    entries: Mapping[str, int]
    table_fulls: Mapping[str, int]

    def delta(self, later: Neighbours) -> dict[str, int]:
        """Return what was refused since, {"neigh.table_fulls": 9}, without zeros."""
        refused = {name: count - self.table_fulls.get(name, 0) for name, count in later.table_fulls.items()}
        return {f"{name}.{_TABLE_FULLS}": count for name, count in refused.items() if count}

    @property
    def gauges(self) -> dict[str, int]:
        """The entries at the moment, {"neigh.entries": 2, "neigh6.entries": 4}."""
        return {f"{name}.entries": count for name, count in self.entries.items()}


def read(proc_net: Path) -> Neighbours:
    """Read both tables below a directory such as /proc/self/net. Raises: ValueError, see `core_stats.parse`."""
    entries: dict[str, int] = {}
    fulls: dict[str, int] = {}
    for name, file in FILES.items():
        try:
            found = core_stats.parse((proc_net / "stat" / file).read_text())
        except FileNotFoundError:  # not the initial namespace, or no IPv6
            continue
        entries[name] = found["entries"]
        if _TABLE_FULLS in found:
            fulls[name] = found[_TABLE_FULLS]
    return Neighbours(entries, fulls)
