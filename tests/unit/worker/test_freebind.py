"""The one option more that a strategy's sockets get, and that nothing else of the strategy changes."""

from __future__ import annotations

import socket
from typing import Any

from loadgen.model import PortRange, Strategy
from loadgen.worker.freebind import IP_FREEBIND, IPV6_FREEBIND, Freebind
from loadgen.worker.strategies import SourcePorts, strategy_for

SOURCES = ("10.9.0.1", "fd00:9::1")
PORTS = PortRange(40_000, 40_003)


class FakeSocket:
    """Records what is done to it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def setsockopt(self, *args: int) -> None:
        self.calls.append(args)

    def bind(self, address: tuple[str, int]) -> None:
        self.calls.append(address)


def calls(ports: SourcePorts, pair: int) -> tuple[int, list[tuple[Any, ...]]]:
    sock: Any = FakeSocket()
    return ports.prepare(sock, pair), sock.calls


def test_the_option_of_the_family_comes_first_and_the_strategy_does_the_rest() -> None:
    for pair, option in enumerate(((socket.SOL_IP, IP_FREEBIND, 1), (socket.IPPROTO_IPV6, IPV6_FREEBIND, 1))):
        plain = strategy_for(Strategy.LATE_RANGE, SOURCES, PORTS)
        wrapped = Freebind(strategy_for(Strategy.LATE_RANGE, SOURCES, PORTS), SOURCES)
        port, made = calls(wrapped, pair)
        assert (port, made[1:]) == calls(plain, pair)
        assert made[0] == option


def test_ports_come_and_go_as_the_strategy_has_them() -> None:
    wrapped = Freebind(strategy_for(Strategy.LATE_RANGE, SOURCES, PORTS), SOURCES)
    assert [calls(wrapped, 0)[0] for _ in range(4)] == [40_000, 40_001, 40_002, 40_003]
    wrapped.release(0, 40_002)
    assert calls(wrapped, 0)[0] == 40_002
    wrapped.unused(0, 40_002)
    sock: Any = FakeSocket()
    assert wrapped.another(sock, 0) == 40_002
    assert wrapped.retried == 1
    wrapped.denied(0, [40_002])
    assert calls(wrapped, 0)[0] == 40_002
