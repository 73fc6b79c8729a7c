"""How full the spaces of four-tuples are, the fullest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadgen.model import Plan
from loadgen.results.schema.line import PairTally

#: Maximum rows: a terminal shows no more.
FULLEST: Final = 12


@dataclass(frozen=True, slots=True)
class SpaceUsage:
    """One space: connections that are open in it, and the most that it holds."""

    name: str
    open: int
    capacity: int

    @property
    def share(self) -> float:
        """Of its capacity, 0 to 1."""
        return min(self.open / self.capacity, 1.0) if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class Occupancy:
    """The fullest spaces, how many there are in all, and how full the emptiest is."""

    fullest: tuple[SpaceUsage, ...]
    spaces: int
    emptiest: float


class Spaces:
    """The spaces of a plan: each (source, target), or each source, or one, as the strategy shares ports or not."""

    def __init__(self, plan: Plan) -> None:
        pairs, places = plan.pairs, plan.places
        if plan.shares_ports:
            several = len(plan.targets) > 1
            named = zip(places, pairs, strict=True)
            keys = [f"{place} to {target}" if several else place for place, (_, target) in named]
        elif plan.spaces == 1 and len({source for source, _ in pairs}) > 1:
            keys = [f"{agent}: all sources" if agent else "all sources" for agent, _ in plan.owners]
        else:
            keys = list(places)
        most = dict(zip(keys, (most for _, most in plan.owners), strict=True))
        self._capacities = np.array(list(most.values()), dtype=np.int64)
        self._names = list(dict.fromkeys(keys))
        place = {name: index for index, name in enumerate(self._names)}
        self._space_of_pair = np.array([place[key] for key in keys], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def occupancy(self, pairs: Sequence[PairTally], rows_max: int = FULLEST) -> Occupancy:
        """The `rows_max` fullest of them.

        pairs: in the order of `plan.pairs`, as in a line of the series; empty where it has none.
        Spaces whose shares are the same to a thousandth keep their order, so that a list of them stays calm.
        """
        if len(pairs) != len(self._space_of_pair):
            return Occupancy((), len(self), 0.0)
        opened = np.zeros(len(self), dtype=np.int64)
        np.add.at(opened, self._space_of_pair, [pair.open for pair in pairs])
        thousandths = opened * 1000 // np.maximum(self._capacities, 1)
        order = np.argsort(-thousandths, kind="stable")
        usages = [SpaceUsage(self._names[i], int(opened[i]), int(self._capacities[i])) for i in order[:rows_max]]
        last = int(np.argmin(opened / np.maximum(self._capacities, 1)))
        return Occupancy(tuple(usages), len(self), SpaceUsage("", int(opened[last]), int(self._capacities[last])).share)
