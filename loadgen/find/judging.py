"""The outcome of a trial: its expectations, held against the steady part of its run. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen import format as fmt
from loadgen.find.steps import StepResult
from loadgen.results.schema.find import FailedCondition, TrialResult, TrialStatus
from loadgen.results.schema.run import RunSummary
from loadgen.results.steady import over_steady
from loadgen.results.summary import held
from loadgen.scenario.expect import SOMETHING_OPENED, Expectation


def judged(
    run: RunSummary, expectations: Sequence[Expectation], *, key: str, value: float, number: int, cell: int, stage: str
) -> TrialResult:
    """Return the result of a trial from the summary of its run.

    expectations: those that are to hold; where the run has a steady part they are about that, otherwise about all of
    it. A run that was cut short says nothing about its value.
    """
    steady = None if _ran_out_later(run) else over_steady(run)
    basis = steady or run
    # What the verdict of a run says is about all of it; so is a run that is cut short.
    # A run in which nothing opened meets many an expectation, and no value holds with it.
    opened = [row for row in run.expect if row.expression == SOMETHING_OPENED.text]
    failed = tuple(
        FailedCondition(expression=row.expression, observed=row.observed)
        for row in (*held(expectations, basis), *opened)
        if not row.passed
    )
    if not run.complete:
        outcome, reason = TrialStatus.UNKNOWN, run.incomplete_because or "the run was cut short"
    elif failed:
        outcome, reason = TrialStatus.FAILED, _reason(failed)
    else:
        outcome, reason = TrialStatus.HELD, None
    part = run.steady if steady else None
    ended = basis.outcomes.established + basis.outcomes.failed
    return TrialResult(
        number=number,
        cell=cell,
        value=value,
        outcome=outcome,
        stage=stage,
        reason=reason,
        failed=failed,
        run=None,
        duration_s=run.duration_s,
        steady_s=(part.from_s, part.to_s) if part else None,
        established_per_s=_established_per_s(basis),
        failed_share=round(basis.outcomes.failed / ended, 6) if ended else None,
        connect_p99_us=basis.latency_us.connect.p99 if basis.latency_us.connect.count else None,
        limit=run.verdict.limit,
        verdict=run.verdict.text or None,
        remedy=run.verdict.remedies[0] if run.verdict.remedies else None,
        predicted=predicted(run, key),
        for_ever=_for_ever(run, key),
    )


def _ran_out_later(run: RunSummary) -> bool:
    """Return whether the ports first ran out after the steady part, which may end a line before the load does.

    Every connection of that part had a port, but their number was already more than there are.
    """
    churn, steady = run.churn, run.steady
    if churn is None or steady is None or churn.first_denied_s is None:
        return False
    return churn.first_denied_s >= steady.to_s


def _reason(failed: Sequence[FailedCondition]) -> str:
    return "; ".join(f"expected {row.expression}, observed {fmt.scalar(row.observed)}" for row in failed)


def judged_step(step: StepResult, run: RunSummary, *, number: int, cell: int) -> TrialResult:
    """Return the result of a step of a run that went up. run: the summary of all of it, which was ended on purpose."""
    figures, verdict = step.figures, step.figures.verdict
    ended = figures.outcomes.established + figures.outcomes.failed
    return TrialResult(
        number=number,
        cell=cell,
        value=step.step.value,
        outcome=TrialStatus.FAILED if step.failed else TrialStatus.HELD,
        stage="step",
        reason=step.reason,
        failed=step.failed,
        run=None,
        duration_s=run.duration_s,
        failed_share=round(figures.outcomes.failed / ended, 6) if ended else None,
        connect_p99_us=figures.latency_us.connect.p99 if figures.latency_us.connect.count else None,
        limit=verdict.limit if step.failed else "none",
        verdict=(verdict.text or None) if step.failed else None,
        remedy=verdict.remedies[0] if step.failed and verdict.remedies else None,
        predicted=predicted(run, "connections"),
    )


def _established_per_s(basis: RunSummary) -> float:
    """Return the rate of what was judged: of churn that of its steady part, of held connections that of the ramp."""
    return basis.rate_per_s.established_mean if basis.churn is None else basis.churn.mean_per_s


def predicted(run: RunSummary, key: str) -> float | None:
    """Return the highest value of a key that the plan of a run has room for; None where it does not say.

    Of a rate in churn: the ports, each used once in the time for which it rests, or in the run if that is shorter. Of
    connections: where the limit is met that stands in the way.
    """
    if key == "connections":
        foretold = run.prediction
        return None if foretold.possible is not False else foretold.at_connections
    churn = run.churn
    if key != "arrival.rate" or churn is None or churn.ceiling is None or churn.ceiling.per_s is None:
        return None
    if churn.ceiling.rest_s <= churn.duration_s:
        return churn.ceiling.per_s
    if churn.ceiling.established is None or run.prediction.possible is not False:
        return None  # no more connections were due than there are ports
    return churn.ceiling.established / churn.duration_s


def _for_ever(run: RunSummary, key: str) -> float | None:
    """Return the rate that can go on for ever, where a run is too short to meet it; None otherwise."""
    churn = run.churn
    if key != "arrival.rate" or churn is None or churn.ceiling is None or churn.ceiling.rest_s <= churn.duration_s:
        return None
    return churn.ceiling.per_s
