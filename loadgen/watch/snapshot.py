"""Snapshots of a network namespace: its sockets in groups, joined with settings, owners and earlier snapshots.

A `Watcher` keeps the state needed to compare; a `Snapshot` is plain and frozen.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP
from typing import Final

import numpy as np

from loadgen.clock import wall_clock
from loadgen.errors import HostError
from loadgen.kernel import snmp, sysctl
from loadgen.kernel.groups import SocketGroup, group, outbound
from loadgen.kernel.groups import sources as group_sources
from loadgen.kernel.sockdiag import (
    SOCKET,
    TUPLES,
    Extension,
    Reader,
    Sockets,
    TcpState,
    count_states,
    lists_bound,
    mask,
    selected,
)
from loadgen.model import PortRange
from loadgen.watch import devices, owners, sources
from loadgen.watch.devices import DeviceSockets
from loadgen.watch.filters import GroupFilter
from loadgen.watch.owners import Inodes, Key, Ownership, SocketOwners, group_key
from loadgen.watch.sources import BoundSockets, SourceUsage
from loadgen.watch.space import Capacity, Ports, Reuse, Space, exhausts_in_s, growth_per_s

#: Number of snapshots used to estimate growth.
GROWTH_SNAPSHOTS: Final = 10
#: Maximum groups tracked in a namespace, the fullest ones.
FOLLOWED: Final = 1000
#: Expensive scans (bound sockets, owners) may use at most this fraction of the time.
_SCAN_SHARE: Final = 1 / 50
_SCAN_LIMIT_S: Final = 1.0
#: Of this thread: the main thread may be in another namespace (proc(5)).
_PROC_NET: Final = Path("/proc/thread-self/net")
_COUNTED: Final = ("Tcp.", "TcpExt.")
#: A gauge (RFC 4022); the states are more precise.
_GAUGE: Final = "Tcp.CurrEstab"
#: INET_DIAG_SKV6ONLY, linux/inet_diag.h; attributes are listed when an extension, any of them, is asked for.
_SKV6ONLY: Final = 11
_NONE: Final = np.empty(0, SOCKET)


@dataclass(frozen=True, slots=True)
class Usage(SocketGroup):
    """A group of sockets and its capacity.

    capacity: see `space`. reused: True if automatic choice takes over four-tuples in TIME-WAIT.
    growth_per_s: of the used ports, or if `reused`, of those not in TIME-WAIT; None until it is known.
    exhausts_in_s: at the current growth; 0: no port is left; None: never, or unknown.
    owned: owners of the sockets at a recent scan; None: not scanned yet.
    """

    capacity: Capacity
    reused: bool
    growth_per_s: float | None
    exhausts_in_s: float | None
    owned: Ownership | None


@dataclass(frozen=True, slots=True)
class Bound:
    """Bound, unconnected sockets on ports of the range; each blocks its port. ports: distinct, rising."""

    sockets: int
    ports: tuple[int, ...]
    owned: Ownership


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a network namespace at one time.

    at: UTC. t_s: seconds since the watcher started. ports, reserved: ip_local_port_range, and its reserved ports.
    listening: further ports of it with a listener. usable: ports left for a group without connections.
    bound: at a recent scan; None if unknown, for the reason in `bound_unknown`.
    groups: outbound, the fullest first. group_count: all groups, including those beyond `FOLLOWED`.
    sources: the account of TCP by source address, the fullest first. udp: that of UDP sockets; None: left out, or
    unknown for the reason in `udp_unknown`.
    inbound: by client address, listening address and port, if requested; largest first.
    states: all sockets of the namespace. counters: changes of Tcp and TcpExt since the previous snapshot.
    interrupted: the kernel changed its tables meanwhile, so a socket may be missing or counted twice.
    devices: outbound connections bound to a device, which no other account has; see `loadgen.watch.devices`.
    """

    at: str
    t_s: float
    ports: PortRange
    reserved: int
    listening: int
    usable: int
    reuse: Reuse
    bound: Bound | None
    bound_unknown: str
    groups: tuple[Usage, ...]
    group_count: int
    inbound: tuple[SocketGroup, ...]
    states: dict[TcpState, int]
    counters: dict[str, int]
    interrupted: bool
    sources: tuple[SourceUsage, ...] = ()
    udp: tuple[SourceUsage, ...] | None = ()
    udp_unknown: str = ""
    devices: tuple[DeviceSockets, ...] = ()

    @property
    def limited_sources(self) -> tuple[SourceUsage, ...]:
        """The sources, of both transports, whose ports are known to be a limit."""
        return tuple(one for one in (*self.sources, *(self.udp or ())) if one.is_limit)


