"""One look at a network namespace: its sockets read and grouped, joined with settings, owners and the looks before.

A `Watcher` keeps what it takes to compare; what it sees is a `Look`, plain and frozen.
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
from loadgen.watch.filters import Ends
from loadgen.watch.owners import Holdings, Inodes, Key, Owned, key_of
from loadgen.watch.space import Ports, Reuse, Room, Space, exhausts_in_s, growth_per_s

SCHEMA: Final = "loadgen.watch/1"
#: Where nobody says how many groups to show, and no terminal does.
TOP: Final = 10
#: Growth is that of so many looks.
LOOKS: Final = 10
#: Of the groups of a namespace, so many are followed, the fullest ones.
FOLLOWED: Final = 1000
#: What costs much (bound sockets, owners) is done so seldom that it takes this share of the time.
_RARE_SHARE: Final = 1 / 50
_SCAN_LIMIT_S: Final = 1.0
#: Of the ports of bound sockets and the processes of a group, so many are named in JSON.
_PORTS_NAMED: Final = 100
_OWNERS_NAMED: Final = 10
#: That of this thread: the main thread may live in another namespace (proc(5)).
_PROC_NET: Final = Path("/proc/thread-self/net")
_COUNTED: Final = ("Tcp.", "TcpExt.")
#: Goes up and down (RFC 4022), and the states say it better.
_GAUGE: Final = "Tcp.CurrEstab"


@dataclass(frozen=True, slots=True)
class Filling:
    """How full one group is: a source address, a destination address and port.

    states: its four-tuples. room: as `space` has it.
    reused: whether automatic choice takes over what rests in TIME-WAIT.
    growth_per_s: of the used ports, or where `reused`, of those not in TIME-WAIT; None until it is known.
    exhausts_in_s: as things go; 0: no port is left; None: not, or not known.
    owned: whose sockets they are, as of a look not long ago; None: not looked at yet.
    """

    source: str
    destination: str
    destination_port: int
    states: dict[TcpState, int]
    room: Room
    reused: bool
    growth_per_s: float | None
    exhausts_in_s: float | None
    owned: Owned | None

    @property
    def time_wait(self) -> int:
        """Closed, and still holding their four-tuple."""
        return self.states.get(TcpState.TIME_WAIT, 0)

    @property
    def in_use(self) -> int:
        """All others."""
        return sum(self.states.values()) - self.time_wait


@dataclass(frozen=True, slots=True)
class Bound:
    """Bound, unconnected sockets on ports of the range: each closes its port. ports: rising, each once."""

    sockets: int
    ports: tuple[int, ...]
    owned: Owned


@dataclass(frozen=True, slots=True)
class Look:
    """What there was to see.

    at: UTC. t_s: since the first look. ports, reserved: ip_local_port_range, and how many of it are reserved.
    listening: how many of the others have a listener. usable: by a group that has no connection yet.
    bound: as of a look not long ago; None where it is not known, and `bound_unknown` says why.
    groups: outbound, the fullest first. group_count: how many there are, also those beyond `FOLLOWED`.
    inbound: by client address, listening address and port, if asked for; largest first.
    states: all sockets of the namespace. counters: what moved since the look before, Tcp and TcpExt.
    interrupted: the kernel moved its tables meanwhile, so some socket may be missing or counted twice.
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
    groups: tuple[Filling, ...]
    group_count: int
    inbound: tuple[SocketGroup, ...]
    states: dict[TcpState, int]
    counters: dict[str, int]
    interrupted: bool


