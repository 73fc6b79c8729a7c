"""Where each strategy meets its wall, and what it does to the ports of other programs.

N source ports give N connections for each (source, target); N is 4 to 101 here, so the wall is
milliseconds away. The listeners sit outside the range and say which source ports really arrived.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from loadgen.kernel import sockstat
from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
from loadgen.worker.strategies import strategy_for

from .support import PROC_NET, Load, accept_all, add_address, reset, until

ALL = list(Strategy)
#: Without a source address of our choice there is only `kernel`.
BOUND = [strategy for strategy in ALL if strategy is not Strategy.KERNEL]
#: The kernel takes a port in bind(), before it knows the target.
EARLY = [Strategy.BIND, Strategy.REUSEADDR]
#: loadgen names the port in bind().
EXPLICIT = [Strategy.EXPLICIT, Strategy.EXCLUSIVE, Strategy.REUSEPORT]
#: loadgen chooses the port, in one way or another.
OWN_CHOICE = [Strategy.LATE_RANGE, *EXPLICIT]
#: A port is spent for all targets at once.
PER_SOURCE = [*EARLY, Strategy.EXCLUSIVE]
PER_FOUR_TUPLE = [strategy for strategy in ALL if strategy not in PER_SOURCE]

#: What ends each strategy when every port is taken by its own connections.
WALL = {
    strategy: ("bind", "EADDRINUSE") if strategy in PER_SOURCE else ("connect", "EADDRNOTAVAIL") for strategy in ALL
}
#: What ends each strategy of our own choice when the last port is held by another program.
TAKEN = {strategy: ("bind", "EADDRINUSE") if strategy in EXPLICIT else WALL[strategy] for strategy in OWN_CHOICE}
#: Loopback of each family: (first source, second source, address of the targets).
V4 = ("127.0.0.1", "127.0.0.2", "127.0.0.1")
V6 = ("::1", "fd00::2", "::1")
families = pytest.mark.parametrize("family", [pytest.param(V4, id="IPv4"), pytest.param(V6, id="IPv6")])

FOUR = PortRange(40000, 40003)
TARGET, OTHER = Endpoint("127.0.0.1", 9000), Endpoint("127.0.0.1", 9001)

MakeLoad = Callable[..., Load]
MakeListeners = Callable[..., list[socket.socket]]
FillingOf = Callable[..., tuple[Load, list[socket.socket]]]
SourcePorts = Callable[[socket.socket, int], list[int]]


@pytest.fixture
def filling_of(load: MakeLoad, listeners: MakeListeners) -> FillingOf:
    """Make a load from some sources to some targets, and the targets' listeners: `filling_of(strategy, targets=2)`.

    held: an address at which another program listens on port 40001.
    """

    def make(
        strategy: Strategy,
        ports: PortRange = FOUR,
        family: tuple[str, str, str] = V4,
        *,
        sources: int = 1,
        targets: int = 1,
        held: str = "",
        **more: Any,
    ) -> tuple[Load, list[socket.socket]]:
        ends = [Endpoint(family[2], TARGET.port + number) for number in range(targets)]
        made = listeners(*ends)
        if held:
            listeners(Endpoint(held, 40001))
        pairs = [(source, end) for end in ends for source in family[:sources]]
        return load(strategy, pairs, ports, **more), made

    return make


@pytest.fixture
def source_ports(keep: ExitStack) -> SourcePorts:
    """Accept the next connections of a listener: their source ports, in the order in which they came."""

    def accept(listener: socket.socket, count: int) -> list[int]:
        accepted = accept_all(listener, count)
        for sock in accepted:
            keep.callback(reset, sock)
        return [sock.getpeername()[1] for sock in accepted]

    return accept


def automatic(source: str, target: Endpoint, keep: ExitStack, *, bind: bool = False) -> int:
    """Another program's automatic connection, 0 or the errno of its connect()."""
    sock = keep.enter_context(socket.socket(target.family, socket.SOCK_STREAM))
    sock.settimeout(10)
    if bind:
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    return sock.connect_ex(target.sockaddr)


