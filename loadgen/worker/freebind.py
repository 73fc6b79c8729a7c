"""Source addresses that need only be routed to this host: IP_FREEBIND, before the steps of the strategy.

Whole prefixes become this host's own with one route, `ip route add local 2001:db8::/48 dev lo` (AnyIP). IPv4
lets a socket bind any address of such a route; IPv6 wants it on an interface, unless the socket says otherwise.

Sources: ip(7), IP_FREEBIND; linux/in6.h, IPV6_FREEBIND (Linux 4.15); inet6_bind(), net/ipv6/af_inet6.c.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from loadgen.worker.strategies import SourcePorts

#: Neither is in Python's socket module.
IP_FREEBIND: Final = 15
IPV6_FREEBIND: Final = 78

_IPV4: Final = (socket.SOL_IP, IP_FREEBIND)
_IPV6: Final = (socket.IPPROTO_IPV6, IPV6_FREEBIND)


class Freebind:
    """A strategy whose sockets may bind addresses that are on no interface.

    ports: the strategy itself. sources: the source address of each pair, as the strategy has them.
    """

    def __init__(self, ports: SourcePorts, sources: Sequence[str]) -> None:
        self._ports = ports
        self._options = [_IPV6 if ":" in source else _IPV4 for source in sources]
        self.another, self.release = ports.another, ports.release
        self.unused, self.denied = ports.unused, ports.denied

    def prepare(self, sock: socket.SocketType, pair: int) -> int:
        """Set the option, then prepare the socket as the strategy does."""
        level, option = self._options[pair]
        sock.setsockopt(level, option, 1)
        return self._ports.prepare(sock, pair)

    @property
    def retried(self) -> int:
        """The strategy's own count."""
        return self._ports.retried
