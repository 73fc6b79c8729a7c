"""The shares of all agents are the scenario: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadgen import arrivals, scenario
from loadgen.arrivals import due_within
from loadgen.cluster.messages import Portion
from loadgen.cluster.split import dealt, parts, portions_of, settings_of, share_of
from loadgen.errors import UsageError
from loadgen.scenario import Guests, ScenarioSpec

weights = st.lists(st.integers(1, 50), min_size=1, max_size=12)
wholes = st.integers(0, 10_000_000)


def scenario_of(settings: tuple[str, ...] = (), **keys: Any) -> ScenarioSpec:
    """A scenario of 1,000 connections in a lab, with these keys changed (None: left out)."""
    whole = {
        "name": "small",
        "lab": {},
        "sources": {"addresses": "127.0.1.1"},
        "targets": [{"address": "127.0.0.1:9000", "sink": True}],
        "connections": 1_000,
    } | keys
    return scenario.parse(json.dumps({key: value for key, value in whole.items() if value is not None}), "s", settings)


def portions(given: list[int]) -> tuple[Portion, ...]:
    return portions_of({f"agent-{index}": weight for index, weight in enumerate(given)})


def shares(whole: ScenarioSpec, given: list[int]) -> list[ScenarioSpec]:
    return [share_of(whole, portion) for portion in portions(given)]


@given(wholes, weights)
def test_parts_add_up_and_each_is_its_share_rounded(whole: int, given: list[int]) -> None:
    found = parts(whole, given)
    assert sum(found) == whole
    for part, weight in zip(found, given, strict=True):
        assert part >= 0
        assert abs(part - whole * weight / sum(given)) < 1 + 1e-6


@given(wholes, st.integers(1, 60), st.integers(1, 3))
def test_equal_parts_are_those_that_workers_get(whole: int, hosts: int, weight: int) -> None:
    assert parts(whole, [weight] * hosts) == [arrivals.part(whole, index, hosts) for index in range(hosts)]


def test_nothing_is_divided_by_nothing() -> None:
    with pytest.raises(ValueError, match="by the weights"):
        parts(5, [])


@given(weights)
def test_portions_follow_each_other(given: list[int]) -> None:
    found = portions(given)
    assert [portion.index for portion in found] == list(range(len(given)))
    assert found[0].before == 0
    assert found[-1].before + found[-1].weight == found[-1].total
    assert all(this.before + this.weight == following.before for this, following in pairwise(found))


@given(st.integers(600, 2_000_000), weights)
def test_connections_add_up(connections: int, given: list[int]) -> None:
    assume(connections * min(given) >= sum(given))
    assert sum(share.most_open for share in shares(scenario_of(connections=connections), given)) == connections


@given(
    rate=st.floats(50, 10_000).map(lambda rate: round(rate, 2)),
    ramp_s=st.sampled_from([0, 0.5, 3]),
    duration_s=st.integers(20, 60),
    given=weights,
)
def test_arrivals_and_concurrency_of_churn_add_up(
    rate: float, ramp_s: float, duration_s: int, given: list[int]
) -> None:
    """Whatever the weights: an arrival that one agent rounds away is another's."""
    whole = scenario_of(
        connections=None,
        churn={"duration": f"{duration_s}s", "concurrency": 1_000},
        arrival={"rate": f"{rate}/s", "ramp": f"{ramp_s}s"},
    )
    assert whole.arrival
    found = shares(whole, given)
    due = [due_within(share.arrival.stages, duration_s, carry=share.arrival_carry) for share in found if share.arrival]
    assert sum(due) == due_within(whole.arrival.stages, duration_s)
    assert sum(share.most_open for share in found) == 1_000
    assert all(0 <= share.arrival_carry < 1 for share in found)


def test_rates_are_scaled_and_the_schedule_is_taken_in_turn() -> None:
    whole = scenario_of(arrival={"rate": "90/s", "ramp": "2s"})
    found = shares(whole, [1, 1, 1])
    assert [share.arrival_carry for share in found] == [2 / 3, 1 / 3, 0]
    for share in found:
        assert share.arrival
        assert [stage.rate_end_per_s for stage in share.arrival.stages] == pytest.approx([30, 30])
        assert [stage.duration_s for stage in share.arrival.stages] == [2, None]


def test_every_stage_is_scaled() -> None:
    stages = [{"to": "30/s", "over": "1s"}, {"from": "60/s", "to": "90/s", "over": "5s"}]
    share = shares(scenario_of(arrival={"stages": stages}), [2, 1])[1]
    assert share.arrival
    ends = [end for stage in share.arrival.stages for end in (stage.rate_start_per_s, stage.rate_end_per_s)]
    assert ends == pytest.approx([0, 10, 20, 30, 30, 30])