# --- the wall ---------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize(
    "high",
    [
        pytest.param(40003, id="4", marks=pytest.mark.lab("40000 40003")),
        pytest.param(40099, id="100", marks=pytest.mark.lab("40000 40099")),
    ],
)
def test_n_ports_give_n_connections_to_one_target_and_not_one_more(
    strategy: Strategy, family: tuple[str, str, str], high: int, filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    """All of them; then the same system call fails with the same errno each time."""
    ports = PortRange(40000, high)
    filling, (listener,) = filling_of(strategy, ports, family)
    filling.open(len(ports))
    assert filling.errors == {}
    assert sorted(source_ports(listener, len(ports))) == list(range(40000, high + 1))
    filling.open(3)
    assert filling.recorder.established == len(ports)
    assert filling.errors == {WALL[strategy]: 3}


@pytest.mark.lab("40000 40100")
@pytest.mark.parametrize("strategy", ALL)
def test_of_an_odd_number_of_ports_the_kernel_may_miss_the_last(strategy: Strategy, filling_of: FillingOf) -> None:
    """Its search takes steps of two and looks at an even number of ports (__inet_hash_connect()).

    So with 101 ports and one of them free, connect() may say that there is none. Where loadgen chooses
    the port, all are found.
    """
    filling, _ = filling_of(strategy, PortRange(40000, 40100))
    filling.open(101)
    if strategy in OWN_CHOICE:
        assert (filling.recorder.established, filling.errors) == (101, {})
    else:
        assert filling.recorder.established in (100, 101)
        assert set(filling.errors) <= {WALL[strategy]}


@families
@pytest.mark.parametrize(
    ("strategy", "sources", "targets"),
    [(strategy, 2, 1) for strategy in BOUND] + [(strategy, 1, 2) for strategy in PER_FOUR_TUPLE],
)
def test_a_second_source_address_or_target_gives_as_many_again_with_the_same_ports(
    strategy: Strategy,
    sources: int,
    targets: int,
    family: tuple[str, str, str],
    filling_of: FillingOf,
    source_ports: SourcePorts,
) -> None:
    if family is V6 and sources == 2:
        add_address(family[1], 128)
    filling, made = filling_of(strategy, FOUR, family, sources=sources, targets=targets)
    filling.open(8)
    assert (filling.recorder.established, filling.errors) == (8, {})
    ports = sorted([*range(40000, 40004)] * sources)
    assert [sorted(source_ports(listener, len(ports))) for listener in made] == [ports] * targets
    filling.open(2)
    assert filling.errors == {WALL[strategy]: 2}


@families
@pytest.mark.parametrize("strategy", PER_SOURCE)
def test_a_port_taken_before_the_target_is_known_is_spent_for_all_targets(
    strategy: Strategy, family: tuple[str, str, str], filling_of: FillingOf
) -> None:
    """A second target gives nothing, and SO_REUSEADDR alone does not help."""
    filling, _ = filling_of(strategy, FOUR, family, targets=2)
    filling.open(8)
    assert (filling.recorder.established, filling.errors) == (4, {("bind", "EADDRINUSE"): 4})


@families
@pytest.mark.lab("40000 40000")
@pytest.mark.parametrize("strategy", [strategy for strategy in PER_FOUR_TUPLE if strategy in BOUND])
def test_one_port_serves_many_targets_at_once(
    strategy: Strategy, family: tuple[str, str, str], filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    """A bound port too: SO_REUSEADDR and SO_REUSEPORT let it carry one connection to each target."""
    filling, made = filling_of(strategy, PortRange(40000, 40000), family, targets=12)
    filling.open(12)
    assert (filling.recorder.established, filling.errors) == (12, {})
    assert [source_ports(listener, 1) for listener in made] == [[40000]] * 12


@pytest.mark.parametrize("strategy", BOUND)
def test_an_address_of_another_host_fails_in_bind(strategy: Strategy, filling_of: FillingOf) -> None:
    """EADDRNOTAVAIL from bind() is no lack of ports: the address is on no interface."""
    filling, _ = filling_of(strategy, family=("10.99.0.1", "", TARGET.address))
    filling.open(6)  # more than there are ports: a port that came to nothing is given back
    assert filling.errors == {("bind", "EADDRNOTAVAIL"): 6}


# --- slices of the range ------------------------------------------------------------------------


@families
@pytest.mark.lab("40000 40099")
@pytest.mark.parametrize("strategy", OWN_CHOICE)
def test_disjoint_slices_do_not_disturb_each_other(
    strategy: Strategy,
    family: tuple[str, str, str],
    load: MakeLoad,
    listeners: MakeListeners,
    source_ports: SourcePorts,
) -> None:
    """Each shard fills its slice to the last port, by turns with the other, and never leaves it."""
    target = Endpoint(family[2], 9000)
    (listener,) = listeners(target)
    lower = load(strategy, [(family[0], target)], PortRange(40000, 40049))
    upper = load(strategy, [(family[0], target)], PortRange(40050, 40099))
    for _ in range(10):
        lower.open(5)
        assert set(source_ports(listener, 5)) <= set(range(40000, 40050))
        upper.open(5)
        assert set(source_ports(listener, 5)) <= set(range(40050, 40100))
    for shard in (lower, upper):
        assert (shard.recorder.established, shard.errors, shard.ports.retried) == (50, {}, 0)
        shard.open()
        assert shard.errors == {WALL[strategy]: 1}


@pytest.mark.lab("40000 40009")
@pytest.mark.parametrize("strategy", [Strategy.KERNEL, Strategy.LATE, *EARLY])
def test_the_kernels_own_choice_knows_no_slices(
    strategy: Strategy, filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    filling, (listener,) = filling_of(strategy, PortRange(40000, 40004))
    filling.open(10)
    assert sorted(source_ports(listener, 10)) == list(range(40000, 40010))


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ((30000, 30009), range(40000, 40004)),  # all outside: as if nothing had been asked
        ((39990, 40001), range(40000, 40002)),  # the low bound is outside: only that one is ignored
        ((40002, 50000), range(40002, 40004)),
        ((30000, 50000), range(40000, 40004)),
        ((40001, 40002), range(40001, 40003)),
        ((0, 0), range(40000, 40004)),
    ],
)
def test_a_bound_outside_the_sysctl_is_ignored_without_a_word(
    asked: tuple[int, int], used: Sequence[int], listeners: MakeListeners, keep: ExitStack
) -> None:
    """IP_LOCAL_PORT_RANGE can only narrow; setsockopt() accepts what connect() then passes over."""
    listeners(TARGET)
    got = set()
    for _ in range(4):
        sock = keep.enter_context(socket.socket())
        sock.settimeout(10)
        sock.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", asked[1] << 16 | asked[0]))
        if sock.connect_ex(TARGET.sockaddr) == 0:
            got.add(sock.getsockname()[1])
    assert sorted(got) == list(used)


def test_a_range_upside_down_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match="Invalid argument"):
        sock.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", 40000 << 16 | 40003))


