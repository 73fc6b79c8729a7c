"""Section 3: bind() of the address only, with the port chosen once the destination is known; and a range per socket.

Sources: ip(7), IP_BIND_ADDRESS_NO_PORT and IP_LOCAL_PORT_RANGE; inet_sk_get_local_port_range() and
__inet_hash_connect(), net/ipv4.
"""

from __future__ import annotations

from loadgen.facts.base import fact, ports
from loadgen.facts.experiment import (
    LOCAL,
    NO_PORT,
    OTHER,
    TARGET,
    Address,
    Bench,
    answer,
    port_range,
    require_ipv6,
    set_option,
)

ADDRESS_ONLY: Address = (LOCAL, 0)


@fact(
    "3.1",
    "IP_BIND_ADDRESS_NO_PORT leaves the port to connect()",
    expected="port 0 after bind, one of the range after connect",
    since="4.2",
    meaning="The source address is fixed and no port is used up yet; strategy `late` does this.",
    source="ip(7), IP_BIND_ADDRESS_NO_PORT; 90c337da1524",
)
def _no_port_yet() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    bound = bench.bind(ADDRESS_ONLY, NO_PORT)
    after_bind = bound.port
    bound.sock.connect(TARGET)
    return (
        f"port {after_bind} after bind, {'one' if 40000 <= bound.port < 40100 else 'none'} of the range after connect"
    )


@fact(
    "3.2",
    "a late bind has one range per source and destination",
    expected="100, then connect EADDRNOTAVAIL; other destination: 100; other source: 100",
    since="4.2",
    meaning="The same capacity as connect() alone, for each source address; no bind() fails for lack of a port.",
    source="ip(7), IP_BIND_ADDRESS_NO_PORT; __inet_hash_connect(), net/ipv4/inet_hashtables.c",
)
def _late_capacity() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    first = bench.fill(TARGET, NO_PORT, bind=ADDRESS_ONLY)
    destination = bench.fill(OTHER, NO_PORT, bind=ADDRESS_ONLY, most=100)
    source = bench.fill(TARGET, NO_PORT, bind=("127.0.0.2", 0), most=100)
    return f"{first}; other destination: {destination}; other source: {source}"


@fact(
    "3.3",
    "IP_LOCAL_PORT_RANGE narrows the range of one socket, bound or not",
    expected="connect alone: 10; late bind: 10, then connect EADDRNOTAVAIL",
    since="6.3",
    meaning="Processes can divide a range between them; needs no privilege (7.5).",
    source="tools/testing/selftests/net/ip_local_port_range.c; ip(7), IP_LOCAL_PORT_RANGE; 91d0b78c5177",
)
def _narrowed() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    slice_ = port_range(40020, 40029)
    alone = bench.fill(OTHER, slice_)
    late = bench.fill(TARGET, NO_PORT, slice_, bind=ADDRESS_ONLY)
    return f"connect alone: {len(alone)}; late bind: {late}"


@fact(
    "3.4",
    "a bound outside ip_local_port_range is silently ignored; only a reversed range is refused",
    expected="30000-30009: all 100 ports; 39990-40009: 10; 40009-40000: setsockopt EINVAL",
    since="6.3",
    meaning="setsockopt() succeeds, but other ports are used; check the range first, as loadgen's plan does.",
    source="tools/testing/selftests/net/ip_local_port_range.c; "
    "inet_sk_get_local_port_range(), net/ipv4/inet_connection_sock.c",
)
def _outside() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    outside, half = bench.fill(TARGET, port_range(30000, 30009)), bench.fill(OTHER, port_range(39990, 40009))
    whole = "all 100 ports" if set(outside.ports) == set(range(40000, 40100)) else str(outside)
    sock = bench.make()
    reversed_ = answer("setsockopt", lambda: sock.setsockopt(*port_range(40009, 40000)))
    return f"30000-30009: {whole}; 39990-40009: {len(half)}; 40009-40000: {reversed_}"