def test_a_closed_loop_has_its_part_of_the_concurrency_alone() -> None:
    whole = scenario_of(connections=None, churn={"duration": "1s", "concurrency": 10})
    assert [share.most_open for share in shares(whole, [2, 1, 1])] == [5, 3, 2]
    assert {share.arrival_carry for share in shares(whole, [2, 1, 1])} == {0.0}


def test_one_agent_takes_all_of_it() -> None:
    whole = scenario_of(arrival={"rate": "10/s"}, expect=["outcomes.failed == 0"])
    (share,) = shares(whole, [7])
    assert dict(share) == dict(whole) | {"expect": ()}
    assert share.arrival_carry == 0


def test_what_is_meant_of_a_process_stays() -> None:
    keys: dict[str, Any] = {
        "workers": 3,
        "in_flight": 20,
        "hold": "7s",
        "timeout": "2s",
        "sinks": 2,
        "descriptors": 1024,
    }
    whole = scenario_of(**keys)
    for share in shares(whole, [1, 1]):
        assert dict(share) == dict(whole) | {"connections": 500}


def test_probes_run_on_the_first_agent_and_no_share_expects_anything() -> None:
    probe = {"name": "other", "when": "hold", "strategy": "kernel"}
    found = shares(scenario_of(probes=[probe], expect=["outcomes.failed == 0"]), [1, 1, 1])
    assert [len(share.probes) for share in found] == [1, 0, 0]
    assert {share.expect for share in found} == {()}


def test_a_limit_that_the_whole_expects_is_excused_in_a_share() -> None:
    expects = "verdict.limit == source-address"
    found = shares(scenario_of(expect=[expects]), [1, 1])
    assert all(share.expects("source-address") for share in found)
    assert [share.expects_failure for share in found] == [scenario_of(expect=[expects]).expects_failure] * 2


