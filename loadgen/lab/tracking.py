"""Fill the connection tracking table of the lab, until a number of entries is left.

nf_conntrack_max exists once per host, but each namespace counts its own entries against it. So a full table can be had
in a lab without touching the host's: with entries of connections that never were, made through ctnetlink as
conntrackd(8) makes them. The kernel keeps some hundred bytes for each until the lab ends.

Sources: linux/netfilter/nfnetlink_conntrack.h; ctnetlink_create_conntrack(), net/netfilter/nf_conntrack_netlink.c;
__nf_conntrack_alloc(), net/netfilter/nf_conntrack_core.c, for the count.
"""

from __future__ import annotations

import os
import socket
import struct
from errno import EEXIST
from pathlib import Path
from typing import Final

import numpy as np

from loadgen.errors import HostError
from loadgen.kernel import netlink

_SETTINGS: Final = Path("/proc/sys/net/netfilter")
_NETLINK_NETFILTER: Final = 12
#: NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW.
_NEW_ENTRY: Final = 0x0100
_NESTED: Final = 0x8000
#: enum ctattr_type: the tuple of each direction, status, protocol, time-out.
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_STATUS, _CTA_PROTOINFO, _CTA_TIMEOUT = 1, 2, 3, 4, 7
#: IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED: an entry that is never evicted early.
_ASSURED: Final = 0b1110
_ESTABLISHED: Final = 3
_KEPT_S: Final = 30 * 24 * 3600
#: Clients are numbered from 10.0.0.1; the server is outside of them, and of every lab.
_FIRST_CLIENT: Final = 0x0A000001
_SERVER: Final = 0x0B000001
_ENTRIES_AT_ONCE: Final = 300
#: Connections that are not ours may come and go while the table fills.
_TOLERANCE: Final = 16


def fill(left: int) -> None:
    """Fill the table of the current namespace until this number of entries is left.

    Raises: HostError without a table, where it has less room already, or if the kernel refuses the entries.
    """
    most, count = _setting("max"), _setting("count")
    room = most - count - left
    if room < 0:
        raise HostError(
            f"lab.tracking_left: the tracking table has room for {most - count:,} entries; write at most that"
        )
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as sock:
            template = entry(0)
            places = [
                at for at in range(len(template) - 3) if template[at : at + 4] == struct.pack("!I", _FIRST_CLIENT)
            ]
            for first in range(0, room, _ENTRIES_AT_ONCE):
                numbers = np.arange(first, min(first + _ENTRIES_AT_ONCE, room), dtype=np.uint32)
                batch = np.tile(np.frombuffer(template, np.uint8), (len(numbers), 1))
                clients = (numbers + np.uint32(_FIRST_CLIENT)).astype(">u4").view(np.uint8).reshape(-1, 4)
                for at in places:
                    batch[:, at : at + 4] = clients
                sock.send(batch.tobytes())
                _require_no_error(sock)
    except OSError as error:
        raise HostError(f"lab.tracking_left: the kernel makes no entries: {os.strerror(error.errno or 0)}") from error
    if _setting("count") < count + room - _TOLERANCE:
        raise HostError("lab.tracking_left: the kernel did not keep the entries; leave it out on this host")


def entry(number: int) -> bytes:
    """Return the netlink message that makes one entry: an established connection of client `number`."""
    client, server = struct.pack("!I", _FIRST_CLIENT + number), struct.pack("!I", _SERVER)
    established = _nested(_CTA_PROTOINFO, _nested(1, netlink.attribute(1, bytes([_ESTABLISHED]))))
    body = (
        struct.pack("!BBH", socket.AF_INET, 0, 0)
        + _tuple(_CTA_TUPLE_ORIG, (client, 1024), (server, 80))
        + _tuple(_CTA_TUPLE_REPLY, (server, 80), (client, 1024))
        + netlink.attribute(_CTA_STATUS, struct.pack("!I", _ASSURED))
        + netlink.attribute(_CTA_TIMEOUT, struct.pack("!I", _KEPT_S))
        + established
    )
    return netlink.message(_NEW_ENTRY, netlink.NLM_F_REQUEST | netlink.NLM_F_CREATE_EXCL, body)


def _nested(kind: int, payload: bytes) -> bytes:
    return netlink.attribute(kind | _NESTED, payload)


def _tuple(kind: int, source: tuple[bytes, int], target: tuple[bytes, int]) -> bytes:
    addresses = netlink.attribute(1, source[0]) + netlink.attribute(2, target[0])
    ports = b"".join(netlink.attribute(at, struct.pack("!H", port)) for at, port in ((2, source[1]), (3, target[1])))
    protocol = netlink.attribute(1, bytes([socket.IPPROTO_TCP])) + ports
    return _nested(kind, _nested(1, addresses) + _nested(2, protocol))


def _setting(name: str) -> int:
    try:
        return int((_SETTINGS / f"nf_conntrack_{name}").read_text())
    except (OSError, ValueError) as error:
        raise HostError(
            "lab.tracking_left: this lab has no connection tracking; write lab.rules with a rule that tracks, such as "
            "`ct state established accept`"
        ) from error


def _require_no_error(sock: socket.socket) -> None:
    """Check that the kernel answered nothing; without NLM_F_ACK it answers refusals only. Raises: OSError."""
    try:
        answer = sock.recv(4096, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return
    kind, number = struct.unpack_from("=4xH10xi", answer)
    if kind == netlink.NLMSG_ERROR and number and -number != EEXIST:
        raise OSError(-number, os.strerror(-number))
