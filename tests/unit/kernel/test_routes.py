"""What is asked of the kernel about a route, bit by bit, and what its answers mean."""

from __future__ import annotations

import struct

import pytest

from loadgen.kernel.routes import answer, question

# struct nlmsghdr of a route, with rtm_type where struct rtmsg has it; as Linux 6.18 answers for ::1.
LOCAL = bytes.fromhex("740000001800000007000000d20400000a800000ff0000020000000000000000")
UNICAST = LOCAL[:23] + b"\x01" + LOCAL[24:]
# NLMSG_ERROR with -ENETUNREACH and the header of the question.
UNREACHABLE = struct.pack("=IHHIIi", 36, 2, 0, 9, 1234, -101) + bytes(16)


def test_a_question_is_that_of_ip_route_get() -> None:
    header, body = question("10.9.0.1", 5)[:16], question("10.9.0.1", 5)[16:]
    assert struct.unpack("=IHHII", header) == (36, 26, 1, 5, 0)
    assert body == bytes([2, 32, 0, 0, 0, 0, 0, 0]) + bytes(4) + struct.pack("=HH", 8, 1) + bytes([10, 9, 0, 1])


def test_a_question_about_ipv6_has_room_for_it_and_no_zone() -> None:
    asked = question("fe80::1%eth0", 7)
    assert len(asked) == struct.unpack_from("=I", asked)[0] == 48
    assert asked[16:18] == bytes([10, 128])
    assert asked[32:] == bytes.fromhex("fe80") + bytes(13) + b"\x01"


@pytest.mark.parametrize(("message", "meant"), [(LOCAL, (7, True)), (UNICAST, (7, False)), (UNREACHABLE, (9, False))])
def test_answers(message: bytes, meant: tuple[int, bool]) -> None:
    assert answer(message) == meant
