"""Remedies for source ports: more of them, more connections from each, or those that others hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from loadgen.capacity.remedies.remedy import Claim, Quantity, Remedy, sysctl_commands
from loadgen.capacity.remedies.situation import (
    ADD_ADDRESS,
    ADDRESS_BITS,
    ROUTE_ADDRESS,
    PlanChange,
    PortHolderKind,
    Situation,
    are_loopback,
    following,
    further_targets,
    in_program,
    in_ranges,
    last_source,
    may_take,
    use,
    widest_range,
)
from loadgen.capacity.resources import WORKER_PORTS
from loadgen.model import Plan, Strategy, Transport
from loadgen.strategies import Binding
from loadgen.strategies.options import REUSEADDR

_RESERVED: Final = "net.ipv4.ip_local_reserved_ports"
#: Ports to reserve that are named one by one.
_RESERVED_MAX: Final = 8


def more_ports(situation: Situation) -> Iterator[Remedy]:
    """Get more connections from the same ports, or more ports."""
    if situation.resource == WORKER_PORTS:  # a plan with more workers than ports
        usable = situation.plan.capacity_per_pair
        yield Remedy(f"use at most {usable:,} workers", set={"workers": usable} if usable else {})
        yield from wider_range(situation)
        return
    if situation.close_wait:
        text = "close each connection that the other side has closed"
        yield Remedy(f"{text}: {situation.close_wait:,} are in CLOSE-WAIT", gain=situation.close_wait)
    ways = [better_strategy, more_sources, wider_ports, wider_range, more_targets]
    if not situation.plan.strategy.row.binds_address:
        ways.append(ways.pop(1))  # an address needs another strategy first, which is more effort than the others
    for way in ways:
        yield from way(situation)


def grown(remedy: Remedy, before: Plan, after: Plan) -> Remedy:
    """Return the remedy with what it adds to the capacity of a plan."""
    gain = after.capacity - before.capacity
    return replace(
        remedy, gain=gain or None, claim=Claim(Quantity.CONNECTIONS, before.capacity, after.capacity) if gain else None
    )


def sharing(situation: Situation) -> tuple[PlanChange, Plan] | None:
    """Return the change to a strategy whose ports serve every target, of the plan's kind where there is one."""
    transport, names = situation.plan.transport, situation.plan.strategy.row.names_ports
    strategies = [name for name in situation.available() if name.over(transport).shares_ports]
    return changed_to(situation, sorted(strategies, key=lambda name: name.row.names_ports != names))


def binding(situation: Situation) -> tuple[PlanChange, Plan] | None:
    """Return the change to a strategy that lets the scenario choose source addresses."""
    return changed_to(situation, [name for name in situation.available() if name.row.binds_address])


def changed_to(situation: Situation, strategies: list[Strategy]) -> tuple[PlanChange, Plan] | None:
    """Return the change to the first of these strategies that is possible, and the plan with it."""
    for name in strategies:
        change = situation.change_to(name)
        after = situation.after(change) if change else None
        if change and after:
            return change, after
    return None


def better_strategy(situation: Situation) -> Iterator[Remedy]:
    """Share ports between targets."""
    plan, found = situation.plan, sharing(situation)
    if plan.shares_ports or found is None:
        return
    change, after = found
    if after.capacity > plan.capacity:
        remedy = Remedy(use(change), set=change.keys, program=in_program(change))
        yield grown(remedy.adding(": each port serves every target"), plan, after)


def more_sources(situation: Situation) -> Iterator[Remedy]:
    """Add source addresses, as many as gain what is short."""
    if found := with_sources(situation, lambda plan: plan.capacity, situation.short):
        remedy, after = found
        yield grown(remedy, situation.plan, after)


