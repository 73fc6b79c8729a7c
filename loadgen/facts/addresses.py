"""Section 8: source addresses that work, and requirements of the others.

Sources: ip(7), IP_FREEBIND; ip-route(8), type local; ipv6(7); inet_addr_valid_or_nonlocal().
"""

from __future__ import annotations

from loadgen.facts.base import fact
from loadgen.facts.experiment import FREEBIND6, NO_PORT, TARGET, Address, Bench, add_local_route, require_ipv6


@fact(
    "8.1",
    "all of 127.0.0.0/8 is usable as source and as destination without having been added",
    expected="from 127.1.2.3 to 127.9.8.7: ok; unbound: from 127.0.0.1",
    meaning="Sixteen million sources for tests on one host, without any set-up; but bind them, because connect() alone "
    "always uses 127.0.0.1.",
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
