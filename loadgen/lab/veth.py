"""Connect the clients' namespace and the sinks' with a veth pair, and set up routes and addresses at both ends.

Addresses are not put on interfaces one by one. A route of type `local` makes a whole network local to its namespace
(AnyIP), so a contiguous pool of 65,536 sources is one route. Other traffic goes to the other end through a next hop
that is only an alias of its hardware address: with one permanent neighbour entry no address is ever resolved, the
neighbour table (gc_thresh3: 1,024 entries) does not grow with the pool, and no address is tentative for the first
second of its life (RFC 4862 5.4). The veth pair itself has no address.

pyroute2 takes 0.2 s and 10 MB to import, so this runs in a process of its own and not in the zygote.

Sources: veth(4); ip-route(8), types `local`, `onlink`, `src`; rtnetlink(7); Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import errorcode
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, TypeAlias

from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import HostError
from loadgen.kernel import netlink, sysctl
from loadgen.lab import namespace
from loadgen.model import family_of
from loadgen.processes.link import Link

#: The interface's name, the same at both ends.
CABLE: Final = "cable"
#: Locally administered hardware addresses (IEEE 802, bit 2 of the first octet), fixed so that each end knows the other.
CLIENTS_HARDWARE: Final = "02:00:00:00:00:01"
SINKS_HARDWARE: Final = "02:00:00:00:00:02"
#: Next hop to the other end, by address family: link-local, and so outside every scenario.
NEXT_HOPS: Final[Mapping[int, str]] = {socket.AF_INET: "169.254.77.1", socket.AF_INET6: "fe80::1"}

#: linux/rtnetlink.h, linux/neighbour.h, linux/if_addr.h. In every namespace lo is the first interface.
LO: Final = 1
_RTN_LOCAL: Final = 2
_RT_TABLE_LOCAL: Final = 255
_RT_SCOPE_HOST: Final = 254
_RTPROT_BOOT: Final = 3
_RTM_NEWROUTE: Final = 24
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTNH_F_ONLINK: Final = 4
_NUD_PERMANENT: Final = 0x80
IFA_F_NODAD: Final = 0x02
#: addr_gen_mode: make no link-local address.
_NO_ADDRESS: Final = "1"
#: Far below the send buffer of a netlink socket (net.core.wmem_default, 212,992).
_MESSAGES_AT_ONCE: Final = 1000
_CARRIER_TIMEOUT_S: Final = 10.0
_CARRIER_POLL_S: Final = 0.001

#: Sets up one end, whose link is there and down: netlink socket, own addresses, hardware address of the other end.
SetUp: TypeAlias = Callable[[Any, Sequence[str], str], None]


def connect(sources: Sequence[str], targets: Sequence[str], end: SetUp | None = None) -> None:
    """Connect the two namespaces: connect() from any of `sources` reaches a listener on any of `targets`.

    connect() without bind() uses the first source of its family. Call it in the clients' namespace, in a process of
    its own: the process is in the sinks' namespace afterwards.

    end: sets up each end; None: `set_up`, without addresses.

    Raises: HostError if the kernel refuses a step.
    """
    from pyroute2 import IPRoute

    set_end = end or set_up
    with refusals(), IPRoute() as clients:
        peer = {"ifname": CABLE, "address": SINKS_HARDWARE, "net_ns_fd": namespace.sinks_fd()}
        clients.link("add", kind="veth", ifname=CABLE, address=CLIENTS_HARDWARE, peer=peer)
        set_end(clients, sources, SINKS_HARDWARE)
        client_index = socket.if_nametoindex(CABLE)
        namespace.enter_sinks()
        with IPRoute() as sinks:  # a netlink socket stays in the namespace it was made in
            set_end(sinks, targets, CLIENTS_HARDWARE)
            await_carrier([(clients, client_index), (sinks, socket.if_nametoindex(CABLE))])


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the kernel refuses within the block into a HostError."""
    from pyroute2 import NetlinkError

    try:
        yield
    except NetlinkError as error:
        name = errorcode.get(error.code, error.code)
        raise HostError(f"cannot connect the namespaces of the lab: {name} ({error.args[-1]})") from error
    except OSError as error:
        raise HostError(f"cannot connect the namespaces of the lab: {error}") from error


def main(sources: Sequence[str], targets: Sequence[str], link_fd: int, end: SetUp | None = None) -> None:
    """Entry of a forked process; send one report, "done", or "failed" with the reason."""
    link = Link.at(link_fd)
    try:
        connect(sources, targets, end)
    except HostError as error:
        link.send(report="failed", text=str(error))
    else:
        link.send(report="done")


def set_up(route: Any, addresses: Sequence[str], far_hardware: str) -> None:
    """Bring up this namespace's end; `addresses` are local, everything else is behind the other end."""
    index = bring_up(route, CABLE)
    for family, local in by_family(addresses).items():
        if family == socket.AF_INET6:
            # bind() accepts an IPv4 address with a local route; an IPv6 address has to be on an interface unless this
            # sysctl permits any. A route's preferred source has to be on an interface all the same, and is refused
            # (EINVAL) while tentative, which is for a moment even on lo.
            sysctl.write("net.ipv6.ip_nonlocal_bind", "1")
            route.addr("add", index=LO, address=local[0], prefixlen=128, flags=IFA_F_NODAD)
        add_local_routes(networks_of(local))
        know_neighbour(route, index, family, far_hardware)
        add_route(route, index, family, "default", prefsrc=local[0])


