"""A plan carries what the scenario says, and keeps its prediction on disk."""

from __future__ import annotations

from typing import Any

from loadgen.capacity import Allowances, Assessment, assess, make_plan, sink_endpoints
from loadgen.capacity.demands import due_of_churn_ns, second_of
from loadgen.kernel.host import HostFacts
from loadgen.model import Endpoint, Plan, Strategy
from loadgen.results.schema import files
from loadgen.scenario import Guests

from .samples import FACTS, HOST, LAB, SOURCE, assessed, parsed, plan


def test_a_plan_carries_what_the_scenario_says() -> None:
    more = """
arrival: {rate: 50/s}
hold: 3s
timeout: 4s
interval: 1s
close: rst
in_flight: 99
expect: [outcomes.failed == 0]
"""
    made = plan(100, ("127.0.0.2", "127.0.0.3"), sink=True, more=more)
    assert (made.name, made.connections, made.sources) == ("plan", 100, ("127.0.0.2", "127.0.0.3"))
    assert (made.hold_s, made.timeout_s, made.interval_s, made.close) == (3, 4, 1, "rst")
    assert (made.in_flight_max, made.expect) == (99, ("outcomes.failed == 0",))
    assert (made.workers, made.sinks, made.strategy) == (1, 1, Strategy.LATE_RANGE)
    assert [stage.rate_end_per_s for stage in made.stages] == [50]
    assert sink_endpoints(made) == (Endpoint("127.0.0.1", 9000),)
    assert sink_endpoints(plan()) == ()
    for line in made.headroom:
        assert 0 <= line.needed <= line.available


def test_in_udp_churn_has_no_ceiling() -> None:
    scenario = parsed(
        """
name: plan
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
churn: {duration: 10s}
transport: udp
"""
    )
    found = make_plan(scenario, SOURCE, HostFacts(**FACTS), LAB)
    assert found.ceiling
    assert (found.ceiling.per_s, found.ceiling.because) == (None, "UDP has no TIME-WAIT")


def test_a_plan_keeps_its_prediction_on_paper() -> None:
    made = assessed(60_000, more="arrival: {rate: 20000/s}", allowances=Allowances(in_lab=True, force=True)).plan
    assert made.prediction
    written = files.plain(made)
    assert files.convert(written, Plan).prediction == made.prediction
    del written["prediction"]
    assert files.convert(written, Plan).prediction is None


def test_the_plan_of_a_share_begins_with_its_carry() -> None:
    """Half an arrival is there at the start: the first is due earlier, and one more is due in a time."""
    text = """
name: share
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
arrival: {rate: 10/s}
"""
    whole = parsed(text + "connections: 5")
    plans = [make_plan(each, SOURCE, HostFacts(**FACTS), LAB) for each in (whole, whole.shared({}, 0.5))]
    assert [each.arrival_carry for each in plans] == [0.0, 0.5]
    assert [second_of(each, 0) for each in plans] == [0.1, 0.05]
    churn = parsed(text + "churn: {duration: 950ms}")
    plans = [make_plan(each, SOURCE, HostFacts(**FACTS), LAB) for each in (churn, churn.shared({}, 0.5))]
    assert [each.churn.arrivals for each in plans if each.churn] == [9, 10]
    assert [due_of_churn_ns(each)[0] for each in plans] == [100_000_000, 50_000_000]


def test_a_limit_that_the_whole_expects_does_not_stop_a_share() -> None:
    text = """
name: share
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
connections: 100000
expect: ["verdict.limit == four-tuples"]
"""
    share = parsed(text).shared({"connections": 50_000}, 0.0)
    planned = make_plan(share, SOURCE, HostFacts(**FACTS), LAB)
    assert (planned.connections, planned.expect) == (50_000, ())


def serving(name: str = "c", of: int = 3, *, more: str = "", **facts: Any) -> Assessment:
    """The share of an agent that only listens, of connections of the others."""
    whole = parsed(
        f"""
name: x
sources: {{addresses: 127.0.0.2}}
targets: [{{address: "127.0.0.1:9000", sink: {{agents: [c]}}{more}}}]
connections: {of}
"""
    )
    share = whole.serving(name, Guests(of, 1))
    return assess(share, share.sources.expanded, HostFacts(**{**FACTS, **facts}), HOST)


def test_a_share_that_only_listens_needs_room_for_what_the_others_open() -> None:
    made = serving(of=50_000)
    plan = made.insist()
    assert (plan.connections, plan.workers, plan.sources, plan.pairs, plan.guests) == (0, 0, (), (), 50_000)
    assert plan.sinks == 3, "with 20,000 descriptors each"
    needed = {line.resource: line.needed for line in plan.headroom}
    assert "descriptors per worker" not in needed
    assert "four-tuples" not in needed
    assert needed["descriptors of the host"] == 50_000, "the other end of each is on another host"
    assert made.possible
    assert plan.only_listens


def test_a_share_that_only_listens_is_refused_where_it_has_no_room() -> None:
    refused = serving(of=50_000, files_free=10_000).refusal
    assert refused is not None
    assert "descriptors of the whole host (fs.file-max): need 50,000, have 10,000" in str(refused)


def test_a_queue_that_is_never_emptied_is_foretold_where_it_is() -> None:
    made = serving(of=100, more=", backlog: 9, accept: false", sysctls={"net.core.somaxconn": "4096"}).insist()
    assert made.prediction is not None
    assert (made.prediction.limit, made.prediction.at, made.prediction.possible) == ("backlog", 10, False)


def test_an_agent_that_does_both_has_sinks_for_its_own_and_for_the_others() -> None:
    whole = parsed(
        """
name: x
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: {agents: [c]}}]
connections: 1000
"""
    )
    share = whole.of_agent("c").shared({}, 0.0, Guests(30_000, 1))
    plan = make_plan(share, SOURCE, HostFacts(**FACTS), HOST)
    needed = {line.resource: line.needed for line in plan.headroom}
    assert (plan.connections, plan.guests, plan.sinks, plan.only_listens) == (1_000, 30_000, 2, False)
    assert needed["descriptors of the host"] == 1_000 + 31_000


def test_a_run_on_one_host_says_that_it_listens_itself() -> None:
    found = parsed(
        """
name: x
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: {agents: [c]}}]
connections: 1
"""
    )
    plan = make_plan(found, SOURCE, HostFacts(**FACTS), HOST)
    assert plan.targets[0].sink
    note = "this run has no agents, so loadgen listens at 127.0.0.1:9000 itself, as with sink: true"
    assert note in plan.notes
