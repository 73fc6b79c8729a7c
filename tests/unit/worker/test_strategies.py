"""Strategies: which calls each makes on a socket, in which order, and who gets which port."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any

import pytest

from loadgen.model import PortRange, Strategy, Transport
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
from loadgen.worker.strategies import (
    NEW_SOCKET,
    TRIES,
    PortSetup,
    SourcePorts,
    port_range_option,
    setup_of,
    strategy_for,
)

PORTS = PortRange(40_000, 40_003)
SOURCES = ("127.0.0.2", "127.0.0.3")
REUSEADDR = ("setsockopt", socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
REUSEPORT = ("setsockopt", socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
NO_PORT = ("setsockopt", socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)


def port_range(low: int, high: int) -> tuple[Any, ...]:
    return ("setsockopt", socket.SOL_IP, IP_LOCAL_PORT_RANGE, port_range_option(low, high))


class FakeSocket:
    """Records what is done to it; bind() to a port in `held` fails with `number`."""

    def __init__(self, held: set[int] | None = None, number: int = errno.EADDRINUSE) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._held, self._number = held or set(), number

    def setsockopt(self, *args: int) -> None:
        self.calls.append(("setsockopt", *args))

    def bind(self, address: tuple[str, int]) -> None:
        self.calls.append(("bind", *address))
        if address[1] in self._held:
            raise OSError(self._number, os.strerror(self._number))


def strategy(name: str, *skipped: int, ports: PortRange = PORTS) -> SourcePorts:
    return strategy_for(Strategy(name), SOURCES, ports, frozenset(skipped))


def prepare(ports: SourcePorts, pair: int = 0, held: set[int] | None = None) -> tuple[int, list[tuple[Any, ...]]]:
    sock: Any = FakeSocket(held)
    return ports.prepare(sock, pair), sock.calls


def test_the_kernels_choice_needs_no_call() -> None:
    assert prepare(strategy("kernel")) == (0, [])


def test_late_binds_the_address_of_the_pair_and_no_port() -> None:
    ports = strategy("late")
    assert prepare(ports, 0) == (0, [REUSEADDR, NO_PORT, ("bind", "127.0.0.2", 0)])
    assert prepare(ports, 1) == (0, [REUSEADDR, NO_PORT, ("bind", "127.0.0.3", 0)])


def test_late_range_shows_the_kernel_one_port_after_the_other() -> None:
    ports = strategy("late-range", 40_001)
    for pair in (0, 1):
        for port in (40_000, 40_002, 40_003):
            taken, calls = prepare(ports, pair)
            assert taken == port
            assert sorted(calls[:-1]) == sorted([REUSEADDR, NO_PORT, port_range(port, port)])
            assert calls[-1] == ("bind", SOURCES[pair], 0)


def test_late_range_without_a_free_port_lets_the_kernel_say_so() -> None:
    ports = strategy("late-range", ports=PortRange(40_000, 40_000))
    assert prepare(ports)[0] == 40_000
    taken, calls = prepare(ports)
    assert taken == 0
    assert port_range(40_000, 40_000) in calls
    ports = strategy("late-range")
    for _ in range(4):
        prepare(ports)
    assert port_range(40_000, 40_003) in prepare(ports)[1]


def test_late_range_goes_on_with_the_next_port_when_connect_finds_one_taken() -> None:
    ports = strategy("late-range")
    sock: Any = FakeSocket()
    assert ports.prepare(sock, 0) == 40_000
    sock.calls.clear()
    assert ports.another(sock, 0) == 40_001
    assert sock.calls == [port_range(40_001, 40_001)]
    assert ports.retried == 1
    ports.denied(0, [40_000])
    assert [prepare(ports)[0] for _ in range(3)] == [40_002, 40_003, 40_000]


def test_late_range_with_a_single_port_has_no_other() -> None:
    ports = strategy("late-range", ports=PortRange(40_000, 40_000))
    sock: Any = FakeSocket()
    assert ports.prepare(sock, 0) == 40_000
    assert ports.another(sock, 0) == 0
    assert ports.retried == 0


def test_explicit_binds_address_and_port_for_sharing() -> None:
    ports = strategy("explicit", 40_001)
    for port in (40_000, 40_002, 40_003):
        assert prepare(ports, 1) == (port, [REUSEADDR, REUSEPORT, ("bind", "127.0.0.3", port)])


def test_explicit_passes_over_ports_that_others_hold() -> None:
    ports = strategy("explicit")
    taken, calls = prepare(ports, held={40_000, 40_001})
    assert taken == 40_002
    assert [call[2] for call in calls if call[0] == "bind"] == [40_000, 40_001, 40_002]
    assert ports.retried == 2
    assert [prepare(ports)[0] for _ in range(3)] == [40_003, 40_000, 40_001]


def test_explicit_gives_up_after_so_many_ports() -> None:
    ports = strategy("explicit", ports=PortRange(40_000, 40_099))
    taken, calls = prepare(ports, held=set(range(40_000, 40_100)))
    assert taken == -errno.EADDRINUSE
    assert [call[2] for call in calls if call[0] == "bind"] == list(range(40_000, 40_000 + TRIES))
    assert ports.retried == TRIES - 1
    assert prepare(ports)[0] == 40_000 + TRIES


def test_explicit_without_a_free_port_lets_the_kernel_say_so() -> None:
    """It binds one that is in use, which is no longer its own to give back, and connect() will fail."""
    ports = strategy("explicit", ports=PortRange(40_000, 40_000))
    assert prepare(ports)[0] == 40_000
    assert prepare(ports) == (0, [REUSEADDR, REUSEPORT, ("bind", "127.0.0.2", 40_000)])
    assert ports.retried == 0


@pytest.mark.parametrize("name", ["late", "late-range", "explicit"])
@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EACCES])
def test_a_bind_that_fails_gives_its_errno_and_its_port_back(name: str, number: int) -> None:
    """Only EADDRINUSE speaks of the port; whatever else is wrong is no better with the next one."""
    ports = strategy(name, ports=PortRange(40_000, 40_001))
    for _ in range(5):
        sock: Any = FakeSocket({0, 40_000, 40_001}, number)
        assert ports.prepare(sock, 0) == -number
        assert sum(call[0] == "bind" for call in sock.calls) == 1
    assert ports.retried == 0
    assert prepare(ports)[0] in (0, 40_000, 40_001)


@pytest.mark.parametrize("name", ["late", "late-range", "explicit"])
def test_an_address_of_the_wrong_family_is_no_port(name: str) -> None:
    """Python's bind() raises gaierror (EAI_ADDRFAMILY, -9), an OSError, for ::1 on an AF_INET socket."""

    class WrongFamily(FakeSocket):
        def bind(self, address: tuple[str, int]) -> None:  # noqa: ARG002  # a socket's
            raise socket.gaierror(-9, "Address family for hostname not supported")

    sock: Any = WrongFamily()
    assert strategy(name).prepare(sock, 0) < 0


