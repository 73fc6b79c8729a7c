"""Plan, host and events of the whole, from those of the shares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loadgen.model import Ceiling, Churn, Endpoint, Plan, Prediction, Stage, Target
from loadgen.results.merging.whole import Share, events_of, host_of, plan_of
from loadgen.results.schema.event import Event
from tests import samples

PLAN = samples.plan()
HOST = samples.host()
ENDED = Event(event="ended", text="the run came to its end", t_s=9.0)


def test_sums_and_unions_and_each_plan_is_kept() -> None:
    other = replace(
        PLAN,
        connections=50,
        sources=("10.0.0.9", PLAN.sources[0]),
        targets=(replace_sink(PLAN.targets[0], sink=False), Target(endpoint=Endpoint("10.9.9.9", 80), sink=False)),
        capacity_per_pair=7,
        workers=5,
        hold_s=99.0,
        notes=("one more remark", *PLAN.notes),
    )
    whole = plan_of("whole", [("a", PLAN), ("b", other)], expect=("open.lost == 0",))
    assert (whole.name, whole.connections, whole.workers) == ("whole", PLAN.connections + 50, PLAN.workers + 5)
    assert whole.sources == (*PLAN.sources, "10.0.0.9")
    assert [str(target.endpoint) for target in whole.targets] == [
        *(str(target.endpoint) for target in PLAN.targets),
        "10.9.9.9:80",
    ]
    assert whole.targets[0].sink, "one of the agents listens there"
    assert whole.pairs == PLAN.pairs + other.pairs
    assert whole.owners == (("a", PLAN.capacity_per_pair),) * len(PLAN.pairs) + (("b", 7),) * len(other.pairs)
    assert whole.capacity == PLAN.capacity + other.capacity
    assert whole.places[0] == f"a: {PLAN.pairs[0][0]}"
    assert (whole.hold_s, whole.expect) == (99.0, ("open.lost == 0",))
    assert whole.notes == (*PLAN.notes, "b: one more remark")
    assert [agent.name for agent in whole.agents] == ["a", "b"]
    assert all(line.resource.startswith(("a: ", "b: ")) for line in whole.headroom)


def replace_sink(target: Target, *, sink: bool) -> Target:
    return Target(endpoint=target.endpoint, sink=sink)


def test_rates_add_up_where_the_stages_are_alike() -> None:
    ramp = (Stage(0, 10, 2.0), Stage(10, 10, None))
    one, two = replace(PLAN, stages=ramp), replace(PLAN, stages=(Stage(5, 5, 2.0), Stage(5, 5, None)))
    assert plan_of("x", [("a", one), ("b", two)]).stages == (Stage(5, 15, 2.0), Stage(15, 15, None))
    assert plan_of("x", [("a", one), ("b", replace(PLAN, stages=()))]).stages == ()


def test_churn_and_what_it_may_come_to_add_up() -> None:
    ceiling = Ceiling(per_s=100.0, established=500, because="ports rest", rest_s=60.0)
    one = replace(PLAN, churn=Churn(duration_s=5, arrivals=10), ceiling=ceiling)
    whole = plan_of("x", [("a", one), ("b", replace(one, churn=Churn(duration_s=7, arrivals=20)))])
    assert whole.churn == Churn(duration_s=7, arrivals=30)
    assert whole.ceiling is not None
    assert (whole.ceiling.per_s, whole.ceiling.established) == (200.0, 1000)
    assert plan_of("x", [("a", one), ("b", replace(one, churn=Churn(duration_s=7)))]).scheduled is None
    assert plan_of("x", [("a", one), ("b", replace(one, ceiling=None))]).ceiling is None


def test_the_limit_foretold_is_that_of_the_agent_with_least_room() -> None:
    def foretold(at: int, *, possible: bool, limit: str = "four-tuples", at_s: float | None = None) -> Prediction:
        return Prediction(limit=limit, resource="ports", at=at, at_s=at_s, possible=possible, slack=1)

    def of(*predictions: Prediction) -> Prediction:
        shares = [(f"{n}", replace(PLAN, connections=100, prediction=each)) for n, each in enumerate(predictions)]
        predicted = plan_of("x", shares).prediction
        assert predicted is not None
        return predicted

    short = foretold(60, possible=False, limit="descriptors", at_s=3.0)
    assert of(foretold(500, possible=True), short) == Prediction(
        limit="descriptors", resource="1: ports", at=160, at_s=3.0, possible=False, slack=2
    )
    fine = of(foretold(500, possible=True), foretold(300, possible=True))
    assert (fine.at, fine.possible, fine.resource) == (800, True, "1: ports")
    assert plan_of("x", [("a", PLAN), ("b", replace(PLAN, prediction=None))]).prediction is None


def test_a_host_says_what_all_have_in_common() -> None:
    other = samples.host({"cpus": 6, "kernel": "5.4", "sysctls": {"net.ipv4.tcp_fin_timeout": "60", "x": "1"}})
    one = samples.host({"cpus": 2, "sysctls": {"net.ipv4.tcp_fin_timeout": "60", "x": "2"}})
    whole = host_of([Share("a", PLAN, one, ()), Share("b", PLAN, other, ())])
    assert (whole.cpus, whole.kernel, dict(whole.sysctls)) == (8, "", {"net.ipv4.tcp_fin_timeout": "60"})
    assert whole.loadgen == one.loadgen


def test_events_are_on_one_axis_and_the_end_is_that_of_all() -> None:
    note = Event(event="note", text="late", t_s=1.0)
    started = Event(event="started", text="x", t_s=0.0, at_ns=5)
    whole = events_of(
        [
            Share("a", PLAN, HOST, (started, note, ENDED)),
            Share("b", PLAN, HOST, (Event(event="started", text="x", t_s=0.0, at_ns=7), note, ENDED), offset_s=-0.5),
        ]
    )
    assert [(event.event, event.text, event.t_s) for event in whole] == [
        ("started", "x", 0.0),
        ("note", "b: late", 0.5),
        ("note", "a: late", 1.0),
        ("ended", "the run came to its end", 9.0),
    ]
    assert whole[0].at_ns == 5


def test_an_agent_that_did_not_come_to_its_end_was_lost() -> None:
    whole = events_of([Share("a", PLAN, HOST, (ENDED,)), Share("b", PLAN, HOST, ())])
    assert [event.event for event in whole] == ["agent-lost"]
    assert "agent b was lost" in whole[0].text


def test_an_interrupt_of_all_is_told_once() -> None:
    once = Event(event="interrupted", text="interrupted; drained early", t_s=2.0)
    whole = events_of([Share(name, PLAN, HOST, (once, ENDED)) for name in "abc"])
    assert [event.event for event in whole] == ["interrupted", "ended"]


def test_probes_of_several_agents_keep_apart() -> None:
    probe = Event(event="probe", text="p", t_s=1.0, name="p")
    whole = events_of([Share(name, PLAN, HOST, (probe, ENDED)) for name in "ab"])
    assert [event.name for event in whole if event.event == "probe"] == ["a/p", "b/p"]


def listener(**changes: Any) -> Plan:
    """The plan of an agent that only listens, at the first target."""
    own = replace(
        PLAN,
        connections=0,
        sources=(),
        targets=(replace_sink(PLAN.targets[0], sink=True),),
        workers=0,
        sinks=2,
        guests=PLAN.connections,
        hold_s=0.0,
        capacity_per_pair=0,
        prediction=Prediction("descriptors", "descriptors per sink", 5_000, None, possible=True),
    )
    return replace(own, **changes)


CLIENT = replace(PLAN, sinks=0, targets=tuple(replace_sink(target, sink=False) for target in PLAN.targets))


def test_an_agent_that_only_listens_adds_its_sinks_and_nothing_else() -> None:
    alone, whole = plan_of("x", [("a", CLIENT)]), plan_of("x", [("c", listener()), ("a", CLIENT)])
    for name in ("connections", "sources", "stages", "hold_s", "churn", "ceiling", "capacity_per_pair", "workers"):
        assert getattr(whole, name) == getattr(alone, name), name
    assert (whole.sinks, whole.guests, whole.pairs) == (2, 0, CLIENT.pairs)
    assert whole.targets[0].sink
    assert whole.prediction == alone.prediction, "it has room for what comes to it"


def test_what_a_listening_agent_cannot_take_is_foretold_for_the_whole() -> None:
    client = replace(CLIENT, prediction=Prediction("four-tuples", "four-tuples", 10**6, None, possible=True))
    full = Prediction("backlog", "accept queues", 9, 0.5, possible=False, slack=9)
    whole = plan_of("x", [("a", client), ("c", listener(prediction=full)), ("b", client)])
    elsewhere = 2 * client.connections - PLAN.connections
    assert whole.prediction == replace(full, resource="c: accept queues", at=9 + elsewhere)
