"""What is judged and what is not, and which spreads a case has."""

import pytest

from bench.cases import BY_TENTH, CHURN, HELD, LAST_QUARTER, METRICS, MILLION, OPEN_HOLD, Case
from bench.samples import Holding, Result, Sample
from bench.summary import summarise

RATE_CASE, QUARTER_CASE = OPEN_HOLD, LAST_QUARTER


def sample(case: Case, program: str = "loadgen", **changes: object) -> Sample:
    values: dict[str, object] = {
        "program": program,
        "rate_per_s": 100.0,
        "established": case.connections,
        "failed": 0,
        "lost": 0,
        "tenths_s": (1.0,) * 10,
    }
    return Sample(**{**values, **changes})  # type: ignore[arg-type]  # keyword by keyword, checked at run time


def test_churn_by_loadgen_may_establish_any_number() -> None:
    """It ends with its time; the C client ends with its number, and a failure or a loss is one in both."""
    assert sample(CHURN, established=17, peak=3).trouble(CHURN) == ""
    assert "1 failed" in sample(CHURN, established=17, failed=1).trouble(CHURN)
    assert "17 established" in sample(CHURN, established=17, lost=1).trouble(CHURN)
    assert "17 of 100,000" in sample(CHURN, "reference", established=17).trouble(CHURN)
    assert sample(CHURN, "reference", peak=3).trouble(CHURN) == ""
    assert sample(RATE_CASE, established=17).trouble(RATE_CASE) != ""


def test_a_run_that_lost_connections_is_not_judged_as_a_speed() -> None:
    fast_but_wrong = sample(RATE_CASE, rate_per_s=1e6, established=RATE_CASE.connections - 1, failed=1)
    assert "1 failed" in fast_but_wrong.trouble(RATE_CASE)
    result = Result(RATE_CASE, [sample(RATE_CASE, "reference")], [fast_but_wrong])
    assert summarise(result)["met"] is None


def test_sinks_that_never_held_all_at_once_are_trouble() -> None:
    assert "at once" in sample(RATE_CASE, peak=17).trouble(RATE_CASE)
    assert sample(RATE_CASE, peak=RATE_CASE.connections).trouble(RATE_CASE) == ""


@pytest.mark.parametrize(("rate", "met"), [(80.0, True), (79.0, False)])
def test_a_rate_is_judged_against_the_reference(rate: float, met: bool) -> None:
    ours, theirs = sample(RATE_CASE, rate_per_s=rate), sample(RATE_CASE, "reference")
    summary = summarise(Result(RATE_CASE, [theirs], [ours]))
    assert (summary["met"], summary["ratio_of_medians"]) == (met, rate / 100)


@pytest.mark.parametrize(("last", "met"), [(1.0, True), (2.0, False)])
def test_quarters_are_judged_against_the_first_quarter(last: float, met: bool) -> None:
    ours = sample(QUARTER_CASE, tenths_s=(1.0,) * 7 + (last,) * 3)
    summary = summarise(Result(QUARTER_CASE, [sample(QUARTER_CASE, "reference")], [ours]))
    assert (summary["met"], summary["loadgen"]["last_to_first"]["median"]) == (met, pytest.approx(1 / last))


def test_without_loadgen_nothing_is_judged() -> None:
    assert summarise(Result(QUARTER_CASE, [sample(QUARTER_CASE, "reference")]))["met"] is None


def test_the_most_memory_of_any_round_is_reported() -> None:
    result = Result(MILLION, [sample(MILLION, "reference")] * 2, [sample(MILLION, memory_bytes=n) for n in (7, 9)])
    assert summarise(result)["loadgen"]["memory_bytes"]["high"] == 9
    assert "memory_bytes" not in summarise(Result(RATE_CASE, [], [sample(RATE_CASE)]))["loadgen"]


def test_recording_is_compared_with_itself_left_out() -> None:
    theirs = sample(METRICS, "without-metrics", rate_per_s=125.0, cost_us=40.0)
    summary = summarise(Result(METRICS, [theirs], [sample(METRICS, cost_us=44.0)]))
    assert (summary["ratio_by_round"]["median"], summary["cost_ratio_by_round"]["median"]) == pytest.approx((0.8, 1.1))
    assert summary["without-metrics"]["rate_per_s"]["median"] == 125.0
    assert summary["met"] is None


def test_tenths_are_spreads_over_the_rounds() -> None:
    case = BY_TENTH[0]
    rounds = [sample(case, tenths_s=(1.0,) * 9 + (last,)) for last in (1.0, 2.0, 4.0)]
    tenths = summarise(Result(case, [], rounds))["loadgen"]["tenths_per_s"]
    assert (len(tenths), tenths[0]["median"]) == (10, 6400.0)
    assert tenths[9] == {"median": 3200.0, "low": 1600.0, "high": 6400.0}


def test_holding_is_told_for_ten_thousand_and_memory_for_a_process() -> None:
    holding = Holding(20_000, 2, 2, 0.2, 0.1, 80e6, 60e6)
    held = summarise(Result(HELD[0], [], [sample(HELD[0], holding=holding)]))["loadgen"]["held"]
    assert {key: held[key]["median"] for key in ("workers_cpu_per_s", "sinks_cpu_per_s", "worker_bytes")} == {
        "workers_cpu_per_s": 0.1,
        "sinks_cpu_per_s": 0.05,
        "worker_bytes": 80e6,
    }
