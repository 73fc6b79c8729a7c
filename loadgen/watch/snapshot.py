"""Snapshots of a network namespace: its sockets in groups, joined with settings, owners and earlier snapshots.

A `Watcher` keeps the state needed to compare; a `Snapshot` is plain and frozen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadgen.clock import wall_clock
from loadgen.errors import HostError
from loadgen.kernel import snmp, sysctl
from loadgen.kernel.groups import SocketGroup, group, outbound
from loadgen.kernel.sockdiag import TUPLES, Reader, Sockets, TcpState, count_states, lists_bound, mask
from loadgen.model import PortRange
from loadgen.watch import owners
from loadgen.watch.filters import GroupFilter
from loadgen.watch.owners import Inodes, Key, Ownership, SocketOwners, group_key
from loadgen.watch.space import Capacity, Ports, Reuse, Space, exhausts_in_s, growth_per_s

SCHEMA: Final = "loadgen.watch/1"
#: Groups shown by default if the output is not a terminal.
TOP: Final = 10
#: Number of snapshots used to estimate growth.
GROWTH_SNAPSHOTS: Final = 10
#: Maximum groups tracked in a namespace, the fullest ones.
FOLLOWED: Final = 1000
#: Expensive scans (bound sockets, owners) may use at most this fraction of the time.
_SCAN_SHARE: Final = 1 / 50
_SCAN_LIMIT_S: Final = 1.0
#: Maximum ports of bound sockets, and processes of a group, listed in JSON.
_PORTS_NAMED: Final = 100
_OWNERS_NAMED: Final = 10
#: Of this thread: the main thread may be in another namespace (proc(5)).
_PROC_NET: Final = Path("/proc/thread-self/net")
_COUNTED: Final = ("Tcp.", "TcpExt.")
#: A gauge (RFC 4022); the states are more precise.
_GAUGE: Final = "Tcp.CurrEstab"


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
    inbound: by client address, listening address and port, if requested; largest first.
    states: all sockets of the namespace. counters: changes of Tcp and TcpExt since the previous snapshot.
    interrupted: the kernel changed its tables meanwhile, so a socket may be missing or counted twice.
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
        """Take a snapshot. Raises: HostError, see Reader.dump(); for an unreadable setting; or if `pid` has exited."""
        now = self._clock()
        dump = self._reader.dump(TUPLES | mask(TcpState.LISTEN))
        sockets, outgoing = dump.sockets, outbound(dump.sockets)
        ports, reserved = sysctl.port_range(), sysctl.reserved_ports()
        listening = set(sockets["source_port"][sockets["state"] == TcpState.LISTEN].tolist())
        self._scans.refresh(outgoing, Space.of(ports, reserved, ()).offered)
        bound = self._scans.bound
        space = Space.of(ports, reserved, listening.union(bound.ports if bound else ()))
        reuse = Reuse(_setting("net.ipv4.tcp_tw_reuse"), _setting("net.ipv4.tcp_timestamps") != 0)
        own = owners.inodes_of(self._pid) if self._pid else None
        groups = self._capacities(outgoing, space, own)
        self._histories.begin(now, complete=len(groups) <= FOLLOWED)
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
            inbound=tuple(self._selected(_incoming(sockets, outgoing), own)) if self._inbound else (),
            states=count_states(sockets),
            counters=self._changes(),
            interrupted=dump.interrupted,
        )

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
        self.owned: dict[Key, Ownership] = {}

    def refresh(self, outgoing: Sockets, offered: Ports) -> None:
        """Scan again if it is due."""
        began_s = self._clock()
        if began_s < self._due_s:
            return
        socket_owners = owners.scan(_SCAN_LIMIT_S, self._clock)
        self.owned = owners.by_group(outgoing, socket_owners)
        try:
            self.bound, self.bound_unknown = self._bound(socket_owners, offered), ""
        except HostError as error:
            self.bound, self.bound_unknown = None, str(error)
        ended_s = self._clock()
        self._due_s = ended_s + (ended_s - began_s) / _SCAN_SHARE

    def _bound(self, socket_owners: SocketOwners, offered: Ports) -> Bound:
        if not lists_bound():
            raise HostError("this kernel does not list bound, unconnected sockets; Linux 6.8 does")
        sockets = self._reader.dump(mask(TcpState.BOUND)).sockets
        blocking = sockets[offered[sockets["source_port"]]]
        ports = tuple(np.unique(blocking["source_port"]).tolist())
        return Bound(blocking.size, ports, owners.of_all(blocking, socket_owners))


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


def as_json(snapshot: Snapshot, top: int) -> Mapping[str, Any]:
    """Return plain values, with at most `top` groups; docs/watch.md describes the keys."""
    return {
        "schema": SCHEMA,
        "at": snapshot.at,
        "t_s": snapshot.t_s,
        "ports": {
            "low": snapshot.ports.low,
            "high": snapshot.ports.high,
            "reserved": snapshot.reserved,
            "listening": snapshot.listening,
            "usable": snapshot.usable,
        },
        "tcp_tw_reuse": snapshot.reuse.setting,
        "states": _named(snapshot.states),
        "group_count": snapshot.group_count,
        "groups": [_usage_json(usage) for usage in snapshot.groups[:top]],
        "inbound": [
            {
                "source": sockets.source,
                "destination": sockets.destination,
                "destination_port": sockets.destination_port,
                "in_use": sockets.in_use,
                "time_wait": sockets.time_wait,
                "states": _named(sockets.states),
            }
            for sockets in snapshot.inbound[:top]
        ],
        "bound": {
            "sockets": snapshot.bound.sockets,
            "ports": list(snapshot.bound.ports[:_PORTS_NAMED]),
            "owners": _owned_json(snapshot.bound.owned),
        }
        if snapshot.bound
        else {"unknown": snapshot.bound_unknown},
        "counters": snapshot.counters,
        "interrupted": snapshot.interrupted,
    }


def _usage_json(usage: Usage) -> Mapping[str, Any]:
    return {
        "source": usage.source,
        "destination": usage.destination,
        "destination_port": usage.destination_port,
        "in_use": usage.in_use,
        "time_wait": usage.time_wait,
        "time_wait_reused": usage.reused,
        "states": _named(usage.states),
        "used": usage.capacity.used,
        "usable": usage.capacity.usable,
        "free": usage.capacity.free,
        "used_share": round(usage.capacity.share, 6),
        "growth_per_s": usage.growth_per_s,
        "exhausts_in_s": usage.exhausts_in_s,
        "owners": None if usage.owned is None else _owned_json(usage.owned),
    }


def _owned_json(owned: Ownership) -> Mapping[str, Any]:
    return {
        "processes": [asdict(owner) for owner in owned.owners[:_OWNERS_NAMED]],
        "unknown": owned.unknown,
        "unknown_because": owned.reason,
    }


def _named(states: Mapping[TcpState, int]) -> dict[str, int]:
    return {state.name: count for state, count in states.items()}


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
