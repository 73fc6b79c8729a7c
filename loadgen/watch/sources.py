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

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen.format import percent
from loadgen.kernel import groups
from loadgen.kernel.sockdiag import Sockets, TcpState
from loadgen.strategies import Strategy, Transport
from loadgen.watch import early
from loadgen.watch.owners import Ownership, SocketOwners, command_of, of_pids
from loadgen.watch.space import Capacity, Ports

#: All addresses of a family.
ANY_4: Final = "0.0.0.0"
ANY_6: Final = "::"
#: Most sources that have a row, those with most sockets.
FOLLOWED: Final = 1000
#: Indexes into the columns of a table.
_Rows: TypeAlias = npt.NDArray[np.int64]


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


class _SourceTable:
    """Columns of the sockets in the range, and their rows by source address.

    Columns, because a record of all fields takes far longer to select. processes: the owner of each socket, 0 if it is
    unknown; None without a scan.
    """

    def __init__(
        self,
        held: BoundSockets,
        offered: Ports,
        socket_owners: SocketOwners | None,
        command: Callable[[int], str] = command_of,
    ) -> None:
        sockets, inside = held.sockets, offered[held.sockets["source_port"]]
        names, members = groups.sources(sockets)
        members = members[inside]
        self.offered, self.socket_owners, self._command = offered, socket_owners, cache(command)
        self.ports: npt.NDArray[np.uint16] = sockets["source_port"][inside].astype(np.uint16)
        self.states = sockets["state"][inside]
        self.connected = sockets["destination_port"][inside] != 0
        self.places = groups.destinations(sockets)[inside]
        self.owned = sockets["inode"][inside] != 0
        self.processes = None if socket_owners is None else socket_owners.of(sockets)[inside]
        order = np.argsort(members, kind="stable")
        counts = np.bincount(members, minlength=len(names))
        most = np.argsort(-counts, kind="stable")[:FOLLOWED]
        begins = np.cumsum(counts) - counts
        self.rows: dict[str, _Rows] = {
            names[one]: order[begins[one] : begins[one] + counts[one]] for one in most.tolist() if counts[one]
        }
        is_six = np.array([":" in name for name in names], np.bool_)[members]
        on_all_six = np.array([name == ANY_6 for name in names], np.bool_)[members]
        on_all_four = np.array([name == ANY_4 for name in names], np.bool_)[members]
        self._four, self._six = self._ports(~is_six), self._ports(is_six)
        self._wild_four, self._wild_six = self._ports(on_all_four), self._ports(on_all_six)
        self._wild_both = self._ports(on_all_six & ~held.only_six[inside])

    def taken(self, address: str) -> Ports:
        """Return the ports that a bind() to this address does not find free."""
        if address == ANY_6:  # includes IPv4
            return self._four | self._six
        if address == ANY_4:
            return self._four | self._wild_both
        wild = self._wild_six if ":" in address else self._wild_four | self._wild_both
        return self._ports(self.rows[address]) | wild if address in self.rows else wild

    def _ports(self, rows: _Rows | npt.NDArray[np.bool_]) -> Ports:
        found = np.zeros_like(self.offered)
        found[self.ports[rows]] = True
        return found

    def usage(self, transport: Transport, source: str, capacity: Capacity) -> SourceUsage:
        """Return the row of a source address."""
        rows = self.rows.get(source, np.empty(0, np.int64))
        connected = rows[self.connected[rows]]
        sign = self._sign(rows, connected) if transport is Transport.TCP else _NO_SIGN
        states = np.bincount(self.states[rows], minlength=max(TcpState) + 1)
        owned = None
        if self.socket_owners is not None and self.processes is not None:
            owned = of_pids(self.processes[rows[self.owned[rows]]], self.socket_owners, self._command)
        return SourceUsage(
            transport=transport,
            source=source,
            states={state: int(states[state]) for state in TcpState if states[state]},
            unconnected=rows.size - connected.size,
            destinations=np.unique(self.places[connected]).size,
            capacity=capacity,
            strategy=sign.strategy,
            because=sign.because,
            shown_by=sign.shown_by,
            owned=owned,
        )

    def _sign(self, rows: _Rows, connected: _Rows) -> _Sign:
        """Return the sign of early binding in the TCP sockets of one source; see `loadgen.watch.early`."""
        unconnected = rows.size - connected.size
        if unconnected * 2 > rows.size:
            because = f"{unconnected:,} of {rows.size:,} sockets are bound and not connected"
            return _Sign(Strategy.BIND, because)
        if because := self._never_twice(connected):
            return _Sign(Strategy.BIND, because)
        if self.processes is None:
            return _NO_SIGN
        processes = self.processes[connected]
        pids, counts = np.unique(processes[processes != 0], return_counts=True)
        if not counts.size or counts.max() * 2 <= counts.sum():
            return _NO_SIGN
        pid = int(pids[counts.argmax()])
        # Its connections in TIME-WAIT have no owner any more; nor have those of other programs, which may share ports.
        for own in (processes == pid) | (processes == 0), processes == pid:
            if own.sum() * 2 > connected.size and (because := self._never_twice(connected[own])):
                return _Sign(Strategy.BIND, because, f"{self._command(pid)}[{pid}]")
        return _NO_SIGN

    def _never_twice(self, rows: _Rows) -> str:
        """Return what shows that these sockets were bound early; "" if nothing does."""
        if np.unique(self.ports[rows]).size < rows.size:
            return ""
        counts = np.unique(self.places[rows], return_counts=True)[1]
        ports, first = int(self.offered.sum()), int(max(self.offered[::2].sum(), self.offered[1::2].sum()))
        by_chance = early.chance(counts.tolist(), ports, first)
        if by_chance >= early.CHANCE_MAX:
            return ""
        return (
            f"{rows.size:,} sockets to {counts.size:,} destinations use {rows.size:,} ports, none of them twice "
            f"(by chance: {percent(by_chance)})"
        )


