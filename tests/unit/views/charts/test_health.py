from __future__ import annotations

import numpy as np
import pytest

from loadgen.results.schema.line import Line
from loadgen.views.charts import health, intervals
from loadgen.views.charts.columns import Chart
from tests.samples import bare_line


def cpu(*lines: list[float]) -> Chart | None:
    """Of a line per second."""
    read = [health.worker_cpu_s(bare_line(worker_cpu_s=line)) for line in lines]
    return health.worker_cpu(np.arange(1.0, len(lines) + 1), read)


def test_each_worker_has_a_line_of_the_cores_it_used() -> None:
    chart = cpu([0.5, 0.1], [1.5, 0.1], [1.75, 0.85])
    assert chart is not None
    assert chart["y"] == [[0.5, 0.5, 1, 0.25], [0.1, 0.1, 0, 0.75]]
    assert [one["label"] for one in chart["series"]] == ["worker 1", "worker 2"]
    assert "the busiest used at most 1 cores" in chart["label"]


def test_many_workers_are_three_lines() -> None:
    chart = cpu([0.01 * n for n in range(20)], [0.02 * n for n in range(20)])
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["idlest", "median", "busiest"]
    assert [values[-1] for values in chart["y"]] == [0, 0.095, 0.19]


def test_eight_workers_can_be_told_apart() -> None:
    chart = cpu([1.0] * health.WORKERS_SHOWN_MAX)
    assert chart is not None
    looks = {(one["tone"], one["dash"]) for one in chart["series"]}
    assert len(looks) == health.WORKERS_SHOWN_MAX


@pytest.mark.parametrize("lines", [(), ([], [])])
def test_a_series_that_does_not_say_has_no_such_chart(lines: tuple[list[float], ...]) -> None:
    assert cpu(*lines) is None


def test_a_line_that_does_not_say_repeats_the_last() -> None:
    chart = cpu([1.0], [], [], [2.0])
    assert chart is not None
    assert chart["y"] == [[1, 1, 0, 0, 1]]


def test_lag_is_drawn_as_the_latencies_are() -> None:
    found = intervals.together(list(map(intervals.interval, ({"1780": 3}, {}, {"1780": 1, "2500": 1}))), np.arange(3))
    chart = health.lag(np.array([1.0, 2.0, 3.0]), found)
    assert chart is not None
    assert (chart["id"], chart["unit"], chart["log"]) == ("lag", "latency", True)
    assert chart["y"][0] == [1000, None, 1000]
    assert chart["y"][2][2] > 10_000


def test_the_cost_of_a_connection_goes_along_the_tenths_of_the_last_line() -> None:
    chart = health.cost([bare_line(cost_us=[9.0]), bare_line(2.0, cost_us=[50.0, 41.5, 40.25])])
    assert chart is not None
    assert chart["x"] == [0, 10, 20, 30]
    assert chart["y"] == [[50, 50, 41.5, 40.25]]
    assert "50.0 µs in the first to 40.2 µs in the last" in chart["label"]


def test_in_churn_the_tenths_are_of_the_ports_in_use() -> None:
    held, churning = (health.cost([bare_line(cost_us=[9.0])], churn=churn) for churn in (False, True))
    assert held is not None
    assert churning is not None
    assert "ports in use" in churning["title"]
    assert "ports in use" in churning["label"]
    assert "ports" not in held["label"]


@pytest.mark.parametrize("series", [[], [bare_line()]])
def test_without_a_cost_there_is_no_chart_of_it(series: list[Line]) -> None:
    assert health.cost(series) is None
