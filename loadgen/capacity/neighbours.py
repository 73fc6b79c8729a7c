"""Entries that a plan needs of this host's tables of neighbours: one for each address on a link that is spoken to.

The end that connects has an entry for each target on the link, and one for a gateway. Where the other end is on this
host, too (`topology: segment`), it has one for each source that it answers, in the same table, because a table belongs
to the whole host. Who comes first has the entry; packets to an address without one are dropped.

The count is exact for IPv4 where either end has one address, as long as nothing is evicted (`neighbours.KEPT_S`). With
several at both ends the order of attempts decides, and workers have none among each other. IPv6 has entries for
multicast groups as well: they are evicted first, but a few attempts that find the table full of them fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from socket import AF_INET, AF_INET6
from typing import Final

from loadgen.arrivals import first_pair, shard_sizes
from loadgen.capacity.demands import second_of
from loadgen.capacity.resources import NEIGHBOURS, NEIGHBOURS_OF_IPV6, Resource, Shortage
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimit, HostLimits
from loadgen.kernel.neighbours import KEPT_S, SIZES
from loadgen.model import Plan, Transport

_NAMES: Final[Mapping[int, str]] = {AF_INET: NEIGHBOURS, AF_INET6: NEIGHBOURS_OF_IPV6}


def of_neighbours(plan: Plan, facts: HostFacts, limits: HostLimits) -> Iterator[Resource]:
    """Yield the entries that addresses on a link need, where there are such and the table is in sight."""
    for family in SIZES:
        table = _table(family, limits)
        if table and _on_link(plan, facts, family):
            yield _of_family(plan, facts, family, table)


def notes(plan: Plan, facts: HostFacts, limits: HostLimits) -> Iterator[str]:
    """Yield remarks for the reader of a plan: it fills the table that others of this host use, or that is not known."""
    if limits.neighbours and len(facts.next_hops) < len(plan.targets):
        yield "how many neighbours this plan needs is not known: the kernel does not say the routes to the targets"
    for family, name in SIZES.items():
        table = _table(family, limits)
        if table is None and facts.sources_on_link and _on_link(plan, facts, family):
            yield f"how many neighbours this host keeps is not known: only its initial network namespace shows {name}"
        elif table and _on_link(plan, facts, family) and len(wanted(plan, facts, family)) > table.free:
            yield (
                f"this run fills the table of neighbours of the whole host ({name}): meanwhile other programs cannot "
                "reach a new address on any link"
            )


def _table(family: int, limits: HostLimits) -> HostLimit | None:
    return next((table for table in limits.neighbours if table.name == SIZES[family]), None)


def _on_link(plan: Plan, facts: HostFacts, family: int) -> bool:
    """Return True if packets to a target of this family go to the target itself."""
    return any(
        target.endpoint.family == family and hop == target.endpoint.address
        for target, hop in zip(plan.targets, facts.next_hops, strict=False)
    )


def _of_family(plan: Plan, facts: HostFacts, family: int, table: HostLimit) -> Resource:
    name, needed = _NAMES[family], wanted(plan, facts, family)
    answered = sum(source in needed for source in plan.sources)
    note = f"{table.name}, {table.used:,} of {table.limit:,} in use now; " + _counted(len(needed) - answered, answered)
    if len(needed) <= table.free or plan.transport is Transport.UDP:
        # A socket of UDP is connected whether or not its datagrams leave.
        return Resource(name, "neighbours", len(needed), table.free, note=note)
    at, evicted = _opened(plan, facts, family, table.free), _lasts_s(plan) > KEPT_S
    return Resource(
        name,
        "neighbours",
        len(needed),
        table.free,
        at,
        note + (f"; what rests for {KEPT_S} s may make room" if evicted else ""),
        Shortage(f"entries of the table of neighbours ({table.name})", len(needed), table.free, excusable=True),
        slack=plan.connections - at if evicted else table.used,  # some of which may be old enough to make room
    )


def _counted(here: int, answered: int) -> str:
    targets = f"{here:,} for targets"
    return f"{targets} and {answered:,} for sources, which the sinks answer" if answered else targets


def family_met(plan: Plan, facts: HostFacts, resource: str) -> int:
    """Return the family of a line of the plan; without one that whose table has to take more."""
    of_line = [family for family, name in _NAMES.items() if name == resource]
    return of_line[0] if of_line else max(SIZES, key=lambda family: len(wanted(plan, facts, family)))


def wanted(plan: Plan, facts: HostFacts, family: int) -> set[str]:
    """Return the addresses of a family that take an entry."""
    needs = _needs(plan, facts, family)
    return {address for pair in set(_order(plan)) for address in needs[pair]}


def _needs(plan: Plan, facts: HostFacts, family: int) -> list[tuple[str, ...]]:
    """Return for each pair the neighbours that it needs: next hop, and source where a sink of this host answers."""
    hops = {target.endpoint: hop for target, hop in zip(plan.targets, facts.next_hops, strict=False)}
    return [
        ((hops[target], source) if facts.sources_on_link else (hops[target],))
        if target.family == family and hops.get(target)
        else ()
        for source, target in plan.pairs
    ]


def _order(plan: Plan) -> Iterator[int]:
    """Yield the pairs in the order of the first attempts of each worker, all workers in turn."""
    pairs, spaces = len(plan.pairs), plan.sharded_spaces
    sizes = shard_sizes(max(plan.connections, pairs if plan.churn else 0), spaces, plan.workers)
    starts = [first_pair(sizes, spaces, pairs, index) for index in range(len(sizes))]
    for step in range(min(max(sizes), pairs)):
        for start, size in zip(starts, sizes, strict=True):
            if step < size:
                yield (start + step) % pairs


def _opened(plan: Plan, facts: HostFacts, family: int, room: int) -> int:
    """Return the connections that open when this many addresses of a family find room."""
    needs, known, opened = _needs(plan, facts, family), set[str](), set[int]()
    for pair in _order(plan):
        for address in needs[pair]:
            if address not in known and len(known) < room:
                known.add(address)
        if known.issuperset(needs[pair]):
            opened.add(pair)
    weights = plan.weights
    return plan.connections * sum(weights[pair] for pair in opened) // sum(weights[pair] for pair in set(_order(plan)))


def _lasts_s(plan: Plan) -> float:
    """Return how long a plan opens connections, and waits for the last, in seconds."""
    if plan.churn:
        return plan.churn.duration_s
    return (second_of(plan, plan.connections - 1) or 0) + plan.timeout_s
