"""The state of the namespace before a port is taken: how many are free, how many will be taken, and whom it hurts."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from errno import EADDRNOTAVAIL

from loadgen.errors import CapacityError, HostError
from loadgen.kernel import route, sysctl
from loadgen.model import Endpoint, family_of
from loadgen.occupy.account import PortBalance, ports_mask, processes_for
from loadgen.occupy.affected import Affected, affected_by
from loadgen.occupy.reading import PortReader, PortReading
from loadgen.occupy.request import OccupyRequest, OccupyWay
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT
from loadgen.watch.space import Reuse


@dataclass(frozen=True, slots=True)
class Prospect:
    """The plan: ports to take, and the programs that it hurts.

    source: the address whose four-tuples count; "": every address. processes: that will hold ports, each `room` of
    them at most. reused: True if connect() takes over the TIME-WAIT that loadgen makes (tcp_tw_reuse).
    """

    request: OccupyRequest
    source: str
    reading: PortReading
    account: PortBalance
    affected: Affected
    processes: int
    room: int
    reused: bool

    @property
    def free(self) -> int:
        """Ports that automatic choice has now."""
        return self.account.left

    @property
    def to_take(self) -> int:
        """Ports that will be taken now."""
        return self.free - self.request.leave

    @property
    def shared(self) -> int:
        """Ports of connections of others that connect() may give out once more, see `PortReading`."""
        return int(self.reading.shared.sum())

    @property
    def spared(self) -> int:
        """Ports that are not taken for the sake of a listener on another address, see `PortReading`."""
        return int(self.reading.spared.sum())


def source_of(request: OccupyRequest) -> str:
    """Return the address whose ports are taken; "" for bind on all addresses.

    Raises: HostError if the source is not an address of this namespace, or there is no route to the target.
    """
    if request.source:
        _require_local(request.source)
        return request.source
    if request.way is OccupyWay.BIND:
        return ""
    (found,) = route.to([request.destination.address])
    if not found.source:
        raise HostError(
            f"{request.destination} cannot be reached from this namespace: {found}; add a route, or a source"
        )
    return found.source


def _require_local(address: str) -> None:
    with socket.socket(family_of(address), socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)  # takes no port
        try:
            sock.bind(Endpoint(address, 0).sockaddr)
        except OSError as error:
            why = (
                "is on no interface of this namespace"
                if error.errno == EADDRNOTAVAIL
                else f"cannot be used: {error.strerror}"
            )
            raise HostError(f"--source {address} {why}; `ip addr` inside it lists its addresses") from error


def ahead(request: OccupyRequest, reader: PortReader, source: str, room: int) -> Prospect:
    """Return the prospect. room: ports that one process can hold.

    Raises: CapacityError if fewer ports are free than are to be left, or the kernel keeps less in TIME-WAIT than that
        takes; HostError, see `PortReader.read`.
    """
    reading = reader.read()
    account = reading.account(ports_mask(), ports_mask())
    if account.left < request.leave:
        raise CapacityError(
            "ports free for automatic choice",
            needed=request.leave,
            available=account.left,
            remedy=f"nothing was taken; write --leave {account.left} or less",
        )
    reused = False
    if request.way is OccupyWay.TIME_WAIT:
        reused = _reuse().applies(source, request.destination.address)
        _require_buckets(account.left - request.leave)
    tuples, bound = reader.sockets()
    # Services that close their sockets while ports are held free more of them.
    most = int(reading.offered.sum()) - request.leave
    return Prospect(
        request=request,
        source=source,
        reading=reading,
        account=account,
        affected=affected_by(tuples, bound, reading.offered, request.transport),
        processes=max(1, processes_for(most, room)),
        room=room,
        reused=reused,
    )


def _reuse() -> Reuse:
    return Reuse(int(sysctl.read("net.ipv4.tcp_tw_reuse") or 0), sysctl.read("net.ipv4.tcp_timestamps") != "0")


def _require_buckets(needed: int) -> None:
    name = "net.ipv4.tcp_max_tw_buckets"
    buckets = sysctl.read(name)
    if buckets is not None and int(buckets) < needed:
        raise CapacityError(
            "TIME-WAIT that the kernel keeps",
            needed=needed,
            available=int(buckets),
            remedy=f"raise {name} in that namespace, or use --by connections",
        )
