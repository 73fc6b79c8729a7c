"""Charts of a lab's gateway: the entries of its connection tracking, and what it counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from loadgen import format as fmt
from loadgen.results.schema.line import Line
from loadgen.views.charts.columns import Chart, Series, column, counters, plain, thin, times_s
from loadgen.views.charts.kernel import pace_of

_ENTRIES: Final = "conntrack.count"
#: Counters as series.jsonl names them, their labels and colours, the most telling first.
_COUNTERS: Final = (
    ("conntrack.insert_failed", "no free port (insert_failed)", "red"),
    ("conntrack.drop", "dropped (drop)", "orange"),
    ("conntrack.early_drop", "evicted (early_drop)", "purple"),
    ("conntrack.found", "ports tried and taken (found)", "blue"),
    ("conntrack.invalid", "of no connection (invalid)", "grey"),
    ("conntrack.clash_resolve", "two for one entry (clash_resolve)", "green"),
)


def _gauge(line: Line) -> float | None:
    return line.kernel.gateway.now.get(_ENTRIES) if line.kernel.gateway else None


def _total(name: str) -> Callable[[Line], float | None]:
    return lambda line: line.kernel.gateway.delta.get(name) if line.kernel.gateway else None


def entries(series: Series) -> Chart | None:
    """Entries of the gateway's connection tracking over time; None without a gateway."""
    values = column(series, _gauge)
    if np.isnan(values).all():
        return None
    keep = thin([values])
    return {
        "id": "gateway-entries",
        "title": "Entries of the gateway's connection tracking",
        "label": f"Line chart of entries at the gateway; at most {fmt.count(float(np.nanmax(values)))} at once.",
        "unit": "count",
        "x": plain(times_s(series)[keep], 3),
        "y": [plain(values[keep], 0)],
        "series": [{"label": "entries", "tone": "blue", "dash": False}],
    }


def pace(series: Series) -> Chart | None:
    """Counters of the gateway's connection tracking, per second, as far as they moved; None where none did."""
    curves = []
    for name, label, tone in _COUNTERS:
        grown = counters(series, _total(name))
        if grown.any():
            curves.append((label, tone, False, grown))
    return pace_of(series, curves, "gateway", "The gateway, per second", "what the gateway counted")
