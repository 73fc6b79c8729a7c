"""The search for the largest number that fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity.resources import most


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(0, 500))
def test_the_most_that_can_be_had_is_the_last_that_fits(available: int, each: int, fixed: int) -> None:
    def cost(count: int) -> int:
        return count * each + fixed

    found = most(cost, available)
    assert cost(found) <= available or found == 0
    assert cost(found + 1) > available
