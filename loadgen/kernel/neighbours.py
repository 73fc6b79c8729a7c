"""The tables of neighbours: who is reachable directly, by address and hardware address, for IPv4 and IPv6.

A table with gc_thresh3 entries takes no further one: a packet to a new address on a segment is dropped, be it a SYN
or the answer to one. connect() does not hear of it (tcp_connect() ignores ENOBUFS); its SYN is repeated, and at last
it times out. The tables and their limits belong to the whole host, for all of its network namespaces together. Their
counters are shown in the initial namespace only, as are net.ipv4.neigh.default.gc_thresh3 and its twin of IPv6.

Three kinds of entries do not count: permanent ones, those learned from outside (NTF_EXT_LEARNED), and on newer kernels
those of loopback. The counter of entries has all. Above gc_thresh2 (at most every 5 s) and at gc_thresh3 (each
time) the kernel evicts entries that failed, of multicast groups, or without a reference and unchanged for 5 s; one that
was confirmed is not evicted for `KEPT_S`. An open socket is no reference.

Sources: arp(7), gc_thresh3; neigh_alloc(), neigh_forced_gc(), neigh_timer_handler() and neigh_table_init() in
net/core/neighbour.c; ip_finish_output2() in net/ipv4/ip_output.c.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.kernel import core_stats, netlink, route

#: The files below /proc/net/stat, by the prefix of their counters.
FILES: Final = {"neigh": "arp_cache", "neigh6": "ndisc_cache"}
#: Counter of entries that were refused because the table was full (Linux 3.17).
_TABLE_FULLS: Final = "table_fulls"
#: The sysctl of each table's size, and the smaller number of entries above which old ones are evicted.
SIZES: Final[Mapping[int, str]] = {
    socket.AF_INET: "net.ipv4.neigh.default.gc_thresh3",
    socket.AF_INET6: "net.ipv6.neigh.default.gc_thresh3",
}
#: Seconds for which a confirmed entry is not evicted: the least time that it counts as reachable, half of the default
#: base_reachable_time_ms (neigh_rand_reach_time()), and the 5 s of neigh_forced_gc().
KEPT_S: Final = 20
#: netdevice(7). Interfaces that resolve no address for each neighbour (arp_constructor() in net/ipv4/arp.c).
_SIOCGIFFLAGS: Final = 0x8913
_IFF_LOOPBACK, _IFF_POINTOPOINT, _IFF_NOARP = 0x8, 0x10, 0x80
#: rtnetlink(7), linux/neighbour.h; in every namespace lo is the first interface.
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_NDMSG_BYTES: Final = 12
_NUD_PERMANENT: Final = 0x80
_LO: Final = 1
#: The most that the kernel hands over at a time (netlink_recvmsg(), max_recvmsg_len).
_ANSWER_MAX: Final = 32_768
_UNRESOLVED: Final = _IFF_LOOPBACK | _IFF_POINTOPOINT | _IFF_NOARP


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


def open_socket() -> socket.socket:
    """Open a netlink socket, which lists the neighbours of the namespace it was made in. Raises: OSError."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def counted(sock: socket.socket) -> dict[str, int]:
    """Return the entries of one namespace that count towards the limits, {"neigh": 1023, "neigh6": 0}.

    All but permanent ones and those of loopback. Takes a millisecond for a thousand entries.

    Raises: OSError from netlink; ValueError for an answer that is none.
    """
    sock.send(netlink.message(_RTM_GETNEIGH, netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP, bytes(_NDMSG_BYTES)))
    counts = dict.fromkeys(FILES, 0)
    of_family = dict(zip(SIZES, FILES, strict=True))
    while True:
        answer = sock.recv(_ANSWER_MAX)
        at = 0
        while at < len(answer):
            length, kind = netlink.unpacked("=IH", answer, at)
            if kind == netlink.NLMSG_DONE or length < netlink.HEADER_BYTES:
                return counts
            if kind == _RTM_NEWNEIGH:
                family, index, state = netlink.unpacked("=B3xiH", answer, at + netlink.HEADER_BYTES)
                if family in of_family and index != _LO and not state & _NUD_PERMANENT:
                    counts[of_family[family]] += 1
            at += netlink.aligned(length)


def next_hops(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return for each address the neighbour that packets to it go to, itself or a gateway; "" where there is none.

    There is none where the address is local or has no route, and on an interface that resolves nothing (loopback,
    point to point). The namespace is that of this process. Returns () where netlink is not there, as in some sandboxes.
    """
    if not addresses:
        return ()
    try:
        routes = route.to(addresses)
    except OSError:
        return ()
    return tuple(_next_hop(address, found) for address, found in zip(addresses, routes, strict=True))


def _next_hop(address: str, found: route.Route) -> str:
    if found.kind != "unicast" or not _resolves(found.device):
        return ""
    return found.gateway or address


def _resolves(device: str) -> bool:
    """Return True for an interface whose neighbours have entries of their own; False where it is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", device.encode(), 0))
        except OSError:
            return False
    return not struct.unpack("16sH14x", answer)[1] & _UNRESOLVED
