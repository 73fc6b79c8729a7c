"""One resource of a plan: what is asked of it, what there is, and how far that goes."""

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

#: More connections than any plan can have; where the search for the last that fits may stop.
_BEYOND: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a plan is refused: the resource by name, and its numbers.

    excusable: whether a run can be made all the same, because attempts beyond it fail and nothing else happens.
    """

    resource: str
    needed: int
    available: int
    excusable: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """One line of an assessment.

    limit: what a run that met it would have as its verdict (a key of `limits.EVERY_LIMIT`).
    needed: None where nobody can know before. at: so many connections can be had, the next one not; None: it ends
    nothing, or more processes make up for it. shortage: why a run is refused. slack: how many more than `at` there may
    be, where the arithmetic keeps something back.
    """

    name: str
    limit: str
    needed: int | None
    available: int
    at: int | None = None
    note: str = ""
    shortage: Shortage | None = None
    slack: int = 0

    @property
    def short(self) -> bool:
        """Whether the plan meets it."""
        beyond = self.needed is not None and self.needed > self.available
        return self.shortage is not None or (self.at is not None and beyond)

    @property
    def share(self) -> float | None:
        """What is needed as a share of what there is; None where one of the two is nothing or unknown."""
        return self.needed / self.available if self.needed is not None and self.available > 0 else None


def most(cost: Callable[[int], int], available: int) -> int:
    """The largest number whose cost is not above `available`; 0 where even that costs more.

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
