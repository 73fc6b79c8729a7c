"""The behaviour of each sink of a plan; the processes themselves are tested in tests/lab and tests/e2e."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.control.sinks import _behaviours
from loadgen.model import Churn, CloseMode, Endpoint, PortRange, SinkBehaviour, Speaks, Target, Traffic
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
