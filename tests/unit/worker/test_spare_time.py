"""How many sockets are prepared in a pause."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.worker.spare_time import SpareTime


def learned(each_ns: int) -> SpareTime:
    spare = SpareTime()
    for _ in range(100):
        spare.took(1, each_ns)
    return spare


@given(st.integers(1, 10**6), st.integers(0, 10**8))
def test_as_many_fit_as_the_pause_is_long(each_ns: int, pause_ns: int) -> None:
    spare = learned(each_ns)
    assert spare.fits(pause_ns) == pause_ns // each_ns


def test_none_fits_when_the_next_arrival_is_late_already() -> None:
    spare = learned(10_000)
    for _ in range(1000):
        assert spare.fits(-1_000_000) == 0
    assert spare.fits(20_000) == 2


def test_one_measurement_of_a_process_that_lost_its_core_changes_little() -> None:
    spare = learned(10_000)
    spare.took(1, 4_000_000)
    assert spare.fits(23_000) == 2


def test_an_estimate_that_is_too_high_comes_down_again() -> None:
    """By a measurement at once, and without one while every pause seems too short."""
    spare = learned(80_000)
    spare.took(4, 40_000)
    assert spare.fits(10_000) == 1
    spare = learned(80_000)
    assert sum(spare.fits(20_000) for _ in range(100)) > 0
