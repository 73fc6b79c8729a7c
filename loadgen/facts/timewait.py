"""Section 5: which side keeps TIME-WAIT, for how long, and when its four-tuple can be reused.

Sources: tcp(7), ip-sysctl.rst (tcp_tw_reuse, tcp_tw_reuse_delay, tcp_max_tw_buckets); tcp_twsk_unique()
in net/ipv4/tcp_ipv4.c, which checks the sysctl only when the kernel chooses the port; RFC 9293 3.3.2.
"""

from __future__ import annotations

import math
import socket
import time

from loadgen.clock import NS_PER_S, now_ns
from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import (
    LOCAL,
    NO_PORT,
    RESET,
    REUSEADDR,
    REUSEPORT,
    TARGET,
    Address,
    Attempt,
    Bench,
    Option,
    ProcTcpRow,
    add_address,
    close_in_turn,
    counters,
    moved,
    require_ipv6,
    set_option,
    time_wait_count,
    time_waits,
    until,
)
from loadgen.kernel import sysctl

_REUSE = "net.ipv4.tcp_tw_reuse"
_DELAY = "net.ipv4.tcp_tw_reuse_delay"
_TIMESTAMPS = "net.ipv4.tcp_timestamps"
PORT: Address = (LOCAL, 40000)


@fact(
    "5.1",
    "the side that closes first keeps TIME-WAIT",
    expected="client first: client; server first: server",
    meaning="When the server closes first, the client's ports are free at once, and the server keeps TIME-WAIT.",
    source="RFC 9293 3.6; tcp_time_wait(), net/ipv4/tcp_minisocks.c",
)
def _who_keeps_it() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    return f"client first: {_keeper(bench, listener, 'client')}; server first: {_keeper(bench, listener, 'server')}"


def _keeper(bench: Bench, listener: socket.socket, first: str) -> str:
    client, server = bench.pair(listener)
    port = client.port
    close_in_turn(*((client.sock, server.sock) if first == "client" else (server.sock, client.sock)))

    def kept() -> list[ProcTcpRow]:
        return [row for row in time_waits() if port in (row.local_port, row.remote_port)]

    until(lambda: bool(kept()))
    return " and ".join("client" if row.local_port == port else "server" for row in kept()) or "neither"


@fact(
    "5.2",
    "TIME-WAIT lasts 60 s, and tcp_fin_timeout does not shorten it",
    expected="60 s",
    meaning="The usual advice to lower tcp_fin_timeout gains no ports; the setting concerns orphans in FIN-WAIT-2.",
    sysctls={**ports(4), "net.ipv4.tcp_fin_timeout": "2"},
    source="TCP_TIMEWAIT_LEN, include/net/tcp.h; ip-sysctl.rst, tcp_fin_timeout",
)
def _duration() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    bench.time_wait(listener)
    left_s = [row.timer_s for row in time_waits()]
    return f"{math.ceil(left_s[0] / 2) * 2} s" if left_s else "no TIME-WAIT"  # time left, up to the next even second


@fact(
    "5.3",
    "a close with RST (SO_LINGER 0) leaves none",
    expected="0 of 4, and the ports are free at once",
    meaning="`close: rst` sustains churn at any rate; the other side sees ECONNRESET instead of end of file.",
    sysctls={**ports(4), _REUSE: "0"},
    source="socket(7), SO_LINGER; __tcp_close(), net/ipv4/tcp.c",
)
def _reset() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    for _ in range(4):
        client, server = bench.pair(listener)
        set_option(client.sock, RESET)
        client.sock.close()
        server.sock.close()
    left = time_wait_count()
    again = bench.fill(TARGET, most=4)
    return f"{left} of 4, and the ports are {'free at once' if len(again) == 4 else f'not: {again}'}"


def _later() -> None:
    """Sleep until a four-tuple may be reused: a second; before Linux 6.14 up to two, on a clock of whole seconds."""
    time.sleep(2.2 if sysctl.read(_DELAY) is None else 1.2)


def _reused(*options: Option, bind: Address | None = None, target_port: int = 9000) -> str:
    """Reuse a four-tuple in TIME-WAIT at once and a little later; return "connect EADDRNOTAVAIL, later ok"."""
    bench = Bench()
    target = TARGET
    for target in ((LOCAL, port) for port in range(target_port, target_port + 5)):
        (listener,) = bench.listeners(target)
        started_ns = now_ns()
        bench.time_wait(listener, *options, bind=bind)
        at_once = bench.connect(target, *options, bind=bind)
        if now_ns() - started_ns < NS_PER_S // 2:
            break  # otherwise the machine was too busy for "at once": repeat with another target
    else:
        raise CannotRunError("the machine is too busy to try a four-tuple within a second")
    if at_once.ok:
        return "ok at once"
    at_once.sock.close()
    _later()
    later = bench.connect(target, *options, bind=bind)
    return f"{at_once}, later {'the same' if later.answer == at_once.answer else later}"


