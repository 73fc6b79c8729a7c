"""What is judged and what is not, and which spreads a case has."""

import pytest

from bench.cases import BY_TENTH, CHURN, HALF_RATE, HELD, LAST_QUARTER, METRICS, MILLION, OPEN_HOLD, WATCH, Case
from bench.samples import Holding, Recording, Result, Sample, Watching
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


@pytest.mark.parametrize(("rate", "met"), [(95.0, True), (94.0, False)])
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


@pytest.mark.parametrize(
    ("ours_us", "met"), [(41.9, True), (38.1, True), (42.1, False), (37.9, False)], ids=lambda value: str(value)
)
def test_times_to_connect_are_judged_by_how_far_they_are_from_the_reference(ours_us: float, met: bool) -> None:
    """In an open loop both rates are the schedule's, so nothing can be learned from them."""
    theirs = sample(HALF_RATE, "reference", connect_p50_us=40.0, rate_per_s=1.0)
    summary = summarise(Result(HALF_RATE, [theirs], [sample(HALF_RATE, connect_p50_us=ours_us)]))
    assert (summary["met"], summary["ratio_of_medians"]) == (met, ours_us / 40)
    assert summary["reference"]["connect_p50_us"]["median"] == 40.0
    assert "lateness_p50_us" not in summary["reference"]


def test_who_connected_nothing_has_no_ratio() -> None:
    theirs = sample(HALF_RATE, "reference", connect_p50_us=0.0, established=0)
    summary = summarise(Result(HALF_RATE, [theirs], [sample(HALF_RATE, connect_p50_us=40.0)]))
    assert ("ratio_by_round" in summary, summary["met"]) == (False, None)


def test_recording_is_compared_with_itself_left_out_inside_each_round() -> None:
    """The second round was disturbed, all arms of it alike."""
    result = Result(METRICS, recording=[Recording(41.0, 40.0, 42.0), Recording(81.0, 80.0, 82.0)])
    summary = summarise(result)["recording"]
    assert (summary["cost_us"]["median"], summary["difference_of_control_us"]["median"]) == (1.5, 1.0)
    assert (summary["cost_us"]["high"], summary["without_us"]["high"]) == (1.5, 80.0)


@pytest.mark.parametrize(("dump_s", "met"), [(0.5, True), (0.51, False)])
def test_watching_is_judged_by_the_sockets_of_a_median_round(dump_s: float, met: bool) -> None:
    """Reading and grouping count together, and neither the fastest nor the slowest round does."""
    rounds = [Watching(60_000, 4, other_s, 0.1) for other_s in (0.01, dump_s, 5.0)]
    summary = summarise(Result(WATCH, watching=rounds))
    watching = summary["watching"]
    assert (summary["met"], watching["sockets"], watching["groups"]) == (met, 60_000, 4)
    assert watching["sockets_per_s"]["median"] == pytest.approx(60_000 / (dump_s + 0.1))
    assert (watching["dump_s"]["high"], watching["group_s"]["median"]) == (5.0, 0.1)


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
