"""The books of every engine: sums that hold at every step, room, turns, expiry, and when ports ran out."""

from __future__ import annotations

from collections import Counter
from errno import EADDRNOTAVAIL, ECONNREFUSED, ECONNRESET, ETIMEDOUT
from itertools import cycle
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from loadgen.model import CloseMode, Endpoint
from loadgen.outcomes import Syscall, error_key
from loadgen.results.block import block_dtype, consistent_breakdown
from loadgen.worker.backoff import COOLDOWN_MIN_NS, DENIALS_MAX, LASTING
from loadgen.worker.lifecycle import TRANSITIONS, ConnectionEvent, Lifecycle, State, overdue
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Schedule, Settings, churn, hold

NO_PORT: Final = error_key(Syscall.CONNECT, EADDRNOTAVAIL)
REFUSED: Final = error_key(Syscall.CONNECT, ECONNREFUSED)
RESET: Final = error_key(Syscall.RECV, ECONNRESET)
TIMED_OUT: Final = error_key(Syscall.WAIT, ETIMEDOUT)
TIMEOUT_NS: Final = 10**9


def books(pairs: int = 1, **changes: Any) -> tuple[Lifecycle[int], Recorder]:
    """A lifecycle with a recorder of its own."""
    recorder = Recorder(np.zeros(1, dtype=block_dtype(pairs))[0], scheduled=None)
    values: dict[str, Any] = {
        "pairs": [("127.0.0.2", Endpoint("127.0.0.1", 9000 + n)) for n in range(pairs)],
        "first_pair": 0,
        "self_connect": [False] * pairs,
        "close": CloseMode.FIN,
        "timeout_s": TIMEOUT_NS / 1e9,
        "in_flight_max": 10,
        "descriptors": 100,
        "schedule": hold(),
    }
    return Lifecycle(Settings(**{**values, **changes}), recorder), recorder


def establish_at_once(lifecycle: Lifecycle[int], recorder: Recorder, pairs: list[int], started: int = 0) -> None:
    """A batch in which these are established; `started` of them and of others are not counted yet."""
    _, connect_ns, _, at = recorder.begin_batch(len(pairs))
    for n, pair in enumerate(pairs):
        connect_ns[at + n] = 1
        recorder.pair_established[pair] += 1
    lifecycle.end_batch(started, len(pairs), at + len(pairs), 1, scheduled=False)


# --- The table of transitions -----------------------------------------------------------------------------


def test_every_state_can_be_reached_and_leads_back_to_free() -> None:
    after = {state: set(events.values()) for state, events in TRANSITIONS.items()}
    for begin, goals in ((State.FREE, set(TRANSITIONS)), *((state, {State.FREE}) for state in TRANSITIONS)):
        reached: set[int] = set()
        todo = {begin}
        while todo:
            new = set().union(*(after[state] for state in todo)) - reached
            reached |= new
            todo = new
        assert goals <= reached


def test_every_event_is_in_the_table_and_only_what_is_under_way_is_cancelled() -> None:
    assert {event for events in TRANSITIONS.values() for event in events} == set(ConnectionEvent)
    cancelled = {state for state, events in TRANSITIONS.items() if ConnectionEvent.CANCEL in events}
    assert cancelled == {State.CONNECTING, State.HELD, State.READING}


# --- Sums -------------------------------------------------------------------------------------------------


