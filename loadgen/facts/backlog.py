"""Section 6: a listener that does not accept, and the effect on its clients.

Sources: listen(2); tcp_v4_syn_recv_sock(), tcp_check_req() and tcp_conn_request() in net/ipv4;
ip-sysctl.rst (tcp_syn_linear_timeouts, tcp_abort_on_overflow).
"""

from __future__ import annotations

import socket
import time
from typing import Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.facts.base import CannotRunError, fact
from loadgen.facts.experiment import TARGET, Attempt, Bench, Option, answer, counters, rows, until
from loadgen.kernel.retransmission import syn_times

#: tcp(7): the server completes a connection only when data has arrived.
_DEFER_ACCEPT: Option = (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
#: Of a connect() as kernels come since Linux 6.5.
_DEFAULT: Final = syn_times(retries=6, linear=4)
#: include/net/tcp_states.h
_STATES: Final = {1: "ESTABLISHED", 3: "SYN_RECV"}


@fact(
    "6.1",
    "the accept queue holds one more than the backlog; the next connect() waits",
    expected="backlog 4: 5 connected, the next waits",
    meaning="A server that is too slow shows as connect() calls of seconds, not as an error.",
    source="listen(2); sk_acceptq_is_full(), include/net/sock.h",
)
def _queue() -> str:
    bench = Bench()
    bench.listen(TARGET, backlog=4)
    return f"backlog 4: {_connected(bench)}"


def _connected(bench: Bench) -> str:
    """Connect until a call fails; return the number of connections and the state of the next."""
    for done in range(20):
        attempt = bench.connect(TARGET, timeout_s=0.5)
        if not attempt.ok:
            return f"{done} connected, the next {'waits' if attempt.answer == 'connect timeout' else attempt}"
    return "20 connected"


@fact(
    "6.2",
    "net.core.somaxconn silently cuts the backlog of listen()",
    expected="listen(100) with somaxconn 2: 3 connected, the next waits",
    meaning="Raise the setting on the target's host, or the argument of listen() has no effect.",
    sysctls={"net.core.somaxconn": "2"},
    source="listen(2); ip-sysctl.rst, somaxconn",
)
def _somaxconn() -> str:
    bench = Bench()
    bench.listen(TARGET, backlog=100)
    return f"listen(100) with somaxconn 2: {_connected(bench)}"


@fact(
    "6.3",
    "a SYN without an answer is sent again every second at first",
    expected=f"again after {', '.join(f'{at_s:g}' for at_s in _DEFAULT.again_s[:3])} s",
    since="6.5",
    meaning="Latency histograms of an overloaded server have peaks at 1, 2, 3, 4 s; older kernels double the pause: 1, "
    "3, 7 s. `loadgen doctor` has the times of a host.",
    source="ip-sysctl.rst, tcp_syn_linear_timeouts; ccce324dabfe",
)
def _syn_again() -> str:
    bench = Bench()
    bench.listen(TARGET, backlog=0)
    if not bench.connect(TARGET).ok:
        raise CannotRunError("the queue could not be filled")
    before = counters()["TcpExt.TCPSynRetrans"]
    started_ns = now_ns()
    sock = bench.make()
    sock.setblocking(False)
    sock.connect_ex(TARGET)
    retries_s: list[int] = []
    while len(retries_s) < 3 and (not retries_s or retries_s[-1] < 3):
        if not until(lambda: counters()["TcpExt.TCPSynRetrans"] - before > len(retries_s), 4):
            break
        retries_s.append(round((now_ns() - started_ns) / NS_PER_S))
    return f"again after {', '.join(map(str, retries_s))} s"


@fact(
    "6.4",
    "tcp_syn_retries limits the wait, which ends in ETIMEDOUT",
    expected=f"tcp_syn_retries 1: connect ETIMEDOUT after {syn_times(retries=1, linear=4).gives_up_s:g} s",
    meaning=f"The default of 6 means {_DEFAULT.gives_up_s:g} s, before Linux 6.5 {syn_times(6).gives_up_s:g} s; use a "
    "timeout of your own.",
    sysctls={"net.ipv4.tcp_syn_retries": "1"},
    source="ip-sysctl.rst, tcp_syn_retries; tcp_write_timeout(), net/ipv4/tcp_timer.c",
)
def _syn_retries() -> str:
    bench = Bench()
    bench.listen(TARGET, backlog=0)
    bench.connect(TARGET)
    started_ns = now_ns()
    attempt = bench.connect(TARGET, timeout_s=8)
    return f"tcp_syn_retries 1: {attempt} after {round((now_ns() - started_ns) / NS_PER_S)} s"


def _overflow_at_the_last_ack(bench: Bench) -> Attempt:
    """Return a client whose accept queue fills up between its SYN and its data, after it has sent the data.

    With TCP_DEFER_ACCEPT the server completes the connection with the client's first data, so the order in which
    clients send decides which one finds the queue full. Every connect() has succeeded by then.
    """
    bench.listen(TARGET, _DEFER_ACCEPT, backlog=2)  # room for three connections, and for two that have sent no data
    for _ in range(2):
        bench.connect(TARGET).sock.send(b"x")
    third, fourth = bench.connect(TARGET), bench.connect(TARGET)
    if not (third.ok and fourth.ok):
        raise CannotRunError(f"no connections to experiment with: {third}, {fourth}")
    third.sock.send(b"x")
    return Attempt(fourth.sock, answer("send", lambda: fourth.sock.send(b"x")))


@fact(
    "6.5",
    "a connection may exist on the client's side only",
    expected="client: send ok, ESTABLISHED; server: SYN_RECV",
    meaning="The queue filled up after the SYN; wait for an answer of the server before relying on a connection.",
    source="tcp_check_req(), net/ipv4/tcp_minisocks.c; tcp(7), TCP_DEFER_ACCEPT",
)
def _half_open() -> str:
    attempt = _overflow_at_the_last_ack(Bench())
    time.sleep(0.1)  # a reset would have arrived by now
    port = attempt.port
    states = {
        "client": [_STATES.get(row.state, str(row.state)) for row in rows() if row.local_port == port],
        "server": [_STATES.get(row.state, str(row.state)) for row in rows() if row.remote_port == port],
    }
    client, server = (" ".join(names) or "nothing" for names in states.values())
    return f"client: send {attempt}, {client}; server: {server}"


@fact(
    "6.6",
    "tcp_abort_on_overflow=1 resets it instead",
    expected="send ok, then recv ECONNRESET",
    meaning="The client notices at once: the connection is lost right after it was made.",
    sysctls={"net.ipv4.tcp_abort_on_overflow": "1"},
    source="ip-sysctl.rst, tcp_abort_on_overflow; tcp_check_req(), net/ipv4/tcp_minisocks.c",
)
def _abort() -> str:
    attempt = _overflow_at_the_last_ack(Bench())
    attempt.sock.settimeout(1)
    return f"send {attempt}, then {answer('recv', lambda: attempt.sock.recv(1))}"
