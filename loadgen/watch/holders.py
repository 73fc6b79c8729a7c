"""Find the sockets that have a port, and whether a service could listen on it now.

The second question is answered by a trial: bind() to all addresses, without and with SO_REUSEADDR, of a socket that is
closed at once. No rule answers it, because the kernel lists the port of a socket and not its SO_REUSEADDR, on which the
answer depends (docs/facts.md, 2.11). The trial does not listen, so no client can reach it. Where bind() succeeds, the
port is taken for some microseconds. Before Linux 6.18 a bind() that succeeds beside a connection (both with
SO_REUSEADDR) closes the port to automatic choice until that connection ends (docs/facts.md, 4.4).

Sources: bind(2), socket(7), ip(7), ipv6(7); inet_csk_get_port(), net/ipv4/inet_connection_sock.c.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL, errorcode
from typing import Any, Final

import numpy as np

from loadgen.capacity.remedies import sysctl_command
from loadgen.kernel import sysctl
from loadgen.kernel.sockdiag import ALL, MAPPED, Reader, Sockets, TcpState, lists_bound, mask
from loadgen.model import PortRange
from loadgen.strategies import Transport
from loadgen.watch.owners import SocketOwners, command_of
from loadgen.watch.sources import ANY_4, ANY_6

SCHEMA: Final = "loadgen.ports/1"
#: Maximum sockets of a port that are described, those without a destination first.
HOLDERS_MAX: Final = 100

_RESERVED: Final = "net.ipv4.ip_local_reserved_ports"
_PROTOCOLS: Final = {Transport.TCP: socket.IPPROTO_TCP, Transport.UDP: socket.IPPROTO_UDP}
_KINDS: Final = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}
#: IPv6 is not there, or switched off.
_NO_FAMILY: Final = (EAFNOSUPPORT, EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class PortHolder:
    """A socket that has the port. state: LISTEN, ESTABLISHED, ..., BOUND for TCP without a connection; OPEN for UDP.

    destination, destination_port: "" and 0 where it is not connected.
    pid, command: of the process that owns it; 0 and "" where there is none, or for the reason in `unknown`.
    """

    transport: Transport
    state: str
    source: str
    destination: str
    destination_port: int
    pid: int
    command: str
    unknown: str


@dataclass(frozen=True, slots=True)
class ListenTrial:
    """A bind() to all addresses of a family. refused: the name of its errno; "": a service could listen."""

    transport: Transport
    address: str
    reuseaddr: bool
    refused: str


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """The answer about one port.

    ports: ip_local_port_range. reserved: whether the port is left out of automatic choice. holders: sockets that have
    it, at most HOLDERS_MAX; holder_count: all of them. bound_unknown: why bound, unconnected sockets are not among
    them; "" if they are. reserve: the command that reserves this port beside those that are reserved.
    """

    port: int
    ports: PortRange
    reserved: bool
    holders: tuple[PortHolder, ...]
    holder_count: int
    bound_unknown: str
    trials: tuple[ListenTrial, ...]
    reserve: str

    @property
    def in_range(self) -> bool:
        """True if the port is one that automatic choice may give to an outgoing connection, unless it is reserved."""
        return self.port in self.ports

    @property
    def taken(self) -> bool:
        """True if a TCP service without SO_REUSEADDR could not listen on all addresses."""
        return any(one.refused and not one.reuseaddr and one.transport is Transport.TCP for one in self.trials)


def ask(ports: Sequence[int], socket_owners: SocketOwners) -> list[PortAnswer]:
    """Return the answer for each of these ports in the network namespace of this thread.

    Raises: HostError if the kernel does not list sockets.
    """
    with Reader() as reader:
        bound_unknown = "" if lists_bound() else "this kernel does not list bound, unconnected sockets; Linux 6.8 does"
        bound = reader.dump(mask(TcpState.BOUND)).sockets if not bound_unknown else None
        return [_answer(port, reader, bound, bound_unknown, socket_owners) for port in ports]


def _answer(
    port: int, reader: Reader, bound: Sockets | None, bound_unknown: str, socket_owners: SocketOwners
) -> PortAnswer:
    tcp = reader.dump(ALL, source_port=port).sockets
    if bound is not None:
        tcp = np.concatenate([bound[bound["source_port"] == port], tcp])
    udp = reader.dump(ALL, protocol=_PROTOCOLS[Transport.UDP], source_port=port).sockets
    holders = [
        *_described(Transport.TCP, tcp, socket_owners, HOLDERS_MAX),
        *_described(Transport.UDP, udp, socket_owners, HOLDERS_MAX),
    ]
    reserved = sysctl.reserved_ports()
    return PortAnswer(
        port=port,
        ports=sysctl.port_range(),
        reserved=port in reserved,
        holders=tuple(holders[:HOLDERS_MAX]),
        holder_count=int(tcp.size + udp.size),
        bound_unknown=bound_unknown,
        trials=tuple(_trials(port)),
        reserve=sysctl_command(_RESERVED, sysctl.ports_text({*reserved, port})),
    )


def _described(transport: Transport, sockets: Sockets, socket_owners: SocketOwners, limit: int) -> Iterator[PortHolder]:
    """Yield at most `limit` sockets in words, those without a destination first."""
    sockets = sockets[np.argsort(sockets["destination_port"] != 0, kind="stable")][:limit]
    for one, pid in zip(sockets, socket_owners.of(sockets).tolist(), strict=True):
        connected = int(one["destination_port"]) != 0
        owned = int(one["inode"]) != 0
        yield PortHolder(
            transport,
            _state(transport, TcpState(int(one["state"])), connected=connected),
            address_text(int(one["family"]), bytes(one["source"])),
            address_text(int(one["family"]), bytes(one["destination"])) if connected else "",
            int(one["destination_port"]),
            pid,
            command_of(pid) if pid else "",
            socket_owners.why_unknown if owned and not pid else "",
        )


def _state(transport: Transport, state: TcpState, *, connected: bool) -> str:
    """Return the name of a state as `ss` and netstat write it, and OPEN and CONNECTED for UDP, which has no states."""
    if transport is Transport.UDP:
        return "CONNECTED" if connected else "OPEN"
    return "BOUND" if state is TcpState.CLOSE else state.name.replace("_", "-")


def address_text(family: int, address: bytes) -> str:
    """Return an address of `SOCKET` as text, an IPv4-mapped one as IPv4. family: AF_INET or AF_INET6."""
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[:4])
    if address.startswith(MAPPED):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def _trials(port: int) -> Iterator[ListenTrial]:
    """Try to bind to all addresses; with SO_REUSEADDR only where it is refused without."""
    for transport, family, address in _ALL_ADDRESSES:
        for reuseaddr in (False, True):
            number = _bind(transport, family, address, port, reuseaddr=reuseaddr)
            if number in _NO_FAMILY:
                break
            yield ListenTrial(transport, address, reuseaddr, errorcode.get(number, str(number)) if number else "")
            # Over UDP the option shares the port with a socket that loses its datagrams, which is no way to serve.
            if number != EADDRINUSE or transport is Transport.UDP:
                break


_ALL_ADDRESSES: Final = (
    (Transport.TCP, socket.AF_INET, ANY_4),
    (Transport.TCP, socket.AF_INET6, ANY_6),
    (Transport.UDP, socket.AF_INET, ANY_4),
    (Transport.UDP, socket.AF_INET6, ANY_6),
)


def _bind(transport: Transport, family: int, address: str, port: int, *, reuseaddr: bool) -> int:
    """Bind, and close again; return 0 or the errno. :: includes IPv4, as most services have it."""
    try:
        with socket.socket(family, _KINDS[transport]) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuseaddr)
            sock.bind((address, port))
    except OSError as error:
        return error.errno or EINVAL
    return 0


def as_json(answers: Sequence[PortAnswer]) -> Mapping[str, Any]:
    """Return plain values; docs/watch.md describes the keys."""
    return {
        "schema": SCHEMA,
        "ports": [
            {
                "port": one.port,
                "low": one.ports.low,
                "high": one.ports.high,
                "in_range": one.in_range,
                "reserved": one.reserved,
                "taken": one.taken,
                "holder_count": one.holder_count,
                "holders": [asdict(holder) for holder in one.holders],
                "bound_unknown": one.bound_unknown,
                "trials": [asdict(trial) for trial in one.trials],
                "reserve": one.reserve,
            }
            for one in answers
        ],
    }
