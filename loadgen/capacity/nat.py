"""The ports of an address translation (NAT): how many connections a lab's gateway has room for.

A translated connection is told from others by protocol, outside address, outside port, and target. So each outside
address has its ports once for each target (address and port), and a client's connections to a target all get the one
address that a hash of both addresses chooses: another address of the pool does not help where that one is full.

Which port it gets: its own, if that is allowed and free (not with random or fully-random); else the kernel looks from a
random port on, at up to 128 in a row, then from other places at 64, 32, 16 and 8. So a range of up to 128 ports is
used to the last; of a wider one the last ports are found by chance, while SYNs are dropped and sent again. Kernels
before 5.0 looked at all of them. Without a range in the rule, a source port from 1024 on becomes one of 1024-65535.

A closed connection keeps its port for as long as the gateway remembers it. Newer kernels (6.18 does, 6.1 does not)
take the entry of a closed connection away where the sequence number of the new SYN is ahead, which half of them are.

Sources: nf_nat_l4proto_unique_tuple(), get_unique_tuple() and nf_nat_used_tuple_harder() in
net/netfilter/nf_nat_core.c. The hash is in `loadgen.capacity.nat_address`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from socket import AF_INET, AF_INET6
from typing import Final

from loadgen import format as fmt
from loadgen.capacity.nat_address import outsides
from loadgen.capacity.resources import NAT_PORTS, Resource, Shortage
from loadgen.capacity.tracking import remembered_s
from loadgen.kernel.host import HostFacts
from loadgen.model import Endpoint, Nat, NatFlag, Plan, PortRange, Transport, family_of

#: Ports of a rule without a range, for source ports from 1024 on.
KERNEL_PORTS: Final = PortRange(1024, 65535)
#: A range that the kernel searches as a whole, NF_NAT_MAX_ATTEMPTS.
SEARCHED_WHOLE: Final = 128
#: The most ports that it looks at for one SYN, in a wider range: 128 + 64 + 32 + 16 + 8.
SEARCHED_MOST: Final = 248
_FAMILIES: Final = (AF_INET, AF_INET6)
#: An outside address and a target.
NatSpace = tuple[str, Endpoint]


def ports_of(nat: Nat) -> int:
    """Return the ports that each outside address has for each target."""
    return len(nat.ports or KERNEL_PORTS)


def is_exact(plan: Plan, nat: Nat) -> bool:
    """Return True if each connection's outside address is known: by the hash alone, or because there is one.

    A client's port that was translated for one target may be translated alike for another, to which the hash would
    give another address (find_appropriate_src()).
    """
    several = any(len(nat.pool(family)) > 1 for family in {target.endpoint.family for target in plan.targets})
    hosts = {target.endpoint.address for target in plan.targets}
    return not several or len(hosts) == 1 or bool(nat.flags)


def spaces_of(plan: Plan, nat: Nat) -> Mapping[NatSpace, int]:
    """Return the weight of the pairs that have their connections in each space of outside ports."""
    sources: dict[int, tuple[str, ...]] = {
        family: tuple(one for one in plan.sources if family_of(one) == family) for family in _FAMILIES
    }
    weights: dict[NatSpace, int] = {}
    for index, target in enumerate(plan.targets):
        end = target.endpoint
        clients = plan.routes[index : index + 1] or sources[end.family]
        for address, count in Counter(outsides(nat, clients, end.address)).items() if clients else ():
            weights[address, end] = count * target.weight
    return weights


def of_nat(plan: Plan, facts: HostFacts) -> Iterator[Resource]:
    """Yield the ports of the gateway's translation, as the plan's connections are spread over them."""
    nat = plan.nat
    if nat is None:
        return
    ports, weights = ports_of(nat), spaces_of(plan, nat)
    room = ports * len(weights)
    counted = f"{ports:,} for each of {fmt.many(len(weights), 'pair')} of outside address and target"
    if plan.churn:
        yield _of_churn(plan, facts, room, counted)
        return
    if plan.transport is Transport.UDP:
        note = f"{counted}; datagrams of connections beyond get lost, and no connection fails"
        yield Resource(NAT_PORTS, "nat-ports", plan.connections, fitting(plan, nat), note=note)
        return
    connections, fits = plan.connections, fitting(plan, nat)
    shortage = Shortage("ports of the gateway's NAT", connections, fits, excusable=True)
    note = f"{counted}; {_how_sure(plan, nat, ports)}"
    short = shortage if connections > fits else None
    yield Resource(NAT_PORTS, "nat-ports", connections, fits, fits, note, short, slack=len(weights))


def fitting(plan: Plan, nat: Nat) -> int:
    """Return the connections that a translation has room for, spread as those of a plan that holds them."""
    ports, weights = ports_of(nat), spaces_of(plan, nat)
    whole = sum(weights.values())
    first_full = ports * whole // max(weights.values())
    if plan.connections <= first_full:
        return first_full
    # The fuller spaces end, and the others go on.
    return sum(min(ports, plan.connections * weight // whole) for weight in weights.values())


def _how_sure(plan: Plan, nat: Nat, ports: int) -> str:
    if not is_exact(plan, nat):
        return "about, as one client port may get the same outside address for several targets"
    if nat.ports is None and plan.ports.low < KERNEL_PORTS.low:
        return f"about, as source ports below {KERNEL_PORTS.low:,} become others below it"
    if _all_stay(plan, nat):
        return "exactly, as each connection keeps its port"
    if ports <= SEARCHED_WHOLE:
        return "exactly, as the kernel looks at all of them"
    return f"the last of them by chance, as the kernel looks at {SEARCHED_MOST} of them for a SYN"


def _all_stay(plan: Plan, nat: Nat) -> bool:
    """Return True if no two connections of the plan can want the same outside port, so that each keeps its own."""
    ports, drawn = nat.ports or KERNEL_PORTS, {NatFlag.RANDOM, NatFlag.FULLY_RANDOM}
    allowed = plan.ports.low in ports and plan.ports.high in ports and not drawn.intersection(nat.flags)
    return allowed and len(spaces_of(plan, nat)) == len(plan.pairs)


def _of_churn(plan: Plan, facts: HostFacts, room: int, counted: str) -> Resource:
    kept_s = remembered_s(plan, facts)
    if plan.capacity <= room:  # a client that uses a four-tuple again takes its own entry over
        note = f"{counted}, and no more four-tuples than that"
        return Resource(NAT_PORTS, "nat-ports", plan.capacity, room, note=note)
    note = (
        f"{counted}; each stays {kept_s:,} s after its connection, so {fmt.rate(room / kept_s)} can go on for ever, "
        "and more where the kernel takes closed ones over (6.18 does, 6.1 does not)"
    )
    return Resource(NAT_PORTS, "nat-ports", None, room, note=note)
