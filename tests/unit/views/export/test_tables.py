"""The tables of recorded runs agree with the summaries of these."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.errors import UsageError
from loadgen.views.export.columns import Cell
from loadgen.views.export.tables import ExportTable, RecordedSeries, TableName, table
from tests import samples

from .samples import recorded

RUNS = ("churn", "hold", "http", "interrupted", "killed-worker", "tls", "udp", "wall")


def rows(of: ExportTable) -> list[dict[str, Cell]]:
    return [dict(zip((heading.name for heading in of.headings), row, strict=True)) for row in of.rows()]


@pytest.mark.parametrize("name", RUNS)
def test_the_last_row_of_the_series_has_the_counts_of_the_summary(name: str) -> None:
    found, summary = rows(table(TableName.SERIES, recorded(name))), samples.summary(name=name)
    assert len(found) == len(samples.series(name))
    last = found[-1]
    outcomes = summary.outcomes
    assert (last["established"], last["failed"]) == (outcomes.established, outcomes.failed)
    assert summary.kernel is not None
    for counter, value in summary.kernel.delta.items():
        assert last[f"kernel.delta.{counter}"] == value
    for gauge, peak in summary.kernel.peak.items():
        assert max(int(row[f"kernel.now.{gauge}"] or 0) for row in found) == peak
    connect = summary.latency_us.connect
    assert sum(int(row["connect_count"] or 0) for row in found) == (connect.count if connect else 0)


@pytest.mark.parametrize("name", RUNS)
def test_the_last_rows_of_errors_are_those_of_the_summary(name: str) -> None:
    found = rows(table(TableName.ERRORS, recorded(name)))
    last_s = samples.series(name)[-1].t_s
    last = {(row["syscall"], row["errno"]): row["count"] for row in found if row["t_s"] == last_s}
    assert last == {(error.syscall, error.errno): error.count for error in samples.summary(name=name).errors}


def test_pairs_have_source_and_target_in_every_row() -> None:
    found, plan = rows(table(TableName.PAIRS, recorded())), samples.plan()
    assert len(found) == len(plan.pairs) * len(samples.series())
    last = found[-len(plan.pairs) :]
    assert [(row["source"], row["target"]) for row in last] == [(source, str(target)) for source, target in plan.pairs]
    assert sum(int(row["established"] or 0) for row in last) == samples.summary().outcomes.established


def test_lines_of_another_plan_are_refused() -> None:
    series = RecordedSeries(replace(samples.plan(), sources=("127.0.0.1",)), samples.series)
    with pytest.raises(UsageError, match="of different runs"):
        list(table(TableName.PAIRS, series).rows())


def test_a_counter_that_appears_late_has_a_column_from_the_first_row() -> None:
    lines = samples.bare_line(t_s=1.0), samples.bare_line(t_s=2.0, kernel={"delta": {"TcpExt.TW": 4}})
    found = rows(table(TableName.SERIES, RecordedSeries(samples.plan(), lambda: lines)))
    assert [row["kernel.delta.TcpExt.TW"] for row in found] == [None, 4]
