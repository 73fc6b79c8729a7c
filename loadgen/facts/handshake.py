"""Section 9: results of a non-blocking connect(), and how they are reported; the basis of loadgen's data plane.

Sources: connect(2), epoll(7), epoll_ctl(2), socket(7) SO_ERROR, tcp(7); tcp_poll() in net/ipv4/tcp.c.
"""

from __future__ import annotations

import select
import socket
from typing import Final

from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import (
    RESET,
    TARGET,
    Address,
    Bench,
    Option,
    answer,
    counters,
    in_both_families,
    moved,
    name,
    require_ipv6,
    set_option,
    time_wait_count,
)

_EVENTS = {
    "IN": select.EPOLLIN,
    "OUT": select.EPOLLOUT,
    "ERR": select.EPOLLERR,
    "HUP": select.EPOLLHUP,
    "RDHUP": select.EPOLLRDHUP,
}
_ALL = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP
#: tcp(7), linux/tcp.h; Python 3.11's socket module has none of them.
_FASTOPEN_CONNECT: Final[Option] = (socket.IPPROTO_TCP, 30, 1)
_TCP_TIMESTAMP: Final = 24


def _events(sock: socket.socket, interest: int = _ALL, wait_s: float = 1.0) -> str:
    """Return the events that epoll reports for a socket: "OUT+HUP" for EPOLLOUT|EPOLLHUP, or "nothing"."""
    with select.epoll() as epoll:
        epoll.register(sock, interest)
        events = epoll.poll(wait_s)
    bits = events[0][1] if events else 0
    return "+".join(label for label, bit in _EVENTS.items() if bits & bit) or "nothing"


def _error(sock: socket.socket) -> str:
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return name(number) if number else "0"


@fact(
    "9.1",
    "on loopback a second connect() reports at once that the first has succeeded",
    expected="EINPROGRESS, then 0, then EISCONN",
    meaning="A batch of connections can be completed without waiting; loadgen does so.",
    source="connect(2), EINPROGRESS, EISCONN; __inet_stream_connect(), net/ipv4/af_inet.c",
)
def _twice() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    sock = bench.make()
    sock.setblocking(False)
    numbers = [sock.connect_ex(TARGET) for _ in range(3)]
    return ", then ".join(name(number) if number else "0" for number in numbers)


@fact(
    "9.2",
    "before connect() epoll reports a socket as writable and hung up",
    expected="OUT+HUP",
    meaning="Connect first and register afterwards, or the first event is a false one.",
    source="tcp_poll(), net/ipv4/tcp.c",
)
def _before_connect() -> str:
    return _events(Bench().make())


@fact(
    "9.3",
    "success is EPOLLOUT alone; failure comes with error and hang-up, and SO_ERROR returns the reason, once",
    expected="connected: OUT; refused: OUT+ERR+HUP, ECONNREFUSED, then 0",
    meaning="Success needs no further call; read the reason of a failure once and keep it, because reading clears it.",
    source="connect(2); socket(7), SO_ERROR; tcp_poll(), net/ipv4/tcp.c",
)
def _outcome() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    connected, refused = bench.make(), bench.make()
    for sock, port in ((connected, TARGET[1]), (refused, 9009)):
        sock.setblocking(False)
        sock.connect_ex((TARGET[0], port))
    return (
        f"connected: {_events(connected, select.EPOLLOUT)}; "
        f"refused: {_events(refused, select.EPOLLOUT)}, {_error(refused)}, then {_error(refused)}"
    )


@fact(
    "9.4",
    "an epoll descriptor can itself be watched by epoll",
    expected="64 connections: 1 event outside, 64 inside",
    meaning="An event loop watches one descriptor and wakes once per batch, not once per connection.",
    source="epoll(7), questions and answers",
)
def _nested() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    with select.epoll() as inner, select.epoll() as outer:
        outer.register(inner, select.EPOLLIN)
        for _ in range(64):
            sock = bench.make()
            sock.setblocking(False)
            sock.connect_ex(TARGET)
            inner.register(sock, select.EPOLLOUT)
        outside, inside = outer.poll(1.0), inner.poll(1.0, 100)
    return f"64 connections: {len(outside)} event{'s' * (len(outside) != 1)} outside, {len(inside)} inside"


@fact(
    "9.5",
    "a connection that is lost while held reports how",
    expected="closed: IN+RDHUP; reset: IN+ERR+HUP+RDHUP",
    meaning="Without reading a byte a generator can count the connections that the target closed or reset.",
    source="epoll_ctl(2), EPOLLRDHUP; tcp_poll(), net/ipv4/tcp.c",
)
def _lost() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    results = []
    for kind in ("closed", "reset"):
        client, server = bench.pair(listener)
        if kind == "reset":
            set_option(server.sock, RESET)
        server.sock.close()
        results.append(f"{kind}: {_events(client.sock, select.EPOLLIN | select.EPOLLRDHUP)}")
    return "; ".join(results)


