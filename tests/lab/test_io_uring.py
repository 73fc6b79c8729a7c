"""Connections by io_uring: the same ends and the same books as by epoll, without a descriptor for each."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from typing import Any, Final

import numpy as np
import pytest

from loadgen.clock import now_ns
from loadgen.errors import HostError
from loadgen.kernel import snmp, sockstat
from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.processes.shared_memory import Blocks
from loadgen.results import histogram
from loadgen.results.block import Latency, block_dtype
from loadgen.worker.io_uring import ring
from loadgen.worker.io_uring.abi import SQE, Op
from loadgen.worker.io_uring.connector import UringConnector
from loadgen.worker.recorder import BATCH_MAX, Recorder
from loadgen.worker.strategies import setup_of

from . import support
from .support import PROC_NET, Load, add_route, in_child, listen, reset, until

LOOPBACK: Final = "127.0.0.1"
TARGET: Final = Endpoint(LOOPBACK, 9000)
PAIR: Final = [(LOOPBACK, TARGET)]
FOUR: Final = PortRange(40000, 40003)
HUNDRED: Final = PortRange(40000, 40099)

Accept = Callable[[socket.socket, int], list[socket.socket]]
MakeListeners = Callable[..., list[socket.socket]]
#: Those of which one port carries connections to several targets.
SHARING: Final = [Strategy.KERNEL, Strategy.LATE, Strategy.LATE_RANGE, Strategy.EXPLICIT, Strategy.REUSEPORT]

WHY_NOT: Final = ring.available()
pytestmark = [
    pytest.mark.lab("40000 40099"),
    pytest.mark.skipif(bool(WHY_NOT), reason=f"no io_uring: {WHY_NOT}"),
]


class UringLoad(Load):
    """As `Load`, with connections by io_uring."""

    connector: UringConnector  # type: ignore[assignment]  # the same face

    def __init__(
        self,
        strategy: Strategy,
        pairs: Sequence[tuple[str, Endpoint]],
        ports: PortRange,
        *,
        skipped: Sequence[int] = (),
        self_connect: bool = False,
        close: CloseMode = CloseMode.RST,
        timeout_s: float = 600.0,
        in_flight_max: int = 1000,
        descriptors: int = 2000,
        freebind: bool = False,
        order: Iterator[int] | None = None,
    ) -> None:
        self.pairs = pairs
        self._blocks = Blocks.create("test", block_dtype(len(pairs)), 1)
        self.block: Any = self._blocks.records[0]
        self.recorder = Recorder(self.block, scheduled=1)
        self.choice = setup_of(strategy, [source for source, _ in pairs], ports, frozenset(skipped), freebind=freebind)
        self.connector = UringConnector(
            pairs,
            self.choice,
            self.recorder,
            first_pair=0,
            self_connect=[self_connect] * len(pairs),
            close=close,
            timeout_s=timeout_s,
            in_flight_max=in_flight_max,
            descriptors=descriptors,
            order=order,
        )

    def close(self) -> None:
        """Close whatever is open or on its way, and the rings; harmless when repeated."""
        if self._blocks.fd >= 0:
            self.close_connections()
            self.connector.close()
            os.close(self._blocks.fd)
            self._blocks.fd = -1

    def close_connections(self) -> None:
        """As a worker drains."""
        self.connector.abandon()
        while self.connector.close_batch(1000):
            pass


MakeLoad = Callable[..., UringLoad]


def counts(opening: UringLoad) -> tuple[int, ...]:
    """How many latencies there are of lateness, connect and arrival."""
    rows = (Latency.LATENESS, Latency.CONNECT, Latency.ARRIVAL)
    return tuple(int(opening.block["latency"][row].sum()) for row in rows)


@pytest.fixture
def accept(keep: ExitStack) -> Accept:
    """The next so many connections in the order in which they were established; closed after the test."""
    return lambda listener, count: [keep.enter_context(end) for end in support.accept_all(listener, count)]


@pytest.fixture
def load(keep: ExitStack) -> MakeLoad:
    """Make a `UringLoad` that is closed after the test."""

    def make(*args: Any, **more: Any) -> UringLoad:
        made = UringLoad(*args, **more)
        keep.callback(made.close)
        return made

    return make


# --- facts about io_uring -----------------------------------------------------------------------------


def test_a_ring_is_readable_when_something_was_completed(keep: ExitStack) -> None:
    """Without anybody asking it: so an event loop can watch it."""
    made = ring.Ring(entries=8, slots=1)
    keep.callback(made.close)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poll = np.zeros(1, SQE)
        poll["opcode"], poll["fd"], poll["op_flags"], poll["user_data"] = Op.POLL_ADD, ours.fileno(), select.EPOLLIN, 7
        made.push(poll)
        made.submit()
        assert select.select([made], [], [], 0)[0] == []
        theirs.send(b"x")
        assert select.select([made], [], [], 10)[0] == [made]
        (completion,) = made.completions()
        assert (int(completion["user_data"]), int(completion["res"]) & select.EPOLLIN) == (7, select.EPOLLIN)


def test_more_is_submitted_and_completed_than_the_rings_hold(keep: ExitStack) -> None:
    """Pushing submits what has no room, and the kernel keeps completions that have none."""
    made = ring.Ring(entries=4, slots=1)
    keep.callback(made.close)
    seen: list[int] = []
    nothing = np.zeros(50, SQE)  # IORING_OP_NOP
    nothing["user_data"] = range(50)
    made.push(nothing)
    while len(seen) < 50:
        made.submit(wait=1)
        seen += made.completions()["user_data"].tolist()
    assert sorted(seen) == list(range(50))


def test_a_table_may_not_be_larger_than_the_limit_of_descriptors() -> None:
    def body() -> str:
        limit = len(os.listdir("/proc/self/fd")) + 64
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        ring.Ring(entries=8, slots=limit).close()
        try:
            ring.Ring(entries=8, slots=limit + 1)
        except HostError as error:
            return str(error)
        return ""

    assert "RLIMIT_NOFILE" in in_child(body)


# --- how an attempt ends --------------------------------------------------------------------------------


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
    assert opening.block["pairs"][:, 0].tolist() == [16, 15]
    assert counts(opening) == (0, 31, 31)
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
    assert opening.block["pairs"][:, 0].tolist() == [15, 5]


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
    latency = opening.block["latency"]
    assert counts(opening) == (5, 5, 5)
    for row in (Latency.LATENESS, Latency.ARRIVAL):
        assert histogram.quantile_ns(latency[row], 0) > 0.99e9
    assert histogram.max_ns(latency[Latency.ARRIVAL]) >= histogram.max_ns(latency[Latency.LATENESS])


def test_what_is_made_ready_is_not_counted_and_given_back(
    load: MakeLoad, listeners: MakeListeners, accept: Accept
) -> None:
    """Its ports come first again; and what is ready is used before more is made."""
    (listener,) = listeners(TARGET)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED)
    opening.connector.prepare(10)
    opening.check()
    assert opening.recorder.started == 0
    opening.connector.abandon()
    opening.connector.prepare(5)
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
def test_no_port_left_for_good_is_spent(load: MakeLoad, listeners: MakeListeners) -> None:
    listeners(TARGET)
    filling = load(Strategy.LATE_RANGE, PAIR, FOUR)
    filling.open(4)

    def spent() -> bool:
        if not filling.connector.rest_ns():
            filling.connector.open_batch((0,))
        return filling.connector.spent

    until(spent)
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
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    target = Endpoint(LOOPBACK, 40002)
    listeners(target)
    opening = load(strategy, [(LOOPBACK, target)], HUNDRED, self_connect=True, skipped=[40002])
    before = len(os.listdir("/proc/self/fd"))
    opening.open(20)
    assert (opening.recorder.open, opening.errors) == (20, {})
    assert len(os.listdir("/proc/self/fd")) < before + 20  # what was asked for its name is no descriptor any more


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


def test_without_a_slot_socket_fails(load: MakeLoad, listeners: MakeListeners, accept: Accept) -> None:
    """Shed and counted; those after it live when there is room again."""
    (listener,) = listeners(TARGET)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED, descriptors=3)
    opening.open(8)
    assert (opening.recorder.established, opening.errors) == (3, {("socket", "ENFILE"): 5})
    reset(accept(listener, 1)[0])
    opening.settle(lambda: opening.recorder.lost == 1)
    opening.open(1)
    assert opening.recorder.established == 4


def _full(listeners: MakeListeners, load: MakeLoad, **more: Any) -> tuple[socket.socket, UringLoad]:
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
    waiting.connector.prepare(3)
    waiting.connector.abandon()
    waiting.check()
    assert (waiting.recorder.in_flight, waiting.recorder.established) == (4, 1)
    assert not waiting.connector.idle
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
    assert waiting.connector.idle
    assert histogram.max_ns(waiting.block["latency"][Latency.CONNECT]) > 0.9e9


def test_a_target_that_goes_while_the_syn_waits_refuses(load: MakeLoad, listeners: MakeListeners) -> None:
    listener, waiting = _full(listeners, load)
    waiting.start()
    listener.close()
    waiting.settle(lambda: not waiting.recorder.in_flight)
    waiting.settle(lambda: waiting.recorder.lost == 1)  # the one that was in the queue
    assert waiting.errors == {("connect", "ECONNREFUSED"): 1, ("recv", "ECONNRESET"): 1}


# --- held connections -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end_with", "name"), [(socket.socket.close, "EOF"), (reset, "ECONNRESET")])
@pytest.mark.parametrize("strategy", [Strategy.KERNEL, Strategy.LATE, Strategy.LATE_RANGE, Strategy.EXPLICIT])
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


def test_one_process_holds_more_connections_than_it_may_have_descriptors() -> None:
    """Three hundred with a limit below: several tables, each no larger than the limit."""

    def body() -> tuple[int, int, int, dict[tuple[str, str], int]]:
        targets = [Endpoint(LOOPBACK, 9000 + n) for n in range(3)]
        listening = [listen(target) for target in targets]
        limit = max(int(fd) for fd in os.listdir("/proc/self/fd")) + 32
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        opening = UringLoad(Strategy.LATE_RANGE, [(LOOPBACK, target) for target in targets], HUNDRED, descriptors=400)
        opening.open(300)
        held = opening.recorder.open
        opening.close_connections()
        opening.check()
        assert len(listening) == 3
        return held, limit, opening.recorder.closed, opening.errors

    held, limit, closed, errors = in_child(body)
    assert (held, closed, errors) == (300, 300, {})
    assert limit < held


# --- closing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [Strategy.KERNEL, Strategy.LATE, Strategy.LATE_RANGE, Strategy.EXPLICIT])
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


def test_slots_and_ports_serve_many_generations(load: MakeLoad, listeners: MakeListeners, accept: Accept) -> None:
    """Every slot is used, closed while it is watched, and used again; nothing of the former is taken for the latter."""
    (listener,) = listeners(TARGET)
    turning = load(Strategy.LATE_RANGE, PAIR, HUNDRED, descriptors=100)
    lost = 0
    for _ in range(5):
        turning.open(100)
        assert (turning.recorder.open, turning.recorder.lost) == (100, lost)
        ends = accept(listener, 100)
        for end in ends[:30]:
            reset(end)
        lost += 30
        turning.settle(lambda: turning.recorder.open == 70)
        while turning.connector.close_batch(BATCH_MAX):
            pass
        turning.check()
        for end in ends[30:]:
            end.close()
        assert turning.recorder.open == 0
        turning.settle(lambda: not select.select([turning.connector], [], [], 0)[0])
    assert turning.errors == {("recv", "ECONNRESET"): lost}
