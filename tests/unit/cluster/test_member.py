"""An agent as the coordinator knows it: suspect after 3 s without an answer, and lost after 10."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.cluster.connection import Agent, ClockDifference
from loadgen.cluster.member import Participant
from loadgen.cluster.messages import LOST_S, SUSPECT_S, Ended, Portion
from loadgen.model import Endpoint, Phase, Plan, Target
from loadgen.results.schema.line import LatencyNs, Line, PairTally
from tests.plans import plan_of


def participant(heard_s: float = 100.0) -> Participant:
    return Participant(Agent("a", "tcp://127.0.0.1:1"), 0, Portion(name="a"), ClockDifference(0, 0, 0), heard_s)


def test_one_that_answers_is_neither_suspect_nor_lost() -> None:
    one = participant()
    assert not one.heard(100.5)
    assert (one.suspect, one.lost, one.over) == (False, False, False)


def test_silence_makes_it_suspect_once_and_then_lost() -> None:
    one = participant()
    assert one.silent(100 + SUSPECT_S)
    assert (one.suspect, one.lost) == (True, False)
    assert not one.silent(100 + 2 * SUSPECT_S), "it is suspect already"
    assert not one.silent(100 + LOST_S)
    assert one.lost
    assert one.over
    assert one.lost_because == "it has not answered for 10 s: it is stopped, or cut off"


def test_an_answer_in_time_clears_it() -> None:
    one = participant()
    one.silent(104.0)
    assert one.heard(105.0), "it was suspect"
    assert not one.suspect
    assert one.silent(108.0), "and is so again, from its last answer on"


@given(st.lists(st.floats(0.0, 20.0), max_size=20))
def test_no_call_lasts_past_the_moment_of_the_next_decision(pauses_s: list[float]) -> None:
    """Whatever its answers were: it is told within 10 s of its last answer."""
    one, now_s = participant(), 100.0
    for pause_s in pauses_s:
        waited_s = one.wait_s(now_s)
        assert 0 < waited_s <= SUSPECT_S
        if pause_s < waited_s:
            now_s += pause_s
            one.heard(now_s)
        else:
            now_s += waited_s
            one.silent(now_s)
        if one.lost:
            assert LOST_S - 0.1 <= now_s - one.heard_s <= LOST_S + 0.1
            return
        assert now_s - one.heard_s < LOST_S


def test_an_end_is_an_end() -> None:
    one = participant()
    one.ended = Ended(exit_code=0)
    assert one.over
    assert not one.lost


HERE, THERE = Endpoint("127.0.0.1", 9000), Endpoint("127.0.0.1", 9001)


def member(name: str, plan: Plan | None = None, *established: int) -> Participant:
    """An agent with that many connections of each pair."""
    made = Participant(
        Agent(name, f"tls://{name}"), 0, Portion(name=name), ClockDifference(0, 0, 0), heard_s=100.0, plan=plan
    )
    if established:
        pairs = tuple(PairTally(count, 0, count) for count in established)
        made.line = Line(t_s=1.0, phase=Phase.HOLD, pairs=pairs, latency_ns=LatencyNs(), lag_ns={})
    return made


def test_connections_to_the_sinks_of_another_are_counted_by_target() -> None:
    client = plan_of(targets=(Target(HERE, sink=False), Target(THERE, sink=False)), sources=("127.0.0.2", "127.0.0.3"))
    server = member("c", plan_of(targets=(Target(THERE, sink=True),), sources=(), workers=0, guests=9))
    assert member("a", client, 1, 2, 30, 40).established_at(server) == 70
    assert member("a", client).established_at(server) == 0, "it has told nothing yet"
    assert member("a").established_at(server) == 0
    assert server.established_at(server) == 0


def test_connections_to_its_own_sink_of_the_same_address_are_not_another_agents() -> None:
    """Where each host listens on 127.0.0.1 for itself."""
    both = plan_of(targets=(Target(HERE, sink=True),))
    assert member("a", both, 5).established_at(member("c", both)) == 0


def test_an_agent_has_left_when_only_its_sinks_go_on() -> None:
    made = member("a")
    assert not made.left
    made.drained = True
    assert made.left
    assert not made.over
    other = member("b")
    other.ended = Ended(exit_code=0)
    assert (other.left, other.over) == (True, True)
