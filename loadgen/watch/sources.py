"""The ports of each source address: those of clients that bind before they connect, and those of UDP sockets.

For them a port is used up whatever the destination. An address has as many as a bind() to port 0 may still choose from:

    usable = ip_local_port_range - ip_local_reserved_ports - ports of listeners on this address, or on all
    used   = ports of the range that a socket of this address has, or one that is bound to all addresses

TCP sockets in TIME-WAIT, and those that are bound and not connected, count as used (docs/facts.md, 2.1, 4.2, 5.9). UDP
has neither listeners nor TIME-WAIT, so `usable` is the whole range.

A socket on all addresses, 0.0.0.0 or ::, needs a port that is free on every one of them. Over UDP that is what any
client takes that does not bind, and it has a row as soon as there are UDP sockets; over TCP only with such a socket. ::
includes IPv4 unless the socket has IPV6_V6ONLY (ipv6(7)).

Sources: udp_lib_get_port(), net/ipv4/udp.c; inet_csk_get_port(), net/ipv4/inet_connection_sock.c;
inet_rcv_saddr_equal(), net/ipv4/inet_connection_sock.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from loadgen.format import percent
from loadgen.kernel import groups
from loadgen.kernel.sockdiag import Sockets, TcpState, count_states
from loadgen.strategies import Strategy, Transport
from loadgen.watch import early
from loadgen.watch.owners import PROCESSES_MAX, Ownership, SocketOwners, command_of, of_all
from loadgen.watch.space import Capacity, Ports

#: All addresses of a family.
ANY_4: Final = "0.0.0.0"
ANY_6: Final = "::"
#: Most sources that have a row, those with most ports.
FOLLOWED: Final = 1000
_PORTS: Final = 65_536


@dataclass(frozen=True, slots=True)
class BoundSockets:
    """Sockets and which of them are on :: with IPV6_V6ONLY, so that they leave IPv4 alone."""

    sockets: Sockets
    only_six: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SourceUsage:
    """The ports of one source address over one transport.

    states: its sockets on ports of the range, without zeros. unconnected: of these, sockets that are bound and not
    connected. destinations: of the others.
    strategy: BIND if the sockets look as if each was bound before it was connected, for the reason in `because`; None:
    nothing says so. shown_by: command of the process whose sockets show it; "": those of the whole address.
    growth_per_s, exhausts_in_s: of the used ports, as in `loadgen.watch.snapshot.Usage`.
    owned: owners of the sockets of this address; None: not scanned yet.
    """

    transport: Transport
    source: str
    states: dict[TcpState, int]
    unconnected: int
    destinations: int
    capacity: Capacity
    strategy: Strategy | None = None
    because: str = ""
    shown_by: str = ""
    growth_per_s: float | None = None
    exhausts_in_s: float | None = None
    owned: Ownership | None = None

    @property
    def time_wait(self) -> int:
        """Sockets in TIME-WAIT."""
        return self.states.get(TcpState.TIME_WAIT, 0)

    @property
    def in_use(self) -> int:
        """Sockets in any other state."""
        return sum(self.states.values()) - self.time_wait

    @property
    def is_limit(self) -> bool:
        """True if the used ports are known to limit this source: UDP, or TCP that looks like early binding."""
        return self.transport is Transport.UDP or self.strategy is not None


class _Addresses:
    """Sockets in the range by source address, and the ports that each address cannot bind any more.

    only_six: those of the sockets that are on :: and leave IPv4 alone.
    """

    def __init__(self, sockets: Sockets, only_six: npt.NDArray[np.bool_], offered: Ports) -> None:
        inside = offered[sockets["source_port"]]
        sockets, only_six = sockets[inside], only_six[inside]
        names, members = groups.sources(sockets)
        order = np.argsort(members, kind="stable")
        ends = np.cumsum(np.bincount(members, minlength=len(names)))[:-1]
        parts = np.split(order, ends) if names else []
        self.sockets = {name: sockets[part] for name, part in zip(names, parts, strict=True)}
        is_six = _of_each([":" in name for name in names], members)
        self._four, self._six = (_ports(sockets[kind]) for kind in (~is_six, is_six))
        self._everywhere = _ports(self.sockets.get(ANY_4, sockets[:0]))
        self._both_families = _ports(sockets[_of_each([name == ANY_6 for name in names], members) & ~only_six])

    def taken(self, address: str) -> Ports:
        """Return the ports that a bind() to this address does not find free."""
        if address == ANY_6:  # includes IPv4
            return self._four | self._six
        if address == ANY_4:
            return self._four | self._both_families
        own = _ports(self.sockets[address]) if address in self.sockets else np.zeros_like(self._four)
        wild = _ports(self.sockets[ANY_6]) if ":" in address and ANY_6 in self.sockets else self._both_families
        return own | wild if ":" in address else own | wild | self._everywhere


def _of_each(flags: Sequence[bool], members: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return the flag of each member's group."""
    return np.array(flags, np.bool_)[members]


