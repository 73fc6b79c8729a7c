"""Schedules compared with an exact reference, and shards with the whole."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import islice, pairwise
from math import ceil, inf, isqrt, log2, nan

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadgen.arrivals import (
    Turns,
    area_within,
    due_ns,
    due_ns_of,
    due_within,
    first_pair,
    first_turn,
    interleaved,
    part,
    port_slices,
    shard_arrivals,
    shard_sizes,
)
from loadgen.errors import CapacityError, ScenarioError
from loadgen.model import PortRange, Stage

rates = st.sampled_from([0.0, 0.5, 1.0, 10.0]) | st.floats(0, 100).map(lambda rate: round(rate, 3))
stages = st.lists(st.builds(Stage, rates, rates, st.floats(0, 5).map(lambda seconds: round(seconds, 3))), max_size=4)
workers = st.integers(1, 70)


def root(number: Fraction) -> Fraction:
    """Return the square root, exact to some 30 digits."""
    scale = 10**40
    return Fraction(isqrt(number.numerator * scale**2 // number.denominator), scale)


def exact_due_s(schedule: list[Stage], count: int) -> list[Fraction]:
    """Return due times by the textbook formula in rational numbers; fewer if the stages end before."""
    due: list[Fraction] = []
    area, start = Fraction(0), Fraction(0)
    for stage in schedule:
        assert stage.duration_s is not None
        r0, r1, d = (Fraction(x) for x in (stage.rate_start_per_s, stage.rate_end_per_s, stage.duration_s))
        here = (r0 + r1) / 2 * d
        slope = (r1 - r0) / d if d else Fraction(0)
        while len(due) < count and len(due) + 1 <= area + here:
            a = len(due) + 1 - area
            t = a / r0 if slope == 0 else (root(r0 * r0 + 2 * slope * a) - r0) / slope
            due.append(start + t)
        area, start = area + here, start + d
    return due


@given(stages, st.integers(1, 40))
def test_due_times_are_those_of_exact_arithmetic(schedule: list[Stage], count: int) -> None:
    """To the nanosecond, and rounding loses no attempt at the end of a stage.

    Where an attempt falls on the very end of a stage (within the slack) both stages are right, so
    those schedules are for the test below.
    """
    area = Fraction(0)
    for stage in schedule:
        assert stage.duration_s is not None
        ends = Fraction(stage.rate_start_per_s) + Fraction(stage.rate_end_per_s)
        area += ends / 2 * Fraction(stage.duration_s)
        assume(area == 0 or abs(area - round(area)) > Fraction(1, 10**5))
    expected = exact_due_s(schedule, count)
    assume(expected)
    found = due_ns(schedule, len(expected))
    # Near the end of a ramp down to 0 the time is the most sensitive to the area: t ~ sqrt(rest).
    assert np.allclose(found, [float(t * 10**9) for t in expected], rtol=1e-12, atol=20)
    if len(expected) < count:
        with pytest.raises(ScenarioError, match=f"{len(expected)} of {count} connections"):
            due_ns(schedule, count)


@given(stages, st.integers(1, 200))
def test_a_schedule_never_goes_back_nor_leaves_its_stages(schedule: list[Stage], count: int) -> None:
    due = due_ns([*schedule, Stage(50, 50, None)], count)
    assert len(due) == count
    assert due[0] > 0
    assert (np.diff(due) >= 0).all()


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ([Stage(10, 10, None)], [0.1, 0.2, 0.3]),
        ([Stage(10, 10, 0.3)], [0.1, 0.2, 0.3]),
        ([Stage(0, 2, 2)], [2**0.5, 2]),  # area t**2 / 2
        ([Stage(2, 0, 2)], [2 - 2**0.5, 2]),  # its mirror image
        ([Stage(1, 1, 0.5), Stage(2, 2, 1.25)], [0.75, 1.25, 1.75]),  # half an arrival is carried over
        ([Stage(1, 1, 0.5), Stage(0, 0, 7), Stage(1, 1, None)], [8, 9]),  # a pause only delays
        ([Stage(1, 1, 1), Stage(0, 0, 7), Stage(1, 1, None)], [1, 9]),
        ([Stage(1, 1, 1), Stage(5, 9, 0), Stage(1, 1, None)], [1, 2]),
        ([Stage(100, 100 + 1e-12, 1)], [0.01, 0.02, 0.03]),
        ([Stage(1e-300, 1e-300, 1), Stage(1, 1, None)], [2]),
    ],
)
def test_due_times_one_can_check_by_hand(schedule: list[Stage], seconds: list[float]) -> None:
    found = due_ns(schedule, len(seconds)) / 1e9
    assert found.tolist() == pytest.approx(seconds, abs=1.1e-9)


@given(st.integers(1, 2000), st.integers(1, 60))
def test_a_rate_computed_from_count_and_duration_suffices(count: int, duration_s: int) -> None:
    """100 connections in 3 s are 33.3.../s; the rounding of that number costs no connection."""
    due = due_ns([Stage(count / duration_s, count / duration_s, duration_s)], count)
    assert due[-1] == duration_s * 10**9


def test_a_million_arrivals_keep_the_rate() -> None:
    """In every second the number of arrivals is the rate, plus or minus one."""
    due = due_ns([Stage(0, 20_000, 10), Stage(20_000, 20_000, None)], 1_000_000)
    per_second = np.bincount((due - 1) // 10**9)
    assert abs(per_second[:10] - (np.arange(10) * 2000 + 1000)).max() <= 1
    assert abs(per_second[10:-1] - 20_000).max() <= 1
    assert due[-1] == 55 * 10**9


def test_an_empty_schedule() -> None:
    assert due_ns([], 0).size == 0
    assert due_ns([Stage(1, 1, None)], 0).size == 0


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ([], "0 of 9 connections"),
        ([Stage(1, 1, 8)], "8 of 9 connections"),
        ([Stage(0, 0, 100)], "0 of 9 connections"),
        ([Stage(-1, 1, 100)], "rate of -1"),
        ([Stage(1, nan, 100)], "rate of nan"),
        ([Stage(inf, 1, 100)], "rate of inf"),
        ([Stage(1, 1, -1)], "cannot last -1"),
        ([Stage(1, 1, nan)], "cannot last nan"),
        ([Stage(1, 1, inf)], "cannot last inf"),
        ([Stage(1, 1, None), Stage(1, 1, 1)], "stage 2 would never start"),
        ([Stage(1, 2, None)], "its rate cannot change"),
        ([Stage(0, 0, None)], "never end"),
        ([Stage(1e-12, 1e-12, None)], "centuries"),
    ],
)
def test_an_invalid_schedule(schedule: list[Stage], reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason):
        due_ns(schedule, 9)


def clear_of_the_ends(schedule: list[Stage], hosts: int) -> bool:
    """Return whether no attempt of the whole falls on the very end of a stage, where two times are right."""
    area = Fraction(0)
    for stage in schedule:
        assert stage.duration_s is not None
        ends = Fraction(stage.rate_start_per_s) + Fraction(stage.rate_end_per_s)
        area += ends / 2 * Fraction(stage.duration_s)
        if area and abs(area - round(area)) <= hosts * Fraction(1, 10**5):
            return False
    return True


@given(stages, st.integers(1, 200), st.integers(1, 12), st.integers(1, 3))
def test_hosts_of_equal_weight_take_the_arrivals_in_turn(
    schedule: list[Stage], count: int, hosts: int, weight: int
) -> None:
    """Host k of n has its attempts when attempts k, k + n, ... of the whole are due: on constant rates and ramps."""
    assume(clear_of_the_ends(schedule, hosts))
    schedule = [*schedule, Stage(50, 50, None)]
    whole = due_ns(schedule, count)
    for k in range(hosts):
        share, carry = interleaved(schedule, before=k * weight, weight=weight, total=hosts * weight)
        found = due_ns_of(share, np.arange(part(count, k, hosts)), carry=carry)
        # Near the end of a ramp down to 0 the time is the most sensitive to the area: t ~ sqrt(rest).
        assert np.allclose(found, whole[k::hosts], rtol=1e-12, atol=50)


@given(st.floats(1, 10_000), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_hosts_of_other_weights_have_an_even_share_of_the_rate(rate: float, weights: list[int]) -> None:
    total = sum(weights)
    for index, weight in enumerate(weights):
        share, carry = interleaved([Stage(rate, rate, None)], before=sum(weights[:index]), weight=weight, total=total)
        found = due_ns_of(share, np.arange(100), carry=carry)
        spacing_ns = 1e9 * total / weight / rate
        assert np.allclose(np.diff(found), spacing_ns, atol=2)
        assert 0 < found[0] <= spacing_ns + 1
    assert found[0] == pytest.approx(spacing_ns, abs=2), "the last host begins with a whole interval"


@given(stages, st.floats(0, 20).map(lambda seconds: round(seconds, 2)), st.integers(1, 9))
def test_hosts_of_equal_weight_have_all_arrivals_of_a_time(
    schedule: list[Stage], duration_s: float, hosts: int
) -> None:
    schedule = [*schedule, Stage(50, 50, None)]
    area = area_within(schedule, duration_s)
    assume(abs(area - round(area)) > hosts * 1e-5 or not area)
    shares = [interleaved(schedule, before=k, weight=1, total=hosts) for k in range(hosts)]
    counts = [due_within(share, duration_s, carry=carry) for share, carry in shares]
    whole = due_within(schedule, duration_s)
    assert counts == [part(whole, k, hosts) for k in range(hosts)]


@pytest.mark.parametrize(
    ("weights", "seconds"),
    [
        ((1, 1, 1), [[1, 4, 7], [2, 5, 8], [3, 6, 9]]),
        ((2, 1), [[1, 2.5, 4], [3, 6, 9]]),
        ((1,), [[1, 2, 3]]),
    ],
)
def test_interleaved_schedules_one_can_check_by_hand(weights: tuple[int, ...], seconds: list[list[float]]) -> None:
    """One arrival per second of the whole."""
    for index, weight in enumerate(weights):
        share, carry = interleaved([Stage(1, 1, None)], before=sum(weights[:index]), weight=weight, total=sum(weights))
        assert (due_ns_of(share, np.arange(3), carry=carry) / 1e9).tolist() == pytest.approx(seconds[index], abs=2e-9)


@pytest.mark.parametrize(("before", "weight", "total"), [(-1, 1, 1), (0, 0, 1), (1, 1, 1), (0, 3, 2)])
def test_a_weight_that_is_no_part_of_the_total(before: int, weight: int, total: int) -> None:
    with pytest.raises(ValueError, match="no part"):
        interleaved([Stage(1, 1, None)], before=before, weight=weight, total=total)


@pytest.mark.parametrize("carry", [-0.1, 1.0, nan])
def test_a_carry_is_less_than_one_attempt(carry: float) -> None:
    with pytest.raises(ValueError, match="cannot begin"):
        due_ns_of([Stage(1, 1, None)], np.arange(1), carry=carry)


@given(st.integers(0, 3000), st.integers(1, 50), workers)
def test_round_robin_gives_every_pair_its_connections(connections: int, pairs: int, count: int) -> None:
    """Exactly, and no worker gets more connections of a pair than its share of the ports."""
    each, extra = divmod(connections, pairs)
    total = np.zeros(pairs, dtype=np.int64)
    sizes = shard_sizes(connections, pairs, count)
    for index, size in enumerate(sizes):
        taken = np.bincount((np.arange(size) + first_pair(sizes, pairs, pairs, index)) % pairs, minlength=pairs)
        for pair in range(pairs):
            connections_of_pair = each + (pair < extra)
            share = connections_of_pair // count + (index < connections_of_pair % count)
            assert taken[pair] <= max(share, 1)
        total += taken
    assert total.tolist() == [each + (pair < extra) for pair in range(pairs)]


@given(st.integers(0, 10**6), st.integers(1, 70_000), workers)
def test_no_worker_has_much_more_than_another(connections: int, pairs: int, count: int) -> None:
    """At most twice the mean for any number of pairs, so that adding workers always helps."""
    sizes = shard_sizes(connections, pairs, count)
    assert max(sizes) <= 2 * -(-connections // count)


@pytest.mark.parametrize("numbers", [(-1, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_invalid_numbers_of_connections_pairs_and_workers(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot spread"):
        shard_sizes(*numbers)


def test_a_million_connections_over_sixty_workers() -> None:
    sizes = shard_sizes(1_000_000, 36, 60)
    assert sum(sizes) == 1_000_000
    assert max(sizes) - min(sizes) <= 36
    shard = shard_arrivals(sizes, 59)
    assert shard[0] == 59
    assert np.diff(shard).max() <= 60


@given(st.integers(1, 65535), st.integers(1, 65535), workers)
def test_port_slices_are_a_partition(one: int, other: int, count: int) -> None:
    ports = PortRange(*sorted((one, other)))
    assume(len(ports) >= count)
    slices = port_slices(ports, count)
    assert len(slices) == count
    assert (slices[0].low, slices[-1].high) == (ports.low, ports.high)
    assert all(right.low == left.high + 1 for left, right in pairwise(slices))
    assert {len(part) - len(ports) // count for part in slices} <= {0, 1}


@given(st.integers(1, 400), st.integers(1, 60), st.sets(st.integers(1000, 1399), max_size=50))
def test_a_slice_is_large_enough_for_its_share_of_a_pair(ports: int, count: int, skipped: set[int]) -> None:
    """Whenever a pair's connections fit the usable ports, each worker's part fits its slice."""
    usable = set(range(1000, 1000 + ports)) - skipped
    assume(count <= len(usable))
    slices = port_slices(PortRange(1000, 999 + ports), count, skipped)
    room = [len(usable.intersection(range(part.low, part.high + 1))) for part in slices]
    assert sum(room) == len(usable)
    assert all(right.low > left.high for left, right in pairwise(slices))
    for connections in range(len(usable) + 1):
        for fits, size in zip(room, shard_sizes(connections, 1, count), strict=True):
            assert size <= fits


def test_more_workers_than_ports() -> None:
    with pytest.raises(CapacityError, match=r"need 4, have 3; use at most 3 workers") as caught:
        port_slices(PortRange(40000, 40002), 4)
    assert (caught.value.needed, caught.value.available) == (4, 3)


@given(
    rates=st.lists(st.integers(1, 5000), min_size=2, max_size=4),
    length_s=st.floats(0.1, 3),
    duration_s=st.floats(0.1, 8),
)
def test_due_within_counts_the_due_times(rates: list[int], length_s: float, duration_s: float) -> None:
    stages = [Stage(0.0 if n == 0 else float(rates[n - 1]), float(r), length_s) for n, r in enumerate(rates)]
    stages.append(Stage(float(rates[-1]), float(rates[-1]), None))
    count = due_within(stages, duration_s)
    due = due_ns(stages, count + 2)
    # One more or less where the last is due at the very end.
    assert count == 0 or due[count - 1] <= duration_s * 1e9 + 1e5
    assert due[count + 1] > duration_s * 1e9


# --- Weights ---------------------------------------------------------------------------------------------

weights = st.lists(st.integers(1, 7) | st.sampled_from([1, 1000]), min_size=1, max_size=12)


def pairs_of(given_weights: list[int], turns: int, start: int = 0) -> list[int]:
    return list(islice(Turns(given_weights).following(start), turns))


@given(st.integers(1, 40), st.integers(0, 300), workers)
def test_without_weights_every_moment_of_a_worker_is_even(pairs: int, connections: int, count: int) -> None:
    """Any two pairs differ by one at most after each attempt of any worker, and at the end in total."""
    sizes = shard_sizes(connections, pairs, count)
    total = np.zeros(pairs, dtype=np.int64)
    for index, size in enumerate(sizes):
        first = first_pair(sizes, pairs, pairs, index)
        taken = np.zeros(pairs, dtype=np.int64)
        for attempt in range(size):
            taken[(first + attempt) % pairs] += 1
            assert taken.max() - taken.min() <= 1
        total += taken
    assert total.max() - total.min() <= 1
    assert total.sum() == connections


@given(st.integers(1, 12), st.integers(0, 120), st.integers(1, 8))
def test_without_weights_unevenness_is_at_most_the_number_of_workers(pairs: int, connections: int, count: int) -> None:
    """In the order in which the schedule deals attempts to workers."""
    sizes = shard_sizes(connections, pairs, count)
    dealt = sorted(
        (int(arrival), (first_pair(sizes, pairs, pairs, index) + local) % pairs)
        for index in range(count)
        for local, arrival in enumerate(shard_arrivals(sizes, index))
    )
    taken = np.zeros(pairs, dtype=np.int64)
    for _, pair in dealt:
        taken[pair] += 1
        assert taken.max() - taken.min() <= count


@given(st.integers(1, 12), st.integers(1, 1000), st.integers(0, 50))
def test_one_weight_for_all_is_the_plain_round_robin(pairs: int, weight: int, start: int) -> None:
    assert pairs_of([weight] * pairs, 50, start) == [(start + turn) % pairs for turn in range(50)]


@given(weights, st.integers(1, 400))
def test_any_number_of_turns_is_near_the_shares(given_weights: list[int], turns: int) -> None:
    classes = len(set(given_weights))
    most = 1 + ceil(log2(classes)) / 2 if classes > 1 else 1
    taken = [0] * len(given_weights)
    for turn, pair in enumerate(pairs_of(given_weights, turns), 1):
        taken[pair] += 1
        for one, weight in zip(taken, given_weights, strict=True):
            assert abs(one - Fraction(turn * weight, sum(given_weights))) <= most


@given(weights, st.integers(0, 400), st.integers(0, 200))
def test_pairs_of_one_weight_are_even_over_any_turns(given_weights: list[int], start: int, turns: int) -> None:
    taken: dict[int, list[int]] = {weight: [] for weight in given_weights}
    counts = Counter(pairs_of(given_weights, turns, start))
    for pair, weight in enumerate(given_weights):
        taken[weight].append(counts[pair])
    assert all(max(alike) - min(alike) <= 1 for alike in taken.values())


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8))
def test_after_a_period_every_pair_has_had_exactly_its_weight(given_weights: list[int]) -> None:
    whole = sum(given_weights)
    assert whole % Turns(given_weights).period == 0
    counts = Counter(pairs_of(given_weights, whole))
    assert [counts[pair] for pair in range(len(given_weights))] == given_weights


def test_turns_one_can_check_by_hand() -> None:
    assert pairs_of([3, 1], 8) == [0, 1, 0, 0, 0, 1, 0, 0]
    assert pairs_of([1, 5, 1], 7) == [1, 0, 1, 1, 1, 2, 1]


@given(weights, st.integers(0, 500), st.integers(1, 8))
def test_the_turns_of_all_workers_are_consecutive(given_weights: list[int], connections: int, count: int) -> None:
    sizes = [connections // count + (index < connections % count) for index in range(count)]
    turns = Turns(given_weights)
    together = [
        pair
        for index in range(count)
        for pair in islice(turns.following(first_turn(sizes, turns, index)), sizes[index])
    ]
    assert together == pairs_of(given_weights, connections)


def test_in_a_closed_loop_workers_begin_at_equal_distances() -> None:
    turns = Turns([1, 5, 2])
    assert [first_turn([0] * 4, turns, index) for index in range(4)] == [0, 2, 4, 6]
