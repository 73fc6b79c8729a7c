"""Where a scenario's load is to go: its host names looked up once, and every address judged before any load.

A name is looked up in the orchestrator, with this host's resolver, and what it answers holds for the whole run:
nobody asks again, so no connection can go elsewhere than to what was judged. All addresses count, IPv4 and IPv6.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from typing import Any, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.control import allowlist
from loadgen.errors import HostError, InterruptedRunError, UsageError
from loadgen.scenario import Scenario, units
from loadgen.scenario.fields import TARGETS_MAX

#: A resolver that answers at all does so in less; its own patience with a server is 5 s (resolv.conf(5)).
TIMEOUT_S: Final = 15.0
_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name stood for, and when: literal addresses in the order of the resolver, an instant in ISO 8601, UTC."""

    addresses: tuple[str, ...]
    resolved_at: str


Answers = Mapping[str, Answer]


async def look_up(
    names: Iterable[str], *, enough: Callable[[], bool] = lambda: False, timeout_s: float = TIMEOUT_S
) -> dict[str, Answer]:
    """All addresses of each name, asked for one after the other.

    enough: whether to wait no longer. timeout_s: for each name.

    Raises: HostError for a name that has no address that could be a target; InterruptedRunError when it was enough.
    """
    return {name: await _answer(name, enough, timeout_s) for name in names}


async def _answer(name: str, enough: Callable[[], bool], timeout_s: float) -> Answer:
    found: list[tuple[str, ...] | OSError] = []
    # Nothing can call getaddrinfo(3) off, so it has a thread that nobody has to wait for.
    thread = Thread(target=lambda: found.append(_ask(name)), name=f"resolve {name}", daemon=True)
    thread.start()
    deadline_ns = now_ns() + int(timeout_s * NS_PER_S)
    while not found:
        if enough():
            raise InterruptedRunError("interrupted before any load")
        if now_ns() > deadline_ns:
            raise _unresolved(name, f"no answer within {timeout_s:g} s")
        await asyncio.sleep(_POLL_S)
    thread.join()
    answer = found[0]
    if isinstance(answer, OSError):
        raise _unresolved(name, answer.strerror or str(answer))
    for address in answer:
        try:
            units.check_usable(units.block(address))
        except ValueError as error:
            raise HostError(f"{name} is {address}, which is no target: {error}") from None
    return Answer(answer, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))


def _ask(name: str) -> tuple[str, ...] | OSError:
    """Every address once, mapped ones unmapped, link-local ones with their zone."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(_literal(sockaddr) for *_, sockaddr in found))
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


def judge(scenario: Scenario, answers: Answers, *, allowed: Sequence[str], authorized: bool) -> Scenario:
    """The scenario with the addresses of its names, once load may be sent to every single one of its targets.

    allowed, authorized: as the guard rail has them. Raises: UsageError as that does; HostError for too many targets.
    """
    resolved = scenario.resolved({name: answers[name].addresses for name in scenario.names})
    ends = {target.endpoint.address: target.host for target in reversed(resolved.every_target)}
    ends |= {spec.target.address: "" for spec in scenario.probes if spec.target}
    for address, name in reversed(ends.items()):
        try:
            allowlist.check(address, allowed=allowed, authorized=authorized, lab=scenario.lab_networks)
        except UsageError as error:
            raise UsageError(f"{name} leads there: {error}" if name else str(error)) from None
    return resolved


def pin(scenario: Scenario, answers: Answers, sources: Sequence[str]) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario with those addresses of its names that these sources and its lab can have as targets.

    Returns: the scenario, and a note on each name: what it stood for when, and what of that was left out.
    Raises: HostError when nothing is left of a name, an address cannot be in the lab, or is a target already.
    """
    versions = {6 if ":" in source else 4 for source in sources}
    missing = ", ".join(f"IPv{version}" for version in (4, 6) if version not in versions)
    kept: dict[str, tuple[str, ...]] = {}
    notes = []
    for name in scenario.names:
        answer = answers[name]
        kept[name] = tuple(one for one in answer.addresses if (6 if ":" in one else 4) in versions)
        left_out = [address for address in answer.addresses if address not in kept[name]]
        notes.append(f"{name} is {', '.join(answer.addresses)}, resolved at {answer.resolved_at}")
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


def _require_distinct(scenario: Scenario) -> None:
    """That no two targets turned out to be one, and that they are not too many."""
    targets = scenario.every_target
    if len(targets) > TARGETS_MAX:
        raise HostError(f"the names among the targets make them {len(targets):,}; write at most {TARGETS_MAX:,}")
    seen: dict[object, str] = {}
    for target in targets:
        called = target.host or target.endpoint.address
        if (other := seen.setdefault(target.endpoint, called)) != called:
            raise HostError(f"{called} and {other} both lead to {target.endpoint}; delete one of the two targets")
