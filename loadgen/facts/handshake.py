"""Section 9: results of a non-blocking connect(), and how they are reported; the basis of loadgen's data plane.

Sources: connect(2), epoll(7), epoll_ctl(2), socket(7) SO_ERROR; tcp_poll() in net/ipv4/tcp.c.
"""

from __future__ import annotations

import select
import socket

from loadgen.facts.base import fact
from loadgen.facts.experiment import RESET, TARGET, Bench, name, set_option

_EVENTS = {
    "IN": select.EPOLLIN,
    "OUT": select.EPOLLOUT,
    "ERR": select.EPOLLERR,
    "HUP": select.EPOLLHUP,
    "RDHUP": select.EPOLLRDHUP,
}
_ALL = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP


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
)
def _before_connect() -> str:
    return _events(Bench().make())


@fact(
    "9.3",
    "success is EPOLLOUT alone; failure comes with error and hang-up, and SO_ERROR returns the reason, once",
    expected="connected: OUT; refused: OUT+ERR+HUP, ECONNREFUSED, then 0",
    meaning="Success needs no further call; read the reason of a failure once and keep it, because reading clears it.",
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
