"""Plan versus observed: what counts as having come true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.capacity.limits import EVERY_LIMIT, LIMITS
from loadgen.model import Ceiling, Churn, CloseMode, Endpoint, Nat, NatKind, Prediction, Target
from loadgen.results import prediction
from loadgen.results.schema.carried import ChurnResult
from loadgen.results.schema.run import PredictionResult, VerdictResult
from tests import samples
from tests.plans import plan_of

PLAN = plan_of(
    connections=150,
    sources=("127.0.0.2",),
    targets=(Target(Endpoint("127.0.0.1", 9000), sink=True),),
    close=CloseMode.FIN,
    sinks=1,
)
WALL = Prediction("four-tuples", "four-tuples", 100, 1.5, False, slack=1)


def held(
    foretold: Prediction | None, limit: str, observed: int, *, churn: ChurnResult | None = None, complete: bool = True
) -> PredictionResult:
    verdict = VerdictResult(limit=limit, text="", predicted=None, observed=observed, evidence=(), remedies=())
    return prediction.held(replace(PLAN, prediction=foretold), verdict, churn, complete=complete)


def test_both_sides_stand_beside_each_other() -> None:
    assert held(WALL, "four-tuples", 100) == PredictionResult(
        limit="four-tuples",
        at_connections=100,
        at_s=1.5,
        possible=False,
        observed_limit="four-tuples",
        observed_at=100,
        as_predicted=True,
    )


@pytest.mark.parametrize(
    ("limit", "observed", "true"),
    [
        ("four-tuples", 99, True),
        ("four-tuples", 101, True),
        ("four-tuples", 97, False),
        ("four-tuples", 103, False),
        ("time-wait", 100, True),
        ("source-ports", 100, False),
        ("refused", 100, False),
        ("none", 100, False),
    ],
)
def test_a_wall_is_where_it_was_said_to_be_or_not(limit: str, observed: int, true: bool) -> None:
    assert held(WALL, limit, observed).as_predicted is true


@pytest.mark.parametrize(
    ("limit", "observed", "true"),
    [("nat-ports", 1_991, True), ("nat-ports", 1_900, False), ("none", 2_000, True), ("conntrack", 1_991, False)],
)
def test_the_last_ports_of_a_translation_are_found_by_chance(limit: str, observed: int, true: bool) -> None:
    """So a plan that just fits may end a little early."""
    foretold = Prediction("nat-ports", "ports of the NAT", 2_000, None, True)
    plan = replace(PLAN, prediction=foretold, nat=Nat(NatKind.SNAT, ("192.0.2.1",)))
    verdict = VerdictResult(limit=limit, text="", predicted=None, observed=observed, evidence=(), remedies=())
    assert prediction.held(plan, verdict, None, complete=True).as_predicted is true


def test_a_translation_by_rules_is_nothing_that_a_plan_knows() -> None:
    foretold = Prediction("four-tuples", "four-tuples", 2_000, None, True)
    assert held(foretold, "nat-ports", 100).as_predicted is True


def test_what_is_kept_back_may_be_found_after_all() -> None:
    said = Prediction("descriptors", "descriptors per worker", 236, None, False, slack=64)
    assert held(said, "descriptors", 285).as_predicted is True
    assert held(said, "descriptors", 301).as_predicted is False


@pytest.mark.parametrize(("limit", "true"), [("none", True), ("refused", True), ("generator", True), ("memory", False)])
def test_a_possible_plan_came_true_when_no_limit_was_met_that_plans_know_of(limit: str, true: bool) -> None:
    assert held(replace(WALL, possible=True), limit, 80).as_predicted is true


def test_without_an_end_or_a_prediction_nothing_is_judged() -> None:
    assert held(WALL, "four-tuples", 100, complete=False).as_predicted is None
    assert held(None, "four-tuples", 100).as_predicted is None
    assert held(None, "four-tuples", 100).limit is None


@pytest.mark.parametrize("came_true", [True, False])
def test_churn_is_judged_by_its_ceiling(came_true: bool) -> None:
    foretold = Prediction("time-wait", "ports in TIME-WAIT", 100, None, True)
    plan = replace(PLAN, prediction=foretold, churn=Churn(1.0), ceiling=Ceiling(100.0, 400, "because"))
    run = samples.summary({"churn.as_predicted": came_true, "verdict.observed": 390}, "churn")
    found = prediction.held(plan, run.verdict, run.churn, complete=True)
    assert (found.at_connections, found.as_predicted) == (400, came_true)


def test_the_limits_of_plans_are_limits_of_verdicts() -> None:
    """But for one: a run that would meet it is refused."""
    assert {name for name, row in EVERY_LIMIT.items() if row.planned} - set(LIMITS) == {"processes"}


def test_the_ceiling_of_ports_does_not_excuse_another_limit_of_churn() -> None:
    """Connection tracking was to be the first limit, if any, and more than that opened before it was met."""
    run = samples.summary({"churn.as_predicted": True}, "churn")
    for limit, observed, true in (("conntrack", 334_559, False), ("none", 334_559, True), ("descriptors", 9, False)):
        for foretold in (
            Prediction("conntrack", "connection tracking", 262_143, None, True),
            Prediction("time-wait", "ports in TIME-WAIT", 262_143, None, True),
        ):
            assert held(foretold, limit, observed, churn=run.churn).as_predicted is true
    full = Prediction("conntrack", "connection tracking", 1_000, 2.5, False)
    for observed, true in ((1_000, True), (1_009, True), (1_300, False)):
        assert held(full, "conntrack", observed, churn=run.churn).as_predicted is true
