"""Ports that another process has bound: closed to the kernel's choice on every address."""

from __future__ import annotations

import errno
import socket

import pytest

from loadgen.kernel import sysctl
from loadgen.lab import held, namespace
from loadgen.model import Transport

from .support import in_child

PORTS = "40000 40003"


def tries_with_held_ports(ports: range) -> list[int]:
    """The source ports that connect() chooses, and the errno of the last, beside held ports."""
    namespace.enter({"net.ipv4.ip_local_port_range": PORTS})
    assert sysctl.read("net.ipv4.ip_local_port_range") == PORTS
    kept = [held.bound(port, Transport.TCP) for port in ports]
    kept.append(socket.create_server(("127.0.0.1", 9000), backlog=10))
    chosen: list[int] = []
    for _ in range(5):
        sock = socket.socket()
        kept.append(sock)
        try:
            sock.connect(("127.0.0.1", 9000))
        except OSError as error:
            return [*sorted(chosen), error.errno or 0]
        chosen.append(sock.getsockname()[1])
    return chosen


def refuses_a_second_holder(transport: Transport) -> int:
    namespace.enter({})
    with held.bound(40000, transport), pytest.raises(OSError, match="in use") as caught:
        held.bound(40000, transport)
    return caught.value.errno or 0


def test_connect_passes_over_held_ports() -> None:
    assert in_child(lambda: tries_with_held_ports(range(40000, 40003))) == [40003, errno.EADDRNOTAVAIL]


@pytest.mark.parametrize("transport", Transport)
def test_a_port_is_held_once(transport: Transport) -> None:
    assert in_child(lambda: refuses_a_second_holder(transport)) == errno.EADDRINUSE
