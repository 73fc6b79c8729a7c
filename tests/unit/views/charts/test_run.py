"""The charts of the run over time, and all charts together."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from loadgen.model import AgentPlan, Churn
from loadgen.results import steady
from loadgen.results.fold import Fold
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import Line
from loadgen.views.charts import columns, latency, run
from tests import samples
from tests.samples import bare_line

PLAN = samples.plan({"sources": ["127.0.1.1"], "ceiling": {"per_s": 100.0, "established": None, "because": "ports"}})


OF_AGENTS = replace(PLAN, agents=(AgentPlan("a", replace(PLAN, targets=PLAN.targets[:1])),))


def lines(count: int, phase: str = "ramp") -> list[Line]:
    """A run of one pair, with a histogram and a counter in each line."""
    return [
        bare_line(
            n / 2,
            phase,
            established=10 * n,
            open=10 * n,
            failed=n,
            errors=[["connect", "ETIMEDOUT", "timeout", n]],
            pairs=[[10 * n, n, 10 * n]],
            latency_ns={kind: {"1780": n, str(1000 + n): 1} for kind in latency.LATENCIES},
            lag_ns={"1500": 3},
            cost_us=[40.0],
            worker_cpu_s=[n / 9],
            kernel={
                "now": {"sockstat.tcp_inuse": n, "sockstat.tcp_tw": n},
                "delta": {"Tcp.RetransSegs": n, "TcpExt.TW": n},
                "gateway": {"now": {"conntrack.count": n}, "delta": {"conntrack.found": n}},
            },
        )
        for n in range(1, count + 1)
    ]


def test_every_chart_has_a_slot_and_they_are_in_order() -> None:
    """A live page makes room for each chart before there is one."""
    churn = lines(4, "churn")
    names = [name for name, _ in run.SLOTS]
    assert len(names) == len(set(names))
    order = [chart["id"] for chart in run.everything(churn, [], OF_AGENTS)["charts"]]
    assert set(order) == set(names)
    assert order == names
    assert set(names) - {chart["id"] for chart in run.everything(churn, [], PLAN)["charts"]} == {"agents"}


def test_a_series_that_grows_is_drawn_as_if_it_had_been_complete() -> None:
    series = lines(9)
    drawing = run.Drawing(PLAN)
    for end in (1, 2, 5, 9):
        assert drawing.everything(series[:end], []) == run.everything(series[:end], [], PLAN)


def test_nothing_that_is_drawn_is_no_number() -> None:
    event = Event(event="note", text="x", t_s=1.0)
    drawn = run.everything([*lines(3), bare_line(9.0)], [event], PLAN)
    json.dumps(drawn, allow_nan=False)
    assert drawn["marks"] == [1.0]
    assert run.everything([], [], PLAN) == {"charts": [], "phases": [], "marks": []}


def test_the_steady_part_is_a_band_beside_the_phases() -> None:
    series = [bare_line(n / 10, "churn", established=80 * n) for n in range(1, 31)]
    plan = replace(PLAN, churn=Churn(3.0), interval_s=0.1, stages=(), ceiling=None)
    part = steady.found(plan, Fold.of(series))
    bands = run.everything(series, [], plan, part)["phases"]
    assert bands == [{"name": "churn", "from": 0.0, "to": 3.0}, {"name": "steady", "from": 0.1, "to": 3.0}]


def test_phases_are_spans_of_time() -> None:
    series = [*lines(4, "churn"), bare_line(2.0, "drain"), bare_line(3.5, "drain")]
    spans = run.everything(series, [], PLAN)["phases"]
    assert spans == [{"name": "churn", "from": 0.0, "to": 2.0}, {"name": "drain", "from": 2.0, "to": 3.5}]


def steps(*figures: tuple[float, int, int, int], phase: str = "churn", **more: int) -> list[Line]:
    """Lines of a series from (t_s, established, closed, failed)."""
    return [
        bare_line(t_s, phase, established=opened, closed=closed, failed=failed, **more)
        for t_s, opened, closed, failed in figures
    ]


def test_churn_draws_what_was_opened_closed_and_failed_under_the_ceiling() -> None:
    series = steps((1.0, 200, 190, 0), (2.0, 300, 290, 40), (3.0, 400, 395, 80))
    chart = run.pace(series, 100.0)
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["established", "closed", "failed", "predicted ceiling"]
    assert chart["y"] == [[200, 200, 100, 100], [190, 190, 100, 105], [0, 0, 40, 40], [100, 100, 100, 100]]
    assert chart["series"][-1]["dash"]
    assert "Predicted ceiling: 100/s." in chart["label"]


def test_without_a_limit_there_is_no_line_of_a_ceiling() -> None:
    chart = run.pace(steps((1.0, 200, 190, 0), (2.0, 300, 290, 40)), None)
    assert chart is not None
    assert len(chart["y"]) == len(chart["series"]) == 3


def test_a_ceiling_far_above_is_a_word_and_not_the_scale() -> None:
    chart = run.pace(steps((1.0, 200, 190, 0), (2.0, 300, 290, 0)), 64_512.0)
    assert chart is not None
    assert len(chart["y"]) == 3
    assert "predicted ceiling 64,512/s, off this scale" in chart["title"]


def test_an_ordinary_run_has_neither_closed_ones_nor_a_ceiling() -> None:
    chart = run.pace(steps((1.0, 200, 190, 0), (2.0, 300, 290, 40), phase="ramp"), 100.0)
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["established", "failed"]
    assert chart["title"] == "Rate while connecting"


def test_the_highest_rate_of_a_long_churn_is_still_there() -> None:
    """Thinning comes after differences: one second of 500/s in an hour of 100/s is seen."""
    grown = np.cumsum(np.where(np.arange(3_600) == 1_234, 500, 100)).tolist()
    chart = run.pace(steps(*((t + 1.0, count, count, 0) for t, count in enumerate(grown))), 100.0)
    assert chart is not None
    assert len(chart["x"]) <= columns.POINTS_MAX
    assert [max(values) for values in chart["y"]] == [500, 500, 0, 100]
    assert {len(values) for values in chart["y"]} == {len(chart["x"])}


def test_in_churn_the_open_ones_are_not_hidden_below_all_that_ever_were() -> None:
    chart = run.connections(steps((1.0, 200, 190, 0), (2.0, 90_000, 89_990, 0), open=10, in_flight=3))
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["in flight", "open"]
    assert chart["y"] == [[3, 3], [10, 10]]
