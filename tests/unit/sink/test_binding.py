"""The message of a sink that cannot bind; the check itself is tested in tests/lab."""

from __future__ import annotations

import errno
import os

import pytest

from loadgen.model import Endpoint, Transport
from loadgen.sink.binding import bind_failure

ENDPOINTS = (Endpoint("127.0.0.1", 9000), Endpoint("::1", 9000))


@pytest.mark.parametrize(
    ("transport", "number", "action", "remedy"),
    [
        (Transport.TCP, errno.EADDRINUSE, "listen on", "ss -ltnp"),
        (Transport.UDP, errno.EADDRINUSE, "receive UDP on", "ss -lunp"),
        (Transport.TCP, errno.EADDRNOTAVAIL, "listen on", "ip address add"),
        (Transport.TCP, errno.ENODEV, "listen on", "ip link"),
        (Transport.TCP, errno.EACCES, "listen on", "net.ipv4.ip_unprivileged_port_start"),
    ],
)
def test_a_sink_that_cannot_bind_names_place_and_remedy(
    transport: Transport, number: int, action: str, remedy: str
) -> None:
    text = bind_failure(ENDPOINTS, OSError(number, os.strerror(number)), transport)
    assert text.startswith(f"the sink cannot {action} 127.0.0.1:9000, [::1]:9000: {errno.errorcode[number]}; ")
    assert remedy in text
