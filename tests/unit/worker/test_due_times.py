"""What is due is given out in order, once, and never before its time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.worker import due_times
from loadgen.worker.due_times import DueTimes


@given(
    st.lists(st.integers(0, 1000), max_size=60),
    st.lists(st.tuples(st.integers(0, 1100), st.integers(1, 40), st.integers(0, 40)), max_size=40),
    st.integers(1, 9),
)
def test_each_attempt_is_given_out_when_it_is_due_in_order(
    due_ns: list[int], steps: list[tuple[int, int, int]], window: int
) -> None:
    """Whatever is asked for and however much of it is used, across all windows."""
    whole, passed = sorted(due_ns), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(due_times, "_WINDOW", window)
        due = DueTimes(np.array(whole, dtype=np.int64))
        for now, most, used in steps:
            left = whole[passed:]
            assert due.due_by(now, most) == [at for at in left[:most] if at <= now]
            assert due.left == len(left)
            if left:
                assert due.next_ns() == left[0]
            used = min(used, len(left))
            due.passed(used)
            passed += used


def test_due_times_count_from_the_start() -> None:
    due = DueTimes(np.array([5, 7], dtype=np.int64))
    due.begin(100)
    assert (due.next_ns(), due.due_by(106, 9)) == (105, [105])


def test_after_the_last_there_is_no_next() -> None:
    due = DueTimes(np.array([5], dtype=np.int64))
    due.passed(1)
    assert (due.left, due.due_by(9, 9)) == (0, [])
    with pytest.raises(IndexError):
        due.next_ns()