class Books(RuleBasedStateMachine):
    """Attempts and connections of a model, each in a state of the table, and the same events told to a lifecycle."""

    @initialize(
        schedule=st.sampled_from(
            [hold(), *(churn(close, exchanges=1, open_max=5, searched_ports=3) for close in CloseMode)]
        ),
        in_flight_max=st.integers(1, 8),
    )
    def begin(self, schedule: Schedule, in_flight_max: int) -> None:
        self.lifecycle, self.recorder = books(3, schedule=schedule, in_flight_max=in_flight_max)
        self.now = 10**9
        self.keys = 0
        #: State, pair and start of every attempt and connection there is.
        self.model: dict[int, tuple[int, int, int]] = {}
        self.gone = 0  # abandoned attempts

    def go(self, key: int, *events: ConnectionEvent) -> int:
        """Let events happen to a connection of the model; return its pair."""
        state, pair, since = self.model[key]
        for event in events:
            state = TRANSITIONS[state][event]
        if state in (State.FREE, State.CLOSING):
            del self.model[key]
        else:
            self.model[key] = state, pair, since
        return pair

    def those(self, state: int) -> list[int]:
        return [key for key, (its, _, _) in self.model.items() if its == state]

    @rule(data=st.data())
    def open_batch(self, data: st.DataObject) -> None:
        """As an engine does: failures are counted as they come, the rest of the batch at its end."""
        turns = self.lifecycle.turns(min(self.lifecycle.room, 8), self.now)
        established, waiting, begun = [], 0, self.recorder.established
        for pair in turns:
            outcome = data.draw(st.sampled_from(["established", "waiting", "failed", "no port", "withdrawn"]))
            if self.lifecycle.backoff.active and not self.lifecycle.backoff.may_try(pair, self.now):
                continue
            self.keys += 1
            self.model[self.keys] = State.FREE, pair, self.now
            self.go(self.keys, ConnectionEvent.PREPARE, ConnectionEvent.PREPARED, ConnectionEvent.CONNECT)
            match outcome:
                case "established":
                    self.go(self.keys, ConnectionEvent.ESTABLISHED)
                    established.append(pair)
                case "waiting":
                    self.lifecycle.waiting[self.keys] = self.now
                    waiting += 1
                case "withdrawn":
                    self.lifecycle.start()
                    self.lifecycle.withdraw()
                    self.go(self.keys, ConnectionEvent.END)
                case _:
                    self.lifecycle.start()
                    self.lifecycle.fail(pair, REFUSED if outcome == "failed" else NO_PORT, self.now)
                    self.go(self.keys, ConnectionEvent.END)
        establish_at_once(self.lifecycle, self.recorder, established, len(established) + waiting)
        self.lifecycle.watch_ports(self.now)
        assert self.recorder.established == begun + len(established)

    @precondition(lambda self: self.those(State.CONNECTING))
    @rule(data=st.data(), established=st.booleans())
    def answer(self, data: st.DataObject, established: bool) -> None:
        """In any order, not only the oldest first."""
        key = data.draw(st.sampled_from(self.those(State.CONNECTING)))
        if established:
            pair = self.go(key, ConnectionEvent.ESTABLISHED)
            self.lifecycle.establish(key, pair, 0, self.now)
        else:
            del self.lifecycle.waiting[key]
            self.lifecycle.fail(self.go(key, ConnectionEvent.END), REFUSED, self.now)

    @rule(passed_ns=st.integers(0, 2 * TIMEOUT_NS))
    def expire(self, passed_ns: int) -> None:
        self.now += passed_ns
        late = [key for key in self.those(State.CONNECTING) if self.now - self.model[key][2] >= TIMEOUT_NS]
        expired = self.lifecycle.expired_attempts(self.now)
        assert expired == sorted(late, key=lambda key: (self.model[key][2], key))
        for key in expired:
            del self.lifecycle.waiting[key]
            self.lifecycle.fail(self.go(key, ConnectionEvent.CANCEL), TIMED_OUT, self.now)

    @precondition(lambda self: self.those(State.HELD))
    @rule(data=st.data(), planned=st.booleans())
    def end(self, data: st.DataObject, planned: bool) -> None:
        key = data.draw(st.sampled_from(self.those(State.HELD)))
        self.lifecycle.pending.pop(key, None)
        if planned:
            self.lifecycle.close((self.go(key, ConnectionEvent.CANCEL),))
        else:
            self.lifecycle.lose(self.go(key, ConnectionEvent.READABLE, ConnectionEvent.END), RESET)

    @precondition(lambda self: self.those(State.HELD))
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """A connection begins its next step, or is done."""
        key = data.draw(st.sampled_from(self.those(State.HELD)))
        if self.lifecycle.pending.pop(key, None) is None or data.draw(st.booleans()):
            self.lifecycle.pending[key] = self.now

    @rule()
    def run_out_of_memory(self) -> None:
        self.lifecycle.shed()

    @rule()
    def abandon(self) -> None:
        for key in self.those(State.CONNECTING):
            self.go(key, ConnectionEvent.CANCEL)
            self.gone += 1
        self.lifecycle.abandon()

    @invariant()
    def every_attempt_is_established_failed_or_in_flight(self) -> None:
        if not hasattr(self, "lifecycle"):
            return
        recorder, lifecycle = self.recorder, self.lifecycle
        assert recorder.started == recorder.established + recorder.failed + lifecycle.in_flight
        assert recorder.established == recorder.open + recorder.closed + recorder.lost
        connecting = self.those(State.CONNECTING)
        assert (lifecycle.unanswered, lifecycle.in_flight) == (len(connecting), len(connecting) + self.gone)
        assert recorder.open == len(self.those(State.HELD))
        per_pair = Counter(pair for state, pair, _ in self.model.values() if state == State.HELD)
        recorder.publish_all()
        assert consistent_breakdown(recorder._block)["pairs"][:, 2].tolist() == [per_pair[pair] for pair in range(3)]

    @invariant()
    def room_is_never_negative_and_grows_with_every_answer(self) -> None:
        if hasattr(self, "lifecycle"):
            lifecycle = self.lifecycle
            assert 0 <= lifecycle.room <= 8 - min(lifecycle.unanswered, 8)
            assert lifecycle.idle == (not lifecycle.in_flight and not lifecycle.pending)

    @invariant()
    def waiting_and_pending_have_the_oldest_first(self) -> None:
        if hasattr(self, "lifecycle"):
            for since_ns in (self.lifecycle.waiting, self.lifecycle.pending):
                assert list(since_ns.values()) == sorted(since_ns.values())


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_publishing_shows_what_is_in_flight() -> None:
    lifecycle, recorder = books()
    lifecycle.start(3)
    lifecycle.publish()
    assert recorder.in_flight == 3
    lifecycle.abandon()
    lifecycle.publish()
    assert (recorder.in_flight, lifecycle.idle) == (3, False)


