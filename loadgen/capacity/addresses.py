"""Source addresses of a plan: that they are there, fit their targets, and are enough."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from loadgen.errors import CapacityError, HostError, UsageError
from loadgen.kernel import missing_help
from loadgen.kernel.host import HostFacts
from loadgen.kernel.missing import Missing, MissingReason
from loadgen.model import Endpoint, Strategy, Target

_IPV6_OFF: Final = "net.ipv6.conf.all.disable_ipv6"
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")


def absent(facts: HostFacts) -> HostError | None:
    """Return the error for source addresses that cannot be used here; None where all can."""
    first = first_missing(facts)
    if first is None:
        return None
    return HostError(f"{because(facts)}; {', or '.join(change.sentence for change in missing_help.helps(first))}")


def because(facts: HostFacts) -> str:
    """Return in words which source addresses cannot be used and why; "" where all can.

    The reason is that of the first; the count is of all.
    """
    first = first_missing(facts)
    if first is None:
        return ""
    more = max(facts.missing_count, len(facts.missing_sources)) - 1
    return f"source {missing_help.because(first, more)}"


def first_missing(facts: HostFacts) -> Missing | None:
    """Return the first missing source address with its reason, which files of loadgen 0.1.0 do not say."""
    if facts.missing_because:
        return facts.missing_because[0]
    return unexplained(facts.missing_sources[0]) if facts.missing_sources else None


def unexplained(address: str, *, freebind: bool = False) -> Missing:
    """Return an address that is missing without a reason known."""
    reason = MissingReason.NOT_ROUTED if freebind else MissingReason.ABSENT
    return Missing(address, reason, "lo", 128 if ":" in address else 32)


def require_families(sources: Sequence[str], targets: Sequence[Target], facts: HostFacts) -> None:
    """Raise HostError for a target whose family no source address has, which an interface may turn out to lack."""
    families = {Endpoint(source, 0).family for source in sources}
    for target in targets:
        if target.endpoint.family not in families:
            version = 6 if ":" in target.endpoint.address else 4
            off = version == 6 and facts.sysctls.get(_IPV6_OFF) == "1"
            helps = (
                f"IPv6 is off here ({_IPV6_OFF}=1): use a target of IPv4, or sysctl -w {_IPV6_OFF}=0"
                if off
                else "add one to sources.addresses"
            )
            raise HostError(f"no source address is IPv{version}, as {target.endpoint} is; {helps}")


def routes_of(
    strategy: Strategy, sources: Sequence[str], targets: Sequence[Target], facts: HostFacts
) -> tuple[str, ...]:
    """Return for each target the source address that connect() alone takes; () for a strategy that binds one.

    Where a named source cannot be used, the routes give another or none: then the result is what the scenario means.

    Raises: UsageError where the scenario names sources other than those of the routes; HostError without a route.
    """
    if strategy.row.binds_address:
        return ()
    if facts.missing_sources:
        of_family = {Endpoint(source, 0).family: source for source in reversed(sources)}
        return tuple(of_family[target.endpoint.family] for target in targets)
    if "" in facts.default_sources:
        unreachable = targets[facts.default_sources.index("")].endpoint
        raise HostError(
            f"there is no route to {unreachable}, or no source address for it; "
            f"`ip route get {unreachable.address}` says more"
        )
    chosen = sorted(set(facts.default_sources))
    if sorted(sources) != chosen:
        raise UsageError(
            f"strategy {strategy} leaves the source address to the route, which gives "
            f"{', '.join(chosen)} for {targets[0].endpoint}; write `addresses: [{', '.join(chosen)}]`, "
            "or use late-range to choose sources yourself"
        )
    return facts.default_sources


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