def with_sources(situation: Situation, measure: Callable[[Plan], float], short: float) -> tuple[Remedy, Plan] | None:
    """Return the remedy of as many source addresses as raise a measure of the plan by `short`, and the plan with it.

    measure: grows evenly with the addresses. connect() alone takes the address of the route, so it needs another
    strategy first. None where further addresses gain nothing.
    """
    plan, base, needs = situation.plan, situation.plan, PlanChange()
    if not plan.strategy.row.binds_address:
        found = binding(situation)
        if found is None:
            return None
        needs, base = found
    last = last_source(plan)

    def after(addresses: tuple[str, ...]) -> Plan | None:
        return situation.after(replace(needs, sources=addresses))

    one = after(following(last, plan, 1))
    each = measure(one) - measure(base) if one else 0
    if math.isnan(each) or each <= 0:
        return None
    count = max(1, math.ceil((measure(plan) + short - measure(base)) / each))
    addresses = following(last, plan, count)
    more = after(addresses)
    if more is None or len(addresses) < count:
        return None
    added = "add 1 source address" if count == 1 else f"add {count:,} source addresses"
    text = f"{use(needs)} and {added}" if needs.strategy else added
    free = may_take(plan, last, addresses)
    change = {"sources.addresses": in_ranges([*plan.sources, *addresses])} if free else {}
    exist = free and (plan.in_lab or are_loopback(addresses))
    command = "" if exist else (ROUTE_ADDRESS if plan.freebind else ADD_ADDRESS).format(bits=ADDRESS_BITS[last.version])
    program = f"{added} and bind to it: {in_program(needs)}" if needs.strategy else ""
    return Remedy(text, set=change, command=command, needs=needs.keys, program=program), more


def wider_ports(situation: Situation) -> Iterator[Remedy]:
    """Widen `ports` to the whole of ip_local_port_range."""
    plan, automatic = situation.plan, situation.facts.port_range
    if not plan.strategy.row.narrows_range or plan.ports == automatic:
        return
    after = situation.after(PlanChange(ports=automatic))
    if after and after.capacity > plan.capacity:
        text = f"widen `ports` to {automatic}, or leave it out"
        yield grown(Remedy(text, set={"sources.ports": str(automatic)}, program=None), plan, after)


def wider_range(situation: Situation) -> Iterator[Remedy]:
    """Widen ip_local_port_range, or `ports`, or both."""
    found = widened(situation)
    if found and found[1].capacity > situation.plan.capacity:
        yield grown(found[0], situation.plan, found[1])


def widened(situation: Situation) -> tuple[Remedy, Plan] | None:
    """Return the remedy of the widest range of ports, and the plan with it; None where it is no wider, or refused."""
    plan, automatic = situation.plan, situation.facts.port_range
    wide, names = widest_range(situation.facts.unprivileged_port_start), plan.strategy.row.names_ports
    own = names or situation.asked_ports is not None
    choices = [PlanChange(ports=wide if own else None, port_range=None if names or automatic == wide else wide)]
    if names:  # bound ports of the automatic range may be refused
        choices += [PlanChange(ports=apart) for apart in situation.outside]
    for change in choices:
        after = situation.after(change)
        if after is None or len(after.ports) <= len(plan.ports):
            continue
        whats = [*(["ip_local_port_range"] if change.port_range else []), *(["`ports`"] if change.ports else [])]
        sysctls = change.every_sysctl
        text = f"widen {' and '.join(whats)} to {after.ports}"
        program = f"choose ports from {after.ports}" if change.ports else ""
        return Remedy(text, set=change.keys, sysctls=sysctls, command=sysctl_commands(sysctls), program=program), after
    return None


def more_targets(situation: Situation) -> Iterator[Remedy]:
    """Add targets, as many as gain what is short, where a port serves each of them."""
    if found := with_targets(situation, lambda plan: plan.capacity, situation.short):
        remedy, after = found
        yield grown(remedy, situation.plan, after)


def with_targets(situation: Situation, measure: Callable[[Plan], float], short: float) -> tuple[Remedy, Plan] | None:
    """Return the remedy of as many targets as raise a measure of the plan by `short`; as `with_sources`."""
    plan = situation.plan

    def after(count: int) -> Plan | None:
        return situation.after(PlanChange(targets=further_targets(plan, count)[0]))

    one = after(1)
    each = measure(one) - measure(plan) if one else 0
    if each <= 0:
        return None
    count = max(1, math.ceil(short / each))
    more = after(count)
    if more is None:
        return None
    text = "add 1 target, another address or port" if count == 1 else f"add {count:,} targets, other addresses or ports"
    return Remedy(text, set=further_targets(plan, count)[1]), more


# --- Ports that others have -----------------------------------------------------------------------


