"""Charts of the generator itself: the lag of its event loops, the cores its workers use, what a connection costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from loadgen import format as fmt
from loadgen.results.schema.line import Line
from loadgen.views.charts.columns import (
    POINTS_MAX,
    Chart,
    Floats,
    Series,
    backwards,
    distinct,
    plain,
    rates,
    table,
    thin,
)
from loadgen.views.charts.intervals import Intervals
from loadgen.views.charts.latency import quantiles

#: More lines than this cannot be told apart; of more workers it is the least, the middle and the busiest.
WORKERS_SHOWN_MAX: Final = 8


def lag(t_s: Floats, found: Intervals) -> Chart | None:
    """How late the workers' event loops were: p50, p99 and maximum of each interval that ends at `t_s`."""
    return quantiles("lag", "Lag of the event loops", "event loop lag", t_s, found)


def worker_cpu(t_s: Floats, lines: Sequence[Floats]) -> Chart | None:
    """Cores that each worker used, from `worker_cpu_s` of each line; None of a series whose lines do not say."""
    ends_s, _ = rates(t_s, t_s)
    spent_s = table(lines)
    if not len(spent_s) or not len(ends_s):
        return None
    # A line that does not say repeats the last.
    spent_s = np.maximum.accumulate(np.where(np.isnan(spent_s), 0.0, spent_s), axis=1)
    used = [rates(t_s, worker)[1] for worker in spent_s]
    busiest = float(np.max(used))
    names = [f"worker {number}" for number in range(1, len(used) + 1)]
    if len(used) > WORKERS_SHOWN_MAX:
        used = [np.min(used, axis=0), np.median(used, axis=0), np.max(used, axis=0)]
        names = ["idlest", "median", "busiest"]
    keep = thin(used, POINTS_MAX // 2)
    return {
        "id": "worker-cpu",
        "title": "Cores used by each worker" if len(spent_s) == len(used) else f"Cores used by {len(spent_s)} workers",
        "label": f"Line chart of the processor time of {len(spent_s)} workers; the busiest used at most "
        f"{fmt.count(round(busiest, 2))} cores.",
        "unit": "cores",
        "small": True,
        "steps": True,
        "x": [0, *plain(ends_s[keep], 3)],
        "y": [backwards(plain(values[keep], 3)) for values in used],
        "series": distinct(names),
    }


def cost(series: Series, *, churn: bool = False) -> Chart | None:
    """CPU time that a connection cost its worker, tenth by tenth of the connections, in churn of the ports in use.

    The last line has it all.
    """
    costs_us = series[-1].cost_us if series else ()
    if not costs_us:
        return None
    tenths = "by tenth of the ports in use" if churn else "in each tenth of the connections"
    return {
        "id": "cost",
        "title": "CPU time of a connection, by ports in use" if churn else "CPU time of a connection",
        "label": f"Line chart of CPU time per connection {tenths}, from "
        f"{fmt.latency(costs_us[0])} in the first to {fmt.latency(costs_us[-1])} in the last.",
        "unit": "cost",
        "along": "percent",
        "steps": True,
        "x": [10 * tenth for tenth in range(len(costs_us) + 1)],
        "y": [backwards(plain(np.array(costs_us), 2))],
        "series": [{"label": "each connection", "tone": "blue"}],
    }


def worker_cpu_s(line: Line) -> Floats:
    """Seconds of processor time that each worker has used so far; empty in a line that does not say."""
    return np.array(line.worker_cpu_s, dtype=np.float64)
