"""The occupancy from which on a connection costs much more than before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

_TIMES: Final = 4
_FLOOR_US: Final = 20.0


class Rise(NamedTuple):
    """tenth: from which on the cost is high. before_us, after_us: CPU time of a connection before and from then on."""

    tenth: int
    before_us: float
    after_us: float


def rise(cost_us: Sequence[float]) -> Rise | None:
    """Return the tenth from which on to the end a connection costs at least four times the median before it."""
    for tenth in range(1, len(cost_us)):
        before_us, after_us = median(cost_us[:tenth]), median(cost_us[tenth:])
        if min(cost_us[tenth:]) >= max(_TIMES * before_us, before_us + _FLOOR_US):
            return Rise(tenth, before_us, after_us)
    return None
