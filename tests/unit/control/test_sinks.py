"""The behaviour of each sink of a plan; the processes themselves are tested in tests/lab and tests/e2e."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.control.sinks import _behaviours, _gather_s
from loadgen.model import Churn, CloseMode, Endpoint, Plan, PortRange, SinkBehaviour, Speaks, Target, Tls, Traffic
from tests.plans import plan_of

PLAIN, ECHO, HTTP = (Endpoint("127.0.0.1", port) for port in (9000, 9001, 9002))
PLAN = plan_of(
    sources=("127.0.0.2",),
    targets=(
        Target(PLAIN, sink=True),
        Target(ECHO, sink=True, behaviour=SinkBehaviour(tls=True)),
        Target(HTTP, sink=True, behaviour=SinkBehaviour(Speaks.HTTP)),
        Target(Endpoint("192.0.2.1", 80), sink=False),
    ),
    ports=PortRange(40_000, 40_009),
    capacity_per_pair=10,
    close=CloseMode.TARGET,
    sinks=1,
    traffic=Traffic("http"),
)


def test_plain_echoes_are_left_out() -> None:
    assert _behaviours(PLAN) == {ECHO: SinkBehaviour(tls=True), HTTP: SinkBehaviour(Speaks.HTTP)}


def test_in_churn_http_closes_first_with_the_last_answer() -> None:
    churn = replace(PLAN, churn=Churn(1.0, exchanges=5))
    assert _behaviours(churn) == {
        ECHO: SinkBehaviour(tls=True),
        HTTP: SinkBehaviour(Speaks.HTTP, close_after_requests=5),
    }
    sooner = replace(
        churn, targets=(Target(HTTP, sink=True, behaviour=SinkBehaviour(Speaks.HTTP, close_after_requests=2)),)
    )
    assert _behaviours(sooner)[HTTP].close_after_requests == 2


@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
def test_when_the_client_closes_first_behaviours_are_unchanged(close: CloseMode) -> None:
    churn = replace(PLAN, churn=Churn(1.0, exchanges=5), close=close)
    assert _behaviours(churn)[HTTP] == SinkBehaviour(Speaks.HTTP)


SILENT = replace(PLAN, targets=(Target(PLAIN, sink=True),), traffic=Traffic(), close=CloseMode.FIN)


@pytest.mark.parametrize(
    ("plan", "gather_s"),
    [
        (SILENT, 0.01),
        (replace(SILENT, sinks=5), 0.02),
        (replace(SILENT, traffic=Traffic("echo")), 0.0),
        (replace(SILENT, tls=Tls()), 0.0),
        (replace(SILENT, targets=(Target(PLAIN, sink=True, behaviour=SinkBehaviour(reset=True)),)), 0.0),
        (replace(SILENT, churn=Churn(1.0)), 0.0),
        (replace(SILENT, churn=Churn(1.0), sinks=5), 0.0),
        (replace(SILENT, churn=Churn(1.0), close=CloseMode.TARGET), 0.0),
        (replace(SILENT, churn=Churn(1.0), close=CloseMode.RST), 0.01),
    ],
)
def test_connections_gather_where_no_client_waits_for_the_sink(plan: Plan, gather_s: float) -> None:
    """Of which there are two cores here; a crowd of sinks lets them gather for longer."""
    assert _gather_s(plan, cpus=2) == gather_s
