"""Latencies as a log-linear histogram: a plain int64 array of counts, indexed by bucket.

There is no class, so that a histogram can be a row of a shared-memory block, be added to another
one with `+`, and be summed over workers with `sum(axis=0)`. Values are whole nanoseconds.

Below 256 ns every value has a bucket of its own; from there each octave (2**e to 2**(e+1) - 1) is
cut into 128 buckets of equal width 2**(e-7). A bucket is therefore at most 1/128 = 0.79 % of the
values in it wide, and its midpoint is less than 1/256 = 0.4 % from each of them. The top is
2**40 - 1 ns, about 18 minutes; longer times go into the last bucket, negative ones into the first.

Example: 1,000,000 ns lies in the octave that starts at 2**19 = 524,288, where buckets are
2**12 = 4,096 ns wide. Its bucket is (12 << 7) + (1,000,000 >> 12) = 1780, which holds 999,424 to
1,003,519 ns and is reported as 1,001,471.5 ns: 0.15 % too much.

The layout is HdrHistogram's with two and a half significant digits and no separate first octave;
its Python port is the oracle in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Buckets of one octave as a power of two; 7 is the smallest that keeps a midpoint within 0.4 %.
_SUB_BITS: Final = 7
#: Values have at most this many bits. Far below 53, so a float64 holds each of them exactly.
_VALUE_BITS: Final = 40
#: IEEE 754 binary64: sign, 11 bits of exponent + bias, 52 bits of mantissa.
_MANTISSA_BITS: Final = 52
_EXPONENT_BIAS: Final = 1023

VALUE_NS_MAX: Final = (1 << _VALUE_BITS) - 1
BUCKETS: Final[int] = (_VALUE_BITS - _SUB_BITS + 1) << _SUB_BITS
#: Of one bucket of one line; sums of a million lines stay below 2**63.
COUNT_MAX: Final = 2**40
_INDEX: Final = {str(bucket): bucket for bucket in range(BUCKETS)}


def bucket_of(values_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bucket of each value, exact at every edge.

    Returns: int64, the shape of `values_ns`, each in 0..BUCKETS-1 and non-decreasing in the value.
    """
    # The float64 of a whole number below 2**53 is exact, and its bits above the 45th are exponent and
    # the 7 leading digits: just the octave and the bucket in it, without a logarithm that could round
    # 2**e - 1 up into the next octave. Past 2**53 the value may round, but all that is in the last bucket.
    leading = values_ns.astype(np.float64).view(np.int64) >> (_MANTISSA_BITS - _SUB_BITS)
    leading -= (_EXPONENT_BIAS + _SUB_BITS - 1) << _SUB_BITS
    small = values_ns < 1 << _SUB_BITS
    buckets: NDArray[np.int64] = np.where(small, np.maximum(values_ns, 0), np.minimum(leading, BUCKETS - 1))
    return buckets


def bucket_of_one(value_ns: int) -> int:
    """Return the bucket of one value, 0 or more; `bucket_of` without numpy."""
    shift = value_ns.bit_length() - 1 - _SUB_BITS
    if shift <= 0:
        return value_ns
    return (shift << _SUB_BITS) + (value_ns >> shift) if value_ns <= VALUE_NS_MAX else BUCKETS - 1


def add(counts: NDArray[np.int64], values_ns: NDArray[np.int64], rows: NDArray[np.int64] | int = 0) -> int:
    """Count each value, in place.

    counts: int64 (BUCKETS,) or (histograms, BUCKETS), contiguous; it may be shared memory. rows: of each value, the
    histogram that it belongs to. Returns: one more than the highest bucket that a value went into; 0 without values.
    """
    # np.add.at touches only the buckets that change and was the faster one for up to 2,000
    # values and no slower at 4,096 (64: 1.5 us against 4 us); np.bincount walks all 4,352 counts each time.
    buckets = bucket_of(values_ns)
    np.add.at(counts.reshape(-1), buckets + rows * BUCKETS, 1)
    return int(buckets.max(initial=-1)) + 1


def low_ns(index: int) -> int:
    """Return the smallest value that goes into this bucket (into bucket 0: and everything below).

    Raises: IndexError unless 0 <= index < BUCKETS.
    """
    if not 0 <= index < BUCKETS:
        raise IndexError(f"no bucket {index}; there are {BUCKETS}, from 0")
    shift = max((index >> _SUB_BITS) - 1, 0)
    return (index - (shift << _SUB_BITS)) << shift


def high_ns(index: int) -> int:
    """Return the largest value that goes into this bucket, included (into the last: and everything above).

    Raises: IndexError unless 0 <= index < BUCKETS.
    """
    return low_ns(index) + (1 << max((index >> _SUB_BITS) - 1, 0)) - 1


def value_ns(index: int) -> float:
    """Return the value a bucket is reported as: the middle between its smallest and its largest value.

    Raises: IndexError unless 0 <= index < BUCKETS.
    """
    return (low_ns(index) + high_ns(index)) / 2


