"""The histogram against its definition and against HdrHistogram."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from loadgen.results import histogram

TOP = 2**40 - 1
#: As many small as large values: a uniform choice below 2**40 would hardly ever be below 2**30.
values = st.lists(st.integers(0, 40).flatmap(lambda bits: st.integers(0, min(2**bits, TOP))), min_size=1, max_size=200)


def counted(numbers: list[int]) -> NDArray[np.int64]:
    counts = histogram.dense({})
    histogram.add(counts, np.array(numbers, dtype=np.int64))
    return counts


def bucket(value: int) -> int:
    return int(histogram.bucket_of(np.array([value], dtype=np.int64))[0])


def test_the_example_in_the_documentation() -> None:
    assert bucket(1_000_000) == 1780
    assert (histogram.low_ns(1780), histogram.high_ns(1780)) == (999_424, 1_003_519)
    assert histogram.value_ns(1780) == 1_001_471.5


def test_buckets_cover_every_value_once_and_in_order() -> None:
    """Each bucket starts right above the one before, and its two ends are in it."""
    below = -1
    for index in range(histogram.BUCKETS):
        low, high = histogram.low_ns(index), histogram.high_ns(index)
        assert low == below + 1
        assert bucket(low) == bucket(high) == index
        below = high
    assert below == TOP == histogram.VALUE_NS_MAX


@given(st.integers(0, 50).flatmap(lambda bits: st.integers(0, 2**bits)))
def test_one_value_goes_into_the_bucket_that_it_has_among_many(value: int) -> None:
    assert histogram.bucket_of_one(value) == bucket(value)


def test_values_of_several_histograms_are_counted_together() -> None:
    counts = np.zeros((3, histogram.BUCKETS), dtype=np.int64)
    used = histogram.add(counts, np.array([7, 7, 9, 7]), np.array([0, 2, 2, 0]))
    assert used == 10
    assert [histogram.sparse(row) for row in counts] == [{"7": 2}, {}, {"7": 1, "9": 1}]
    assert histogram.add(counts, np.empty(0, dtype=np.int64)) == 0


@pytest.mark.parametrize("exponent", range(8, 41))
def test_a_power_of_two_starts_a_bucket(exponent: int) -> None:
    start = 2**exponent
    assert bucket(start - 1) == (exponent - 7) * 128 + 127
    assert bucket(start) == min((exponent - 6) * 128, histogram.BUCKETS - 1)
    assert bucket(start + 1) in (bucket(start), bucket(start) + 1)


@given(st.integers(0, TOP))
def test_resolution(value: int) -> None:
    """A bucket is under 0.79 % wide, its middle within 0.4 %, and small values are exact."""
    index = bucket(value)
    assert histogram.low_ns(index) <= value <= histogram.high_ns(index)
    assert histogram.high_ns(index) - histogram.low_ns(index) <= 0.0079 * value
    assert abs(histogram.value_ns(index) - value) <= 0.004 * value
    assert value >= 256 or histogram.value_ns(index) == value


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_larger_values_are_never_in_a_lower_bucket(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= bucket(low) <= bucket(high) < histogram.BUCKETS


def test_what_is_out_of_range_goes_to_the_ends() -> None:
    assert [bucket(value) for value in (-(2**63), -1, 0)] == [0, 0, 0]
    assert [bucket(value) for value in (TOP, 2**40, 2**53 + 1, 2**63 - 1)] == [histogram.BUCKETS - 1] * 4


@pytest.mark.parametrize("index", [-1, histogram.BUCKETS])
def test_no_bucket_outside_the_array(index: int) -> None:
    with pytest.raises(IndexError, match=f"no bucket {index}"):
        histogram.value_ns(index)


@given(values, st.integers(1, 200))
def test_quantiles_agree_with_hdr_histogram(numbers: list[int], rank: int) -> None:
    """Asked for the k-th of n values, both answer the same within 0.8 %."""
    rank = min(rank, len(numbers))
    oracle = HdrHistogram(1, TOP, 3)
    for number in numbers:
        oracle.record_value(number)
    expected = oracle.get_value_at_percentile(100 * rank / len(numbers))
    found = histogram.quantile_ns(counted(numbers), rank / len(numbers))
    assert found == pytest.approx(expected, rel=0.008)


@given(values, st.integers(0, 1000))
def test_a_quantile_is_the_value_of_its_rank(numbers: list[int], thousandths: int) -> None:
    """Rank ceil(q*n) of the sorted values, worked out in whole numbers."""
    rank = max(-(-thousandths * len(numbers) // 1000), 1)
    found = histogram.quantile_ns(counted(numbers), thousandths / 1000)
    assert found == histogram.value_ns(bucket(sorted(numbers)[rank - 1]))


@given(values)
def test_quantiles_rise_and_end_at_the_maximum(numbers: list[int]) -> None:
    counts = counted(numbers)
    found = [histogram.quantile_ns(counts, q) for q in (0, 0.5, 0.9, 0.99, 0.999, 1)]
    assert found == sorted(found)
    assert found[-1] == histogram.max_ns(counts) == pytest.approx(max(numbers), rel=0.004)


def test_binary_rounding_of_q_does_not_move_the_rank() -> None:
    """0.07 * 100 is 7.000000000000001 for a float, but the seventh value is meant; so is 5/6 of 6."""
    assert histogram.quantile_ns(counted([0, 0, 0, 0, 0, 1]), 5 / 6) == 0
    assert histogram.quantile_ns(counted(list(range(1, 101))), 0.07) == 7


def test_an_empty_histogram_has_zeros() -> None:
    empty = histogram.dense({})
    assert histogram.quantile_ns(empty, 0.5) == histogram.max_ns(empty) == 0
    assert histogram.sparse(empty) == {}
    histogram.add(empty, np.empty(0, dtype=np.int64))
    assert not empty.any()


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram.quantile_ns(histogram.dense({}), q)


@given(values)
def test_sparse_survives_json(numbers: list[int]) -> None:
    counts = counted(numbers)
    text = json.dumps(histogram.sparse(counts))
    assert np.array_equal(histogram.dense(json.loads(text)), counts)


@given(values)
def test_packed_it_reads_the_same(numbers: list[int]) -> None:
    counts = counted(numbers)
    sparse = histogram.sparse(counts)
    packed = histogram.Packed(counts.nonzero()[0], counts[counts > 0])
    assert packed == sparse
    assert list(packed) == list(sparse)
    assert np.array_equal(histogram.dense(packed), counts)
    for kept in (packed, dict(reversed(sparse.items()))):
        assert [column.tolist() for column in histogram.arrays(kept)] == [list(map(int, sparse)), list(sparse.values())]
    for bucket in {"0", "4351", "x", "4352"} - sparse.keys():
        assert bucket not in packed


@given(values, values)
def test_merging_two_equals_one_of_all(some: list[int], others: list[int]) -> None:
    whole = counted(some + others)
    assert np.array_equal(counted(some) + counted(others), whole)
    merged = counted(some)
    histogram.accumulate(merged, histogram.sparse(counted(others)))
    assert np.array_equal(merged, whole)


@pytest.mark.parametrize("bucket", ["4352", "-1", "x", ""])
def test_a_bucket_that_does_not_exist_adds_nothing(bucket: str) -> None:
    counts = histogram.dense({"0": 5})
    with pytest.raises(KeyError):
        histogram.accumulate(counts, {"0": 1, bucket: 1})
    assert histogram.sparse(counts) == {"0": 5}
