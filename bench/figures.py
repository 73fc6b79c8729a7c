"""Arithmetic on what was measured: cuts, tenths and quarters of a ramp, spreads and ratios. No clock, no process."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadgen.errors import LoadgenError

#: What follows the last connection belongs to the ramp: workers publish their CPU time ten times a second, and
#: sinks may still have a queue to accept.
SETTLE_S = 1.0


def port_slices(low: int, high: int, count: int) -> list[tuple[int, int]]:
    """Cut ports low..high (both included) into `count` neighbouring slices, equal but for one port."""
    size = high - low + 1
    edges = [low + size * index // count for index in range(count + 1)]
    return [(edges[index], edges[index + 1] - 1) for index in range(count)]


def shares(total: int, count: int) -> list[int]:
    """`total` cut into `count` whole numbers that differ by one at most."""
    return [total * (index + 1) // count - total * index // count for index in range(count)]


def merge_tenths(
    offsets_s: Sequence[float], counts: Sequence[int], tenths_s: Sequence[Sequence[float]]
) -> tuple[float, ...]:
    """The tenths of several processes together, from the tenths of each.

    offsets_s: when each process made its first attempt, seconds after the earliest (which is 0).
    counts: connections each established. Inside one tenth of one process the rate is taken as constant.

    Returns: ten durations in seconds that add up to "earliest first attempt to last established".
    """
    curves = [
        (offset + np.concatenate(([0.0], np.cumsum(tenths))), np.linspace(0, count, 11))
        for offset, count, tenths in zip(offsets_s, counts, tenths_s, strict=True)
    ]
    instants = np.unique(np.concatenate([when for when, _ in curves]))
    open_count = np.sum([np.interp(instants, when, done) for when, done in curves], axis=0)
    reached = np.interp(np.linspace(0, sum(counts), 11), open_count, instants)
    reached[0] = 0.0  # the clock starts at the first attempt, whoever made it
    return tuple(float(step) for step in np.diff(reached))


def quarter_rates(tenths_s: Sequence[float], connections: int) -> tuple[float, float, float, float]:
    """Connections per second in each quarter; a quarter that ends inside a tenth takes its part of it."""
    reached = np.interp([0, 2.5, 5, 7.5, 10], np.arange(11), np.concatenate(([0.0], np.cumsum(tenths_s))))
    q1, q2, q3, q4 = (connections / 4 / max(float(step), 1e-9) for step in np.diff(reached))
    return q1, q2, q3, q4


def tenth_rates(tenths_s: Sequence[float], connections: int) -> list[float]:
    """Connections per second in each tenth."""
    return [connections / 10 / max(tenth, 1e-9) for tenth in tenths_s]


def cpu_per_s_while_held(lines: Sequence[Mapping[str, Any]]) -> float:
    """CPU seconds per second of all workers together, from the lines of series.jsonl whose phase is `hold`.

    Raises: LoadgenError when the hold was too short to say.
    """
    held = [(line["t_s"], line["cpu_s"]) for line in lines if line["phase"] == "hold"]
    settled = [(t_s, cpu_s) for t_s, cpu_s in held if t_s >= held[0][0] + SETTLE_S]
    if len(settled) < 2 or settled[-1][0] <= settled[0][0]:
        raise LoadgenError(f"the hold is too short to measure: {len(settled)} lines after its first second")
    (since_s, before), (until_s, after) = settled[0], settled[-1]
    return float((after - before) / (until_s - since_s))


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises: statistics.StatisticsError when there is no value."""
        return cls(statistics.median(values), min(values), max(values))


def ratio_by_round(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Spread of ours / theirs, taken inside each round."""
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])