class Watcher:
    """Looks again and again at the network namespace in which it was made.

    ends, pid: which groups. Of a process, those in which it has a socket: `in_use` counts its own, while
    TIME-WAIT belongs to no process and is everybody's, as is the room: a port that another one has is taken.
    inbound: whether to list what came in, too. clock: seconds.

    Raises: HostError when the kernel has no such sockets to ask.
    """

    def __init__(
        self,
        ends: Ends | None = None,
        *,
        pid: int = 0,
        inbound: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ends, self._pid, self._inbound, self._clock = ends or Ends(), pid, inbound, clock
        self._reader = Reader()
        self._began_s = clock()
        self._rare = _Rare(self._reader, clock)
        self._histories = _Histories()
        self._counters: dict[str, int] = {}

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def look(self) -> Look:
        """One look. Raises: HostError as Reader.dump(), for a setting that cannot be read, or when `pid` is gone."""
        now = self._clock()
        dump = self._reader.dump(TUPLES | mask(TcpState.LISTEN))
        sockets, going_out = dump.sockets, outbound(dump.sockets)
        ports, reserved = sysctl.port_range(), sysctl.reserved_ports()
        listening = set(sockets["source_port"][sockets["state"] == TcpState.LISTEN].tolist())
        self._rare.refresh(going_out, Space.of(ports, reserved, ()).offered)
        bound = self._rare.bound
        space = Space.of(ports, reserved, listening.union(bound.ports if bound else ()))
        reuse = Reuse(_setting("net.ipv4.tcp_tw_reuse"), _setting("net.ipv4.tcp_timestamps") != 0)
        own = owners.inodes_of(self._pid) if self._pid else None
        rooms = self._rooms(going_out, space, own)
        self._histories.begin(now, whole=len(rooms) <= FOLLOWED)
        return Look(
            at=wall_clock().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            t_s=round(now - self._began_s, 3),
            ports=ports,
            reserved=sum(ports.low <= port <= ports.high for port in reserved),
            listening=sum(bool(space.offered[port]) for port in listening),
            usable=space.usable,
            reuse=reuse,
            bound=bound,
            bound_unknown=self._rare.bound_unknown,
            groups=tuple(self._filling(found, room, reuse) for found, room in rooms[:FOLLOWED]),
            group_count=len(rooms),
            inbound=tuple(self._wanted(_came_in(sockets, going_out), own)) if self._inbound else (),
            states=count_states(sockets),
            counters=self._moved(),
            interrupted=dump.interrupted,
        )

    def _rooms(self, sockets: Sockets, space: Space, own: Inodes | None) -> list[tuple[SocketGroup, Room]]:
        """The wanted groups with their room, the fullest first."""
        used = _ports_used(sockets[space.offered[sockets["source_port"]]])
        blocked = _ports_used(sockets[space.blocked[sockets["source_port"]]])
        rooms = [
            (found, space.room(used.get(key_of(found), 0), blocked.get(key_of(found), 0)))
            for found in self._wanted(sockets, own)
        ]
        return sorted(rooms, key=lambda pair: (-pair[1].share, -pair[1].used, key_of(pair[0])))

    def _wanted(self, sockets: Sockets, own: Inodes | None) -> list[SocketGroup]:
        """The groups that were asked for. own: the sockets of the process that was asked for."""
        if own is None:
            return [found for found in group(sockets) if self._ends.include(*key_of(found))]
        its = np.isin(sockets["inode"], own)
        keys = {key_of(found) for found in group(sockets[its])}
        found_all = group(sockets[its | (sockets["state"] == TcpState.TIME_WAIT)])
        return [found for found in found_all if key_of(found) in keys and self._ends.include(*key_of(found))]

    def _filling(self, found: SocketGroup, room: Room, reuse: Reuse) -> Filling:
        reused = reuse.applies(found.source, found.destination)
        # These do not stand in the way, so their coming and going is no growth.
        resting = min(found.time_wait, room.used) if reused else 0
        growth = self._histories.growth(key_of(found), room.used - resting)
        return Filling(
            found.source,
            found.destination,
            found.destination_port,
            found.states,
            room,
            reused,
            growth,
            exhausts_in_s(room.free + resting, growth),
            self._rare.owned.get(key_of(found)),
        )

    def _moved(self) -> dict[str, int]:
        """The counters that moved since the look before; none at the first."""
        before, self._counters = self._counters, snmp.read(_PROC_NET)
        moved = snmp.delta(before, self._counters) if before else {}
        return {name: more for name, more in moved.items() if name.startswith(_COUNTED) and name != _GAUGE}


class _Rare:
    """What costs too much to be done at every look."""

    def __init__(self, reader: Reader, clock: Callable[[], float]) -> None:
        self._reader, self._clock = reader, clock
        self._due_s = clock()
        self.bound: Bound | None = None
        self.bound_unknown = ""
        self.owned: dict[Key, Owned] = {}

    def refresh(self, going_out: Sockets, offered: Ports) -> None:
        """Look at bound sockets and at owners, if it is time to."""
        began_s = self._clock()
        if began_s < self._due_s:
            return
        holdings = owners.scan(_SCAN_LIMIT_S, self._clock)
        self.owned = owners.by_group(going_out, holdings)
        try:
            self.bound, self.bound_unknown = self._bound(holdings, offered), ""
        except HostError as error:
            self.bound, self.bound_unknown = None, str(error)
        ended_s = self._clock()
        self._due_s = ended_s + (ended_s - began_s) / _RARE_SHARE

    def _bound(self, holdings: Holdings, offered: Ports) -> Bound:
        if not lists_bound():
            raise HostError("this kernel does not list bound, unconnected sockets; Linux 6.8 does")
        found = self._reader.dump(mask(TcpState.BOUND)).sockets
        blocking = found[offered[found["source_port"]]]
        ports = tuple(np.unique(blocking["source_port"]).tolist())
        return Bound(blocking.size, ports, owners.of_all(blocking, holdings))


class _Histories:
    """The used ports of each group at the last looks."""

    def __init__(self) -> None:
        self._before: dict[Key, deque[tuple[float, int]]] = {}
        self._current: dict[Key, deque[tuple[float, int]]] = {}
        self._before_s: float | None = None
        self._now = 0.0
        self._whole = False
        self._looked = False

    def begin(self, now: float, *, whole: bool) -> None:
        """A new look. whole: every group will be told of."""
        # Who is new had no port at the look before, if that one told of all.
        self._before_s = self._now if self._looked and self._whole else None
        self._before, self._current = self._current, {}
        self._now, self._whole, self._looked = now, whole, True

    def growth(self, key: Key, used: int) -> float | None:
        """Per second, after what this group has now."""
        history = self._before.get(key)
        if history is None:
            history = deque([] if self._before_s is None else [(self._before_s, 0)], LOOKS)
        history.append((self._now, used))
        self._current[key] = history
        return growth_per_s(history)


def as_json(look: Look, top: int) -> dict[str, Any]:
    """Plain values, with at most `top` groups; docs/watch.md says what each key means."""
    return {
        "schema": SCHEMA,
        "at": look.at,
        "t_s": look.t_s,
        "ports": {
            "low": look.ports.low,
            "high": look.ports.high,
            "reserved": look.reserved,
            "listening": look.listening,
            "usable": look.usable,
        },
        "tcp_tw_reuse": look.reuse.setting,
        "states": _named(look.states),
        "group_count": look.group_count,
        "groups": [_filling_json(found) for found in look.groups[:top]],
        "inbound": [
            {
                "source": found.source,
                "destination": found.destination,
                "destination_port": found.destination_port,
                "in_use": found.in_use,
                "time_wait": found.time_wait,
                "states": _named(found.states),
            }
            for found in look.inbound[:top]
        ],
        "bound": {
            "sockets": look.bound.sockets,
            "ports": list(look.bound.ports[:_PORTS_NAMED]),
            "owners": _owned_json(look.bound.owned),
        }
        if look.bound
        else {"unknown": look.bound_unknown},
        "counters": look.counters,
        "interrupted": look.interrupted,
    }


def _filling_json(found: Filling) -> dict[str, Any]:
    return {
        "source": found.source,
        "destination": found.destination,
        "destination_port": found.destination_port,
        "in_use": found.in_use,
        "time_wait": found.time_wait,
        "time_wait_reused": found.reused,
        "states": _named(found.states),
        "used": found.room.used,
        "usable": found.room.usable,
        "free": found.room.free,
        "used_share": round(found.room.share, 6),
        "growth_per_s": found.growth_per_s,
        "exhausts_in_s": found.exhausts_in_s,
        "owners": None if found.owned is None else _owned_json(found.owned),
    }


def _owned_json(owned: Owned) -> dict[str, Any]:
    return {
        "processes": [asdict(owner) for owner in owned.owners[:_OWNERS_NAMED]],
        "unknown": owned.unknown,
        "unknown_because": owned.reason,
    }


def _named(states: Mapping[TcpState, int]) -> dict[str, int]:
    return {state.name: count for state, count in states.items()}


def _ports_used(sockets: Sockets) -> dict[Key, int]:
    return {key_of(found): found.source_ports for found in group(sockets)}


def _came_in(sockets: Sockets, going_out: Sockets) -> Sockets:
    """The connections that came in, seen from their other end: source is the client."""
    rest = sockets[~np.isin(sockets["cookie"], going_out["cookie"]) & (sockets["state"] != TcpState.LISTEN)]
    seen: Sockets = rest.copy()
    for one, other in (("source", "destination"), ("destination", "source")):
        seen[one], seen[f"{one}_port"] = rest[other], rest[f"{other}_port"]
    return seen


def _setting(name: str) -> int:
    """A sysctl that is one number; 0 on a kernel without it."""
    return int(sysctl.read(name) or 0)
