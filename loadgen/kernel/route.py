"""Routes to addresses, as `ip route get ADDRESS` reports them: kind, device, gateway and source address.

The kernel looks each address up with all rules and tables, and sends no packet. A local route makes a whole prefix
the host's own, even if no interface has the address (AnyIP, `ip route add local 2001:db8::/48 dev lo`). One
question takes a few microseconds; pyroute2 would need half a millisecond.

Sources: rtnetlink(7), RTM_GETROUTE, struct rtmsg and its attributes; linux/rtnetlink.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.kernel import netlink

_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PREFSRC: Final = 7
#: rtm_type of struct rtmsg; the other kinds deliver no packet (blackhole, unreachable, prohibit).
_KINDS: Final = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}
#: sizeof(struct rtmsg).
_RTMSG_BYTES: Final = 12
#: Answers arrive one by one, some 150 bytes each, and all of them have to fit into the receive buffer.
_QUESTIONS_AT_ONCE: Final = 64
_ANSWER_MAX: Final = 8192
#: MAX_ERRNO of linux/err.h.
_ERRNO_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Route:
    """The route to an address.

    kind: "local", "unicast", ...; "" if there is none, for the reason in `reason`. gateway: "" for a direct route.
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


def to(addresses: Sequence[str]) -> list[Route]:
    """Return the route to each address from the namespace of this process. Raises: OSError from netlink."""
    return [parse(answer) for answer in _answers(addresses)]


def not_local(addresses: Sequence[str]) -> Iterator[str]:
    """Yield the addresses without a local route, in their order. Raises: OSError from netlink."""
    for address, answer in zip(addresses, _answers(addresses), strict=True):
        if not is_local(answer):
            yield address


def _answers(addresses: Sequence[str]) -> Iterator[bytes]:
    """Yield the kernel's answer for each address."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        for first in range(0, len(addresses), _QUESTIONS_AT_ONCE):
            batch = addresses[first : first + _QUESTIONS_AT_ONCE]
            sock.send(b"".join(map(question, batch)))
            # The kernel answers within send() and in order: one route or one error for each question.
            for _ in batch:
                yield sock.recv(_ANSWER_MAX)


def question(address: str) -> bytes:
    """Return the netlink message for `ip route get ADDRESS`, without the address's zone."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    body = struct.pack("=8BI", family, parsed.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    return netlink.message(_RTM_GETROUTE, netlink.NLM_F_REQUEST, body + netlink.attribute(_RTA_DST, parsed.packed))


def parse(answer: bytes) -> Route:
    """Return the route in an answer; an error becomes a route of kind "". Raises: ValueError if it is too short."""
    if not _is_route(answer):
        (number,) = netlink.unpacked("=i", answer, netlink.HEADER_BYTES)
        return Route("", reason=os.strerror(-number) if number > -_ERRNO_MAX else f"error {number}")
    family, kind_number = netlink.unpacked("=B6xB4x", answer, netlink.HEADER_BYTES)
    kind = _KINDS.get(kind_number, "")
    attributes = netlink.attributes(answer, netlink.HEADER_BYTES + _RTMSG_BYTES, len(answer))
    address = {
        name: socket.inet_ntop(family, attributes[name]) for name in (_RTA_GATEWAY, _RTA_PREFSRC) if name in attributes
    }
    (index,) = netlink.unpacked("=I", attributes.get(_RTA_OIF, bytes(4)))
    return Route(
        kind,
        device=_interface_name(index),
        gateway=address.get(_RTA_GATEWAY, ""),
        source=address.get(_RTA_PREFSRC, ""),
        reason="" if kind else "a route forbids it",
    )


def is_local(answer: bytes) -> bool:
    """Return True for an answer with a local route. Raises: ValueError if it is too short."""
    return _is_route(answer) and _KINDS.get(netlink.unpacked("=7xB", answer, netlink.HEADER_BYTES)[0]) == "local"


def _is_route(answer: bytes) -> bool:
    return netlink.unpacked("=4xH", answer) == (_RTM_NEWROUTE,)


def _interface_name(index: int) -> str:
    """Return the interface's name; its number if it has been removed meanwhile."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return str(index)


def reached(target: str, source: str = "") -> str:
    """Return the address that connect() to `target` reaches: of an unspecified one, an address of this host.

    target: a literal address, IPv4-mapped ones as IPv4; any other text is returned as it is. source: the address that
    the socket is bound to; "": to none, or not known.

    Sources: ip_route_output_key_hash_rcu() in net/ipv4/route.c, which takes the source or 127.0.0.1 instead of 0.0.0.0;
    tcp_v6_connect() in net/ipv6/tcp_ipv6.c, and __ip6_datagram_connect(), which take ::1 instead of ::.
    """
    if target == "::":
        return "::1"
    if target != "0.0.0.0":
        return target
    return source if source and source not in ("0.0.0.0", "::") and ":" not in source else "127.0.0.1"
