"""The rules of a transport agree with the table of strategies."""

from __future__ import annotations

import socket

import pytest

from loadgen.model import Strategy, Transport
from loadgen.outcomes import Syscall
from loadgen.worker.epoll.transport import RULES


@pytest.mark.parametrize(
    ("transport", "kind"), [(Transport.TCP, socket.SOCK_STREAM), (Transport.UDP, socket.SOCK_DGRAM)]
)
def test_sockets_are_of_the_transport_and_non_blocking(transport: Transport, kind: int) -> None:
    with socket.socket(socket.AF_INET, RULES[transport].kind) as sock:
        assert (sock.type, sock.getblocking(), sock.get_inheritable()) == (kind, False, False)


@pytest.mark.parametrize("transport", list(Transport))
def test_connect_without_a_port_fails_as_the_strategies_say(transport: Transport) -> None:
    rules = [row.tcp if transport is Transport.TCP else row.udp for row in (strategy.row for strategy in Strategy)]
    ends = {each.ends[1] for each in rules if each and each.ends[0] is Syscall.CONNECT}
    assert ends == {RULES[transport].no_port}
