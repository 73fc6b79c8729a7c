"""Counters of trouble and sockets in use; TIME-WAIT is in tests/unit/test_report.py, with churn."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.views.charts import kernel as kernel_charts


def over_time(*kernels: Any, phase: str = "ramp") -> list[dict[str, Any]]:
    """A line per second with these."""
    return [{"t_s": t + 1.0, "phase": phase, "kernel": kernel} for t, kernel in enumerate(kernels)]


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
    drain = {"t_s": 2.0, "phase": "drain", "kernel": {"delta": {"Tcp.OutRsts": 90_000, "TcpExt.TCPSynRetrans": 1}}}
    chart = kernel_charts.trouble([*over_time(moved(TCPSynRetrans=1)), drain])
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["SYNs sent again"]
    assert chart["x"] == [0, 1]


@pytest.mark.parametrize(
    "kernels", [(), (None, 7, []), ({}, {}), (moved(TCPPureAcks=7), {}), (moved(TCPSynRetrans=0),), ({"delta": 3},)]
)
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
