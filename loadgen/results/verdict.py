"""The one limit that stopped a run: its name, the evidence for it, and the changes that would move it.

Pure: a summary, its plan and the facts of the host in, a verdict out. docs/verdict.md has the limits for readers.

Which limit, when several left a trace:

- The symptom that cost the most connections wins, because removing its cause gains the most. Of two symptoms with the
  same count the one nearer to loadgen wins, since a plan is easier to change than a network.
- An arrival that never started has no errno. In a run that was cut off, the cut is its cause. In a run
  that came to its end it waited for room, and the cause is the limit on that room: a resource that ran
  out, else a target that left attempts or, for most of the time, exchanges waiting, else the window itself.
- Where nothing failed, the symptoms are, in this order: a run that was cut off, connects that a repeated SYN made
  late, a connection whose cost rose, a pause of loadgen, arrivals that started late, heartbeats without an answer.
- Of the limits that share the symptom, those that the evidence rules out are never named. The one with most evidence
  is the limit. Where others have as much, or cannot be seen from here, the verdict is open and names them, with the
  look that decides.
- What hurts beside the limit stands in the sentences after it.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from loadgen.capacity.limits import LIMITS
from loadgen.capacity.remedies import keep_for_listeners
from loadgen.model import Plan
from loadgen.results import ports_verdict, verdict_text
from loadgen.results.evidence import RULES
from loadgen.results.run_facts import WALLS, RunFacts
from loadgen.results.schema import files
from loadgen.results.schema.host import Host
from loadgen.results.schema.run import RefutedLimit, RemedyResult, RunSummary, VerdictResult
from loadgen.results.weighing import NOTHING_KNOWN, Reasoned, Weight, weigh

#: Symptoms without an errno, and the limits that may be behind them. Of an errno, `LimitRow.explains` says so.
_LATE, _COSTLY, _BEHIND = "late", "costly", "behind"
_SYMPTOMS: Final = {
    _LATE: ("conntrack", "nat-ports", "backlog", "syn-loss", "target-time-wait"),
    _COSTLY: ("port-search", "generator"),
    _BEHIND: ("port-search", "generator"),
}


def decide(summary: RunSummary, plan: Plan, host: Host) -> VerdictResult:
    """Return the verdict of a summary that has everything but its verdict."""
    run = RunFacts(summary, plan, host)
    reasoned = reason(run)
    limit = reasoned.limit
    named = reasoned.candidates or (limit,)
    remedies = [remedy for name in named for remedy in LIMITS[name].remedies(run.situation(name))]
    remedies = list({remedy.text: remedy for remedy in (*remedies, *keep_for_listeners(run.situation(limit)))}.values())
    findings = tuple(verdict_text.findings(run, named))
    looks = (LIMITS[name].look.format(target=run.target(name)) for name in reasoned.candidates)
    return VerdictResult(
        limit=limit,
        text=verdict_text.text(run, reasoned, findings),
        predicted=run.predicted,
        observed=run.observed,
        evidence=tuple(verdict_text.evidence(run, reasoned)),
        remedies=tuple(remedy.sentence for remedy in remedies),
        remedies_detail=tuple(files.convert(remedy.to_json(), RemedyResult) for remedy in remedies),
        confidence=reasoned.confidence,
        candidates=reasoned.candidates,
        decide_by=tuple(dict.fromkeys(filter(None, looks))),
        refuted=reasoned.refuted,
        findings=findings,
    )


def reason(run: RunFacts) -> Reasoned:
    """Find the symptom that counts, and judge the limits that may be behind it."""
    symptom = _symptom(run)
    if symptom in WALLS:
        reasoned = _of_ports(run, symptom)
        return reasoned if reasoned.limit != "blackhole" else _judged(run, "blackhole")
    return _judged(run, symptom)


def _symptom(run: RunFacts) -> str:
    """Return the limit that most connections point at, or one of the symptoms without an errno, or "none"."""
    counts = Counter(run.counts)
    if run.denied_in_passing:
        for name in WALLS:
            counts.pop(name, None)
    if counts["self-connect"]:
        # The same closed port, met by connects that did not happen to be given its number.
        counts["self-connect"] += counts.pop("refused", 0)
    late = bool(run.late_s or (run.late and run.overflows))
    costly = RULES["port-search"](run).weight >= Weight.STRONG
    if not run.summary.complete:
        cut = "interrupted" if "interrupt" in (run.summary.incomplete_because or "") else "incomplete"
        counts[cut] += run.not_started + run.summary.outcomes.in_flight
        if run.lost_a_sink:  # with its connections, and those that it would have accepted
            counts[cut] += counts.pop("lost", 0) + counts.pop("refused", 0)
    elif run.not_started:
        used_up = [name for name, row in LIMITS.items() if row.of_this_host and counts[name]]
        if used_up:
            cause = max(used_up, key=lambda name: counts[name])
        elif counts["blackhole"]:
            cause = "blackhole"
        elif run.held_up_by_exchanges:
            cause = "unanswered"
        else:
            cause = _LATE if late else _COSTLY if costly else "paused" if run.paused else "in-flight"
        counts[cause] += run.not_started
    order = [name for name in (*LIMITS, *_SYMPTOMS) if name in counts]
    if order:
        return max(order, key=lambda name: counts[name])  # the first of equals
    if late:
        return _LATE
    if run.paused and not costly:
        return "paused"
    if not run.summary.generator.trustworthy:
        return _BEHIND
    return _COSTLY if costly else "unanswered" if run.missed else "none"


def _candidates(symptom: str) -> list[str]:
    if symptom in _SYMPTOMS:
        return list(_SYMPTOMS[symptom])
    return [name for name, row in LIMITS.items() if symptom in row.explains and (name == symptom or name in RULES)]


def _judged(run: RunFacts, symptom: str) -> Reasoned:
    """Return the limit with most evidence among those that may be behind a symptom."""
    candidates = _candidates(symptom)
    if not any(name in RULES for name in candidates):
        return Reasoned(symptom)
    judged = {name: RULES[name](run) if name in RULES else NOTHING_KNOWN for name in candidates}
    return weigh(symptom, judged)


def _of_ports(run: RunFacts, wall: str) -> Reasoned:
    """Return why a run found no port: every one in use by the run, in TIME-WAIT, or held by others."""
    limit, confidence, refuted = ports_verdict.why_no_port(run, wall)
    return Reasoned(
        limit,
        confidence,
        refuted=tuple(RefutedLimit(limit=name, because=because) for name, because in refuted.items()),
    )
