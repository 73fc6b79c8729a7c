"""The columns of a series: the names of the documented ones, and values that are those of the lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadgen.results.fold import NOTHING
from loadgen.views.export.columns import FIXED, Cell, ExportInterval, kernel_columns, kernel_keys
from loadgen.views.summary_rows import LATENCIES
from tests import samples

PAGE = Path(__file__).parents[4] / "docs" / "export.md"


def values(interval: ExportInterval) -> dict[str, Cell]:
    columns = (*FIXED, *kernel_columns(kernel_keys(interval.line)))
    return {column.name: column.value(interval) for column in columns}


def test_every_column_is_documented_with_its_unit() -> None:
    """The latencies of all kinds in common rows."""
    rows = {
        (name, unit): doc
        for name, unit, doc in re.findall(r"^\| `(.+?)` \| (.*?) ?\| (.+?) \|$", PAGE.read_text(), re.M)
    }
    for column in FIXED:
        kind = column.name.split("_")[0]
        if kind in (*LATENCIES, "lag"):
            assert (f"KIND{column.name.removeprefix(kind)}", column.unit) in rows
        else:
            assert rows[column.name, column.unit] == column.doc


def test_names_are_unique_and_end_in_their_unit() -> None:
    names = [column.name for column in FIXED]
    assert len(names) == len(set(names))
    for column in FIXED:
        ending = {"s": "_s", "us": "_us", "1/s": "_per_s"}.get(column.unit, "")
        assert column.name.endswith(ending)


def test_rates_are_of_the_interval_and_add_up_to_the_count() -> None:
    series = samples.series()
    grown, before = 0.0, NOTHING
    for line in series:
        found = values(ExportInterval(line, before))
        rate, took_s = found["established_per_s"], found["interval_s"]
        grown += (rate if isinstance(rate, float) else 0.0) * (took_s if isinstance(took_s, float) else 0.0)
        before = line
    assert grown == pytest.approx(samples.summary().outcomes.established, abs=0.01)


def test_an_interval_without_length_has_no_rate() -> None:
    line = samples.bare_line(t_s=1.0)
    assert values(ExportInterval(line, line))["established_per_s"] is None


def test_a_latency_that_was_not_measured_has_a_count_of_0_and_no_value() -> None:
    found = values(ExportInterval(samples.bare_line(latency_ns={"connect": {"1780": 3}})))
    assert (found["connect_p99_us"], found["connect_max_us"], found["connect_count"]) == (1001.5, 1001.5, 3)
    assert (found["bind_p99_us"], found["bind_count"]) == (None, 0)


def test_the_time_of_day_is_known_only_where_the_run_says_when_it_began() -> None:
    line = samples.bare_line(t_s=1.5)
    assert values(ExportInterval(line))["unix_s"] is None
    assert values(ExportInterval(line, began_ns=1_769_860_800_250_000_000))["unix_s"] == 1_769_860_801.75


def test_the_kernel_in_each_namespace() -> None:
    """A counter that has not moved is 0, a gauge that was not read is nothing, and so is all of a line not sampled."""
    line = samples.bare_line(
        kernel={
            "now": {"sockstat.tcp_tw": 5},
            "delta": {"TcpExt.TW": 40},
            "states": {"time_wait": 5},
            "sink": {"now": {"sockstat.tcp_tw": 6}},
            "gateway": {"delta": {"conntrack.insert": 2}},
        }
    )
    columns = kernel_columns(kernel_keys(line))
    assert [(column.name, column.value(ExportInterval(line))) for column in columns] == [
        ("kernel.now.sockstat.tcp_tw", 5),
        ("kernel.delta.TcpExt.TW", 40),
        ("kernel.states.time_wait", 5),
        ("kernel.sink.now.sockstat.tcp_tw", 6),
        ("kernel.gateway.delta.conntrack.insert", 2),
    ]
    other = samples.bare_line(kernel={"now": {"conntrack.max": 9}})
    assert [column.value(ExportInterval(other)) for column in columns] == [None, 0, None, None, None]
    assert [column.value(ExportInterval(samples.bare_line())) for column in columns] == [None] * 5
