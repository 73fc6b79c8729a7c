"""Every metric has its row."""

from __future__ import annotations

from loadgen.views.dashboard.prometheus import METRICS as RUN_METRICS
from loadgen.views.exporter.metrics import METRICS as WATCH_METRICS
from website.reference import metrics

PAGE = metrics.page()


def test_every_metric_has_its_row() -> None:
    kinds = [(metric.name, metric.type) for metric in RUN_METRICS] + [(one.name, one.type) for one in WATCH_METRICS]
    assert all(PAGE.count(f"\n| `{name}` | {kind} | ") == 1 for name, kind in kinds)
    assert "| `loadgen_errors_total` | counter | `syscall`, `errno`, `outcome` | Failures and losses" in PAGE
    assert "| `loadgen_latency_seconds` | histogram |" in PAGE
