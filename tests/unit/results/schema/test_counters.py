"""The counters of a worker: one declaration, and everything that is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results.block import block_dtype, consistent_counters
from loadgen.results.schema.counters import (
    POSITION,
    SERIES_COUNTERS,
    WORKER_COUNTERS,
    CounterRow,
    CounterUnit,
    WorkerCounters,
)
from loadgen.results.schema.line import Line
from loadgen.worker.recorder import Recorder

RUN_DIRECTORY = Path(__file__).parents[4] / "docs" / "run-directory.md"


def test_a_position_is_the_place_in_the_declaration() -> None:
    names = [row.name for row in WORKER_COUNTERS]
    assert [POSITION[name] for name in names] == list(range(len(names)))
    assert tuple(names) == WorkerCounters.__struct_fields__
    assert block_dtype(1)["totals"].base["counters"].shape == (len(names),)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=len(WORKER_COUNTERS), max_size=len(WORKER_COUNTERS)))
def test_a_recorder_publishes_each_counter_at_its_position(values: list[int]) -> None:
    block = np.zeros(1, dtype=block_dtype(1))[0]
    recorder = Recorder(block, scheduled=1)
    for row, value in zip(WORKER_COUNTERS, values, strict=True):
        setattr(recorder, row.name, value)
    recorder.publish()
    assert consistent_counters(block).tolist() == values


def test_the_counters_of_a_series_are_the_first_of_a_worker_and_keys_of_a_line() -> None:
    assert WORKER_COUNTERS[: len(SERIES_COUNTERS)] == SERIES_COUNTERS
    assert {row.name for row in SERIES_COUNTERS} <= set(Line.__struct_fields__)


def test_every_counter_has_a_line_for_readers_and_the_unit_of_its_name() -> None:
    """An instant and a CPU time are in nanoseconds, as their names say; a count has no unit."""
    for row in WORKER_COUNTERS:
        assert re.fullmatch(r"[a-zA-Z][^\n]{5,80}[^.\n]", row.doc), row
        assert row.name.endswith("_ns") == (row.unit is not CounterUnit.COUNT), row
    assert len({row.doc for row in WORKER_COUNTERS}) == len(WORKER_COUNTERS)


def test_metrics_have_names_that_prometheus_takes_and_each_only_one() -> None:
    names = [row.metric for row in WORKER_COUNTERS if row.metric]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z_]*[a-z]", name) for name in names)
    gauges = {row.name for row in WORKER_COUNTERS if row.metric and not row.metric.endswith("_total")}
    assert gauges == {"in_flight", "open"}, "only these go down again"


def row_for_readers(row: CounterRow) -> str:
    metric = f"`loadgen_{row.metric}`" if row.metric else ""
    return f"| `{row.name}` | {row.doc} | {metric} |"


def test_readers_see_the_table_of_the_counters() -> None:
    table = "\n".join(["| key | counts | metric |", "|---|---|---|", *map(row_for_readers, SERIES_COUNTERS)])
    assert f"\n\n{table}\n\n" in RUN_DIRECTORY.read_text(), table
