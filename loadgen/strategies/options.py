"""Socket options that a strategy sets before bind(): name, level, number, and the Linux version they came with.

The options at level SOL_IP are those of AF_INET6 sockets, too: at IPPROTO_IPV6 the same numbers mean something else.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

# Python 3.11 has no name for these two.
#: ip(7), Linux 4.2: bind() takes the address only, connect() the port.
IP_BIND_ADDRESS_NO_PORT: Final = 24
#: ip(7), Linux 6.3: the range that the automatic port of this one socket may come from.
IP_LOCAL_PORT_RANGE: Final = 51
#: Value of SO_LINGER, struct linger of socket(7): close() resets the connection.
LINGER_0: Final = struct.pack("ii", 1, 0)


class SocketOption(NamedTuple):
    """An option as setsockopt(2) takes it. since: the first Linux version that has it; "": all have."""

    name: str
    level: int
    number: int
    since: str = ""


REUSEADDR: Final = SocketOption("SO_REUSEADDR", socket.SOL_SOCKET, socket.SO_REUSEADDR)
REUSEPORT: Final = SocketOption("SO_REUSEPORT", socket.SOL_SOCKET, socket.SO_REUSEPORT, "3.9")
NO_PORT: Final = SocketOption("IP_BIND_ADDRESS_NO_PORT", socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, "4.2")
PORT_RANGE: Final = SocketOption("IP_LOCAL_PORT_RANGE", socket.SOL_IP, IP_LOCAL_PORT_RANGE, "6.3")
