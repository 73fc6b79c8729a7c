"""The source address of a run that names none: the one that routing picks for the target.

The same question as `ip route get`, so no packet is sent to the target; a host name is looked up first.
"""

from __future__ import annotations

from loadgen.control import name_resolution
from loadgen.errors import HostError, UsageError
from loadgen.kernel import route
from loadgen.scenario import units


async def picked(target: str) -> tuple[str, ...]:
    """Return the addresses that connections to a target come from if nothing binds them, each once.

    target: HOST:PORT. There are several for a name with several addresses; those without a route are left out.

    Raises: HostError without any route, or for a name that cannot be resolved; UsageError for a link-local target,
        whose route depends on the link.
    """
    destination = units.destination(target)
    if "%" in destination.address:
        raise UsageError(f"--from: routing does not choose for {destination.address}; write an address of that link")
    addresses: tuple[str, ...] = (destination.address,)
    if destination.name:
        addresses = (await name_resolution.look_up([destination.name]))[destination.name].addresses
        addresses = tuple(address for address in addresses if "%" not in address)
    try:
        routes = route.to(addresses)
    except OSError as error:
        raise HostError(f"cannot ask for the route to {target} ({error.strerror}); add --from ADDRESS") from error
    if sources := tuple(dict.fromkeys(found.source for found in routes if found.kind and found.source)):
        return sources
    reasons = "; ".join(f"{address}: {found}" for address, found in zip(addresses, routes, strict=True))
    raise HostError(f"no source address leads to {target} ({reasons}); add a route, or choose another target")
