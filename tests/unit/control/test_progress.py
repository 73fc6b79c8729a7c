"""The estimated time left of a matrix, and its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.control.progress import left_s, left_text

seconds = st.floats(0, 1e5)


def test_there_is_no_estimate_before_the_first_run_has_ended() -> None:
    assert left_s([], [10.0, 20.0]) is None


def test_runs_to_come_take_their_nominal_time_and_the_mean_overhead() -> None:
    assert left_s([(10.0, 11.0), (20.0, 23.0)], [5.0, 5.0, 5.0]) == 21.0
    assert left_s([(10.0, 11.0)], []) == 0.0


@given(st.lists(st.tuples(seconds, seconds), min_size=1), st.lists(seconds))
def test_the_estimate_is_never_negative(ended: list[tuple[float, float]], ahead: list[float]) -> None:
    """Runs that were drained early take less than their nominal time."""
    left = left_s(ended, ahead)
    assert left is not None
    assert left >= 0


@given(st.lists(st.tuples(seconds, st.floats(0, 100)), min_size=1), st.lists(seconds, min_size=1))
def test_with_a_constant_overhead_the_estimate_is_exact(ended: list[tuple[float, float]], ahead: list[float]) -> None:
    found = left_s([(nominal, nominal + 2.0) for nominal, _ in ended], ahead)
    assert found == pytest.approx(sum(ahead) + 2.0 * len(ahead), abs=1e-3)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (0.0, "about 1 s left"),
        (40.4, "about 40 s left"),
        (119.0, "about 2 min left"),
        (3_000.0, "about 50 min left"),
        (10_000.0, "about 3 h left"),
    ],
)
def test_the_text_has_a_fitting_precision(left: float, said: str) -> None:
    assert left_text(left) == said
