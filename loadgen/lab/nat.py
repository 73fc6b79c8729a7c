"""Connect clients and sinks through a gateway that translates the clients' addresses with nft(8).

Three namespaces and two cables, each as in `loadgen.lab.veth`: no address is resolved and no neighbour table grows
with the pool of sources. To the gateway the targets are behind the outer cable, and everything else behind the inner
one. Its own outside addresses are local to it, as a router's are: a packet to one of them that belongs to no
translated connection is answered with a reset, and does not travel between the namespaces until its TTL ends.

Sources: nft(8), NAT STATEMENTS; nf_nat_masquerade_ipv4() and _ipv6(), net/netfilter/nf_nat_masquerade.c;
Documentation/networking/ip-sysctl.rst, ip_forward; Documentation/networking/nf_conntrack-sysctl.rst.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadgen.errors import HostError
from loadgen.kernel import sysctl
from loadgen.lab import namespace, rules, tracking, veth
from loadgen.model import Nat, NatKind
from loadgen.processes.link import Link

#: The gateway's interfaces, towards the clients and towards the sinks, and their hardware addresses.
_INNER: Final = "inner"
_OUTER: Final = "outer"
_INNER_HARDWARE: Final = "02:00:00:00:00:03"
_OUTER_HARDWARE: Final = "02:00:00:00:00:04"
_FORWARDING: Final = {
    socket.AF_INET: "net.ipv4.ip_forward",
    socket.AF_INET6: "net.ipv6.conf.all.forwarding",
}
_TRACKING: Final = "net.netfilter."
#: The words of nft for a family: of its table, and around an address before a port.
_NFT_FAMILY: Final[Mapping[int, tuple[str, str]]] = {socket.AF_INET: ("ip", "{}"), socket.AF_INET6: ("ip6", "[{}]")}


def connect(sources: Sequence[str], targets: Sequence[str], nat: Nat, tracking_left: int | None) -> Mapping[str, str]:
    """Connect the three namespaces: connect() from any source reaches any target, from an address of the gateway.

    tracking_left: entries to leave in the gateway's table; None: all. Call it in the clients' namespace, in a process
    of its own: the process is in the gateway's namespace afterwards.

    Returns: the settings of the gateway's connection tracking by name.
    Raises: HostError if the kernel refuses a step, and without nft.
    """
    from pyroute2 import IPRoute

    gateway_fd = namespace.gateway_fd()
    with veth.refusals(), IPRoute() as clients:
        inner = {"ifname": _INNER, "address": _INNER_HARDWARE, "net_ns_fd": gateway_fd}
        clients.link("add", kind="veth", ifname=veth.CABLE, address=veth.CLIENTS_HARDWARE, peer=inner)
        veth.set_up(clients, sources, _INNER_HARDWARE)
        ends: list[tuple[Any, int]] = [(clients, socket.if_nametoindex(veth.CABLE))]
        namespace.enter_sinks()
        with IPRoute() as sinks:
            outer = {"ifname": _OUTER, "address": _OUTER_HARDWARE, "net_ns_fd": gateway_fd}
            sinks.link("add", kind="veth", ifname=veth.CABLE, address=veth.SINKS_HARDWARE, peer=outer)
            veth.set_up(sinks, targets, _OUTER_HARDWARE)
            ends.append((sinks, socket.if_nametoindex(veth.CABLE)))
            namespace.enter_gateway()
            with IPRoute() as gateway:
                ends += [(gateway, index) for index in _set_up_gateway(gateway, sources, targets, nat)]
                veth.await_carrier(ends)
    _translate(nat, {socket.AF_INET6 if ":" in target else socket.AF_INET for target in targets})
    if tracking_left is not None:
        tracking.fill(tracking_left)
    return sysctl.read_all(name for name in sysctl.RELEVANT if name.startswith(_TRACKING))


def _set_up_gateway(route: Any, sources: Sequence[str], targets: Sequence[str], nat: Nat) -> tuple[int, int]:
    """Bring up both ends and forward between them; return the numbers of the inner and the outer interface."""
    inner, outer = veth.bring_up(route, _INNER), veth.bring_up(route, _OUTER)
    for family, setting in _FORWARDING.items():
        there = veth.of_family(targets, family)
        if not there or not veth.of_family(sources, family):
            continue
        sysctl.write(setting, "1")
        veth.know_neighbour(route, inner, family, veth.CLIENTS_HARDWARE)
        veth.know_neighbour(route, outer, family, veth.SINKS_HARDWARE)
        veth.add_route(route, inner, family, "default")
        for network in veth.networks_of(there):
            veth.add_route(route, outer, family, str(network))
        pool = nat.pool(family)
        veth.add_local_routes(veth.networks_of(pool))
        if nat.kind is NatKind.MASQUERADE:  # it takes the address of the interface
            bits = 32 if family == socket.AF_INET else 128
            route.addr("add", index=outer, address=pool[0], prefixlen=bits, flags=veth.IFA_F_NODAD)
    return inner, outer


def _translate(nat: Nat, families: set[int]) -> None:
    """Load the rules, and set how long the gateway remembers connections."""
    rules.load_here("lab.nat", "".join(ruleset(nat, family) for family in sorted(families)))
    for name, seconds in nat.timeouts.items():
        try:
            sysctl.write(f"{_TRACKING}{name}", str(seconds))
        except HostError as error:
            raise HostError(f"lab.nat.timeouts: {error}") from error


def ruleset(nat: Nat, family: int) -> str:
    """Return the rules of one family for nft -f: a table with one chain, for what leaves towards the sinks."""
    name, around = _NFT_FAMILY[family]
    statement = [nat.kind.value]
    ports = f":{nat.ports}" if nat.ports else ""
    if nat.kind is NatKind.SNAT:
        first, last = nat.pool(family)[0], nat.pool(family)[-1]
        span = first if first == last else f"{first}-{last}"
        if ports:  # each end of a range has brackets of its own
            span = "-".join(around.format(address) for address in dict.fromkeys((first, last)))
        statement.append(f"to {span}{ports}")
    elif ports:
        statement.append(f"to {ports}")
    if nat.flags:
        statement.append(",".join(nat.flags))
    rule = f'oifname "{_OUTER}" meta l4proto {{ tcp, udp }} {" ".join(statement)}'
    chain = f"chain outwards {{ type nat hook postrouting priority srcnat; {rule}; }};"
    return f"table {name} gateway {{ {chain} }}\n"


def main(sources: Sequence[str], targets: Sequence[str], nat: Nat, tracking_left: int | None, link_fd: int) -> None:
    """Entry of a forked process; send one report, "done" with the settings, or "failed" with the reason."""
    link = Link.at(link_fd)
    try:
        settings = connect(sources, targets, nat, tracking_left)
    except HostError as error:
        link.send(report="failed", text=str(error))
    else:
        link.send(report="done", settings=dict(settings))
