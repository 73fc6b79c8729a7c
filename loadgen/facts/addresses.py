"""Section 8: source addresses that work, and requirements of the others.

Sources: ip(7), IP_FREEBIND; ip-route(8), type local; ipv6(7); inet_addr_valid_or_nonlocal(); ip-address(8), tentative
and nodad; RFC 4862 5.4; ip-sysctl.rst, disable_ipv6.
"""

from __future__ import annotations

from loadgen.facts.base import CannotRunError, fact
from loadgen.facts.experiment import (
    FREEBIND6,
    LOCAL6,
    NO_PORT,
    TARGET,
    Address,
    Bench,
    add_local_route,
    name,
    require_ipv6,
)
from loadgen.kernel import sysctl


@fact(
    "8.1",
    "all of 127.0.0.0/8 is usable as source and as destination without having been added",
    expected="from 127.1.2.3 to 127.9.8.7: ok; unbound: from 127.0.0.1",
    meaning="Sixteen million sources for tests on one host, without any set-up; but bind them, because connect() alone "
    "always uses 127.0.0.1.",
    source="RFC 1122 3.2.1.3; inet_select_addr(), net/ipv4/devinet.c",
)
def _loopback() -> str:
    bench = Bench()
    target: Address = ("127.9.8.7", 9000)
    bench.listeners(target)
    bound = bench.connect(target, NO_PORT, bind=("127.1.2.3", 0))
    unbound = bench.connect(target)
    return f"from 127.1.2.3 to 127.9.8.7: {bound}; unbound: from {unbound.sock.getsockname()[0]}"


@fact(
    "8.2",
    "a local route makes a whole IPv4 network usable (AnyIP)",
    expected="without: bind EADDRNOTAVAIL; with: ok",
    meaning="`ip route add local 10.9.0.0/16 dev lo` adds 65,536 source addresses with one command.",
    source="ip-route(8), type local; inet_addr_type_table(), net/ipv4/fib_frontend.c",
)
def _anyip() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    source: Address = ("10.9.1.2", 0)
    without = bench.connect(TARGET, NO_PORT, bind=source)
    add_local_route("10.9.0.0/16")
    target: Address = ("10.9.3.4", 9000)
    bench.listeners(target)
    return f"without: {without}; with: {bench.connect(target, NO_PORT, bind=source)}"


@fact(
    "8.3",
    "a source address that is not on this host fails in bind()",
    expected="early: bind EADDRNOTAVAIL; late: bind EADDRNOTAVAIL",
    meaning="The same errno from connect() means that no four-tuple is free (1.1, 2.6), or without bind() that no "
    "address of the target's family is usable here, as where IPv6 is off.",
    source="bind(2), EADDRNOTAVAIL; inet_addr_valid_or_nonlocal(), include/net/inet_sock.h",
)
def _not_local() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    early = bench.connect(TARGET, bind=("192.0.2.1", 0))
    return f"early: {early}; late: {bench.connect(TARGET, NO_PORT, bind=('192.0.2.1', 0))}"


@fact(
    "8.4",
    "in IPv6 a local route is not enough for a source address: it takes IPV6_FREEBIND",
    expected="without: bind EADDRNOTAVAIL; with: ok",
    since="4.15",
    meaning="Large IPv6 source pools need the option on each socket, or net.ipv6.ip_nonlocal_bind=1.",
    source="IPV6_FREEBIND, include/uapi/linux/in6.h; __inet6_bind(), net/ipv6/af_inet6.c",
)
def _anyip_ipv6() -> str:
    require_ipv6()
    add_local_route("fd00:9::/64")
    bench = Bench()
    target: Address = ("fd00:9::1", 9000)
    bench.listen(("::", 9000))
    source: Address = ("fd00:9::2", 0)
    without = bench.connect(target, NO_PORT, bind=source)
    return f"without: {without}; with: {bench.connect(target, NO_PORT, FREEBIND6, bind=source)}"


@fact(
    "8.5",
    "where IPv6 is off, bind() and connect() fail as if no port were free",
    expected="on: ok; off on lo: bind EADDRNOTAVAIL, connect EADDRNOTAVAIL; off on all: bind EADDRNOTAVAIL, connect "
    "EADDRNOTAVAIL",
    source="net/ipv6/af_inet6.c",
    meaning="An EADDRNOTAVAIL of IPv6 alone is no shortage of ports: look at net.ipv6.conf.*.disable_ipv6 first.",
)
def _ipv6_off() -> str:
    require_ipv6()
    bench, target = Bench(), (LOCAL6, 9000)
    bench.listeners(target)
    results = [f"on: {bench.connect(target, NO_PORT, bind=(LOCAL6, 0))}"]
    for where in ("lo", "all"):
        sysctl.write(f"net.ipv6.conf.{where}.disable_ipv6", "1")
        results.append(f"off on {where}: {bench.bind((LOCAL6, 0), NO_PORT)}, {bench.connect(target)}")
        sysctl.write(f"net.ipv6.conf.{where}.disable_ipv6", "0")
    return "; ".join(results)


#: linux/if_addr.h
_IFA_F_NODAD = 0x02
_TENTATIVE, _NODAD = "fd00:9::1", "fd00:9::2"


def _add_addresses_without_carrier() -> None:
    """Add an address that stays tentative, as its interface has no carrier, and one that needs no check for duplicates.

    Raises: CannotRunError if no veth pair can be made.
    """
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as route:
            route.link("add", ifname="cable", kind="veth", peer="other")  # "other" stays down
            index = route.link_lookup(ifname="cable")[0]
            route.link("set", index=index, state="up")
            route.addr("add", index=index, address=_TENTATIVE, prefixlen=64)
            route.addr("add", index=index, address=_NODAD, prefixlen=64, flags=_IFA_F_NODAD)
    except NetlinkError as error:
        raise CannotRunError(f"not here, because no veth pair can be made: {name(error.code)}") from error


@fact(
    "8.6",
    "a tentative IPv6 address fails in bind() like one that is not on this host",
    expected="tentative: bind EADDRNOTAVAIL; with IPV6_FREEBIND: ok; added with nodad: ok",
    source="net/ipv6/addrconf.c",
    meaning="For a second after its start an interface has addresses that are listed and cannot be bound, without a "
    "carrier for ever: add source addresses with nodad.",
)
def _tentative() -> str:
    require_ipv6()
    _add_addresses_without_carrier()
    bench = Bench()
    tentative, freebind = bench.bind((_TENTATIVE, 0)), bench.bind((_TENTATIVE, 0), FREEBIND6)
    return f"tentative: {tentative}; with IPV6_FREEBIND: {freebind}; added with nodad: {bench.bind((_NODAD, 0))}"
