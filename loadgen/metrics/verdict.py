"""The one limit that stopped a run, in a sentence. Pure: a summary and its plan in, words out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loadgen.metrics.outcomes import Outcome
from loadgen.model import Plan

#: Which limit an outcome speaks of, and what the reader calls it.
_LIMITS: Final = {
    Outcome.NO_FREE_FOUR_TUPLE: ("four-tuples", "no free four-tuple was left"),
    Outcome.NO_FREE_PORT: ("source-ports", "no free source port was left to bind"),
    Outcome.NO_SUCH_SOURCE: ("source-address", "a source address is not on this host"),
    Outcome.NO_DESCRIPTOR: ("descriptors", "no descriptor was left"),
    Outcome.NO_MEMORY: ("memory", "the kernel had no memory for more sockets"),
    Outcome.TIMED_OUT: ("target", "the target did not answer in time"),
    Outcome.REFUSED: ("target", "the target refused"),
    Outcome.RESET: ("target", "the target reset the connection"),
    Outcome.UNREACHABLE: ("target", "the target cannot be reached"),
    Outcome.FORBIDDEN: ("permission", "the kernel forbade it"),
    Outcome.SELF_CONNECT: ("self-connect", "connections met themselves: the target port is closed"),
    Outcome.LOST: ("target", "the other side closed connections while they were held"),
    Outcome.OTHER: ("other", "attempts failed for a reason loadgen has no name for"),
}


def decide(summary: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The verdict of a summary that has everything but its verdict.

    Returns: limit, text, predicted (connections the plan had room for), observed (the most that were
    open at once), remedies.
    """
    outcomes, opened = summary["outcomes"], summary["open"]
    established, lost = outcomes["established"], opened["lost"]
    limit, text, remedies = "none", "no limit was met", []
    if summary["errors"]:
        worst = max(summary["errors"], key=lambda error: error["count"])
        limit, reason = _LIMITS[Outcome(worst["outcome"])]
        text = f"{reason} ({worst['syscall']} {worst['errno']}, {worst['count']:,} times)"
        remedies = _remedies(limit, plan)
    elif summary["arrivals"]["not_started"]:
        text = f"{summary['arrivals']['not_started']:,} of the connections were never started"
        if summary["complete"]:
            limit, text = "in-flight", text + f": {plan.in_flight_max} attempts of a worker were waiting for an answer"
            remedies = ["raise `in_flight`, lower the rate, or find out why the target answers late"]
    if limit == "none" and not summary["generator"]["trustworthy"]:
        limit, text = "generator", "loadgen itself was the bottleneck: " + summary["generator"]["reasons"][0]
        remedies = ["lower the rate, or run on a machine with more cores"]
    held = f", held {summary['phases']['hold_s']:.0f} s" if summary["phases"]["hold_s"] >= 1 else ""
    kept = "with none lost" if not lost else f"of which {lost:,} were lost"
    head = (
        f"{established:,} of {plan.connections:,} connections opened at "
        f"{summary['rate_per_s']['established_mean']:,.0f}/s{held} {kept}"
    )
    return {
        "limit": limit,
        "text": f"{head}: {text}.",
        "predicted": min(plan.capacity, plan.connections),
        "observed": opened["peak"],
        "remedies": remedies,
    }


def _remedies(limit: str, plan: Plan) -> list[str]:
    match limit:
        case "four-tuples" | "source-ports":
            return [f"add source addresses: each adds {plan.capacity_per_pair * len(plan.targets):,} connections"]
        case "descriptors":
            return ["raise the hard limit of open files (ulimit -Hn), or let loadgen choose the number of workers"]
        case "source-address":
            return [f"add the address: ip address add {plan.sources[0]} dev lo"]
        case "target":
            return ["look at the target: its listen backlog, its limits and its log"]
        case _:
            return []
