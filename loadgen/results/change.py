"""The change points and trends of a sequence of numbers. Pure arithmetic on ranks.

Both tests assume no distribution: outliers and ties count by their rank alone. Both assume that the values are
independent; waves shorter than the sequence make them miss rather than invent a change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Up to this length the distribution of the statistic is sampled; from here its asymptotic form is close.
_SAMPLED_MAX: Final = 64
_SAMPLES: Final = 1_999
#: Share of the largest |U| that makes a place one to choose from; an outlier at an end has far less.
_CLEAR: Final = 0.75
#: Of the samples: the same run has the same result wherever it is read.
_SEED: Final = 9411


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """at: position of the first value after the change. p: probability of as clear a change by chance alone."""

    at: int
    p: float


@dataclass(frozen=True, slots=True)
class Trend:
    """rise: from the first value to the last, by the median slope. p: probability of as clear a trend by chance."""

    rise: float
    p: float


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value from 1, equal values having the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return mean


def change_point(values: NDArray[np.float64]) -> ChangePoint | None:
    """Return the most likely change of level; None of fewer than two values, or where all are equal.

    Source: A. N. Pettitt, A non-parametric approach to the change-point problem, Applied Statistics 28 (1979), 126-135:
    U(t) = 2 * (sum of the first t ranks) - t * (n + 1), the statistic is the largest |U|, and p is about
    2 exp(-6 K^2 / (n^3 + n^2)). That is too large for short sequences, where p is the share of random orders of the
    same values whose statistic is as large. The largest |U| leans to the middle, so of the places where it is nearly
    as large the one is taken at which the values before and after deviate least from the median of theirs.
    """
    n = len(values)
    if n < 2 or values.min() == values.max():
        return None
    of = ranks(values)
    distances = _distances(of)
    most = float(distances.max())
    clear = np.flatnonzero(distances >= _CLEAR * most) + 1
    at = int(min(clear, key=lambda at: _deviation(values[:at]) + _deviation(values[at:])))
    if n > _SAMPLED_MAX:
        return ChangePoint(at, min(2 * math.exp(-6 * most**2 / (n**3 + n**2)), 1.0))
    as_large = int((_distances(of[_orders(n)]).max(axis=1) >= most - 1e-9).sum())
    return ChangePoint(at, (as_large + 1) / (_SAMPLES + 1))


@lru_cache(maxsize=4)
def _orders(n: int) -> NDArray[np.int8]:
    """Return random orders of n values, the same in every process: int8 (_SAMPLES, n)."""
    return np.random.default_rng(_SEED).random((_SAMPLES, n)).argsort(axis=1).astype(np.int8)


def _deviation(values: NDArray[np.float64]) -> float:
    return float(np.abs(values - np.median(values)).sum())


def _distances(of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |U(t)| for t = 1 to n - 1, of each row of ranks."""
    n = of.shape[-1]
    sums = np.cumsum(of, axis=-1)[..., :-1]
    distances: NDArray[np.float64] = np.abs(2 * sums - np.arange(1, n) * (n + 1))
    return distances


def trend(values: NDArray[np.float64]) -> Trend:
    """Return how far values rise or fall all the time; a p of 1 for fewer than three values, or equal ones.

    Source: H. B. Mann, Nonparametric tests against trend, Econometrica 13 (1945), 245-259, with the variance for ties
    of M. G. Kendall, Rank Correlation Methods (1970); the slope is the median of all pairs: P. K. Sen, Estimates of
    the regression coefficient based on Kendall's tau, JASA 63 (1968), 1379-1389.
    """
    n = len(values)
    if n < 3 or values.min() == values.max():
        return Trend(0.0, 1.0)
    first, second = np.triu_indices(n, 1)
    steps = values[second] - values[first]
    score = float(np.sign(steps).sum())
    _, counts = np.unique(values, return_counts=True)
    ties = float((counts * (counts - 1) * (2 * counts + 5)).sum())
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    z = max(abs(score) - 1, 0.0) / math.sqrt(variance)
    return Trend(float(np.median(steps / (second - first))) * (n - 1), math.erfc(z / math.sqrt(2)))
