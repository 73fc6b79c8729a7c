"""Routes as rtnetlink tells them: to ourselves, and answers made by hand."""

from __future__ import annotations

import errno
import socket
import struct

from loadgen.kernel import ways
from loadgen.kernel.ways import Way


def answer(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 254, 0, 0, kind, 0)
    for number, payload in attributes:
        body += struct.pack("=HH", 4 + len(payload), number) + payload + bytes(-len(payload) % 4)
    return struct.pack("=IHHII", 16 + len(body), 24, 0, 0, 0) + body


def test_a_way_has_its_device_gateway_and_source() -> None:
    loopback = socket.if_nametoindex("lo")
    gateway, source = (socket.inet_aton(address) for address in ("10.0.0.254", "10.0.0.1"))
    found = ways.parse(answer(1, (4, struct.pack("=I", loopback)), (5, gateway), (7, source)))
    assert found == Way("unicast", "lo", "10.0.0.254", "10.0.0.1")
    assert str(found) == "dev lo via 10.0.0.254"


def test_no_way_says_why() -> None:
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -errno.ENETUNREACH) + bytes(16)
    assert ways.parse(refusal) == Way("", reason="Network is unreachable")
    assert str(ways.parse(answer(7))) == "no route: a route forbids it"


def test_ourselves_are_local() -> None:
    assert [str(way) for way in ways.to(["127.0.0.1", "127.3.4.5"])] == ["local, dev lo"] * 2
