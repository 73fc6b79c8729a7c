"""A trial holds or fails by its expectations, held against the steady part of its run."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from loadgen.find.judging import judged, judged_step, predicted
from loadgen.find.steps import OpeningStep, StepResult
from loadgen.results.schema import files
from loadgen.results.schema.find import FailedCondition, TrialResult, TrialStatus
from loadgen.results.schema.run import ErrorCount, Quantiles, RunSummary, SteadyLatencyUs, SteadyResult
from loadgen.scenario.expect import SOMETHING_OPENED, Expectation
from tests import samples

NONE_FAILED = "outcomes.failed == 0"
QUANTILES = Quantiles(p50=10.0, p90=20.0, p99=30.0, p999=40.0, max=50.0, count=200)


def trial(run: RunSummary, *expect: str, key: str = "arrival.rate") -> TrialResult:
    parsed = [Expectation.parse(text) for text in expect or (NONE_FAILED,)]
    made = judged(run, parsed, key=key, value=100.0, number=3, cell=1, stage="narrowing")
    assert (made.number, made.cell, made.value, made.stage, made.run) == (3, 1, 100.0, "narrowing", None)
    assert files.convert(files.plain(made), TrialResult) == made
    return made


def steady(**changes: Any) -> SteadyResult:
    """The steady part of the recorded churn, as it would be with these figures."""
    keys: dict[str, Any] = {
        "reached": True,
        "from_s": 1.0,
        "to_s": 3.0,
        "established": 200,
        "failed": 0,
        "lost": 0,
        "established_per_s": 99.5,
        "established_per_s_low": 90.0,
        "established_per_s_high": 110.0,
        "failed_share": 0.0,
        "open_low": 0,
        "open_high": 1,
        "latency_us": SteadyLatencyUs(connect=QUANTILES, arrival=QUANTILES),
    }
    return SteadyResult(**{**keys, **changes})


def test_held() -> None:
    run = samples.summary()
    made = trial(run, NONE_FAILED, "open.peak == 150", key="connections")
    assert (made.outcome, made.reason, made.failed) == (TrialStatus.HELD, None, ())
    assert (made.limit, made.verdict, made.failed_share) == ("none", run.verdict.text, 0.0)
    assert made.established_per_s == run.rate_per_s.established_mean
    assert made.connect_p99_us == run.latency_us.connect.p99
    assert (made.duration_s, made.steady_s) == (run.duration_s, None)


def test_failed() -> None:
    run = samples.summary(name="wall")
    made = trial(run, NONE_FAILED, "outcomes.established >= 200", "open.peak > 1_000", key="connections")
    assert made.outcome is TrialStatus.FAILED
    assert made.failed == (
        FailedCondition(expression=NONE_FAILED, observed=8),
        FailedCondition(expression="open.peak > 1_000", observed=200),
    )
    assert made.reason == "expected outcomes.failed == 0, observed 8; expected open.peak > 1_000, observed 200"
    assert (made.limit, made.remedy) == ("four-tuples", run.verdict.remedies[0])
    assert made.failed_share == pytest.approx(8 / 208, abs=1e-6)


@pytest.mark.parametrize("name", ["interrupted", "killed-worker"])
def test_a_run_that_was_cut_short_says_nothing_whatever_it_counted(name: str) -> None:
    for expect in (NONE_FAILED, "outcomes.established > 1_000_000"):
        made = trial(samples.summary(name=name), expect)
        assert made.outcome is TrialStatus.UNKNOWN
        assert made.reason


def test_a_run_in_which_nothing_opened_never_holds() -> None:
    """The run itself fails for it, so the trial does, whatever it was to meet."""
    nothing = {"expression": SOMETHING_OPENED.text, "passed": False, "observed": 0}
    run = samples.summary({"outcomes.established": 0, "outcomes.failed": 150, "expect": [nothing]})
    made = trial(run, "outcomes.failed < 1_000")
    assert made.outcome is TrialStatus.FAILED
    assert made.failed == (FailedCondition(expression=SOMETHING_OPENED.text, observed=0),)


def test_what_came_before_the_steady_part_does_not_count() -> None:
    run = samples.summary(name="churn")
    assert trial(run).outcome is TrialStatus.FAILED
    made = trial(replace(run, steady=steady()), NONE_FAILED, "outcomes.established == 200")
    assert (made.outcome, made.steady_s, made.established_per_s) == (TrialStatus.HELD, (1.0, 3.0), 99.5)
    assert (made.connect_p99_us, made.failed_share) == (30.0, 0.0)


def test_a_failure_in_the_steady_part_counts() -> None:
    errors = (ErrorCount(syscall="connect", errno="EADDRNOTAVAIL", outcome="no-free-four-tuple", count=5),)
    made = trial(replace(samples.summary(name="churn"), steady=steady(failed=5, errors=errors)))
    assert made.failed == (FailedCondition(expression=NONE_FAILED, observed=5),)
    assert made.failed_share == round(5 / 205, 6)


def test_ports_that_run_out_after_the_steady_part_count() -> None:
    """It may end a line before the load does; a value does not hold because its last interval is left out."""
    run = replace(samples.summary({"churn.first_denied_s": 2.9}, "churn"), steady=steady(to_s=2.8))
    made = trial(run)
    assert (made.outcome, made.steady_s) == (TrialStatus.FAILED, None)
    assert made.failed == (FailedCondition(expression=NONE_FAILED, observed=681),)
    assert run.churn
    assert made.established_per_s == run.churn.mean_per_s


def test_without_a_steady_part_it_is_judged_by_all_of_it() -> None:
    run = replace(samples.summary(name="churn"), steady=steady(reached=False, reason="the rate drifts"))
    made = trial(run)
    assert (made.outcome, made.steady_s) == (TrialStatus.FAILED, None)
    assert made.failed == (FailedCondition(expression=NONE_FAILED, observed=681),)


@pytest.mark.parametrize(
    ("changes", "rate", "for_ever"),
    [
        ({"rest_s": 1.0, "per_s": 100.0}, 100.0, None),
        ({"rest_s": 60.0, "per_s": 1.7, "established": 100}, None, 1.7),
        ({"rest_s": 60.0, "per_s": 1.7, "established": None}, None, 1.7),
        ({"per_s": None}, None, None),
    ],
)
def test_the_predicted_rate_of_churn(changes: dict[str, Any], rate: float | None, for_ever: float | None) -> None:
    run = samples.summary({f"churn.ceiling.{key}": value for key, value in changes.items()}, "churn")
    assert predicted(run, "arrival.rate") == rate
    assert trial(run).for_ever == for_ever
    assert predicted(run, "churn.concurrency") is None
    assert trial(run, key="churn.concurrency").for_ever is None


def test_the_predicted_rate_of_a_run_shorter_than_a_port_rests() -> None:
    """Each of the ports serves once: 100 of them in 3 s."""
    rests = {"churn.ceiling.rest_s": 60.0, "churn.ceiling.established": 100, "churn.ceiling.per_s": 1.7}
    run = samples.summary({**rests, "prediction.possible": False}, "churn")
    assert predicted(run, "arrival.rate") == pytest.approx(100 / 3)
    assert trial(run).for_ever == 1.7


@pytest.mark.parametrize(("possible", "at"), [(False, 200), (True, None), (None, None)])
def test_the_predicted_number_of_connections(possible: bool | None, at: int | None) -> None:
    run = samples.summary({"prediction.possible": possible}, "wall")
    assert predicted(run, "connections") == at
    assert predicted(run, "arrival.rate") is None


def test_a_step_has_the_figures_of_its_own_part() -> None:
    """The run was ended on purpose, which is no reason to doubt its steps."""
    run, step = samples.summary(name="interrupted"), OpeningStep(200.0, 1.0, 2.0)
    missed = (FailedCondition(expression=NONE_FAILED, observed=8),)
    failed = judged_step(StepResult(step, missed, samples.summary(name="wall")), run, number=2, cell=0)
    assert (failed.outcome, failed.value, failed.limit, failed.stage) == (
        TrialStatus.FAILED,
        200.0,
        "four-tuples",
        "step",
    )
    assert (failed.reason, failed.failed) == ("expected outcomes.failed == 0, observed 8", missed)
    assert failed.remedy is not None
    held = judged_step(StepResult(step, (), samples.summary(name="wall")), run, number=1, cell=0)
    assert (held.outcome, held.reason, held.limit, held.remedy) == (TrialStatus.HELD, None, "none", None)
    assert held.duration_s == run.duration_s
