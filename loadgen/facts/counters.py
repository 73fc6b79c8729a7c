"""Section 10: what the kernel counts of all this, and what it does not.

Sources: Documentation/networking/snmp_counter.rst; sock_diag(7); net/ipv4/proc.c.
"""

from __future__ import annotations

import socket
import struct

from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import LOCAL, REUSEADDR, TARGET, Address, Bench, counters, moved, name, rows, until
from loadgen.kernel import snmp

PORT: Address = (LOCAL, 40000)


@fact(
    "10.1",
    "running out of source ports moves no counter",
    expected="connect EADDRNOTAVAIL, bind EADDRINUSE: nothing moved",
    meaning="Monitoring cannot see it; only the program that got the errno can count it.",
    sysctls=ports(4),
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
    "TIME-WAIT is counted in TW when it begins, and in TWRecycled when its four-tuple is taken over",
    expected="2 closed: TW +2, TWRecycled +0; 1 taken over: TW +2, TWRecycled +1",
    meaning="The rate of TW is the churn that costs ports; TWRecycled is the proof that reuse has gained something.",
    sysctls=ports(4),
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
    meaning="Read on the target's host, they tell an overloaded server from a lossy network.",
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
    "a bound socket that is not connected is missing from /proc/net/tcp; sock_diag knows it",
    expected="/proc/net/tcp: 0; sock_diag: 1",
    since="6.8",
    meaning="What closes a port to automatic choice (4.2) can be invisible to ss and netstat.",
)
def _bound() -> str:
    bench = Bench()
    bench.bind(PORT)
    listed = sum(row.local_port == PORT[1] for row in rows())
    return f"/proc/net/tcp: {listed}; sock_diag: {_sock_diag(PORT[1])}"


#: linux/netlink.h, linux/sock_diag.h; state 13 is TCP_BOUND_INACTIVE (include/net/tcp_states.h).
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NLM_F_REQUEST, _NLM_F_DUMP, _NLMSG_ERROR, _NLMSG_DONE = 1, 0x300, 2, 3
_BOUND_INACTIVE = 13


def _sock_diag(port: int) -> int:
    """How many IPv4 TCP sockets are only bound to this port.

    Source: sock_diag(7): struct nlmsghdr, inet_diag_req_v2, and inet_diag_msg in the answer, where
    the source port is the third field, in network order.
    """
    request = struct.pack("=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 1 << _BOUND_INACTIVE)
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, flags, 1, 0)
    found = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(2)
        sock.send(header + request)
        for _ in range(100):
            answer_ = sock.recv(1 << 16)
            while len(answer_) >= 16:
                length, kind = struct.unpack_from("=IH", answer_)
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    raise CannotRunError(f"sock_diag: {name(-struct.unpack_from('=i', answer_, 16)[0])}")
                found += struct.unpack_from("!H", answer_, 20)[0] == port
                answer_ = answer_[(length + 3) & ~3 :]
    return found
