"""The books of the epoll engine, with sockets that only pretend to connect; the real ones are in tests/lab."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from loadgen.model import CloseMode
from loadgen.worker.backoff import LASTING
from loadgen.worker.epoll import connector, exchange
from loadgen.worker.lifecycle import TRANSITIONS, State
from loadgen.worker.settings import Schedule, churn, hold

Make = Callable[..., Any]

#: Answers of connect() for one attempt. One that is not answered at once becomes established when events are drained:
#: a socket of a pair is writable at once.
ESTABLISHED: Final = [0]
ESTABLISHED_AT_SECOND: Final = [errno.EINPROGRESS, 0]
UNANSWERED: Final = [errno.EINPROGRESS, errno.EALREADY]
REFUSED: Final = [errno.ECONNREFUSED]
NO_PORT: Final = [errno.EADDRNOTAVAIL]
NO_MEMORY: Final = [errno.ENOBUFS]
OUTCOMES: Final = [ESTABLISHED, ESTABLISHED_AT_SECOND, UNANSWERED, REFUSED, NO_PORT, NO_MEMORY]


def churning(close: CloseMode = CloseMode.FIN) -> dict[str, Any]:
    """Return what a stage in churn is made with."""
    return {"schedule": churn(close, exchanges=1, open_max=5, searched_ports=9), "close": close}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The instant at which the connector and its driver are, which a test sets."""
    now = [10**9]
    for module in (connector, exchange):
        monkeypatch.setattr(module, "now_ns", lambda: now[0])
    return now


# --- Held -------------------------------------------------------------------------------------------------


def test_an_attempt_is_established_failed_or_in_flight(make: Make) -> None:
    stage = make(*ESTABLISHED_AT_SECOND, *UNANSWERED, *REFUSED, *ESTABLISHED)
    stage.connector.open_batch((0,) * 4)
    recorder = stage.recorder
    assert (recorder.started, recorder.established, recorder.failed, recorder.in_flight) == (4, 2, 1, 1)
    assert stage.lifecycle.room == 9
    stage.connector.drain_events()
    assert (recorder.established, recorder.in_flight, recorder.open) == (3, 0, 3)
    stage.peers[0].close()
    stage.connector.drain_events()
    assert (recorder.lost, recorder.open) == (1, 2)
    assert not stage.connector.close_batch(4096)
    assert (recorder.lost, recorder.open) == (1, 0)


def test_abandoned_attempts_stay_in_flight_whatever_happens_later(make: Make) -> None:
    """A run that is interrupted, and then a held connection ends while the others are being closed."""
    stage = make(*ESTABLISHED, *UNANSWERED)
    stage.connector.open_batch((0,) * 2)
    stage.connector.abandon()
    stage.peers[0].close()
    stage.connector.drain_events()
    stage.connector.close_batch(4096)
    recorder = stage.recorder
    assert (recorder.started, recorder.established, recorder.failed, recorder.in_flight) == (2, 1, 0, 1)


def test_a_kernel_short_of_memory_has_half_as_many_attempts_to_answer(make: Make) -> None:
    """And never less than one; room is never negative, though more may be unanswered."""
    stage = make(*UNANSWERED * 6, *NO_MEMORY)
    stage.connector.open_batch((0,) * 7)
    assert stage.lifecycle.room == 0
    stage.connector.drain_events()
    assert stage.lifecycle.room == 5


# --- Churn ------------------------------------------------------------------------------------------------


def test_a_connection_that_has_nothing_to_do_is_closed_at_once(make: Make) -> None:
    stage = make(**churning())
    assert stage.connector.open_batch((0,) * 5) == 5
    recorder = stage.recorder
    assert (recorder.established, recorder.closed, recorder.open, recorder.open_peak) == (5, 5, 0, 5)
    assert [stage.heard(index) for index in range(5)] == [b""] * 5
    assert stage.lifecycle.idle


