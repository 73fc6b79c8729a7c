"""A connector whose sockets only pretend to connect: ends of socket pairs, so that bytes and ends are real."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.processes.shared_memory import Blocks
from loadgen.protocols import Exchange
from loadgen.results.block import Latency, block_dtype, consistent_breakdown
from loadgen.worker import socket_pool
from loadgen.worker.epoll.connector import EpollConnector
from loadgen.worker.epoll.exchange import Exchanges
from loadgen.worker.lifecycle import Lifecycle
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Schedule, Settings, Then, hold
from loadgen.worker.strategies import strategy_for
from tests.pretending import pretending

SOURCE, TARGET = "127.0.0.2", Endpoint("127.0.0.1", 9000)


@dataclass
class Stage:
    """A connector with its numbers, and the other ends of its connections in the order of their sockets."""

    connector: EpollConnector
    recorder: Recorder
    block: Any
    peers: list[socket.socket]
    #: What connect() answers next.
    answers: list[int]

    @property
    def lifecycle(self) -> Lifecycle[Any]:
        return self.connector.lifecycle

    def heard(self, index: int = 0) -> bytes:
        """Return what has come at the other end by now; "nothing" is not the end of file."""
        try:
            return self.peers[index].recv(1 << 21)
        except BlockingIOError:
            return b"nothing"

    def say(self, data: bytes, index: int = 0) -> None:
        """Send from the other end, and let it be received."""
        self.peers[index].sendall(data)
        self.connector.drain_events()

    @property
    def replies(self) -> int:
        self.recorder.publish_all()
        return int(consistent_breakdown(self.block)["latency"][Latency.EXCHANGE].sum())

    def close(self) -> None:
        self.connector.abandon()
        while self.connector.close_batch(4096):
            pass
        for peer in self.peers:
            peer.close()


def make_stage(
    *answers: int,
    schedule: Schedule | None = None,
    exchange: Exchange | None = None,
    close: CloseMode = CloseMode.FIN,
    timeout_s: float = 1.0,
    in_flight_max: int = 10,
) -> Stage:
    """Make a stage; `socket_pool.Socket` has to be patched to the class that this returns sockets of."""

    sockets = pretending(*answers)
    blocks = Blocks.create("test", block_dtype(1), 1)
    os.close(blocks.fd)
    recorder = Recorder(blocks.records[0], scheduled=None)
    settings = Settings(
        pairs=((SOURCE, TARGET),),
        first_pair=0,
        self_connect=(False,),
        close=close,
        timeout_s=timeout_s,
        in_flight_max=in_flight_max,
        descriptors=4096,
        schedule=schedule or hold(),
    )
    connector = EpollConnector(settings, strategy_for(Strategy.KERNEL, (SOURCE,), PortRange(1, 9)), recorder)
    if exchange or settings.schedule.then is Then.AWAIT_CLOSE:
        connector.driver = Exchanges(connector, exchange, None)
    setattr(socket_pool, "Socket", sockets)  # noqa: B010  # a constant to everybody else
    return Stage(connector, recorder, blocks.records[0], sockets.peers, sockets.answers)


@pytest.fixture(name="make_stage")
def _make_stage(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Make stages that the test closes itself."""
    monkeypatch.setattr(socket_pool, "Socket", socket_pool.Socket)  # restored afterwards
    return make_stage


@pytest.fixture
def make(make_stage: Callable[..., Stage]) -> Iterator[Callable[..., Stage]]:
    """Make stages that are closed after the test."""
    stages: list[Stage] = []

    def stage(*answers: int, **settings: Any) -> Stage:
        stages.append(make_stage(*answers, **settings))
        return stages[-1]

    yield stage
    for made in stages:
        made.close()
