"""Free ephemeral ports and the time until they are exhausted: arithmetic, no kernel.

Usable ports of a group (one source address, one destination address and port) are those that the kernel may give to a
new connection without an explicit source port, by connect() alone or by bind() without a port (late bind):

    usable = ip_local_port_range
             - ip_local_reserved_ports             (docs/facts.md, 1.7)
             - ports of listeners                  (4.2: on any address, of IPv4 and IPv6 alike, 4.6)
             - ports of bound, unconnected sockets (4.2, 4.6; the ones that ss does not show, 10.4)

A blocked port on which the group nevertheless has a connection counts as usable and used: the client chose it
explicitly, or bound it early. Used are the ports of the range on which the group has a four-tuple in any state,
TIME-WAIT included; free is the rest.

Limitations:

- A connected socket that bound its port early or by number blocks it for every other automatic choice, too (4.1, 4.5),
  and the kernel does not report which sockets those are. So `free` is an upper bound.
- For a client that binds early, bind(address, 0), all destinations of a source share one range (2.1): add them up.
- connect() alone may leave the last port of an odd number of them unused (1.10).
- A TIME-WAIT that tcp_tw_reuse releases (5.5, 5.6) is used, although automatic choice takes it over after
  tcp_tw_reuse_delay. `Reuse` tells which ones; the estimate of exhaustion treats them as free.
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

#: A boolean for each port from 0 to 65535.
Ports: TypeAlias = npt.NDArray[np.bool_]
_PORTS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Space:
    """The ports of one network namespace.

    offered: the range without the reserved ports. blocked: ports of `offered` that automatic choice skips.
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
        """Number of ports usable by a group that uses none yet."""
        return int(self.offered.sum()) - int(self.blocked.sum())

    def capacity(self, used: int, used_blocked: int) -> Capacity:
        """Return the capacity of a group.

        used: offered ports that it uses. used_blocked: of these, ports that are blocked for other groups.
        """
        return Capacity(used, self.usable + used_blocked)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Used and usable ports of a group."""

    used: int
    usable: int

    @property
    def free(self) -> int:
        """Usable ports that are not used."""
        return self.usable - self.used

    @property
    def share(self) -> float:
        """Used of usable, 0 to 1; 1 if no port is usable."""
        return self.used / self.usable if self.usable else 1.0


@dataclass(frozen=True, slots=True)
class Reuse:
    """Selects the TIME-WAIT sockets that automatic choice takes over, docs/facts.md 5.4 to 5.7 and 5.10.

    setting: tcp_tw_reuse. timestamps: tcp_timestamps; without them nothing is reused.
    """

    setting: int
    timestamps: bool

    def applies(self, source: str, destination: str) -> bool:
        """Return True for connections between these addresses; setting 2 covers loopback only (tcp_twsk_unique())."""
        if self.setting == 2:
            ends = (ipaddress.ip_address(source), ipaddress.ip_address(destination))
            return self.timestamps and any(end.is_loopback for end in ends)
        return self.timestamps and self.setting == 1


def growth_per_s(history: Sequence[tuple[float, int]]) -> float | None:
    """Return the growth of a count, from (seconds, count) of several snapshots; None before the second.

    The median of the slopes between any two snapshots (Theil and Sen): up to a quarter of the snapshots may be far
    off, such as one taken while the kernel moved sockets in its tables, without a change of the result.
    """
    slopes = [
        (later - earlier) / (to_s - from_s)
        for (from_s, earlier), (to_s, later) in combinations(history, 2)
        if to_s > from_s
    ]
    return statistics.median(slopes) if slopes else None


def exhausts_in_s(left: int, growth: float | None) -> float | None:
    """Return the seconds until `left` ports are used up; 0: already; None: never at this growth, or unknown."""
    if left <= 0:
        return 0.0
    return left / growth if growth is not None and growth > 0 else None