# --- Room and expiry --------------------------------------------------------------------------------------


def test_pending_connections_take_room_up_to_the_maximum_of_the_schedule() -> None:
    lifecycle, _ = books(schedule=churn(CloseMode.RST, exchanges=1, open_max=5, searched_ports=1))
    assert lifecycle.room == 5
    lifecycle.pending.update({1: 0, 2: 0})
    lifecycle.start(2)
    assert lifecycle.room == 1
    lifecycle.start(4)
    assert lifecycle.room == 0


def test_a_kernel_short_of_memory_gets_half_as_many_attempts_and_at_least_one() -> None:
    lifecycle, _ = books(in_flight_max=5)
    rooms = []
    for _ in range(3):
        lifecycle.shed()
        rooms.append(lifecycle.room)
    assert rooms == [2, 1, 1]


@given(st.lists(st.integers(0, 100), max_size=20), st.integers(0, 100), st.integers(1, 50))
def test_those_that_have_waited_for_the_timeout_are_overdue_the_oldest_first(
    starts: list[int], now: int, timeout: int
) -> None:
    since = dict(enumerate(sorted(starts)))
    assert overdue(since, now, timeout) == [key for key, start in since.items() if now - start >= timeout]


def test_churn_is_over_when_its_duration_has_passed() -> None:
    lifecycle, _ = books()
    assert not lifecycle.over(10**18)
    lifecycle.until_ns = 5
    assert [lifecycle.over(now) for now in (4, 5)] == [False, True]


