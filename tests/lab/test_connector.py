"""What the engines rely on the kernel for, and what they make of every way a connection can end.

Both engines pass the same tests; what only one of them can do is at the end, or in test_io_uring.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from typing import Any, Final

import pytest

from loadgen.clock import now_ns
from loadgen.kernel import snmp, sockstat
from loadgen.model import CloseMode, Endpoint, Engine, PortRange, Strategy
from loadgen.results import histogram
from loadgen.results.block import Latency, consistent_breakdown
from loadgen.worker import round_trip
from loadgen.worker.io_uring import ring

from . import support
from .support import LINGER_0, PROC_NET, Load, add_route, in_child, listen, reset, until

LOOPBACK: Final = "127.0.0.1"
TARGET: Final = Endpoint(LOOPBACK, 9000)
PAIR: Final = [(LOOPBACK, TARGET)]
FOUR: Final = PortRange(40000, 40003)
HUNDRED: Final = PortRange(40000, 40099)
#: Those of which one port carries connections to several targets.
SHARING: Final = [Strategy.KERNEL, Strategy.LATE, Strategy.LATE_RANGE, Strategy.EXPLICIT, Strategy.REUSEPORT]

Accept = Callable[[socket.socket, int], list[socket.socket]]
MakeLoad = Callable[..., Load]
MakeListeners = Callable[..., list[socket.socket]]

pytestmark = pytest.mark.lab("40000 40099")


@pytest.fixture(params=list(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, where this host allows it."""
    if request.param is Engine.IO_URING and (why_not := ring.available()):
        pytest.skip(f"no io_uring: {why_not}")
    engine: Engine = request.param
    return engine


@pytest.fixture
def load(load: MakeLoad, engine: Engine) -> MakeLoad:
    """Make a `Load` by the engine of the test that is closed after it."""
    return partial(load, engine=engine)


@pytest.fixture
def accept(keep: ExitStack) -> Accept:
    """The next so many connections in the order in which they were established; closed after the test."""
    return lambda listener, count: [keep.enter_context(end) for end in support.accept_all(listener, count)]


def counts(opening: Load) -> tuple[int, ...]:
    """Return the number of latencies of each kind: lateness, connect, arrival, exchange and handshake."""
    return tuple(int(row.sum()) for row in consistent_breakdown(opening.block)["latency"][: Latency.BIND])


# --- Facts about a non-blocking connect() ----------------------------------------------------------


def quick_socket(keep: ExitStack) -> socket.socket:
    return keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))


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


# --- How an attempt ends ---------------------------------------------------------------------------


def round_trips(load: Load) -> int:
    """The number of connections whose round trip was measured."""
    load.recorder.publish_all()
    return int(consistent_breakdown(load.block)["latency"][Latency.NETWORK].sum())


