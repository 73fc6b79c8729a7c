"""Sockets bound to a device (SO_BINDTODEVICE, SO_BINDTOIFINDEX), which the account of all others leaves out.

A connect() without a device takes no notice of the four-tuples of such sockets, and may open one of them again; the
other way round it does not happen. So their ports are free to others, and an account with both would be of no use.
Ports that are bound and not connected, or listened on, are taken for others all the same, except in a VRF, which has a
space of ports of its own.

A link-local address of IPv6 binds its socket to its link, without which it means nothing: that is no such socket.

Sources: inet_sk_bound_dev_eq() in include/net/inet_sock.h, __inet_check_established() in net/ipv4/inet_hashtables.c;
inet_diag_msg_common_fill() in net/ipv4/inet_diag.c; tcp_v6_connect() in net/ipv6/tcp_ipv6.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from socket import AF_INET6

import numpy as np
import numpy.typing as npt

from loadgen.errors import HostError
from loadgen.kernel import devices
from loadgen.kernel.devices import Device, vrf_of
from loadgen.kernel.sockdiag import Sockets


@dataclass(frozen=True, slots=True)
class DeviceSockets:
    """Connections that begin here and are bound to one device.

    device: its name, or "#7", its index, where the kernel does not tell. vrf: the VRF that it is or belongs to; "": it
    is known to be in none, or nothing is known.
    """

    device: str
    vrf: str
    connections: int


def tied(sockets: Sockets) -> npt.NDArray[np.bool_]:
    """Return a mask of the sockets that are bound to a device."""
    source = sockets["source"]
    link_local = (sockets["family"] == AF_INET6) & (source[:, 0] == 0xFE) & (source[:, 1] & 0xC0 == 0x80)
    found: npt.NDArray[np.bool_] = (sockets["interface"] != 0) & ~link_local
    return found


def known(sockets: Sockets) -> dict[int, Device]:
    """Return the devices of this namespace, if any of these sockets is bound to one; {} where they cannot be read."""
    if not tied(sockets).any():
        return {}
    try:
        return devices.read()
    except HostError:
        return {}


def elsewhere(sockets: Sockets, table: Mapping[int, Device]) -> npt.NDArray[np.bool_]:
    """Return a mask of the sockets that are bound in a VRF, so that their ports are not those of others."""
    inside = [index for index in np.unique(sockets["interface"]).tolist() if vrf_of(index, table)]
    return np.isin(sockets["interface"], inside)


def counted(sockets: Sockets, table: Mapping[int, Device]) -> tuple[DeviceSockets, ...]:
    """Return the devices that these sockets are bound to, those with most sockets first."""
    indexes, counts = np.unique(sockets["interface"][tied(sockets)], return_counts=True)
    rows = [_row(index, count, table) for index, count in zip(indexes.tolist(), counts.tolist(), strict=True)]
    return tuple(sorted(rows, key=lambda row: (-row.connections, row.device)))


def _row(index: int, count: int, table: Mapping[int, Device]) -> DeviceSockets:
    device, vrf = table.get(index), table.get(vrf_of(index, table))
    return DeviceSockets(device.name if device else f"#{index}", vrf.name if vrf else "", count)
