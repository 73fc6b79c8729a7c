"""Remedies for the kernel's search for a free source port: do without it, or leave it more free ports.

Past a share of the ports (`cliff_at` in the table of strategies) every new connection walks through taken ports. More
cores do not help: each of them walks as far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from loadgen.capacity.remedies.churn import CLOSES, keep_alive
from loadgen.capacity.remedies.remedy import Claim, Quantity, Remedy
from loadgen.capacity.remedies.situation import PlanChange, Situation, in_program, use
from loadgen.capacity.remedies.space import changed_to, widened, with_sources, with_targets
from loadgen.capacity.time_wait import rest_s
from loadgen.format import percent
from loadgen.model import CloseMode, Plan, Strategy

#: Strategies that name the port themselves or have the kernel look at one port only.
_DIRECT: Final = (Strategy.LATE_RANGE, Strategy.EXPLICIT, Strategy.EXCLUSIVE)


def shorter_search(situation: Situation) -> Iterator[Remedy]:
    """Do without the kernel's search, or leave it more free ports; each with the occupancy it leads to."""
    plan = situation.plan
    begins_at = plan.strategy.over(plan.transport).cliff_at
    if begins_at is None or not plan.capacity:
        return
    direct = list(_direct(situation))
    yield from direct[:1]
    if plan.churn and plan.ceiling and plan.ceiling.per_s:
        yield from keep_alive(situation, plan.churn, plan.ceiling.per_s)
    yield from _fewer_in_use(situation, begins_at)
    yield from direct[1:]


def _direct(situation: Situation) -> Iterator[Remedy]:
    """Use a strategy without a search, if it has room for what is asked."""
    plan, used = situation.plan, ports_in_use(situation)
    for name in _DIRECT:
        if name in situation.available() and (found := changed_to(situation, [name])):
            change, after = found
            slower = bool(plan.churn) and rest_s(after, situation.facts.sysctls)[0] > _rest_s(situation, plan)
            if after.capacity < (plan.capacity if used is None else used) or slower:
                continue
            remedy = Remedy(use(change), set=change.keys, program=in_program(change))
            yield remedy.adding(": no search, however many ports are in use")


def _fewer_in_use(situation: Situation, begins_at: float) -> Iterator[Remedy]:
    """Have a smaller share of the ports in use: below that from which on the search is long, where that is possible."""
    plan, used = situation.plan, ports_in_use(situation)
    if used is not None:
        short = max(math.floor(used / begins_at) + 1 - plan.capacity, 1)
        found = (
            with_targets(situation, _capacity, short),
            with_sources(situation, _capacity, short),
            widened(situation),
        )
        for remedy, after in filter(None, found):
            yield from _with_occupancy(remedy, plan, used, used, after)
    if plan.churn and _rest_s(situation, plan):
        for close in (CloseMode.TARGET, CloseMode.RST):
            change = PlanChange(close=close)
            if closing := situation.after(change):
                remedy = Remedy(f"use `close: {close}`", set=change.keys, program=CLOSES[close])
                remedy = remedy.adding(", which leaves no port in TIME-WAIT here")
                figured = _with_occupancy(remedy, plan, used, plan.connections, closing) if used else [remedy]
                yield from figured


def _with_occupancy(remedy: Remedy, plan: Plan, used: int, then: int, after: Plan) -> Iterator[Remedy]:
    """Yield a remedy with the shares of ports in use, where it lowers them."""
    before, lowered = min(used / plan.capacity, 1.0), min(then / after.capacity, 1.0) if after.capacity else 1.0
    if lowered < before:
        then_used = f": {percent(lowered)} of the ports in use instead of {percent(before)}"
        yield replace(remedy.adding(then_used), claim=Claim(Quantity.OCCUPANCY, before, lowered))


def ports_in_use(situation: Situation) -> int | None:
    """Return the ports in use at the fullest moment, those that rest in TIME-WAIT among them; None: not known.

    In churn they are those that were counted, or that the schedule comes to. A closed loop that had every port in use
    would have more in use if there were more.
    """
    plan = situation.plan
    if not plan.churn or not (resting_s := _rest_s(situation, plan)):
        return min(plan.connections, plan.capacity)
    resting = situation.time_wait
    if plan.churn.arrivals:
        resting = resting or math.ceil(plan.churn.arrivals / plan.churn.duration_s * resting_s)
    used = plan.connections + resting
    return used if resting and used < plan.capacity else None


def _rest_s(situation: Situation, plan: Plan) -> float:
    return rest_s(plan, situation.facts.sysctls)[0]


def _capacity(plan: Plan) -> float:
    return plan.capacity
