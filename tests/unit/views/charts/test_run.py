"""What holds for all charts together; each chart of the run over time is in tests/unit/test_report.py."""

from __future__ import annotations

import json
from typing import Any

from loadgen.views.charts import latency, run


def lines(count: int) -> list[dict[str, Any]]:
    """A run of one pair, with a histogram and a counter in each line."""
    return [
        {
            "t_s": n / 2,
            "phase": "ramp",
            "established": 10 * n,
            "open": 10 * n,
            "failed": n,
            "errors": [["connect", "ETIMEDOUT", "timeout", n]],
            "pairs": [[10 * n, n, 10 * n]],
            "latency_ns": {kind: {"1780": n, str(1000 + n): 1} for kind in latency.LATENCIES},
            "lag_ns": {"1500": 3},
            "cost_us": [40.0],
            "worker_cpu_s": [n / 9],
            "kernel": {
                "now": {"sockstat.tcp_inuse": n, "sockstat.tcp_tw": n},
                "delta": {"Tcp.RetransSegs": n, "TcpExt.TW": n},
            },
        }
        for n in range(1, count + 1)
    ]


def test_every_chart_has_a_slot_and_they_are_in_order() -> None:
    """A live page makes room for each chart before there is one."""
    churn = [{**line, "phase": "churn"} for line in lines(4)]
    names = [name for name, _ in run.SLOTS]
    assert len(names) == len(set(names))
    found = {chart["id"] for chart in run.everything(churn, [])["charts"]}
    assert found == set(names)
    order = [chart["id"] for chart in run.everything(churn, [])["charts"]]
    assert order == [name for name in names if name in found]


def test_a_series_that_grows_is_drawn_as_if_it_had_been_complete() -> None:
    series = lines(9)
    drawing = run.Drawing()
    for end in (1, 2, 5, 9):
        assert drawing.everything(series[:end], []) == run.everything(series[:end], [])


def test_nothing_that_is_drawn_is_no_number() -> None:
    json.dumps(run.everything([*lines(3), {"t_s": 9.0}], [{"t_s": float("nan")}, {"t_s": 1}]), allow_nan=False)
    assert run.everything([], []) == {"charts": [], "phases": [], "marks": []}
