"""The circumstances of a finding, for the scenario that reproduces it: every value with the place it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from loadgen.explain.advice import strategy_of
from loadgen.explain.case import Case
from loadgen.explain.port_settings import RANGE, RESERVED
from loadgen.explain.rules.silence import given_ports
from loadgen.explain.symptoms import SymptomKind
from loadgen.model import Endpoint
from loadgen.reproduce.circumstances import Circumstances
from loadgen.strategies import Transport

if TYPE_CHECKING:
    from loadgen.explain.judge import Judged

#: Settings of the network that change whether and when a port is free again, or how long a queue is.
_SYSCTLS: Final = (
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.ip_autobind_reuse",
    "net.ipv4.tcp_syn_retries",
    "net.core.somaxconn",
)
#: Addresses of either side that the scenario is told.
_ENDS_MAX: Final = 8


def circumstances_of(case: Case, judged: Judged) -> Circumstances:
    """Return what is known of the situation of a finding."""
    symptom, sign = judged.symptom, judged.sign
    account = sign.account
    because: dict[str, str] = {}
    first = str(symptom.proofs[0].where) if symptom.proofs and symptom.proofs[0].where else ""
    seen = str(account.row.where) if account else ""
    known: dict[str, object] = {}

    def note(name: str, value: object, place: str) -> None:
        if value is not None and value != ():
            known[name] = value
            because[name] = place

    if symptom.complained:
        because["limit"] = first
    calls = tuple(call for call in symptom.calls if all(call))
    note("fails", calls[0] if calls else None, first)
    note("strategy", strategy_of(judged), first or seen)
    sources, targets = _ends(case, judged)
    note("sources", sources, seen or first)
    note("targets", targets, seen or first)
    if symptom.kind is SymptomKind.FIXED_PORT:
        note("source_port", symptom.source_port, first)
    if symptom.kind is SymptomKind.LISTEN:
        note("service_port", symptom.source_port, first)
    if not case.settings.assumed:
        note("ports", case.settings.ports, f"{case.settings.where}, {RANGE}")
        reserved = case.evidence.sysctl(RESERVED)
        note("reserved", case.settings.reserved, f"{reserved.where}, {RESERVED}" if reserved else "")
    if account:
        note("in_use", account.row.in_use, seen)
        note("time_wait", account.row.time_wait, seen)
    sysctls = {name: reading for name in _SYSCTLS if (reading := case.evidence.sysctl(name))}
    if sysctls:
        known["sysctls"] = {name: reading.value for name, reading in sysctls.items()}
        because.update({f"sysctls.{name}": str(reading.where) for name, reading in sysctls.items()})
        because["sysctls"] = ", ".join(dict.fromkeys(str(reading.where) for reading in sysctls.values()))
    _of_host(case, judged, note)
    if sign.reason:
        note("reason", str(sign.reason), str(sign.proofs[0].where) if sign.proofs else first)
    return Circumstances(
        limit=judged.limit,
        transport=symptom.transport or (account.row.transport if account else Transport.TCP),
        because={name: place for name, place in because.items() if place},
        **known,  # type: ignore[arg-type]  # each by the name and type of its field
    )


def _of_host(case: Case, judged: Judged, note: Callable[[str, object, str], None]) -> None:
    files = [one for one in case.evidence.limits if one.name == "Max open files" and one.soft]
    if judged.limit == "descriptors" and files:
        note("descriptors", files[-1].soft, str(files[-1].where))
    if judged.limit == "nat-ports":
        for rule in case.evidence.rules:
            if ports := given_ports(rule):
                note("nat_ports", ports, str(rule.where))
    if judged.limit == "neighbours" and (size := case.number("net.ipv4.neigh.default.gc_thresh3")):
        note("neighbours", size.value, str(size.where))
    if judged.limit == "conntrack" and (most := case.number("net.netfilter.nf_conntrack_max")):
        note("tracked_max", most.value, str(most.where))
    if judged.limit == "backlog":
        for queue in case.full_queues[:1]:
            note("backlog", queue.backlog, str(queue.proof.where))


def _ends(case: Case, judged: Judged) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return sources and targets: of the space, for a source those of all its pairs, else of the complaint."""
    symptom, account = judged.symptom, judged.sign.account
    if account and account.row.scope == "pair":
        row = account.row
        return (row.source,), (str(Endpoint(row.destination, row.destination_port)),)
    if account:
        pairs = [one.row for one in case.pairs if one.row.source == account.row.source]
        targets = dict.fromkeys(str(Endpoint(one.destination, one.destination_port)) for one in pairs)
        return (account.row.source,), tuple(targets)[:_ENDS_MAX]
    return ((symptom.source,) if symptom.source else ()), (
        (symptom.to,) if symptom.target and symptom.target_port else ()
    )
