"""The numbers of socket options are those of this kernel."""

from __future__ import annotations

import errno
import socket

import pytest

from loadgen.strategies.options import NO_PORT, PORT_RANGE, REUSEADDR, REUSEPORT, SocketOption

ONE_PORT = 40_000 << 16 | 40_000


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize(("option", "value"), [(REUSEADDR, 1), (REUSEPORT, 1), (NO_PORT, 1), (PORT_RANGE, ONE_PORT)])
def test_what_is_set_is_read_back(family: int, option: SocketOption, value: int) -> None:
    """IPv4's options work on sockets of IPv6, too. Nothing is bound or sent."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            pytest.skip("this kernel has no IPv6")
        raise
    with sock:
        try:
            sock.setsockopt(option.level, option.number, value - (1 << 32) if value >> 31 else value)
        except OSError as error:
            if error.errno == errno.ENOPROTOOPT:
                pytest.skip(f"Linux before {option.since} has no {option.name}")
            raise
        assert sock.getsockopt(option.level, option.number) & 0xFFFFFFFF == value
