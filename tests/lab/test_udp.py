"""UDP with real sockets: what each strategy holds and how it ends, what is lost, and four-tuples that no two share."""

from __future__ import annotations

import socket
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import pytest

from loadgen.arrivals import port_slices
from loadgen.clock import now_ns
from loadgen.errors import HostError
from loadgen.kernel import host, sockdiag
from loadgen.model import (
    CloseMode,
    Endpoint,
    Heartbeat,
    Plan,
    PortRange,
    Shard,
    SinkBehaviour,
    Speaks,
    Strategy,
    Target,
    Transport,
)
from loadgen.protocols.echo import Echo
from loadgen.results.block import Latency, consistent_breakdown
from loadgen.sink.binding import require_free
from loadgen.sink.counts import SurvivedFailures
from loadgen.sink.udp import DatagramCounts, DatagramSocket
from loadgen.worker.shard import slice_of
from tests.plans import plan_of

from .support import Load, until

SOURCE: Final = "127.0.0.2"
TARGETS: Final = (Endpoint("127.0.0.1", 9000), Endpoint("127.0.0.1", 9001))
PAIR: Final = [(SOURCE, TARGETS[0])]
PAIRS: Final = [(source, target) for target in TARGETS for source in (SOURCE, "127.0.0.3")]
TEN: Final = PortRange(40000, 40009)
GOOD: Final = SinkBehaviour()

MakeLoad = Callable[..., Load]
OFFERED: Final = [strategy for strategy in Strategy if strategy is not Strategy.REUSEADDR]

pytestmark = pytest.mark.lab("40000 40009")


@pytest.fixture
def udp(load: MakeLoad) -> MakeLoad:
    """A `Load` of UDP."""

    def make(strategy: Strategy, pairs: Any = PAIR, ports: PortRange = TEN, **more: Any) -> Load:
        return load(strategy, pairs, ports, close=CloseMode.FIN, transport=Transport.UDP, **more)

    return make


class Peer:
    """The UDP socket of a sink, its counters, and its clients."""

    def __init__(self, endpoint: Endpoint, behaviour: SinkBehaviour = GOOD) -> None:
        self.counts, self.clients = DatagramCounts(), list[tuple[str, int]]()
        self.port = DatagramSocket(
            endpoint, behaviour, lambda *client: self.clients.append(client), self.counts, SurvivedFailures()
        )

    def receive(self, count: int) -> None:
        """Read until so many datagrams have come in all."""

        def come() -> bool:
            self.port.receive()
            return self.counts.received >= count

        until(come)


@pytest.fixture
def peer(keep: ExitStack) -> Callable[..., Peer]:
    def make(*args: Any) -> Peer:
        made = Peer(*args)
        keep.callback(made.port.close)
        return made

    return make


def replies(load: Load) -> int:
    """How many exchanges are over."""
    load.recorder.publish_all()
    return int(consistent_breakdown(load.block)["latency"][Latency.EXCHANGE].sum())


def datagram_socket(keep: ExitStack, address: str, port: int, *options: int) -> socket.socket:
    """Somebody else's socket."""
    sock = keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
    for option in options:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind((address, port))
    return sock


def four_tuples() -> list[tuple[Any, ...]]:
    """Of every connected socket of UDP in this namespace."""
    with sockdiag.Reader() as reader:
        found = reader.dump(sockdiag.mask(sockdiag.TcpState.ESTABLISHED), protocol=socket.IPPROTO_UDP).sockets
    return [
        (bytes(row["source"]), int(row["source_port"]), bytes(row["destination"]), int(row["destination_port"]))
        for row in found
    ]


