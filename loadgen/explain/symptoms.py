"""Complaints of the evidence, and which limits may be behind each: from (system call, errno) to candidates.

A symptom is a set of complaints that say the same about the same source and target, the failed calls of a trace, or
something that a listing or a counter shows without a complaint.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from loadgen.capacity.limits import LIMIT_OF_OUTCOME, LIMITS
from loadgen.explain.evidence import Complaint, Complaints, Evidence, Where
from loadgen.explain.explanation import Proof
from loadgen.format import count
from loadgen.kernel.route import reached
from loadgen.outcomes import Syscall, outcome_of
from loadgen.strategies import Strategy, Transport
from loadgen.trace.ways import Way

#: Symptoms of one kind that are kept apart by source and target; more of them are told as one.
_APART_MAX: Final = 8
#: Complaints whose words are quoted.
_QUOTED: Final = 3
#: "System calls" that are none, in words.
_CALLS: Final = {("wait", "ETIMEDOUT"): "time-out of connect()"}


class SymptomKind(StrEnum):
    """A failure, as far as call and errno tell; the values are the limits that these name."""

    CONNECT_NO_PORT = "four-tuples"
    BIND_NO_PORT = "source-ports"
    FIXED_PORT = "fixed-port"
    LISTEN = "listen"
    SOURCE = "source-address"
    SILENCE = "blackhole"
    FORBIDDEN = "forbidden"
    MEMORY = "memory"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    REUSE_OFF = "reuse-off"
    """tcp_tw_reuse is set, and has no effect"""
    NAMED = "named"
    """any other limit, which the message or the errno names"""


#: The limits that may be behind each kind, in the order of the table of limits.
CANDIDATES: Final = {
    SymptomKind.CONNECT_NO_PORT: ("four-tuples", "port-held", "time-wait", "source-address", "blackhole"),
    SymptomKind.BIND_NO_PORT: ("source-ports", "port-held", "time-wait"),
    SymptomKind.FIXED_PORT: ("time-wait", "port-held"),
    SymptomKind.LISTEN: ("port-held", "time-wait"),
    SymptomKind.SOURCE: ("source-address",),
    SymptomKind.SILENCE: ("blackhole", "conntrack", "nat-ports", "neighbours", "backlog", "syn-loss", "path-limit"),
    SymptomKind.FORBIDDEN: ("forbidden", "conntrack", "nat-ports"),
    SymptomKind.MEMORY: ("memory", "neighbours"),
    SymptomKind.UNREACHABLE: ("unreachable", "neighbours"),
    SymptomKind.RESET: ("reset", "backlog"),
    SymptomKind.REUSE_OFF: ("time-wait",),
}


@dataclass(frozen=True, slots=True)
class Symptom:
    """A complaint, or what is seen without one.

    kinds: more than one where the message does not tell the call. limits: those that may be behind it. count: how
    often. source_port, listening, transport: as of a complaint. calls: (system call, errno) by name, in lower and
    upper case. strategy: of the program, where a trace shows it. proofs: the words, and their places. complained:
    False where there is no complaint and the evidence only shows it. programs: those that complain.
    destinations: distinct ones, as far as a trace shows them.
    """

    kinds: tuple[SymptomKind, ...]
    limits: tuple[str, ...]
    count: int = 1
    source: str = ""
    source_port: int | None = None
    target: str = ""
    target_port: int = 0
    listening: bool | None = None
    transport: Transport | None = None
    calls: tuple[tuple[str, str], ...] = ()
    strategy: Strategy | None = None
    proofs: tuple[Proof, ...] = ()
    complained: bool = True
    programs: tuple[str, ...] = ()
    destinations: int = 1

    @property
    def kind(self) -> SymptomKind:
        """The first kind."""
        return self.kinds[0]

    @property
    def points_at(self) -> str:
        """The limit that the errno names: the one that only says what was seen, where nothing tells more."""
        return self.kind.value if self.kind.value in LIMITS else self.limits[0]

    @property
    def to(self) -> str:
        """The target in words, "10.0.0.7:80"; "" where it is not told."""
        if not self.target:
            return f"port {self.target_port}" if self.target_port else ""
        host = f"[{self.target}]" if ":" in self.target else self.target
        return f"{host}:{self.target_port}" if self.target_port else self.target

    @property
    def family(self) -> int | None:
        """4 or 6, by the target, else the source; None: they are names, or not told."""
        return _family(self.target) or _family(self.source)

    @property
    def on_loopback(self) -> bool:
        """True if source or target is a loopback address."""
        return any(_is_loopback(address) for address in (self.target, self.source) if address)

    @property
    def call(self) -> str:
        """The call and its errno in words: "connect EADDRNOTAVAIL"; "" where there is none."""
        return " or ".join(_CALLS.get(call, " ".join(call)) for call in self.calls)


def of_evidence(evidence: Evidence) -> list[Symptom]:
    """Return the symptoms that complaints and traces are about, those that came most often first."""
    traced = [one for way in evidence.ways for one in _of_way(way)]
    failures = (one for one in evidence.complaints if one.first.errno or one.first.limit)
    by_call = {(call, _file(one)): one for one in reversed(traced) for call in one.calls}
    told = [_traced(one, by_call) for one in map(_of_complaint, failures)]
    said = {(call, _file(one)) for one in told for call in one.calls}
    untold = [one for one in traced if not any((call, _file(one)) in said for call in one.calls)]
    return sorted(_together([*told, *untold]), key=lambda symptom: -symptom.count)


def _file(symptom: Symptom) -> str:
    return next((proof.where.file for proof in symptom.proofs if proof.where), "")


def _traced(told: Symptom, by_call: Mapping[tuple[tuple[str, str], str], Symptom]) -> Symptom:
    """Return a complaint with the strategy that a trace in the same file shows of the sockets that failed."""
    one = next((by_call[key] for call in told.calls if (key := (call, _file(told))) in by_call), None)
    if one is None or one.source not in ("", told.source):
        return told
    return replace(told, strategy=one.strategy, destinations=one.destinations, transport=one.transport)


def beside_the_kernel(evidence: Evidence) -> Iterator[Proof]:
    """Yield the messages that were understood, and are about no limit of the kernel."""
    for complaints in evidence.complaints:
        one = complaints.first
        if not one.errno and not one.limit:
            yield Proof(_quoted(complaints), one.where)


def _quoted(complaints: Complaints) -> str:
    one = complaints.first
    who = f"{one.program}: " if one.program else ""
    times = f" ({complaints.count:,} times)" if complaints.count > 1 else ""
    return f"{who}{one.text}{times}"


def _of_complaint(complaints: Complaints) -> Symptom:
    one = complaints.first
    calls = tuple((call.name.lower(), one.errno) for call in sorted(one.syscalls)) if one.errno else ()
    kinds, limits = _about(one)
    return Symptom(
        kinds=kinds,
        limits=limits,
        count=complaints.count,
        source=one.source,
        source_port=one.source_port,
        target=one.target if one.listening else reached(one.target, one.source),
        target_port=one.target_port,
        listening=one.listening,
        # connect() says EAGAIN over UDP alone (connect(2): no port is free).
        transport=one.transport or (Transport.UDP if one.errno == "EAGAIN" else None),
        calls=calls,
        proofs=(Proof(_quoted(complaints), one.where),),
        programs=(one.program,) if one.program else (),
    )


def _about(one: Complaint) -> tuple[tuple[SymptomKind, ...], tuple[str, ...]]:
    if one.limit:
        return (SymptomKind.NAMED,), (one.limit,)
    # Where the call is not told, it is most often connect().
    calls = sorted(one.syscalls, key=lambda call: call is not Syscall.CONNECT) or [Syscall.CONNECT]
    return _joined(kind for call in calls for kind in _kinds(call, one))


def _joined(found: Iterable[tuple[SymptomKind, str]]) -> tuple[tuple[SymptomKind, ...], tuple[str, ...]]:
    kinds: dict[SymptomKind, None] = {}
    limits: dict[str, None] = {}
    for kind, limit in found:
        kinds[kind] = None
        limits.update(dict.fromkeys(CANDIDATES.get(kind, (limit,))))
    # A limit that one call has is a candidate whatever the other would mean.
    return tuple(kinds), tuple(limits)


def _kinds(call: Syscall, one: Complaint) -> Iterator[tuple[SymptomKind, str]]:
    """Yield what a failed call is about, and the limit that it names with its errno."""
    if call is Syscall.BIND and one.errno == "EADDRINUSE" and one.transport is not Transport.UDP:
        if one.source_port:
            yield (
                (SymptomKind.FIXED_PORT if one.listening is False or one.target else SymptomKind.LISTEN),
                "source-ports",
            )
            return
        if one.source_port is None and one.listening is not False:
            yield SymptomKind.LISTEN, "source-ports"
            if one.listening:
                return
    limit = _limit_of(call, one.errno, one.transport)
    yield (SymptomKind(limit), limit) if limit in set(SymptomKind) else (SymptomKind.NAMED, limit)


def _limit_of(call: Syscall, name: str, transport: Transport | None) -> str:
    """Return the limit that call and errno name; "other" where they name none."""
    number = getattr(errno, name, None)
    if not isinstance(number, int):
        return "other"
    if call is Syscall.SEND and name == "EAGAIN" and transport is Transport.UDP:  # sendto() binds, as connect() does
        call = Syscall.CONNECT
    return LIMIT_OF_OUTCOME.get(outcome_of(call, number), "other")


def _of_way(way: Way) -> Iterator[Symptom]:
    for (call, name), times in way.failed.items():
        try:
            syscall = Syscall[call.upper()]
        except KeyError:
            continue
        words = way.calls[-1] if way.calls else f"{call}()"
        again = f", {count(times)} times" if times > 1 else ""
        place = Where(way.file, way.line)
        as_told = Complaint(
            way.command,
            frozenset({syscall}),
            name,
            words,
            place,
            source_port=way.source_port,
            listening=False,
            transport=way.transport,
        )
        kinds, limits = _joined(_kinds(syscall, as_told))
        yield Symptom(
            kinds=kinds,
            limits=limits,
            count=times,
            source=way.source,
            source_port=way.source_port,
            target=way.target if way.targets <= 1 else "",
            target_port=way.target_port if way.targets <= 1 else 0,
            listening=False,
            transport=way.transport,
            calls=((call.lower(), name),),
            strategy=way.strategy,
            proofs=(Proof(f"{way.command or 'strace'}: {call} {name}{again}: {words}", place),),
            programs=(way.command,) if way.command else (),
            destinations=max(way.targets, 1),
        )


def _together(symptoms: Iterable[Symptom]) -> Iterator[Symptom]:
    """Join those that say the same of the same source and target; too many of a kind are one, without a target."""
    by_place: dict[tuple[object, ...], list[Symptom]] = {}
    for one in symptoms:
        named_port = one.source_port if one.kind in (SymptomKind.FIXED_PORT, SymptomKind.LISTEN) else None
        key: tuple[object, ...] = (
            *(one.kinds, one.limits, one.transport, one.strategy, named_port),
            *(one.source, one.to),
        )
        by_place.setdefault(key, []).append(one)
    by_kind: dict[tuple[object, ...], list[list[Symptom]]] = {}
    for key, members in by_place.items():
        by_kind.setdefault(key[:5], []).append(members)
    for places in by_kind.values():
        if len(places) <= _APART_MAX:
            yield from (joined(members) for members in places)
        else:
            yield joined([one for members in places for one in members])


def joined(members: list[Symptom]) -> Symptom:
    """Return several symptoms as one: of the source and target that they have in common."""
    first = max(members, key=lambda one: one.count)
    source, target, target_port = _in_common(members)
    listening = {one.listening for one in members}
    return Symptom(
        kinds=first.kinds,
        limits=first.limits,
        count=sum(one.count for one in members),
        source=source,
        source_port=first.source_port,
        target=target,
        target_port=target_port,
        listening=listening.pop() if len(listening) == 1 else None,
        transport=first.transport,
        calls=tuple(dict.fromkeys(call for one in members for call in one.calls)),
        strategy=first.strategy,
        complained=first.complained,
        proofs=tuple(proof for one in members[:_QUOTED] for proof in one.proofs),
        programs=tuple(dict.fromkeys(name for one in members for name in one.programs)),
        destinations=max(one.destinations for one in members),
    )


def with_complaints(symptom: Symptom, other: Symptom) -> Symptom:
    """Return a symptom with the complaints of another one of the same source and target."""
    return replace(
        symptom,
        count=symptom.count + other.count,
        calls=tuple(dict.fromkeys((*symptom.calls, *other.calls))),
        proofs=tuple(dict.fromkeys((*symptom.proofs, *other.proofs))),
        programs=tuple(dict.fromkeys((*symptom.programs, *other.programs))),
        complained=symptom.complained or other.complained,
    )


def _in_common(members: list[Symptom]) -> tuple[str, str, int]:
    """Return source, target and its port, as far as all say the same, or nothing; "" and 0 where they differ."""
    sources = {one.source for one in members if one.source}
    targets = {one.target for one in members if one.target}
    ports = {one.target_port for one in members if one.target_port}
    source = sources.pop() if len(sources) == 1 else ""
    if len(targets) != 1 or len(ports) > 1:
        return source, (targets.pop() if len(targets) == 1 else ""), 0
    return source, targets.pop(), (ports.pop() if ports else 0)


def _family(address: str) -> int | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).version
    except ValueError:
        return None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address == "localhost"
