"""Netlink messages and their attributes, packed and unpacked; no sockets here.

Sources: netlink(7), struct nlmsghdr, struct nlattr; linux/netlink.h.
"""

from __future__ import annotations

import struct
from typing import Final

NLM_F_REQUEST: Final = 0x1
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
#: NLM_F_CREATE | NLM_F_EXCL.
NLM_F_CREATE_EXCL: Final = 0x600
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
#: sizeof(struct nlmsghdr).
HEADER_BYTES: Final = 16
#: sizeof(struct nlattr).
_ATTRIBUTE_BYTES: Final = 4
#: NLMSG_ALIGNTO, NLA_ALIGNTO.
ALIGNMENT: Final = 4


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    """Return a message to the kernel: struct nlmsghdr and the body."""
    return struct.pack("=IHHII", HEADER_BYTES + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to its alignment."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % ALIGNMENT)


def attributes(buffer: bytes | bytearray | memoryview, at: int, end: int) -> dict[int, bytes]:
    """Return the payloads of the attributes in this part of a buffer, by kind.

    Raises: ValueError if the length of an attribute is impossible.
    """
    payloads: dict[int, bytes] = {}
    while at < end:
        length, kind = unpacked("=HH", buffer, at)
        if length < _ATTRIBUTE_BYTES or at + length > end:
            raise ValueError(f"an attribute of {length} bytes where {end - at} are left")
        payloads[kind] = bytes(buffer[at + _ATTRIBUTE_BYTES : at + length])
        at += aligned(length)
    return payloads


def unpacked(layout: str, buffer: bytes | bytearray | memoryview, at: int = 0) -> tuple[int, ...]:
    """Return the numbers of a struct of the kernel, "=HH", at this place. Raises: ValueError if the buffer is shorter.

    To the kernel's own answers this never happens; a program in its place may answer anything.
    """
    try:
        return struct.unpack_from(layout, buffer, at)
    except struct.error:
        missing = at + struct.calcsize(layout) - len(buffer)
        raise ValueError(f"a message of {len(buffer)} bytes, {missing} too short for its type") from None


def aligned(length: int) -> int:
    """Return the length rounded up to the alignment of messages and attributes."""
    return length + -length % ALIGNMENT
