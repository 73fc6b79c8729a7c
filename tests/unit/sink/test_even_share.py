"""A share of events is spread evenly, and exactly."""

from __future__ import annotations

from itertools import pairwise

import pytest

from loadgen.sink.even_share import EvenShare


def selected(share: float, count: int) -> list[int]:
    """Return the numbers, from 1 on, of the selected events."""
    events = EvenShare(share)
    return [number for number in range(1, count + 1) if events.selects_next()]


@pytest.mark.parametrize(("share", "every"), [(0.1, 10), (0.25, 4), (1.0, 1)])
def test_a_share_with_a_whole_period(share: float, every: int) -> None:
    assert selected(share, 300) == list(range(every, 301, every))


def test_a_share_of_zero_selects_no_event() -> None:
    assert selected(0.0, 300) == []


def test_a_share_without_a_whole_period() -> None:
    """Of 29 %, every third or fourth event."""
    numbers = selected(0.29, 300)
    assert abs(len(numbers) - 300 * 0.29) < 1
    assert {later - earlier for earlier, later in pairwise(numbers)} == {3, 4}
