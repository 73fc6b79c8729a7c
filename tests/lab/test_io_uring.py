"""What only io_uring does: rings, and more connections than descriptors. Its books are tested in test_connector."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

import numpy as np
import pytest

from loadgen.errors import HostError
from loadgen.model import Endpoint, Engine, PortRange, Strategy
from loadgen.worker.io_uring import ring
from loadgen.worker.io_uring.abi import SQE, Op
from loadgen.worker.latencies import BATCH_MAX

from . import support
from .support import Load, in_child, listen, reset

LOOPBACK: Final = "127.0.0.1"
TARGET: Final = Endpoint(LOOPBACK, 9000)
PAIR: Final = [(LOOPBACK, TARGET)]
FOUR: Final = PortRange(40000, 40003)
HUNDRED: Final = PortRange(40000, 40099)

Accept = Callable[[socket.socket, int], list[socket.socket]]
MakeListeners = Callable[..., list[socket.socket]]

WHY_NOT: Final = ring.available()
pytestmark = [
    pytest.mark.lab("40000 40099"),
    pytest.mark.skipif(bool(WHY_NOT), reason=f"no io_uring: {WHY_NOT}"),
]


MakeLoad = Callable[..., Load]


@pytest.fixture
def accept(keep: ExitStack) -> Accept:
    """The next so many connections in the order in which they were established; closed after the test."""
    return lambda listener, count: [keep.enter_context(end) for end in support.accept_all(listener, count)]


@pytest.fixture
def load(load: MakeLoad) -> MakeLoad:
    """Make a `Load` by io_uring that is closed after the test."""
    return partial(load, engine=Engine.IO_URING)


# --- Facts about io_uring --------------------------------------------------------------------------


def test_a_ring_is_readable_when_something_was_completed(keep: ExitStack) -> None:
    """Without anybody asking it: so an event loop can watch it."""
    made = ring.Ring(entries=8, slots=1)
    keep.callback(made.close)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poll = np.zeros(1, SQE)
        poll["opcode"], poll["fd"], poll["op_flags"], poll["user_data"] = Op.POLL_ADD, ours.fileno(), select.EPOLLIN, 7
        made.push(poll)
        made.submit()
        assert select.select([made], [], [], 0)[0] == []
        theirs.send(b"x")
        assert select.select([made], [], [], 10)[0] == [made]
        (completion,) = made.completions()
        assert (int(completion["user_data"]), int(completion["res"]) & select.EPOLLIN) == (7, select.EPOLLIN)


def test_more_is_submitted_and_completed_than_the_rings_hold(keep: ExitStack) -> None:
    """Pushing submits what has no room, and the kernel keeps completions that have none."""
    made = ring.Ring(entries=4, slots=1)
    keep.callback(made.close)
    seen: list[int] = []
    nothing = np.zeros(50, SQE)  # IORING_OP_NOP
    nothing["user_data"] = range(50)
    made.push(nothing)
    while len(seen) < 50:
        made.submit(wait=1)
        seen += made.completions()["user_data"].tolist()
    assert sorted(seen) == list(range(50))


def test_a_table_may_not_be_larger_than_the_limit_of_descriptors() -> None:
    def body() -> str:
        limit = len(os.listdir("/proc/self/fd")) + 64
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        ring.Ring(entries=8, slots=limit).close()
        try:
            ring.Ring(entries=8, slots=limit + 1)
        except HostError as error:
            return str(error)
        return ""

    assert "RLIMIT_NOFILE" in in_child(body)


# --- Slots -----------------------------------------------------------------------------------------


def test_without_a_slot_socket_fails(load: MakeLoad, listeners: MakeListeners, accept: Accept) -> None:
    """Shed and counted; those after it live when there is room again."""
    (listener,) = listeners(TARGET)
    opening = load(Strategy.LATE_RANGE, PAIR, HUNDRED, descriptors=3)
    opening.open(8)
    assert (opening.recorder.established, opening.errors) == (3, {("socket", "ENFILE"): 5})
    reset(accept(listener, 1)[0])
    opening.settle(lambda: opening.recorder.lost == 1)
    opening.open(1)
    assert opening.recorder.established == 4


def test_one_process_holds_more_connections_than_it_may_have_descriptors() -> None:
    """Three hundred with a limit below: several tables, each no larger than the limit."""

    def body() -> tuple[int, int, int, dict[tuple[str, str], int]]:
        targets = [Endpoint(LOOPBACK, 9000 + n) for n in range(3)]
        listening = [listen(target) for target in targets]
        limit = max(int(fd) for fd in os.listdir("/proc/self/fd")) + 32
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        pairs = [(LOOPBACK, target) for target in targets]
        opening = Load(Strategy.LATE_RANGE, pairs, HUNDRED, engine=Engine.IO_URING, descriptors=400)
        opening.open(300)
        held = opening.recorder.open
        opening.close_connections()
        opening.check()
        assert len(listening) == 3
        return held, limit, opening.recorder.closed, opening.errors

    held, limit, closed, errors = in_child(body)
    assert (held, closed, errors) == (300, 300, {})
    assert limit < held


def test_slots_and_ports_serve_many_generations(load: MakeLoad, listeners: MakeListeners, accept: Accept) -> None:
    """Every slot is used, closed while it is watched, and used again; nothing of the former is taken for the latter."""
    (listener,) = listeners(TARGET)
    turning = load(Strategy.LATE_RANGE, PAIR, HUNDRED, descriptors=100)
    lost = 0
    for _ in range(5):
        turning.open(100)
        assert (turning.recorder.open, turning.recorder.lost) == (100, lost)
        ends = accept(listener, 100)
        for end in ends[:30]:
            reset(end)
        lost += 30
        turning.settle(lambda: turning.recorder.open == 70)
        while turning.connector.close_batch(BATCH_MAX):
            pass
        turning.check()
        for end in ends[30:]:
            end.close()
        assert turning.recorder.open == 0
        turning.settle(lambda: not select.select([turning.connector], [], [], 0)[0])
    assert turning.errors == {("recv", "ECONNRESET"): lost}