# --- Capacity, and how it ends --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "capacity", "error"),
    [
        (Strategy.KERNEL, 10, ("connect", "EAGAIN")),
        (Strategy.BIND, 20, ("bind", "EADDRINUSE")),
        (Strategy.LATE, 20, ("connect", "EAGAIN")),
        (Strategy.LATE_RANGE, 20, ("connect", "EAGAIN")),
        (Strategy.EXCLUSIVE, 20, ("bind", "EADDRINUSE")),
        (Strategy.EXPLICIT, 40, ("bind", "EADDRINUSE")),
        (Strategy.REUSEPORT, 40, ("bind", "EADDRINUSE")),
    ],
)
def test_what_ten_ports_hold_from_two_sources_to_two_targets(
    udp: MakeLoad, strategy: Strategy, capacity: int, error: tuple[str, str]
) -> None:
    """And the plan's arithmetic says the same. Connecting sends nothing, so nobody has to be there."""
    opening = udp(strategy, PAIRS)
    opening.open(capacity)
    assert (opening.recorder.established, opening.recorder.failed) == (capacity, 0)
    assert len(set(four_tuples())) == len(four_tuples()) == capacity
    plan = udp_plan(strategy)
    if strategy is Strategy.KERNEL:  # whose source address is the route's
        assert plan.spaces == 1
    assert plan.capacity == capacity
    opening.open(1)
    assert opening.errors == {error: 1}
    assert len(four_tuples()) == capacity


def udp_plan(strategy: Strategy, **changes: Any) -> Plan:
    return plan_of(
        transport=Transport.UDP,
        strategy=strategy,
        sources=(SOURCE, "127.0.0.3"),
        targets=tuple(Target(target, sink=False) for target in TARGETS),
        ports=TEN,
        capacity_per_pair=10,
        **changes,
    )


def test_a_closed_socket_leaves_its_port_at_once(udp: MakeLoad) -> None:
    """There is no TIME-WAIT: in churn ten ports serve a thousand times, one after the other."""
    churning = udp(Strategy.LATE_RANGE, churn=True)
    for _ in range(100):
        churning.open(10)
    now = churning.recorder
    assert (now.established, now.closed, now.failed, now.retried) == (1000, 1000, 0, 0)
    assert not four_tuples()


# --- The trap: one four-tuple, two sockets ----------------------------------------------------------


@pytest.mark.parametrize("strategy", OFFERED)
@pytest.mark.parametrize("workers", [1, 3])
def test_no_two_sockets_have_one_four_tuple(udp: MakeLoad, strategy: Strategy, workers: int) -> None:
    """As many workers as may be, all ports in use, and every four-tuple is there once."""
    plan = udp_plan(strategy, workers=workers)
    slices = [slice_of(Shard(plan, index)) for index in range(workers)]
    for ports in slices:
        room = len(ports) * plan.spaces if strategy.row.slices_ports else plan.capacity // workers
        opening = udp(strategy, PAIRS, ports)
        opening.open(room)
        assert opening.recorder.established == room
    found = Tally(four_tuples())
    assert set(found.values()) == {1}
    if strategy.row.slices_ports:
        assert len(found) == plan.capacity


def test_slices_have_no_port_in_common() -> None:
    slices = port_slices(TEN, 3)
    ports = [port for part in slices for port in range(part.low, part.high + 1)]
    assert sorted(ports) == list(range(40000, 40010))


@pytest.mark.parametrize("address", ["0.0.0.0", SOURCE, "127.0.0.9"])
@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
def test_the_ports_of_others_are_seen_before_the_load(keep: ExitStack, address: str, options: tuple[int, ...]) -> None:
    """Connected or not, and also where bind() would let us share."""
    datagram_socket(keep, address, 40003, *options)
    datagram_socket(keep, address, 40005, *options).connect(TARGETS[0].sockaddr)
    assert host.read([SOURCE], list(TARGETS), Transport.UDP).datagram_ports == (40003, 40005)
    assert host.read([SOURCE], list(TARGETS)).datagram_ports == ()


def test_a_stranger_with_the_same_four_tuple_is_left_alone(
    udp: MakeLoad, keep: ExitStack, peer: Callable[..., Peer]
) -> None:
    """It would have lost its datagrams to us: its flag lets us bind, and the last to connect hears for both."""
    there = peer(TARGETS[0])
    stranger = datagram_socket(keep, SOURCE, 40003, socket.SO_REUSEADDR)
    stranger.connect(TARGETS[0].sockaddr)
    skipped = host.read([SOURCE], list(TARGETS), Transport.UDP).datagram_ports
    assert skipped == (9000, 40003)
    opening = udp(Strategy.EXPLICIT, skipped=skipped)
    opening.open(10)
    assert opening.recorder.established == 9
    assert set(Tally(four_tuples()).values()) == {1}
    stranger.send(b"mine")
    there.receive(1)
    assert until(lambda: stranger.recv(10)) == b"mine"


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.EXPLICIT, Strategy.EXCLUSIVE])
def test_a_port_that_somebody_takes_later_costs_a_try(udp: MakeLoad, keep: ExitStack, strategy: Strategy) -> None:
    datagram_socket(keep, SOURCE, 40000)
    opening = udp(strategy)
    opening.open(9)
    assert (opening.recorder.established, opening.recorder.failed, opening.recorder.retried) == (9, 0, 1)


