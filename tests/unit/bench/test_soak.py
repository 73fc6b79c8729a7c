"""What a soak looks at, and what it calls growth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.soak import Samples, interval_s, row_of, scenarios, series_problems, table
from loadgen.scenario import load


def sampled(mb_per_h: float, files: float = 20.0, hours: int = 1) -> Samples:
    """Samples of a process of 50 MB that grows by this much."""
    times = [10.0 * n for n in range(360 * hours)]
    memory = [50e6 + mb_per_h * 1e6 * time / 3600 for time in times]
    return Samples(times, memory, [files] * len(times))


def test_growth_of_a_megabyte_an_hour_is_found_and_less_is_flat() -> None:
    rows = [row_of(f"worker {number}", sampled(slope)) for number, slope in enumerate((0.0, 0.5, 3.0))]
    assert [row.judgement for row in rows] == ["flat", "flat", "grows"]
    assert [line.split()[-1] for line in table(rows).splitlines()[1:]] == ["flat", "flat", "grows"]


def test_growth_of_less_than_a_step_of_the_allocator_is_open_and_a_longer_soak_tells() -> None:
    assert [row_of("worker", sampled(1.5, hours=hours)).judgement for hours in (1, 2)] == ["open", "grows"]


def test_descriptors_that_stay_open_are_growth() -> None:
    samples = sampled(0.0)
    samples.descriptors = [20.0 + n // 10 for n in range(360)]
    assert row_of("sink", samples).judgement == "grows"


def test_the_warm_up_does_not_count() -> None:
    samples = sampled(0.0)
    assert samples.after(3000.0).times_s[0] == 3000.0
    assert len(samples.after(3000.0).rss) == 60


@pytest.mark.parametrize(("seconds", "interval"), [(60, 0.2), (600, 0.2), (1800, 0.5), (3600, 1.0), (36_000, 1.0)])
def test_the_lines_that_a_dashboard_keeps_are_there_before_the_warm_up_is_over(seconds: int, interval: float) -> None:
    assert interval_s(seconds) == interval


def test_its_scenarios_are_valid(tmp_path: Path) -> None:
    for name, scenario in scenarios(600).items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(json.dumps(scenario))
        assert load(file).name == name


def test_a_series_with_too_many_lines_or_lines_that_grow_is_named(tmp_path: Path) -> None:
    series = tmp_path / "series.jsonl"
    series.write_text("x" * 99 + "\n" + ("x" * 100 + "\n") * 300)
    assert list(series_problems(series, 60)) == []
    assert [problem.split(",")[0] for problem in series_problems(series, 50)] == ["301 lines"]
    series.write_text("".join("x" * (100 + n) + "\n" for n in range(300)))
    assert list(series_problems(series, 60)) == ["its lines grow, from 190 to 310 bytes"]
