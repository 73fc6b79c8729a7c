"""Summaries of matrices: folded from recorded runs whose figures are changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from loadgen.results import matrix as matrices
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.files import Json
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import RunSummary
from tests import samples

#: A run in which all went well.
FINE: Final = {
    "arrivals.scheduled": 10,
    "outcomes.established": 10,
    "rate_per_s.established_mean": 1000.0,
    "latency_us.connect.p50": 20.0,
    "latency_us.connect.p99": 90.0,
    "cost_us": [10.0] * 10,
    "cost_last_to_first": 1.0,
    "verdict.text": "All fine.",
    "expect": [],
}


def run_summary(changes: Mapping[str, Any] = {}) -> RunSummary:  # never written to
    return samples.summary({**FINE, **changes})


def summarised(
    matrix: Json, events: Iterable[Json], runs: Mapping[matrices.Place, RunSummary], run: str = "r"
) -> MatrixSummary:
    """The summary of a matrix with these cells, events and runs."""
    happenings = [files.convert(event, Event) for event in events]
    return matrices.summarise(files.convert(matrix, MatrixPlan), happenings, runs, run=run)


MATRIX: dict[str, Any] = {
    "scenario": "m",
    "started_at": "2026-01-31T12:00:00+00:00",
    "cells": [{"settings": {"sources.strategy": name}} for name in ("kernel", "late-range", "explicit")],
    "expect": ["cells.0.cost_last_to_first >= 5", "cells.2.outcomes.failed == 0"],
}
ENDED = {"t_s": 3.5, "event": "ended", "text": "the matrix came to its end"}


def first(runs: Mapping[int, RunSummary]) -> dict[matrices.Place, RunSummary]:
    """The same as the runs of the first round."""
    return {(index, 1): run for index, run in runs.items()}


def fold(runs: Mapping[int, RunSummary], *events: Json) -> MatrixSummary:
    return summarised(MATRIX, events, first(runs))


def three(changes: Mapping[str, Any] = {}) -> MatrixSummary:
    kernel = run_summary({"cost_us": [10.0] * 5 + [300.0] * 5, "cost_last_to_first": 30.0})
    return fold({0: kernel, 1: run_summary(), 2: run_summary(changes)}, ENDED)


REUSE = "lab.sysctls.net.ipv4.tcp_tw_reuse"
CHURNING: dict[str, Any] = {
    **MATRIX,
    "repeat": 3,
    "cells": [{"settings": {REUSE: value, "close": close}} for value in (0, 1) for close in ("fin", "rst")],
    "expect": [],
}


def churned(rate: float, per_s: float | None = 100.0, changes: Mapping[str, Any] = {}) -> RunSummary:
    ceiling = {"per_s": per_s, "established": None if per_s is None else 500, "because": "100 ports / 1 s: <reuse>"}
    churn = {"churn.sustained_per_s": rate, "churn.ceiling": ceiling, "churn.as_predicted": True, "churn.recycled": 400}
    kernel = {"kernel.delta": {"TcpExt.TWRecycled": 400}, "kernel.peak": {"sockstat.tcp_tw": 100}}
    figures = {**FINE, "rate_per_s.established_mean": 88.9, "churn.time_wait_peak": 100}
    return samples.summary({**figures, **churn, **kernel, **changes}, "churn")


def churning(**changes: Any) -> MatrixSummary:
    """Four cells, three rounds: tcp_tw_reuse matters with close fin, and cell 3 is not as predicted."""
    runs = {(0, n): churned(0.0 + n / 10, 5 / 3) for n in (1, 2, 3)}
    runs |= {(1, n): churned(5000.0 + n, None) for n in (1, 2, 3)}
    runs |= {(2, n): churned(98.0 + n) for n in (1, 2, 3)}
    runs |= {(3, n): churned(5001.0 + n, None, {"churn.as_predicted": False}) for n in (1, 2, 3)}
    return summarised(CHURNING | changes, [ENDED], runs)
