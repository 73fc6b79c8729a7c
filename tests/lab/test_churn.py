"""Opening and closing with real sockets: who keeps TIME-WAIT, and how soon a port serves again.

Four ports in a namespace of the test's own, so that every port is used again within milliseconds.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from loadgen.clock import now_ns
from loadgen.kernel import snmp, sockstat
from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.protocols.echo import Echo
from loadgen.results.block import Latency, consistent_breakdown
from loadgen.worker.backoff import LASTING

from .support import PROC_NET, Load, accept_all, listen, reset, until

FOUR: Final = PortRange(40000, 40003)
TARGET: Final = Endpoint("127.0.0.1", 9000)
SOURCE: Final = "127.0.0.2"
Churn = Callable[..., Load]

pytestmark = pytest.mark.lab("40000 40003", net__ipv4__tcp_tw_reuse="0")
reuse = pytest.mark.lab(net__ipv4__tcp_tw_reuse="1", net__ipv4__tcp_tw_reuse_delay="100")


@pytest.fixture
def listener(_lab: None) -> Iterator[socket.socket]:
    with listen(TARGET) as listening:
        yield listening


@pytest.fixture
def churn(listener: socket.socket) -> Iterator[Churn]:  # noqa: ARG001  # must be there first
    with ExitStack() as stack:

        def make(strategy: Strategy = Strategy.LATE_RANGE, **more: Any) -> Load:
            more.setdefault("close", CloseMode.FIN)
            load = Load(strategy, [(SOURCE, TARGET)], FOUR, churn=True, **more)
            stack.callback(load.close)
            return load

        yield make


def counter(name: str) -> int:
    return snmp.read(PROC_NET)[f"TcpExt.{name}"]


def in_time_wait() -> int:
    return sockstat.read(PROC_NET)["tcp_tw"]


def turn(load: Load, listener: socket.socket, count: int = 1) -> None:
    """Connections one after the other, each over at both ends before the next begins."""
    for _ in range(count):
        established = load.recorder.established
        load.open()
        for sock in accept_all(listener, load.recorder.established - established):
            sock.close()


def test_a_fin_keeps_the_four_tuple_for_a_minute(churn: Churn, listener: socket.socket) -> None:
    load = churn()
    turn(load, listener, 4 + LASTING)
    assert (load.recorder.established, load.recorder.closed, load.recorder.open) == (4, 4, 0)
    assert load.errors == {("connect", "EADDRNOTAVAIL"): LASTING}
    assert load.recorder.established_then == 4
    assert load.recorder.first_denied_ns > 0
    assert in_time_wait() == 4
    assert counter("TWRecycled") == 0


@pytest.mark.parametrize("strategy", [Strategy.BIND, Strategy.REUSEADDR, Strategy.EXCLUSIVE])
def test_bind_takes_no_port_out_of_time_wait(strategy: Strategy, churn: Churn, listener: socket.socket) -> None:
    load = churn(strategy)
    turn(load, listener, 6)
    assert load.recorder.established == 4
    assert load.errors == {("bind", "EADDRINUSE"): 2}


@pytest.mark.lab(net__ipv4__ip_autobind_reuse="1")
def test_with_ip_autobind_reuse_bind_takes_one_at_once(churn: Churn, listener: socket.socket) -> None:
    """With SO_REUSEADDR on both, and whatever tcp_tw_reuse says; without the flag it still does not."""
    load = churn(Strategy.REUSEADDR)
    turn(load, listener, 20)
    assert (load.recorder.established, load.errors) == (20, {})
    without = churn(Strategy.BIND)
    turn(without, listener, 1)
    assert without.errors == {("bind", "EADDRINUSE"): 1}


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_reset_keeps_nothing(strategy: Strategy, churn: Churn, listener: socket.socket) -> None:
    load = churn(strategy, close=CloseMode.RST)
    turn(load, listener, 20)
    assert (load.recorder.established, load.recorder.closed, load.errors) == (20, 20, {})
    assert in_time_wait() == 0


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.LATE, Strategy.BIND, Strategy.EXPLICIT])
def test_a_target_that_closes_first_keeps_time_wait_and_the_port_serves_at_once(
    strategy: Strategy, churn: Churn, listener: socket.socket
) -> None:
    load = churn(strategy, close=CloseMode.TARGET)
    for n in range(1, 21):
        load.open()
        assert load.recorder.open == 1
        for sock in accept_all(listener, 1):
            sock.close()
        load.settle(lambda n=n: load.recorder.closed == n)  # type: ignore[misc]
    assert (load.recorder.established, load.recorder.lost, load.errors) == (20, 0, {})
    assert counter("TW") == 20


@pytest.mark.parametrize("strategy", [Strategy.EXPLICIT, Strategy.REUSEPORT])
def test_a_port_that_is_named_leaves_time_wait_at_once_whatever_tcp_tw_reuse_says(
    strategy: Strategy, churn: Churn, listener: socket.socket
) -> None:
    load = churn(strategy)
    turn(load, listener, 20)
    assert (load.recorder.established, load.errors) == (20, {})
    assert (counter("TW"), counter("TWRecycled")) == (20, 16)


@pytest.mark.lab(net__ipv4__tcp_timestamps="0")
def test_without_timestamps_it_does_not(churn: Churn, listener: socket.socket) -> None:
    load = churn(Strategy.EXPLICIT)
    turn(load, listener, 6)
    assert load.recorder.established == 4
    assert load.errors == {("connect", "EADDRNOTAVAIL"): 2}


@reuse
@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.LATE])
def test_a_port_that_connect_chooses_serves_again_after_the_delay(
    strategy: Strategy, churn: Churn, listener: socket.socket
) -> None:
    load = churn(strategy)
    begun_ns = now_ns()
    turn(load, listener, 4)

    def again() -> bool:
        turn(load, listener)
        return load.recorder.established == 5

    until(again)
    assert now_ns() - begun_ns > 100e6
    assert counter("TWRecycled") == 1
    assert load.errors.get(("connect", "EADDRNOTAVAIL"), 0) == load.recorder.failed > 0


@pytest.mark.lab(net__ipv4__tcp_max_tw_buckets="2")
def test_what_does_not_fit_into_the_table_of_time_wait_is_free_at_once(churn: Churn, listener: socket.socket) -> None:
    load = churn(Strategy.LATE)
    turn(load, listener, 20)
    assert (load.recorder.established, load.errors) == (20, {})
    assert counter("TCPTimeWaitOverflow") == 18


def test_so_many_are_open_at_a_time_and_no_more(churn: Churn) -> None:
    load = churn(close=CloseMode.TARGET, open_max=3)
    load.connector.open_batch((0,) * load.lifecycle.room)
    assert (load.lifecycle.room, load.recorder.open) == (0, 3)


# --- Requests and replies -------------------------------------------------------------------------


def test_a_connection_is_closed_when_its_reply_is_read(churn: Churn, listener: socket.socket) -> None:
    load = churn(exchange=Echo(10), close=CloseMode.RST)
    load.open()
    (peer,) = accept_all(listener, 1)
    request = until(lambda: peer.recv(100))
    assert len(request) == 10
    peer.sendall(request[:4])
    load.connector.drain_events()
    assert load.recorder.open == 1
    peer.sendall(request[4:])
    load.settle(lambda: load.recorder.closed == 1)
    assert (load.recorder.open, load.recorder.lost) == (0, 0)
    assert consistent_breakdown(load.block)["latency"][Latency.EXCHANGE].sum() == 1
    peer.close()


def test_a_target_that_closes_does_so_after_its_reply(churn: Churn, listener: socket.socket) -> None:
    load = churn(exchange=Echo(10), close=CloseMode.TARGET)
    load.open()
    (peer,) = accept_all(listener, 1)
    peer.sendall(until(lambda: peer.recv(100)))

    def replied() -> bool:
        load.recorder.publish_all()
        return bool(consistent_breakdown(load.block)["latency"][Latency.EXCHANGE].sum() == 1)

    load.settle(replied)
    assert load.recorder.open == 1
    peer.close()
    load.settle(lambda: load.recorder.closed == 1)
    assert load.recorder.lost == 0


def test_a_request_that_does_not_fit_is_sent_bit_by_bit(churn: Churn, listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    load = churn(exchange=Echo(65_536), close=CloseMode.RST)
    load.open()
    (peer,) = accept_all(listener, 1)
    peer.setblocking(False)
    owed = b""
    echoed = 0

    def echo() -> bool:
        nonlocal owed, echoed
        try:
            owed += peer.recv(65_536)
        except (BlockingIOError, ConnectionResetError):
            pass
        try:
            sent = peer.send(owed) if owed else 0
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            sent = 0
        owed, echoed = owed[sent:], echoed + sent
        return load.recorder.closed == 1

    load.settle(echo)
    assert (echoed, load.recorder.lost) == (65_536, 0)
    peer.close()


@pytest.mark.parametrize(
    ("end", "error"),
    [(socket.socket.close, ("recv", "EOF")), (reset, ("recv", "ECONNRESET"))],
)
def test_a_connection_that_ends_before_its_reply_is_lost(
    end: Callable[[socket.socket], None], error: tuple[str, str], churn: Churn, listener: socket.socket
) -> None:
    load = churn(exchange=Echo(10))
    load.open()
    (peer,) = accept_all(listener, 1)
    assert until(lambda: peer.recv(100))  # unread data would turn any close into a reset
    end(peer)
    load.settle(lambda: load.recorder.lost == 1)
    assert (load.errors, load.recorder.closed, load.recorder.open) == ({error: 1}, 0, 0)


@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.TARGET])
def test_a_connection_without_an_end_is_lost_when_the_time_is_up(close: CloseMode, churn: Churn) -> None:
    load = churn(exchange=Echo(10), close=close, timeout_s=5.0)
    load.open(2)
    load.connector.expire(now_ns())
    assert load.recorder.open == 2
    load.connector.expire(now_ns() + 5_000_000_000)
    load.check()
    assert load.errors == {("wait", "ETIMEDOUT"): 2}
    assert load.lifecycle.room == 1000


def test_what_is_open_when_the_run_ends_is_closed(churn: Churn) -> None:
    load = churn(close=CloseMode.TARGET)
    load.open(3)
    load.connector.abandon()
    assert not load.connector.close_batch(8192)
    load.check()
    assert (load.recorder.closed, load.recorder.open) == (3, 0)


def test_a_denied_range_is_asked_a_thousand_times_a_second_and_not_more(churn: Churn, listener: socket.socket) -> None:
    load = churn()
    turn(load, listener, 4)
    begun = time.monotonic()
    turn(load, listener, 20)
    assert load.recorder.failed == 20
    assert time.monotonic() - begun > 0.019  # twenty rests of a millisecond at least


def _closed_here_first(count: int, *, answered: bool) -> tuple[dict[str, int], int]:
    """Close connections on one side, and on the other only if `answered`; return what moved, and tcp_tw of sockstat."""
    before = snmp.read(PROC_NET)
    with socket.create_server(("127.0.0.1", 9000)) as listener:
        pairs = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", 9000))
            pairs.append((client, listener.accept()[0]))
        for client, _ in pairs:
            client.close()
        until(lambda: sockstat.read(PROC_NET)["tcp_tw"] == count)
        for _, accepted in pairs if answered else ():
            accepted.close()
        until(lambda: sockstat.read(PROC_NET)["tcp_inuse"] == (1 if answered else 1 + count))
        found = snmp.delta(before, snmp.read(PROC_NET)), sockstat.read(PROC_NET)["tcp_tw"]
        for _, accepted in pairs:
            accepted.close()
    return found


@pytest.mark.lab
@pytest.mark.parametrize("answered", [True, False])
def test_a_connection_is_counted_once_in_fin_wait_2_and_time_wait(answered: bool) -> None:
    moved, kept = _closed_here_first(3, answered=answered)
    assert (moved["TcpExt.TW"], moved.get("TcpExt.TWKilled", 0), kept) == (3, 0, 3)
    assert snmp.entered_time_wait(moved) == 3


@pytest.mark.lab(net__ipv4__tcp_fin_timeout="3")
def test_with_a_short_fin_timeout_another_counter_has_them() -> None:
    moved, kept = _closed_here_first(3, answered=True)
    assert (moved.get("TcpExt.TW", 0), moved["TcpExt.TWKilled"], kept) == (0, 3, 3)
    assert snmp.entered_time_wait(moved) == 3