class Watcher:
    """Takes snapshots of the network namespace in which it was created.

    ends, pid: selection of groups. With a pid, groups in which that process has a socket: `in_use` counts its own
    sockets only, but TIME-WAIT belongs to no process and is counted for all, and the capacity is shared: a port used
    by another process is not free. inbound: list accepted connections too. clock: seconds.

    Raises: HostError if the kernel does not list sockets.
    """

    def __init__(
        self,
        ends: GroupFilter | None = None,
        *,
        pid: int = 0,
        inbound: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ends, self._pid, self._inbound, self._clock = ends or GroupFilter(), pid, inbound, clock
        self._reader = Reader()
        self._began_s = clock()
        self._scans = _Scans(self._reader, clock)
        self._histories = _Histories()
        self._counters: dict[str, int] = {}

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def snapshot(self) -> Snapshot:
        """Take a snapshot; the next may be taken after one that failed.

        Raises: HostError, see Reader.dump(); for an unreadable setting; or if `pid` has exited. OSError of /proc.
        """
        now = self._clock()
        dump = self._reader.dump(TUPLES | mask(TcpState.LISTEN))
        sockets, begun = dump.sockets, outbound(dump.sockets)
        outgoing, table = selected(begun, ~devices.tied(begun)), devices.known(sockets)
        ports, reserved = sysctl.port_range(), sysctl.reserved_ports()
        listeners = sockets[(sockets["state"] == TcpState.LISTEN) & ~devices.elsewhere(sockets, table)]
        listening = set(listeners["source_port"].tolist())
        self._scans.refresh(outgoing, Space.of(ports, reserved, ()).offered)
        bound = self._scans.bound
        space = Space.of(ports, reserved, listening.union(bound.ports if bound else ()))
        reuse = Reuse(_setting("net.ipv4.tcp_tw_reuse"), _setting("net.ipv4.tcp_timestamps") != 0)
        own = owners.inodes_of(self._pid) if self._pid else None
        counters = self._changes()
        # Nothing that may fail comes after this: a snapshot that is not taken must leave no trace in the histories.
        groups = self._capacities(outgoing, space, own)
        self._histories.begin(now, complete=len(groups) <= FOLLOWED)
        by_source = sources.tcp(outgoing, self._scans.bound_sockets, listeners, space.offered, self._scans.owners)
        if not self._ends.any_destination:
            with_groups = {sockets_of.source for sockets_of, _ in groups}
            by_source = [one for one in by_source if one.source in with_groups]
        udp, udp_unknown = self._udp(space.offered, own)
        return Snapshot(
            at=wall_clock().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            t_s=round(now - self._began_s, 3),
            ports=ports,
            reserved=sum(ports.low <= port <= ports.high for port in reserved),
            listening=sum(bool(space.offered[port]) for port in listening),
            usable=space.usable,
            reuse=reuse,
            bound=bound,
            bound_unknown=self._scans.bound_unknown,
            groups=tuple(self._usage(sockets_of, capacity, reuse) for sockets_of, capacity in groups[:FOLLOWED]),
            group_count=len(groups),
            inbound=tuple(self._selected(_incoming(sockets, begun), own)) if self._inbound else (),
            states=count_states(sockets),
            counters=counters,
            interrupted=dump.interrupted,
            sources=self._with_growth(by_source, outgoing, own),
            udp=udp,
            udp_unknown=udp_unknown,
            devices=devices.counted(begun, table),
        )

    def has_lost_its_process(self) -> bool:
        """Return True if there was a process to watch, and it has exited."""
        return bool(self._pid) and not os.path.exists(f"/proc/{self._pid}")

    def _udp(self, offered: Ports, own: Inodes | None) -> tuple[tuple[SourceUsage, ...] | None, str]:
        """Return the account of UDP, or None and the reason; with a destination selected there is neither."""
        if not self._ends.any_destination:
            return None, ""
        try:
            connected = self._reader.dump(mask(TcpState.ESTABLISHED), protocol=IPPROTO_UDP).sockets
            others = _with_only_six(self._reader, mask(TcpState.CLOSE), IPPROTO_UDP)
        except HostError as error:
            return None, str(error)
        held = sources.joined(BoundSockets(connected, np.zeros(connected.size, np.bool_)), others)
        return self._with_growth(sources.udp(held, offered, self._scans.owners), held.sockets, own), ""

    def _with_growth(
        self, rows: Sequence[SourceUsage], sockets: Sockets, own: Inodes | None
    ) -> tuple[SourceUsage, ...]:
        """Return the selected rows with their growth. own: as in `_selected`."""
        if own is not None:
            with_own = set(group_sources(sockets[np.isin(sockets["inode"], own)])[0])
            rows = [row for row in rows if row.source in with_own]
        found = []
        for row in rows:
            if self._ends.include_source(row.source):
                growth = self._histories.growth((row.source, row.transport, 0), row.capacity.used)
                left_s = exhausts_in_s(row.capacity.free, growth)
                found.append(replace(row, growth_per_s=growth, exhausts_in_s=left_s))
        return tuple(found)

    def _capacities(self, sockets: Sockets, space: Space, own: Inodes | None) -> list[tuple[SocketGroup, Capacity]]:
        """Return the selected groups with their capacities, the fullest first."""
        used = _ports_used(sockets[space.offered[sockets["source_port"]]])
        blocked = _ports_used(sockets[space.blocked[sockets["source_port"]]])
        groups = [
            (selected, space.capacity(used.get(group_key(selected), 0), blocked.get(group_key(selected), 0)))
            for selected in self._selected(sockets, own)
        ]
        return sorted(groups, key=lambda pair: (-pair[1].share, -pair[1].used, group_key(pair[0])))

    def _selected(self, sockets: Sockets, own: Inodes | None) -> list[SocketGroup]:
        """Return the selected groups. own: sockets of the selected process; None: of all processes."""
        if own is None:
            groups = group(sockets)
        else:
            owned = np.isin(sockets["inode"], own)
            keys = {group_key(of_process) for of_process in group(sockets[owned])}
            with_time_wait = group(sockets[owned | (sockets["state"] == TcpState.TIME_WAIT)])
            groups = [candidate for candidate in with_time_wait if group_key(candidate) in keys]
        return [candidate for candidate in groups if self._ends.include(*group_key(candidate))]

    def _usage(self, sockets: SocketGroup, capacity: Capacity, reuse: Reuse) -> Usage:
        reused = reuse.applies(sockets.source, sockets.destination)
        # Reusable TIME-WAIT blocks no new connection, so changes in its number are not growth.
        reusable = min(sockets.time_wait, capacity.used) if reused else 0
        growth = self._histories.growth(group_key(sockets), capacity.used - reusable)
        return Usage(
            sockets.source,
            sockets.destination,
            sockets.destination_port,
            sockets.states,
            sockets.source_ports,
            capacity,
            reused,
            growth,
            exhausts_in_s(capacity.free + reusable, growth),
            self._scans.owned.get(group_key(sockets)),
        )

    def _changes(self) -> dict[str, int]:
        """Return the changes of the counters since the previous snapshot; {} for the first."""
        before, self._counters = self._counters, snmp.read(_PROC_NET)
        changes = snmp.delta(before, self._counters) if before else {}
        return {name: change for name, change in changes.items() if name.startswith(_COUNTED) and name != _GAUGE}


class _Scans:
    """Scans too expensive for every snapshot: bound sockets, and owners."""

    def __init__(self, reader: Reader, clock: Callable[[], float]) -> None:
        self._reader, self._clock = reader, clock
        self._due_s = clock()
        self.bound: Bound | None = None
        self.bound_unknown = ""
        self.bound_sockets = BoundSockets(_NONE, np.empty(0, np.bool_))
        self.owned: dict[Key, Ownership] = {}
        self.owners: SocketOwners | None = None

    def refresh(self, outgoing: Sockets, offered: Ports) -> None:
        """Scan again if it is due."""
        began_s = self._clock()
        if began_s < self._due_s:
            return
        self.owners = owners.scan(_SCAN_LIMIT_S, self._clock)
        self.owned = owners.by_group(outgoing, self.owners)
        try:
            self.bound, self.bound_unknown = self._bound(self.owners, offered), ""
        except HostError as error:
            self.bound, self.bound_unknown = None, str(error)
        ended_s = self._clock()
        self._due_s = ended_s + (ended_s - began_s) / _SCAN_SHARE

    def _bound(self, socket_owners: SocketOwners, offered: Ports) -> Bound:
        if not lists_bound():
            raise HostError("this kernel does not list bound, unconnected sockets; Linux 6.8 does")
        held = _with_only_six(self._reader, mask(TcpState.BOUND), IPPROTO_TCP)
        keep = ~devices.elsewhere(held.sockets, devices.known(held.sockets))
        self.bound_sockets = BoundSockets(selected(held.sockets, keep), held.only_six[keep])
        sockets = self.bound_sockets.sockets
        blocking = sockets[offered[sockets["source_port"]]]
        ports = tuple(np.unique(blocking["source_port"]).tolist())
        return Bound(blocking.size, ports, owners.of_all(blocking, socket_owners))


def _with_only_six(reader: Reader, states: int, protocol: int) -> BoundSockets:
    """List sockets that are not connected, with their IPV6_V6ONLY, which the kernel tells of such sockets alone."""
    four = reader.dump(states, protocol=protocol, families=(AF_INET,)).sockets
    six = reader.dump(states, protocol=protocol, families=(AF_INET6,), extensions=Extension.TOS)
    only_six = [attributes.get(_SKV6ONLY, b"\0") != b"\0" for attributes in six.attributes]
    return BoundSockets(np.concatenate([four, six.sockets]), np.array([False] * four.size + only_six, np.bool_))


class _Histories:
    """The used ports of each group in the last snapshots."""

    def __init__(self) -> None:
        self._before: dict[Key, deque[tuple[float, int]]] = {}
        self._current: dict[Key, deque[tuple[float, int]]] = {}
        self._before_s: float | None = None
        self._now = 0.0
        self._complete = False
        self._begun = False

    def begin(self, now: float, *, complete: bool) -> None:
        """Begin a new snapshot. complete: `growth` will be called for every group."""
        # A group without a history had no used port in the previous snapshot, if that one was complete.
        self._before_s = self._now if self._begun and self._complete else None
        self._before, self._current = self._current, {}
        self._now, self._complete, self._begun = now, complete, True

    def growth(self, key: Key, used: int) -> float | None:
        """Record the group's used ports and return their growth per second."""
        history = self._before.get(key)
        if history is None:
            history = deque([] if self._before_s is None else [(self._before_s, 0)], GROWTH_SNAPSHOTS)
        history.append((self._now, used))
        self._current[key] = history
        return growth_per_s(history)


def _ports_used(sockets: Sockets) -> dict[Key, int]:
    return {group_key(in_use): in_use.source_ports for in_use in group(sockets)}


def _incoming(sockets: Sockets, outgoing: Sockets) -> Sockets:
    """Return the accepted connections as the client sees them: source is the client's end."""
    accepted = sockets[~np.isin(sockets["cookie"], outgoing["cookie"]) & (sockets["state"] != TcpState.LISTEN)]
    swapped: Sockets = accepted.copy()
    for end, other in (("source", "destination"), ("destination", "source")):
        swapped[end], swapped[f"{end}_port"] = accepted[other], accepted[f"{other}_port"]
    return swapped


def _setting(name: str) -> int:
    """Return a numeric sysctl; 0 on a kernel without it."""
    return int(sysctl.read(name) or 0)