@dataclass(frozen=True, slots=True)
class _Sign:
    """Values of `SourceUsage`."""

    strategy: Strategy | None = None
    because: str = ""
    shown_by: str = ""


_NO_SIGN: Final = _Sign()


def tcp(
    outgoing: Sockets,
    bound: BoundSockets,
    listening: Sockets,
    offered: Ports,
    socket_owners: SocketOwners | None,
    command: Callable[[int], str] = command_of,
) -> list[SourceUsage]:
    """Return the account of TCP, the fullest source first.

    outgoing: connections that began here, in any state. bound: bound and not connected. listening: listeners.
    offered: the range without reserved ports. socket_owners: of a recent scan; None: there was none. command: name of
    a process.
    """
    table = _SourceTable(joined(_as_held(outgoing), bound), offered, socket_owners, command)
    listeners = _SourceTable(_as_held(listening), offered, None)
    found = []
    for source in table.rows:
        taken = table.taken(source)
        blocked = listeners.taken(source) & ~taken
        capacity = Capacity(int(taken.sum()), int(offered.sum()) - int(blocked.sum()))
        found.append(table.usage(Transport.TCP, source, capacity))
    return _ordered(found)


def udp(
    sockets: BoundSockets,
    offered: Ports,
    socket_owners: SocketOwners | None,
    command: Callable[[int], str] = command_of,
) -> list[SourceUsage]:
    """Return the account of UDP, the fullest source first; empty without a UDP socket in the range."""
    table = _SourceTable(sockets, offered, socket_owners, command)
    usable = int(offered.sum())
    sources = dict.fromkeys([*table.rows, ANY_4]) if table.rows else {}
    return _ordered([table.usage(Transport.UDP, one, Capacity(int(table.taken(one).sum()), usable)) for one in sources])


def joined(some: BoundSockets, others: BoundSockets) -> BoundSockets:
    """Return all these sockets."""
    if not others.sockets.size:
        return some
    return BoundSockets(
        np.concatenate([some.sockets, others.sockets]), np.concatenate([some.only_six, others.only_six])
    )


def _as_held(sockets: Sockets) -> BoundSockets:
    return BoundSockets(sockets, np.zeros(sockets.size, np.bool_))


def _ordered(rows: list[SourceUsage]) -> list[SourceUsage]:
    return sorted(rows, key=lambda row: (-row.capacity.share, -row.capacity.used, row.source))
