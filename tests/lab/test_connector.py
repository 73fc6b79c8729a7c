"""What the connector relies on the kernel for, and what it makes of every way a connection can end."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import pytest

from loadgen.clock import now_ns
from loadgen.kernel import snmp, sockstat
from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.results import histogram
from loadgen.results.block import Latency

from .support import LINGER_0, PROC_NET, Load, accept_all, add_route, in_child, listen, reset, until

LOOPBACK: Final = "127.0.0.1"
TARGET: Final = Endpoint(LOOPBACK, 9000)
PAIR: Final = [(LOOPBACK, TARGET)]
HUNDRED: Final = PortRange(40000, 40099)

MakeLoad = Callable[..., Load]
MakeListeners = Callable[..., list[socket.socket]]

pytestmark = pytest.mark.lab("40000 40099")


def quick_socket(keep: ExitStack) -> socket.socket:
    return keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))


# --- facts about a non-blocking connect() -------------------------------------------------------


def test_on_loopback_a_second_connect_finds_the_handshake_done(listeners: MakeListeners, keep: ExitStack) -> None:
    """The first answers EINPROGRESS; when it returns, SYN, answer and ACK have usually been handled.

    Usually: a busy machine may leave the packets to a kernel thread, and then the second connect()
    answers EALREADY instead. Nothing else ever comes.
    """
    listeners(TARGET)
    answers = []
    for _ in range(100):
        sock = quick_socket(keep)
        assert sock.connect_ex(TARGET.sockaddr) == errno.EINPROGRESS
        answers.append(sock.connect_ex(TARGET.sockaddr))
    assert set(answers) <= {0, errno.EALREADY}
    assert answers.count(0) > 50


def test_while_nobody_answers_a_second_connect_says_so(listeners: MakeListeners, keep: ExitStack) -> None:
    """EALREADY, as often as one asks; and epoll keeps quiet about it."""
    (listener,) = listeners(TARGET, backlog=0)
    first, second = quick_socket(keep), quick_socket(keep)
    first.connect_ex(TARGET.sockaddr)
    until(lambda: select.select([listener], [], [], 0)[0])
    assert [second.connect_ex(TARGET.sockaddr) for _ in range(3)] == [errno.EINPROGRESS] + [errno.EALREADY] * 2
    with select.epoll() as watch:
        watch.register(second, select.EPOLLOUT)
        assert watch.poll(0) == []


def test_before_connect_epoll_calls_a_socket_writable_and_hung_up(keep: ExitStack) -> None:
    sock = quick_socket(keep)
    with select.epoll() as watch:
        watch.register(sock, select.EPOLLOUT)
        assert watch.poll(0) == [(sock.fileno(), select.EPOLLOUT | select.EPOLLHUP)]


def test_a_failure_is_told_once_by_so_error(keep: ExitStack) -> None:
    """epoll says EPOLLERR and EPOLLHUP; reading the reason clears it."""
    sock = quick_socket(keep)
    assert sock.connect_ex(TARGET.sockaddr) == errno.EINPROGRESS  # nobody listens there
    with select.epoll() as watch:
        watch.register(sock, select.EPOLLOUT)
        ((_, event),) = watch.poll(10)
    assert event & select.EPOLLERR
    assert event & select.EPOLLHUP
    assert [sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for _ in range(2)] == [errno.ECONNREFUSED, 0]


def test_an_epoll_object_can_be_watched_by_another(listeners: MakeListeners, keep: ExitStack) -> None:
    """However many sockets have something to say, the outer one has a single event."""
    listeners(TARGET)
    with select.epoll() as inner, select.epoll() as outer:
        outer.register(inner, select.EPOLLIN)
        assert outer.poll(0) == []
        for _ in range(20):
            sock = quick_socket(keep)
            sock.connect_ex(TARGET.sockaddr)
            inner.register(sock, select.EPOLLOUT)
        until(lambda: len(inner.poll(0)) == 20)
        assert outer.poll(0) == [(inner.fileno(), select.EPOLLIN)]


@pytest.mark.lab("40000 40003")
def test_a_range_without_a_free_port_fails_in_connect_itself(listeners: MakeListeners, keep: ExitStack) -> None:
    """EADDRNOTAVAIL comes as the answer to connect(), never later; and nothing in the counters moves."""
    listeners(TARGET)
    for _ in range(4):
        assert quick_socket(keep).connect_ex(TARGET.sockaddr) == errno.EINPROGRESS
    before = snmp.read(PROC_NET)["Tcp.ActiveOpens"]
    late = quick_socket(keep)
    assert late.connect_ex(TARGET.sockaddr) == errno.EADDRNOTAVAIL
    assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert snmp.read(PROC_NET)["Tcp.ActiveOpens"] == before


@pytest.mark.lab("40000 40003")
def test_an_unanswered_attempt_holds_its_four_tuple(listeners: MakeListeners, keep: ExitStack) -> None:
    (listener,) = listeners(TARGET, backlog=0)
    quick_socket(keep).connect_ex(TARGET.sockaddr)
    until(lambda: select.select([listener], [], [], 0)[0])
    for _ in range(3):
        assert quick_socket(keep).connect_ex(TARGET.sockaddr) == errno.EINPROGRESS
    assert quick_socket(keep).connect_ex(TARGET.sockaddr) == errno.EADDRNOTAVAIL


@pytest.mark.lab("40000 40003")
def test_a_socket_can_connect_to_itself() -> None:
    """A closed port inside the range, on the same address: the two names are then equal (RFC 9293 3.5).

    About every second time with an even port here: the kernel tries the parity of the range's low end
    first, and while one of those ports is free never comes to an odd one.
    """
    met = 0
    for _ in range(50):
        with socket.socket() as sock:
            sock.settimeout(10)
            if sock.connect_ex((LOOPBACK, 40002)) == 0:
                assert sock.getsockname() == sock.getpeername() == (LOOPBACK, 40002)
                met += 1
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    assert met


# --- how an attempt ends --------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", list(Strategy))
def test_established_connections_are_counted_and_held(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    """Round robin over the pairs; a connect time for each, and no lateness where nothing was due."""
    other = Endpoint(LOOPBACK, 9001)
    first, second = listeners(TARGET, other)
    opening = load(strategy, [(LOOPBACK, TARGET), (LOOPBACK, other)], HUNDRED)
    opening.open(31)
    now = opening.recorder
    assert (now.started, now.established, now.open, now.failed, now.lost) == (31, 31, 31, 0, 0)
    for listener, count in ((first, 16), (second, 15)):
        for end in accept_all(listener, count):
            end.close()
    assert opening.block["pairs"][:, 0].tolist() == [16, 15]
    counts = [int(row.sum()) for row in opening.block["latency"]]
    assert counts == [0, 31, 31, 0, 0]
    assert now.last_established_ns <= now_ns()


def test_a_due_time_makes_lateness_and_arrival(load: MakeLoad, listeners: MakeListeners) -> None:
    """Due a second ago: a second late, and at least a second to arrive, however fast the network was."""
    listeners(TARGET)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    opening.connector.open_batch([now_ns() - 1_000_000_000] * 5)
    opening.settle(lambda: opening.recorder.established == 5)
    latency = opening.block["latency"]
    assert [int(row.sum()) for row in latency] == [5, 5, 5, 0, 0]
    for row in (Latency.LATENESS, Latency.ARRIVAL):
        assert histogram.quantile_ns(latency[row], 0) > 0.99e9
    assert histogram.max_ns(latency[Latency.ARRIVAL]) >= histogram.max_ns(latency[Latency.LATENESS])


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_closed_port_refuses(strategy: Strategy, load: MakeLoad) -> None:
    """More attempts than there are ports: a refused one gives its port back at once."""
    refused = load(strategy, PAIR, HUNDRED)
    refused.open(75)
    refused.open(75)
    assert refused.errors == {("connect", "ECONNREFUSED"): 150}
    assert refused.recorder.open == 0


@pytest.mark.parametrize(
    ("strategy", "family"),
    [(strategy, address) for strategy in list(Strategy) for address in (LOOPBACK, "::1")],
)
@pytest.mark.lab("40000 40003")
def test_meeting_oneself_is_no_connection(strategy: Strategy, family: str, load: MakeLoad) -> None:
    """Counted as its own outcome, closed at once, never established."""
    meeting = load(strategy, [(family, Endpoint(family, 40002))], PortRange(40000, 40003), self_connect=True)
    meeting.open(4)
    if strategy in (Strategy.LATE_RANGE, Strategy.EXPLICIT):  # each port once, so one of four meets itself
        assert meeting.errors == {("getsockname", "SELF"): 1, ("connect", "ECONNREFUSED"): 3}
    meeting.open(46)
    assert (meeting.recorder.established, meeting.recorder.open) == (0, 0)
    assert meeting.errors[("getsockname", "SELF")] >= 1


@pytest.mark.lab("40000 40003")
@pytest.mark.parametrize("strategy", list(Strategy))
def test_meeting_oneself_leaves_no_time_wait_in_mode_rst(strategy: Strategy, load: MakeLoad) -> None:
    """`close: rst` promises to leave nothing behind, so the next attempt finds the port free."""
    meeting = load(strategy, [(LOOPBACK, Endpoint(LOOPBACK, 40002))], PortRange(40000, 40003), self_connect=True)
    meeting.open(20)
    assert ("getsockname", "SELF") in meeting.errors
    assert sockstat.read(PROC_NET)["tcp_tw"] == 0


@pytest.mark.parametrize(
    ("route", "name"),
    [("blackhole", "EINVAL"), ("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES"), (None, "ENETUNREACH")],
)
def test_each_kind_of_missing_route_has_its_own_errno(route: str | None, name: str, load: MakeLoad) -> None:
    """connect() knows at once; a blackhole route is no silence but EINVAL."""
    if route:
        add_route(route, "198.18.0.1/32")
    lost = load(Strategy.KERNEL, [(LOOPBACK, Endpoint("198.18.0.1", 9000))], HUNDRED)
    lost.open(3)
    assert lost.errors == {("connect", name): 3}


def _full(listeners: MakeListeners, load: MakeLoad, **more: Any) -> tuple[socket.socket, Load]:
    """A listener whose queue is full, and a load with one connection in that queue."""
    (listener,) = listeners(TARGET, backlog=0)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED, **more)
    opening.open()
    until(lambda: select.select([listener], [], [], 0)[0])
    return listener, opening


def test_attempts_nobody_answers_fill_the_window(load: MakeLoad, listeners: MakeListeners) -> None:
    """They stay in flight, neither established nor failed, until the room is gone."""
    _, waiting = _full(listeners, load, in_flight_max=5)
    assert waiting.connector.room == 5
    waiting.start(3)
    assert (waiting.recorder.in_flight, waiting.connector.room) == (3, 2)
    waiting.start(2)
    waiting.connector.drain_events()
    waiting.check()
    now = waiting.recorder
    assert (now.started, now.established, now.failed, now.in_flight) == (6, 1, 0, 5)
    assert waiting.connector.room == 0


def test_an_unanswered_attempt_expires_when_its_own_time_is_up(load: MakeLoad, listeners: MakeListeners) -> None:
    """The older batch does, the younger one waits on; the instant is the caller's, so nobody has to wait here."""
    _, waiting = _full(listeners, load, timeout_s=600)
    waiting.start(2)
    between = now_ns()
    waiting.start(3)
    waiting.connector.expire(between)
    assert waiting.errors == {}
    waiting.connector.expire(between + 600 * 10**9)
    waiting.check()
    assert waiting.errors == {("wait", "ETIMEDOUT"): 2}
    assert (waiting.recorder.in_flight, waiting.recorder.failed) == (3, 2)
    waiting.connector.expire(now_ns() + 600 * 10**9)
    waiting.check()
    assert waiting.errors == {("wait", "ETIMEDOUT"): 5}
    assert waiting.recorder.in_flight == 0


