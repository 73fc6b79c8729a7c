"""Differences between TCP and UDP for connections by epoll(7).

In UDP connect() only remembers the target, and succeeds at once whether a server is there or not:

- No free port is EAGAIN from connect().
- There is no end of file: an empty datagram is data. That the other side is gone shows only after something was sent,
  as ECONNREFUSED from the next call (an ICMP port unreachable, udp(7)).
- Closing sends nothing and leaves nothing; the port is free at once.
- A request or its reply may get lost silently. A reply is one datagram. One that does not answer the last request is
  late, or was meant for the socket that had the port before: it counts as wrong, and the right one is still awaited.
  A request without a reply in time (by the next beat, or within the scenario's timeout) is unanswered.
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import EADDRNOTAVAIL, EAGAIN
from typing import Final

from loadgen.model import Transport
from loadgen.worker import socket_pool


@dataclass(frozen=True, slots=True)
class SocketRules:
    """Rules of a transport that a connector follows.

    kind: of its sockets. no_port: errno of connect() when the port is taken, or all are.
    datagrams: True where each reply is one datagram and may be lost, and there is no end of file.
    """

    kind: int
    no_port: int
    datagrams: bool


RULES: Final = {
    Transport.TCP: SocketRules(socket_pool.STREAM, EADDRNOTAVAIL, datagrams=False),
    Transport.UDP: SocketRules(socket_pool.DATAGRAM, EAGAIN, datagrams=True),
}
