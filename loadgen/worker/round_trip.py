"""The round trip of a handshake as the kernel measured it: from the SYN sent to its answer received.

What loadgen measures around connect() has its own delay in it: a core that another process has, and with io_uring all
the connections of a system call. The kernel's figure has neither.

Source: tcpi_rtt of TCP_INFO (tcp(7); struct tcp_info, include/uapi/linux/tcp.h), the smoothed round trip in
microseconds. Right after the handshake the SYN is its only sample (tcp_ack_update_rtt(), net/ipv4/tcp_input.c). A SYN
that was sent again is measured by the time stamp in its answer (RFC 7323), and without time stamps not at all, which
reads as 0, as does less than a microsecond. On loopback it is some 3 us, a third of the two connect() around it.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Final

from loadgen.clock import NS_PER_US
from loadgen.worker import survived

#: Of a worker's connections at most one in this number is asked; the system call takes a microsecond.
EVERY: Final = 16
#: Place of tcpi_rtt, a u32, in struct tcp_info.
_RTT: Final = slice(68, 72)


def measure(sock: socket.SocketType, record: Callable[[int], None]) -> None:
    """Record the round trip of a TCP connection that has just been established, in nanoseconds."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.stop)
    except OSError as error:  # the connection is as good without the figure
        survived.add("getsockopt", error)
    else:
        record(int.from_bytes(info[_RTT], sys.byteorder) * NS_PER_US)
