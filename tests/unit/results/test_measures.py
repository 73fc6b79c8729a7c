"""Where each figure stands in a summary, and what there is where a run has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.format import MISSING
from loadgen.results.measures import MEASURES, Better, Unit, figure_text, kinds_of_failure, measure, rate_per_s
from loadgen.results.spread import spread_of
from tests import samples

#: With numbers that are all different, so that no figure stands for another.
RUN: Final = samples.summary(
    {
        "arrivals": {"scheduled": 10, "started": 9, "not_started": 1},
        "outcomes": {"established": 7, "failed": 2, "in_flight": 0, "retried": 3},
        "errors": [
            {"syscall": "connect", "errno": "ECONNREFUSED", "outcome": "refused", "count": 1},
            {"syscall": "bind", "errno": "EADDRINUSE", "outcome": "port-taken", "count": 1},
        ],
        "open": {"peak": 6, "end_of_hold": 5, "lost": 4},
        "rate_per_s": {"established_mean": 100.0, "established_peak": 200.0},
        "cost_us": [10.0] * 5 + [20.0] * 5,
        "cost_last_to_first": 2.0,
        "phases": {"ramp_s": 1.5, "hold_s": 2.0, "drain_s": 0.5},
        "latency_us.lateness.count": 0,
        "latency_us.arrival.count": 0,
        "latency_us.connect": {"p50": 20.0, "p90": 30.0, "p99": 90.0, "p999": 95.0, "max": 99.0, "count": 7},
        "sources": [
            {"source": "127.0.1.1", "target": "a:1", "capacity": 10, "peak_open": 2, "established": 2, "failed": 0},
            {"source": "127.0.1.2", "target": "a:1", "capacity": 8, "peak_open": 4, "established": 4, "failed": 0},
        ],
        "kernel.delta": {"TcpExt.TW": 11},
        "kernel.peak": {"sockstat.tcp_tw": 12},
        "generator.lag_ms_p99": 1.5,
    }
)
EXPECTED = {
    "established": 7,
    "failed": 2,
    "not_started": 1,
    "lost": 4,
    "open_peak": 6,
    "retried": 3,
    "rate_per_s": 100,
    "rate_peak_per_s": 200,
    "ramp_s": 1.5,
    "drain_s": 0.5,
    "connect_p50_us": 20,
    "connect_p90_us": 30,
    "connect_p99_us": 90,
    "connect_p999_us": 95,
    "cost_us": 15,
    "cost_last_us": 20,
    "cost_last_to_first": 2,
    "occupancy": 0.5,
    "time_waits": 11,
    "time_wait_peak": 12,
    "recycled": 0,
    "lag_p99_us": 1500,
}


def test_every_figure_of_a_run_and_no_other() -> None:
    """What nothing was measured of, or the run has no part for, is no figure and not a 0."""
    found = {one.name: spread.median for one in MEASURES if (spread := spread_of([RUN], one.find))}
    assert found == EXPECTED


def test_of_churn_the_rate_is_the_sustained_one() -> None:
    run = samples.summary({"churn.sustained_per_s": 40.0, "churn.mean_per_s": 50.0}, "churn")
    assert (rate_per_s(RUN), rate_per_s(run), measure("mean_per_s").find(run)) == (100.0, 40.0, 50.0)


@pytest.mark.parametrize(
    ("name", "changes", "figures"),
    [
        ("tls", {"traffic.replies": 8, "traffic.wrong": 7}, {"replies": 8, "wrong": 7}),
        ("udp", {"traffic.lost": 6}, {"datagrams_lost": 6}),
        (
            "http",
            {"heartbeat": {"every_s": 1.0, "connections": 9, "sent": 8, "answered": 5, "missed": 2, "wrong": 1}},
            {"beats_missed": 2, "beats_wrong": 1},
        ),
    ],
)
def test_figures_of_what_connections_carried(name: str, changes: dict[str, Any], figures: dict[str, int]) -> None:
    run = samples.summary(changes, name)
    assert {figure: measure(figure).find(run) for figure in figures} == figures


def test_names_are_there_once_and_end_with_their_unit() -> None:
    names = [one.name for one in MEASURES]
    assert len(set(names)) == len(names)
    for one in MEASURES:
        assert (one.unit in (Unit.US, Unit.S, Unit.PER_S)) is one.name.endswith(("_us", "_s"))
        assert one.name.endswith(f"_{one.unit.value}") or one.unit in (Unit.COUNT, Unit.SHARE, Unit.RATIO)
        assert not one.aim or one.better is not Better.NEITHER
    with pytest.raises(KeyError):
        measure("speed")


def test_a_kind_of_failure_that_one_run_lacks_is_0_there() -> None:
    error = {"syscall": "connect", "errno": "ETIMEDOUT", "outcome": "timed-out", "count": 5}
    other = samples.summary({"errors": [error]})
    found = kinds_of_failure([RUN, other])
    assert [one.name for one in found] == [
        "failed.connect.ECONNREFUSED",
        "failed.bind.EADDRINUSE",
        "failed.connect.ETIMEDOUT",
    ]
    assert [(one.find(RUN), one.find(other)) for one in found] == [(1, 0), (1, 0), (0, 5)]
    assert {one.better for one in found} == {Better.LOWER}


def test_the_documentation_names_every_figure() -> None:
    text = (Path(__file__).parents[3] / "docs" / "compare.md").read_text()
    assert [one.name for one in MEASURES if f"`{one.name}`" not in text] == []


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (28232.0, Unit.COUNT, "28,232"),
        (99.5, Unit.PER_S, "99.5/s"),
        (1500.0, Unit.US, "1.50 ms"),
        (1.5, Unit.S, "1.50 s"),
        (0.5, Unit.SHARE, "50.0 %"),
        (1.237, Unit.RATIO, "1.24"),
        (97.6, Unit.PER_S, "97.6/s"),
        (0.042, Unit.COUNT, "0.042"),
        (None, Unit.S, MISSING),
    ],
)
def test_a_number_with_its_unit(value: float | None, unit: Unit, said: str) -> None:
    assert figure_text(value, unit, "us") == said
