"""One resource of a plan: the demand, the supply, and the connections that it allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Names of lines that the remedies tell apart.
PROCESS_DESCRIPTORS: Final = "descriptors per process"
WORKER_DESCRIPTORS: Final = "descriptors per worker"
SINK_DESCRIPTORS: Final = "descriptors per sink"
HOST_DESCRIPTORS: Final = "descriptors of the host"
LINK_DESCRIPTORS: Final = "descriptors of loadgen"
WORKER_PORTS: Final = "source ports for workers"
MEMORY: Final = "memory, bytes"
TIME_WAIT_PORTS: Final = "ports in TIME-WAIT"
PORT_SEARCH: Final = "ports found quickly"
TRACKING: Final = "connection tracking"
NEIGHBOURS: Final = "neighbour entries"
NEIGHBOURS_OF_IPV6: Final = "neighbour entries of IPv6"
NAT_PORTS: Final = "ports of the NAT"

#: More connections than any plan can have; where the search for the last that fits may stop.
_BEYOND: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Shortage:
    """The reason for which a plan is refused: the resource by name, and its numbers.

    excusable: a run is possible all the same, because attempts beyond the limit fail and nothing else happens.
    """

    resource: str
    needed: int
    available: int
    excusable: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """One line of an assessment.

    limit: the verdict of a run that meets it (a key of `limits.EVERY_LIMIT`). needed: None where it is not known
    before the run. at: number of connections that it allows; None: it stops no connection, or more processes make up
    for it. shortage: the reason to refuse a run. slack: connections that may open beyond `at`, because the arithmetic
    keeps a reserve. per_s: connections per second that it allows for ever, in churn. resting: ports that are missing
    because they are in TIME-WAIT.
    """

    name: str
    limit: str
    needed: int | None
    available: int
    at: int | None = None
    note: str = ""
    shortage: Shortage | None = None
    slack: int = 0
    per_s: float | None = None
    resting: int = 0

    @property
    def short(self) -> bool:
        """True if the plan needs more than there is."""
        beyond = self.needed is not None and self.needed > self.available
        return self.shortage is not None or (self.at is not None and beyond)

    @property
    def share(self) -> float | None:
        """The needed part of what is available; None where one of the two is unknown or nothing is available."""
        return self.needed / self.available if self.needed is not None and self.available > 0 else None


def most(cost: Callable[[int], int], available: int) -> int:
    """Return the largest number whose cost is not above `available`; 0 where even 1 costs more.

    cost: non-decreasing.
    """
    low, high = 0, _BEYOND
    while low < high:
        middle = (low + high + 1) // 2
        if cost(middle) <= available:
            low = middle
        else:
            high = middle - 1
    return low
