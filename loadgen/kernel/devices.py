"""Network devices of this namespace by index: their names, and which of them belong to a VRF.

A VRF (virtual routing and forwarding) is a device that other devices are enslaved to. Sockets bound to it, or to one of
those, have a space of ports of their own: the kernel keys its tables of ports by the VRF (`l3mdev`).

Sources: rtnetlink(7), RTM_GETLINK; linux/if_link.h; inet_bind_bucket_match() in net/ipv4/inet_hashtables.c,
inet_sk_bound_l3mdev() in include/net/inet_sock.h; Documentation/networking/vrf.rst.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from loadgen.errors import HostError
from loadgen.kernel import netlink

_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 10, 18, 1
#: sizeof(struct ifinfomsg), whose third member is the index.
_IFINFOMSG_BYTES: Final = 16
#: NLA_F_NESTED and NLA_F_NET_BYTEORDER, beside the kind of an attribute.
_KIND_MASK: Final = 0x3FFF
_BUFFER_BYTES: Final = 1 << 16
_VRF: Final = "vrf"


@dataclass(frozen=True, slots=True)
class Device:
    """A network device. kind: of rtnetlink, "veth", "vrf"; "": hardware, or loopback. master: index; 0: it has none."""

    name: str
    kind: str = ""
    master: int = 0


def vrf_of(index: int, devices: Mapping[int, Device]) -> int:
    """Return the index of the VRF that a device is or belongs to; 0: none, or not known."""
    device = devices.get(index)
    if device is None:
        return 0
    if device.kind == _VRF:
        return index
    master = devices.get(device.master)
    return device.master if master and master.kind == _VRF else 0


def read() -> dict[int, Device]:
    """Return the devices of this namespace by index. Raises: HostError if the kernel does not list them."""
    request = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.send(netlink.message(_RTM_GETLINK, netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP, request))
            devices: dict[int, Device] = {}
            while True:
                found, done = parse(sock.recv(_BUFFER_BYTES))
                devices |= found
                if done:
                    return devices
    except (OSError, ValueError) as error:
        raise HostError(f"the kernel does not list its network devices: {error}") from error


def parse(buffer: bytes) -> tuple[dict[int, Device], bool]:
    """Return the devices of one buffer of answers, and whether it was the last.

    Raises: OSError of an error that the kernel answered; ValueError if the length of a message is impossible.
    """
    devices: dict[int, Device] = {}
    at = 0
    while at < len(buffer):
        length, kind = netlink.unpacked("=IH", buffer, at)
        if length < netlink.HEADER_BYTES or at + length > len(buffer):
            raise ValueError(f"a message of {length} bytes where {len(buffer) - at} are left")
        body = at + netlink.HEADER_BYTES
        if kind == netlink.NLMSG_DONE:
            return devices, True
        if kind == netlink.NLMSG_ERROR:
            number = -netlink.unpacked("=i", buffer, body)[0]
            raise OSError(number, os.strerror(number))
        if kind == _RTM_NEWLINK:
            index = netlink.unpacked("=i", buffer, body + 4)[0]
            devices[index] = _device(buffer, body + _IFINFOMSG_BYTES, at + length)
        at += netlink.aligned(length)
    return devices, False


def _device(buffer: bytes, at: int, end: int) -> Device:
    told = _attributes(buffer, at, end)
    info = told.get(_IFLA_LINKINFO, b"")
    kind = _attributes(info, 0, len(info)).get(_IFLA_INFO_KIND, b"")
    master = told.get(_IFLA_MASTER, b"")
    return Device(_text(told.get(_IFLA_IFNAME, b"")), _text(kind), netlink.unpacked("=I", master)[0] if master else 0)


def _attributes(buffer: bytes, at: int, end: int) -> dict[int, bytes]:
    return {kind & _KIND_MASK: payload for kind, payload in netlink.attributes(buffer, at, end).items()}


def _text(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode(errors="backslashreplace")


#: The kernel answers at once; a program in its place may not.
_TIMEOUT_S: Final = 10.0
