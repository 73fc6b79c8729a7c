"""Remedies of a finding, by the table of limits: for the situation of the evidence, as a plan.

A remedy gets its figures from a plan (`loadgen.capacity.remedies`), so the situation becomes one: the sources and
targets of the evidence, its range of ports, its sysctls; for ports in TIME-WAIT with connections that open and close.
What the evidence does not say is the kernel's default. Where it makes no plan, there are no remedies with figures.
"""

from __future__ import annotations

import ipaddress
import platform
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Final

from loadgen.capacity.addresses import unexplained
from loadgen.capacity.allowances import Allowances
from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.capacity.plan import assess
from loadgen.capacity.remedies import PortHolderKind, Quantity, Remedy, Situation, listen_again
from loadgen.errors import LoadgenError
from loadgen.explain.case import Case, plain_number
from loadgen.explain.rules.ports import leaks
from loadgen.explain.symptoms import SymptomKind
from loadgen.kernel import release
from loadgen.kernel.host import HostFacts
from loadgen.kernel.missing import Missing, MissingReason
from loadgen.kernel.sockdiag import TcpState
from loadgen.scenario import parse
from loadgen.strategies import Strategy, Transport

if TYPE_CHECKING:
    from loadgen.explain.judge import Judged

#: Defaults of settings that a remedy depends on, Documentation/networking/ip-sysctl.rst.
_DEFAULTS: Final = {
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_timestamps": "1",
    "net.ipv4.ip_autobind_reuse": "0",
    "net.ipv4.tcp_max_tw_buckets": "262144",
}
#: The kernel's name of the table of neighbours of IPv6, in its log.
_OF_IPV6: Final = "ndisc_cache"
#: RLIMIT_NOFILE of systemd's services and logins, soft.
_DESCRIPTORS: Final = 1024
_MEMORY_BYTES: Final = 1 << 40
#: Networks for examples (RFC 5737, RFC 3849), where the evidence has no address.
_SOURCE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
_TARGET: Final = {4: "198.51.100.1", 6: "2001:db8::2"}
_INVENTED: Final = (*_SOURCE.values(), *_TARGET.values())
_TARGETS_MAX: Final = 100
_FEW_TARGETS: Final = 2
_CONNECTIONS_MAX: Final = 10_000_000
REMEDIES_MAX: Final = 12
#: The kernel's log tells of the limits of the host, which a program would see as these errnos.
_FROM_LOG: Final = {"descriptors": frozenset({"ENFILE"})}


def remedies(case: Case, judged: Judged) -> Iterator[Remedy]:
    """Yield the remedies of the limits that a finding names, each sentence once."""
    of_each = [list(_of_limit(case, judged, limit)) for limit in judged.named]
    in_turn = (remedy for tier in zip_longest(*of_each) for remedy in tier if remedy)
    yield from islice({remedy.sentence: remedy for remedy in in_turn}.values(), REMEDIES_MAX)


def _of_limit(case: Case, judged: Judged, limit: str) -> Iterator[Remedy]:
    """Yield the remedies of one limit; where it is one of several, each begins with its name."""
    situation = situation_of(case, judged, limit)
    if situation is None:
        return
    assumed = _assumed(judged)
    listens = judged.symptom.kind is SymptomKind.LISTEN and bool(situation.listening) and limit != "source-ports"
    for remedy in listen_again(situation) if listens else EVERY_LIMIT[limit].remedies(situation):
        worded = remedy.for_program
        if worded and worded.claim and worded.claim.quantity is not Quantity.CONNECTIONS:
            worded = replace(worded, gain=None)  # its text has both figures
        if worded and assumed and "sources.strategy" in worded.set:
            worded = replace(worded, text=f"{worded.text} ({assumed} targets assumed)")
        if worded and len(judged.named) > 1 and not listens:
            worded = replace(worded, text=f"if {limit}: {worded.text}")
        if worded:
            yield _without_invented(worded)


def _without_invented(remedy: Remedy) -> Remedy:
    """Return a remedy in which an address of this module is one for the reader to fill in."""
    text, command = remedy.text, remedy.command
    for address in _INVENTED:
        text, command = text.replace(address, "ADDRESS"), command.replace(address, "ADDRESS")
    return replace(remedy, text=text, command=command)


def situation_of(case: Case, judged: Judged, limit: str) -> Situation | None:
    """Return the situation of a finding, for one of its limits; None where it makes no plan."""
    symptom = judged.symptom
    family = symptom.family or (6 if any(_OF_IPV6 in proof.text for proof in symptom.proofs) else 4)
    source, target = _source(judged, family), _target(judged, family)
    facts = facts_of(case, judged, limit, source)
    try:
        scenario = parse(_scenario(case, judged, limit, source, target))
        facts = replace(facts, default_sources=(source,) * len(scenario.every_target))
        found = assess(scenario, (source,), facts, Allowances(in_lab=False, port_blocking=True))
    except LoadgenError:
        return None
    port, account = symptom.source_port, judged.sign.account
    leaked = account.states.get(TcpState.CLOSE_WAIT, 0) if account else 0
    return Situation(
        plan=found.plan,
        facts=facts,
        short=1,
        errnos=frozenset(name for _, name in symptom.calls) or _FROM_LOG.get(limit, frozenset()),
        target=symptom.to or "the target",
        time_wait=account.row.time_wait if account else 0,
        close_wait=leaked if account and leaks(account) else 0,
        listening=(port,) if symptom.kind is SymptomKind.LISTEN and port else (),
        holder=_holder(case, port or 0),
    )