@fact(
    "9.6",
    "connect() to 0.0.0.0 or :: reaches this host",
    expected="0.0.0.0: 127.0.0.1; 0.0.0.0 from 127.0.0.2: 127.0.0.2; ::: ::1",
    meaning="An unset variable that ends up as address 0.0.0.0 is a connection to oneself, and a list of allowed "
    "targets has to know it; loadgen refuses both addresses.",
    source="tools/testing/selftests/net/sk_connect_zero_addr.c; ip_route_output_key_hash_rcu(), net/ipv4/route.c",
)
def _zero_address() -> str:
    require_ipv6()
    bench = Bench()
    bench.listeners(TARGET, ("127.0.0.2", TARGET[1]), ("::1", TARGET[1]))
    cases: tuple[tuple[str, str, Address | None], ...] = (
        ("0.0.0.0", "0.0.0.0", None),
        ("0.0.0.0 from 127.0.0.2", "0.0.0.0", ("127.0.0.2", 0)),
        ("::", "::", None),
    )
    results = []
    for kind, address, bind in cases:
        attempt = bench.connect((address, TARGET[1]), bind=bind)
        results.append(f"{kind}: {attempt.sock.getpeername()[0] if attempt.ok else attempt}")
    return "; ".join(results)


@fact(
    "9.7",
    "TCP timestamps begin elsewhere for each source port",
    expected="4 connections between the same addresses: 4 beginnings; IPv6: the same",
    since="7.0",
    meaning="Behind a NAT that replaces source ports, as MASQUERADE with --random-fully does, a target's TIME-WAIT can "
    "see timestamps that went backwards: it answers the SYN with an ACK, the client resets, and tries again. Stable "
    "kernels have it too, such as 6.12.94; before, all connections between two addresses had one beginning.",
    source="secure_tcp_ts_off(), net/core/secure_seq.c; 165573e41f2f (CVE-2026-23247)",
    sysctls={**ports(100), "net.ipv4.tcp_timestamps": "1"},
)
def _timestamps() -> str:
    return in_both_families(_beginnings)


def _beginnings(address: str) -> str:
    bench = Bench()
    target: Address = (address, TARGET[1])
    bench.listeners(target)
    clients = [bench.connect(target) for _ in range(4)]
    if not all(client.ok for client in clients):
        raise CannotRunError(f"no connections to experiment with: {clients[-1]}")
    values = [client.sock.getsockopt(socket.IPPROTO_TCP, _TCP_TIMESTAMP) for client in clients]
    beginnings = _clusters([value % (1 << 32) for value in values])
    return f"{len(values)} connections between the same addresses: {beginnings} beginning{'s' * (beginnings != 1)}"


def _clusters(values: list[int]) -> int:
    """Return the number of groups of 32-bit timestamps that lie within ten seconds; the unit is a millisecond."""
    ordered = sorted(values)
    gaps = [(after - before) % (1 << 32) for before, after in zip(ordered, ordered[1:] + ordered[:1], strict=True)]
    return max(1, sum(gap > 10_000 for gap in gaps))


@fact(
    "9.8",
    "with TCP_FASTOPEN_CONNECT connect() returns 0 before a SYN was sent",
    expected="connect ok, OUT, ActiveOpens +0; send ok, ActiveOpens +1, SO_ERROR ECONNREFUSED; IPv6: the same",
    since="4.11",
    meaning="Neither connect() nor EPOLLOUT proves a connection then: a cookie of an earlier one is enough, or "
    "tcp_fastopen with bit 4 as here. Count what was answered; loadgen does not use the option.",
    source="tcp(7), TCP_FASTOPEN_CONNECT; tcp_fastopen_defer_connect(), net/ipv4/tcp_fastopen.c",
    sysctls={**ports(100), "net.ipv4.tcp_fastopen": "5"},
)
def _fast_open() -> str:
    return in_both_families(_deferred)


def _deferred(address: str) -> str:
    before = counters()
    sock = Bench().make(address, _FASTOPEN_CONNECT)
    sock.setblocking(False)
    connect = answer("connect", lambda: sock.connect((address, 9009)))
    before_send = f"{_events(sock)}, {moved(before, 'Tcp.ActiveOpens')}"
    send = answer("send", lambda: sock.send(b"x"))
    after = f"{moved(before, 'Tcp.ActiveOpens')}, SO_ERROR {_error(sock)}"
    return f"connect {connect}, {before_send}; send {send}, {after}"


@fact(
    "9.9",
    "close() of an unanswered connect() sends nothing, and the four-tuple is free at once",
    expected="OutSegs +0, TIME-WAIT 0, the same port again: EINPROGRESS; IPv6: the same",
    meaning="A connection that is given up costs no port. But the target is not told: an answer that is under way "
    "meets a RST, or the next connection with that port.",
    source="tools/testing/selftests/net/packetdrill/tcp_close_close-on-syn-sent.pkt; RFC 9293 3.10.4",
    sysctls=ports(1),
)
def _given_up() -> str:
    return in_both_families(_closed_unanswered)


def _closed_unanswered(address: str) -> str:
    bench = Bench()
    target: Address = (address, TARGET[1])
    bench.listen(target, backlog=0)
    filler = bench.connect(target, bind=(address, 30000))  # the queue is full: no other is answered
    waiting, again = bench.make(address), bench.make(address)
    for sock in (waiting, again):
        sock.setblocking(False)
    number = waiting.connect_ex(target)
    if not filler.ok or name(number) != "EINPROGRESS":
        raise CannotRunError(f"no connect() that waits: {filler}, connect {name(number)}")
    before = counters()
    waiting.close()
    sent = moved(before, "Tcp.OutSegs")
    return f"{sent}, TIME-WAIT {time_wait_count()}, the same port again: {name(again.connect_ex(target))}"
