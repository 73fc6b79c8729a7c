"""From the evidence to the answer: findings, most likely first, with their remedies, and what is missing to decide.

Each symptom (`loadgen.explain.symptoms`) has the limits that may be behind it; their rules are weighed against each
other. What the evidence shows without a complaint is a symptom as well: a space that is nearly full, a queue
or a table that is, an address that cannot be used. Findings that say the same of several targets are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.explain import accounts, advice, missing, observed, symptoms, words
from loadgen.explain.case import FULL, Case
from loadgen.explain.evidence import Evidence
from loadgen.explain.explanation import Explanation, Finding, Proof, SpaceRow
from loadgen.explain.rules import RULES, Sign, host, silence
from loadgen.explain.rules.ports import space_of
from loadgen.explain.rules.sign import NOTHING
from loadgen.explain.symptoms import Symptom, SymptomKind
from loadgen.results.weighing import Reasoned, Weight, weigh

#: In the order of likelihood.
_CONFIDENCES: Final = ("certain", "likely", "open")
#: Most findings, spaces and facts of a finding.
FINDINGS_MAX, SPACES_MAX, FACTS_MAX = 50, 1000, 12


@dataclass(frozen=True, slots=True)
class Judged:
    """A symptom and its limit. signs: of every candidate, by its name."""

    symptom: Symptom
    reasoned: Reasoned
    signs: dict[str, Sign]

    @property
    def limit(self) -> str:
        """The limit, or where it is open the first of them."""
        return self.reasoned.limit

    @property
    def named(self) -> tuple[str, ...]:
        """The limits that are named."""
        return self.reasoned.candidates or (self.limit,)

    @property
    def sign(self) -> Sign:
        """Sign of the limit, by its rule."""
        return self.signs.get(self.limit, NOTHING)


def explain(evidence: Evidence) -> Explanation:
    """Judge the evidence."""
    case = Case(evidence)
    judged = judge(case)
    return Explanation(
        findings=tuple(finding_of(case, one) for one in judged),
        spaces=tuple(_spaces(case, judged)),
        missing=tuple(missing.of(case, judged)),
        notes=tuple(symptoms.beside_the_kernel(evidence)),
        pieces=tuple(evidence.pieces),
        unread=tuple(evidence.unread),
        more_unread=evidence.more_unread,
    )


def judge(case: Case) -> list[Judged]:
    """Return the symptoms with their limits, most likely first."""
    complained = [_judged(case, one) for one in symptoms.of_evidence(case.evidence)]
    shown = [
        judged
        for one in observed.of_case(case)
        if (judged := _judged(case, one)).limit != "none" and not _explained(judged, complained)
    ]
    return _once_each(case, _in_order(_merged([*complained, *shown])))[:FINDINGS_MAX]


def _judged(case: Case, symptom: Symptom) -> Judged:
    symptom = _settled(case, symptom)
    signs = {name: RULES[name](case, symptom) if name in RULES else NOTHING for name in symptom.limits}
    reasoned = weigh(symptom.points_at, signs)
    best = signs.get(reasoned.limit, NOTHING)
    # What is left because its neighbours are ruled out is not shown by that; an errno that names its limit is enough.
    if reasoned.confidence == "certain" and best.weight < Weight.SHOWN and reasoned.limit not in host.RULES:
        reasoned = replace(reasoned, confidence="likely")
    if best.doubt:
        reasoned = replace(reasoned, confidence="open", candidates=reasoned.candidates or (reasoned.limit,))
    return Judged(symptom, reasoned, signs)


def _settled(case: Case, symptom: Symptom) -> Symptom:
    """Return a bind() that may be of a client or a service as that of a client, where the evidence shows that it is.

    A client, if its port has connections, all to ports outside the range, as services have; or if no port is left to
    any client.
    """
    peers = case.peers(symptom.source_port) if symptom.source_port else set()
    of_services = bool(peers) and not any(port in case.settings.ports for port in peers)
    if symptom.kinds == (SymptomKind.LISTEN,) and symptom.listening is None and of_services:
        fixed = (SymptomKind.FIXED_PORT,)
        return replace(symptom, kinds=fixed, limits=symptoms.CANDIDATES[SymptomKind.FIXED_PORT])
    if symptom.kinds != (SymptomKind.LISTEN, SymptomKind.BIND_NO_PORT) or not symptom.source:
        return symptom
    account = space_of(case, replace(symptom, kinds=(SymptomKind.BIND_NO_PORT,)), by_source=True)
    if account is None or account.share < FULL:
        return symptom
    return replace(symptom, kinds=(SymptomKind.BIND_NO_PORT,), limits=symptoms.CANDIDATES[SymptomKind.BIND_NO_PORT])


def _explained(shown: Judged, complained: Sequence[Judged]) -> bool:
    """Return True if a finding with a complaint names the same limit of the same place already."""
    return any(
        (shown.limit in one.named and _same_place(shown, one)) or _same_account(shown, one) for one in complained
    )


def _same_account(some: Judged, other: Judged) -> bool:
    return some.sign.account is not None and some.sign.account == other.sign.account


def _same_place(some: Judged, other: Judged) -> bool:
    if some.sign.account and other.sign.account:
        mine, others = some.sign.account.row, other.sign.account.row
        if mine.scope != others.scope:  # the sum of a source and one of its pairs
            return mine.source == others.source and mine.transport == others.transport
        return mine == others
    return some.sign.account is None and other.sign.account is None


def _merged(judged: Iterable[Judged]) -> list[Judged]:
    """Join findings that say the same of the same space, for the same facts, or else of the same target."""
    found: dict[tuple[object, ...], Judged] = {}
    for one in judged:
        account = one.sign.account
        what = account.row if account else one.sign.proofs or (one.symptom.kinds, one.symptom.source, one.symptom.to)
        key = (one.limit, one.reasoned.confidence, one.reasoned.candidates, what)
        known = found.get(key)
        found[key] = replace(known, symptom=symptoms.joined([known.symptom, one.symptom])) if known else one
    return list(found.values())


def _once_each(case: Case, judged: Iterable[Judged]) -> list[Judged]:
    """Join findings of one limit, source and target, however sure: the surest stays, with the complaints of all."""
    found: dict[tuple[str, str, str], Judged] = {}
    for one in judged:
        key = (one.limit, _source(one), _target(case, one))
        known = found.get(key)
        found[key] = replace(known, symptom=symptoms.with_complaints(known.symptom, one.symptom)) if known else one
    return list(found.values())


def _in_order(judged: Iterable[Judged]) -> list[Judged]:
    def key(one: Judged) -> tuple[object, ...]:
        return _CONFIDENCES.index(one.reasoned.confidence), not one.symptom.complained, -one.symptom.count

    return sorted(judged, key=key)


def finding_of(case: Case, judged: Judged) -> Finding:
    """Return a finding with its sentence, its facts and its remedies."""
    symptom, reasoned = judged.symptom, judged.reasoned
    times = silence.times(case) if SymptomKind.SILENCE in symptom.kinds else ()
    proofs = (*symptom.proofs, *judged.sign.proofs, *_others(judged), *times)
    return Finding(
        limit=judged.limit,
        confidence=reasoned.confidence,
        text=words.sentence(judged),
        source=_source(judged),
        target=_target(case, judged),
        candidates=reasoned.candidates,
        evidence=tuple(dict.fromkeys(proofs))[:FACTS_MAX],
        refuted=tuple((one.limit, one.because) for one in reasoned.refuted if one.limit not in judged.named),
        looks=tuple(_looks(case, judged)),
        remedies=tuple(advice.remedies(case, judged)),
    )


def _source(judged: Judged) -> str:
    """Return the source address, with the port where it is about one port: of a service, or of such a client."""
    symptom, account = judged.symptom, judged.sign.account
    if symptom.kind in (SymptomKind.LISTEN, SymptomKind.FIXED_PORT) and symptom.source_port:
        host = f"[{symptom.source}]" if ":" in symptom.source else symptom.source
        return f"{host}:{symptom.source_port}"
    return symptom.source or judged.sign.source or (account.row.source if account else "")


def _target(case: Case, judged: Judged) -> str:
    """Return the target, with its port where the complaint or the space has it; of a full queue the listener."""
    symptom, account = judged.symptom, judged.sign.account
    if account and account.row.scope == "pair" and not (symptom.target and symptom.target_port):
        return words.target_of(account)
    if not symptom.to and judged.limit == "backlog" and case.full_queues:
        return case.full_queues[0].listener
    return symptom.to


def _others(judged: Judged) -> Iterator[Proof]:
    """Yield the facts for the other candidates of an open finding."""
    for name in judged.reasoned.candidates[1:]:
        yield from judged.signs[name].proofs


def _looks(case: Case, judged: Judged) -> Iterator[str]:
    """Yield what would tell the candidates apart: the table of limits says it, or what is missing does."""
    if judged.reasoned.confidence != "open":
        return
    said: dict[str, None] = {}
    for name in judged.named:
        if look := EVERY_LIMIT[name].look:
            said[look.format(target=judged.symptom.to or "the target")] = None
        else:
            said.update(
                {f"run `{one.command}`: {one.decides}": None for one in missing.of_limit(case, name, judged.symptom)}
            )
    if not said and not any(missing.of(case, [judged])):
        said["look again while it fails: `ss -tanp`, and `loadgen watch --once` for what ss does not show"] = None
    yield from said


def _spaces(case: Case, judged: Sequence[Judged]) -> Iterator[SpaceRow]:
    """Yield the sockets of each port that a complaint names, then the accounts, the fullest first."""
    named = [
        one.symptom.source_port for one in judged if one.symptom.kind in (SymptomKind.LISTEN, SymptomKind.FIXED_PORT)
    ]
    queues = [queue.port for queue in case.full_queues] if any("backlog" in one.named for one in judged) else []
    for port in dict.fromkeys(filter(None, (*named, *queues))):
        if row := accounts.of_port(case.evidence.listings, port):
            yield row
    yield from (account.row for account in case.accounts[:SPACES_MAX])