@pytest.mark.parametrize(("name", "answer"), [("kernel", 0), ("late", 0), ("explicit", NEW_SOCKET)])
def test_strategies_that_have_no_other_port_for_this_socket_say_so(name: str, answer: int) -> None:
    """The kernel has looked at them all; a socket that is bound to a port keeps it."""
    sock: Any = FakeSocket()
    assert strategy(name).another(sock, 0) == answer
    assert sock.calls == []


@pytest.mark.parametrize("name", ["kernel", "late"])
def test_a_port_of_the_kernels_goes_back_to_the_kernel(name: str) -> None:
    ports = strategy(name)
    ports.release(0, 40_000)
    assert ports.retried == 0


@pytest.mark.parametrize("name", ["late-range", "explicit"])
def test_a_released_port_rests_behind_the_others_of_its_pair(name: str) -> None:
    ports = strategy(name)
    assert prepare(ports, 0)[0] == prepare(ports, 1)[0] == 40_000
    ports.release(0, 40_000)
    assert [prepare(ports, 0)[0] for _ in range(4)] == [40_001, 40_002, 40_003, 40_000]
    assert [prepare(ports, 1)[0] for _ in range(3)] == [40_001, 40_002, 40_003]


def test_the_option_is_two_u16_in_a_u32_for_every_port() -> None:
    """High bound above low bound, as the C int that setsockopt() takes."""
    for port in range(1, 65_536):
        for low, high in ((port, port), (1, port), (port, 65_535)):
            value = port_range_option(low, high)
            assert struct.pack("=i", value) == struct.pack("=I", high << 16 | low)


# --- The setup of a shard, which is what the io_uring engine makes its submissions from ------------------------


@pytest.mark.parametrize(
    ("name", "transport"),
    [(name, transport) for name in Strategy for transport in Transport if transport is Transport.TCP or name.row.udp],
)
def test_both_engines_make_the_same_calls_on_the_same_ports(name: Strategy, transport: Transport) -> None:
    """The options in their order, and for each pair in turn the port, until there are none."""
    sources = [*SOURCES, SOURCES[0]]
    on_sockets = strategy_for(name, sources, PORTS, (40_001,), transport=transport)
    setup = setup_of(name, sources, PORTS, (40_001,), transport=transport)
    for pair in (0, 1, 2, 0, 1, 2):
        taken, calls = prepare(on_sockets, pair)
        options = [call[1:3] for call in calls if call[0] == "setsockopt" and call[2] != IP_LOCAL_PORT_RANGE]
        if taken:  # with none free, UDP takes the options back
            assert tuple(options) == setup.options
        assert any(call[2] == IP_LOCAL_PORT_RANGE for call in calls if call[0] == "setsockopt") == setup.narrows
        ours = setup.rings[pair].allocate() if setup.rings else 0
        assert ours == taken
        port = (ours or setup.asked) if setup.names_port else 0
        assert [call for call in calls if call[0] == "bind"] == [("bind", sources[pair], port)] * setup.binds


