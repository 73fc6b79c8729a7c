"""Section 4: a bound port is blocked for the automatic choice of all other sockets.

The kernel keeps one record for each port in use, whatever the address and the family. While it was made by connect()
alone, other connections may choose the port, too; one bind() with a port number (or with port 0) changes that for all.

Sources: struct inet_bind_bucket, fastreuse, in include/net/inet_hashtables.h; __inet_hash_connect();
d57f4b874946 "tcp: Update bind bucket state on port release" (Linux 6.18).
"""

from __future__ import annotations

from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import (
    LOCAL,
    NO_PORT,
    OTHER,
    REUSEADDR,
    TARGET,
    Address,
    Bench,
    answer,
    disconnect,
    in_both_families,
    require_ipv6,
    reset,
    set_option,
)

THIRD: Address = (LOCAL, 9002)
PORT: Address = (LOCAL, 40000)


@fact(
    "4.1",
    "one source that has bound the whole range leaves no port to automatic choice, from any address",
    expected="connect alone: connect EADDRNOTAVAIL; late from 127.0.0.2: connect EADDRNOTAVAIL",
    meaning="A load test with early or explicit binds inside the range prevents every other client of the host from "
    "connecting.",
    sysctls=ports(4),
    source="struct inet_bind_bucket, fastreuse, include/net/inet_hashtables.h; __inet_hash_connect(), "
    "net/ipv4/inet_hashtables.c",
)
def _starved() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    bench.fill(TARGET, bind=(LOCAL, 0))
    alone, late = bench.connect(TARGET), bench.connect(TARGET, NO_PORT, bind=("127.0.0.2", 0))
    return f"connect alone: {alone}; late from 127.0.0.2: {late}"


@fact(
    "4.2",
    "one idle bound socket blocks its port, and so does a listener, on any address",
    expected="ports 40002, 40003, then connect EADDRNOTAVAIL",
    meaning="Each server inside the range costs every client of the host one port per destination; so does an idle "
    "socket, which ss does not show (10.4).",
    sysctls=ports(4),
    source="struct inet_bind_bucket, fastreuse, include/net/inet_hashtables.h; __inet_hash_connect(), "
    "net/ipv4/inet_hashtables.c",
)
def _one_socket() -> str:
    bench = Bench()
    bench.listeners(TARGET, ("127.0.0.2", 40001))
    bench.bind(("127.0.0.2", 40000))
    filled = bench.fill(TARGET)
    return f"ports {', '.join(map(str, sorted(filled.ports))) or 'none'}, then {filled.answer}"


@fact(
    "4.3",
    "automatic choices share a port with each other: connect() alone, late, and late from elsewhere",
    expected="alone: ok; late: ok; from 127.0.0.2: ok",
    since="4.2",
    meaning="Late binding blocks no port for others, which is why it is loadgen's default.",
    sysctls=ports(1),
    source="tools/testing/selftests/net/tcp_port_share.c; __inet_hash_connect(), net/ipv4/inet_hashtables.c",
)
def _shared() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    alone = bench.connect(TARGET)
    late = bench.connect(OTHER, NO_PORT, bind=(LOCAL, 0))
    return f"alone: {alone}; late: {late}; from 127.0.0.2: {bench.connect(TARGET, NO_PORT, bind=('127.0.0.2', 0))}"


@fact(
    "4.4",
    "when the last bound socket is closed, the port opens again, though connections stay on it",
    expected="two bound: connect EADDRNOTAVAIL; one: connect EADDRNOTAVAIL; none: ok",
    since="6.18",
    meaning="On older kernels a port once bound stays blocked until every connection on it has ended.",
    sysctls=ports(1),
    source="tools/testing/selftests/net/tcp_port_share.c; d57f4b874946",
)
def _released() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER, THIRD, (LOCAL, 9003))
    bench.connect(TARGET, REUSEADDR)
    bound = [bench.connect(target, REUSEADDR, bind=PORT) for target in (OTHER, THIRD)]
    if not all(attempt.ok for attempt in bound):
        raise CannotRunError(f"the port could not be bound: {bound[0]}, {bound[1]}")
    results = [f"two bound: {bench.connect((LOCAL, 9003))}"]
    for left, attempt in zip(("one", "none"), bound, strict=True):
        reset(attempt.sock)
        results.append(f"{left}: {bench.connect(OTHER)}")
    return "; ".join(results)


