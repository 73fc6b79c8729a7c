"""The books of the data plane, with sockets that only pretend to connect; the real ones are in tests/lab."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.processes.shared_memory import Blocks
from loadgen.results.block import block_dtype
from loadgen.worker import socket_pool
from loadgen.worker.epoll import connector
from loadgen.worker.recorder import Recorder
from loadgen.worker.strategies import strategy_for

TARGET = Endpoint("127.0.0.1", 9000)


class Pretending(socket.SocketType):
    """One end of a pair; connect() gives the answers it was made for, one after the other."""

    answers: list[list[int]]
    peers: list[socket.socket]

    def __init__(self, _family: int, _kind: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        super().__init__(fileno=ours.detach())
        self.peers.append(theirs)
        self._left = self.answers.pop(0)

    def connect_ex(self, _address: Any) -> int:
        return self._left.pop(0)


@pytest.fixture
def recorder() -> Recorder:
    blocks = Blocks.create("test", block_dtype(1), 1)
    os.close(blocks.fd)
    return Recorder(blocks.records[0], scheduled=10)


def opened(monkeypatch: pytest.MonkeyPatch, recorder: Recorder, *answers: list[int]) -> tuple[Any, Any]:
    """A connector after one batch, one attempt for each list of answers; and the class of its sockets."""

    class Socket(Pretending):
        pass

    Socket.answers, Socket.peers = list(answers), []
    monkeypatch.setattr(socket_pool, "Socket", Socket)
    made = connector.Connector(
        (("127.0.0.2", TARGET),),
        strategy_for(Strategy.KERNEL, ("127.0.0.2",), PortRange(1, 9)),
        recorder,
        first_pair=0,
        self_connect=(False,),
        close=CloseMode.FIN,
        timeout_s=1.0,
        in_flight_max=10,
        descriptors=4096,
    )
    made.open_batch([0] * len(answers))
    return made, Socket


def balanced(recorder: Recorder) -> bool:
    return recorder.started == recorder.established + recorder.failed + recorder.in_flight


def test_an_attempt_is_established_failed_or_in_flight(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    answers = ([errno.EINPROGRESS, 0], [errno.EINPROGRESS, errno.EALREADY], [errno.ECONNREFUSED], [0])
    made, sockets = opened(monkeypatch, recorder, *answers)
    assert (recorder.started, recorder.established, recorder.failed, recorder.in_flight) == (4, 2, 1, 1)
    assert made.room == 9
    made.drain_events()  # a socket of a pair is writable at once: the attempt is answered
    assert (recorder.established, recorder.in_flight, recorder.open) == (3, 0, 3)
    sockets.peers[0].close()
    made.drain_events()
    assert (recorder.lost, recorder.open) == (1, 2)
    assert not made.close_batch(4096)
    assert (recorder.lost, recorder.open) == (1, 0)
    assert balanced(recorder)
    for peer in sockets.peers:
        peer.close()


def test_abandoned_attempts_stay_in_flight_whatever_happens_later(
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """A run that is interrupted, and then a held connection ends while the others are being closed."""
    made, sockets = opened(monkeypatch, recorder, [0], [errno.EINPROGRESS, errno.EALREADY])
    made.abandon()
    assert balanced(recorder)
    sockets.peers[0].close()
    made.drain_events()
    made.close_batch(4096)
    for peer in sockets.peers:
        peer.close()
    assert balanced(recorder)
