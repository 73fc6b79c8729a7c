"""What loadgen is told and what is read from its answer. Nothing is run here."""

import pytest

from bench.cases import ALL_CASES, CHURN, CHURN_CONCURRENCY, HALF_RATE, HELD, OPEN_HOLD, Case
from bench.processes import Group, Look
from bench.programs import holding, read_summary, scenario
from loadgen import scenario as scenarios
from loadgen.errors import LoadgenError

WHOLE = next(case for case in ALL_CASES if case.name == "whole")
EVERY_SIZE = [*ALL_CASES, *(case.small() for case in ALL_CASES)]


def test_a_summary_becomes_a_sample() -> None:
    summary = {
        "rate_per_s": {"established_mean": 31000.5, "established_peak": 40000},
        "outcomes": {"established": 36000, "failed": 1, "in_flight": 0},
        "open": {"peak": 36000, "end_of_hold": 36000, "lost": 2},
        "tenths_s": [0.1] * 10,
        "cost_us": [30.0, 40.0],
        "generator": {"cpu_s": 1.5},
        "latency_us": {"connect": {"p50": 30.0, "p99": 60.0, "count": 36000}, "lateness": {"p50": 0.0, "count": 0}},
    }
    got = read_summary(summary)
    assert (got.rate_per_s, got.established, got.failed, got.lost) == (31000.5, 36000, 1, 2)
    assert (got.tenths_s, got.cpu_s, got.cost_us) == ((0.1,) * 10, 1.5, 35.0)
    assert (got.connect_p50_us, got.connect_p99_us, got.lateness_p50_us) == (30.0, 60.0, None)
    assert got.program == "loadgen"
    with pytest.raises(KeyError):
        read_summary({})


def test_the_rate_of_churn_is_its_mean() -> None:
    """Not the mean of the ramp, which a churn run has not."""
    summary = {
        "rate_per_s": {"established_mean": 1.0},
        "churn": {"mean_per_s": 21000.5, "sustained_per_s": 20000.0},
        "outcomes": {"established": 105000, "failed": 0},
        "open": {"lost": 0},
    }
    assert read_summary(summary).rate_per_s == 21000.5
    assert read_summary({**summary, "churn": None}).rate_per_s == 1.0


def test_a_case_is_a_scenario_without_a_lab() -> None:
    text = scenario(WHOLE)
    assert "sources: {addresses: [127.0.1.1-127.0.1.4], strategy: late-range}\n" in text
    assert "sink: true" in text
    assert "sinks: 2\n" in text
    assert "sinks:" not in scenario(OPEN_HOLD)
    assert "lab" not in text


@pytest.mark.parametrize("case", EVERY_SIZE, ids=lambda case: f"{case.label}, {case.size}")
def test_every_case_is_a_scenario_that_loadgen_reads(case: Case) -> None:
    read = scenarios.parse(scenario(case))
    assert (read.most_open, read.workers, read.close) == (case.at_once, case.processes, "rst")
    assert read.sinks == (case.sinks if case.own_sink else None)
    assert (read.heartbeat is not None) == case.heartbeat
    assert (read.churn.duration_s if read.churn else 0.0) == pytest.approx(case.churn_s, abs=0.001)


def test_churn_is_a_scenario_without_connections_or_hold() -> None:
    text = scenario(CHURN)
    assert f"churn: {{duration: 5s, concurrency: {CHURN_CONCURRENCY}}}\n" in text
    assert "connections" not in text
    assert "hold" not in text


def test_an_open_loop_is_a_scenario_with_a_rate() -> None:
    read = scenarios.parse(scenario(HALF_RATE.at_half_of(20_000)))
    assert read.arrival is not None
    assert [(stage.rate_start_per_s, stage.rate_end_per_s) for stage in read.arrival.stages] == [(10_000, 10_000)]
    assert "arrival" not in scenario(HALF_RATE)


def looks(workers: int, sinks: int) -> list[Look]:
    """Four seconds of holding HELD's connections, in which each sink takes 0.01 s of processor time a second."""
    return [
        Look(at_s, 40_004, Group(workers, workers * 700, 5.0), Group(sinks, sinks * 500, sinks * at_s / 100))
        for at_s in (10.0, 11.0, 12.0, 14.0)
    ]


LINES = [{"phase": "hold", "t_s": t_s, "cpu_s": t_s / 10} for t_s in (1.0, 2.0, 4.0)]


def test_holding_is_what_workers_say_and_what_is_seen_of_both_sides() -> None:
    got = holding(HELD[0], LINES, looks(2, 2))
    assert (got.workers_cpu_per_s, got.sinks_cpu_per_s) == pytest.approx((0.1, 0.02))
    assert (got.worker_bytes, got.sink_bytes, got.connections) == (700, 500, 20_000)


def test_a_look_that_missed_a_process_is_no_measurement() -> None:
    with pytest.raises(LoadgenError, match="saw 2 workers and 1 sinks"):
        holding(HELD[0], LINES, looks(2, 1))