@fact(
    "3.5",
    "a range of one port is allowed, and is that port",
    expected="port 40042, then connect EADDRNOTAVAIL",
    since="6.3",
    meaning="An exact source port without an explicit bind(), so that it stays open to automatic choice; strategy "
    "`late-range` assigns its ports this way.",
    source="tools/testing/selftests/net/ip_local_port_range.c, single_port_range",
)
def _one_port() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    filled = bench.fill(TARGET, NO_PORT, port_range(40042, 40042), bind=ADDRESS_ONLY)
    return f"port {', '.join(map(str, filled.ports))}, then {filled.answer}"


@fact(
    "3.6",
    "after connect() found no port, the same socket can try another range",
    expected="connect EADDRNOTAVAIL, then ok on port 40001",
    since="6.3",
    meaning="A port that turns out to be in use costs two more calls, not a socket.",
    source="__inet_hash_connect(), net/ipv4/inet_hashtables.c, which leaves a socket that found no port as it was",
)
def _second_try() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    bench.connect(TARGET, NO_PORT, port_range(40000, 40000), bind=ADDRESS_ONLY)
    second = bench.connect(TARGET, NO_PORT, port_range(40000, 40000), bind=ADDRESS_ONLY)
    set_option(second.sock, port_range(40001, 40001))
    again = answer("connect", lambda: second.sock.connect(TARGET))
    return f"{second}, then {again} on port {second.port}"


@fact(
    "3.7",
    "disjoint ranges do not interfere with each other",
    expected="50 and 50, no port twice",
    since="6.3",
    meaning="Each worker gets a slice of its own, and no lock between them is needed.",
    source="ip(7), IP_LOCAL_PORT_RANGE",
)
def _disjoint() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    slices = (port_range(40000, 40049), port_range(40050, 40099))
    opened: tuple[list[int], list[int]] = ([], [])
    for _ in range(60):
        for mine, slice_ in zip(opened, slices, strict=True):
            attempt = bench.connect(TARGET, NO_PORT, slice_, bind=ADDRESS_ONLY)
            if attempt.ok:
                mine.append(attempt.port)
    twice = len(opened[0] + opened[1]) - len({*opened[0], *opened[1]})
    return f"{len(opened[0])} and {len(opened[1])}, {twice or 'no'} port{'s' * (twice > 1)} twice"


@fact(
    "3.8",
    "with IP_LOCAL_PORT_RANGE parity plays no role: one pass over all ports",
    expected="first half: even and odd",
    since="6.8",
    meaning="No search through a full half, so the cost of connect() stays flat; worth setting even to the whole "
    "range.",
    source="207184853dbd, net/ipv4/inet_hashtables.c",
)
def _no_parity() -> str:
    # 207184853dbd; the search begins after the last port found and takes every port in turn.
    bench = Bench()
    bench.listeners(TARGET)
    return f"first half: {bench.fill(TARGET, port_range(40000, 40099), most=50).parity}"


@fact(
    "3.9",
    "IPv6 sockets take both options at level SOL_IP",
    expected="10, then connect EADDRNOTAVAIL",
    since="6.3",
    meaning="All facts of this section are true of IPv6 as well.",
    source="tools/testing/selftests/net/ip_local_port_range.c, its IPv6 variants",
)
def _ipv6() -> str:
    require_ipv6()
    bench = Bench()
    target = ("::1", 9000)
    bench.listeners(target)
    return str(bench.fill(target, NO_PORT, port_range(40020, 40029), bind=("::1", 0)))


@fact(
    "3.10",
    "reserved ports are left out of a narrowed range, too",
    expected="5 of 10",
    since="6.3",
    meaning="Subtract the reserved ports from the slice that contains them.",
    sysctls={**ports(100), "net.ipv4.ip_local_reserved_ports": "40020-40024"},
    source="inet_is_local_reserved_port() in __inet_hash_connect(), net/ipv4/inet_hashtables.c",
)
def _reserved() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    return f"{len(bench.fill(TARGET, port_range(40020, 40029)))} of 10"


@fact(
    "3.11",
    "a narrowed range is used completely, also with an odd number of ports",
    expected="3 of 3",
    since="6.8",
    meaning="Slices may have any size; without the option one port of an odd number can stay unused (1.10).",
    source="207184853dbd, net/ipv4/inet_hashtables.c",
)
def _odd_slice() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    return f"{len(bench.fill(TARGET, port_range(40020, 40022)))} of 3"
