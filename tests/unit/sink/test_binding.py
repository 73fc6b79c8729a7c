"""The message of a sink that cannot bind; the check itself is tested in tests/lab."""

from __future__ import annotations

import errno
import os

import pytest

from loadgen.kernel import host, missing
from loadgen.kernel.missing import Missing, MissingReason
from loadgen.model import Endpoint, Transport
from loadgen.sink.binding import bind_failure

ENDPOINTS = (Endpoint("127.0.0.1", 9000), Endpoint("::1", 9000))


@pytest.mark.parametrize(
    ("transport", "number", "action", "remedy"),
    [
        (Transport.TCP, errno.EADDRINUSE, "listen on", "ss -ltnp"),
        (Transport.UDP, errno.EADDRINUSE, "receive UDP on", "ss -lunp"),
        (Transport.TCP, errno.ENODEV, "listen on", "ip link"),
        (Transport.TCP, errno.EACCES, "listen on", "net.ipv4.ip_unprivileged_port_start"),
        (Transport.TCP, errno.EMFILE, "listen on", "ulimit -n"),
        (Transport.UDP, errno.ENOMEM, "receive UDP on", "no room"),
        (Transport.TCP, errno.EINVAL, "listen on", "Invalid argument: see bind(2)"),
    ],
)
def test_a_sink_that_cannot_bind_names_place_and_remedy(
    transport: Transport, number: int, action: str, remedy: str
) -> None:
    text = bind_failure(ENDPOINTS, OSError(number, os.strerror(number)), transport)
    assert text.startswith(f"the sink cannot {action} 127.0.0.1:9000, [::1]:9000: {errno.errorcode[number]}; ")
    assert remedy in text


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        (MissingReason.ABSENT, "address ::1 is not on this host; add it with: ip address add ::1/128 dev lo"),
        (MissingReason.NEEDS_FREEBIND, "address ::1 is not on this host; add it with: ip address add ::1/128 dev lo"),
        (MissingReason.IPV6_OFF, "address ::1: IPv6 is off on interface lo (disable_ipv6); use 127.0.0.1 instead"),
        (None, "try again"),
    ],
)
@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_sink_whose_address_cannot_be_used_says_why(
    monkeypatch: pytest.MonkeyPatch, number: int, reason: MissingReason | None, says: str
) -> None:
    def reasons(addresses: list[str], *, freebind: bool) -> tuple[Missing, ...]:
        assert (addresses, freebind) == (["::1"], False)
        return (Missing("::1", reason, "lo", 128),) if reason else ()

    monkeypatch.setattr(host, "can_bind", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(missing, "reasons", reasons)
    text = bind_failure(ENDPOINTS, OSError(number, os.strerror(number)), Transport.TCP)
    assert f": {errno.errorcode[number]}; " in text
    assert says in text
