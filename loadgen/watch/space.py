"""How much of the ephemeral port range is left, and for how long: arithmetic, no kernel.

Usable are the ports that the kernel may give to a new connection of a group (one source address, one
destination address and port) whose client leaves the choice to it, by connect() alone or a late bind:

    usable = ip_local_port_range
             - ip_local_reserved_ports             (docs/facts.md, 1.7)
             - ports of listeners                  (4.2: on whatever address, of IPv4 and IPv6 alike, 4.6)
             - ports of bound, unconnected sockets (4.2, 4.6; the ones that ss does not show, 10.4)

A blocked port on which the group has a connection all the same counts as usable, and used: who named it
himself or bound early got it. Used are the ports of the range on which the group has a four-tuple in any
state, TIME-WAIT included; free is the rest.

Where this is not the whole truth:

- A connected socket that bound its port early or by number closes it to everybody's automatic choice, too (4.1,
  4.5), and the kernel tells nobody which sockets those are. So `free` is the most that there can be.
- For a client that binds early, bind(address, 0), all destinations of a source share one range (2.1): add them up.
- connect() alone may leave the last port of an odd number of them unused (1.10).
- A TIME-WAIT that tcp_tw_reuse releases (5.5, 5.6) is used, though automatic choice takes it over once it has
  rested for tcp_tw_reuse_delay. `Reuse` says which do; the estimate of exhaustion does not wait for them.
"""

from __future__ import annotations

import ipaddress
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen.model import PortRange

#: One truth for each port from 0 to 65535.
Ports: TypeAlias = npt.NDArray[np.bool_]
_PORTS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Space:
    """The ports of one network namespace.

    offered: the range without the reserved ports. blocked: those of `offered` that automatic choice passes over.
    """

    offered: Ports
    blocked: Ports

    @classmethod
    def of(cls, ports: PortRange, reserved: Iterable[int], held: Iterable[int]) -> Space:
        """held: the ports of listeners and of bound, unconnected sockets, inside the range or not."""
        offered = np.zeros(_PORTS, np.bool_)
        offered[ports.low : ports.high + 1] = True
        offered[list(reserved)] = False
        blocked = np.zeros(_PORTS, np.bool_)
        blocked[list(held)] = True
        return cls(offered, blocked & offered)

    @property
    def usable(self) -> int:
        """How many ports a group has that uses none yet."""
        return int(self.offered.sum()) - int(self.blocked.sum())

    def room(self, used: int, used_blocked: int) -> Room:
        """What a group has.

        used: how many offered ports it uses. used_blocked: how many of these are blocked to others.
        """
        return Room(used, self.usable + used_blocked)


@dataclass(frozen=True, slots=True)
class Room:
    """Of the usable ports of a group, how many it uses."""

    used: int
    usable: int

    @property
    def free(self) -> int:
        """How many are left."""
        return self.usable - self.used

    @property
    def share(self) -> float:
        """Used of usable, 0 to 1; where nothing is usable, everything is used."""
        return self.used / self.usable if self.usable else 1.0


@dataclass(frozen=True, slots=True)
class Reuse:
    """Which TIME-WAIT automatic choice takes over, docs/facts.md 5.4 to 5.7 and 5.10.

    setting: tcp_tw_reuse. timestamps: tcp_timestamps; without them nothing is reused.
    """

    setting: int
    timestamps: bool

    def applies(self, source: str, destination: str) -> bool:
        """To connections between these addresses; 2 is for loopback addresses only (tcp_twsk_unique())."""
        if self.setting == 2:
            ends = (ipaddress.ip_address(source), ipaddress.ip_address(destination))
            return self.timestamps and any(end.is_loopback for end in ends)
        return self.timestamps and self.setting == 1


def growth_per_s(history: Sequence[tuple[float, int]]) -> float | None:
    """How fast a count grows, from (seconds, count) at several looks; None before there are two.

    The median of the slopes between any two looks (Theil and Sen): up to a quarter of the looks may be
    far off, such as one that came while the kernel moved sockets about, without a change of the result.
    """
    slopes = [
        (later - earlier) / (to_s - from_s)
        for (from_s, earlier), (to_s, later) in combinations(history, 2)
        if to_s > from_s
    ]
    return statistics.median(slopes) if slopes else None


def exhausts_in_s(left: int, growth: float | None) -> float | None:
    """When `left` ports are gone at this growth per second; 0: they are; None: not as things go, or not known."""
    if left <= 0:
        return 0.0
    return left / growth if growth is not None and growth > 0 else None