def test_abandoned_attempts_stay_in_flight(load: MakeLoad, listeners: MakeListeners) -> None:
    """Nobody knows how they would have ended; the sums still hold, and the sockets are gone."""
    _, waiting = _full(listeners, load)
    waiting.start(4)
    waiting.connector.abandon()
    waiting.check()
    assert (waiting.recorder.in_flight, waiting.recorder.established) == (4, 1)
    until(lambda: sockstat.read(PROC_NET)["tcp_inuse"] == 3)  # the listener, one connection, its other end


def test_an_attempt_answered_late_is_established_all_the_same(load: MakeLoad, listeners: MakeListeners) -> None:
    """The SYN is sent again after a second (RFC 6298), and that second is in the connect time."""
    listener, waiting = _full(listeners, load)
    waiting.start()
    accept_all(listener, 1)[0].close()
    waiting.settle(lambda: waiting.recorder.established == 2)
    assert waiting.recorder.in_flight == 0
    assert histogram.max_ns(waiting.block["latency"][Latency.CONNECT]) > 0.9e9


def test_a_target_that_goes_while_the_syn_waits_refuses(load: MakeLoad, listeners: MakeListeners) -> None:
    """The answer comes by way of epoll and SO_ERROR then, and means the same."""
    listener, waiting = _full(listeners, load)
    waiting.start()
    listener.close()
    waiting.settle(lambda: not waiting.recorder.in_flight)
    waiting.settle(lambda: waiting.recorder.lost == 1)  # the one that was in the queue
    assert waiting.errors == {("connect", "ECONNREFUSED"): 1, ("recv", "ECONNRESET"): 1}


