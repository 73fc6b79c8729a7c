"""Which way packets to an address take: the route, its device and its source address, by rtnetlink(7).

The same question as `ip route get ADDRESS` asks, so rules and all tables have their say, and nothing is sent.

Sources: rtnetlink(7), RTM_GETROUTE, struct rtmsg and the RTA_ attributes; linux/rtnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.kernel import routes

_RTM_NEWROUTE: Final = 24
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PREFSRC: Final = 7
#: struct rtmsg's rtm_type (linux/rtnetlink.h); every other kind leads nowhere (blackhole, unreachable, prohibit).
_KINDS: Final = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}
#: struct nlmsghdr, struct rtmsg.
_HEADERS: Final = 16 + 12
_KIND_AT: Final = 16 + 7
_ANSWER_SIZE: Final = 8192


@dataclass(frozen=True, slots=True)
class Way:
    """A route.

    kind: "local", "unicast"; "" where there is none, and `reason` says why. gateway: "" where it is direct.
    """

    kind: str
    device: str = ""
    gateway: str = ""
    source: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if not self.kind:
            return f"no route: {self.reason}"
        via = f" via {self.gateway}" if self.gateway else ""
        return f"{'local, ' if self.kind == 'local' else ''}dev {self.device}{via}"


def to(addresses: Sequence[str]) -> list[Way]:
    """The way to each of these addresses from the namespace this process is in. Raises: OSError as netlink does."""
    return list(_asked(addresses))


def _asked(addresses: Sequence[str]) -> Iterator[Way]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        for number, address in enumerate(addresses):
            sock.send(routes.question(address, number))
            yield parse(sock.recv(_ANSWER_SIZE))


def parse(message: bytes) -> Way:
    """The answer to one question; an error is a way of no kind."""
    (kind,) = struct.unpack_from("=4xH", message)
    if kind != _RTM_NEWROUTE:
        (number,) = struct.unpack_from("=16xi", message)
        return Way("", reason=os.strerror(-number))
    route = _KINDS.get(message[_KIND_AT], "")
    family = message[16]
    found = dict(_attributes(message))
    address = {name: socket.inet_ntop(family, found[name]) for name in (_RTA_GATEWAY, _RTA_PREFSRC) if name in found}
    (index,) = struct.unpack("=I", found.get(_RTA_OIF, bytes(4)))
    return Way(
        route,
        device=_name(index),
        gateway=address.get(_RTA_GATEWAY, ""),
        source=address.get(_RTA_PREFSRC, ""),
        reason="" if route else "a route forbids it",
    )


def _attributes(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = _HEADERS
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            return
        yield kind, message[at + 4 : at + length]
        at += length + -length % 4


def _name(index: int) -> str:
    """The interface's name; its number where it has gone meanwhile."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return str(index)
