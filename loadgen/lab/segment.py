"""Set up both ends of a segment: two namespaces on one link, whose addresses are on the link and have to be resolved.

The opposite of `loadgen.lab.veth`: no next hop stands for the other end. Every address is on the link, so the kernel
asks for the hardware address of each (ARP, neighbour discovery) and keeps an entry for it in its table of neighbours:
the clients' end one for each target address, the sinks' end one for each source address that it answers. The table
and its limit (gc_thresh3) belong to the whole host. The entries go with the namespaces.

IPv4 needs one route for a whole pool: the kernel answers ARP for any address with a route of type `local` (AnyIP).
Neighbour discovery answers for addresses of the interface alone (or needs forwarding, and a proxy entry for each), so
each IPv6 address is put on it, without duplicate address detection, which would take a second.

Sources: arp_process() in net/ipv4/arp.c; ndisc_recv_ns() in net/ipv6/ndisc.c; rtnetlink(7), RTM_NEWADDR;
linux/if_addr.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final

from loadgen.kernel import netlink
from loadgen.lab import veth

_RTM_NEWADDR: Final = 20
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_FLAGS: Final = 8
#: No route to the address's own prefix, which is the address.
_IFA_F_NOPREFIXROUTE: Final = 0x200
#: ip-route(8), scope `link`: there is no gateway on the way.
_RT_SCOPE_LINK: Final = 253


def main(sources: Sequence[str], targets: Sequence[str], link_fd: int) -> None:
    """Entry of a forked process, see `veth.main`."""
    veth.main(sources, targets, link_fd, set_up)


def connect(sources: Sequence[str], targets: Sequence[str]) -> None:
    """Connect the two namespaces, see `veth.connect`. Raises: HostError if the kernel refuses a step."""
    veth.connect(sources, targets, set_up)


def set_up(route: Any, addresses: Sequence[str], _: str) -> None:
    """Bring up this namespace's end: `addresses` are here, and everything else is somewhere on the link."""
    index, families = veth.without_address(), veth.by_family(addresses)
    # Before the link is up: on one that is up, the kernel announces the multicast group of each address (MLD), and
    # 4,096 addresses take 4.5 s instead of 0.1 s.
    of_ipv6 = map(ipaddress.IPv6Address, families.get(socket.AF_INET6, ()))
    veth.send_all([address_on(index, address) for address in of_ipv6], "adding an address")
    route.link("set", index=index, state="up")
    veth.add_local_routes(veth.networks_of(families.get(socket.AF_INET, ())))
    for family, local in families.items():
        scope = {"scope": _RT_SCOPE_LINK} if family == socket.AF_INET else {}
        route.route("add", family=family, dst="default", oif=index, prefsrc=local[0], **scope)


def address_on(index: int, address: ipaddress.IPv6Address) -> bytes:
    """Return the netlink message for `ip address add ADDRESS/128 dev DEVICE nodad noprefixroute`.

    index: of the interface. Source: netlink(7), rtnetlink(7), struct ifaddrmsg.
    """
    body = struct.pack("=4BI", socket.AF_INET6, address.max_prefixlen, 0, 0, index)
    for kind in (_IFA_ADDRESS, _IFA_LOCAL):
        body += netlink.attribute(kind, address.packed)
    body += netlink.attribute(_IFA_FLAGS, struct.pack("=I", veth.IFA_F_NODAD | _IFA_F_NOPREFIXROUTE))
    return netlink.message(_RTM_NEWADDR, netlink.NLM_F_REQUEST | netlink.NLM_F_CREATE_EXCL, body)