# --- Turns ------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 8), st.lists(st.integers(-1, 20), max_size=10))
def test_pairs_take_turns_and_go_on_where_they_were(pairs: int, first: int, counts: list[int]) -> None:
    lifecycle, _ = books(pairs, first_pair=first % pairs)
    turns = [pair for count in counts for pair in lifecycle.turns(count, 0)]
    assert turns == [(first + n) % pairs for n in range(sum(max(count, 0) for count in counts))]


def test_another_order_of_the_pairs_is_kept_and_goes_on_where_it_was() -> None:
    lifecycle, _ = books(3, order=cycle([0, 2, 0, 1]))
    assert lifecycle.turns(3, 0) + lifecycle.turns(3, 0) == [0, 2, 0, 1, 0, 2]


def test_a_pair_that_cools_down_gives_way_to_the_next_in_number_whatever_the_order() -> None:
    for order, turns in ((None, [1, 2, 1, 2, 1]), (cycle([0, 2, 0, 1]), [1, 2, 1, 1, 1])):
        lifecycle, _ = books(3, order=order)
        lifecycle.backoff.no_port(0, 0)
        assert lifecycle.turns(5, 0) == turns


def test_a_pair_that_is_probed_has_a_single_turn() -> None:
    lifecycle, _ = books(3)
    lifecycle.backoff.no_port(0, 0)  # cools down from now on
    lifecycle.backoff.no_port(1, -(10**9))  # has cooled down
    assert lifecycle.turns(6, 0) == [1, 2, 2, 2, 2, 2]


def test_when_every_pair_cools_down_there_is_no_turn_and_an_instant_to_come_back() -> None:
    lifecycle, _ = books(2)
    assert lifecycle.cooldown_until_ns(0) == 0
    for pair in (0, 1):
        lifecycle.backoff.no_port(pair, 0)
    assert lifecycle.turns(4, 0) == []
    assert lifecycle.cooldown_until_ns(0) == COOLDOWN_MIN_NS
    assert lifecycle.cooldown_until_ns(COOLDOWN_MIN_NS) == 0


# --- Ports that run out -----------------------------------------------------------------------------------


def test_denials_in_a_row_exhaust_and_the_first_of_those_that_last_is_remembered() -> None:
    lifecycle, recorder = books()
    establish_at_once(lifecycle, recorder, [0, 0], 2)
    for n in range(DENIALS_MAX):
        assert not lifecycle.exhausted
        lifecycle.start()
        lifecycle.fail(0, NO_PORT, 100 + n)
        lifecycle.watch_ports(100 + n)
        assert bool(recorder.first_denied_ns) == (n + 1 >= LASTING)
    assert (recorder.first_denied_ns, recorder.established_then) == (100, 2)
    assert lifecycle.exhausted


def test_ports_that_were_all_in_use_for_a_moment_have_not_run_out() -> None:
    lifecycle, recorder = books()
    for n in range(3 * LASTING):
        lifecycle.start()
        lifecycle.fail(0, NO_PORT, n)
        lifecycle.watch_ports(n)
        lifecycle.backoff.granted(0)
        lifecycle.watch_ports(n)
    assert recorder.first_denied_ns == 0


@pytest.mark.parametrize("ends", ["close", "lose"])
@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
def test_an_end_that_frees_a_four_tuple_lifts_the_backoff(close: CloseMode, ends: str) -> None:
    """In TIME-WAIT it frees none."""
    lifecycle, recorder = books(schedule=churn(close, exchanges=1, open_max=5, searched_ports=1))
    establish_at_once(lifecycle, recorder, [0], 1)
    lifecycle.start()
    lifecycle.fail(0, NO_PORT, 0)
    if ends == "close":
        lifecycle.close((0,))
    else:
        lifecycle.lose(0, RESET)
    assert lifecycle.backoff.active == (close is CloseMode.FIN)


def test_where_nothing_ends_no_four_tuple_is_freed() -> None:
    lifecycle, _ = books(schedule=churn(CloseMode.RST, exchanges=1, open_max=5, searched_ports=1))
    lifecycle.start()
    lifecycle.fail(0, NO_PORT, 0)
    lifecycle.close(())
    assert lifecycle.backoff.active
