"""Take single ports, each by a socket of its own, in one of the three ways; runs in the processes that hold them."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from errno import EADDRINUSE, EADDRNOTAVAIL, EINPROGRESS, ETIMEDOUT, errorcode
from typing import Final, NamedTuple

from loadgen.lab import held
from loadgen.model import Endpoint, family_of
from loadgen.occupy.request import OccupyRequest, OccupyWay
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE, LINGER_0

#: Connections that wait for their target at a time: fewer than most queues of listeners hold.
IN_FLIGHT_MAX: Final = 64
#: Time for the target to answer them.
ANSWER_TIMEOUT_S: Final = 5.0
#: A port that another program has, in bind() and in connect().
PORT_TAKEN: Final = frozenset({EADDRINUSE, EADDRNOTAVAIL})


class PortRefusal(NamedTuple):
    """A port that could not be taken, with the system call and the number of its errno."""

    port: int
    syscall: str
    errno: int

    @property
    def is_taken(self) -> bool:
        """True if another program has the port; False if the target is the reason."""
        return self.errno in PORT_TAKEN

    @property
    def errno_name(self) -> str:
        """The name of the errno, "ECONNREFUSED"."""
        return errorcode.get(self.errno, str(self.errno))


@dataclass(slots=True)
class PortsTaken:
    """The result for several ports. descriptors: of the sockets that hold them. connects: calls that sent a SYN."""

    descriptors: dict[int, int] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    refused: list[PortRefusal] = field(default_factory=list)
    connects: int = 0


def take(request: OccupyRequest, ports: Sequence[int]) -> PortsTaken:
    """Take these ports as far as possible. Raises: OSError where the host lacks descriptors or memory."""
    taken = PortsTaken()
    if request.way is OccupyWay.BIND:
        for port in ports:
            _bind(request, port, taken)
        return taken
    for begin in range(0, len(ports), IN_FLIGHT_MAX):
        _connect(request, ports[begin : begin + IN_FLIGHT_MAX], taken)
    return taken


def _bind(request: OccupyRequest, port: int, taken: PortsTaken) -> None:
    try:
        taken.descriptors[port] = held.bound(port, request.transport, request.source).detach()
    except OSError as error:
        if error.errno not in PORT_TAKEN:
            raise
        taken.refused.append(PortRefusal(port, "bind", error.errno))
    else:
        taken.ports.append(port)


def _connect(request: OccupyRequest, ports: Sequence[int], taken: PortsTaken) -> None:
    """Connect from these ports at once, and wait for the answers."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    for port in ports:
        sock = socket.socket(family_of(request.destination.address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if request.way is OccupyWay.CONNECTIONS:
            # However it ends, by close() or by SIGKILL of this process: with RST, so that no TIME-WAIT remains.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        number = _begin(sock, port, request.source, request.destination)
        if number not in (0, EINPROGRESS):
            sock.close()
            taken.refused.append(PortRefusal(port, "connect", number))
            continue
        taken.connects += 1
        waiting[sock.fileno()] = port, sock
        poll.register(sock, select.POLLOUT)
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left_s * 1000):
            poll.unregister(fd)
            port, sock = waiting.pop(fd)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            _answered(request, port, sock, number, taken)
    for port, sock in waiting.values():
        _answered(request, port, sock, ETIMEDOUT, taken)


def _begin(sock: socket.socket, port: int, source: str, target: Endpoint) -> int:
    """Begin to connect from this port without binding it: it stays open to others; return the errno, or 0.

    Source: ip(7), IP_LOCAL_PORT_RANGE, Linux 6.3: the lower 16 bits are the low end, the upper ones the high end.
    """
    sock.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", port << 16 | port))
    if source:
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        try:
            sock.bind(Endpoint(source, 0).sockaddr)
        except OSError as error:
            return error.errno or EADDRNOTAVAIL
    number = sock.connect_ex(target.sockaddr)
    if number in (0, EINPROGRESS) and sock.getsockname()[1] != port:  # the range of the namespace has been changed
        return EADDRNOTAVAIL
    return number


def _answered(request: OccupyRequest, port: int, sock: socket.socket, number: int, taken: PortsTaken) -> None:
    """Keep the connection, or close it first so that it stays in TIME-WAIT. number: errno of the connect(), or 0."""
    if number:
        sock.close()
        taken.refused.append(PortRefusal(port, "connect", number))
        return
    taken.ports.append(port)
    if request.way is OccupyWay.TIME_WAIT:
        sock.close()
        return
    taken.descriptors[port] = sock.detach()