def test_a_strategy_that_would_share_blindly_is_refused(udp: MakeLoad) -> None:
    with pytest.raises(ValueError, match="SO_REUSEADDR"):
        udp(Strategy.REUSEADDR)


# --- What goes wrong --------------------------------------------------------------------------------


def test_nobody_there_shows_after_the_first_request(udp: MakeLoad) -> None:
    """ICMP port unreachable: the connection is lost, not refused, because it was open."""
    opening = udp(Strategy.LATE_RANGE, exchange=Echo())
    opening.start(3)
    opening.settle(lambda: opening.recorder.lost == 3)
    assert opening.errors == {("recv", "ECONNREFUSED"): 3}
    assert (opening.recorder.asked, opening.recorder.unanswered) == (3, 3)


def test_a_socket_that_met_itself_is_no_connection(udp: MakeLoad) -> None:
    meeting = udp(Strategy.LATE_RANGE, [(SOURCE, Endpoint(SOURCE, 40000))], PortRange(40000, 40000), self_connect=True)
    meeting.open(1)
    assert meeting.errors == {("getsockname", "SELF"): 1}


def test_no_route_is_told_by_connect(udp: MakeLoad) -> None:
    nowhere = udp(Strategy.LATE_RANGE, [(SOURCE, Endpoint("198.18.0.1", 9000))])
    nowhere.open(2)
    assert set(nowhere.errors) <= {("connect", "ENETUNREACH"), ("connect", "EINVAL")}
    assert nowhere.recorder.failed == 2


def test_an_empty_datagram_is_no_end(udp: MakeLoad, keep: ExitStack) -> None:
    holding = udp(Strategy.LATE_RANGE)
    seen: list[bytes | int | None] = []
    connector: Any = holding.connector
    receive = connector.receive
    connector.receive = lambda fd, event: seen.append(receive(fd, event))
    holding.open(1)
    target = datagram_socket(keep, *TARGETS[0].sockaddr)
    for data in (b"", b"one", b"two"):
        target.sendto(data, (SOURCE, 40000))
    holding.settle(lambda: len(seen) == 3)
    assert seen == [b"", b"one", b"two"]
    assert (holding.recorder.open, holding.recorder.lost) == (1, 0)


# --- Exchanges and what is lost of them ---------------------------------------------------------------


@pytest.fixture
def beating(udp: MakeLoad) -> Load:
    """Four connections that beat once a minute: time stands still but for what the test says."""
    made = udp(Strategy.LATE_RANGE, exchange=Echo(), heartbeat=Heartbeat(60.0, 1.0))
    made.open(4)
    return made


def test_a_reply_that_has_not_come_by_the_next_beat_is_lost(beating: Load, peer: Callable[..., Peer]) -> None:
    """Every second datagram is dropped on purpose: of three rounds of four, two are answered each time."""
    there = peer(TARGETS[0], SinkBehaviour(drop=0.5))
    beats = beating.connector.heartbeat
    assert beats is not None
    begun = now_ns()
    beats.begin(begun)
    minute = 60_000_000_000
    for rounds in (1, 2, 3):
        beats.beat(begun + rounds * minute)
        there.receive(4 * rounds)
        beating.settle(lambda rounds=rounds: replies(beating) == 2 * rounds)  # type: ignore[misc]
        now = beating.recorder
        assert (now.beats, now.asked) == (4 * rounds, 4 * rounds)
        assert (now.missed, now.unanswered) == (2 * (rounds - 1), 2 * (rounds - 1))
    assert (there.counts.received, there.counts.answered, there.counts.dropped) == (12, 6, 6)
    assert (beating.recorder.open, beating.recorder.lost, beating.recorder.wrong) == (4, 0, 0)