def _holder(case: Case, port: int) -> PortHolderKind:
    """Return what the listings show on a port that a service wants."""
    states = {state for _, state in case.holders(port)} if port else set()
    if TcpState.LISTEN in states:
        return PortHolderKind.LISTENER
    if states - {TcpState.TIME_WAIT}:
        return PortHolderKind.CONNECTION
    return PortHolderKind.TIME_WAIT if states else PortHolderKind.UNKNOWN


def _scenario(case: Case, judged: Judged, limit: str, source: str, target: str) -> str:
    strategy, transport = strategy_of(judged), judged.symptom.transport or Transport.TCP
    account = judged.sign.account
    wanted = (account.row.usable if account else case.settings.count) + 1
    address, _, port = target.rpartition(":")
    fixed = judged.symptom.source_port if judged.symptom.kind is SymptomKind.FIXED_PORT else None
    destinations = _assumed(judged) or _destinations(judged)
    if limit == "conntrack" and case.tracked:  # as many as the table has entries for, and one more
        destinations = max(destinations, case.tracked[1].value // max(case.settings.count, 1) + 1)
    last = min(int(port) + min(destinations, _TARGETS_MAX) - 1, 65_535)
    targets = [f"{{address: '{address}:{number}'}}" for number in range(int(port), last + 1)]
    churn = limit in ("time-wait", "conntrack") and transport is Transport.TCP and not fixed
    lines = [
        "name: explained",
        f"transport: {transport}",
        f"sources: {{addresses: '{source}', strategy: {strategy}{f', ports: {fixed}-{fixed}' if fixed else ''}}}",
        f"targets: [{', '.join(targets)}]",
    ]
    if churn:
        lines.append("churn: {duration: 60s, concurrency: 100}")
    else:
        lines.append(f"connections: {max(1, min(wanted, _CONNECTIONS_MAX))}")
    return "\n".join(lines) + "\n"


def _destinations(judged: Judged) -> int:
    account = judged.sign.account
    return account.destinations if account and account.row.scope == "source" else judged.symptom.destinations


def _assumed(judged: Judged) -> int:
    """Return how many targets are assumed where the evidence has one alone; 0: none, they are as in the evidence.

    Of a program that binds early: with one target nothing is gained, and few programs have one alone.
    """
    early = strategy_of(judged) in (Strategy.BIND, Strategy.REUSEADDR)
    return _FEW_TARGETS if early and _destinations(judged) < _FEW_TARGETS else 0


def strategy_of(judged: Judged) -> Strategy:
    """Return the strategy of the program: as a trace shows it, or the failed call and the account do."""
    symptom, account = judged.symptom, judged.sign.account
    if symptom.strategy:
        return symptom.strategy
    if symptom.kind is SymptomKind.FIXED_PORT:
        return Strategy.EXCLUSIVE
    if symptom.kind is SymptomKind.BIND_NO_PORT and symptom.transport is not Transport.UDP:
        return Strategy.BIND
    if account and account.row.strategy:
        return account.row.strategy
    return Strategy.KERNEL


def _source(judged: Judged, family: int) -> str:
    account = judged.sign.account
    own = judged.symptom.target if judged.symptom.on_loopback and family == 6 else ""  # connect() takes it itself
    for address in (judged.symptom.source, account.row.source if account else "", own):
        if _usable(address, family):
            return address
    return _SOURCE[family]


def _target(judged: Judged, family: int) -> str:
    symptom, account = judged.symptom, judged.sign.account
    port = symptom.target_port or (account.row.destination_port if account else 0) or 80
    for address in (symptom.target, account.row.destination if account else ""):
        if _usable(address, family):
            return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"[{_TARGET[6]}]:{port}" if family == 6 else f"{_TARGET[4]}:{port}"


def _usable(address: str, family: int) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.version == family and not parsed.is_unspecified


def facts_of(case: Case, judged: Judged, limit: str, source: str) -> HostFacts:
    """Return the host of the evidence; what it does not say is the kernel's default."""
    evidence, settings = case.evidence, case.settings
    told = {one.name: one.value for one in evidence.sysctls if all(map(plain_number, one.value.split()))}
    sysctls = {**_DEFAULTS, **{name: value for name, value in told.items() if value}}
    if limit == "conntrack":  # the entries are those of the load
        sysctls["net.netfilter.nf_conntrack_count"] = "0"
    files = [one for one in evidence.limits if one.name == "Max open files"]
    hard = files[-1].hard if files else _DESCRIPTORS
    version = release.version(evidence.kernel)
    unprivileged = case.number("net.ipv4.ip_unprivileged_port_start")
    missing = _missing(judged, source) if limit == "source-address" else ()
    return HostFacts(
        kernel=evidence.kernel,
        machine=platform.machine(),
        cpus=1,
        memory_available_bytes=_MEMORY_BYTES,
        descriptors=min(hard, 1 << 30) if hard is not None else 1 << 30,
        files_free=1 << 30,
        port_range=settings.ports,
        reserved_ports=settings.reserved,
        unprivileged_port_start=min(unprivileged.value, 65_535) if unprivileged else 1024,
        privileged=True,
        listeners=(),
        missing_sources=tuple(one.address for one in missing),
        default_sources=(source,),
        late_bind=version is None or version >= (4, 2),
        port_range_option=False,  # with it the program has to choose the ports itself, which few can
        sysctls=sysctls,
        missing_because=missing,
        missing_count=len(missing),
    )


def _missing(judged: Judged, source: str) -> tuple[Missing, ...]:
    # connect() alone finds no address of its own where IPv6 is off, and then adding one helps nothing.
    unbound = SymptomKind.SOURCE not in judged.symptom.kinds and ":" in source
    reason = judged.sign.reason or (MissingReason.IPV6_OFF if unbound else "")
    known = unexplained(source)
    return (replace(known, reason=MissingReason(reason)) if reason else known,)