@fact(
    "5.4",
    "tcp_tw_reuse=0: an automatic port waits for the end of TIME-WAIT",
    expected="connect EADDRNOTAVAIL, later the same",
    meaning="Churn is limited to the size of the range per minute and destination.",
    sysctls={**ports(1), _REUSE: "0"},
    source="ip-sysctl.rst, tcp_tw_reuse; tcp_twsk_unique(), net/ipv4/tcp_ipv4.c",
)
def _no_reuse() -> str:
    return _reused()


@fact(
    "5.5",
    "tcp_tw_reuse=1: it is free after a second, late bind included",
    expected="connect EADDRNOTAVAIL, later ok",
    meaning="Churn is limited to the size of the range per second and destination.",
    sysctls={**ports(1), _REUSE: "1"},
    source="ip-sysctl.rst, tcp_tw_reuse; tcp_twsk_unique(), net/ipv4/tcp_ipv4.c",
)
def _reuse() -> str:
    return _reused(NO_PORT, bind=(LOCAL, 0))


@fact(
    "5.6",
    "tcp_tw_reuse=2, the default, does so for loopback addresses only",
    expected="127.0.0.1: free after a second; 10.9.0.1 on lo: not",
    since="4.19",
    meaning="A test on 127.0.0.1 reuses ports where the real network will not; the address decides, not the route.",
    sysctls={**ports(1), _REUSE: "2"},
    source="ip-sysctl.rst, tcp_tw_reuse; 79e9fed46038; tcp_twsk_unique(), net/ipv4/tcp_ipv4.c",
)
def _loopback_only() -> str:
    add_address("10.9.0.1", 32)
    bench = Bench()
    targets: tuple[Address, ...] = (TARGET, ("10.9.0.1", 9000))
    listeners = bench.listeners(*targets)
    for listener in listeners:
        bench.time_wait(listener)
    _later()
    loopback, other = (bench.connect(target) for target in targets)
    return (
        f"127.0.0.1: {'free after a second' if loopback.ok else loopback}; "
        f"10.9.0.1 on lo: {'not' if other.answer == 'connect EADDRNOTAVAIL' else other}"
    )


@fact(
    "5.7",
    "tcp_tw_reuse_delay sets the time until a four-tuple can be reused",
    expected="300 ms: free after 300 ms",
    since="6.14",
    meaning="The maximum churn rate is the size of the range divided by the delay.",
    sysctls={**ports(1), _REUSE: "1", _DELAY: "300"},
    source="ip-sysctl.rst, tcp_tw_reuse_delay; tcp_twsk_unique(), net/ipv4/tcp_ipv4.c",
)
def _delay() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    started_ns = now_ns()
    bench.time_wait(listener)
    if not until(lambda: bench.connect(TARGET).ok):
        return "300 ms: not free after 3 s"
    took_ms = (now_ns() - started_ns) * 1000 / NS_PER_S
    # The kernel's clock here has ticks of a millisecond, and the machine may be busy.
    return f"300 ms: free after {'300' if 295 <= took_ms < 900 else f'{took_ms:.0f}'} ms"


@fact(
    "5.8",
    "an explicit port with SO_REUSEADDR or SO_REUSEPORT is free at once, whatever the value of tcp_tw_reuse",
    expected="SO_REUSEADDR: ok at once; SO_REUSEPORT: ok at once",
    meaning="tcp_tw_reuse and its delay have no effect on explicit ports: measure them with automatic ones.",
    sysctls={**ports(1), _REUSE: "0"},
    source="tcp_twsk_unique(), net/ipv4/tcp_ipv4.c, called without a timewait socket for a port that is bound",
)
def _explicit_shared() -> str:
    reuseaddr = _reused(REUSEADDR, bind=PORT)
    return f"SO_REUSEADDR: {reuseaddr}; SO_REUSEPORT: {_reused(REUSEPORT, bind=(LOCAL, 40001), target_port=9010)}"


@fact(
    "5.9",
    "a port bound without flags, or by bind(address, 0), is blocked, also with tcp_tw_reuse=1",
    expected="explicit, no flag: bind EADDRINUSE; port 0: bind EADDRINUSE; port 0, SO_REUSEADDR: bind EADDRINUSE",
    meaning="Early binding cannot use tcp_tw_reuse at all: such a port is blocked for the whole minute.",
    sysctls={**ports(2), _REUSE: "1"},
    source="inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c: sockets in TIME-WAIT stay in the bucket",
)
def _early_bind() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    kinds: dict[str, tuple[Address, tuple[Option, ...]]] = {
        "explicit, no flag": ((LOCAL, 30000), ()),
        "port 0": ((LOCAL, 0), ()),
        "port 0, SO_REUSEADDR": ((LOCAL, 0), (REUSEADDR,)),
    }
    for bind, options in kinds.values():
        bench.time_wait(listener, *options, bind=bind)
    _later()
    return "; ".join(f"{kind}: {bench.connect(TARGET, *options, bind=bind)}" for kind, (bind, options) in kinds.items())


