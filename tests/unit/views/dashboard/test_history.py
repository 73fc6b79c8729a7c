"""A history stays small whatever the length of a run, and loses nothing that was counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results import histogram
from loadgen.results.schema.line import LatencyNs, Line
from loadgen.results.thinning import coarse
from loadgen.views.dashboard.history import History, lines_of
from tests.samples import bare_line

PHASES = ("ramp", "hold", "drain", "done")
SPARSE = st.dictionaries(st.integers(0, histogram.BUCKETS - 1).map(str), st.integers(1, 10**6), max_size=5)


def line(t_s: float, phase: str = "hold", **changes: Any) -> Line:
    return bare_line(t_s, phase, **changes)


@st.composite
def runs(draw: st.DrawFn) -> list[Line]:
    """The lines of a run: time and counts rise, the phases come once each."""
    steps = draw(st.lists(st.tuples(st.integers(0, 1000), SPARSE, SPARSE, SPARSE), min_size=1, max_size=60))
    phases = sorted(draw(st.lists(st.integers(0, 3), min_size=len(steps), max_size=len(steps))))
    established = np.cumsum([step[0] for step in steps]).tolist()
    return [
        line(
            float(number),
            PHASES[phases[number]],
            established=established[number],
            latency_ns={"connect": connect} | ({"bind": exchange} if number % 3 else {}),
            lag_ns=lag,
        )
        for number, (_, connect, exchange, lag) in enumerate(steps)
    ]


def kept(lines: list[Line], limit: int) -> list[Line]:
    history = History(limit)
    for one in lines:
        history.add(one)
    return lines_of(history.packed)


def counted(lines: list[Line]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in lines:
        for kind in LatencyNs.__struct_fields__:
            found[kind] += sum(one.latency_ns.of(kind).values())
        found["lag"] += sum(one.lag_ns.values())
    return +found


@given(runs(), st.integers(4, 20))
def test_what_was_counted_is_all_there_and_the_bound_is_kept(lines: list[Line], limit: int) -> None:
    found = kept(lines, limit)
    assert counted(found) == counted(lines)
    assert len(found) <= limit + len(PHASES)
    times = [one.t_s for one in found]
    assert times == sorted(set(times))


@given(runs(), st.integers(4, 20))
def test_the_first_line_the_last_totals_and_every_change_of_phase_stay(lines: list[Line], limit: int) -> None:
    found = kept(lines, limit)
    assert (found[0].t_s, found[0].established) == (lines[0].t_s, lines[0].established)
    assert (found[-1].t_s, found[-1].established) == (lines[-1].t_s, lines[-1].established)

    def ends(of: list[Line]) -> dict[str, float]:
        return {one.phase: one.t_s for one in of}

    assert ends(found) == ends(lines)


def test_a_week_of_holding_keeps_its_totals_in_a_few_hundred_lines() -> None:
    found = kept([line(float(second), lag_ns={"300": 1}) for second in range(50_000)], 600)
    assert 300 <= len(found) <= 601
    assert counted(found)["lag"] == 50_000
    steps = np.diff([one.t_s for one in found])[1:-1]
    assert np.median(steps) == steps.max() == 128  # evenly, but for what was alone when the others were merged
    assert steps.min() >= 64


@pytest.mark.parametrize(("width", "part"), [(8, 30), (32, 8)])
@given(SPARSE)
def test_a_coarse_histogram_reads_within_a_part_of_the_value(width: int, part: int, counts: dict[str, int]) -> None:
    """A thirtieth in a report, an eighth in a dashboard."""
    exact, found = histogram.dense(counts), histogram.dense(coarse(counts, width))
    assert exact.sum() == found.sum()
    for q in (0.0, 0.5, 0.99, 1.0):
        value_ns = histogram.quantile_ns(exact, q)
        assert abs(histogram.quantile_ns(found, q) - value_ns) <= max(value_ns / part, width)


def test_of_many_pairs_only_the_latest_line_has_the_counts() -> None:
    found = kept([line(float(second), pairs=[[1, 0, 1]] * 1000) for second in range(3)], 600)
    assert [len(one.pairs) for one in found] == [0, 0, 1000]