def test_with_every_port_in_use_the_first_that_is_not_skipped_is_asked_for() -> None:
    """So that it is the kernel that says no."""
    assert setup_of(Strategy.EXPLICIT, SOURCES, PORTS, (40_000, 40_001)).asked == 40_002
    ports = strategy("explicit", ports=PortRange(40_000, 40_000))
    prepare(ports)
    answer, calls = prepare(ports, held={40_000})
    assert answer == -errno.EADDRINUSE
    assert calls[-1] == ("bind", SOURCES[0], 40_000)


def shared_rings(setup: PortSetup) -> list[bool]:
    """Whether pairs 0 and 1, and 0 and 2 share their ports."""
    return [setup.rings[0] is setup.rings[1], setup.rings[0] is setup.rings[2]]


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("name", [strategy for strategy in Strategy if strategy.row.slices_ports])
def test_pairs_share_a_ring_where_a_port_serves_one_target(name: Strategy, transport: Transport) -> None:
    """Pairs 0 and 2 have one source."""
    setup = setup_of(name, [*SOURCES, SOURCES[0]], PORTS, transport=transport)
    assert shared_rings(setup) == [False, not name.over(transport).shares_ports]


@pytest.mark.parametrize("name", [strategy for strategy in Strategy if not strategy.row.slices_ports])
def test_the_kernel_picks_ports_without_a_ring(name: Strategy) -> None:
    setup = setup_of(name, SOURCES, PORTS)
    assert (setup.rings, setup.asked, setup.narrows) == ((), 0, False)


# --- UDP ----------------------------------------------------------------------------------------


def over_udp(name: str, *, ports: PortRange = PORTS) -> SourcePorts:
    return strategy_for(Strategy(name), SOURCES, ports, transport=Transport.UDP)


@pytest.mark.parametrize("name", ["kernel", "bind", "late", "late-range", "exclusive"])
def test_in_udp_nothing_is_set_that_would_let_the_kernel_give_a_port_twice(name: str) -> None:
    """Neither flag, on any socket, up to the last port and beyond."""
    ports = over_udp(name)
    for _ in range(6):
        _, calls = prepare(ports)
        assert not {REUSEADDR, REUSEPORT} & set(calls)


@pytest.mark.parametrize("name", ["late-range", "exclusive"])
def test_in_udp_a_port_serves_one_target(name: str) -> None:
    """The pairs of one source share its ports; another source has them all again."""
    ports = strategy_for(Strategy(name), (*SOURCES, *SOURCES), PORTS, transport=Transport.UDP)
    assert sorted(prepare(ports, pair)[0] for pair in (0, 2, 0, 2)) == [40_000, 40_001, 40_002, 40_003]
    assert [prepare(ports, pair)[0] for pair in (1, 3)] == [40_000, 40_001]


@pytest.mark.parametrize(("name", "flag"), [("explicit", REUSEADDR), ("reuseport", REUSEPORT)])
def test_in_udp_a_shared_port_goes_to_each_pair_once(name: str, flag: tuple[Any, ...]) -> None:
    """And when none is left the flag is taken back, because with it bind() would succeed."""
    ports = over_udp(name)
    for pair in (0, 1):
        found = [prepare(ports, pair) for _ in range(4)]
        assert sorted(port for port, _ in found) == [40_000, 40_001, 40_002, 40_003]
        assert all(calls == [flag, ("bind", SOURCES[pair], port)] for port, calls in found)
    answer, calls = prepare(ports, 0, held={40_000})
    assert answer == -errno.EADDRINUSE
    assert calls == [flag, (*flag[:3], 0), ("bind", SOURCES[0], 40_000)]


def test_in_udp_no_port_rests_in_churn() -> None:
    ports = strategy_for(Strategy.LATE_RANGE, SOURCES, PORTS, churn=True, transport=Transport.UDP)
    taken = [prepare(ports)[0] for _ in range(4)]
    for port in reversed(taken):
        ports.release(0, port)
    assert [prepare(ports)[0] for _ in range(4)] == taken[::-1]


def test_in_udp_blind_sharing_is_refused() -> None:
    with pytest.raises(ValueError, match="SO_REUSEADDR"):
        over_udp("reuseaddr")


# --- Time in bind() -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "transport"),
    [(name, transport) for name in Strategy for transport in Transport if transport is Transport.TCP or name.row.udp],
)
def test_each_bind_that_takes_a_port_is_recorded(name: Strategy, transport: Transport) -> None:
    """One that fails as well, and each of several that one attempt makes."""
    took_ns: list[int] = []
    ports = strategy_for(name, SOURCES, PORTS, transport=transport, record_bind=took_ns.append)
    binds = 0
    for held in (set(), {40_001, 40_002}, {0, 40_000, 40_001, 40_002, 40_003}):
        _, calls = prepare(ports, held=held)
        binds += sum(call[0] == "bind" for call in calls)
    assert len(took_ns) == (binds if name.row.binds_port else 0)
    assert all(took > 0 for took in took_ns)