@fact(
    "5.10",
    "without TCP timestamps no four-tuple is reused",
    expected="automatic: connect EADDRNOTAVAIL; explicit: connect EADDRNOTAVAIL",
    meaning="tcp_timestamps=0 on either end blocks every four-tuple for 60 s.",
    sysctls={**ports(1), _REUSE: "1", _TIMESTAMPS: "0"},
    source="tcp_twsk_unique(), net/ipv4/tcp_ipv4.c; RFC 6191",
)
def _no_timestamps() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    bench.time_wait(listener)
    bench.time_wait(listener, REUSEADDR, bind=(LOCAL, 30000))
    _later()
    automatic, explicit = bench.connect(TARGET), bench.connect(TARGET, REUSEADDR, bind=(LOCAL, 30000))
    return f"automatic: {automatic}; explicit: {explicit}"


@fact(
    "5.11",
    "when the server closes first, one four-tuple can be used again and again",
    expected="20 of 20",
    meaning="The SYN reopens the server's TIME-WAIT; no setting is needed on either side.",
    sysctls={**ports(1), _REUSE: "0"},
    source="tcp_timewait_state_process(), net/ipv4/tcp_minisocks.c; RFC 6191",
)
def _server_first() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    for done in range(20):
        client = bench.connect(TARGET)
        if not client.ok:
            return f"{done} of 20, {client}"
        server, _ = listener.accept()
        close_in_turn(server, client.sock)
    return "20 of 20"


@fact(
    "5.12",
    "beyond tcp_max_tw_buckets no TIME-WAIT is kept, and the ports are free at once",
    expected="4 kept, TCPTimeWaitOverflow +4, 4 ports free",
    meaning="A full table looks like fast churn; TCPTimeWaitOverflow shows that it is not.",
    sysctls={**ports(8), _REUSE: "0", "net.ipv4.tcp_max_tw_buckets": "4"},
    source="ip-sysctl.rst, tcp_max_tw_buckets; tcp_time_wait(), net/ipv4/tcp_minisocks.c",
)
def _overflow() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    before = counters()
    pairs = [bench.pair(listener) for _ in range(8)]
    for client, server in pairs:
        close_in_turn(client.sock, server.sock)
    until(lambda: time_wait_count() >= 4)
    kept = time_wait_count()
    free = bench.fill(TARGET, most=8)
    return f"{kept} kept, {moved(before, 'TcpExt.TCPTimeWaitOverflow')}, {len(free)} ports free"


@fact(
    "5.13",
    "a server restarts over its own TIME-WAIT only if its first socket had SO_REUSEADDR, too",
    expected="both: ok; only the new one: bind EADDRINUSE",
    meaning="Accepted sockets inherit the flag of their listener; setting it only for the restart is too late.",
    source="socket(7), SO_REUSEADDR; inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _restart() -> str:
    return f"both: {_restarted(9000, REUSEADDR)}; only the new one: {_restarted(9001)}"


def _restarted(port: int, *old: Option, on: str = LOCAL) -> Attempt:
    bench = Bench()
    address = (on, port)
    listener = bench.bind(address, *old).sock
    listener.listen()
    client, server = bench.pair(listener)
    before = time_wait_count()
    close_in_turn(server.sock, client.sock)
    until(lambda: time_wait_count() > before)
    listener.close()
    return bench.listen(address, REUSEADDR)


@fact(
    "5.14",
    "tcp_tw_reuse is 2 by default, and tcp_tw_recycle is gone",
    expected="tcp_tw_reuse 2, no tcp_tw_recycle",
    since="4.19",
    meaning="Many texts on TIME-WAIT describe defaults and settings that no longer exist.",
    sysctls={},
    source="ip-sysctl.rst, tcp_tw_reuse; 79e9fed46038, 4396e46187ca",
)
def _defaults() -> str:
    recycle = sysctl.read("net.ipv4.tcp_tw_recycle")
    recycle_state = "no tcp_tw_recycle" if recycle is None else f"tcp_tw_recycle {recycle}"
    return f"tcp_tw_reuse {sysctl.read(_REUSE)}, {recycle_state}"


# bhash2 (6.1) left TIME-WAIT out until 936a192f9740 (6.2, and 6.1.5).
@fact(
    "5.15",
    "a server on 0.0.0.0 or :: restarts over its TIME-WAIT on the same condition",
    expected="0.0.0.0: both ok, only the new one bind EADDRINUSE; ::: both ok, only the new one bind EADDRINUSE",
    since="6.2",
    source="tools/testing/selftests/net/bind_timewait.c",
    meaning="TIME-WAIT of one connection keeps the port from the whole server; set SO_REUSEADDR from the first start "
    "on (5.13).",
)
def _restart_on_wildcard() -> str:
    require_ipv6()
    results = []
    for port, on in enumerate(("0.0.0.0", "::"), 9000):
        both, only = _restarted(port, REUSEADDR, on=on), _restarted(port + 10, on=on)
        results.append(f"{on}: both {both}, only the new one {only}")
    return "; ".join(results)
