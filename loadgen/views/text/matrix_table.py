"""The runs of a matrix as a table for spreadsheets: cells.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from loadgen import format as fmt
from loadgen.results.settings import short_keys, value_text
from loadgen.views.charts.matrix_cells import TENTHS, runs_of

Json = Mapping[str, Any]

_FIGURES: Final = ("complete", "established", "failed", "lost", "rate_per_s", "connect_p50_us", "connect_p99_us")
_OF_CHURN: Final = ("sustained_per_s", "ceiling_per_s", "predicted_established", "as_predicted")


def table(summary: Json) -> str:
    """All runs as CSV (RFC 4180), a row each: the settings first, then figures without units in them.

    A cell without a run has a row of its own all the same. What is unlimited is left empty.
    """
    cells = fmt.rows(summary, "cells")
    keys = list(short_keys([fmt.part(cell, "settings") for cell in cells]))
    out = io.StringIO()
    writer = csv.writer(out)
    tenths = [f"cost_us_{10 * (tenth + 1)}" for tenth in range(TENTHS)]
    columns = (*_FIGURES, *tenths, "round", *_OF_CHURN, "recycled", "time_wait_peak")
    writer.writerow(["cell", *map(_inert, keys), "status", "reason", *columns])
    for index, cell in enumerate(cells):
        settings = fmt.part(cell, "settings")
        said = [value_text(settings[key]) if key in settings else "" for key in keys]
        texts = [_inert(str(one)) for one in (*said, cell.get("status"), cell.get("reason") or "")]
        for number, run in runs_of(cell):
            writer.writerow([index, *texts, *_csv_row(number, run)])
        if not runs_of(cell):
            writer.writerow([index, *texts, *_csv_row(None, {})])
    return out.getvalue()


def _csv_row(number: int | None, run: Json) -> list[str]:
    outcomes, connect = fmt.part(run, "outcomes"), fmt.part(fmt.part(run, "latency_us"), "connect")
    churn, kernel = fmt.part(run, "churn"), fmt.part(run, "kernel")
    foretold = fmt.part(churn, "ceiling")
    before = (
        *(outcomes.get("established"), outcomes.get("failed"), fmt.part(run, "open").get("lost")),
        fmt.part(run, "rate_per_s").get("established_mean"),
        *(connect.get("p50"), connect.get("p99")),
        *(fmt.items(run, "cost_us") + [None] * TENTHS)[:TENTHS],
        number,
        *(churn.get("sustained_per_s"), foretold.get("per_s"), foretold.get("established")),
    )
    after = (
        fmt.part(kernel, "delta").get("TcpExt.TWRecycled", 0 if kernel else None),
        fmt.part(kernel, "peak").get("sockstat.tcp_tw", 0 if kernel else None),
    )
    return [
        _yes_or_no(run.get("complete") is True if run else None),
        *("" if fmt.number(value) is None else str(value) for value in before),
        _yes_or_no(churn.get("as_predicted")),
        *("" if fmt.number(value) is None else str(value) for value in after),
    ]


def _yes_or_no(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else ""


def _inert(value: str) -> str:
    """Text that no spreadsheet takes for a formula, in one line."""
    seen = fmt.visible(value.replace("\n", " ").replace("\t", " "))
    return f"'{seen}" if seen[:1] in ("=", "+", "-", "@") and fmt.number(_as_number(seen)) is None else seen


def _as_number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
