"""The quantiles of a latency, as a summary has them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_US
from loadgen.results import histogram
from loadgen.results.schema.run import Quantiles

_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def quantiles_of(counts: NDArray[np.int64]) -> Quantiles:
    """Return the quantiles of a histogram of nanoseconds, int64 (BUCKETS,), in microseconds."""
    return Quantiles(
        **{name: round(histogram.quantile_ns(counts, q) / NS_PER_US, 1) for name, q in _SHARES.items()},
        max=round(histogram.max_ns(counts) / NS_PER_US, 1),
        count=int(counts.sum()),
    )
