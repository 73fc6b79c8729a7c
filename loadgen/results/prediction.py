"""What the plan of a run said, beside what came of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loadgen.capacity.limits import LIMITS
from loadgen.model import Plan

#: Limits of a space whose four-tuples are used up, by the run or by others.
_ALIKE: Final = frozenset(name for name, row in LIMITS.items() if row.uses_ports) - {"source-ports"}
#: Edges that no arithmetic has: a connection lost in the ramp, a worker that was denied before the others.
_EDGE: Final = 0.01


def held(plan: Plan, verdict: Mapping[str, Any], churn: Mapping[str, Any] | None, *, complete: bool) -> dict[str, Any]:
    """The prediction of a plan held against the verdict of its run.

    churn: that part of the summary, where there is one.

    Returns: limit, at_connections, at_s, possible of the plan (see `model.Prediction`; None of a plan that made none),
    observed_limit, observed_at of the run, and as_predicted: None where the run was cut off, or there is nothing to
    compare. A plan that was possible came true when no limit was met that plans know of.
    """
    said = plan.prediction
    observed_limit, observed_at = str(verdict["limit"]), int(verdict["observed"])
    ceiling = plan.ceiling.established if plan.ceiling and plan.ceiling.per_s is not None else None
    at = said.at if said else None
    if said and said.limit == "time-wait" and plan.churn:
        at = ceiling
    return {
        "limit": said.limit if said else None,
        "at_connections": at,
        "at_s": said.at_s if said else None,
        "possible": said.possible if said else None,
        "observed_limit": observed_limit,
        "observed_at": observed_at,
        "as_predicted": _came_true(plan, observed_limit, observed_at, churn) if complete and said else None,
    }


def _came_true(plan: Plan, limit: str, observed: int, churn: Mapping[str, Any] | None) -> bool | None:
    said = plan.prediction
    assert said
    if churn is not None and (said.limit == "time-wait" or said.possible):
        came: bool | None = churn.get("as_predicted")
        return came
    if said.possible:
        return not LIMITS[limit].planned
    # A run may call these each other where others have a part of the ports: how full a space was decides.
    alike = limit == said.limit or {limit, said.limit} <= _ALIKE
    edge = max(1, int(said.at * _EDGE))
    return alike and said.at - edge <= observed <= said.at + max(said.slack, edge)