def test_a_batch_that_finds_no_port_at_all_leaves_the_pair_to_cool_down(make: Make) -> None:
    """Nothing has ended, so nothing is free: asked again at once, the kernel would search the whole range again."""
    stage = make(errno.EADDRNOTAVAIL, **churning(CloseMode.RST))
    stage.connector.open_batch((0,))
    assert (stage.recorder.failed, stage.lifecycle.backoff.active) == (1, True)


def test_an_answer_that_comes_late_is_closed_then(make: Make) -> None:
    stage = make(*UNANSWERED, **churning())
    stage.connector.open_batch((0,))
    assert (stage.recorder.in_flight, stage.lifecycle.room, stage.lifecycle.idle) == (1, 4, False)
    stage.connector.drain_events()
    assert (stage.recorder.in_flight, stage.recorder.closed) == (0, 1)
    assert (stage.lifecycle.room, stage.lifecycle.idle) == (5, True)


def test_a_connection_that_waits_for_its_end_takes_room(make: Make) -> None:
    stage = make(**churning(CloseMode.TARGET))
    stage.connector.open_batch((0,) * 2)
    assert (stage.recorder.open, stage.lifecycle.room, stage.lifecycle.idle) == (2, 3, False)
    stage.peers[0].close()
    stage.connector.drain_events()
    assert (stage.recorder.open, stage.recorder.closed, stage.recorder.lost, stage.lifecycle.room) == (1, 1, 0, 4)
    assert not stage.connector.close_batch(4096)
    assert (stage.recorder.open, stage.recorder.closed, stage.lifecycle.room) == (0, 2, 5)


def test_the_first_denial_that_lasts_is_remembered_with_what_was_established_by_then(
    make: Make, clock: list[int]
) -> None:
    stage = make(0, errno.EADDRNOTAVAIL, 0, *NO_PORT * LASTING, **churning())
    recorder = stage.recorder
    stage.connector.open_batch((0,) * 2)  # every port is in use for a moment
    cooldown_until_ns = stage.lifecycle.cooldown_until_ns(clock[0])
    assert (recorder.established, recorder.failed, bool(cooldown_until_ns)) == (1, 1, True)
    clock[0] += 10**9
    stage.connector.open_batch((0,))
    since_ns = clock[0] = clock[0] + 10**9
    for _ in range(LASTING):
        assert not recorder.first_denied_ns
        stage.connector.open_batch((0,))
        clock[0] += 10**9
    assert (recorder.established, recorder.failed) == (2, 1 + LASTING)
    assert (recorder.first_denied_ns, recorder.established_then) == (since_ns, 2)
    assert not stage.lifecycle.exhausted


def test_after_a_denial_one_attempt_is_enough_to_learn_the_next_answer(make: Make, clock: list[int]) -> None:
    stage = make(*NO_PORT * 2, **churning())
    stage.connector.open_batch((0,))
    clock[0] += 10**9
    assert stage.connector.open_batch((0,) * 4) == 1
    assert (stage.recorder.failed, len(stage.peers)) == (2, 2)
    clock[0] += 10**9
    assert stage.connector.open_batch((0,) * 4) == 1
    assert stage.connector.open_batch((0,) * 4) == 4
    assert stage.recorder.established == 5


# --- Whatever happens in whatever order ---------------------------------------------------------------------

#: States that this engine keeps in the pool of sockets and in local variables, not in its array.
HIDDEN: Final = {State.PREPARING, State.READY, State.CONNECTING}


def leads(before: int, after: int) -> bool:
    """Return True if the table of transitions leads from one state to the other, by hidden states only."""
    reached, todo = set(), [before]
    while todo:
        for state in TRANSITIONS[todo.pop()].values():
            if state not in reached:
                reached.add(state)
                todo += [state] * (state in HIDDEN)
    return after in reached


class CheckedStates(bytearray):
    """The states of an engine, each change of which has to be in the table of transitions."""

    def __setitem__(self, fd: Any, state: Any) -> None:
        assert leads(self[fd], state), f"descriptor {fd} goes from state {self[fd]} to {state}"
        super().__setitem__(fd, state)


