"""The sockets of the namespace of this thread, as ports that a way of taking them finds taken.

A port is free for automatic choice, and for the way, if no socket stands in the way that the kernel lists:

    bind                no socket at all, in TIME-WAIT or not: a bind() without a flag shares with none
    bind, one source    none on this address or on all, and no listener anywhere
    connections         no listener and no bound socket on any address, and no four-tuple from the source to the target

That a connection was bound early, and so closes its port to others, the kernel does not tell; it shows when the port is
tried, see `loadgen.occupy.occupation`. Such ports are tried first; one that is left all the same counts as left.

Sources: inet_csk_get_port(), net/ipv4/inet_connection_sock.c; __inet_hash_connect(), net/ipv4/inet_hashtables.c;
udp_lib_get_port(), net/ipv4/udp.c; docs/facts.md, 2.1, 4.1, 4.2, 11.7, 11.8.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadgen.errors import HostError
from loadgen.kernel import port_holders, sysctl
from loadgen.kernel.sockdiag import ALL, MAPPED, Reader, Sockets, TcpState, lists_bound, mask
from loadgen.model import Endpoint, PortRange, Transport
from loadgen.occupy.account import PortBalance, ports_mask
from loadgen.occupy.request import OccupyRequest, OccupyWay
from loadgen.watch.space import Ports, Space

_ON_ALL = "::"


@dataclass(frozen=True, slots=True)
class PortReading:
    """Ports and sockets at one time.

    ports, reserved: ip_local_port_range, and the number of its reserved ports. offered: the range without them.
    blocked: ports that a socket is in the way of. present: ports on which a socket stands as the way makes them.
    listening: ports with a listener of TCP.
    shared: of the offered ports that are blocked, those that connections alone block: connect() may give them out once
    more, to another destination. spared: offered ports that only a listener on an address other than the source blocks,
    which bind() to the source may give out. doubtful: ports with connections to other destinations, which block
    the port for connect() if they were bound early: the kernel does not tell. time_wait: those of `present` that are
    in TIME-WAIT.
    """

    ports: PortRange
    reserved: int
    offered: Ports
    blocked: Ports
    present: Ports
    listening: Ports
    shared: Ports
    spared: Ports
    doubtful: Ports
    time_wait: Ports

    def account(self, ours: Ports, denied: Ports) -> PortBalance:
        """Return the account. ours: ports that loadgen holds. denied: ports that were tried, and are taken."""
        return PortBalance(self.ports.low, self.offered, (self.blocked | denied) & ~ours, ours, self.doubtful)


class PortReader:
    """Reads the sockets of the namespace in which it was made. source: of connections; "" for bind on all addresses.

    Raises: HostError if the kernel does not list the sockets that take ports.
    """

    def __init__(self, request: OccupyRequest, source: str) -> None:
        self._request, self._source = request, source
        if request.transport is Transport.TCP and not lists_bound():
            raise HostError(
                "not here, because this kernel does not list bound, unconnected sockets (Linux 6.8 does): the ports "
                "that are left cannot be counted"
            )
        self._reader = Reader()

    def close(self) -> None:
        """Close the netlink socket."""
        self._reader.close()

    def sockets(self) -> tuple[Sockets, Sockets]:
        """Return the sockets that connect, are connected, closing or listening, and those bound and not connected.

        Raises: HostError, see Reader.dump().
        """
        if self._request.transport is Transport.UDP:
            table = self._reader.dump(ALL, protocol=socket.IPPROTO_UDP).sockets
            connected = table["state"] == TcpState.ESTABLISHED
            return table[connected], table[~connected]
        return self._reader.dump(ALL).sockets, self._reader.dump(mask(TcpState.BOUND)).sockets

    def read(self) -> PortReading:
        """Read settings and sockets. Raises: HostError, see Reader.dump(), or if a setting cannot be read."""
        ports, reserved = sysctl.port_range(), sysctl.reserved_ports()
        offered = Space.of(ports, reserved, ()).offered
        tuples, bound = self.sockets()
        listening = tuples["state"] == TcpState.LISTEN
        listened = _ports(tuples[listening])
        closed_to_all = _ports(bound) | listened
        if self._request.way is OccupyWay.BIND:
            address = self._source or _ON_ALL
            in_way = _ports(tuples[_in_way(tuples, address)]) | _ports(bound[_in_way(bound, address)])
            blocked, present = in_way | listened, in_way
            doubtful = time_wait = ports_mask()
            shared = in_way & ~closed_to_all & (self._request.transport is Transport.TCP)
            spared = listened & ~in_way
        else:
            own = tuples[between(tuples, self._source, self._request.destination)]
            present = _ports(own)
            blocked = closed_to_all | present
            time_wait = _ports(own[own["state"] == TcpState.TIME_WAIT])
            doubtful = _ports(tuples)
            shared = spared = ports_mask()
        return PortReading(
            ports=ports,
            reserved=sum(ports.low <= port <= ports.high for port in reserved),
            offered=offered,
            blocked=blocked,
            present=present,
            listening=listened,
            shared=shared & offered,
            spared=spared & offered,
            doubtful=doubtful,
            time_wait=time_wait,
        )


def _in_way(sockets: Sockets, address: str) -> npt.NDArray[np.bool_]:
    return port_holders.in_the_way(sockets, address)


def _ports(sockets: Sockets) -> Ports:
    found = ports_mask()
    found[sockets["source_port"]] = True
    return found


def between(sockets: Sockets, source: str, target: Endpoint) -> npt.NDArray[np.bool_]:
    """Return a mask of the four-tuples from this address to this target, on any source port.

    Those of IPv4-mapped sockets of IPv6 are the same ones.
    """
    at_port = sockets["destination_port"] == target.port
    found: npt.NDArray[np.bool_] = (
        at_port & _is(sockets, "source", source) & _is(sockets, "destination", target.address)
    )
    return found


def _is(sockets: Sockets, end: str, address: str) -> npt.NDArray[np.bool_]:
    packed = ipaddress.ip_address(address.partition("%")[0]).packed
    six = sockets["family"] == socket.AF_INET6
    if len(packed) == 16:
        same: npt.NDArray[np.bool_] = six & (sockets[end] == list(packed)).all(axis=1)
        return same
    four = ~six & (sockets[end][:, :4] == list(packed)).all(axis=1)
    mapped = six & (sockets[end] == list(MAPPED + packed)).all(axis=1)
    either: npt.NDArray[np.bool_] = four | mapped
    return either
