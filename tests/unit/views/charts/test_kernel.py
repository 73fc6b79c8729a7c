"""Counters of trouble, sockets in use, and TIME-WAIT."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from loadgen.results import run_directory
from loadgen.results.schema.line import Line
from loadgen.views.charts import kernel as kernel_charts
from tests.samples import RUNS, bare_line


def over_time(*kernels: dict[str, Any], phase: str = "ramp") -> list[Line]:
    """A line per second with these."""
    return [bare_line(t + 1.0, phase, kernel=kernel) for t, kernel in enumerate(kernels)]


def moved(sink: dict[str, int] | None = None, **delta: int) -> dict[str, Any]:
    """Running totals of TcpExt on the clients' side, and on the sinks'."""
    kernel: dict[str, Any] = {"now": {}, "delta": {f"TcpExt.{name}": value for name, value in delta.items()}}
    return kernel if sink is None else {**kernel, "sink": {"now": {}, "delta": sink}}


def test_counters_that_moved_are_drawn_per_second_the_most_telling_first() -> None:
    chart = kernel_charts.trouble(
        over_time(
            moved({"TcpExt.ListenOverflows": 0}, TCPSynRetrans=0, TCPPureAcks=500),
            moved({"TcpExt.ListenOverflows": 40}, TCPSynRetrans=10, TCPPureAcks=900),
            moved({"TcpExt.ListenOverflows": 40}, TCPSynRetrans=35, TCPPureAcks=999),
        )
    )
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["accept queue full, sinks' side", "SYNs sent again"]
    assert chart["y"] == [[0, 0, 40, 0], [0, 0, 10, 25]]
    assert "SYNs sent again 35 in all" in chart["label"]


def test_the_drain_does_not_hide_what_was_before() -> None:
    """Closing with RST makes as many resets as there were connections."""
    drain = bare_line(2.0, "drain", kernel={"delta": {"Tcp.OutRsts": 90_000, "TcpExt.TCPSynRetrans": 1}})
    chart = kernel_charts.trouble([*over_time(moved(TCPSynRetrans=1)), drain])
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["SYNs sent again"]
    assert chart["x"] == [0, 1]


@pytest.mark.parametrize("kernels", [(), ({}, {}), (moved(TCPPureAcks=7), {}), (moved(TCPSynRetrans=0),)])
def test_without_trouble_there_is_no_chart(kernels: tuple[Any, ...]) -> None:
    assert kernel_charts.trouble(over_time(*kernels)) is None
    assert kernel_charts.sockets(over_time(*kernels)) is None


@pytest.mark.parametrize(("phase", "drawn"), [("ramp", True), ("churn", False)])
def test_a_full_table_of_time_wait_is_in_one_chart(phase: str, drawn: bool) -> None:
    series = over_time(moved(TCPTimeWaitOverflow=5), phase=phase)
    assert (kernel_charts.trouble(series) is not None) is drawn
    assert (kernel_charts.time_wait_pace(series) is not None) is not drawn


def test_a_last_line_without_the_kernel_does_not_hide_what_moved() -> None:
    chart = kernel_charts.trouble(over_time(moved(TCPSynRetrans=4), {}))
    assert chart is not None
    assert chart["y"] == [[4, 4, 0]]


def test_gauges_that_moved_are_drawn() -> None:
    chart = kernel_charts.sockets(
        over_time(
            {"now": {"sockstat.tcp_inuse": 5, "conntrack.count": 3}, "sink": {"now": {"sockstat.tcp_inuse": 2}}},
            {"now": {"sockstat.tcp_inuse": 9, "conntrack.count": 3}, "sink": {"now": {"sockstat.tcp_inuse": 7}}},
        )
    )
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["TCP over IPv4", "TCP over IPv4, sinks' side"]
    assert chart["y"] == [[5, 9], [2, 7]]


@pytest.mark.parametrize("name", ["churn", "hold", "http", "udp", "wall"])
def test_charts_read_no_more_of_a_line_than_what_is_kept_for_them(name: str) -> None:
    series = run_directory.read(RUNS / name).series
    kept = [structs.replace(line, kernel=kernel_charts.drawn(line.kernel)) for line in series]
    assert kept != list(series)
    for draw in (
        kernel_charts.time_wait,
        kernel_charts.time_wait_pace,
        kernel_charts.trouble,
        kernel_charts.sockets,
    ):
        assert draw(kept) == draw(series)


def waiting(here: int, there: int | None = None, **delta: int) -> dict[str, Any]:
    """What a line says of the kernel: sockets in TIME-WAIT on both sides, and counters of TcpExt."""
    kernel: dict[str, Any] = {
        "now": {"sockstat.tcp_tw": here},
        "delta": {f"TcpExt.{name}": value for name, value in delta.items()},
    }
    return kernel if there is None else {**kernel, "sink": {"now": {"sockstat.tcp_tw": there}, "delta": {}}}


def test_time_wait_of_both_sides_is_drawn() -> None:
    chart = kernel_charts.time_wait(over_time(waiting(0, 0), waiting(90, 5), {}, waiting(100, 7), phase="churn"))
    assert chart is not None
    assert chart["y"] == [[0, 90, None, 100], [0, 5, None, 7]]
    assert [one["label"] for one in chart["series"]] == ["clients' side", "sinks' side"]
    assert "at most 100 at once" in chart["label"]


@pytest.mark.parametrize("phase", ["churn", "hold"])
def test_any_run_that_saw_time_wait_has_its_chart(phase: str) -> None:
    chart = kernel_charts.time_wait(over_time(waiting(0), waiting(3), phase=phase))
    assert chart is not None
    assert chart["y"] == [[0, 3]]
    assert [one["label"] for one in chart["series"]] == ["in TIME-WAIT"]


@pytest.mark.parametrize(
    "kernels",
    [(), ({}, {}), (waiting(0), waiting(0))],
)
def test_without_time_wait_there_is_no_chart_of_it(kernels: tuple[Any, ...]) -> None:
    assert kernel_charts.time_wait(over_time(*kernels, phase="churn")) is None
    assert kernel_charts.time_wait_pace(over_time(*kernels, phase="churn")) is None


def test_counters_of_time_wait_are_differences_and_those_at_rest_are_left_out() -> None:
    kernels: list[dict[str, Any]] = [
        waiting(1, TW=100),
        waiting(1, TW=200, TWRecycled=80),
        {},
        waiting(1, TW=320, TWRecycled=200),
    ]
    series = over_time(*kernels, phase="churn")
    chart = kernel_charts.time_wait_pace(series)
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["entered", "recycled"]
    assert chart["y"] == [[100, 100, 100, 0, 120], [0, 0, 80, 0, 120]]
    assert chart["x"] == [0, 1, 2, 3, 4]


def test_the_sinks_counters_are_told_apart_and_a_full_table_is_seen() -> None:
    here = waiting(1, TCPTimeWaitOverflow=5)
    chart = kernel_charts.time_wait_pace(over_time({**here, "sink": {"delta": {"TcpExt.TW": 9}}}, phase="churn"))
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["overflow: the table was full", "entered, sinks' side"]
    assert chart["y"] == [[5, 5], [9, 9]]


def test_counters_of_time_wait_are_for_churn_only() -> None:
    assert kernel_charts.time_wait_pace(over_time(waiting(1, TW=1), waiting(1, TW=2), phase="drain")) is None
