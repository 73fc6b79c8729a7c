"""The account of source ports of every listing: used, in TIME-WAIT and free, by pair, by source and by port.

The arithmetic is that of `loadgen watch` (`loadgen.watch.space`, `loadgen.watch.sources`); here it gets the sockets
of pasted text. Two things are different:

- A listing may not show the listeners, and no other one of its file either. Then a connection counts as accepted here,
  not begun here, where its local port is outside the range of automatic choice and most ports of its peers are not, or
  where its local port has `_SERVED_MIN` connections or more whose peers' ports are all inside the range, each another.
- The same space may be in several listings. The fullest counts, and none is added to another: two calls of ss are two
  looks at the same sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from loadgen.explain.evidence import Evidence, SocketListing, SpaceReading, Where
from loadgen.explain.explanation import Proof, SpaceRow
from loadgen.explain.port_settings import PortSettings
from loadgen.kernel import groups
from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState, selected
from loadgen.model import Endpoint, PortRange
from loadgen.strategies import Strategy, Transport
from loadgen.watch import owners, sources
from loadgen.watch.holders import address_text
from loadgen.watch.owners import Key, Ownership, SocketOwners, group_key
from loadgen.watch.sources import BoundSockets, SourceUsage
from loadgen.watch.space import Space

#: Most rows of each scope that a listing gives, those with most sockets.
ROWS_MAX: Final = 1000
#: Pairs whose ports are counted: those with most sockets, whether in the range or not, are among them.
_USED_MAX: Final = 10 * ROWS_MAX
#: Connections of one local port from which on it may be a service that the listing does not show as such.
_SERVED_MIN: Final = 4
#: Share of the ports of a pair outside the assumed range from which on the assumption is wrong.
_OUTSIDE: Final = 0.05
_NO_OWNERS: Final = SocketOwners(np.empty(0, np.uint32), np.empty(0, np.uint32), 0, True)


@dataclass(frozen=True, slots=True)
class Account:
    """A space of ports, with what the rules want to know of it beside the row.

    states: its sockets in each state. destinations: of a source. full_listing: the listing would show TIME-WAIT, so
    that no more ports are in use. outside: distinct ports outside the range, and the range is assumed.
    """

    row: SpaceRow
    states: Mapping[TcpState, int]
    destinations: int = 1
    full_listing: bool = True
    outside: int = 0

    @property
    def share(self) -> float:
        """Used of usable, 0 to 1; 1 if no port is usable."""
        return self.row.used / self.row.usable if self.row.usable else 1.0


def of(evidence: Evidence, settings: PortSettings) -> list[Account]:
    """Return the accounts of pairs and sources, each once, the fullest first."""
    found: dict[tuple[object, ...], Account] = {}
    listed = (one for listing in evidence.listings for one in _of_listing(listing, evidence, settings))
    for account in (*listed, *map(_of_reading, evidence.spaces)):
        row = account.row
        key = (row.scope, row.transport, row.source, row.destination, row.destination_port)
        known = found.get(key)
        if known is None or row.used > known.row.used:
            found[key] = account
    return sorted(found.values(), key=_by_fullness)


def _by_fullness(account: Account) -> tuple[object, ...]:
    row = account.row
    return (
        not row.is_limit,
        -account.share,
        -row.used,
        -row.in_use,
        row.scope,
        row.source,
        row.destination,
        row.destination_port,
    )


def _of_reading(reading: SpaceReading) -> Account:
    row = SpaceRow(
        scope="pair" if reading.destination else "source",
        transport=reading.transport,
        source=reading.source,
        destination=reading.destination,
        destination_port=reading.destination_port,
        port=0,
        used=reading.used,
        in_use=max(reading.used - reading.time_wait, 0),
        time_wait=reading.time_wait,
        usable=reading.usable,
        assumed=False,
        where=reading.where,
        strategy=Strategy.BIND if reading.strategy == Strategy.BIND else None,
        because=reading.because,
        owners=reading.owners,
    )
    return Account(row, {TcpState.TIME_WAIT: reading.time_wait, TcpState.ESTABLISHED: row.in_use})


# --- One listing ----------------------------------------------------------------------------------


def _of_listing(listing: SocketListing, evidence: Evidence, settings: PortSettings) -> Iterator[Account]:
    own, command = _by_command(listing)
    listening = _listeners(listing, evidence)
    outgoing = outbound(listing.tcp, listening, settings.ports)
    place = Where(listing.file, listing.first)
    if outgoing.size:
        yield from _pairs(outgoing, listening, settings, own, command, place, listing)
        held = BoundSockets(np.empty(0, SOCKET), np.empty(0, np.bool_))
        for usage in sources.tcp(outgoing, held, listening, settings.offered, own, command):
            yield _of_source(usage, settings, place, listing)
    if listing.udp.size:
        everything = BoundSockets(listing.udp, np.zeros(listing.udp.size, np.bool_))
        for usage in sources.udp(everything, settings.offered, own, command):
            if usage.states:  # none: what a client would find that binds to no address
                yield _of_source(usage, settings, place, listing)


def _pairs(
    outgoing: Sockets,
    listening: Sockets,
    settings: PortSettings,
    own: SocketOwners,
    command: Callable[[int], str],
    place: Where,
    listing: SocketListing,
) -> Iterator[Account]:
    space = Space.of(settings.ports, settings.reserved, np.unique(listening["source_port"]).tolist())
    used = _ports_used(selected(outgoing, space.offered[outgoing["source_port"]]))
    all_used = len(used) < _USED_MAX
    blocked = _ports_used(selected(outgoing, space.blocked[outgoing["source_port"]]))
    owned = owners.by_group(outgoing, own, command=command)
    for one in groups.group(outgoing, ROWS_MAX):
        key = group_key(one)
        if key not in used and not all_used:
            continue
        capacity = space.capacity(used.get(key, 0), blocked.get(key, 0))
        row = SpaceRow(
            scope="pair",
            transport=Transport.TCP,
            source=one.source,
            destination=one.destination,
            destination_port=one.destination_port,
            port=0,
            used=capacity.used,
            in_use=one.in_use,
            time_wait=one.time_wait,
            usable=capacity.usable,
            assumed=settings.assumed,
            where=place,
            owners=_in_words(owned.get(key)),
        )
        outside = one.source_ports - capacity.used if settings.assumed else 0
        yield Account(row, one.states, full_listing=_shows_all(listing), outside=outside)


def _of_source(usage: SourceUsage, settings: PortSettings, place: Where, listing: SocketListing) -> Account:
    row = SpaceRow(
        scope="source",
        transport=usage.transport,
        source=usage.source,
        destination="",
        destination_port=0,
        port=0,
        used=usage.capacity.used,
        in_use=usage.in_use,
        time_wait=usage.time_wait,
        usable=usage.capacity.usable,
        assumed=settings.assumed,
        where=place,
        strategy=usage.strategy,
        because=usage.because,
        owners=_in_words(usage.owned),
    )
    full = _shows_all(listing) or (usage.transport is Transport.UDP and listing.whole and not listing.dropped)
    return Account(row, usage.states, usage.destinations, full_listing=full)


def _shows_all(listing: SocketListing) -> bool:
    return listing.shows_time_wait and listing.whole and not listing.dropped


def _ports_used(sockets: Sockets) -> dict[Key, int]:
    return {group_key(in_use): in_use.source_ports for in_use in groups.group(sockets, _USED_MAX)}


def _in_words(owned: Ownership | None) -> tuple[tuple[str, int], ...]:
    return tuple((owner.command, owner.sockets) for owner in owned.owners) if owned else ()


def _by_command(listing: SocketListing) -> tuple[SocketOwners, Callable[[int], str]]:
    """Return the owners with a number for each command instead of each process: workers of one program count as one."""
    known = listing.owners
    if not known.inodes.size:
        return _NO_OWNERS, str
    names = list(dict.fromkeys(listing.commands.values()))
    number = {name: place for place, name in enumerate(names, start=1)}
    pids, places = np.unique(known.pids, return_inverse=True)
    numbers = np.array([number.get(listing.commands.get(pid, ""), 0) for pid in pids.tolist()], np.uint32)
    return replace(known, pids=numbers[places]), lambda one: names[one - 1]


# --- Which end began a connection -----------------------------------------------------------------


def _listeners(listing: SocketListing, evidence: Evidence) -> Sockets:
    """Return the listeners of this listing, else those of other listings of the same file."""
    own: Sockets = listing.tcp[listing.tcp["state"] == TcpState.LISTEN]
    if own.size:
        return own
    others = [one.tcp[one.tcp["state"] == TcpState.LISTEN] for one in evidence.listings if one.file == listing.file]
    return np.concatenate(others) if others else own


def outbound(sockets: Sockets, listening: Sockets, ports: PortRange) -> Sockets:
    """Return the connections that began here, as far as listeners and port numbers tell.

    listening: the listeners that are known, of this listing or another one. ports: of automatic choice.
    """
    connected = selected(sockets, sockets["destination_port"] != 0)
    if listening.size:
        return groups.outbound(np.concatenate([connected, listening]))  # which leaves the listeners out
    return selected(connected, ~_accepted(connected, ports))


def _accepted(sockets: Sockets, ports: PortRange) -> npt.NDArray[np.bool_]:
    """Tell by the port numbers which connections a listener accepted that no listing shows."""
    local, peer = sockets["source_port"].astype(np.int64), sockets["destination_port"].astype(np.int64)
    from_range = (peer >= ports.low) & (peer <= ports.high)
    size = 1 << 16
    count = np.bincount(local, minlength=size)
    of_range = np.bincount(local, weights=from_range, minlength=size)
    distinct = np.bincount(np.unique(local << 16 | peer) >> 16, minlength=size)
    inside = np.zeros(size, np.bool_)
    inside[ports.low : ports.high + 1] = True
    outside_served = ~inside & (of_range * 2 > count)
    inside_served = inside & (count >= _SERVED_MIN) & (of_range == count) & (distinct == count)
    served: npt.NDArray[np.bool_] = (outside_served | inside_served)[local]
    return served


def widened(settings: PortSettings, accounts: Iterable[Account]) -> PortSettings:
    """Return the settings with the range that the sockets show, where they contradict the one that was assumed.

    Ports outside the assumed range in a pair with many sockets were given out by a wider range, or chosen by the
    program; the range is then not known, and that of the ports seen is the least that it can be.
    """
    if settings.assumed and any(one.outside > max(_OUTSIDE * one.row.used, 100) for one in accounts):
        return replace(settings, ports=PortRange(1024, 65_535))
    return settings


def of_port(listings: Iterable[SocketListing], port: int) -> SpaceRow | None:
    """Return the TCP sockets that have a local port, in the listing with most of them; None: in none."""
    best: SpaceRow | None = None
    for listing in listings:
        having = listing.tcp["source_port"] == port
        used = int(having.sum())
        if not used or (best and best.used >= used):
            continue
        sockets = selected(listing.tcp, having)
        resting = int((sockets["state"] == TcpState.TIME_WAIT).sum())
        own, command = _by_command(listing)
        best = SpaceRow(
            scope="port",
            transport=Transport.TCP,
            source="",
            destination="",
            destination_port=0,
            port=port,
            used=used,
            in_use=used - resting,
            time_wait=resting,
            usable=0,
            assumed=False,
            where=line_of(listing, int(np.flatnonzero(having)[0])),
            owners=_in_words(owners.of_pids(own.of(sockets)[sockets["inode"] != 0], own, command)),
        )
    return best


def self_connected(listing: SocketListing) -> Iterator[tuple[Proof, str, int]]:
    """Yield the connections of a listing whose two ends are one, with address and port (RFC 9293, 3.5)."""
    table = listing.tcp
    same = (table["source_port"] == table["destination_port"]) & (table["state"] != TcpState.LISTEN)
    places = np.flatnonzero(same & (table["source_port"] != 0))
    meets = (table["source"][places] == table["destination"][places]).all(axis=1)
    for place in places[meets].tolist():
        row = table[place]
        address = address_text(int(row["family"]), bytes(row["source"]))
        yield described(listing, place), address, int(row["source_port"])


def full_queues(listings: Iterable[SocketListing]) -> Iterator[tuple[SocketListing, int]]:
    """Yield each listener whose queue is full: (listing, index into its `tcp`).

    Of a listener Recv-Q is the number of connections that wait for accept(), Send-Q its backlog, of which the kernel
    takes one more (sk_acceptq_is_full(), include/net/sock.h). netstat and /proc/net/tcp have no backlog, but 0.
    """
    for listing in listings:
        table = listing.tcp
        full = (table["state"] == TcpState.LISTEN) & (table["wqueue"] > 0) & (table["rqueue"] > table["wqueue"])
        yield from ((listing, place) for place in np.flatnonzero(full).tolist())


def state_name(state: TcpState) -> str:
    """Return a state as RFC 9293 writes it: TIME-WAIT, FIN-WAIT-2."""
    return state.name.replace("_", "-").replace("WAIT1", "WAIT-1").replace("WAIT2", "WAIT-2")


def local_end(socket_row: np.void) -> str:
    """Return the local address and port of a socket."""
    return _end(socket_row, "source")


def described(listing: SocketListing, place: int) -> Proof:
    """Return a TCP socket in words, with its owner and its line."""
    row = listing.tcp[place]
    text = f"{state_name(TcpState(int(row['state'])))} {local_end(row)}"
    if int(row["destination_port"]):
        text += f" to {_end(row, 'destination')}"
    pid = int(listing.owners.of(listing.tcp[place : place + 1])[0])
    if command := listing.commands.get(pid, ""):
        text += f", of {command}"
    return Proof(text, Where(listing.file, int(listing.tcp_lines[place])))


def line_of(listing: SocketListing, place: int) -> Where:
    """Return the place of a TCP socket of a listing."""
    return Where(listing.file, int(listing.tcp_lines[place]))


def _end(row: np.void, name: str) -> str:
    address = address_text(int(row["family"]), bytes(row[name]))
    return str(Endpoint(address, int(row[f"{name}_port"])))
