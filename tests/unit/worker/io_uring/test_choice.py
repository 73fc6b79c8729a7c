"""What a strategy asks for as data must be what the strategy on sockets does."""

from __future__ import annotations

import socket
from errno import EADDRINUSE

import pytest

from loadgen.kernel.abi import IP_LOCAL_PORT_RANGE
from loadgen.model import PortRange, Strategy
from loadgen.worker.io_uring.choice import RANGE_OPTION, Choice, choice_for
from loadgen.worker.strategies import strategy_for

PORTS = PortRange(40000, 40003)
SOURCES = ["127.0.1.1", "127.0.1.2", "127.0.1.1"]


class Recording:
    """A socket that notes what is asked of it."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int]] = []
        self.bound: list[tuple[str, int]] = []

    def setsockopt(self, level: int, name: int, value: int) -> None:
        assert value == 1 or name == IP_LOCAL_PORT_RANGE
        self.options.append((level, name))

    def bind(self, address: tuple[str, int]) -> None:
        self.bound.append(address)


class Taken(Recording):
    """A socket whose ports are all taken."""

    def bind(self, address: tuple[str, int]) -> None:
        super().bind(address)
        raise OSError(EADDRINUSE, "")


@pytest.mark.parametrize("strategy", list(Strategy))
def test_options_and_ports_are_those_of_the_other_data_plane(strategy: Strategy) -> None:
    """The calls in their order, and for each pair in turn the port, until there are none."""
    on_sockets, choice = (
        strategy_for(strategy, SOURCES, PORTS, (40001,)),
        choice_for(strategy, SOURCES, PORTS, (40001,)),
    )
    for pair in (0, 1, 2, 0, 1, 2, 0, 1):
        sock = Recording()
        port = on_sockets.prepare(sock, pair)  # type: ignore[arg-type]
        asked = [option for option in sock.options if option != RANGE_OPTION]
        assert tuple(asked) == choice.options
        assert (RANGE_OPTION in sock.options) == choice.narrows
        assert len(sock.bound) == choice.binds
        ours = choice.rings[pair].allocate() if choice.rings else 0
        assert ours == port
        if choice.binds:
            assert sock.bound == [(SOURCES[pair], (ours or choice.asked) if choice.names_port else 0)]


def test_with_every_port_in_use_the_first_is_asked_for() -> None:
    """So that it is the kernel that says no."""
    assert choice_for(Strategy.EXPLICIT, SOURCES, PORTS, (40000, 40001)).asked == 40002
    on_sockets = strategy_for(Strategy.EXPLICIT, SOURCES, PortRange(40000, 40000), ())
    on_sockets.prepare(Recording(), 0)  # type: ignore[arg-type]
    sock = Taken()
    assert on_sockets.prepare(sock, 0) == -EADDRINUSE  # type: ignore[arg-type]
    assert sock.bound == [("127.0.1.1", choice_for(Strategy.EXPLICIT, SOURCES, PORTS).asked)]


def _rings(choice: Choice) -> list[bool]:
    """Whether pairs 0 and 1, and 0 and 2 share their ports."""
    rings = choice.rings
    return [rings[0] is rings[1], rings[0] is rings[2]]


def test_only_exclusive_shares_ports_between_targets() -> None:
    """Pairs 0 and 2 have one source."""
    assert _rings(choice_for(Strategy.EXCLUSIVE, SOURCES, PORTS)) == [False, True]
    assert _rings(choice_for(Strategy.EXPLICIT, SOURCES, PORTS)) == [False, False]
    assert _rings(choice_for(Strategy.LATE_RANGE, SOURCES, PORTS)) == [False, False]


def test_the_kernel_is_asked_for_nothing_in_strategy_kernel() -> None:
    choice = choice_for(Strategy.KERNEL, SOURCES, PORTS)
    assert (choice.options, choice.binds, list(choice.rings)) == ((), False, [])
    assert (socket.SOL_IP, IP_LOCAL_PORT_RANGE) == RANGE_OPTION