@pytest.mark.parametrize("keys", [{"matrix": {"connections": [1, 2]}}, {"repeat": 2}])
def test_a_matrix_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"^{next(iter(keys))}: .* one run"):
        shares(scenario_of(**keys), [1, 1])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"connections": 2}, "connections: 2 for 3 agents leave nothing to agent agent-2"),
        ({"connections": None, "churn": {"duration": "1s", "concurrency": 2}}, "churn.concurrency: 2 for 3"),
        ({"connections": None, "churn": {"duration": "1s"}, "arrival": {"rate": "2/s"}}, "arrival: 2 arrivals for 3"),
    ],
)
def test_more_agents_than_connections_are_refused(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        shares(scenario_of(**keys), [1, 1, 1])


@pytest.mark.parametrize(
    "portion",
    [
        Portion(name="a", index=0, of=2, before=0, weight=1, total=3),  # of other weights, and these are not said
        Portion(name="a", index=2, of=2, before=2, weight=1, total=2),
        Portion(name="a", index=-1, of=2, before=0, weight=1, total=2),
        Portion(name="a", weight=0, total=0),
        Portion(name="a", index=1, of=2, before=1, weight=2, total=3, weights=(2, 1)),
        Portion(name="a", of=0, total=0),
    ],
)
def test_a_portion_that_contradicts_itself_is_refused(portion: Portion) -> None:
    with pytest.raises(UsageError, match="contradict"):
        share_of(scenario_of(), portion)


def test_a_portion_without_weights_is_one_of_equals() -> None:
    portion = Portion(name="b", index=1, of=2, before=1, weight=1, total=2)
    assert share_of(scenario_of(connections=5), portion).connections == 2


def test_a_portion_names_its_own_sources_and_targets() -> None:
    portion = Portion(
        name="a", sources=["127.0.2.0/30", "127.0.3.1"], targets=[{"address": "127.0.9.1:1", "sink": True}]
    )
    settings = settings_of(portion)
    found = share_of(scenario_of(settings), portion)
    assert found.sources.addresses == ("127.0.2.0/30", "127.0.3.1")
    assert [target.address for target in found.targets] == ["127.0.9.1:1"]
    assert settings_of(Portion(name="a")) == ()


def served(*targets: dict[str, Any], **keys: Any) -> ScenarioSpec:
    """A scenario on hosts, of which agent c is to listen."""
    return scenario_of(lab=None, targets=targets or [at_c()], **keys)


def at_c(port: int = 9000, **keys: Any) -> dict[str, Any]:
    return {"address": f"127.0.0.1:{port}", "sink": {"agents": ["c"]}} | keys


def dealt_shares(whole: ScenarioSpec, *names: str) -> dict[str, ScenarioSpec]:
    return {portion.name: share_of(whole, portion) for portion in dealt(whole, names)}


def test_without_shares_every_agent_has_the_same_weight() -> None:
    assert dealt(scenario_of(), ["a", "b"]) == portions_of({"a": 1, "b": 1})


def test_an_agent_that_listens_and_has_no_share_opens_nothing_and_the_others_open_all() -> None:
    found = dealt_shares(served(at_c(), at_c(9001, sink={"agents": ["c"], "delay": "1s"})), "a", "c", "b")
    assert [share.most_open for share in found.values()] == [500, 0, 500]
    assert [target.sink for target in found["a"].targets] == [False, False]
    assert [target.sink for target in found["c"].targets] == [True, True]
    assert [spec.sink_spec.delay_s for spec in found["c"].targets if spec.sink_spec] == [0, 1]
    assert (found["c"].sources.addresses, found["c"].hold_s) == ((), 0)
    assert found["c"].guests == Guests(1_000, 1)
    assert found["a"].guests == found["b"].guests == Guests()


@given(st.integers(100, 5_000), st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(0, 4))
def test_with_those_that_only_listen_the_shares_still_add_up(connections: int, given: list[int], place: int) -> None:
    weight_of = {f"agent-{index}": weight for index, weight in enumerate(given)}
    names = list(weight_of)
    names.insert(place, "c")
    entries = [{"name": name, "weight": weight} for name, weight in weight_of.items()]
    found = dealt_shares(served(connections=connections, agents={"shares": entries}), *names)
    assert list(found) == names
    assert sum(share.most_open for share in found.values()) == connections
    assert found["c"].most_open == 0
    assert found["c"].guests.connections == connections


def test_an_agent_with_an_entry_of_its_own_does_both() -> None:
    agents = {"shares": [{"name": "c", "weight": 3}]}
    found = dealt_shares(served(agents=agents), "a", "c")
    assert [share.most_open for share in found.values()] == [250, 750]
    assert [target.sink for target in found["c"].targets] == [True]
    assert found["c"].guests.connections == 250, "its own are in its plan already"


def test_only_the_part_that_goes_to_a_sink_comes_to_it() -> None:
    whole = served(at_c(weight=2), {"address": "127.0.0.1:9001-9002", "weight": 3}, connections=100)
    assert dealt_shares(whole, "a", "c")["c"].guests.connections == 25
    named = served(at_c(), {"address": "other.internal:9001"}, connections=100)
    assert dealt_shares(named, "a", "c")["c"].guests.connections == 100, "a name may have any number of addresses"


def test_what_an_agent_that_only_listens_does_not_need_is_not_there() -> None:
    target = {"address": "127.0.0.1:9001", "sink": True}
    found = dealt_shares(served(at_c(), target, sources={"addresses": "eth7"}), "a", "c")
    assert [spec.address for spec in found["c"].targets] == ["127.0.0.1:9000"]
    assert found["c"].sources.interfaces == ()
    assert found["c"].guests.addresses == 1024


def test_churn_is_served_without_a_schedule_of_its_own() -> None:
    whole = served(connections=None, churn={"duration": "5s", "concurrency": 70}, arrival={"rate": "10/s"})
    share = dealt_shares(whole, "a", "c")["c"]
    assert share.churn is not None
    assert (share.most_open, share.guests.connections, share.churn.duration_s) == (0, 70, 5)


@pytest.mark.parametrize(
    ("keys", "names", "reason"),
    [
        ({}, ["a", "b"], "sink.agents: no agent is called c; there are a, b"),
        ({}, ["c"], "sink.agents: c only listen, and no agent is left"),
        ({"agents": {"shares": [{"name": "x"}]}}, ["a", "c"], "agents.shares: no agent is called x"),
    ],
)
def test_names_that_leave_nothing_to_do_are_refused(keys: dict[str, Any], names: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        dealt(served(**keys), names)


def test_an_agent_listens_where_the_others_count_on_it() -> None:
    own = {"name": "c", "targets": [{"address": "127.0.0.1:9009", "sink": True}]}
    whole = served(agents={"shares": [own]})
    with pytest.raises(UsageError, match="agent c is to listen at"):
        dealt_shares(whole, "a", "c")
    own["targets"] = [{"address": "127.0.0.1:9000", "sink": True}]
    assert dealt_shares(served(agents={"shares": [own]}), "a", "c")["c"].guests.connections == 1_000 - 500


def test_a_portion_of_nothing_is_for_those_that_listen() -> None:
    with pytest.raises(UsageError, match="contradict"):
        share_of(served(), Portion(name="a", index=1, of=1, before=1, weight=0, total=1))