class Engine(RuleBasedStateMachine):
    """Attempts and connections with all outcomes, in any order."""

    def __init__(self, make_stage: Make, schedule: Schedule, clock: list[int]) -> None:
        super().__init__()
        self.clock = clock
        clock[0] = 10**9
        self.stage = make_stage(schedule=schedule, in_flight_max=8)
        self.connector = self.stage.connector
        self.connector._state = CheckedStates(4096)
        self.ended: set[int] = set()

    @rule(outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=8))
    def open_batch(self, outcomes: list[list[int]]) -> None:
        """Attempts that are not made because the only pair cools down leave their answers; those are forgotten."""
        self.stage.answers[:] = [answer for outcome in outcomes for answer in outcome]
        room = self.connector.lifecycle.room
        count = min(len(outcomes), room)
        assert self.connector.open_batch((0,) * count) <= count
        self.stage.answers.clear()

    @rule()
    def drain_events(self) -> None:
        self.connector.drain_events()

    @rule(data=st.data())
    @precondition(lambda self: len(self.ended) < len(self.stage.peers))
    def peer_ends(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from(sorted(set(range(len(self.stage.peers))) - self.ended)))
        self.stage.peers[peer].close()
        self.ended.add(peer)

    @rule(wait_ms=st.sampled_from([1, 400, 1000]))
    def expire(self, wait_ms: int) -> None:
        """The timeout is a second."""
        self.clock[0] += wait_ms * 10**6
        self.connector.expire(self.clock[0])
        assert all(since > self.clock[0] - 10**9 for since in self.connector.lifecycle.waiting.values())

    @rule(count=st.integers(0, 3))
    def close_batch(self, count: int) -> None:
        before = self.stage.recorder.open
        self.connector.close_batch(count)
        assert self.stage.recorder.open >= before - count

    @rule()
    def abandon(self) -> None:
        self.connector.abandon()
        assert not self.connector.lifecycle.unanswered

    @rule()
    def expect_end(self) -> None:
        self.connector.lifecycle.ending = True

    @rule()
    def give_up(self) -> None:
        self.connector.give_up()
        assert self.stage.recorder.open == 0

    @invariant()
    def books_are_balanced(self) -> None:
        recorder, lifecycle = self.stage.recorder, self.connector.lifecycle
        assert recorder.started == recorder.established + recorder.failed + lifecycle.in_flight
        assert recorder.established == recorder.open + recorder.closed + recorder.lost
        assert lifecycle.room >= 0
        assert self.connector._state.count(State.CONNECTING) == lifecycle.unanswered == len(lifecycle.waiting)
        assert self.connector._state.count(State.HELD) == recorder.open
        watched = [fd for fd, sock in enumerate(self.connector.sockets) if sock is not None]
        assert watched == [fd for fd, state in enumerate(self.connector._state) if state]

    def teardown(self) -> None:
        self.stage.close()


@pytest.mark.parametrize(
    "schedule",
    [hold(), *(churn(close, exchanges=1, open_max=5, searched_ports=9) for close in (CloseMode.RST, CloseMode.TARGET))],
    ids=["hold", "churn", "churn until the target closes"],
)
def test_every_attempt_and_every_connection_is_counted_once(
    make_stage: Make, schedule: Schedule, clock: list[int]
) -> None:
    class Now(Engine):
        def __init__(self) -> None:
            super().__init__(make_stage, schedule, clock)

    run_state_machine_as_test(Now, settings=settings(max_examples=30, stateful_step_count=25, deadline=None))


def test_attempts_are_prepared_as_the_pause_allows_and_eight_at_once_while_there_is_no_reserve(make: Make) -> None:
    """Not before there is room for eight; the first pause with more time makes all that is missing."""
    connector = make().connector
    assert [connector.prepare(64, at_once) for at_once in (0, 3, 0, 40, 40, 40)] == [8, 3, 0, 40, 13, 0]
    assert len(connector._pool.ready) == 64
