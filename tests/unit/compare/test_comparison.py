"""Two sides, figure by figure: one rule for noise with the cells of a matrix, and the same from both sides."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.compare.comparable import Side, Subject
from loadgen.compare.comparison import TAIL_NOISE_OF_ONE, CompareResult, Comparison, Group, Judgement, Row, compare
from loadgen.results.measures import MEASURES, Better, Measure, measure
from loadgen.results.schema.host import Host
from loadgen.results.spread import Spread
from tests import samples

values = st.lists(st.floats(0, 1e9), min_size=1, max_size=6)
figures = st.fixed_dictionaries(
    {"established": st.integers(0, 10**6), "failed": st.integers(0, 100), "rate": st.floats(0, 1e6)}
)


def subject(name: str = "a", *, established: int = 100, failed: int = 0, rate: float = 1000.0, **more: Any) -> Subject:
    error = {"syscall": "connect", "errno": "ETIMEDOUT", "outcome": "timed-out", "count": failed}
    changes = {
        "arrivals.started": established + failed,
        "outcomes.established": established,
        "outcomes.failed": failed,
        "errors": [error] if failed else [],
        "rate_per_s.established_mean": rate,
        "open.peak": established,
    }
    return samples.subject(name, {**changes, **more}, scenario={"connections": 100})


def side(label: str, *runs: dict[str, Any]) -> Side:
    return Side(label, tuple(subject(f"{label}{n}", **run) for n, run in enumerate(runs)))


def rows_of(comparison: Comparison) -> dict[str, Row]:
    return {row.measure.name: row for row in comparison.rows}


@given(st.lists(figures, min_size=1, max_size=4), st.lists(figures, min_size=1, max_size=4))
def test_the_other_way_round_better_is_worse(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    left, right = side("A", *one), side("B", *two)
    there, back = compare(left, right), compare(right, left)
    mirrored = rows_of(back)
    assert mirrored.keys() == rows_of(there).keys()
    for name, row in rows_of(there).items():
        assert mirrored[name].judgement is row.judgement.mirrored
        assert row.change is not None
        assert mirrored[name].change == -row.change
    opposite = {"better": "worse", "worse": "better"}
    assert back.overall == opposite.get(there.overall, there.overall)


@given(st.lists(figures, min_size=1, max_size=4))
def test_nothing_differs_from_itself(runs: list[dict[str, Any]]) -> None:
    found = compare(side("A", *runs), side("B", *runs))
    assert {row.judgement for row in found.rows} == {Judgement.SAME}
    assert (found.overall, found.differences, found.caveats) == ("same", (), ())
    assert "have the same figures" in found.verdict


@given(st.sampled_from(MEASURES), values, values)
def test_one_rule_for_noise(one: Measure, before: list[float], after: list[float]) -> None:
    """What is not noise between two cells is a difference here, and nothing else is; of tails not all of it."""
    base, other = Spread.of(before), Spread.of(after)
    judgement = Row(one, base, other).judgement
    alone = min(len(before), len(after)) == 1
    if base.is_noise(other) or (one.tail and alone and base.share_of_difference(other) < TAIL_NOISE_OF_ONE):
        assert judgement in (Judgement.NOISE, Judgement.SAME)
    elif one.better is Better.NEITHER:
        assert judgement is Judgement.CHANGED
    else:
        rises = other.median > base.median
        assert judgement is (Judgement.BETTER if rises is (one.better is Better.HIGHER) else Judgement.WORSE)


def test_a_single_run_tells_only_much_and_says_so() -> None:
    found = compare(side("A", {"rate": 1000.0}), side("B", {"rate": 600.0}))
    assert rows_of(found)["rate_per_s"].judgement is Judgement.NOISE
    assert found.single
    assert found.verdict == (
        "B cannot be told from A: no figure differs beyond noise. "
        "With a single run on a side, only what doubled or halved counts (p99, p99.9 and lag: fourfold)."
    )
    found = compare(side("A", {"rate": 1000.0}), side("B", {"rate": 500.0}))
    assert found.verdict.startswith("B is worse than A: rate 500/s instead of 1,000/s (-50 %).")


@pytest.mark.parametrize(
    ("p99_us", "runs", "judgement"),
    [
        (310.0, 1, Judgement.NOISE),
        (400.0, 1, Judgement.WORSE),
        (25.0, 1, Judgement.BETTER),
        (310.0, 2, Judgement.WORSE),
    ],
)
def test_one_stall_in_a_single_run_is_no_difference(p99_us: float, runs: int, judgement: Judgement) -> None:
    def runs_with(us: float) -> list[dict[str, Any]]:
        return [{"latency_us.connect.p50": us, "latency_us.connect.p99": us}] * runs

    found = rows_of(compare(side("A", *runs_with(100.0)), side("B", *runs_with(p99_us))))
    assert found["connect_p99_us"].judgement is judgement
    assert found["connect_p50_us"].judgement in (Judgement.WORSE, Judgement.BETTER)


def test_the_verdict_has_its_figures_in_the_units_of_the_table() -> None:
    one, two = ({"cost_us": [us] * 10} for us in (54.7, 1130.0))
    found = compare(side("A", one), side("B", two))
    assert "CPU per connection 1.13 ms instead of 54.7 us (+1966 %)" in found.verdict


def test_repetitions_tell_less() -> None:
    found = compare(
        side("A", {"rate": 1000.0}, {"rate": 1010.0}, {"rate": 990.0}),
        side("B", {"rate": 900.0}, {"rate": 905.0}, {"rate": 895.0}),
    )
    assert (found.overall, found.single) == ("worse", False)
    assert found.verdict == "B is worse than A: rate 900/s instead of 1,000/s (-10 %)."


def test_failures_are_told_by_kind() -> None:
    found = compare(side("A", {}), side("B", {"established": 90, "failed": 10}))
    rows = rows_of(found)
    assert rows["failed.connect.ETIMEDOUT"].judgement is rows["failed"].judgement is Judgement.WORSE
    assert rows["failed"].share is None, "of nothing everything is infinitely more"
    assert "failed 10 instead of 0;" in found.verdict.replace(".", ";")


def test_better_in_one_and_worse_in_another_is_neither() -> None:
    found = compare(side("A", {"rate": 100.0}), side("B", {"rate": 900.0, "failed": 9}))
    assert found.overall == "mixed"
    assert found.verdict.startswith("B is better than A in rate 900/s instead of 100/s (+800 %), and worse in failed 9")


def test_what_has_no_good_direction_is_only_different() -> None:
    found = compare(side("A", {"open.peak": 1}), side("B", {"open.peak": 9}))
    assert found.overall == "changed"
    assert "neither better nor worse" in found.verdict


def test_a_figure_of_one_side_is_no_judgement() -> None:
    found = compare(side("A", {}), side("B", {"cost_us": []}))
    row = rows_of(found)["cost_us"]
    assert (row.judgement, row.change, row.share) == (Judgement.UNKNOWN, None, None)
    assert found.overall == "same", "what cannot be compared is no difference"


def test_nothing_is_claimed_without_its_caveats() -> None:
    found = compare(side("A", {}), side("B", {"rate": 10.0, "complete": False}), anyway=["apples and pears"])
    assert found.caveats == ("apples and pears", "B0 is incomplete")
    assert found.verdict.startswith("With 2 caveats: B is worse than A:")
    assert found.to_json()["caveats"] == list(found.caveats)


def test_what_differs_is_told() -> None:
    left, right = subject("a"), subject("b")
    changed = replace(right, plan=samples.plan({"workers": 3, "notes": ["words"]}), scenario={"connections": 200})
    found = compare(Side("A", (left,)), Side("B", (changed,)))
    assert [(one.part.value, one.key, one.base, one.other) for one in found.differences] == [
        ("scenario", "connections", 100, 200),
        ("plan", "workers", 2, 3),
    ]


def test_a_run_without_a_host_differs_in_nothing_of_it() -> None:
    left, right = subject("a"), replace(subject("b"), host=Host())
    assert compare(Side("A", (left,)), Side("B", (right,))).differences == ()


def test_a_setting_of_the_host_that_is_the_default_is_compared_too() -> None:
    left, right = subject("a"), replace(subject("b"), host=samples.host({"late_bind": False, "listeners": [80]}))
    found = compare(Side("A", (left,)), Side("B", (right,))).differences
    assert [(one.key, one.base, one.other) for one in found] == [
        ("listeners", [], [80]),
        ("late_bind", True, False),
    ]


def test_a_scenario_that_cannot_be_read_is_no_difference() -> None:
    left, right = subject("a"), subject("b")
    unread = replace(right, scenario=None)
    assert compare(Side("A", (left,)), Side("B", (unread,))).differences == ()


def test_as_json() -> None:
    one = compare(side("A", {}), side("B", {"rate": 10.0}))
    found: Any = CompareResult({"A": "a", "B": "b"}, (Group((one,)),)).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["schema"] == "loadgen.compare/1"
    assert found["verdict"] == one.verdict
    (comparison,) = found["groups"][0]["comparisons"]
    (rate,) = [row for row in comparison["figures"] if row["name"] == "rate_per_s"]
    assert rate == {
        "name": "rate_per_s",
        "title": "rate",
        "unit": "per_s",
        "better": "higher",
        "aim": True,
        "base": {"median": 1000.0, "low": 1000.0, "high": 1000.0, "runs": 1},
        "other": {"median": 10.0, "low": 10.0, "high": 10.0, "runs": 1},
        "change": -990.0,
        "share": -0.99,
        "judgement": "worse",
    }


def test_cells_are_counted_by_what_they_came_to() -> None:
    worse = compare(side("A", {}), side("B", {"rate": 10.0}))
    doubtful = compare(side("A", {}), side("B", {"complete": False}))
    groups = (Group((worse,), {"connections": 1}), Group((doubtful,), {"connections": 2}))
    assert CompareResult({"A": "a", "B": "b"}, groups).verdict == (
        "Of 2 comparisons of cells: 1 worse, 1 same. 1 of them with caveats."
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("connect_p99_us", 250.0, "250 us"),
        ("occupancy", 0.5, "50.0 %"),
        ("ramp_s", 1.5, "1.50 s"),
        ("cost_last_to_first", 2.0, "2.00"),
        ("established", 28232.0, "28,232"),
    ],
)
def test_a_figure_in_a_sentence(name: str, value: float, said: str) -> None:
    row = Row(measure(name), Spread.of([value]), Spread.of([2 * value]))
    assert f"instead of {said} (+100 %)" in row.told
