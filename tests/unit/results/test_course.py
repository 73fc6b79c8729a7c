"""The points of a run are few, and any part of it between two of them has the sums of its lines."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results import histogram
from loadgen.results.course import Course, summed
from loadgen.results.schema.line import Line
from tests.samples import bare_line


def line(number: int, phase: str = "churn", **keys: object) -> Line:
    latency = {"connect": {"100": 1, str(number % 50): number}, "exchange": {"7": 2}}
    return bare_line(float(number), phase, established=number * 10, open=number % 7, latency_ns=latency, **keys)


@given(st.integers(0, 200), st.sampled_from([2, 4, 16]), st.data())
def test_any_part_between_points_has_the_sums_of_its_lines(count: int, points_max: int, data: st.DataObject) -> None:
    lines = [line(number) for number in range(1, count + 1)]
    course = Course(points_max)
    for each in lines:
        course.add(each)
    points = course.points
    assert len(points) <= points_max
    assert [point.t_s for point in points] == sorted({point.t_s for point in points})
    assert not lines or points[-1].t_s == lines[-1].t_s
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(points))] * 2)))
    after = points[begin - 1].t_s if begin else 0.0
    inside = [each for each in lines if after < each.t_s <= (points[end - 1].t_s if end else 0.0)]
    part = points[begin:end]
    assert summed(part)[0].tolist() == sum((histogram.dense(each.latency_ns.connect) for each in inside), ZERO).tolist()
    assert summed(part)[2][7] == 2 * len(inside)
    if part:
        assert min(point.open_low for point in part) == min(each.open for each in inside)
        assert max(point.open_high for point in part) == max(each.open for each in inside)


ZERO = np.zeros(histogram.BUCKETS, dtype=np.int64)


def test_all_points_but_the_last_stand_for_as_many_lines() -> None:
    course = Course(4)
    for number in range(1, 20):
        course.add(line(number))
    assert np.diff([0.0, *(point.t_s for point in course.points)]).tolist() == [8.0, 8.0, 3.0]


def test_a_hold_begins_with_the_last_line_of_the_ramp_and_ends_before_the_drain() -> None:
    course = Course()
    for number, phase in enumerate(("ramp", "ramp", "hold", "hold", "drain", "done"), 1):
        course.add(line(number, phase))
    assert (course.begin.t_s, course.begin.established) == (2.0, 20)
    assert [point.t_s for point in course.points] == [3.0, 4.0]
