"""Remedies for the ports of an address translation, of this host or of a lab's gateway, and for what it reuses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from loadgen.capacity.nat import KERNEL_PORTS, fitting, ports_of
from loadgen.capacity.remedies.host import key_of_timeout, opened_in_each
from loadgen.capacity.remedies.remedy import Claim, Quantity, Remedy
from loadgen.capacity.remedies.situation import Situation, further_targets
from loadgen.capacity.remedies.space import with_targets
from loadgen.capacity.time_wait import TIME_WAIT_S
from loadgen.capacity.tracking import remembered_s, timeout_name
from loadgen.model import CloseMode, Nat, NatKind, Plan
from loadgen.scenario.fields import PAIRS_MAX

#: Targets, or outside addresses, that a remedy tries to add.
_ADDED: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
#: How long a gateway remembers closed connections with the remedy.
_FORGOTTEN_S: Final = 1


def more_nat_ports(situation: Situation) -> Iterator[Remedy]:
    """Give the translation more ports, leave the load out of it, or spread it over more targets."""
    if situation.plan.nat:
        yield from _of_gateway(situation, situation.plan.nat)
        return
    text = "give the rule that rewrites the source more ports (`:1024-65535`) or more addresses: nft list ruleset"
    yield Remedy(text, command="nft list ruleset")
    yield Remedy(f"leave connections to {situation.target} out of the translation (a rule that accepts them before it)")
    if situation.plan.churn is None and (found := with_targets(situation, lambda plan: plan.spaces, 1)):
        remedy, _ = found
        opened = opened_in_each(situation)
        yield replace(remedy.adding(", which has translated ports of its own"), gain=opened or None)


def _of_gateway(situation: Situation, nat: Nat) -> Iterator[Remedy]:
    plan = situation.plan
    if plan.agents:  # each has a gateway of its own
        yield Remedy(
            "give the NAT of each agent's lab more ports (`lab.nat.ports`), or spread the load over more targets"
        )
        return
    if ports_of(nat) < len(KERNEL_PORTS):
        wider = Remedy(f"widen `lab.nat.ports` to {KERNEL_PORTS}", set={"lab.nat.ports": str(KERNEL_PORTS)})
        wider = replace(wider, program=f"give the NAT the ports {KERNEL_PORTS}")
        yield _grown(wider, plan, replace(nat, ports=KERNEL_PORTS))
    if plan.churn:
        yield from _in_churn(situation)
        return
    yield from _more_targets(plan, nat)
    yield from _more_addresses(plan, nat)


def _grown(remedy: Remedy, plan: Plan, nat: Nat, after: Plan | None = None) -> Remedy:
    """Return the remedy with the connections that it adds to those that fit, of a plan that holds them."""
    if plan.churn or plan.nat is None:
        return remedy
    asked = plan.connections
    before, more = min(fitting(plan, plan.nat), asked), min(fitting(after or plan, nat), asked)
    if more <= before:
        return remedy
    return replace(remedy, gain=more - before, claim=Claim(Quantity.CONNECTIONS, before, more))


def _more_targets(plan: Plan, nat: Nat) -> Iterator[Remedy]:
    """Add as many targets as the connections need: each has all outside ports once more."""
    for count in _ADDED:
        if len(plan.sources) * (len(plan.targets) + count) > PAIRS_MAX:
            break
        targets, keys = further_targets(plan, count)
        after = replace(plan, targets=(*plan.targets, *targets), routes=(*plan.routes, *(plan.routes[:1] * count)))
        if fitting(after, nat) < plan.connections and count < _ADDED[-1]:
            continue
        text = f"add {count:,} target{'s' * (count > 1)}, another address or port: each has all ports of the NAT again"
        yield _grown(Remedy(text, set=keys), plan, nat, after)
        return


def _more_addresses(plan: Plan, nat: Nat) -> Iterator[Remedy]:
    """Add outside addresses, where the hash sends some clients to them: one client stays at one address."""
    if nat.kind is not NatKind.SNAT or len(plan.sources) == 1:
        text = "give the NAT more addresses, and the load more source addresses"
        because = "a masquerade has one" if nat.kind is not NatKind.SNAT else "each source is sent to one of them"
        yield Remedy(f"{text}: {because}")
        return
    family = plan.targets[0].endpoint.family
    others = tuple(address for address in nat.addresses if address not in nat.pool(family))
    for count in _ADDED:
        last = ipaddress.ip_address(nat.pool(family)[-1])
        pool = (*nat.pool(family), *(str(last + number) for number in range(1, count + 1)))
        wider = replace(nat, addresses=(*pool, *others))
        if fitting(plan, wider) < plan.connections and count < _ADDED[-1]:
            continue
        text = f"add {count:,} outside address{'es' * (count > 1)} to the NAT: a hash sends each source to one of them"
        yield _grown(Remedy(text, set={"lab.nat.addresses": f"{pool[0]}-{pool[-1]}"}), plan, wider)
        return


def _in_churn(situation: Situation) -> Iterator[Remedy]:
    """Have the gateway forget closed connections sooner, or close fewer of them."""
    plan = situation.plan
    name, kept_s = timeout_name(plan), remembered_s(plan, situation.facts)
    key = key_of_timeout(name)
    if key and kept_s > _FORGOTTEN_S:
        text = f"have the gateway forget closed connections after {_FORGOTTEN_S} s, not {kept_s:,} s ({name})"
        if plan.close is CloseMode.TARGET:
            text += "; the target's TIME-WAIT outlasts that"
        yield Remedy(text, set={key: f"{_FORGOTTEN_S}s"})
    yield Remedy("keep connections alive: what makes N requests on each needs 1/N of the connections")


def outlast_time_wait(situation: Situation) -> Iterator[Remedy]:
    """Keep a four-tuple from being used again while the target has it in TIME-WAIT."""
    plan = situation.plan
    name = timeout_name(plan)
    key = key_of_timeout(name)
    if plan.nat and key and remembered_s(plan, situation.facts) < TIME_WAIT_S:
        long_s = f"{TIME_WAIT_S:.0f}"
        text = f"have the gateway remember closed connections for {long_s} s, as long as TIME-WAIT ({name})"
        yield Remedy(text, set={key: f"{long_s}s"})
    if plan.close is CloseMode.TARGET:
        text = "let this side close first (`close: fin`): then TIME-WAIT is here"
        program = "let the client close first: then it has TIME-WAIT"
        yield Remedy(text, set={"close": CloseMode.FIN.value}, program=program)
    yield Remedy("give the NAT more ports or addresses, so that a four-tuple is used again later")