def test_without_descriptors_socket_fails_with_emfile() -> None:
    """Shed and counted; the attempts before it live, and those after it do when there is room again."""

    def body() -> tuple[int, dict[tuple[str, str], int], int, dict[tuple[str, str], int]]:
        with listen(TARGET) as listener:
            opening = Load(Strategy.LATE_RANGE, PAIR, HUNDRED)
            # Every number below the limit is taken, but for three; others may be open from other tests.
            limit = max(int(fd) for fd in os.listdir("/proc/self/fd")) + 16
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            fillers = []
            while True:
                try:
                    fillers.append(os.dup(0))
                except OSError:
                    break
            for fd in fillers[-3:]:
                os.close(fd)
            opening.open(8)
            first = opening.recorder.established, opening.errors
            os.close(fillers[0])
            opening.open(2)
            assert listener.fileno() > 0
            return *first, opening.recorder.established, opening.errors

    established, errors, established_later, errors_later = in_child(body)
    assert (established, errors) == (3, {("socket", "EMFILE"): 5})
    assert (established_later, errors_later) == (4, {("socket", "EMFILE"): 6})


class _FullEpoll:
    """An epoll object whose user has no watches left (fs.epoll.max_user_watches, which no namespace has)."""

    def register(self, _fd: int, _events: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def poll(self, _timeout: float, _most: int) -> list[tuple[int, int]]:
        return []


@pytest.mark.parametrize("backlog", [4096, 0])
def test_without_watches_attempts_fail_and_the_sums_hold(
    backlog: int, load: MakeLoad, listeners: MakeListeners, monkeypatch: pytest.MonkeyPatch, keep: ExitStack
) -> None:
    """Whether the target answers at once (backlog 4096) or not at all (0)."""
    (listener,) = listeners(TARGET, backlog=backlog)
    if not backlog:
        quick_socket(keep).connect_ex(TARGET.sockaddr)
        until(lambda: select.select([listener], [], [], 0)[0])
    failing = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    monkeypatch.setattr(failing.connector, "_epoll", _FullEpoll())
    failing.start(3)
    assert failing.errors == {("register", "ENOSPC"): 3}


# --- held connections -------------------------------------------------------------------------------


@pytest.mark.parametrize(("end_with", "name"), [(socket.socket.close, "EOF"), (reset, "ECONNRESET")])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_connection_the_target_ends_is_lost(
    end_with: Callable[[socket.socket], None],
    name: str,
    strategy: Strategy,
    load: MakeLoad,
    listeners: MakeListeners,
) -> None:
    """FIN and RST are told apart; it stays counted as established, because it was."""
    (listener,) = listeners(TARGET)
    holding = load(strategy, PAIR, HUNDRED)
    holding.open(10)
    ends = accept_all(listener, 10)
    for end in ends[:4]:
        end_with(end)
    holding.settle(lambda: holding.recorder.lost == 4)
    now = holding.recorder
    assert (now.established, now.failed, now.open) == (10, 0, 6)
    assert holding.errors == {("recv", name): 4}
    for end in ends[4:]:
        end.close()


def test_data_is_read_and_forgotten(load: MakeLoad, listeners: MakeListeners) -> None:
    """A held connection that receives is not lost, and its data does not pile up."""
    (listener,) = listeners(TARGET)
    holding = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    holding.open(3)
    ends = accept_all(listener, 3)
    for end in ends:
        end.setblocking(True)
        end.sendall(b"x" * 100_000)
    holding.settle(lambda: not select.select([holding.connector], [], [], 0)[0])
    assert (holding.recorder.open, holding.recorder.lost, holding.errors) == (3, 0, {})
    for end in ends:
        end.close()
    holding.settle(lambda: holding.recorder.lost == 3)
    assert holding.errors == {("recv", "EOF"): 3}


@pytest.mark.parametrize(("end_with", "name"), [(socket.socket.close, "EOF"), (reset, "ECONNRESET")])
def test_last_words_do_not_hide_the_end(
    end_with: Callable[[socket.socket], None], name: str, load: MakeLoad, listeners: MakeListeners
) -> None:
    """Data and the end in one go: lost, once."""
    (listener,) = listeners(TARGET)
    holding = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    holding.open(3)
    for end in accept_all(listener, 3):
        end.send(b"good bye")
        end_with(end)
    holding.settle(lambda: holding.recorder.lost == 3)
    holding.connector.drain_events()
    holding.check()
    assert holding.errors == {("recv", name): 3}


# --- closing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
def test_who_closes_with_fin_keeps_time_wait(
    close: CloseMode, strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    """One for each connection, on our side because we were first; after RST there is none on either."""
    (listener,) = listeners(TARGET)
    closing = load(strategy, PAIR, HUNDRED, close=close)
    closing.open(12)
    ends = accept_all(listener, 12)
    before = snmp.read(PROC_NET)
    closing.close()
    assert (closing.recorder.open, closing.recorder.lost, closing.errors) == (0, 0, {})
    seen = set()
    for end in ends:
        end.settimeout(10)
        try:
            seen.add(end.recv(1))
        except ConnectionResetError:
            seen.add(b"reset")
        end.close()
    moved = snmp.delta(before, snmp.read(PROC_NET))
    if close is CloseMode.FIN:
        assert seen == {b""}
        until(lambda: sockstat.read(PROC_NET)["tcp_tw"] == 12)
        assert snmp.delta(before, snmp.read(PROC_NET))["TcpExt.TW"] == 12
    else:
        assert seen == {b"reset"}
        assert "TcpExt.TW" not in moved
        assert sockstat.read(PROC_NET)["tcp_tw"] == 0
        assert moved["Tcp.OutRsts"] == 12


def test_an_end_that_was_expected_is_no_loss(load: MakeLoad, listeners: MakeListeners) -> None:
    """Twelve ends of file as planned, and TIME-WAIT at the other side; one reset and one silence are losses."""
    (listener,) = listeners(TARGET)
    closing = load(Strategy.LATE_RANGE, PAIR, HUNDRED, close=CloseMode.TARGET)
    closing.open(14)
    ends = accept_all(listener, 14)
    closing.connector.expect_end()
    for end in ends[:12]:
        end.close()
    reset(ends[12])
    closing.settle(lambda: closing.recorder.open == 1)
    assert (closing.recorder.closed, closing.errors) == (12, {("recv", "ECONNRESET"): 1})
    until(lambda: sockstat.read(PROC_NET)["tcp_tw"] == 12)
    closing.connector.give_up()
    closing.check()
    assert (closing.recorder.open, closing.recorder.lost) == (0, 2)
    assert closing.errors == {("recv", "ECONNRESET"): 1, ("wait", "ETIMEDOUT"): 1}
    ends[13].close()


def test_connections_are_closed_in_batches(load: MakeLoad, listeners: MakeListeners) -> None:
    """As many as asked for and no more; True while some may be left."""
    listeners(TARGET)
    closing = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    closing.open(10)
    left = []
    while closing.connector.close_batch(4):
        left.append(closing.recorder.open)
        closing.check()
    assert left[:2] == [6, 2]
    assert closing.recorder.open == 0
