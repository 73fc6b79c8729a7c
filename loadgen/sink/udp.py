"""The UDP socket of a sink: send each datagram back to its sender.

UDP has no accept() and nothing to hold; only datagrams and the endpoints they came from are counted. Each sink
process has one socket on each address, shared by SO_REUSEPORT: the kernel spreads datagrams by a hash of the
four-tuple (udp4_lib_lookup2(), net/ipv4/udp.c), so all datagrams of one client arrive at the same process.

System calls are made in batches of one kind, as in the connector.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.model import Endpoint, SinkBehaviour, Speaks
from loadgen.sink.counts import SurvivedFailures
from loadgen.sink.even_share import EvenShare

_BATCH: Final = 128
_READ_SIZE: Final = 65536
#: Receive buffer for some thousand datagrams; setsockopt(2) silently cuts it to net.core.rmem_max. The kernel drops
#: datagrams that do not fit and counts them in Udp.RcvbufErrors.
_BUFFER_BYTES: Final = 4 << 20
#: Endpoints that a socket remembers, at about 200 bytes each. A sender may write any source address into a datagram.
_CLIENTS_MAX: Final = 1_000_000
#: Pause after a failed call: the socket stays readable.
_PAUSE_S: Final = 0.001


@dataclass(slots=True)
class DatagramCounts:
    """Datagrams of all sockets of one process: received, sent back, and dropped on purpose."""

    received: int = 0
    answered: int = 0
    dropped: int = 0


class DatagramSocket:
    """One datagram socket of one sink process.

    behaviour: only `speaks` and `drop` apply to datagrams. on_new_client: called with address and port of every
    endpoint that sends here for the first time. counts, failures: the counters to increment.

    Raises: OSError if it cannot be bound.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        behaviour: SinkBehaviour,
        on_new_client: Callable[[str, int], None],
        counts: DatagramCounts,
        failures: SurvivedFailures,
    ) -> None:
        self._echoes, self._drops = behaviour.speaks is Speaks.ECHO, EvenShare(behaviour.drop)
        self._on_new_client, self._counts = on_new_client, counts
        self._failures = failures
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
        """Return the descriptor, to be watched for EPOLLIN."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self) -> None:
        """Read one batch of datagrams and answer it; the socket stays readable while more are queued."""
        receive, clients, counts = self._socket.recvfrom, self._clients, self._counts
        received = []
        try:
            for _ in range(_BATCH):
                received.append(receive(_READ_SIZE))  # noqa: PERF401  # keep what was read before an error
        except BlockingIOError:
            pass
        except OSError as error:
            self._failures.add("recvfrom", error)
            time.sleep(_PAUSE_S)
        counts.received += len(received)
        answers = []
        for data, address in received:
            client = address[:2]  # an IPv6 address has four parts
            if client not in clients:
                self._add_client(*client)
            if self._drops.selects_next():
                counts.dropped += 1
            elif self._echoes:
                answers.append((data, address))
        self._answer(answers)

    def _add_client(self, address: str, port: int) -> None:
        if len(self._clients) == _CLIENTS_MAX:
            self._failures.add("recvfrom", "from more endpoints than are counted")
            return
        self._clients.add((address, port))
        self._on_new_client(address, port)

    def _answer(self, answers: Sequence[tuple[bytes, tuple[str, int]]]) -> None:
        send = self._socket.sendto
        for data, address in answers:
            try:
                send(data, address)
            except BlockingIOError:  # buffer full: the datagram is lost and counts as not answered
                continue
            except OSError as error:
                self._failures.add("sendto", error)
                continue
            self._counts.answered += 1
