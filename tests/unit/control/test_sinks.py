"""Which manners the sinks of a plan have; what the processes then do is tested in tests/lab and tests/e2e."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.control.sinks import _manners
from loadgen.model import Churn, CloseMode, Endpoint, Manners, Plan, PortRange, Speaks, Strategy, Target, Traffic

PLAIN, ECHO, HTTP = (Endpoint("127.0.0.1", port) for port in (9000, 9001, 9002))
PLAN = Plan(
    name="x",
    connections=4,
    sources=("127.0.0.2",),
    targets=(
        Target(PLAIN, sink=True),
        Target(ECHO, sink=True, manners=Manners(tls=True)),
        Target(HTTP, sink=True, manners=Manners(Speaks.HTTP)),
        Target(Endpoint("192.0.2.1", 80), sink=False),
    ),
    strategy=Strategy.LATE_RANGE,
    ports=PortRange(40_000, 40_009),
    skipped_ports=(),
    capacity_per_pair=10,
    stages=(),
    hold_s=0.0,
    close=CloseMode.TARGET,
    timeout_s=1.0,
    in_flight_max=1,
    interval_s=1.0,
    workers=1,
    sinks=1,
    traffic=Traffic("http"),
)


def test_a_sink_with_the_plain_manners_is_not_mentioned() -> None:
    assert _manners(PLAN) == {ECHO: Manners(tls=True), HTTP: Manners(Speaks.HTTP)}


def test_in_churn_http_closes_first_with_the_last_answer() -> None:
    churn = replace(PLAN, churn=Churn(1.0, exchanges=5))
    assert _manners(churn) == {ECHO: Manners(tls=True), HTTP: Manners(Speaks.HTTP, close_after_requests=5)}
    sooner = replace(churn, targets=(Target(HTTP, sink=True, manners=Manners(Speaks.HTTP, close_after_requests=2)),))
    assert _manners(sooner)[HTTP].close_after_requests == 2


@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
def test_where_the_client_closes_first_manners_stay_as_they_are(close: CloseMode) -> None:
    churn = replace(PLAN, churn=Churn(1.0, exchanges=5), close=close)
    assert _manners(churn)[HTTP] == Manners(Speaks.HTTP)
