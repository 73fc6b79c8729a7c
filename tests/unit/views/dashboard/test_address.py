"""Where a dashboard may listen."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from loadgen.errors import HostError, UsageError
from loadgen.model import Endpoint
from loadgen.views.dashboard.address import in_url, listen_at, listener_at


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:8080", "127.0.0.1", 8080),
        (":8080", "127.0.0.1", 8080),
        ("127.9.9.9:1", "127.9.9.9", 1),
        ("[::1]:0", "::1", 0),
    ],
)
def test_loopback_in_its_spellings(text: str, address: str, port: int) -> None:
    assert listen_at(text, public=False) == Endpoint(address, port)


@pytest.mark.parametrize("text", ["0.0.0.0:8080", "[::]:8080", "10.0.0.5:8080", "[2001:db8::1]:0"])
def test_what_others_can_reach_takes_a_flag(text: str) -> None:
    with pytest.raises(UsageError, match="--dashboard-public") as refused:
        listen_at(text, public=False)
    assert "unencrypted" in str(refused.value)
    assert refused.value.exit_code == 2
    assert in_url(listen_at(text, public=True).address) == text.rpartition(":")[0]


@pytest.mark.parametrize(
    "text", ["", "8080", "127.0.0.1", "::1:8080", "example.org:80", "localhost:x", "scenarios/past-64k.yaml", ":70000"]
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"write|give"):
        listen_at(text, public=True)


@pytest.mark.parametrize(("number", "said"), [(errno.EACCES, "Permission denied"), (errno.EMFILE, "RLIMIT_NOFILE")])
def test_a_socket_that_cannot_be_had_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refused(*_: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", refused)
    with pytest.raises(HostError, match=said):
        listener_at(Endpoint("127.0.0.1", 0))
