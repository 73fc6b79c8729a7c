"""What a comparison is failed for."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.compare.comparable import Side
from loadgen.compare.comparison import CompareResult, Comparison, Group, Row
from loadgen.compare.regression import CompareCondition, violations
from loadgen.errors import UsageError
from loadgen.results.measures import MEASURES, kinds_of_failure, measure
from loadgen.results.spread import Spread
from tests import samples

SIDES = Side("A", (samples.subject("a"),)), Side("B", (samples.subject("b"),))


def comparison(*caveats: str, **figures: tuple[list[float], list[float]]) -> Comparison:
    rows = [Row(measure(name), Spread.of(base), Spread.of(other)) for name, (base, other) in figures.items()]
    return Comparison(*SIDES, tuple(rows), (), caveats)


SLOWER = {"rate_per_s": ([1000.0, 1001.0], [800.0, 801.0]), "connect_p99_us": ([100.0, 101.0], [200.0, 201.0])}


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("worse", True),
        ("  worse  ", True),
        ("worse: rate_per_s", True),
        ("worse:connect_p99_us", True),
        ("rate_per_s < -5%", True),
        ("rate_per_s < -5 %", True),
        ("rate_per_s < -19.9%", True),
        ("rate_per_s < -20.1%", False),
        ("rate_per_s < -199", True),
        ("rate_per_s < -200", False),
        ("rate_per_s > 0", False),
        ("connect_p99_us > 90%", True),
        ("connect_p99_us >= 100", True),
        ("connect_p99_us > 110%", False),
        ("failed.connect.ETIMEDOUT > 0", False),
        ("worse: failed.connect.ETIMEDOUT", False),
    ],
)
def test_what_is_met(text: str, met: bool) -> None:
    assert (CompareCondition.parse(text).violation(comparison(**SLOWER)) is not None) is met


@pytest.mark.parametrize("text", ["worse", "worse: rate_per_s", "rate_per_s < 0", "rate_per_s < -1%"])
def test_what_is_noise_meets_nothing(text: str) -> None:
    assert CompareCondition.parse(text).violation(comparison(rate_per_s=([1000.0], [600.0]))) is None


def test_better_is_not_worse_but_may_be_asked_for() -> None:
    found = comparison(rate_per_s=([100.0], [1000.0]))
    assert CompareCondition.parse("worse").violation(found) is None
    assert CompareCondition.parse("rate_per_s > 100%").violation(found) is not None


def test_from_nothing_any_percentage_is_exceeded() -> None:
    found = comparison(failed=([0.0], [3.0]))
    for text in ("failed > 0", "failed > 1000%", "failed >= 3"):
        assert CompareCondition.parse(text).violation(found) == f"--fail-if {text}: B has failed 3 instead of 0"
    assert CompareCondition.parse("failed > 3").violation(found) is None


def test_it_says_that_there_are_caveats() -> None:
    said = CompareCondition.parse("worse: rate_per_s").violation(comparison("kernels", **SLOWER))
    assert said == "--fail-if worse: rate_per_s: B has rate 800/s instead of 1,000/s (-20 %) (caveats: 1)"


def test_of_matrices_the_cell_is_named() -> None:
    groups = tuple(
        Group((found,), {"sources.strategy": strategy})
        for strategy, found in (("late", comparison(**SLOWER)), ("kernel", comparison(failed=([0.0], [9.0]))))
    )
    found = violations(
        CompareResult({}, groups),
        [CompareCondition.parse("worse: failed.connect.EPERM"), CompareCondition.parse("worse")],
    )
    assert [said.rpartition(", with ")[2] for said in found] == ["strategy late", "strategy kernel"]
    assert violations(CompareResult({}, ()), [CompareCondition.parse("worse")]) == []


def test_a_figure_that_is_not_there_is_not_good_news() -> None:
    with pytest.raises(UsageError, match="do not both have exchange_p99_us"):
        CompareCondition.parse("exchange_p99_us > 10%").violation(comparison(**SLOWER))


def test_a_kind_of_failure() -> None:
    error = {"syscall": "connect", "errno": "ETIMEDOUT", "outcome": "timed-out", "count": 9}
    (kind,) = kinds_of_failure([samples.summary({"errors": [error]})])
    found = Comparison(*SIDES, (Row(kind, Spread.of([0.0]), Spread.of([9.0])),), ())
    assert CompareCondition.parse("failed.connect.ETIMEDOUT > 5").violation(found) is not None


@pytest.mark.parametrize(
    "text",
    ["", "worse:", "better", "rate_per_s", "rate_per_s <", "rate_per_s < fast", "rate_per_s << 3", "5 < rate_per_s"],
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(ValueError, match="write worse, worse: NAME or NAME OP CHANGE"):
        CompareCondition.parse(text)


@pytest.mark.parametrize("text", ["speed > 3", "worse: speed", "failed.connect > 0"])
def test_a_name_that_there_is_not(text: str) -> None:
    with pytest.raises(ValueError, match="no figure is called"):
        CompareCondition.parse(text)


@pytest.mark.parametrize("one", MEASURES, ids=lambda one: one.name)
def test_every_figure_can_be_named(one: Any) -> None:
    assert CompareCondition.parse(f"worse: {one.name}").name == one.name
