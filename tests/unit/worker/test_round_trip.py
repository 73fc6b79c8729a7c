"""The round trip of a handshake is where struct tcp_info has it; a socket without one costs nothing."""

from __future__ import annotations

import socket
import struct
from errno import EOPNOTSUPP
from typing import Any

import pytest

from loadgen.worker import survived
from loadgen.worker.round_trip import measure


class Answering:
    """A socket whose TCP_INFO has the number of each 32-bit word in its place."""

    def getsockopt(self, level: int, name: int, length: int) -> bytes:
        assert (level, name) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return struct.pack(f"={length // 4}I", *range(length // 4))


def test_tcpi_rtt_is_recorded_in_nanoseconds() -> None:
    """8 bytes of single ones, and then the 16th u32: tcpi_rto is the first."""
    recorded: list[int] = []
    sock: Any = Answering()
    measure(sock, recorded.append)
    assert recorded == [(8 // 4 + 15) * 1_000]


def test_a_socket_that_does_not_say_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int | None]] = []
    monkeypatch.setattr(survived, "add", lambda call, error: told.append((call, error.errno)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        measure(ours, lambda _: pytest.fail("a figure of nothing"))
    assert told == [("getsockopt", EOPNOTSUPP)]
