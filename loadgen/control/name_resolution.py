"""Resolve the host names of a scenario once, and check every target address before any load.

Names are resolved in the orchestrator with this host's resolver. The result holds for the whole run, so every
connection goes to an address that was checked. All addresses of a name count, IPv4 and IPv6.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Thread
from typing import Any, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.control import allowlist
from loadgen.errors import HostError, InterruptedRunError, UsageError
from loadgen.results.schema.matrix_plan import ResolvedName
from loadgen.scenario import ScenarioSpec, units
from loadgen.scenario.fields import PAIRS_MAX, TARGETS_MAX

#: Longer than a working resolver takes; its own time-out per server is 5 s (resolv.conf(5)).
TIMEOUT_S: Final = 15.0
_POLL_S: Final = 0.005


ResolvedNames = Mapping[str, ResolvedName]


async def look_up(
    names: Iterable[str], *, enough: Callable[[], bool] = lambda: False, timeout_s: float = TIMEOUT_S
) -> dict[str, ResolvedName]:
    """Return all addresses of each name, looked up one after the other.

    enough: stop waiting once this returns True. timeout_s: for each name.

    Raises: HostError for a name without an address that could be a target; InterruptedRunError when stopped.
    """
    return {name: await _resolve(name, enough, timeout_s) for name in names}


async def _resolve(name: str, enough: Callable[[], bool], timeout_s: float) -> ResolvedName:
    results: list[tuple[str, ...] | OSError] = []
    # getaddrinfo(3) cannot be cancelled, so it runs in a daemon thread that may outlive the wait.
    thread = Thread(target=lambda: results.append(_getaddrinfo(name)), name=f"resolve {name}", daemon=True)
    thread.start()
    deadline_ns = now_ns() + int(timeout_s * NS_PER_S)
    while not results:
        if enough():
            raise InterruptedRunError("interrupted before any load")
        if now_ns() > deadline_ns:
            raise _unresolved(name, f"no answer within {timeout_s:g} s")
        await asyncio.sleep(_POLL_S)
    thread.join()
    addresses = results[0]
    if isinstance(addresses, OSError):
        raise _unresolved(name, addresses.strerror or str(addresses))
    for address in addresses:
        try:
            units.check_usable(units.block(address))
        except ValueError as error:
            raise HostError(f"{name} is {address}, which cannot be a target: {error}") from None
    resolved_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return ResolvedName(addresses=addresses, resolved_at=resolved_at)


def _getaddrinfo(name: str) -> tuple[str, ...] | OSError:
    """Return the distinct addresses, IPv4-mapped ones as IPv4, link-local ones with their zone; or the error."""
    try:
        entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(_literal(sockaddr) for *_, sockaddr in entries))
    except OSError as error:
        return error


def _literal(sockaddr: Sequence[Any]) -> str:
    address, *_, scope = sockaddr
    zone = f"%{socket.if_indextoname(int(scope))}" if len(sockaddr) == 4 and scope else ""
    return next(units.block(f"{str(address).partition('%')[0]}{zone}").addresses())


def _unresolved(name: str, reason: str) -> HostError:
    return HostError(
        f"{name} cannot be resolved: {reason}; check the name and this host's resolver "
        "(/etc/hosts, /etc/resolv.conf), or write the address itself"
    )


def judge(scenario: ScenarioSpec, answers: ResolvedNames, *, allowed: Sequence[str], authorized: bool) -> ScenarioSpec:
    """Return the scenario with the addresses of its names, after checking that load may go to every target.

    allowed, authorized: see `allowlist.check`. Raises: UsageError, see there; HostError for too many targets.
    """
    resolved = scenario.resolved({name: answers[name].addresses for name in scenario.names})
    name_of = {target.endpoint.address: target.host for target in reversed(resolved.every_target)}
    probed = (spec.target for spec in scenario.probes if not spec.listens_everywhere)
    name_of |= {target.address: "" for target in probed if target}
    for address, name in reversed(name_of.items()):
        try:
            allowlist.check(address, allowed=allowed, authorized=authorized, lab=scenario.lab_networks)
        except UsageError as error:
            raise UsageError(f"{name} resolves to a forbidden address: {error}" if name else str(error)) from None
    return resolved


def pin(scenario: ScenarioSpec, answers: ResolvedNames, sources: Sequence[str]) -> tuple[ScenarioSpec, tuple[str, ...]]:
    """Return the scenario with those addresses of its names that fit these sources and its lab.

    Returns: the scenario, and notes on each name: its addresses, the time of the look-up, addresses left out.
    Raises: HostError if no address of a name is left, or an address cannot be in the lab or is a target already.
    """
    versions = {6 if ":" in source else 4 for source in sources}
    missing = ", ".join(f"IPv{version}" for version in (4, 6) if version not in versions)
    kept: dict[str, tuple[str, ...]] = {}
    notes = []
    for name in scenario.names:
        resolved = answers[name]
        kept[name] = tuple(address for address in resolved.addresses if (6 if ":" in address else 4) in versions)
        left_out = [address for address in resolved.addresses if address not in kept[name]]
        notes.append(f"{name} is {', '.join(resolved.addresses)}, resolved at {resolved.resolved_at}")
        if not kept[name]:
            raise HostError(
                f"{name} is {', '.join(left_out)}, and no source address is {missing}; add one to sources.addresses"
            )
        if left_out:
            notes.append(f"{', '.join(left_out)} of {name} left out: no source address is {missing}")
        for address in kept[name]:
            if reason := scenario.misfit(address):
                raise HostError(f"{name} is {address}: {reason}")
    pinned = scenario.resolved(kept)
    _require_distinct(pinned)
    return pinned, tuple(notes)


def _require_distinct(scenario: ScenarioSpec) -> None:
    """Check that all targets are distinct, and not too many. Raises: HostError."""
    targets = scenario.every_target
    if len(targets) > TARGETS_MAX:
        raise HostError(f"the names among the targets make them {len(targets):,}; write at most {TARGETS_MAX:,}")
    pairs = sum(block.count for block in scenario.sources.blocks) * len(targets)
    if pairs > PAIRS_MAX:
        raise HostError(
            f"the names among the targets make them {len(targets):,}, and {pairs:,} pairs with the source addresses; "
            f"write fewer of either, at most {PAIRS_MAX:,} pairs"
        )
    name_of: dict[object, str] = {}
    for target in targets:
        name = target.host or target.endpoint.address
        if (other := name_of.setdefault(target.endpoint, name)) != name:
            raise HostError(f"{name} and {other} both lead to {target.endpoint}; delete one of the two targets")