def test_a_reply_that_comes_too_late_is_wrong_and_the_right_one_counts(beating: Load, keep: ExitStack) -> None:
    target = datagram_socket(keep, *TARGETS[0].sockaddr)
    beats = beating.connector.heartbeat
    assert beats is not None
    begun = now_ns()
    beats.begin(begun)
    for rounds in (1, 2):
        beats.beat(begun + rounds * 60_000_000_000)
    requests = [target.recvfrom(100) for _ in range(8)]
    for data, client in requests:  # the first four of them late by a beat
        target.sendto(data, client)
    beating.settle(lambda: replies(beating) == 4)
    now = beating.recorder
    assert (now.wrong, now.missed, now.unanswered, now.lost) == (4, 4, 4, 0)


def test_in_churn_a_reply_that_does_not_come_ends_the_connection(udp: MakeLoad, peer: Callable[..., Peer]) -> None:
    there = peer(TARGETS[0], SinkBehaviour(speaks=Speaks.NOTHING))
    churning = udp(Strategy.LATE_RANGE, churn=True, exchange=Echo(), timeout_s=0.05)
    churning.start(5)
    there.receive(5)

    def expired() -> bool:
        churning.connector.expire(now_ns())
        return churning.recorder.lost == 5

    until(expired)
    assert churning.errors == {("wait", "ETIMEDOUT"): 5}
    assert (churning.recorder.asked, churning.recorder.unanswered) == (5, 5)


def test_churn_with_an_echo_uses_ten_ports_again_and_again(udp: MakeLoad, peer: Callable[..., Peer]) -> None:
    there = peer(TARGETS[0])
    churning = udp(Strategy.LATE_RANGE, churn=True, exchange=Echo(size=64), exchanges=2)
    for rounds in range(1, 11):
        churning.start(10)

        def answered(rounds: int = rounds) -> bool:
            there.port.receive()
            return churning.recorder.closed == 10 * rounds

        churning.settle(answered)
    assert (churning.recorder.asked, churning.recorder.unanswered, churning.recorder.failed) == (200, 0, 0)
    assert there.counts.received == there.counts.answered == 200
    assert len(there.clients) == len(set(there.clients)) == 10


# --- The sink ---------------------------------------------------------------------------------------


def test_a_sink_drops_its_share_exactly(keep: ExitStack, peer: Callable[..., Peer]) -> None:
    there = peer(TARGETS[0], SinkBehaviour(drop=0.25))
    client = datagram_socket(keep, SOURCE, 40000)
    for number in range(100):
        client.sendto(number.to_bytes(1, "big"), TARGETS[0].sockaddr)
    there.receive(100)
    assert (there.counts.answered, there.counts.dropped) == (75, 25)
    assert there.clients == [(SOURCE, 40000)]
    assert [client.recv(10)[0] for _ in range(3)] == [0, 1, 2]
    assert client.recv(10)[0] == 4


def test_a_sink_that_says_nothing_answers_nothing(keep: ExitStack, peer: Callable[..., Peer]) -> None:
    there = peer(TARGETS[0], SinkBehaviour(speaks=Speaks.NOTHING))
    client = datagram_socket(keep, SOURCE, 40000)
    client.sendto(b"x", TARGETS[0].sockaddr)
    there.receive(1)
    assert (there.counts.answered, there.counts.dropped) == (0, 0)
    with pytest.raises(BlockingIOError):
        client.recv(10)


def test_datagrams_of_ipv6_are_echoed(keep: ExitStack, peer: Callable[..., Peer]) -> None:
    there = peer(Endpoint("::1", 9000))
    client = keep.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
    client.connect(("::1", 9000))
    client.send(b"six")
    there.receive(1)
    assert client.recv(10) == b"six"
    assert there.clients == [("::1", client.getsockname()[1])]


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
def test_a_port_that_somebody_has_is_no_place_for_a_sink(keep: ExitStack, options: tuple[int, ...]) -> None:
    require_free(TARGETS, Transport.UDP)
    datagram_socket(keep, "127.0.0.1", 9001, *options)
    with pytest.raises(HostError, match=r"UDP on 127\.0\.0\.1:9001: EADDRINUSE; .*ss -lunp"):
        require_free(TARGETS, Transport.UDP)
