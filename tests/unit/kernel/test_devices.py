"""Network devices by index, from messages of rtnetlink byte by byte; and those of this namespace."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from loadgen.kernel import devices, netlink
from loadgen.kernel.devices import Device, vrf_of

NEWLINK = 16
NESTED = 0x8000
#: eth0 is in the VRF blue, eth1 in a bridge, veth0 in nothing.
TABLE = {
    1: Device("lo"),
    2: Device("eth0", "", 7),
    3: Device("eth1", "", 8),
    4: Device("veth0", "veth"),
    7: Device("blue", "vrf"),
    8: Device("br0", "bridge"),
}


def link(index: int, name: str, kind: str = "", master: int = 0) -> bytes:
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 1, index, 0, 0)
    body += netlink.attribute(3, name.encode() + b"\0")
    body += netlink.attribute(10, struct.pack("=I", master)) if master else b""
    body += netlink.attribute(18 | NESTED, netlink.attribute(1, kind.encode() + b"\0")) if kind else b""
    return netlink.message(NEWLINK, 0, body)


def test_names_kinds_and_masters_of_devices() -> None:
    buffer = b"".join(link(index, one.name, one.kind, one.master) for index, one in TABLE.items())
    done = netlink.message(netlink.NLMSG_DONE, 0, struct.pack("=i", 0))
    assert devices.parse(buffer) == (TABLE, False)
    assert devices.parse(buffer + done) == (TABLE, True)


def test_an_error_of_the_kernel_is_an_oserror() -> None:
    refused = netlink.message(netlink.NLMSG_ERROR, 0, struct.pack("=i", -errno.EPERM) + bytes(16))
    with pytest.raises(PermissionError):
        devices.parse(refused)


def test_a_damaged_message_is_no_device() -> None:
    with pytest.raises(ValueError, match="a message of"):
        devices.parse(struct.pack("=IHHII", 400, NEWLINK, 0, 0, 0))


@pytest.mark.parametrize(("index", "vrf"), [(1, 0), (2, 7), (3, 0), (4, 0), (7, 7), (8, 0), (99, 0)])
def test_a_device_is_a_vrf_or_belongs_to_one_only_where_the_kernel_says_so(index: int, vrf: int) -> None:
    assert vrf_of(index, TABLE) == vrf


def test_this_namespace_has_a_loopback() -> None:
    assert devices.read()[socket.if_nametoindex("lo")] == Device("lo")