def free_held_ports(situation: Situation) -> Iterator[Remedy]:
    """Find the process that holds the ports, or use other ports."""
    plan, used = situation.plan, situation.plan.ports
    if plan.transport is Transport.UDP:
        command = f"ss -uanp 'sport >= {used.low} and sport <= {used.high}'"
        yield Remedy(f"see who holds them: {command}", command=command)
    else:
        command = "loadgen watch --once"
        yield Remedy(f"see who holds them: {command}, which counts bound sockets too; ss lists none", command=command)
    if plan.strategy.row.names_ports:
        place = "to where nothing listens, and outside ip_local_port_range"
        yield Remedy(f"move `ports` {place}", program=f"move the ports that the program names {place}")
    else:
        yield Remedy("keep bound ports out of the range: a bound port is closed to automatic choice on every address")
    yield from _sources_beside_held(situation)


def _sources_beside_held(situation: Situation) -> Iterator[Remedy]:
    """Add a source address, on which the ports that others hold may be closed as well.

    A port that a socket has bound is closed to connect() on every address, where connect() chooses the port
    (__inet_hash_connect()). One that a connection has is closed to its own four-tuple alone. Which of the two holds
    them is not known, so the gain is the least.
    """
    plan, held = situation.plan, _held(situation)
    chooses = plan.strategy.row.binding not in (Binding.OUR_PORT, Binding.ADDRESS_AND_PORT)
    closed = held if chooses else 0

    def usable(changed: Plan) -> int:
        return max(changed.capacity_per_pair - closed, 0) * changed.spaces

    found = with_sources(situation, usable, min(situation.short, held * plan.spaces) if held else situation.short)
    if found is None:
        return
    remedy, after = found
    gain = usable(after) - usable(plan)
    worded = remedy.adding(" (bound ports are closed on it, too)") if closed else remedy
    yield replace(worded, gain=gain, claim=Claim(Quantity.CONNECTIONS, usable(plan), usable(plan) + gain))


def _held(situation: Situation) -> int:
    """Return the ports of each space that others hold: those that the run, or the plan, was short of."""
    plan = situation.plan
    missing = min(plan.capacity, plan.connections) - (plan.connections - situation.short)
    return math.ceil(max(missing, 0) / max(plan.spaces, 1))


def listen_again(situation: Situation) -> Iterator[Remedy]:
    """Let another program listen on the port that it wants, by what has it."""
    port = situation.listening[0]
    service = "set SO_REUSEADDR on the listener before bind()"
    if situation.holder is PortHolderKind.TIME_WAIT:
        yield Remedy(f"{service}: then TIME-WAIT does not keep the port from it")
        yield Remedy("wait 60 s, the length of TIME-WAIT")
        return
    if situation.holder is PortHolderKind.LISTENER or port not in situation.facts.port_range:
        command = f"ss -ltnp 'sport = :{port}'"
        yield Remedy(f"stop the process that has port {port} ({command}), or use another port", command=command)
    if situation.holder is PortHolderKind.UNKNOWN and port not in situation.facts.port_range:
        yield Remedy(f"{service}: then TIME-WAIT does not keep the port from it")
    if situation.holder is not PortHolderKind.LISTENER and port in situation.facts.port_range:
        yield from keep_for_listeners(situation)
        yield Remedy(f"move the service to a port outside {situation.facts.port_range}")


def keep_for_listeners(situation: Situation) -> Iterator[Remedy]:
    """Keep the ports of services out of the automatic choice, or let both sides share them.

    Belongs to no limit: a run that meets none may take the port of a service. None where every service could listen.
    """
    plan, ports = situation.plan, situation.listening
    if not ports:
        return
    named = ",".join(map(str, ports[:_RESERVED_MAX]))
    if not plan.strategy.row.names_ports:
        now = situation.sysctl(_RESERVED)
        sysctls = {_RESERVED: f"{now},{named}" if now else named}
        text = f"reserve the ports of services: {_RESERVED}={named}, which keeps connect() and bind(address, 0) off"
        yield Remedy(text, sysctls=sysctls, command=sysctl_commands(sysctls))
    shares = REUSEADDR in plan.strategy.row.tcp.options
    both = "the service has to set SO_REUSEADDR before it listens"
    if shares:
        yield Remedy(f"{both}; the sockets of {plan.strategy} have it already", program=both)
        return
    found = changed_to(situation, [name for name in situation.available() if REUSEADDR in name.row.tcp.options])
    change = found[0].keys if found else {}
    name = f" ({found[0].strategy} does)" if found else ""
    sides = "and on the listener: each side needs it"
    program = f"set SO_REUSEADDR on outgoing sockets, {sides}"
    yield Remedy(f"set SO_REUSEADDR on outgoing sockets{name}, {sides}", set=change, program=program)
