"""From which occupancy on a connection costs more: a step in `cost_us` that is no noise.

Past a share of the range (`cliff_at` of a strategy) the kernel's search for a source port walks through taken ports for
each connection, and CPU time per connection rises at once by a factor of ten or more. Pure arithmetic on tenths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from loadgen.results.block import TENTHS

#: Twice is within what a neighbour on the same core does to the caches; the search makes it ten to a hundred times.
RISE_FACTOR: Final = 4.0
#: Batches of other sizes, a colder cache, work of the event loop between batches: all of these cost a connection some
#: microseconds more or less, which is four times of a small cost, but below this.
RISE_US_MIN: Final = 20.0
#: Tenths before a rise: one alone is no level to compare with, and has the first use of everything in it.
_BEFORE_MIN: Final = 2
#: A step at a place known beforehand may be this small: a busy neighbour makes every tenth dearer, not only those
#: behind the place.
STEP_FACTOR: Final = 1.3
#: Tenths on each side of the place. Where every tenth behind it is dearer than every one before it, chance does that
#: in one of 120 runs at most: 10 over 3.
_STEP_SIDE_MIN: Final = 3


@dataclass(frozen=True, slots=True)
class Rise:
    """A rise that lasts to the end. tenth: the first that is dearer, from 0; us: medians before and from there on."""

    tenth: int
    before_us: float
    after_us: float

    @property
    def occupancy(self) -> float:
        """The share from which on connections are dearer: where the tenth begins."""
        return self.tenth / TENTHS


@dataclass(frozen=True, slots=True)
class Step:
    """A place with dearer tenths behind it. us: medians of both sides; clear: the sides do not overlap."""

    before_us: float
    after_us: float
    clear: bool


def step(cost_us: Sequence[float], place: float) -> Step | None:
    """Return the step of the cost at a place that is known beforehand, None where there is none or too little is known.

    cost_us: as for rise(); place: in tenths, 0 to 10. The tenth that the place divides counts on neither side.
    """
    before, after = cost_us[: math.floor(place)], cost_us[math.ceil(place) :]
    if min(len(before), len(after)) < _STEP_SIDE_MIN:
        return None
    before_us, after_us = median(before), median(after)
    if after_us < max(STEP_FACTOR * before_us, before_us + RISE_US_MIN):
        return None
    return Step(before_us, after_us, clear=min(after) > max(before))


def rise(cost_us: Sequence[float], *, lasting: int = 2, factor: float = RISE_FACTOR) -> Rise | None:
    """Return where the cost rises, None where it does not.

    cost_us: CPU time per connection in microseconds, in each tenth of the connections or of the ports in use, as far as
    known. lasting: tenths that have to be dearer at least. Of connections that are held one is not enough, because any
    tenth may be disturbed; in churn it is, where occupancy settles in that tenth and most of the run is spent there.

    The rise is at least `factor` times the median of the tenths before it and RISE_US_MIN above it. It lasts to the
    end, but for one tenth, which is neither among the first two nor the last; so one disturbed tenth makes no rise, nor
    does it hide one.
    """
    for tenth in range(_BEFORE_MIN, len(cost_us) - lasting + 1):
        before_us, after = median(cost_us[:tenth]), cost_us[tenth:]
        least_us = max(factor * before_us, before_us + RISE_US_MIN)
        below = [place for place, cost in enumerate(after) if cost < least_us]
        if not below or (len(below) == 1 and 2 <= below[0] < len(after) - 1):
            return Rise(tenth, before_us, median(after))
    return None
