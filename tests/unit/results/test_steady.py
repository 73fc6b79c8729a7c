"""The steady part of a run begins after what changes, and is none where too little is left or it changes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.model import Ceiling, Churn, LoadProfile, Plan, Stage
from loadgen.results import steady
from loadgen.results.fold import Fold
from loadgen.results.schema import files
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import RunSummary, SteadyResult
from loadgen.results.summary import held, summarise
from loadgen.scenario.expect import Expectation
from tests import samples
from tests.plans import plan_of

INTERVAL_S: Final = 0.1
DENIED: Final = ("connect", "EADDRNOTAVAIL", "no-free-four-tuple")


def churning(duration_s: float, **more: Any) -> Plan:
    return plan_of(**{"churn": Churn(duration_s), "interval_s": INTERVAL_S, **more})


def noisy(levels: Iterable[float], seed: int = 1, spread: float = 0.05) -> list[float]:
    """Rates around these levels, one for each interval."""
    drawn = np.random.default_rng(seed).normal(1.0, spread, 10_000)
    return [max(level * float(factor), 0.0) for level, factor in zip(levels, drawn, strict=False)]


def lines(rates: Sequence[float], failing: Sequence[float] = (), **last: Any) -> list[Line]:
    """Lines of churn with these connections and failures per second in each interval."""
    established = np.cumsum(np.rint(np.array(rates) * INTERVAL_S)).astype(int)
    failed = np.cumsum(np.rint(np.array([*failing, *[0.0] * len(rates)][: len(rates)]) * INTERVAL_S)).astype(int)
    before = [0, *established]
    return [
        samples.bare_line(
            round((n + 1) * INTERVAL_S, 6),
            "churn",
            established=int(up),
            failed=int(down),
            pairs=[[int(up), int(down), 0]],
            errors=[[*DENIED, int(down)]] if down else [],
            latency_ns={"connect": {str(1000 + n // 10): int(up - before[n])}} if up > before[n] else {},
            **last,
        )
        for n, (up, down) in enumerate(zip(established, failed, strict=True))
    ]


def found(plan: Plan, series: Iterable[Line]) -> SteadyResult:
    result = steady.found(plan, Fold.of(series))
    assert result
    return result


def test_a_constant_rate_is_steady_from_the_second_interval_on() -> None:
    part = found(churning(5.0), lines(noisy([800.0] * 50)))
    assert (part.reached, part.reason, part.from_s, part.to_s, part.changed_at_s) == (True, None, 0.1, 5.0, ())
    assert part.established_per_s == pytest.approx(800.0, rel=0.02)
    assert part.established_per_s_low < 800.0 < part.established_per_s_high
    assert 0.95 < part.latency_us.connect.count / part.established < 0.97, "without the first two of 49 intervals"
    assert (part.failed, part.failed_share, part.errors) == (0, 0.0, ())


def test_the_steady_part_begins_after_a_step() -> None:
    """Three seconds at 800/s, two at 471/s, and 100/s fail from then on."""
    rates = noisy([800.0] * 20 + [471.0] * 30)
    part = found(churning(5.0), lines(rates, [0.0] * 20 + [100.0] * 30))
    assert (part.reached, part.from_s, part.changed_at_s) == (True, 2.0, (2.0,))
    assert part.established_per_s == pytest.approx(471.0, rel=0.02)
    assert part.failed == 300
    assert [(error.errno, error.count) for error in part.errors] == [("EADDRNOTAVAIL", 300)]


def test_latencies_from_before_a_change_are_left_out() -> None:
    """They are told up to a tenth of a second late."""
    series = lines([2000.0] * 20 + [400.0] * 30)
    late = {"connect": {"1500": 200}}
    series[20] = samples.bare_line(2.1, "churn", established=4040, pairs=[[4040, 0, 0]], latency_ns=late)
    part = found(churning(5.0), series)
    assert (part.from_s, part.established) == (2.0, 1200)
    assert part.latency_us.connect.count == 28 * 40
    assert part.latency_us.connect.max < 100


def test_of_two_steps_the_last_counts() -> None:
    part = found(churning(9.0), lines(noisy([900.0] * 30 + [600.0] * 30 + [300.0] * 30)))
    assert (part.reached, part.from_s, part.changed_at_s[-1]) == (True, 6.0, 6.0)


def test_too_little_after_a_step_is_not_steady() -> None:
    part = found(churning(5.0), lines(noisy([800.0] * 38 + [471.0] * 12)))
    assert not part.reached
    assert part.reason
    assert part.reason.startswith("the rate fell from ")
    assert "at 3.80 s, and 1.20 s are left, less than a quarter of 4.90 s" in part.reason


@pytest.mark.parametrize("end", [0.85, 0.5])
def test_a_slow_fall_is_not_steady(end: float) -> None:
    part = found(churning(5.0), lines(noisy(np.linspace(800.0, 800.0 * end, 50).tolist(), spread=0.02)))
    assert not part.reached


def test_a_fall_that_ends_is_steady_after_it() -> None:
    part = found(churning(8.0), lines(noisy([*np.linspace(800.0, 400.0, 20), *[400.0] * 60], spread=0.03)))
    assert part.reached
    assert 0.5 <= part.from_s <= 3.0
    assert part.established_per_s == pytest.approx(400.0, rel=0.05)


def test_bursts_that_come_again_and_again_are_steady() -> None:
    """Ports that rest for half a second come back all at once."""
    part = found(churning(5.0), lines([1000.0, 0.0, 0.0, 0.0, 0.0] * 10))
    assert part.reached
    assert (part.established_per_s_low, part.established_per_s_high) == (0.0, 1000.0)


def test_one_burst_of_failures_is_no_change_and_is_counted() -> None:
    part = found(churning(5.0), lines([800.0] * 50, [0.0] * 25 + [500.0]))
    assert (part.reached, part.failed) == (True, 50)


def test_noise_alone_is_seldom_a_change() -> None:
    """A tenth of spread, and what is left of fifty runs by chance."""
    runs = [found(churning(4.0), lines(noisy([800.0] * 40, seed, 0.1))) for seed in range(50)]
    assert sum(not part.reached or bool(part.changed_at_s) for part in runs) <= 1


def test_it_begins_after_the_ports_first_ran_out() -> None:
    """Also where that is too short for a test on ranks, and what waits for ports comes in waves of their rest."""
    series = lines([2000.0, *[400.0] * 49], first_denied_s=0.15)
    part = found(churning(5.0), series)
    assert (part.reached, part.from_s, part.changed_at_s) == (True, 0.2, (0.15,))
    resting = Ceiling(per_s=1.7, established=100, because="", rest_s=60.0)
    part = found(churning(5.0, ceiling=resting), series)
    assert not part.reached
    assert part.reason
    assert part.reason.startswith("the ports first ran out at 0.15 s, and 4.80 s are left, less than the 60.0 s for")


def test_ports_that_run_out_at_the_end_leave_too_little() -> None:
    part = found(churning(5.0), lines([800.0] * 50, first_denied_s=4.95))
    assert not part.reached
    assert part.changed_at_s == (4.95,)


def test_ports_that_ran_out_after_it_say_nothing() -> None:
    profile = LoadProfile(0.0, 1.0, 3.0, 1.0)
    part = found(churning(5.0, profile=profile), lines([800.0] * 50, first_denied_s=4.5))
    assert (part.reached, part.from_s, part.to_s, part.changed_at_s) == (True, 1.0, 4.0, ())


@pytest.mark.parametrize(
    "more",
    [
        {"profile": LoadProfile(0.0, 2.0, 2.5, 0.5)},
        {"stages": (Stage(0.0, 800.0, 2.0), Stage(800.0, 800.0, None))},
    ],
)
def test_ramps_are_no_part_of_it(more: dict[str, Any]) -> None:
    rates = [*np.linspace(0.0, 800.0, 20), *[800.0] * 25, *np.linspace(800.0, 0.0, 5)]
    part = found(churning(4.5 if "stages" in more else 5.0, **more), lines(rates))
    assert (part.reached, part.from_s, part.to_s, part.established) == (True, 2.0, 4.5, 2000)


def test_too_short_a_run_says_so_only_where_it_is_asked() -> None:
    series = lines([800.0] * 8)
    assert steady.found(churning(0.8), Fold.of(series)) is None
    for asked in ({"expect": ("steady.failed == 0",)}, {"profile": LoadProfile(0.0, 0.1, 0.6, 0.1)}):
        part = found(churning(0.8, **asked), series)
        assert not part.reached
        assert part.reason
        assert part.reason.endswith("less than 10 intervals of 0.10 s")


def test_where_nothing_opened_nothing_is_steady() -> None:
    part = found(churning(5.0), lines([0.0] * 50, [100.0] * 50))
    assert (part.reached, part.reason, part.failed_share) == (False, "no connection opened", 1.0)


def test_a_run_that_neither_churned_nor_held_has_none() -> None:
    assert steady.found(plan_of(), Fold.of([samples.bare_line(float(n), "ramp", open=n) for n in range(40)])) is None


# --- Held -----------------------------------------------------------------------------------------


def holding(opened: Sequence[int]) -> list[Line]:
    """A ramp of a second to 1,000, and a hold with these open in each interval."""
    open_then = {"established": 1000, "pairs": [[1000, 0, 1000]]}
    ramp = [samples.bare_line(1.0, "ramp", open=1000, **open_then)]
    return ramp + [
        samples.bare_line(1.0 + (n + 1) * INTERVAL_S, "hold", open=count, lost=1000 - count, **open_then)
        for n, count in enumerate(opened)
    ]


HOLD: Final = plan_of(hold_s=3.0, interval_s=INTERVAL_S)


def test_held_connections_that_stay_are_steady() -> None:
    part = found(HOLD, holding([1000] * 30))
    assert (part.reached, part.from_s, part.to_s) == (True, 1.0, 4.0)
    assert (part.open_low, part.open_high, part.lost, part.established) == (1000, 1000, 0, 0)


def test_a_few_that_are_lost_are_counted() -> None:
    part = found(HOLD, holding([1000] * 15 + [996] * 15))
    assert (part.reached, part.lost, part.open_low) == (True, 4, 996)


@pytest.mark.parametrize(
    ("opened", "words"),
    [
        ([1000] * 15 + [600] * 15, "the number open fell from 1,000 to 600 at 2.50 s"),
        ([1000 - 2 * n for n in range(30)], "the number open fell from"),
        ([0] * 30, "no connection was open"),
    ],
)
def test_held_connections_that_go_are_not_steady(opened: list[int], words: str) -> None:
    part = found(HOLD, holding(opened))
    assert not part.reached
    assert part.reason
    assert part.reason.startswith(words)


# --- The summary ----------------------------------------------------------------------------------


def folded(plan: Plan, series: Sequence[Line]) -> RunSummary:
    """The summary of a run that ended, whose last line is counted again after the drain."""
    return summarise(plan, samples.host(), series, samples.events(), run="r")


def test_over_the_steady_part_the_figures_are_its_own() -> None:
    rates = noisy([800.0] * 20 + [471.0] * 30)
    whole = folded(churning(5.0), lines(rates, [100.0] * 10))
    part, over = whole.steady, steady.over_steady(whole)
    assert part
    assert over
    assert over.churn
    assert (over.outcomes.established, over.outcomes.failed) == (part.established, part.failed) != (0, 0)
    assert over.errors == part.errors == ()
    assert whole.outcomes.failed == 100
    assert over.churn.mean_per_s == over.churn.sustained_per_s == over.rate_per_s.established_mean
    assert over.latency_us.connect == part.latency_us.connect
    assert over.latency_us.lateness == whole.latency_us.lateness
    expectations = [Expectation.parse("outcomes.failed == 0"), Expectation.parse("steady.failed == 0")]
    assert [row.passed for row in held(expectations, whole)] == [False, True]
    assert [row.passed for row in held(expectations, over)] == [True, True]


def test_over_a_hold_the_opening_stays_that_of_the_run() -> None:
    series = holding([1000] * 15 + [996] * 15)
    drained = samples.bare_line(5.0, "drain", established=1000, lost=900, pairs=[[1000, 0, 0]])
    whole = folded(HOLD, [*series, drained])
    over = steady.over_steady(whole)
    assert over
    assert whole.steady
    assert whole.steady.lost == 4
    assert (over.open, over.outcomes, over.rate_per_s) == (whole.open, whole.outcomes, whole.rate_per_s)
    assert over.errors == whole.errors


def test_of_a_part_that_is_not_steady_no_expectation_holds() -> None:
    plan = churning(5.0, expect=("steady.failed == 0", "steady.to_s > 0"))
    whole = folded(plan, lines(noisy([800.0] * 38 + [471.0] * 12)))
    assert steady.over_steady(whole) is None
    assert [(row.passed, row.observed) for row in whole.expect] == [(False, None), (True, 5.0)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.0, 5000.0), max_size=60), st.integers(0, 60), st.one_of(st.none(), st.floats(0.0, 8.0)))
def test_any_run_folds_to_the_same_part_as_its_files(rates: list[float], cut: int, denied_s: float | None) -> None:
    """And the part lies within the run, with sums that are no more than the run's."""
    plan = churning(len(rates) * INTERVAL_S or 1.0, expect=("steady.failed == 0",))
    series = lines(rates, rates[::-1], first_denied_s=denied_s)[:cut]
    written = [files.read(files.line_of(line), Line) for line in series]
    part = steady.found(plan, Fold.of(series))
    assert part == steady.found(files.convert(files.plain(files.plan_of(plan)), Plan), Fold.of(written))
    if part:
        assert 0 <= part.from_s < part.to_s <= series[-1].t_s
        assert part.established <= series[-1].established
        assert part.latency_us.connect.count <= part.established
        assert sum(error.count for error in part.errors) == part.failed
        assert part.established_per_s_low <= part.established_per_s <= part.established_per_s_high
        assert part.reached is (part.reason is None)


def test_a_long_run_keeps_few_points_and_finds_the_same() -> None:
    rates = noisy([800.0] * 1000 + [400.0] * 2000)
    part = found(replace(churning(300.0)), lines(rates))
    assert part.reached
    assert part.from_s == pytest.approx(100.0, abs=1.0)
    assert part.established_per_s == pytest.approx(400.0, rel=0.01)
