"""The listening side of UDP: a datagram comes in, the same goes back to where it came from.

UDP accepts nothing, so there is nothing to hold and nothing to count but datagrams, and the endpoints they
came from. Each sink process has one socket on each address, shared by SO_REUSEPORT: the kernel spreads
datagrams by a hash of the four-tuple (udp4_lib_lookup2(), net/ipv4/udp.c), so those of one client all come
to the same process.

Calls are made in batches, one kind after the other, as in the connector.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import EADDRINUSE, EADDRNOTAVAIL, errorcode
from typing import Final

from loadgen.errors import HostError
from loadgen.model import Endpoint, Manners, Speaks

_BATCH: Final = 128
_READ_SIZE: Final = 65536
#: Room for some thousand datagrams that wait to be read; setsockopt(2) cuts it to net.core.rmem_max without a
#: word. What does not fit is dropped and counted in Udp.RcvbufErrors.
_BUFFER_BYTES: Final = 4 << 20


@dataclass(slots=True)
class Datagrams:
    """What the sockets of one process have had: received, sent back, and dropped because the manners say so."""

    received: int = 0
    answered: int = 0
    dropped: int = 0


class DatagramPort:
    """One datagram socket of one sink process.

    manners: what it echoes and what it drops; the rest is for connections. heard: called with the address and the
    port of every endpoint that sends here for the first time. tally: where to count.

    Raises: OSError when it cannot be bound.
    """

    def __init__(
        self, endpoint: Endpoint, manners: Manners, heard: Callable[[str, int], None], tally: Datagrams
    ) -> None:
        self._echoes, self._drop = manners.speaks is Speaks.ECHO, manners.drop
        self._owed = 0.0  # of datagrams to be dropped, what is left over of whole ones
        self._heard, self._tally = heard, tally
        self._clients: set[tuple[str, int]] = set()
        self._socket = socket.socket(endpoint.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._socket.bind(endpoint.sockaddr)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The socket, to be watched for EPOLLIN."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self) -> None:
        """Read some of what has come and send it back; what is left keeps the socket readable."""
        receive, clients, tally = self._socket.recvfrom, self._clients, self._tally
        received = []
        try:
            for _ in range(_BATCH):
                received.append(receive(_READ_SIZE))  # noqa: PERF401  # what came before an error must not be lost
        except BlockingIOError:
            pass
        tally.received += len(received)
        answers = []
        for data, address in received:
            client = address[:2]  # of IPv6 there are four
            if client not in clients:
                clients.add(client)
                self._heard(*client)
            if self._drops():
                tally.dropped += 1
            elif self._echoes:
                answers.append((data, address))
        self._answer(answers)

    def _answer(self, answers: Sequence[tuple[bytes, tuple[str, int]]]) -> None:
        send = self._socket.sendto
        for data, address in answers:
            try:
                send(data, address)
            except OSError:  # no room, no way back: it is lost, as datagrams are, and shows as not answered
                continue
            self._tally.answered += 1

    def _drops(self) -> bool:
        """Whether the next is one of the share to be dropped: every fourth of 0.25, and no chance in it."""
        self._owed += self._drop
        if self._owed < 1:
            return False
        self._owed -= 1
        return True


def require_free(endpoints: Sequence[Endpoint]) -> None:
    """Make sure that nobody has these ports yet: SO_REUSEPORT would let us share with another sink unasked.

    Raises: HostError with the remedy.
    """
    for endpoint in endpoints:
        with socket.socket(endpoint.family, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(endpoint.sockaddr)
            except OSError as error:
                raise HostError(_cannot_bind(endpoint, error)) from error


def _cannot_bind(endpoint: Endpoint, error: OSError) -> str:
    remedy = {
        EADDRINUSE: "another socket has that port: choose another, or stop its owner (ss -lunp)",
        EADDRNOTAVAIL: "the address is not on this host: ip address add ADDRESS dev lo",
    }.get(error.errno or 0, "choose a port above net.ipv4.ip_unprivileged_port_start, or run as root")
    return f"the sink cannot bind {endpoint} of UDP: {errorcode.get(error.errno or 0, '')}; {remedy}"