@fact(
    "4.5",
    "a bound socket in TIME-WAIT still blocks its port",
    expected="connect EADDRNOTAVAIL",
    meaning="After a run with explicit ports inside the range they stay blocked for others for 60 s; closing with RST "
    "avoids it.",
    sysctls=ports(1),
    source="struct inet_bind_bucket, include/net/inet_hashtables.h; inet_twsk_bind_unhash(), "
    "net/ipv4/inet_timewait_sock.c",
)
def _time_wait() -> str:
    bench = Bench()
    listener, _ = bench.listeners(TARGET, OTHER)
    bench.time_wait(listener, REUSEADDR, bind=PORT)
    return str(bench.connect(OTHER))


@fact(
    "4.6",
    "IPv4 and IPv6 share the record of a port: binding ::1 blocks it for IPv4's automatic choice",
    expected="IPv4 connect: connect EADDRNOTAVAIL; IPv4 bind(address, 0): 4",
    meaning="An IPv6 load with early binds starves IPv4 clients.",
    sysctls=ports(4),
    source="struct inet_bind_bucket, one per port for both families, include/net/inet_hashtables.h",
)
def _both_families() -> str:
    require_ipv6()
    bench = Bench()
    bench.listeners(TARGET)
    for _ in range(4):
        bench.bind(("::1", 0))
    alone = bench.connect(TARGET)
    bound = bench.fill(TARGET, bind=(LOCAL, 0))
    return f"IPv4 connect: {alone}; IPv4 bind(address, 0): {len(bound)}"


@fact(
    "4.7",
    "automatic connections of both families do not affect each other",
    expected="IPv4: 4; IPv6: 4",
    meaning="A dual-stack target has twice the capacity.",
    sysctls=ports(4),
    source="__inet6_check_established(), net/ipv6/inet6_hashtables.c",
)
def _two_families() -> str:
    require_ipv6()
    bench = Bench()
    bench.listeners(TARGET, ("::1", 9000))
    return f"IPv4: {len(bench.fill(TARGET))}; IPv6: {len(bench.fill(('::1', 9000)))}"


@fact(
    "4.8",
    "a late socket that is disconnected and then bound with a port blocks the port",
    expected="disconnected: ok; bound: connect EADDRNOTAVAIL; closed: ok; IPv6: the same",
    source="tools/testing/selftests/net/tcp_port_share.c",
    meaning="What a socket was before does not count: bind() with a port is explicit, and closes the port to automatic "
    "choice.",
    sysctls=ports(1),
)
def _bound_later() -> str:
    return in_both_families(_disconnect_and_bind)


def _disconnect_and_bind(address: str) -> str:
    bench = Bench()
    target, other = (address, 9000), (address, 9001)
    bench.listeners(target, other)
    late = bench.connect(target, NO_PORT, bind=(address, 0))
    if not late.ok:
        raise CannotRunError(f"no connection to experiment with: {late}")

    def another() -> str:
        attempt = bench.connect(other, NO_PORT, bind=(address, 0))
        if attempt.ok:
            reset(attempt.sock)
        return attempt.answer

    disconnect(late.sock)
    results = [f"disconnected: {another()}"]
    set_option(late.sock, REUSEADDR)
    bound = answer("bind", lambda: late.sock.bind((address, 40000)))
    # A second bind() and close() makes the kernel compute the state of the port's record anew.
    bench.bind((address, 40000), REUSEADDR).sock.close()
    results.append(f"bound: {another() if bound == 'ok' else bound}")
    late.sock.close()
    return f"{'; '.join(results)}; closed: {another()}"
