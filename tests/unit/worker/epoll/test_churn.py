"""The books of connections that are not held, with sockets that only pretend to connect; see tests/lab as well."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.processes.shared_memory import Blocks
from loadgen.results.block import block_dtype
from loadgen.worker import socket_pool
from loadgen.worker.backoff import LASTING, Exhaustion
from loadgen.worker.epoll import connector
from loadgen.worker.epoll.churn import Churner
from loadgen.worker.recorder import Recorder
from loadgen.worker.strategies import strategy_for

TARGET = Endpoint("127.0.0.1", 9000)


class Pretending(socket.SocketType):
    """One end of a pair; connect() gives the next answer of those it was made for, and then 0."""

    answers: list[int]
    peers: list[socket.socket]

    def __init__(self, _family: int, _kind: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        super().__init__(fileno=ours.detach())
        self.peers.append(theirs)

    def connect_ex(self, _address: Any) -> int:
        return self.answers.pop(0) if self.answers else 0


Make = Callable[..., tuple[Churner, Recorder, list[socket.socket]]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[socket.socket] = []

    def churner(*answers: int, **more: Any) -> tuple[Churner, Recorder, list[socket.socket]]:
        class Socket(Pretending):
            pass

        Socket.answers, Socket.peers = list(answers), made
        monkeypatch.setattr(socket_pool, "Socket", Socket)
        blocks = Blocks.create("test", block_dtype(1), 1)
        os.close(blocks.fd)
        recorder = Recorder(blocks.records[0], scheduled=None)
        settings = {"close": CloseMode.FIN, "open_max": 5, "timeout_s": 1.0, **more}
        churning = Churner(
            (("127.0.0.2", TARGET),),
            strategy_for(Strategy.KERNEL, ("127.0.0.2",), PortRange(1, 9)),
            recorder,
            first_pair=0,
            self_connect=(False,),
            in_flight_max=10,
            descriptors=4096,
            exhausted=Exhaustion(1, churn_ports=9),
            **settings,
        )
        return churning, recorder, made

    yield churner
    for peer in made:
        peer.close()


def test_what_has_nothing_to_do_is_closed_at_once(make: Make) -> None:
    churner, recorder, peers = make()
    assert churner.open_batch((0,) * 5) == 5
    assert (recorder.established, recorder.closed, recorder.open, recorder.open_peak) == (5, 5, 0, 5)
    assert [peer.recv(1) for peer in peers] == [b""] * 5
    assert churner.idle


def test_an_answer_that_comes_late_is_closed_then(make: Make) -> None:
    churner, recorder, _ = make(errno.EINPROGRESS, errno.EALREADY)
    churner.open_batch((0,))
    assert (recorder.in_flight, churner.room, churner.idle) == (1, 4, False)
    churner.drain_events()
    assert (recorder.in_flight, recorder.closed, churner.room, churner.idle) == (0, 1, 5, True)


def test_what_waits_for_its_end_takes_room(make: Make) -> None:
    churner, recorder, peers = make(close=CloseMode.TARGET)
    churner.open_batch((0,) * 2)
    assert (recorder.open, churner.room, churner.idle) == (2, 3, False)
    peers[0].close()
    churner.drain_events()
    assert (recorder.open, recorder.closed, recorder.lost, churner.room) == (1, 1, 0, 4)
    assert not churner.close_batch(4096)
    assert (recorder.open, recorder.closed, churner.room) == (0, 2, 5)


def test_the_first_denial_that_lasts_is_remembered_with_what_was_established_by_then(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [10**9]
    for module in (connector, socket_pool):
        monkeypatch.setattr(module, "now_ns", lambda: clock[0])
    churner, recorder, _ = make(0, errno.EADDRNOTAVAIL, 0, *[errno.EADDRNOTAVAIL] * LASTING)
    churner.open_batch((0,) * 2)  # every port is in use for a moment
    assert (recorder.established, recorder.failed, bool(churner.rest_ns())) == (1, 1, True)
    clock[0] += 10**9
    churner.open_batch((0,))
    since_ns = clock[0] = clock[0] + 10**9
    for _ in range(LASTING):
        assert not recorder.first_denied_ns
        churner.open_batch((0,))
        clock[0] += 10**9
    assert (recorder.established, recorder.failed) == (2, 1 + LASTING)
    assert (recorder.first_denied_ns, recorder.established_then) == (since_ns, 2)
    assert not churner.spent


def test_after_a_denial_one_attempt_is_enough_to_hear_the_next(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    churner, recorder, peers = make(errno.EADDRNOTAVAIL, errno.EADDRNOTAVAIL)
    clock = [10**9]
    for module in (connector, socket_pool):
        monkeypatch.setattr(module, "now_ns", lambda: clock[0])
    churner.open_batch((0,))
    clock[0] += 10**9
    assert churner.open_batch((0,) * 4) == 1
    assert (recorder.failed, len(peers)) == (2, 2)
    clock[0] += 10**9
    assert churner.open_batch((0,) * 4) == 1
    assert churner.open_batch((0,) * 4) == 4
    assert recorder.established == 5