def _ports(sockets: Sockets) -> Ports:
    found = np.zeros(_PORTS, np.bool_)
    found[sockets["source_port"]] = True
    return found


def tcp(
    outgoing: Sockets, bound: BoundSockets, listening: Sockets, offered: Ports, socket_owners: SocketOwners | None
) -> list[SourceUsage]:
    """Return the account of TCP, the fullest source first.

    outgoing: connections that began here, in any state. bound: bound and not connected. listening: listeners.
    offered: the range without reserved ports. socket_owners: of a recent scan; None: there was none.
    """
    only_six = np.concatenate([np.zeros(outgoing.size, np.bool_), bound.only_six])
    addresses = _Addresses(np.concatenate([outgoing, bound.sockets]), only_six, offered)
    listeners = _Addresses(listening, np.zeros(listening.size, np.bool_), offered)
    rows = []
    for source, sockets in addresses.sockets.items():
        taken = addresses.taken(source)
        blocked = listeners.taken(source) & ~taken
        capacity = Capacity(int(taken.sum()), int(offered.sum()) - int(blocked.sum()))
        rows.append(_row(Transport.TCP, source, sockets, capacity, socket_owners, offered))
    return _ordered(rows)


def udp(sockets: BoundSockets, offered: Ports, socket_owners: SocketOwners | None) -> list[SourceUsage]:
    """Return the account of UDP, the fullest source first; empty without a UDP socket in the range."""
    addresses = _Addresses(sockets.sockets, sockets.only_six, offered)
    named = {ANY_4: sockets.sockets[:0], **addresses.sockets} if addresses.sockets else {}
    return _ordered(
        [
            _row(
                Transport.UDP,
                source,
                of_source,
                Capacity(int(addresses.taken(source).sum()), int(offered.sum())),
                socket_owners,
                offered,
            )
            for source, of_source in named.items()
        ]
    )


def _ordered(rows: list[SourceUsage]) -> list[SourceUsage]:
    return sorted(rows, key=lambda row: (-row.capacity.share, -row.capacity.used, row.source))[:FOLLOWED]


def _row(
    transport: Transport,
    source: str,
    sockets: Sockets,
    capacity: Capacity,
    socket_owners: SocketOwners | None,
    offered: Ports,
) -> SourceUsage:
    connected = sockets[sockets["destination_port"] != 0]
    places = groups.destinations(connected)
    sign = _Sign(None) if transport is Transport.UDP else _sign(sockets, connected, places, socket_owners, offered)
    return SourceUsage(
        transport=transport,
        source=source,
        states=count_states(sockets),
        unconnected=sockets.size - connected.size,
        destinations=int(places.max()) + 1 if places.size else 0,
        capacity=capacity,
        strategy=sign.strategy,
        because=sign.because,
        shown_by=sign.shown_by,
        owned=None if socket_owners is None else of_all(sockets, socket_owners),
    )


@dataclass(frozen=True, slots=True)
class _Sign:
    strategy: Strategy | None
    because: str = ""
    shown_by: str = ""


def _sign(
    sockets: Sockets,
    connected: Sockets,
    places: npt.NDArray[np.int64],
    socket_owners: SocketOwners | None,
    offered: Ports,
) -> _Sign:
    """Return the sign of early binding in the TCP sockets of one source; see `loadgen.watch.early`."""
    unconnected = sockets.size - connected.size
    if unconnected * 2 > sockets.size:
        return _Sign(Strategy.BIND, f"{unconnected:,} of {sockets.size:,} sockets are bound and not connected")
    if because := _never_twice(connected, places, offered):
        return _Sign(Strategy.BIND, because)
    if socket_owners is None:
        return _Sign(None)
    pids = socket_owners.of(connected)
    for pid in np.unique(pids[pids != 0]).tolist()[:PROCESSES_MAX]:
        own = pids == pid
        if own.sum() * 2 > connected.size and (because := _never_twice(connected[own], places[own], offered)):
            return _Sign(Strategy.BIND, because, f"{command_of(pid)}[{pid}]")
    return _Sign(None)


def _never_twice(sockets: Sockets, places: npt.NDArray[np.int64], offered: Ports) -> str:
    """Return what shows that these sockets were bound early; "" if nothing does."""
    ports = np.unique(sockets["source_port"])
    counts = np.bincount(places)
    counts = counts[counts > 0]
    if ports.size < sockets.size or counts.size < 2:
        return ""
    first = max(int(offered[::2].sum()), int(offered[1::2].sum()))
    by_chance = early.chance(counts.tolist(), int(offered.sum()), first)
    if by_chance >= early.CHANCE_MAX:
        return ""
    return (
        f"{sockets.size:,} sockets to {counts.size:,} destinations use {ports.size:,} ports, none of them twice "
        f"(by chance: {percent(by_chance)})"
    )
