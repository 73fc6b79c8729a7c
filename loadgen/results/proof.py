"""The comparison of a claimed gain with the measured one: two summaries in, one row out.

The figure of a run is its connections: those open at once, in churn those established in all. Of a remedy that makes
more of each connection it is the requests, of one that leaves more ports free the share of ports in use, and of one
that does without the kernel's search the CPU time of a connection. A remedy comes true if its gain came, or if the run
met its limit no more: then the machine's pace, or what was asked for, came before the claim could.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec.structs import replace

from loadgen.capacity.remedies import Quantity
from loadgen.results.schema.proof import ProofResult
from loadgen.results.schema.run import RemedyResult, RunSummary
from loadgen.results.schema.values import SettingValue

_Compared = Literal["connections", "established", "requests", "occupancy", "cost_us"]
#: Part of a claimed gain that may be missing. In churn a port comes back a little later than the kernel promises, and
#: the end of the run cuts a pass over the ports off.
_MISSING: Final[dict[_Compared, float]] = {
    "connections": 0.1,
    "established": 0.2,
    "requests": 0.2,
    "occupancy": 0.1,
    "cost_us": 0.1,
}


def trials(summary: RunSummary) -> list[RemedyResult]:
    """Return the remedies that a lab can try, in their order: those that change the scenario or its namespace."""
    return [
        remedy
        for remedy in summary.verdict.remedies_detail or ()
        if (remedy.set or remedy.sysctls) and all(name.startswith("net.") for name in remedy.sysctls)
    ]


def compared(
    first: RunSummary,
    remedy: RemedyResult,
    tried: RunSummary | None,
    *,
    settings: Mapping[str, SettingValue],
    run: str,
    reason: str | None = None,
) -> ProofResult:
    """Return the claim of a remedy beside what the run with it came to.

    first: the run that met the limit. tried: the run with the remedy; None: it could not run, for this reason.
    settings, run: as in the result.
    """
    quantity = _quantity(first, remedy)
    before, claimed = _figure(first, quantity), _claimed(first, remedy, quantity)
    measured = _figure(tried, quantity) if tried else None
    limit = tried.verdict.limit if tried else None
    proof = ProofResult(
        remedy=remedy.text,
        settings=settings,
        quantity=quantity,
        before=before,
        claimed=claimed,
        measured=measured,
        ok=tried is not None and limit != first.verdict.limit,
        limit=limit,
        run=run,
        reason=reason,
    )
    return replace(proof, ok=True) if gained(proof) else proof


def gained(proof: ProofResult) -> bool:
    """Return True if the change that a remedy claims came, but for a small part of it, in either direction."""
    if proof.claimed is None or proof.measured is None:
        return False
    wanted, got = proof.claimed - proof.before, proof.measured - proof.before
    enough = wanted * (1 - _MISSING[proof.quantity])
    return got >= enough if wanted >= 0 else got <= enough


def _quantity(first: RunSummary, remedy: RemedyResult) -> _Compared:
    match remedy.claim.quantity if remedy.claim else "":
        case Quantity.REQUESTS:
            return "requests"
        case Quantity.OCCUPANCY:
            return "occupancy"
    if first.verdict.limit == "port-search" and first.cost_us:
        return "cost_us"
    return "established" if first.churn else "connections"


def _figure(summary: RunSummary, quantity: _Compared) -> float:
    established = summary.outcomes.established
    match quantity:
        case "requests":  # a connection that carries nothing stands for one
            return summary.traffic.replies if summary.traffic and summary.traffic.replies else established
        case "occupancy":
            capacity = sum(pair.capacity for pair in summary.sources)
            return min(sum(pair.peak_open for pair in summary.sources) / capacity, 1.0) if capacity else 0.0
        case "established":
            return established
        case "cost_us":
            return summary.cost_us[-1] if summary.cost_us else 0.0
    return summary.open.peak


def _claimed(first: RunSummary, remedy: RemedyResult, quantity: _Compared) -> float | None:
    """Return the figure of a run with the remedy if its claim comes true, as far as the run asks for it."""
    before, claim = _figure(first, quantity), remedy.claim
    scheduled = None if first.churn and first.churn.loop == "closed" else first.arrivals.scheduled
    match quantity:
        case "requests":
            assert claim
            times = claim.after / claim.before if claim.before and claim.after else 1.0
            each = before / first.outcomes.established if first.outcomes.established else 1.0
            return min(before * times, scheduled * each) if scheduled else before * times
        case "occupancy":
            return claim.after if claim else None
    if remedy.gain is None or quantity == "cost_us":
        return None
    return min(before + remedy.gain, scheduled) if scheduled is not None else before + remedy.gain
