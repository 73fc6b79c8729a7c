"""Section 10: events that the kernel counts, and those it does not.

Sources: Documentation/networking/snmp_counter.rst; sock_diag(7); net/ipv4/proc.c.
"""

from __future__ import annotations

import socket

from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import (
    FIN_WAIT_2,
    LOCAL,
    LOCAL6,
    REUSEADDR,
    TARGET,
    TIME_WAIT,
    Address,
    Bench,
    counters,
    in_both_families,
    moved,
    rows,
    time_wait_count,
    until,
)
from loadgen.kernel import snmp, sockdiag, sysctl

PORT: Address = (LOCAL, 40000)


@fact(
    "10.1",
    "running out of source ports moves no counter",
    expected="connect EADDRNOTAVAIL, bind EADDRINUSE: nothing moved",
    meaning="Monitoring cannot see it; only the program that received the errno can count it.",
    sysctls=ports(4),
    source="__inet_hash_connect() returns before tcp_connect(), which counts ActiveOpens, net/ipv4/tcp_output.c",
)
def _exhaustion() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    bench.fill(TARGET)
    before = counters()
    connect, bind = bench.connect(TARGET), bench.bind((LOCAL, 0))
    difference = snmp.delta(before, counters())
    return f"{connect}, {bind}: {', '.join(sorted(difference)) or 'nothing'} moved"


@fact(
    "10.2",
    "TIME-WAIT is counted in TW when it begins, and in TWRecycled when its four-tuple is reused",
    expected="2 closed: TW +2, TWRecycled +0; 1 taken over: TW +2, TWRecycled +1",
    meaning="The rate of TW is the churn that costs ports; TWRecycled shows that reuse has gained some.",
    sysctls=ports(4),
    source="snmp_counter.rst; inet_twsk_kill() and tcp_time_wait(), net/ipv4; net/ipv4/proc.c",
)
def _time_wait() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    names = ("TcpExt.TW", "TcpExt.TWRecycled")
    before = counters()
    for port in (40000, 40001):
        bench.time_wait(listener, REUSEADDR, bind=(LOCAL, port))
    closed = moved(before, *names)
    again = bench.connect(TARGET, REUSEADDR, bind=(LOCAL, 40000))
    return f"2 closed: {closed}; 1 taken over: {moved(before, *names) if again.ok else again}"


@fact(
    "10.3",
    "each SYN that a full queue drops moves ListenOverflows and ListenDrops",
    expected="1 SYN: ListenOverflows +1, ListenDrops +1",
    meaning="On the target's host, they distinguish an overloaded server from a lossy network.",
    source="snmp_counter.rst, TcpExtListenOverflows, TcpExtListenDrops",
)
def _overflow() -> str:
    bench = Bench()
    bench.listen(TARGET, backlog=0)
    if not bench.connect(TARGET).ok:
        raise CannotRunError("the queue could not be filled")
    before = counters()
    sock = bench.make()
    sock.setblocking(False)
    sock.connect_ex(TARGET)
    until(lambda: counters()["TcpExt.ListenDrops"] > before["TcpExt.ListenDrops"], 0.5)
    return f"1 SYN: {moved(before, 'TcpExt.ListenOverflows', 'TcpExt.ListenDrops')}"


@fact(
    "10.4",
    "a bound socket that is not connected is missing from /proc/net/tcp; sock_diag lists it",
    expected="/proc/net/tcp: 0; sock_diag: 1",
    since="6.8",
    meaning="A socket that blocks a port for automatic choice (4.2) can be invisible to ss and netstat.",
    source="sock_diag(7); 91051f003948, net/ipv4/inet_diag.c",
)
def _bound() -> str:
    bench = Bench()
    bench.bind(PORT)
    listed = sum(row.local_port == PORT[1] for row in rows())
    return f"/proc/net/tcp: {listed}; sock_diag: {_sock_diag(PORT[1])}"


def _sock_diag(port: int) -> int:
    """Return the number of IPv4 TCP sockets that are only bound to this port."""
    if not sockdiag.lists_bound():
        return 0
    with sockdiag.Reader() as reader:
        sockets = reader.dump(sockdiag.mask(sockdiag.TcpState.BOUND), families=(socket.AF_INET,)).sockets
    return int((sockets["source_port"] == port).sum())


@fact(
    "10.5",
    "TW and sockstat's tw count closed sockets in FIN-WAIT-2, too; with tcp_fin_timeout up to 4 s TWKilled counts them",
    expected="client closed: TW +1, TWKilled +0, tw +1, FIN-WAIT-2; server closed: TW +1, TWKilled +0, tw +1, "
    "TIME-WAIT; 4 s: TW +0, TWKilled +1; IPv6: the same",
    source="net/ipv4/inet_timewait_sock.c",
    meaning="Where servers do not close, tw is a number of half-closed connections, and no reuse of TIME-WAIT frees "
    "their ports.",
)
def _fin_wait_2() -> str:
    return in_both_families(_close_first)


def _close_first(address: str) -> str:
    bench, names = Bench(), ("TcpExt.TW", "TcpExt.TWKilled")
    (listener,) = bench.listeners((address, TARGET[1]))
    results = []
    sysctl.write("net.ipv4.tcp_fin_timeout", "60")
    client, server = bench.pair(listener)
    port, before, waiting = client.port, counters(), time_wait_count()
    steps = (("client", client.sock, FIN_WAIT_2, "FIN-WAIT-2"), ("server", server.sock, TIME_WAIT, "TIME-WAIT"))
    for side, sock, state, label in steps:
        sock.close()
        shown = label if _reaches(state, address, port) else "another state"
        results.append(f"{side} closed: {moved(before, *names)}, tw {time_wait_count() - waiting:+d}, {shown}")
    sysctl.write("net.ipv4.tcp_fin_timeout", "4")
    client, server = bench.pair(listener)
    before = counters()
    client.sock.close()
    until(lambda: counters()["TcpExt.TWKilled"] > before["TcpExt.TWKilled"], 0.5)
    return f"{'; '.join(results)}; 4 s: {moved(before, *names)}"


def _reaches(state: int, address: str, port: int) -> bool:
    table = "tcp6" if address == LOCAL6 else "tcp"
    return until(lambda: any(row.local_port == port and row.state == state for row in rows(table)))
