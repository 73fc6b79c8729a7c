"""Questions and answers of rtnetlink, byte by byte; and the routes to the host itself."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from loadgen.kernel import route
from loadgen.kernel.route import Route, question

LOOPBACK = socket.if_nametoindex("lo")
# NLMSG_ERROR with -ENETUNREACH and the header of the question.
UNREACHABLE = struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -errno.ENETUNREACH) + bytes(16)


def answer(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    """Return an RTM_NEWROUTE message with this rtm_type."""
    body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 254, 0, 0, kind, 0)
    for number, payload in attributes:
        body += struct.pack("=HH", 4 + len(payload), number) + payload + bytes(-len(payload) % 4)
    return struct.pack("=IHHII", 16 + len(body), 24, 0, 0, 0) + body


def test_a_question_is_that_of_ip_route_get() -> None:
    message = question("10.9.0.1")
    assert struct.unpack("=IHHII", message[:16]) == (36, 26, 1, 0, 0)
    body = bytes([2, 32, 0, 0, 0, 0, 0, 0]) + bytes(4) + struct.pack("=HH", 8, 1) + bytes([10, 9, 0, 1])
    assert message[16:] == body


def test_a_question_about_ipv6_leaves_the_zone_out() -> None:
    message = question("fe80::1%eth0")
    assert len(message) == struct.unpack_from("=I", message)[0] == 48
    assert message[16:18] == bytes([10, 128])
    assert message[32:] == bytes.fromhex("fe80") + bytes(13) + b"\x01"


def test_a_route_has_its_device_gateway_and_source() -> None:
    gateway, source = (socket.inet_aton(address) for address in ("10.0.0.254", "10.0.0.1"))
    parsed = route.parse(answer(1, (4, struct.pack("=I", LOOPBACK)), (5, gateway), (7, source)))
    assert parsed == Route("unicast", "lo", "10.0.0.254", "10.0.0.1")
    assert str(parsed) == "dev lo via 10.0.0.254"


def test_a_missing_route_has_its_reason() -> None:
    assert route.parse(UNREACHABLE) == Route("", reason="Network is unreachable")
    assert str(route.parse(answer(7))) == "no route: a route forbids it"


@pytest.mark.parametrize(("message", "local"), [(answer(2), True), (answer(1), False), (UNREACHABLE, False)])
def test_only_a_local_route_is_local(message: bytes, local: bool) -> None:
    assert route.is_local(message) == local


def test_addresses_of_the_host_itself_are_local() -> None:
    addresses = [f"127.3.{number}.5" for number in range(100)]
    assert [str(found) for found in route.to(addresses)] == ["local, dev lo"] * 100
    assert list(route.not_local(addresses)) == []


@pytest.mark.parametrize("size", [0, 5, 6, 17, 27, 30, 37])
def test_an_answer_that_is_cut_off_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match=r"too short|are left"):
        route.parse(answer(1, (5, bytes(4)), (4, bytes(4)))[:size])


def test_an_error_without_a_name_keeps_its_number() -> None:
    assert route.parse(struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -(2**31)) + bytes(16)).reason == "error -2147483648"


@pytest.mark.parametrize(
    ("target", "source", "reached"),
    [
        ("0.0.0.0", "", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "10.0.0.5", "10.0.0.5"),
        ("::", "", "::1"),
        ("::", "fd00::5", "::1"),
        ("0.1.2.3", "", "0.1.2.3"),
        ("10.0.0.1", "10.0.0.5", "10.0.0.1"),
        ("redis.internal", "", "redis.internal"),
    ],
)
def test_connect_to_an_unspecified_address_reaches_this_host(target: str, source: str, reached: str) -> None:
    """tests/lab/test_addresses.py has the kernel say so."""
    assert route.reached(target, source) == reached
