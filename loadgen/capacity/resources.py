"""One resource of a plan: what is asked of it, what there is, and how far that goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadgen.errors import CapacityError

#: More connections than any plan can have; where the search for the last that fits may stop.
_BEYOND: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a plan is refused: the resource by name, its numbers, and the change that mends it.

    excusable: whether a run can be made all the same, because attempts beyond it fail and nothing else happens.
    """

    resource: str
    needed: int
    available: int
    remedy: str
    excusable: bool = False

    @property
    def error(self) -> CapacityError:
        """The same as the error of a run."""
        return CapacityError(self.resource, needed=self.needed, available=self.available, remedy=self.remedy)


@dataclass(frozen=True, slots=True)
class Resource:
    """One line of an assessment.

    limit: what a run that met it would have as its verdict (a key of metrics.verdict.LIMITS).
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
