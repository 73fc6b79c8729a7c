"""Source addresses of a plan: that they are there, fit their targets, and are enough."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from loadgen.errors import CapacityError, HostError, UsageError
from loadgen.kernel.host import HostFacts
from loadgen.model import Endpoint, Strategy, Target

_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")


def absent(facts: HostFacts, *, freebind: bool) -> HostError | None:
    """Return the error for source addresses that are not on this host, or with freebind not routed to it."""
    missing = facts.missing_sources
    if not missing:
        return None
    others = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
    command = command_for(missing[0], freebind=freebind)
    if freebind:
        return HostError(
            f"source address {missing[0]}{others} is not routed to this host; "
            f"add it, or a prefix around it, with: {command}"
        )
    return HostError(f"source address {missing[0]}{others} is not on this host; add it with: {command}")


def command_for(address: str, *, freebind: bool) -> str:
    """Return the command that puts a source address on this host, or with freebind routes it here."""
    prefix = f"{address}/{128 if ':' in address else 32} dev lo"
    return f"ip route add local {prefix}" if freebind else f"ip address add {prefix}"


def require_families(sources: Sequence[str], targets: Sequence[Target]) -> None:
    """Raise HostError for a target whose family no source address has, which an interface may turn out to lack."""
    families = {Endpoint(source, 0).family for source in sources}
    for target in targets:
        if target.endpoint.family not in families:
            version = 6 if ":" in target.endpoint.address else 4
            raise HostError(f"no source address is IPv{version}, as {target.endpoint} is; add one to sources.addresses")


def require_source_of_route(
    strategy: Strategy, sources: Sequence[str], targets: Sequence[Target], facts: HostFacts
) -> None:
    """Require the source addresses that the routes give, because connect() alone takes no others.

    Raises: UsageError where the scenario names others; HostError without a route.
    """
    if "" in facts.default_sources:
        unreachable = targets[facts.default_sources.index("")].endpoint
        raise HostError(f"there is no route to {unreachable}; `ip route get {unreachable.address}` says more")
    chosen = sorted(set(facts.default_sources))
    if sorted(sources) != chosen:
        raise UsageError(
            f"strategy {strategy} leaves the source address to the route, which gives "
            f"{', '.join(chosen)} for {targets[0].endpoint}; write `addresses: [{', '.join(chosen)}]`, "
            "or use late-range to choose sources yourself"
        )


def extended(sources: Sequence[str], needed: int, notes: list[str]) -> Sequence[str]:
    """Return the addresses with more of 127.0.0.0/8 until there are enough; all of these exist without set-up.

    Raises: CapacityError where the network ends first.
    """
    if len(sources) >= needed:
        return sources
    addresses = list(sources)
    taken = set(sources)
    following = max(ipaddress.IPv4Address(source) for source in sources)
    while len(addresses) < needed:
        following += 1
        if following not in _LOOPBACK or following == _LOOPBACK.broadcast_address:
            raise CapacityError(
                "source addresses",
                needed=needed,
                available=len(addresses),
                remedy="start lower in 127.0.0.0/8",
            )
        if str(following) not in taken:
            addresses.append(str(following))
    notes.append(f"{needed - len(sources)} more source addresses of 127.0.0.0/8 make up for the narrower port range")
    return addresses
