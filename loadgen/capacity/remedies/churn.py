"""Remedies for ports in TIME-WAIT, and for the ceiling that these put on churn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from loadgen.capacity.remedies.remedy import Claim, Quantity, Remedy, settings_in_words, sysctl_commands
from loadgen.capacity.remedies.situation import PlanChange, Situation, in_program, use
from loadgen.capacity.remedies.space import changed_to, sharing, widened, with_sources, with_targets
from loadgen.capacity.time_wait import rest_s
from loadgen.format import rate
from loadgen.model import Churn, CloseMode, Plan, SinkBehaviour, Speaks, Stage
from loadgen.strategies import TimeWaitReuse

_REUSE: Final = "net.ipv4.tcp_tw_reuse"
_TIMESTAMPS: Final = "net.ipv4.tcp_timestamps"
_REUSE_DELAY: Final = "net.ipv4.tcp_tw_reuse_delay"
#: Exchanges of a connection that is kept, where no schedule says how many there have to be.
_KEPT: Final = 10
_KEPT_MAX: Final = 1_000_000


def end_time_wait(situation: Situation) -> Iterator[Remedy]:
    """Leave nothing in TIME-WAIT, take ports out of it, or wait for its end."""
    if situation.plan.churn:
        yield from faster_churn(situation, situation.plan.churn)
        return
    plan, row = situation.plan, situation.plan.strategy.row
    opened = plan.connections - situation.short
    freed = max(min(situation.time_wait, plan.capacity - opened), 0) or None
    if row.time_wait in (TimeWaitReuse.NEVER, TimeWaitReuse.AUTOBIND_REUSE):
        if found := sharing(situation):
            change, _ = found
            remedy = Remedy(f"{use(change)}: {plan.strategy}", set=change.keys, program=f"{in_program(change)}: bind()")
            yield remedy.adding(" never takes a port out of TIME-WAIT")
    elif situation.sysctl(_TIMESTAMPS) == "0":
        yield _setting({_TIMESTAMPS: "1"}, "without it no four-tuple leaves TIME-WAIT early", None)
    elif (
        row.time_wait is TimeWaitReuse.TW_REUSE
        and rest_s(replace(plan, close=CloseMode.FIN), situation.facts.sysctls)[0] > 1
    ):
        yield _setting({_REUSE: "1"}, "a four-tuple in TIME-WAIT can be had again after 1 s", freed)
    text = "wait 60 s, the length of TIME-WAIT, before the next run; one with `close: rst` leaves nothing in TIME-WAIT"
    yield Remedy(text, command="sleep 60", gain=freed, program="wait 60 s, the length of TIME-WAIT")
    if found_sources := with_sources(situation, lambda changed: changed.capacity, situation.short):
        remedy, after = found_sources
        yield replace(remedy, gain=after.capacity - plan.capacity)


def _setting(sysctls: dict[str, str], because: str, gain: int | None) -> Remedy:
    text = f"set {settings_in_words(sysctls)}: {because}"
    return Remedy(text, sysctls=sysctls, command=sysctl_commands(sysctls), gain=gain)


# --- Churn ----------------------------------------------------------------------------------------


def faster_churn(situation: Situation, churn: Churn) -> Iterator[Remedy]:
    """Lift the ceiling that TIME-WAIT puts on churn; each with the ceiling it would put instead."""
    plan = situation.plan
    if plan.ceiling is None or plan.ceiling.per_s is None:
        return
    strategies = list(_other_strategies(situation))
    if plan.strategy.row.time_wait in (TimeWaitReuse.NEVER, TimeWaitReuse.AUTOBIND_REUSE):
        yield from strategies
        strategies = []
    yield from keep_alive(situation, churn, plan.ceiling.per_s)
    yield from _sooner(situation)
    if found := widened(situation):
        yield from _if_lifted(*found, plan)
    yield from _closed_otherwise(situation)
    yield from strategies
    if found := with_targets(situation, _established, situation.short):
        yield from _if_lifted(*found, plan)
    if found := with_sources(situation, _established, situation.short):
        yield from _if_lifted(*found, plan)


def keep_alive(situation: Situation, churn: Churn, per_s: float) -> Iterator[Remedy]:
    """Make several exchanges on each connection, so that the same connections per second carry more of them.

    per_s: the connections per second that can go on for ever.
    """
    plan, needs = situation.plan, dict[str, object]()
    if any(_closes_early(target.behaviour) for target in plan.targets if target.sink):
        return
    if not plan.traffic:
        if not all(target.sink and target.behaviour.speaks is Speaks.ECHO for target in plan.targets):
            yield Remedy("keep connections alive: what makes N requests on each needs 1/N of the connections")
            return
        needs = {"protocol": "echo"}
    wanted = churn.exchanges * _KEPT
    change: dict[str, object] = {}
    if churn.arrivals and per_s:
        at_least = churn.arrivals / (per_s * churn.duration_s)
        wanted = churn.exchanges * max(math.floor(at_least) + 1, 2)
        if churn.arrivals * churn.exchanges < wanted:  # not one connection would be due
            yield Remedy("keep the connection open, and make every exchange on it")
            return
        if paced := _slower(plan.stages, wanted // churn.exchanges):
            change = {"arrival.rate": paced}
    if wanted > _KEPT_MAX:
        return
    change = {"churn.exchanges": wanted, **change}
    how = f"`churn.exchanges: {wanted:,}`".replace(",", "")
    how += f" and `arrival.rate: {change['arrival.rate']}`" if "arrival.rate" in change else ""
    if needs:
        how = f"`protocol: echo`, {how}"
    before, after = round(per_s * churn.exchanges, 6), round(per_s * wanted, 6)
    text = f"keep connections alive ({how}): {rate(before)} of requests becomes {rate(after)}"
    program = f"keep connections alive: with {wanted:,} requests on each, {rate(before)} become {rate(after)}"
    yield Remedy(text, set=change, needs=needs, claim=Claim(Quantity.REQUESTS, before, after), program=program)


def _slower(stages: tuple[Stage, ...], times: int) -> str:
    """Return the rate of a schedule that has one, divided, as a scenario writes it; "" of any other schedule."""
    if len(stages) != 1 or not stages[0].rate_end_per_s:
        return ""
    return f"{stages[0].rate_end_per_s / times:.6g}/s"


def _closes_early(behaviour: SinkBehaviour) -> bool:
    return behaviour.reset or behaviour.close_after_requests is not None or behaviour.speaks is Speaks.NOTHING


def _sooner(situation: Situation) -> Iterator[Remedy]:
    """Set what lets connect() take a four-tuple out of TIME-WAIT: tcp_tw_reuse, then its delay."""
    if situation.plan.strategy.row.time_wait is TimeWaitReuse.AT_ONCE:
        sysctls = [{_TIMESTAMPS: "1"}]
    else:
        sysctls = [{_REUSE: "1"}, {_TIMESTAMPS: "1"}, {_TIMESTAMPS: "1", _REUSE: "1"}]
    needed = next(filter(None, (_lifting(situation, PlanChange(sysctls=change)) for change in sysctls)), None)
    if needed:
        change, after = needed
        yield from _if_lifted(_of(change), after, situation.plan)
    if situation.sysctl(_REUSE_DELAY) and situation.plan.strategy.row.time_wait is TimeWaitReuse.TW_REUSE:
        already = needed[0].sysctls if needed else {}  # without which the delay has no effect
        change = PlanChange(sysctls={**already, _REUSE_DELAY: "100"})
        sooner = situation.after(change)
        if sooner and _lifts(needed[1] if needed else situation.plan, sooner):
            yield from _if_lifted(_of(change), sooner, situation.plan)


def _lifting(situation: Situation, change: PlanChange) -> tuple[PlanChange, Plan] | None:
    """Return a change without what is set already, and the plan with it; None where it lifts no ceiling."""
    sysctls = {name: value for name, value in change.sysctls.items() if situation.sysctl(name) != value}
    change = replace(change, sysctls=sysctls)
    after = situation.after(change)
    return (change, after) if after and _lifts(situation.plan, after) else None


def _closed_otherwise(situation: Situation) -> Iterator[Remedy]:
    for close in (CloseMode.TARGET, CloseMode.RST):
        if found := _lifting(situation, PlanChange(close=close)):
            change, after = found
            yield from _if_lifted(_of(change), after, situation.plan)


def _other_strategies(situation: Situation) -> Iterator[Remedy]:
    """Use a strategy that may take ports out of TIME-WAIT, with the settings without which it may not.

    One of each kind: connect() chooses the port, or bind() is given it. The plan's kind comes first.
    """
    plan = situation.plan
    rules = [TimeWaitReuse.TW_REUSE, TimeWaitReuse.AT_ONCE]
    if plan.strategy.row.names_ports:
        rules.reverse()
    for rule in rules:
        if plan.strategy.row.time_wait is rule:
            continue
        names = [name for name in situation.available() if name.row.time_wait is rule and name.row.binds_address]
        found = changed_to(situation, names)
        if found is None:
            continue
        settings = [{}, {_TIMESTAMPS: "1"}]
        if rule is TimeWaitReuse.TW_REUSE:
            settings += [{_REUSE: "1"}, {_REUSE: "1", _TIMESTAMPS: "1"}]
        changes = (_lifting(situation, replace(found[0], sysctls=sysctls)) for sysctls in settings)
        if lifting := next(filter(None, changes), None):
            change, after = lifting
            yield from _if_lifted(_of(change), after, plan)


def _of(change: PlanChange) -> Remedy:
    """Return a change as a remedy whose text names all of it."""
    texts = [use(change)] if change.strategy else []
    programs = [in_program(change)] if change.strategy else []
    if change.close:
        texts.append(f"use `close: {change.close}` ({CLOSES[change.close]})")
        programs.append(CLOSES[change.close])
    if change.sysctls:
        texts.append(f"set {settings_in_words(change.sysctls)}")
        programs.append(texts[-1])
    text, program = ", and ".join(texts), ", and ".join(programs)
    command = sysctl_commands(change.every_sysctl)
    return Remedy(text, set=change.keys, sysctls=change.every_sysctl, command=command, program=program)


#: The ways to close, for the owner of a program.
CLOSES: Final = {
    CloseMode.TARGET: "let the other side close first",
    CloseMode.RST: "reset connections by SO_LINGER 0",
    CloseMode.FIN: "close with FIN",
}


def _lifts(before: Plan, after: Plan) -> bool:
    """Return True if the ceiling of a plan is higher than that of another, or gone."""
    assert before.ceiling
    assert after.ceiling
    if before.ceiling.per_s is None:
        return False
    return after.ceiling.per_s is None or after.ceiling.per_s > before.ceiling.per_s


def _if_lifted(remedy: Remedy, after: Plan, before: Plan) -> Iterator[Remedy]:
    """Yield the remedy with both ceilings in its text, and its gain in connections where both are known."""
    assert before.ceiling
    assert after.ceiling
    if before.ceiling.per_s is None or not _lifts(before, after):
        return
    gain = None
    if before.ceiling.established is not None and after.ceiling.established is not None:
        gain = max(after.ceiling.established - before.ceiling.established, 0) or None
    becomes = f": {_ceiling_text(before.ceiling.per_s)} becomes {_ceiling_text(after.ceiling.per_s)}"
    claim = Claim(Quantity.CHURN, before.ceiling.per_s, after.ceiling.per_s)
    yield replace(remedy.adding(becomes), gain=gain, claim=claim)


def _ceiling_text(per_s: float | None) -> str:
    return "no ceiling" if per_s is None else rate(per_s)


def _established(plan: Plan) -> float:
    """Return the connections that the ports of a plan give in the duration of its churn; without a ceiling, no end."""
    assert plan.ceiling
    return math.inf if plan.ceiling.established is None else plan.ceiling.established
