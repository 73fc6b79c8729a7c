"""The timers of all connections of a sink process, on a clock that the test sets."""

from __future__ import annotations

import os
import socket

from loadgen.clock import NS_PER_S
from loadgen.model import SinkBehaviour
from loadgen.sink.behaviour.connections import AcceptedConnections
from loadgen.sink.behaviour.listener import Listener

T0 = 1_000 * NS_PER_S


def test_timers_of_ended_connections_are_discarded() -> None:
    """Otherwise a thousand connections per second, each with a timer of an hour, would fill the memory."""
    closed: list[int] = []

    def close(fd: int) -> None:
        closed.append(fd)
        os.close(fd)

    connections, listener = AcceptedConnections(close, None), Listener(SinkBehaviour(close_after_s=3600.0))
    for _ in range(5_000):
        ours, theirs = socket.socketpair()
        fd = ours.detach()
        connections.add(fd, listener, T0)
        assert fd in connections
        theirs.close()
        connections.serve(T0)
        assert fd not in connections
        assert len(connections._timers) < 1_100
    assert len(closed) == 5_000
    os.close(connections.fileno())


def test_timers_run_in_order_and_once() -> None:
    connections = AcceptedConnections(os.close, None)
    pairs = []
    for delay_s in (0.3, 0.1, 0.2):
        ours, theirs = socket.socketpair()
        connections.add(ours.detach(), Listener(SinkBehaviour(delay_s=delay_s)), T0)
        theirs.setblocking(False)
        theirs.sendall(b"a")
        pairs.append(theirs)
    assert connections.due_ns is None
    assert not connections.run_timers(T0 + NS_PER_S)
    connections.serve(T0)
    for now, answered in ((0.1, 1), (0.2, 2), (0.3, 0)):
        assert connections.due_ns == T0 + int(now * NS_PER_S)
        assert connections.run_timers(T0 + int(now * NS_PER_S))
        assert pairs[answered].recv(10) == b"a"
    assert connections.due_ns is None
    for theirs in pairs:
        theirs.close()
    connections.serve(T0)
    os.close(connections.fileno())
