"""Section 1: connect() alone: the kernel chooses the source port when it knows the destination.

Sources: ip(7), ip_local_port_range; __inet_hash_connect() in net/ipv4/inet_hashtables.c.
"""

from __future__ import annotations

from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import LOCAL, OTHER, TARGET, Bench, name
from loadgen.kernel import sysctl


@fact(
    "1.1",
    "connect() alone opens as many connections to one destination as the range has ports",
    expected="100, then connect EADDRNOTAVAIL",
    meaning="One source and one destination hold 28,232 connections with the default range, and no option of the "
    "socket makes them more.",
    source="ip(7), ip_local_port_range; __inet_hash_connect(), net/ipv4/inet_hashtables.c",
)
def _one_range() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    return str(bench.fill(TARGET))


@fact(
    "1.2",
    "a second destination gets the same ports again",
    expected="100 more, on the same ports",
    meaning="A port is spent per four-tuple: another address or port of the target doubles the capacity.",
    source="__inet_check_established(), net/ipv4/inet_hashtables.c",
)
def _another_range() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    first, second = bench.fill(TARGET), bench.fill(OTHER)
    return f"{len(second)} more, on {'the same' if set(first.ports) == set(second.ports) else 'other'} ports"


@fact(
    "1.3",
    "connect() uses up the parity of the range's low end first, bind(address, 0) the other one",
    expected="connect: even; bind: odd",
    since="4.6",
    meaning="Ports in use look like every second one; past half of the range each connect() first searches the full "
    "half, which is where it becomes slow.",
    source="1580ab63fc9a, net/ipv4/inet_hashtables.c; ea8add2b1903, net/ipv4/inet_connection_sock.c",
)
def _parity() -> str:
    # 1580ab63fc9a, ea8add2b1903: all ports of one parity first, the others only when those are taken.
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    connect, bind = bench.fill(TARGET, most=50), bench.fill(OTHER, bind=("127.0.0.2", 0), most=50)
    return f"connect: {connect.parity}; bind: {bind.parity}"


@fact(
    "1.4",
    "connect() to a closed port inside the range may connect to itself",
    expected="inside: its own peer; outside: connect ECONNREFUSED",
    meaning="On one host a dead server can look alive; keep server ports out of the range, and compare both names "
    "of the socket.",
    sysctls=ports(1),
    source="RFC 9293 3.5, simultaneous open; __inet_hash_connect(), net/ipv4/inet_hashtables.c",
)
def _self_connect() -> str:
    bench = Bench()
    inside = bench.connect((LOCAL, 40000))  # the only port in the range, so it is certain to be chosen
    itself = inside.ok and inside.sock.getsockname() == inside.sock.getpeername()
    return f"inside: {'its own peer' if itself else inside}; outside: {bench.connect(TARGET)}"


@fact(
    "1.5",
    "an unanswered connect() holds its four-tuple, and exhaustion is reported at once",
    expected="4 waiting, then connect EADDRNOTAVAIL at once",
    meaning="Connections that a silent target leaves waiting use up ports like open ones; a non-blocking connect() "
    "returns the error itself, never through SO_ERROR.",
    sysctls=ports(4),
    source="connect(2); __inet_check_established(), net/ipv4/inet_hashtables.c",
)
def _waiting() -> str:
    bench = Bench()
    bench.listen(TARGET, backlog=0)
    filler = bench.connect(TARGET, bind=(LOCAL, 30000))  # takes the only place in the queue, so no other is answered
    waiting = 0
    for _ in range(10):
        sock = bench.make()
        sock.setblocking(False)
        number = sock.connect_ex(TARGET)
        if name(number) != "EINPROGRESS":
            return f"{waiting} waiting, then connect {name(number)} at once" if filler.ok else str(filler)
        waiting += 1
    return f"{waiting} waiting"


@fact(
    "1.6",
    "a failed connect() releases the port the kernel chose, though getsockname() still returns it",
    expected="chosen: named, and free to others; explicit: held",
    meaning="After a refused connection a second connect() on that socket may get another port; close it and make a "
    "new one. A port that the program chose stays bound.",
    source="tcp_set_state(), net/ipv4/tcp.c, and its SOCK_BINDPORT_LOCK",
)
def _released() -> str:
    bench = Bench()
    results = []
    # The explicit port lies outside the range, or the kernel chooses it now and then.
    for kind, bind in (("chosen", (LOCAL, 0)), ("explicit", (LOCAL, 30007))):
        failed = bench.connect(TARGET, bind=bind)
        if failed.answer != "connect ECONNREFUSED":
            raise CannotRunError(f"there is no listener, but: {failed}")
        named = failed.port
        if not named:
            results.append(f"{kind}: not named")
        else:
            results.append(f"{kind}: {'named, and free to others' if bench.bind((LOCAL, named)).ok else 'held'}")
    return "; ".join(results)


@fact(
    "1.7",
    "automatic choice skips reserved ports, in connect() and in bind()",
    expected="connect: 94; bind: 94",
    meaning="ip_local_reserved_ports protects the ports of servers from automatic choice; subtract them from the "
    "capacity.",
    sysctls={**ports(100), "net.ipv4.ip_local_reserved_ports": "40010-40014,40050"},
    source="ip-sysctl.rst, ip_local_reserved_ports",
)
def _reserved() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    return f"connect: {len(bench.fill(TARGET))}; bind: {len(bench.fill(TARGET, bind=('127.0.0.2', 0)))}"


@fact(
    "1.8",
    "an explicit bind() may take any port: outside the range, or reserved",
    expected="outside: ok; reserved: ok",
    meaning="A program that chooses its ports can use all 65,535 of them, whatever the range.",
    sysctls={**ports(100), "net.ipv4.ip_local_reserved_ports": "40010"},
    source="ip-sysctl.rst, ip_local_reserved_ports; inet_csk_get_port(), net/ipv4/inet_connection_sock.c",
)
def _any_port() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    outside = bench.connect(TARGET, bind=(LOCAL, 20000))
    return f"outside: {outside}; reserved: {bench.connect(TARGET, bind=(LOCAL, 40010))}"


@fact(
    "1.9",
    "the default range is 32768 to 60999",
    expected="32768 60999",
    since="4.2",
    meaning="28,232 ports; older pages say 61000.",
    sysctls={},
    source="ip-sysctl.rst, ip_local_port_range; 07f4c90062f8",
)
def _default_range() -> str:
    return str(sysctl.port_range()).replace("-", " ")


@fact(
    "1.10",
    "a range with an odd number of ports may leave one unused",
    expected="connect: 2 of 3; bind: 2 of 3",
    since="4.6",
    meaning="Give a range two ends of different parity, like 1024 to 65535; otherwise the last port is found by chance "
    "only, and with three ports never.",
    sysctls=ports(3),
    source="__inet_hash_connect(), net/ipv4/inet_hashtables.c, and inet_csk_find_open_port(), "
    "net/ipv4/inet_connection_sock.c: remaining &= ~1U",
)
def _odd_range() -> str:
    # Both searches walk an even number of ports, "remaining &= ~1U". The port they miss depends on where they begin, so
    # in a longer range it is sometimes found.
    bench = Bench()
    bench.listeners(TARGET)
    connect, bind = bench.fill(TARGET), bench.fill(TARGET, bind=("127.0.0.2", 0))
    return f"connect: {len(connect)} of 3; bind: {len(bind)} of 3"
