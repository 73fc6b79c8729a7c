"""The runs of a matrix as a table for spreadsheets: cells.csv."""

from __future__ import annotations

import csv
import io
import math
from typing import Final

from loadgen import format as fmt
from loadgen.results.block import TENTHS
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.run import RunSummary
from loadgen.results.settings import short_keys, value_text
from loadgen.views.charts.matrix_cells import runs_of

_FIGURES: Final = ("established", "failed", "lost", "rate_per_s", "connect_p50_us", "connect_p99_us")
_OF_CHURN: Final = (
    "sustained_per_s",
    "ceiling_per_s",
    "predicted_established",
    "as_predicted",
    "recycled",
    "time_wait_peak",
)


def table(summary: MatrixSummary) -> str:
    """All runs as CSV (RFC 4180), a row each: the settings first, then figures without units in them.

    A cell without a run has a row of its own all the same. What is unlimited is left empty.
    """
    keys = list(short_keys([cell.settings for cell in summary.cells]))
    out = io.StringIO()
    writer = csv.writer(out)
    tenths = [f"cost_us_{10 * (tenth + 1)}" for tenth in range(TENTHS)]
    columns = ("complete", *_FIGURES, *tenths, "round", *_OF_CHURN)
    writer.writerow(["cell", *map(_inert, keys), "status", "reason", *columns])
    for index, cell in enumerate(summary.cells):
        values = [value_text(cell.settings[key]) if key in cell.settings else "" for key in keys]
        texts = [_inert(text) for text in (*values, cell.status, cell.reason or "")]
        for number, run in runs_of(cell):
            writer.writerow([index, *texts, *map(_field, _figures(number, run))])
        if not cell.runs:
            writer.writerow([index, *texts, *[""] * len(columns)])
    return out.getvalue()


def _figures(number: int, run: RunSummary) -> list[float | bool | None]:
    """One run in the order of the columns, None where it has no such figure."""
    churn, kernel, connect = run.churn, run.kernel, run.latency_us.connect
    ceiling = churn.ceiling if churn else None
    return [
        run.complete,
        run.outcomes.established,
        run.outcomes.failed,
        run.open.lost,
        run.rate_per_s.established_mean,
        connect.p50,
        connect.p99,
        *run.cost_us,
        *[None] * (TENTHS - len(run.cost_us)),
        number,
        churn.sustained_per_s if churn else None,
        ceiling.per_s if ceiling else None,
        ceiling.established if ceiling else None,
        churn.as_predicted if churn else None,
        kernel.delta.get("TcpExt.TWRecycled", 0),
        kernel.peak.get("sockstat.tcp_tw", 0),
    ]


def _field(value: float | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _inert(value: str) -> str:
    """Text that no spreadsheet takes for a formula, in one line."""
    seen = fmt.visible(value.replace("\n", " ").replace("\t", " "))
    return f"'{seen}" if seen[:1] in ("=", "+", "-", "@") and not _is_number(seen) else seen


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
