"""Which addresses are this host's own by its routes, whether or not an interface has them.

A local route makes a whole prefix the host's own (AnyIP, `ip route add local 2001:db8::/48 dev lo`). The kernel is
asked for the route to each address, as `ip route get` does, so that rules and all tables have their say. One
question takes it a few microseconds, where pyroute2 would take half a millisecond.

Sources: netlink(7), struct nlmsghdr; rtnetlink(7), struct rtmsg, RTM_GETROUTE and its answers.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final

#: linux/rtnetlink.h, linux/netlink.h.
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_RTA_DST: Final = 1
_RTN_LOCAL: Final = 2
_NLM_F_REQUEST: Final = 0x1
#: Answers come one by one, some 150 bytes each, and all of them must fit into the receive buffer.
_QUESTIONS_AT_ONCE: Final = 64
_ANSWER_SIZE: Final = 8192


def not_local(addresses: Sequence[str]) -> Iterator[str]:
    """Those of these addresses that no local route leads to, in their order. Raises: OSError as netlink does."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        for first in range(0, len(addresses), _QUESTIONS_AT_ONCE):
            asked = addresses[first : first + _QUESTIONS_AT_ONCE]
            sock.send(b"".join(question(address, number) for number, address in enumerate(asked)))
            local = dict(answer(sock.recv(_ANSWER_SIZE)) for _ in asked)
            yield from (address for number, address in enumerate(asked) if not local[number])


def question(address: str, number: int) -> bytes:
    """The netlink message for `ip route get ADDRESS`; its answer bears the same number. A zone does not count."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    body = struct.pack("=8BI", family, parsed.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(parsed.packed), _RTA_DST) + parsed.packed
    return struct.pack("=IHHII", 16 + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, number, 0) + body


def answer(message: bytes) -> tuple[int, bool]:
    """The number of a question, and whether its address is local; an error says that there is no route at all."""
    kind, number = struct.unpack_from("=4xH2xI", message)
    return number, kind == _RTM_NEWROUTE and message[16 + 7] == _RTN_LOCAL
