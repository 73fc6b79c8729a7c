"""Which engine, driver and schedule a plan makes. Nothing is connected."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadgen.model import (
    Churn,
    CloseMode,
    Engine,
    Heartbeat,
    Shard,
    Strategy,
    Tls,
    Traffic,
    Transport,
)
from loadgen.results.block import block_dtype
from loadgen.worker.aiohttp_client import HttpDriver
from loadgen.worker.connector import connector_of, settings_of
from loadgen.worker.epoll.connector import EpollConnector
from loadgen.worker.epoll.exchange import Exchanges
from loadgen.worker.io_uring import ring
from loadgen.worker.io_uring.connector import BATCH, UringConnector
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Then
from tests.plans import plan_of

PLAN = plan_of(
    timeout_s=10.0,
    in_flight_max=30,
    connections=100,
    sources=("127.0.0.2", "127.0.0.3"),
    workers=2,
)
ECHO, HTTP, AIOHTTP = Traffic("echo"), Traffic("http"), Traffic("http", {"client": "aiohttp"})
CHURN = Churn(3.0, exchanges=4)
BEAT = Heartbeat(2.0, 0.5)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(np.zeros(1, dtype=block_dtype(len(PLAN.pairs)))[0], scheduled=None)


async def made(recorder: Recorder, changes: dict[str, Any]) -> Any:
    """The connector of the first worker; aiohttp needs a running event loop."""
    return connector_of(Shard(replace(PLAN, **changes), 0), recorder, 512)


@pytest.mark.parametrize(
    ("changes", "driver", "beats"),
    [
        ({}, None, False),
        ({"transport": Transport.UDP}, None, False),
        ({"churn": CHURN}, None, False),
        ({"churn": CHURN, "close": CloseMode.TARGET}, Exchanges, False),
        ({"tls": Tls()}, Exchanges, False),
        ({"traffic": ECHO}, Exchanges, False),
        ({"traffic": ECHO, "churn": CHURN}, Exchanges, False),
        ({"traffic": ECHO, "heartbeat": BEAT}, Exchanges, True),
        ({"traffic": ECHO, "heartbeat": BEAT, "transport": Transport.UDP}, Exchanges, True),
        ({"traffic": HTTP, "heartbeat": BEAT}, Exchanges, True),
        ({"traffic": HTTP, "tls": Tls()}, Exchanges, False),
        ({"traffic": AIOHTTP}, HttpDriver, False),
        ({"traffic": AIOHTTP, "churn": CHURN}, HttpDriver, False),
        ({"traffic": AIOHTTP, "heartbeat": BEAT}, HttpDriver, True),
    ],
)
def test_a_connection_that_does_anything_has_a_driver(
    recorder: Recorder, changes: dict[str, Any], driver: type | None, beats: bool
) -> None:
    connector = asyncio.run(made(recorder, changes))
    assert isinstance(connector, EpollConnector)
    assert type(connector.driver) is (driver or type(None))
    assert (connector.heartbeat is not None) == beats


@pytest.mark.skipif(bool(ring.available()), reason="this host allows no io_uring")
def test_io_uring_has_a_slot_for_all_that_is_open_on_its_way_or_prepared(recorder: Recorder) -> None:
    connector = asyncio.run(made(recorder, {"engine": Engine.IO_URING}))
    try:
        assert isinstance(connector, UringConnector)
        assert connector.heartbeat is None
        assert len(connector._state) == 50 + 30 + BATCH
    finally:
        connector.close()


def test_settings_are_those_of_the_plan() -> None:
    settings = settings_of(Shard(PLAN, 1), 512)
    assert settings.pairs == PLAN.pairs
    assert (settings.first_pair, settings.order, settings.self_connect) == (0, None, [False, False])
    assert (settings.close, settings.timeout_s, settings.transport) == (CloseMode.RST, 10.0, Transport.TCP)
    assert (settings.in_flight_max, settings.descriptors) == (30, 512)
    assert (settings.schedule.then, settings.schedule.exchanges) == (Then.HOLD, 1)
    assert settings_of(Shard(replace(PLAN, heartbeat=BEAT), 0), 512).schedule.heartbeat == BEAT


@pytest.mark.parametrize(("strategy", "searched"), [(Strategy.LATE_RANGE, 1), (Strategy.LATE, 100)])
def test_in_churn_workers_share_what_may_be_open(strategy: Strategy, searched: int) -> None:
    """And only where the kernel picks the port does it search for one."""
    plan = replace(PLAN, churn=CHURN, strategy=strategy, connections=5)
    schedules = [settings_of(Shard(plan, index), 512).schedule for index in range(2)]
    assert sorted(schedule.open_max or 0 for schedule in schedules) == [2, 3]
    assert {(schedule.exchanges, schedule.searched_ports) for schedule in schedules} == {(4, searched)}
