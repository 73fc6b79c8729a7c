"""The plan that tests change: one worker, one source, one target on port 9000 that another program listens on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Strategy, Target

_BASE: Final = Plan(
    name="test",
    connections=4,
    sources=("127.0.0.1",),
    targets=(Target(Endpoint("127.0.0.1", 9000), sink=False),),
    strategy=Strategy.LATE_RANGE,
    ports=PortRange(40_000, 40_099),
    skipped_ports=(),
    capacity_per_pair=100,
    stages=(),
    hold_s=0.0,
    close=CloseMode.RST,
    timeout_s=600.0,
    in_flight_max=1000,
    interval_s=1.0,
    workers=1,
    sinks=0,
)


def plan_of(**changes: Any) -> Plan:
    """Return the plan with some of its fields changed."""
    return replace(_BASE, **changes)
