"""The prediction of a plan beside the verdict of its run. Pure."""

from __future__ import annotations

from typing import Final

from loadgen.capacity.limits import LIMITS
from loadgen.model import Plan
from loadgen.results.schema.carried import ChurnResult
from loadgen.results.schema.run import PredictionResult, VerdictResult

#: Limits of a space whose four-tuples are used up, by the run or by others.
_ALIKE: Final = frozenset(name for name, row in LIMITS.items() if row.uses_ports) - {"source-ports"}
#: Tolerance for a connection lost in the ramp, or a worker that was denied before the others.
_EDGE: Final = 0.01


def held(plan: Plan, verdict: VerdictResult, churn: ChurnResult | None, *, complete: bool) -> PredictionResult:
    """Compare the prediction of a plan with the verdict of its run.

    churn: that part of the summary, where there is one.

    Returns: limit, at_connections, at_s, possible of the plan (see `model.Prediction`; None of a plan that made none),
    observed_limit, observed_at of the run, and as_predicted: None where the run was cut off, or there is nothing to
    compare. A plan that was possible came true when no limit was met that plans know of.
    """
    predicted = plan.prediction
    ceiling = plan.ceiling.established if plan.ceiling and plan.ceiling.per_s is not None else None
    at = predicted.at if predicted else None
    if predicted and predicted.limit == "time-wait" and plan.churn:
        at = ceiling
    return PredictionResult(
        limit=predicted.limit if predicted else None,
        at_connections=at,
        at_s=predicted.at_s if predicted else None,
        possible=predicted.possible if predicted else None,
        observed_limit=verdict.limit,
        observed_at=verdict.observed,
        as_predicted=_came_true(plan, verdict.limit, verdict.observed, churn) if complete and predicted else None,
    )


def _came_true(plan: Plan, limit: str, observed: int, churn: ChurnResult | None) -> bool | None:
    predicted = plan.prediction
    assert predicted
    if LIMITS[limit].only_slows:
        limit = "none"
    # Of translations a plan knows that of a lab's gateway, for connections that are held, and none that rules make.
    planned = LIMITS[limit].planned and (limit != "nat-ports" or (plan.nat is not None and churn is None))
    # The ceiling of churn is about ports, and says nothing where another limit that plans know of was met.
    of_ports = limit in _ALIKE or not planned
    if churn is not None and of_ports and (predicted.limit == "time-wait" or predicted.possible):
        return churn.as_predicted
    edge = max(1, int(predicted.at * _EDGE))
    if predicted.possible:
        # The last ports of a translation are found by chance, so it ends a little before it is full.
        nearly = limit == predicted.limit == "nat-ports" and observed >= predicted.at - edge
        return not planned or nearly
    # A run may call these each other where others have a part of the ports: how full a space was decides.
    alike = limit == predicted.limit or {limit, predicted.limit} <= _ALIKE
    return alike and predicted.at - edge <= observed <= predicted.at + max(predicted.slack, edge)
