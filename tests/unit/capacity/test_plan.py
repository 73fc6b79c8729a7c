"""A plan carries what the scenario says, and keeps its prediction on disk."""

from __future__ import annotations

from loadgen.capacity import Allowances, make_plan, sink_endpoints
from loadgen.kernel.host import HostFacts
from loadgen.model import Endpoint, Plan, Strategy
from loadgen.results.schema import files

from .samples import FACTS, LAB, SOURCE, assessed, parsed, plan


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
