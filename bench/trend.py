"""Whether a quantity grows: the slope of samples that have jumps and outliers in them.

Theil and Sen: the slope is the median of the slopes between all pairs of samples, so that a third of them may be far
off and change nothing. Its interval is Sen's (1968), from the distribution of Kendall's tau: it takes the samples to be
independent, which those of a process are not quite, so it is rather too narrow than too wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

#: Of a normal distribution, for 95 % on both sides together.
_Z: Final = 1.96
_S_PER_H: Final = 3600.0
#: More samples than these are thinned: their pairs would take a gigabyte.
_SAMPLES_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope per hour, and the ends of its 95 % interval; infinite where there are too few samples to say."""

    per_h: float
    low: float
    high: float

    def judged(self, limit: float) -> str:
        """Return "flat" below the limit, "grows" above it, "open" where these samples cannot tell."""
        if self.per_h >= limit and self.low > 0:
            return "grows"
        return "flat" if self.high < limit else "open"


def trend(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the trend of values over their times, which rise; with fewer than three samples it is not known."""
    step = max(math.ceil(len(times_s) / _SAMPLES_MAX), 1)
    times, found = np.asarray(times_s[::step], dtype=float), np.asarray(values[::step], dtype=float)
    count = len(times)
    if count < 3:
        return Trend(0.0, -math.inf, math.inf)
    later, earlier = np.tril_indices(count, -1)
    slopes = np.sort((found[later] - found[earlier]) / (times[later] - times[earlier])) * _S_PER_H
    reach = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = int((len(slopes) - reach) / 2), math.ceil((len(slopes) + reach) / 2)
    return Trend(
        float(np.median(slopes)),
        float(slopes[low]) if low >= 0 else -math.inf,
        float(slopes[high]) if high < len(slopes) else math.inf,
    )