@pytest.mark.parametrize("strategy", list(Strategy))
def test_established_connections_are_counted_and_held(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """Round robin over the pairs; a connect time for each, and no lateness where nothing was due."""
    other = Endpoint(LOOPBACK, 9001)
    first, second = listeners(TARGET, other)
    opening = load(strategy, [(LOOPBACK, TARGET), (LOOPBACK, other)], HUNDRED)
    opening.open(31)
    now = opening.recorder
    assert (now.started, now.established, now.open, now.failed, now.lost) == (31, 31, 31, 0, 0)
    for listener, count in ((first, 16), (second, 15)):
        for end in accept(listener, count):
            assert end.getpeername()[1] in range(40000, 40100)
            end.close()
    assert consistent_breakdown(opening.block)["pairs"][:, 0].tolist() == [16, 15]
    assert counts(opening) == (0, 31, 31, 0, 0)
    assert 0 < now.last_established_ns <= now_ns()


@pytest.mark.parametrize("strategy", list(Strategy))
def test_connections_come_from_their_sources(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """Also over IPv6, in a namespace that has one such address."""
    four, six = listeners(TARGET, Endpoint("::1", 9000))
    pairs = [("127.0.0.2", TARGET), ("127.0.0.3", TARGET), ("::1", Endpoint("::1", 9000))]
    opening = load(strategy, pairs, HUNDRED)
    opening.open(9)
    assert opening.errors == {}
    seen = [end.getpeername()[0] for end in accept(four, 6)]
    assert sorted(seen) == [LOOPBACK] * 6 if strategy is Strategy.KERNEL else ["127.0.0.2"] * 3 + ["127.0.0.3"] * 3
    assert [end.getpeername()[0] for end in accept(six, 3)] == ["::1"] * 3


def test_pairs_take_turns_in_another_order(load: MakeLoad, listeners: MakeListeners) -> None:
    """Three of the first for each of the second."""
    other = Endpoint(LOOPBACK, 9001)
    listeners(TARGET, other)
    opening = load(Strategy.LATE_RANGE, [(LOOPBACK, TARGET), (LOOPBACK, other)], HUNDRED, order=cycle((0, 0, 1, 0)))
    opening.open(20)
    assert consistent_breakdown(opening.block)["pairs"][:, 0].tolist() == [15, 5]


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_addresses_that_are_only_routed_here_can_be_sources(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """IPv6 wants IP_FREEBIND's sibling for it; without, bind() fails."""
    target = Endpoint("::1", 9000)
    (listener,) = listeners(target)
    add_route("local", "2001:db8::/48")
    pairs = [("2001:db8::7", target)]
    refused = load(strategy, pairs, HUNDRED)
    refused.open(1)
    assert refused.errors == {("bind", "EADDRNOTAVAIL"): 1}
    opening = load(strategy, pairs, HUNDRED, freebind=True)
    opening.open(2)
    assert [end.getpeername()[0] for end in accept(listener, 2)] == ["2001:db8::7"] * 2


def test_a_due_time_makes_lateness_and_arrival(load: MakeLoad, listeners: MakeListeners) -> None:
    """Due a second ago: a second late, and at least a second to arrive, however fast the network was."""
    listeners(TARGET)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    opening.connector.open_batch([now_ns() - 1_000_000_000] * 5)
    opening.settle(lambda: opening.recorder.established == 5)
    latency = consistent_breakdown(opening.block)["latency"]
    assert counts(opening) == (5, 5, 5, 0, 0)
    for row in (Latency.LATENESS, Latency.ARRIVAL):
        assert histogram.quantile_ns(latency[row], 0) > 0.99e9
    assert histogram.max_ns(latency[Latency.ARRIVAL]) >= histogram.max_ns(latency[Latency.LATENESS])


def test_what_is_made_ready_is_not_counted_and_given_back(
    load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """Its ports come first again; and what is ready is used before more is made."""
    (listener,) = listeners(TARGET)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    opening.connector.prepare(10, 10)
    opening.check()
    assert opening.recorder.started == 0
    opening.connector.abandon()
    opening.connector.prepare(5, 5)
    opening.open(7)
    assert [end.getpeername()[1] for end in accept(listener, 7)] == list(range(40000, 40007))


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_closed_port_refuses(strategy: Strategy, load: MakeLoad) -> None:
    """More attempts than there are ports: a refused one gives its port back at once."""
    refused = load(strategy, PAIR, HUNDRED)
    refused.open(75)
    refused.open(75)
    assert refused.errors == {("connect", "ECONNREFUSED"): 150}
    assert refused.recorder.open == 0


@pytest.mark.lab("40000 40003")
@pytest.mark.parametrize("strategy", SHARING)
def test_the_ports_of_each_pair_can_all_be_used_and_no_more(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    """Four ports and two targets are eight connections; then it is the kernel that says no."""
    other = Endpoint(LOOPBACK, 9001)
    listeners(TARGET, other)
    filling = load(strategy, [(LOOPBACK, TARGET), (LOOPBACK, other)], FOUR)
    filling.open(8)
    assert (filling.recorder.established, filling.errors) == (8, {})
    filling.open(2)
    syscall, name = ("bind", "EADDRINUSE") if strategy is Strategy.EXPLICIT else ("connect", "EADDRNOTAVAIL")
    if strategy in (Strategy.EXPLICIT, Strategy.REUSEPORT):  # the port asked for can be bound; its four-tuple is taken
        syscall, name = "connect", "EADDRNOTAVAIL"
    assert filling.errors == {(syscall, name): 2}
    assert filling.recorder.established == 8


@pytest.mark.lab("40000 40003")
@pytest.mark.parametrize("strategy", [Strategy.BIND, Strategy.REUSEADDR, Strategy.EXCLUSIVE])
def test_a_port_of_one_target_only_runs_out_in_bind(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    other = Endpoint(LOOPBACK, 9001)
    listeners(TARGET, other)
    filling = load(strategy, [(LOOPBACK, TARGET), (LOOPBACK, other)], FOUR)
    filling.open(4)
    filling.open(1)
    assert (filling.recorder.established, filling.errors) == (4, {("bind", "EADDRINUSE"): 1})


@pytest.mark.lab("40000 40003")
@pytest.mark.parametrize("strategy", [Strategy.LATE, Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_a_batch_that_finds_no_port_is_denied_once(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    """Ten at once for four ports: one denial is counted, the others were not started."""
    listeners(TARGET)
    filling = load(strategy, PAIR, FOUR)
    assert filling.connector.open_batch((0,) * 10) == 5
    filling.settle(lambda: not filling.recorder.in_flight)
    assert (filling.recorder.started, filling.recorder.established) == (5, 4)
    assert sum(filling.errors.values()) == 1


@pytest.mark.lab("40000 40003")
@pytest.mark.parametrize("strategy", [Strategy.LATE, Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_a_port_that_is_free_again_is_used_again(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    (listener,) = listeners(TARGET)
    filling = load(strategy, PAIR, FOUR)
    filling.open(5)
    ends = accept(listener, 4)
    freed = ends[1].getpeername()[1]
    reset(ends[1])
    filling.settle(lambda: filling.recorder.lost == 1)
    filling.open(1)
    assert filling.recorder.established == 5
    assert accept(listener, 1)[0].getpeername()[1] == freed


@pytest.mark.lab("40000 40003")
def test_no_port_left_for_good_is_exhausted(load: MakeLoad, listeners: MakeListeners) -> None:
    listeners(TARGET)
    filling = load(Strategy.LATE_RANGE, PAIR, FOUR)
    filling.open(4)

    def exhausted() -> bool:
        if not filling.lifecycle.cooldown_until_ns(now_ns()):
            filling.connector.open_batch((0,))
        return filling.lifecycle.exhausted

    until(exhausted)
    filling.check()
    assert filling.recorder.first_denied_ns
    assert filling.recorder.established_then == 4


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_ports_of_others_are_passed_over(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners, accept: Accept, keep: ExitStack
) -> None:
    """Five are taken by somebody else's connections to the same target: the attempt goes on with the next port."""
    (listener,) = listeners(TARGET)
    for port in range(40000, 40005):
        other = keep.enter_context(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((LOOPBACK, port))
        other.connect(TARGET.sockaddr)
    accept(listener, 5)
    opening = load(strategy, PAIR, HUNDRED)
    opening.open(3)
    assert (opening.recorder.established, opening.errors) == (3, {})
    assert opening.recorder.retried >= 5
    assert sorted(end.getpeername()[1] for end in accept(listener, 3)) == [40005, 40006, 40007]
    opening.open(92)
    assert (opening.recorder.established, opening.errors) == (95, {})


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_an_attempt_tries_ten_ports_and_no_more(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners, accept: Accept, keep: ExitStack
) -> None:
    (listener,) = listeners(TARGET)
    for port in range(40000, 40012):
        other = keep.enter_context(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((LOOPBACK, port))
        other.connect(TARGET.sockaddr)
    accept(listener, 12)
    opening = load(strategy, PAIR, HUNDRED)
    opening.open(1)
    assert opening.errors == {("connect", "EADDRNOTAVAIL"): 1}
    opening.open(1)
    assert opening.recorder.established == 1
    assert accept(listener, 1)[0].getpeername()[1] == 40012


@pytest.mark.lab("40000 40003")
@pytest.mark.parametrize("strategy", [Strategy.EXPLICIT, Strategy.EXCLUSIVE])
def test_ports_that_others_have_bound_are_passed_over(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners, keep: ExitStack
) -> None:
    """Two of four: two connections, then bind() has tried all."""
    listeners(TARGET)
    for port in (40000, 40002):
        keep.enter_context(socket.socket()).bind((LOOPBACK, port))
    opening = load(strategy, PAIR, FOUR)
    opening.open(2)
    assert (opening.recorder.established, opening.errors) == (2, {})
    opening.open(1)
    assert opening.errors == {("bind", "EADDRINUSE"): 1}


@pytest.mark.parametrize(
    ("strategy", "family"),
    [(strategy, address) for strategy in list(Strategy) for address in (LOOPBACK, "::1")],
)
@pytest.mark.lab("40000 40003")
def test_meeting_oneself_is_no_connection(strategy: Strategy, family: str, load: MakeLoad) -> None:
    """Counted as its own outcome, reset at once, never established; and no TIME-WAIT is left."""
    meeting = load(strategy, [(family, Endpoint(family, 40002))], FOUR, self_connect=True)
    meeting.open(4)
    if strategy in (Strategy.LATE_RANGE, Strategy.EXPLICIT):  # each port once, so one of four meets itself
        assert meeting.errors == {("getsockname", "SELF"): 1, ("connect", "ECONNREFUSED"): 3}
    meeting.open(46)
    assert (meeting.recorder.established, meeting.recorder.open) == (0, 0)
    assert meeting.errors[("getsockname", "SELF")] >= 1
    assert sockstat.read(PROC_NET)["tcp_tw"] == 0


@pytest.mark.parametrize("strategy", [Strategy.LATE, Strategy.LATE_RANGE])
def test_who_could_meet_itself_and_does_not_is_held(
    strategy: Strategy, engine: Engine, load: MakeLoad, listeners: MakeListeners
) -> None:
    """By io_uring it is a descriptor of the process for as long as it is asked for its name."""
    target = Endpoint(LOOPBACK, 40002)
    listeners(target)
    opening = load(strategy, [(LOOPBACK, target)], HUNDRED, self_connect=True, skipped=[40002])
    before = len(support.descriptors())
    opening.open(20)
    assert (opening.recorder.open, opening.errors) == (20, {})
    assert len(support.descriptors()) == before + (20 if engine is Engine.EPOLL else 0)


@pytest.mark.parametrize(
    ("route", "name"),
    [("blackhole", "EINVAL"), ("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES"), (None, "ENETUNREACH")],
)
def test_each_kind_of_missing_route_has_its_own_errno(route: str | None, name: str, load: MakeLoad) -> None:
    if route:
        add_route(route, "198.18.0.1/32")
    lost = load(Strategy.KERNEL, [(LOOPBACK, Endpoint("198.18.0.1", 9000))], HUNDRED)
    lost.open(3)
    assert lost.errors == {("connect", name): 3}


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_an_address_that_is_nowhere_fails_in_bind(strategy: Strategy, load: MakeLoad, listeners: MakeListeners) -> None:
    listeners(TARGET)
    lost = load(strategy, [("198.18.0.1", TARGET)], HUNDRED)
    lost.open(3)
    assert lost.errors == {("bind", "EADDRNOTAVAIL"): 3}


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
    assert waiting.lifecycle.room == 5
    waiting.start(3)
    assert (waiting.recorder.in_flight, waiting.lifecycle.room) == (3, 2)
    waiting.start(2)
    waiting.connector.drain_events()
    waiting.check()
    now = waiting.recorder
    assert (now.started, now.established, now.failed, now.in_flight) == (6, 1, 0, 5)
    assert waiting.lifecycle.room == 0


def test_an_unanswered_attempt_expires_when_its_own_time_is_up(load: MakeLoad, listeners: MakeListeners) -> None:
    """The older batch does, the younger one waits on; the sockets of those that expired are gone."""
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
    waiting.settle(lambda: sockstat.read(PROC_NET)["tcp_inuse"] == 3)  # the listener, one connection, its other end
    waiting.connector.drain_events()
    assert waiting.recorder.failed == 5


def test_abandoned_attempts_stay_in_flight(load: MakeLoad, listeners: MakeListeners) -> None:
    """Nobody knows how they would have ended; the sums still hold, and the sockets are gone."""
    _, waiting = _full(listeners, load)
    waiting.start(4)
    waiting.connector.prepare(3, 3)
    waiting.connector.abandon()
    waiting.check()
    assert (waiting.recorder.in_flight, waiting.recorder.established) == (4, 1)
    assert not waiting.lifecycle.idle
    until(lambda: sockstat.read(PROC_NET)["tcp_inuse"] == 3)  # the listener, one connection, its other end
    waiting.connector.drain_events()
    waiting.check()
    assert waiting.recorder.in_flight == 4


def test_an_attempt_answered_late_is_established_all_the_same(
    load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """The SYN is sent again after a second (RFC 6298), and that second is in the connect time."""
    listener, waiting = _full(listeners, load)
    waiting.start()
    accept(listener, 1)[0].close()
    waiting.settle(lambda: waiting.recorder.established == 2)
    assert waiting.recorder.in_flight == 0
    assert waiting.lifecycle.idle
    assert histogram.max_ns(consistent_breakdown(waiting.block)["latency"][Latency.CONNECT]) > 0.9e9


def test_the_round_trip_of_an_attempt_answered_late_is_asked_for_as_well(
    load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """Measured by time stamps, it is that of the SYN which was answered: the second in between is not in it."""
    listener, waiting = _full(listeners, load)
    before = round_trips(waiting)
    waiting.recorder.next_network = 2
    waiting.start()
    accept(listener, 1)[0].close()
    waiting.settle(lambda: round_trips(waiting) == before + 1)
    assert histogram.max_ns(consistent_breakdown(waiting.block)["latency"][Latency.NETWORK]) < 0.9e9


def test_a_target_that_goes_while_the_syn_waits_refuses(load: MakeLoad, listeners: MakeListeners) -> None:
    listener, waiting = _full(listeners, load)
    waiting.start()
    listener.close()
    waiting.settle(lambda: not waiting.recorder.in_flight)
    waiting.settle(lambda: waiting.recorder.lost == 1)  # the one that was in the queue
    assert waiting.errors == {("connect", "ECONNREFUSED"): 1, ("recv", "ECONNRESET"): 1}


# --- Held connections ------------------------------------------------------------------------------


@pytest.mark.parametrize(("end_with", "name"), [(socket.socket.close, "EOF"), (reset, "ECONNRESET")])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_connection_the_target_ends_is_lost(
    end_with: Callable[[socket.socket], None],
    name: str,
    strategy: Strategy,
    load: MakeLoad,
    listeners: MakeListeners,
    accept: Accept,
) -> None:
    """FIN and RST are told apart; it stays counted as established, because it was."""
    (listener,) = listeners(TARGET)
    holding = load(strategy, PAIR, HUNDRED)
    holding.open(10)
    ends = accept(listener, 10)
    for end in ends[:4]:
        end_with(end)
    until(lambda: select.select([holding.connector], [], [], 0)[0])
    holding.settle(lambda: holding.recorder.lost == 4)
    now = holding.recorder
    assert (now.established, now.failed, now.open) == (10, 0, 6)
    assert holding.errors == {("recv", name): 4}
    for end in ends[4:]:
        end.close()


def test_data_is_read_and_forgotten(load: MakeLoad, listeners: MakeListeners, accept: Accept) -> None:
    """A held connection that receives is not lost, and its data does not pile up."""
    (listener,) = listeners(TARGET)
    holding = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    holding.open(3)
    ends = accept(listener, 3)
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
    end_with: Callable[[socket.socket], None], name: str, load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """Data and the end in one go: lost, once."""
    (listener,) = listeners(TARGET)
    holding = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    holding.open(3)
    for end in accept(listener, 3):
        end.send(b"good bye")
        end_with(end)
    holding.settle(lambda: holding.recorder.lost == 3)
    holding.connector.drain_events()
    holding.check()
    assert holding.errors == {("recv", name): 3}


# --- Closing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
def test_who_closes_with_fin_keeps_time_wait(
    close: CloseMode, strategy: Strategy, load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """One for each connection, on our side because we were first; after RST there is none on either."""
    (listener,) = listeners(TARGET)
    closing = load(strategy, PAIR, HUNDRED, close=close)
    closing.open(12)
    ends = accept(listener, 12)
    before = snmp.read(PROC_NET)
    closing.close_connections()
    closing.check()
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


def test_an_end_that_was_expected_is_no_loss(load: MakeLoad, listeners: MakeListeners, accept: Accept) -> None:
    """Twelve ends of file as planned, and TIME-WAIT at the other side; one reset and one silence are losses."""
    (listener,) = listeners(TARGET)
    closing = load(Strategy.LATE_RANGE, PAIR, HUNDRED, close=CloseMode.TARGET)
    closing.open(14)
    ends = accept(listener, 14)
    closing.lifecycle.ending = True
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
    ends[13].settimeout(10)
    assert ends[13].recv(1) == b""  # it was closed, though something waited on it
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


# --- Limits of the epoll engine --------------------------------------------------------------------


def test_without_descriptors_socket_fails_with_emfile() -> None:
    """Shed and counted; the attempts before it live, and those after it do when there is room again."""

    def body() -> tuple[int, dict[tuple[str, str], int], int, dict[tuple[str, str], int]]:
        with listen(TARGET) as listener:
            opening = Load(Strategy.LATE_RANGE, PAIR, HUNDRED)
            # Every number below the limit is taken, but for three; others may be open from other tests, and must not
            # be closed in the middle of this one.
            gc.collect()
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


@pytest.mark.parametrize("engine", [Engine.EPOLL], indirect=True)
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


# --- Time in bind() ---------------------------------------------------------------------------------


def test_the_kernel_is_asked_for_the_round_trip_of_a_sample(load: MakeLoad, listeners: MakeListeners) -> None:
    """The first connection of a worker is in it, and each figure is a part of a connect."""
    listeners(TARGET)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED)

    opening.open(1)
    opening.settle(lambda: round_trips(opening) == 1)
    for _ in range(9):
        opening.open(10)
    opening.settle(lambda: round_trips(opening) >= 4)
    assert round_trips(opening) <= 1 + 91 // round_trip.EVERY
    latency = consistent_breakdown(opening.block)["latency"]
    assert histogram.max_ns(latency[Latency.NETWORK]) <= histogram.max_ns(latency[Latency.CONNECT])


@pytest.mark.parametrize("strategy", list(Strategy))
def test_bind_is_timed_where_it_takes_the_port(
    strategy: Strategy, engine: Engine, load: MakeLoad, listeners: MakeListeners
) -> None:
    """By epoll each call, those that were told no included; by io_uring the first of each batch."""
    listeners(TARGET)
    opening = load(strategy, PAIR, HUNDRED)
    for _ in range(10):
        opening.open(10)
    held = opening.recorder.established
    assert held == 100 or (strategy is Strategy.REUSEADDR and held > 90)
    opening.start(1)
    assert opening.recorder.failed == 101 - held
    timed = consistent_breakdown(opening.block)["latency"][Latency.BIND]
    if not strategy.row.binds_port:
        assert not timed.any()
        return
    assert 100 <= histogram.quantile_ns(timed, 0.5) <= 10_000_000
    assert timed.sum() == (101 if engine is Engine.EPOLL else 11)
