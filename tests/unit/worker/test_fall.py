"""Held connections are closed evenly over the time that is planned for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.worker.fall import Fall


@given(st.integers(1, 10_000), st.integers(1, 10**10), st.lists(st.floats(0, 1, exclude_max=True), max_size=20))
def test_each_instant_has_its_share_whatever_the_steps(count: int, lasts_ns: int, moments: list[float]) -> None:
    fall, closed = Fall(5, lasts_ns, count), 0
    for moment in sorted(moments):
        due = fall.due_by(5 + int(moment * lasts_ns))
        fall.closed(due)
        closed += due
        assert closed == count * int(moment * lasts_ns) // lasts_ns
    assert fall.due_by(5 + lasts_ns) > count


def test_without_a_time_or_a_connection_or_once_ended_all_is_due() -> None:
    ended = Fall(0, 10**9, 100)
    assert ended.due_by(10**8) == 10
    ended.end()
    assert min(fall.due_by(1) for fall in (Fall(0, 0, 100), Fall(0, 10**9, 0), ended)) > 100