def bring_up(route: Any, device: str) -> int:
    """Bring up an end of a cable, without an address; return its number."""
    index = without_address(device)
    route.link("set", index=index, state="up")
    return index


def of_family(addresses: Iterable[str], family: int) -> list[str]:
    """Return the addresses of one family, in order."""
    return [address for address in addresses if family_of(address) == family]


def know_neighbour(route: Any, index: int, family: int, hardware: str) -> None:
    """Make the next hop of a family known on an interface, for good."""
    route.neigh("add", family=family, ifindex=index, dst=NEXT_HOPS[family], lladdr=hardware, state=_NUD_PERMANENT)


def add_route(route: Any, index: int, family: int, network: str, **how: Any) -> None:
    """Route a network to the next hop of an interface."""
    # The next hop is in no network of this interface, which IPv6 never requires of a link-local one.
    onlink = {"flags": _RTNH_F_ONLINK} if family == socket.AF_INET else {}
    route.route("add", family=family, dst=network, gateway=NEXT_HOPS[family], oif=index, **onlink, **how)


def without_address(device: str = CABLE) -> int:
    """Have an end that is not yet up make no link-local address; return its index."""
    gen_mode = f"net.ipv6.conf.{device}.addr_gen_mode"
    if sysctl.read(gen_mode) is not None:  # otherwise this kernel has no IPv6
        sysctl.write(gen_mode, _NO_ADDRESS)
    return socket.if_nametoindex(device)


def by_family(addresses: Sequence[str]) -> dict[socket.AddressFamily, list[str]]:
    """Return the addresses of each family that has any, in their order."""
    families: dict[socket.AddressFamily, list[str]] = {}
    for address in addresses:
        families.setdefault(socket.AF_INET6 if ":" in address else socket.AF_INET, []).append(address)
    return families


def networks_of(addresses: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    """Return the fewest networks that contain exactly these addresses, all of one family."""
    parsed: Any = map(ipaddress.ip_address, addresses)  # the type stubs accept no union of families
    return list(ipaddress.collapse_addresses(parsed))


def local_route(network: IPv4Network | IPv6Network) -> bytes:
    """Return the netlink message for `ip route add local NETWORK dev lo`.

    Source: netlink(7), struct nlmsghdr; rtnetlink(7), struct rtmsg, RTM_NEWROUTE and its attributes.
    """
    destination = network.network_address.packed
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    body = struct.pack(
        "=8BI", family, network.prefixlen, 0, 0, _RT_TABLE_LOCAL, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL, 0
    )
    body += netlink.attribute(_RTA_DST, destination) + netlink.attribute(_RTA_OIF, struct.pack("=i", LO))
    return netlink.message(_RTM_NEWROUTE, netlink.NLM_F_REQUEST | netlink.NLM_F_CREATE_EXCL, body)


def add_local_routes(networks: Sequence[IPv4Network | IPv6Network]) -> None:
    """Make these networks local to this namespace.

    With messages of its own, because a pool of addresses that are not adjacent needs a route for each: pyroute2 takes
    0.6 ms per route, which is 40 s for 65,536; this takes 0.5 s for all.

    Raises: OSError for the first route that the kernel refuses.
    """
    send_all(list(map(local_route, networks)), "adding a local route")


def send_all(messages: Sequence[bytes], doing: str) -> None:
    """Send requests to this namespace's kernel, many in one system call.

    doing: for the error. Raises: OSError for the first request that the kernel refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        for first in range(0, len(messages), _MESSAGES_AT_ONCE):
            sock.send(b"".join(messages[first : first + _MESSAGES_AT_ONCE]))
            # The kernel handles the messages within send(), and without NLM_F_ACK it answers refusals only.
            try:
                answer = sock.recv(4096, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            kind, number = struct.unpack_from("=4xH10xi", answer)
            if kind == netlink.NLMSG_ERROR and number:
                raise OSError(-number, f"{doing}: {os.strerror(-number)}")


def await_carrier(ends: Sequence[tuple[Any, int]]) -> None:
    """Wait until both ends forward packets.

    An end that was brought up before the other is activated by a kernel thread a moment later and drops packets until
    then (net/core/link_watch.c); the first SYN would be repeated after a second.
    """
    deadline = now_ns() + int(_CARRIER_TIMEOUT_S * NS_PER_S)
    for route, index in ends:
        while route.link("get", index=index)[0].get_attr("IFLA_OPERSTATE") != "UP":
            if now_ns() > deadline:
                raise HostError(f"the veth pair of the lab has no carrier after {_CARRIER_TIMEOUT_S:g} s")
            time.sleep(_CARRIER_POLL_S)
