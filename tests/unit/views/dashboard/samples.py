"""A plan and lines of its series, as the orchestrator hands them to its observer."""

from __future__ import annotations

from typing import Any

from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Strategy, Target
from loadgen.results.schema.line import Line
from tests.samples import bare_line


def plan(sources: int = 1, **changes: Any) -> Plan:
    """A plan with this number of sources, of 1,000 four-tuples each."""
    keys: dict[str, Any] = {
        "name": "mine",
        "connections": 1000,
        "sources": tuple(f"127.0.1.{number}" for number in range(1, sources + 1)),
        "targets": (Target(Endpoint("127.0.0.1", 9000), sink=True),),
        "strategy": Strategy.LATE_RANGE,
        "ports": PortRange(10_000, 10_999),
        "skipped_ports": (),
        "capacity_per_pair": 1000,
        "stages": (),
        "hold_s": 30.0,
        "close": CloseMode.FIN,
        "timeout_s": 10.0,
        "in_flight_max": 256,
        "interval_s": 0.5,
        "workers": 2,
        "sinks": 1,
    }
    return Plan(**keys | changes)


def line(t_s: float = 1.0, phase: str = "ramp", **changes: Any) -> Line:
    """A line of the series of such a plan."""
    keys: dict[str, Any] = {
        "started": 510,
        "established": 500,
        "failed": 0,
        "in_flight": 10,
        "not_started": 0,
        "open": 500,
        "lost": 0,
        "retried": 3,
        "closed": 0,
        "beats": 0,
        "missed": 0,
        "wrong": 0,
        "errors": [],
        "pairs": [[500, 0, 500]],
        "latency_ns": {"lateness": {}, "connect": {"1780": 500}},
        "lag_ns": {"1780": 7},
        "cpu_s": 0.25,
        "workers": {"alive": 2, "stalled": 0},
        "sink": {"accepted": 499, "open": 498},
        "kernel": {"now": {"sockstat.tcp_tw": 5}, "delta": {"TcpExt.TW": 40, "TcpExt.TWRecycled": 2}},
        **changes,
    }
    return bare_line(t_s, phase, **keys)
