"""The arithmetic of the benchmark harness: what it adds up, cuts and divides."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import (
    Spread,
    cpu_per_s_while_held,
    merge_tenths,
    port_slices,
    quarter_rates,
    ratio_by_round,
    shares,
    tenth_rates,
)
from loadgen.errors import LoadgenError

durations = st.lists(st.floats(0.001, 10.0), min_size=10, max_size=10)


@given(st.integers(1, 40_000), st.integers(0, 25_535), st.integers(1, 64))
def test_slices_are_the_whole_range_without_a_gap(low: int, more: int, count: int) -> None:
    slices = port_slices(low, low + more, count)
    ports = list(itertools.chain.from_iterable(range(first, last + 1) for first, last in slices))
    assert ports == list(range(low, low + more + 1))
    sizes = [last - first + 1 for first, last in slices]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 10**6), st.integers(1, 100))
def test_shares_add_up_and_differ_by_one_at_most(total: int, count: int) -> None:
    parts = shares(total, count)
    assert (sum(parts), len(parts)) == (total, count)
    assert max(parts) - min(parts) <= 1


@given(durations)
def test_one_process_keeps_its_own_tenths(tenths: list[float]) -> None:
    assert merge_tenths([0.0], [1000], [tenths]) == pytest.approx(tenths)


@given(durations, st.integers(1, 5))
def test_processes_in_step_have_the_tenths_of_each(tenths: list[float], count: int) -> None:
    assert merge_tenths([0.0] * count, [500] * count, [tenths] * count) == pytest.approx(tenths)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(10, 10_000), durations), min_size=1, max_size=4))
def test_merged_tenths_last_from_the_first_attempt_to_the_last_connection(
    processes: list[tuple[float, int, list[float]]],
) -> None:
    offsets = [offset - min(offset for offset, _, _ in processes) for offset, _, _ in processes]
    merged = merge_tenths(offsets, [count for _, count, _ in processes], [tenths for _, _, tenths in processes])
    ends = [offset + sum(tenths) for offset, (_, _, tenths) in zip(offsets, processes, strict=True)]
    assert sum(merged) == pytest.approx(max(ends))
    assert min(merged) >= 0


def test_processes_one_after_the_other_are_not_taken_as_parallel() -> None:
    """The second starts when the first has ended: five tenths of one second each, then five of three."""
    merged = merge_tenths([0.0, 5.0], [100, 100], [[0.5] * 10, [1.5] * 10])
    assert merged == pytest.approx([1.0] * 5 + [3.0] * 5)


def test_a_quarter_takes_its_part_of_the_tenth_it_ends_in() -> None:
    """The first quarter is two tenths and a half: 1 + 1 + 2 / 2 = 3 s for 250 connections."""
    rates = quarter_rates([1, 1, 2, 1, 1, 1, 1, 2, 1, 1], 1000)
    assert rates == pytest.approx((250 / 3, 250 / 3, 250 / 3, 250 / 3))
    assert quarter_rates([1] * 7 + [2] * 3, 1000)[3] == pytest.approx(250 / 5)


def test_a_tenth_that_took_twice_as_long_was_half_as_fast() -> None:
    assert tenth_rates([1.0] * 9 + [2.0], 1000) == pytest.approx([100.0] * 9 + [50.0])


def test_the_cost_of_holding_leaves_out_the_ramp_and_its_echo() -> None:
    """Workers publish their CPU time some moments late: what the first second of the hold shows is the ramp's."""
    lines = [
        {"phase": "ramp", "t_s": 1.0, "cpu_s": 1.0},
        {"phase": "hold", "t_s": 2.0, "cpu_s": 2.0},
        {"phase": "hold", "t_s": 2.5, "cpu_s": 2.4},
        {"phase": "hold", "t_s": 3.0, "cpu_s": 2.5},
        {"phase": "hold", "t_s": 5.0, "cpu_s": 2.7},
        {"phase": "drain", "t_s": 6.0, "cpu_s": 9.0},
    ]
    assert cpu_per_s_while_held(lines) == pytest.approx(0.1)


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 1.5], [1.0, 2.5]])
def test_a_hold_of_a_second_says_nothing(times: list[float]) -> None:
    with pytest.raises(LoadgenError, match="too short"):
        cpu_per_s_while_held([{"phase": "hold", "t_s": t_s, "cpu_s": 1.0} for t_s in times])


def test_a_spread_is_median_least_and_most() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_ratios_are_taken_inside_each_round() -> None:
    """A machine that became three times slower after the first round changes no ratio."""
    spread = ratio_by_round([90.0, 30.0], [100.0, 100 / 3])
    assert (spread.low, spread.median, spread.high) == pytest.approx((0.9, 0.9, 0.9))
