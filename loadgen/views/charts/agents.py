"""Open connections of each agent over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from loadgen import format as fmt
from loadgen.model import Plan
from loadgen.views.charts.columns import Chart, Floats, distinct, plain, table, thin

#: More lines than this cannot be told apart; of more agents it is the least, the middle and the most.
AGENTS_SHOWN_MAX: Final = 8


def opened(t_s: Floats, lines: Sequence[Floats], plan: Plan) -> Chart | None:
    """Open connections of each agent that opens any; None of a run of one host.

    lines: open connections of each pair, of each line.
    """
    agents = [agent for agent in plan.agents if agent.plan.pairs]
    pairs = table(lines)
    if not agents or not len(t_s) or len(pairs) != len(plan.pairs):
        return None
    firsts = np.cumsum([0, *(len(agent.plan.pairs) for agent in agents)])[:-1]
    each = np.add.reduceat(pairs, firsts, axis=0)
    names = [fmt.visible(agent.name)[:60] for agent in agents]
    most = max(zip(np.nanmax(each, axis=1).tolist(), names, strict=True))
    if len(names) > AGENTS_SHOWN_MAX:
        each = np.array([np.min(each, axis=0), np.median(each, axis=0), np.max(each, axis=0)])
        names = ["least", "median", "most"]
    known = ~np.isnan(each).any(axis=0)
    t_s, each = t_s[known], each[:, known]
    keep = thin(list(each))
    return {
        "id": "agents",
        "title": "Open connections of each agent"
        if len(names) == len(agents)
        else f"Open connections of {len(agents)} agents",
        "label": f"Line chart of the open connections of {len(agents)} agents; {most[1]} had at most "
        f"{fmt.count(most[0])}.",
        "unit": "count",
        "x": plain(t_s[keep], 3),
        "y": [plain(values[keep], 0) for values in each],
        "series": distinct(names),
    }
