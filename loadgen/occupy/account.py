"""Ports that automatic choice has left, and which ones to take or to give back: arithmetic, no kernel.

    left = ip_local_port_range - ip_local_reserved_ports - taken by other programs - held by loadgen

Automatic choice takes the ports of one parity first, for connect() that of the low end; and of a range with an odd
number of ports each search passes over one port of that parity (docs/facts.md, 1.3, 1.10). So the ports that are left
are those of the other parity, as far as there are any: every search finds them, and they are the ones that clients
leave when they fill the range by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadgen.watch.space import Ports

_PORTS = 65_536


def ports_mask(ports: Iterable[int] = ()) -> Ports:
    """Return a boolean for each port from 0 to 65535, True for these."""
    mask = np.zeros(_PORTS, np.bool_)
    mask[list(ports)] = True
    return mask


@dataclass(frozen=True, slots=True)
class PortBalance:
    """The ports of one namespace, as the chosen way sees them.

    low: the lower end of the range. offered: the range without its reserved ports. others: ports that automatic choice
    does not give out because of another program. ours: ports that loadgen holds. doubtful: ports that have sockets
    which may be in the way or not; these are taken first, so that others are left.
    """

    low: int
    offered: Ports
    others: Ports
    ours: Ports
    doubtful: Ports

    @property
    def free(self) -> Ports:
        """Ports that automatic choice may give to a new socket."""
        return self.offered & ~self.others & ~self.ours

    @property
    def left(self) -> int:
        """Number of free ports."""
        return int(self.free.sum())

    def to_take(self, leave: int, resting: Ports) -> list[int]:
        """Return the ports to take so that `leave` are left. resting: not to be tried now, though free."""
        candidates = self._ordered(self.free & ~resting)
        return candidates[: max(self.left - leave, 0)]

    def to_release(self, leave: int) -> list[int]:
        """Return the ports to give back so that `leave` are left, as far as loadgen holds any."""
        held = self._ordered(self.ours & self.offered & ~self.others)
        missing = max(leave - self.left, 0)
        return held[::-1][:missing]

    def _ordered(self, ports: Ports) -> list[int]:
        """Return the ports in the order in which they are taken: doubtful ones, then the parity of the low end."""
        numbers = np.flatnonzero(ports)
        ordered: list[int] = numbers[np.lexsort([numbers, (numbers - self.low) % 2, ~self.doubtful[numbers]])].tolist()
        return ordered


def shared_out(ports: Sequence[int], rooms: Sequence[int]) -> list[list[int]]:
    """Return the part of each process, in order: as many ports as it has room for, until none is left.

    rooms: sockets that each process may still open.

    Raises: ValueError if they have less room together.
    """
    if len(ports) > sum(rooms):
        raise ValueError(f"{len(ports)} ports for room of {sum(rooms)}")
    parts, begin = [], 0
    for room in rooms:
        parts.append(list(ports[begin : begin + room]))
        begin += len(parts[-1])
    return parts


def processes_for(ports: int, each: int) -> int:
    """Return the number of processes that hold this number of ports; each: sockets that one may open, at least 1."""
    return -(-ports // each)
