"""A rise of the cost by occupancy: found where the search begins, whatever one disturbed tenth looks like."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results.cost import RISE_FACTOR, RISE_US_MIN, STEP_FACTOR, Rise, Step, rise, step

LEVEL_US = st.floats(8, 200)
UNEVEN = st.lists(st.floats(0.8, 1.25), min_size=10, max_size=10)
#: 10 tenths, of which the first `cliff` cost about `level_us` and the others `times` as much.
CLIFF = st.integers(2, 8)
TIMES = st.floats(10, 100)


def costs(level_us: float, uneven: list[float], cliff: int, times: float) -> list[float]:
    return [level_us * factor * (times if tenth >= cliff else 1) for tenth, factor in enumerate(uneven)]


@given(LEVEL_US, UNEVEN, CLIFF, TIMES)
def test_a_cliff_is_found_where_it_is(level_us: float, uneven: list[float], cliff: int, times: float) -> None:
    found = costs(level_us, uneven, cliff, times)
    assert rise(found) == Rise(cliff, median(found[:cliff]), median(found[cliff:]))


@given(LEVEL_US, UNEVEN, st.integers(0, 10), st.integers(1, 2))
def test_an_even_cost_does_not_rise(level_us: float, uneven: list[float], known: int, lasting: int) -> None:
    assert rise(costs(level_us, uneven, 10, 1)[:known], lasting=lasting) is None


@given(LEVEL_US, UNEVEN, st.integers(0, 9), st.floats(0.01, 1000))
def test_one_disturbed_tenth_is_no_rise(level_us: float, uneven: list[float], place: int, noise: float) -> None:
    found = costs(level_us, uneven, 10, 1)
    found[place] *= noise
    assert rise(found) is None


@given(LEVEL_US, UNEVEN, CLIFF, TIMES, st.integers(0, 9), st.floats(0.01, 1000))
def test_one_disturbed_tenth_hides_no_rise(
    level_us: float, uneven: list[float], cliff: int, times: float, place: int, noise: float
) -> None:
    """But for one at the very end: whether it would have lasted is not known."""
    found = costs(level_us, uneven, cliff, times)
    found[place] *= noise
    found_rise = rise(found)
    if place < 9 and not (cliff == 8 and place == 8) and not (cliff == 2 and place < 2):
        assert found_rise is not None
        assert cliff - 1 <= found_rise.tenth <= cliff + 2
        if place not in (cliff - 1, cliff, cliff + 1):
            assert found_rise.tenth == cliff


@given(st.lists(st.floats(0, 10_000), max_size=10), st.integers(1, 3))
def test_a_rise_is_as_high_and_as_long_as_it_must_be(found: list[float], lasting: int) -> None:
    found_rise = rise(found, lasting=lasting)
    if found_rise is not None:
        assert found_rise.tenth >= 2
        assert len(found) - found_rise.tenth >= lasting
        assert found_rise.occupancy == found_rise.tenth / 10
        least = max(RISE_FACTOR * found_rise.before_us, found_rise.before_us + RISE_US_MIN)
        assert found[found_rise.tenth] >= least
        assert found[-1] >= least
        assert found_rise.after_us >= least


@given(LEVEL_US, UNEVEN, CLIFF, TIMES, st.integers(1, 50))
def test_the_unit_of_the_level_does_not_matter(
    level_us: float, uneven: list[float], cliff: int, times: float, more: int
) -> None:
    once = rise(costs(level_us, uneven, cliff, times))
    scaled = rise(costs(level_us * more, uneven, cliff, times))
    assert once is not None
    assert scaled is not None
    assert once.tenth == scaled.tenth


@pytest.mark.parametrize(
    ("cost_us", "lasting", "tenth"),
    [
        ([27, 27, 27, 29, 31, 138, 455], 2, 5),  # churn by connect() alone, 8,000 ports that rest for a second
        ([33, 30, 31, 33, 110, 1051], 2, None),  # churn by bind(): the tenth before half is dearer, but not fourfold
        ([33, 30, 31, 33, 110, 1051], 1, 5),
        ([39, 48, 343, 412, 543], 2, 2),  # reuseaddr
        ([4.0] * 5 + [18.0] * 5, 2, None),  # more than fourfold, and yet a matter of some microseconds
        ([4.0] * 5 + [24.0] * 5, 2, 5),
        ([], 2, None),
    ],
)
def test_rises_that_were_seen(cost_us: list[float], lasting: int, tenth: int | None) -> None:
    found_rise = rise(cost_us, lasting=lasting)
    assert (found_rise and found_rise.tenth) == tenth


@given(LEVEL_US, st.floats(1.6, 100), st.floats(3, 7), UNEVEN)
def test_a_step_is_found_where_it_is_known_to_be(
    level_us: float, times: float, place: float, uneven: list[float]
) -> None:
    found = costs(level_us, [1 + (factor - 1) / 10 for factor in uneven], round(place), times)
    seen = step(found, place)
    if level_us * (times - 1) * 0.9 >= 1.1 * RISE_US_MIN:
        assert seen is not None
        assert seen.clear
        assert seen.after_us > STEP_FACTOR * seen.before_us


@given(LEVEL_US, st.lists(st.floats(0.9, 1.1), min_size=10, max_size=10), st.floats(0, 10))
def test_an_even_cost_has_no_step_anywhere(level_us: float, uneven: list[float], place: float) -> None:
    assert step(costs(level_us, uneven, 10, 1), place) is None


@pytest.mark.parametrize(
    ("cost_us", "place", "expected"),
    [
        # A search through 4,000 ports on a machine with dear system calls, and a busy neighbour: not twice as much.
        ([130, 125, 128, 131, 127, 240, 236, 251, 244, 239], 5.06, Step(128, 241.5, clear=True)),
        ([130, 125, 260, 131, 127, 240, 236, 251, 244, 239], 5.0, Step(130, 240, clear=False)),
        ([100] * 8 + [300] * 2, 8.0, None),  # two tenths behind the place are too few
        ([10] * 5 + [25] * 5, 5.0, None),  # some microseconds are nothing
        ([], 5.0, None),
    ],
)
def test_steps_that_were_seen(cost_us: list[float], place: float, expected: Step | None) -> None:
    assert step(cost_us, place) == expected