def test_the_last_port_of_all_can_be_shown_to_the_kernel() -> None:
    """A high bound of 32768 and more does not fit a C int as it stands; the option reads back whole."""
    strategy = strategy_for(Strategy.LATE_RANGE, ["127.0.0.1"], PortRange(65535, 65535))
    with socket.socket() as sock:
        assert strategy.prepare(sock, 0) == 65535
        assert struct.unpack("=I", sock.getsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, 4)) == (65535 << 16 | 65535,)


# --- ports that another program has -------------------------------------------------------------


@pytest.mark.parametrize("strategy", OWN_CHOICE)
def test_a_port_with_a_listener_is_passed_over_and_counted(
    strategy: Strategy, filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    """It goes to the back of the queue, and is tried again when it is the only one left."""
    filling, (listener,) = filling_of(strategy, held="127.0.0.1")
    filling.open(3)
    assert (filling.recorder.established, filling.errors, filling.recorder.retried) == (3, {}, 1)
    assert sorted(source_ports(listener, 3)) == [40000, 40002, 40003]
    filling.open()
    assert filling.errors == {TAKEN[strategy]: 1}
    assert filling.recorder.retried == 1


@pytest.mark.parametrize("strategy", [Strategy.KERNEL, Strategy.LATE])
def test_the_kernel_passes_over_a_listeners_port_too(
    strategy: Strategy, filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    """On whatever address the listener is, and without a trace in `retried`."""
    filling, (listener,) = filling_of(strategy, held="127.0.0.77")
    filling.open(4)
    assert (filling.errors, filling.recorder.retried) == ({WALL[strategy]: 1}, 0)
    assert sorted(source_ports(listener, 3)) == [40000, 40002, 40003]


@pytest.mark.parametrize("strategy", BOUND)
def test_a_listener_on_another_address_closes_the_port_to_connect_only(
    strategy: Strategy, filling_of: FillingOf
) -> None:
    filling, _ = filling_of(strategy, held="127.0.0.77")
    filling.open(4)
    assert filling.recorder.established == (4 if strategy in EARLY + EXPLICIT else 3)


@pytest.mark.parametrize("strategy", OWN_CHOICE)
def test_a_port_the_plan_skips_is_never_tried(
    strategy: Strategy, filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    filling, (listener,) = filling_of(strategy, held="127.0.0.1", skipped=[40001])
    filling.open(4)
    assert (filling.errors, filling.recorder.retried) == ({WALL[strategy]: 1}, 0)
    assert source_ports(listener, 3) == [40000, 40002, 40003]


@families
@pytest.mark.lab(net__ipv4__ip_local_reserved_ports="40001")
@pytest.mark.parametrize("strategy", ALL)
def test_a_reserved_port_is_kept_from_automatic_choice_and_from_nothing_else(
    strategy: Strategy, family: tuple[str, str, str], filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    """An explicit bind() may take it; a range of just this port finds it closed, and the next is tried."""
    filling, (listener,) = filling_of(strategy, family=family)
    filling.open(3)
    filling.open()
    if strategy in EXPLICIT:
        assert source_ports(listener, 4) == [40000, 40001, 40002, 40003]
        return
    assert filling.errors == {WALL[strategy]: 1}
    assert sorted(source_ports(listener, 3)) == [40000, 40002, 40003]
    assert filling.recorder.retried == (1 if strategy is Strategy.LATE_RANGE else 0)


@pytest.mark.parametrize("strategy", [Strategy.KERNEL, Strategy.LATE, Strategy.LATE_RANGE])
def test_automatic_ports_stay_open_to_other_programs_for_other_targets(
    strategy: Strategy, filling_of: FillingOf, listeners: MakeListeners, keep: ExitStack
) -> None:
    """late-range takes no port from another program, although it chooses its ports itself."""
    listeners(OTHER)
    filling, _ = filling_of(strategy)
    filling.open(4)
    assert [automatic("127.0.0.1", OTHER, keep) for _ in range(5)] == [0, 0, 0, 0, errno.EADDRNOTAVAIL]


@pytest.mark.parametrize("strategy", EARLY + EXPLICIT)
def test_bound_ports_are_closed_to_the_automatic_choice_of_other_programs(
    strategy: Strategy, filling_of: FillingOf, listeners: MakeListeners, keep: ExitStack
) -> None:
    """To another target, and from another address of the host as well; that is why the plan warns of it."""
    listeners(OTHER)
    filling, _ = filling_of(strategy)
    filling.open(4)
    assert automatic("127.0.0.1", OTHER, keep) == errno.EADDRNOTAVAIL
    assert automatic("127.0.0.9", OTHER, keep, bind=True) == errno.EADDRNOTAVAIL
    filling.close()
    assert automatic("127.0.0.1", OTHER, keep) == 0


@pytest.mark.parametrize("strategy", OWN_CHOICE)
def test_a_four_tuple_of_another_program_is_passed_over(
    strategy: Strategy, filling_of: FillingOf, keep: ExitStack, source_ports: SourcePorts
) -> None:
    """Its automatic connection to our own target: one port less for us, and no attempt lost."""
    filling, (listener,) = filling_of(strategy)
    assert automatic("127.0.0.1", TARGET, keep) == 0
    (theirs,) = source_ports(listener, 1)
    filling.open(3)
    assert (filling.recorder.established, filling.errors) == (3, {})
    assert set(source_ports(listener, 3)) == {*range(40000, 40004)} - {theirs}
    filling.open()
    assert filling.errors == {TAKEN[strategy]: 1}


# --- ports that come back -----------------------------------------------------------------------


@families
@pytest.mark.parametrize("strategy", OWN_CHOICE)
def test_released_ports_are_used_again_oldest_first(
    strategy: Strategy, family: tuple[str, str, str], filling_of: FillingOf, source_ports: SourcePorts
) -> None:
    """In the order in which they were released, whatever their numbers."""
    filling, (listener,) = filling_of(strategy, family=family)
    filling.open(4)
    ends = accept_all(listener, 4)
    released: list[int] = []
    for index in (2, 0, 3, 1):
        released.append(ends[index].getpeername()[1])
        reset(ends[index])
        filling.settle(lambda: filling.recorder.lost == len(released))
    for port in released:
        filling.open()
        assert source_ports(listener, 1) == [port]


def _tcp_tw() -> int:
    return sockstat.read(PROC_NET)["tcp_tw"]


def _through_time_wait(filling: Load, listener: socket.socket, count: int) -> None:
    """Open and close `count` connections so that each leaves TIME-WAIT on the client's side."""
    filling.open(count)
    ends = accept_all(listener, count)
    filling.close()
    for end in ends:
        end.close()
    until(lambda: _tcp_tw() == count)


@pytest.mark.lab(net__ipv4__tcp_tw_reuse="0")
@pytest.mark.parametrize("strategy", ALL)
def test_time_wait_keeps_a_four_tuple_from_automatic_choice_but_not_from_a_shared_port(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    """The kernel looks at tcp_tw_reuse only when it picks the port; a bound one needs but timestamps.

    If it may be shared, that is: a port that bind() took for one socket alone stays taken for 60 s.
    """
    (listener,) = listeners(TARGET)
    _through_time_wait(load(strategy, [("127.0.0.1", TARGET)], FOUR, close=CloseMode.FIN), listener, 4)
    again = load(strategy, [("127.0.0.1", TARGET)], FOUR)
    again.open(4)
    if strategy in (Strategy.EXPLICIT, Strategy.REUSEPORT):
        assert (again.recorder.established, _tcp_tw()) == (4, 0)
    else:
        assert again.errors == {WALL[strategy]: 4}


@pytest.mark.lab(net__ipv4__tcp_tw_reuse="1")
@pytest.mark.parametrize("strategy", [Strategy.KERNEL, Strategy.LATE, Strategy.LATE_RANGE])
def test_tcp_tw_reuse_gives_a_four_tuple_back_after_its_delay(
    strategy: Strategy, load: MakeLoad, listeners: MakeListeners
) -> None:
    """About a second by default (tcp_tw_reuse_delay, Linux 6.14; a fixed second before)."""
    (listener,) = listeners(TARGET)
    _through_time_wait(load(strategy, [("127.0.0.1", TARGET)], FOUR, close=CloseMode.FIN), listener, 4)
    again = load(strategy, [("127.0.0.1", TARGET)], FOUR)

    def reopened() -> bool:
        again.open()
        return again.recorder.established == 4

    until(reopened)
    assert set(again.errors) <= {("connect", "EADDRNOTAVAIL")}
    assert _tcp_tw() == 0


# --- the objects themselves -----------------------------------------------------------------------


def test_late_takes_no_port_before_connect(listeners: MakeListeners) -> None:
    """IP_BIND_ADDRESS_NO_PORT: after bind() the port is still 0, and connect() picks it."""
    listeners(TARGET)
    with socket.socket() as sock:
        sock.settimeout(10)
        assert strategy_for(Strategy.LATE, ["127.0.0.5"], PortRange(1024, 65535)).prepare(sock, 0) == 0
        assert sock.getsockname() == ("127.0.0.5", 0)
        sock.connect(TARGET.sockaddr)
        assert sock.getsockname()[1] in range(40000, 40004)


def test_a_server_may_take_the_port_of_a_late_connection(load: MakeLoad, listeners: MakeListeners) -> None:
    """SO_REUSEADDR on the client's side is what allows it; without, the server could not start."""
    listeners(TARGET)
    load(Strategy.LATE, [("127.0.0.1", TARGET)], FOUR).open(4)
    listeners(Endpoint("127.0.0.1", 40000))  # SO_REUSEADDR as servers do; does not raise
    plain: Any = socket.socket()
    with plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", 40001))