def quantile_ns(counts: NDArray[np.int64], q: float) -> float:
    """Return the value that a share `q` of all counted values does not exceed; 0 when nothing was counted.

    Of n values the one of rank ceil(q*n), at least 1, is meant (the nearest-rank definition, no
    interpolation); the answer is the middle of its bucket. So q=0 is the minimum, q=1 the maximum,
    and a p999 of fewer than 1,000 values is their maximum.

    Raises: ValueError unless 0 <= q <= 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is between 0 and 1, not {q}")
    cumulated = np.cumsum(counts)
    total = int(cumulated[-1])
    if total == 0:
        return 0.0
    # For a float 0.07 * 100 is a little over 7, and would be rounded up to rank 8; likewise 5/6 of 6.
    # A millionth of a millionth is far above such an error and, below 10**11 values, below one rank.
    rank = max(math.ceil(q * total * (1 - 1e-12)), 1)
    return value_ns(int(np.searchsorted(cumulated, rank)))


def max_ns(counts: NDArray[np.int64]) -> float:
    """Return the middle of the highest bucket in use, 0 when there is none; never below any quantile."""
    used = np.flatnonzero(counts)
    return value_ns(int(used[-1])) if used.size else 0.0


def count_from(counts: NDArray[np.int64], low: float) -> int:
    """Return how many values are this many nanoseconds or more, to the precision of a bucket."""
    return int(counts[int(bucket_of(np.array([int(low)], dtype=np.int64))[0]) :].sum())


def sparse(counts: NDArray[np.int64]) -> dict[str, int]:
    """Return the buckets in use, {"1780": 3}, in rising order: JSON has no integer keys."""
    used = np.flatnonzero(counts)
    return dict(zip(map(str, used.tolist()), counts[used].tolist(), strict=True))


class Packed(Mapping[str, int]):
    """A sparse histogram for lines that are kept: some 3 bytes for each bucket in use, where a dict takes 60 to 100."""

    __slots__ = ("_buckets", "_counts")

    def __init__(self, buckets: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """buckets: rising; counts: above 0."""
        self._buckets = buckets.astype(np.int16).tobytes()
        self._counts = counts.astype(np.min_scalar_type(counts.max(initial=0))).tobytes()

    def arrays(self) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Return the buckets in use, rising, and the count of each."""
        buckets = np.frombuffer(self._buckets, np.int16)
        width = len(self._counts) // max(len(buckets), 1) or 1
        return buckets, np.frombuffer(self._counts, f"u{width}").astype(np.int64)

    def __getitem__(self, bucket: str) -> int:
        buckets, counts = self.arrays()
        found = counts[buckets == _INDEX.get(bucket, -1)]
        if not len(found):
            raise KeyError(bucket)
        return int(found[0])

    def __iter__(self) -> Iterator[str]:
        return map(str, self.arrays()[0].tolist())

    def __len__(self) -> int:
        return len(self._buckets) // 2


def packed(mapping: Mapping[str, int]) -> Packed:
    """Return a sparse histogram as one that takes little memory. Raises: KeyError as `accumulate`."""
    return mapping if type(mapping) is Packed else Packed(*arrays(mapping))


def pack(counts: NDArray[np.int64]) -> Packed:
    """Return the counts, int64 (BUCKETS,), as a histogram that takes little memory."""
    used = np.flatnonzero(counts)
    return Packed(used, counts[used])


def arrays(mapping: Mapping[str, int]) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return the buckets of a sparse histogram, rising, and the count of each. Raises: KeyError for no bucket."""
    buckets, counts = _arrays(mapping)
    if type(mapping) is Packed:
        return buckets, counts
    order = np.argsort(buckets)
    return buckets[order], counts[order]


def _arrays(mapping: Mapping[str, int]) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return the buckets of a sparse histogram in the order that they are in, and the count of each."""
    if type(mapping) is Packed:
        return mapping.arrays()
    buckets = np.fromiter(map(_INDEX.__getitem__, mapping), dtype=np.int16, count=len(mapping))
    return buckets, np.fromiter(mapping.values(), dtype=np.int64, count=len(mapping))


def check_buckets(mapping: Mapping[str, int]) -> None:
    """Check that a sparse histogram has only buckets there are. Raises: ValueError with one that is none."""
    if type(mapping) is not Packed and not mapping.keys() <= _INDEX.keys():
        unknown = min(mapping.keys() - _INDEX.keys())
        raise ValueError(f"{unknown!r:.60} is no bucket of a histogram with {BUCKETS} of them")


def accumulate(counts: NDArray[np.int64], mapping: Mapping[str, int]) -> None:
    """Add what `sparse` wrote to `counts`, in place. What comes from a file was checked when it was read.

    Raises: KeyError for a bucket that does not exist, with nothing added.
    """
    if mapping:
        buckets, added = _arrays(mapping)
        counts[buckets] += added


def dense(mapping: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the counts that `sparse` wrote, int64 (BUCKETS,); `dense({})` is an empty histogram.

    Raises: KeyError as `accumulate`.
    """
    counts = np.zeros(BUCKETS, dtype=np.int64)
    accumulate(counts, mapping)
    return counts
