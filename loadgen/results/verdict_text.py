"""The words of a verdict: its sentence, the findings beside it, and its evidence with the numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from loadgen.capacity.limits import LIMITS
from loadgen.format import latency, rate
from loadgen.kernel import release, retransmission
from loadgen.model import Engine
from loadgen.outcomes import Outcome
from loadgen.results.evidence import RULES, through
from loadgen.results.run_facts import RunFacts, pointed_at
from loadgen.results.weighing import Reasoned

_LINES: Final = 3
#: Share of the connections that were reset and are few, as a race has them, and processors from which on it is likely.
_FEW_RESETS, _MANY_CPUS = 0.001, 8
#: Limits whose symptom is a SYN without an answer.
_OF_SYNS: Final = frozenset(name for name, row in LIMITS.items() if "blackhole" in row.explains) - {"unanswered"}


def text(run: RunFacts, reasoned: Reasoned, found: Sequence[str]) -> str:
    """Return the sentence of a verdict, for ports or churn the one on what was predicted, and the findings.

    A run that something hurt did not meet "no limit": then its first sentence says what it did, and no more.
    """
    if reasoned.limit == "none" and found:
        first = f"{_head(run)}.{_churn_note(run) if run.plan.churn else ''}"
    else:
        first = _sentence(run, reasoned)
    return " ".join((first, *found))


def _sentence(run: RunFacts, reasoned: Reasoned) -> str:
    limit = reasoned.limit
    reason = _reason(run, limit)
    if reasoned.candidates[1:] and limit == "blackhole":  # which only says what was seen
        others = " or ".join(_reason(run, name) for name in reasoned.candidates[1:])
        reason = f"{reason}; it may be that {others}"
    elif reasoned.candidates[1:]:
        reason = "either " + ", or ".join(_reason(run, name) for name in reasoned.candidates)
    elif reasoned.confidence == "likely":
        reason = f"most likely {reason}"
    reason += _errors(run, reasoned)
    return f"{_head(run)}: {reason}.{_churn_note(run) if run.plan.churn else _note(run, limit)}"


def _reason(run: RunFacts, limit: str) -> str:
    plan, summary = run.plan, run.summary
    doubts = summary.generator.reasons or ("it did not keep up",)
    reason = LIMITS[limit].sentence.format(
        target=run.target(limit),
        not_started=run.not_started,
        window=plan.in_flight_max,
        not_started_too=f" with {run.not_started:,} connections not started" if run.not_started else "",
        because=summary.incomplete_because or "the reason is unknown",
        doubt=doubts[0],
        pause=run.paused[0] if run.paused else "it is not known how",
        translator="the gateway" if run.behind_nat else "this host",
    )
    if limit == "in-flight" and plan.churn:
        full = (
            "were open, as many as may be" if plan.workers == 1 else "may be open, and a worker had its share of them"
        )
        reason = f"{run.not_started:,} connections never started: {plan.connections:,} {full}"
    if limit == "path-limit" and run.partly:
        reason += f": {through(run)}"
    if limit == "wrong-reply" and summary.traffic:
        reason += f" ({summary.traffic.wrong:,} wrong, {summary.traffic.replies:,} right)"
    if limit == "unanswered" and summary.heartbeat and not run.counts["unanswered"]:
        reason += f" ({run.missed:,} heartbeats were missed, {summary.heartbeat.answered:,} answered)"
    return reason


def _errors(run: RunFacts, reasoned: Reasoned) -> str:
    """Return the most frequent failure that the limit explains, and what never started."""
    explained = frozenset().union(*(LIMITS[name].explains for name in reasoned.candidates or (reasoned.limit,)))
    own = [error for error in run.summary.errors if pointed_at(error) in explained]
    if not own:
        return (
            f" (connect {latency(run.late_s * 1e6)} at the 99th percentile)"
            if run.late_s and reasoned.indication.supports
            else ""
        )
    worst = max(own, key=lambda error: error.count)
    also = f", and {run.not_started:,} connections never started" if run.not_started else ""
    return f" ({worst.syscall} {worst.errno} {_times(worst.count)}){also}"


def _head(run: RunFacts) -> str:
    """Return the first half of the sentence, which says what the run did; the reason follows."""
    established, lost = run.summary.outcomes.established, run.summary.open.lost
    of_these = f"of which {lost:,} {'was' if lost == 1 else 'were'} lost"
    if run.plan.only_listens:
        accepted = run.summary.sink.accepted if run.summary.sink else 0
        return f"{accepted:,} connections of other agents accepted"
    if churn := run.summary.churn:
        ended = f", {of_these}" if lost else ""
        head = f"{established:,} connections opened and closed in {churn.lasted_s:.1f} s{ended}"
        return f"{head}, {rate(churn.sustained_per_s)} sustained"
    if not established:
        return f"None of {run.plan.connections:,} connections opened"
    hold_s = run.summary.phases.hold_s or 0.0
    held = f", held {hold_s:.0f} s" if hold_s >= 1 else ""
    kept = of_these if lost else "with none lost"
    pace = f"{run.summary.rate_per_s.established_mean:,.0f}/s"
    return f"{established:,} of {run.plan.connections:,} connections opened at {pace}{held} {kept}"


def _churn_note(run: RunFacts) -> str:
    """Return the ceiling that was predicted for churn, and whether it came true."""
    ceiling, churn = run.plan.ceiling, run.summary.churn
    if ceiling is None or churn is None or churn.as_predicted is None:
        return ""
    came_true = churn.as_predicted
    if ceiling.per_s is None:
        return "" if came_true else f" No ceiling was predicted ({ceiling.because})."
    at_most = f"at most {rate(ceiling.per_s)} for long ({ceiling.because})"
    return f" As predicted, {at_most}." if came_true else f" Predicted was otherwise: {at_most}."


def _note(run: RunFacts, limit: str) -> str:
    """Return a sentence on the ports that a run without a free port was predicted to have and did not."""
    short = (run.predicted or 0) - run.observed - run.waiting
    if not LIMITS[limit].uses_ports or short <= 0 or run.summary.open.lost:
        return ""
    where = "in TIME-WAIT" if limit == "time-wait" else "held by others"
    ports = "port is" if short == 1 else "ports are"
    return f" {run.predicted:,} predicted, {run.observed:,} observed: {short:,} {ports} {where}."


# --- What hurts beside the limit ------------------------------------------------------------------


def findings(run: RunFacts, named: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each thing that hurts and that none of these limits explains."""
    if run.tcp and not _OF_SYNS.intersection(named):
        yield from _syn_findings(run)
    if denied := run.denied_in_passing:
        yield f"{denied:,} of {run.observed + denied:,} attempts found no free port."
    rise = run.cost_rise
    if rise and "port-search" not in named:
        times = rise.after_us / rise.before_us if rise.before_us else 0.0
        yield (
            f"A connection came to cost {times:.0f} times as much CPU time, {rise.after_us:,.0f} us, from the "
            f"{_ordinal(rise.tenth + 1)} tenth on{_by_search(run)}."
        )
    if not {"generator", "port-search", "paused"}.intersection(named):
        if not run.summary.generator.trustworthy:
            yield f"Its latencies are also loadgen's own: {run.summary.generator.reasons[0]}."
        # With io_uring the connections of one system call share their instants, in every run.
        if run.delayed_here and run.plan.engine is Engine.EPOLL:
            yield f"Connect latency is mostly this host's own: {run.delayed_here}."
    if (because := run.summary.incomplete_because) and not {"incomplete", "interrupted"}.intersection(named):
        yield f"The run was cut off: {because}."
    yield from _few_resets(run)
    yield from _probe_findings(run)


def _syn_findings(run: RunFacts) -> Iterator[str]:
    if run.late:
        where = "the network or the target's queue lost them"
        if RULES["syn-loss"](run).refuted:
            where = RULES["syn-loss"](run).refuted
        elif run.overflows == 0:
            where = "they were lost on the way, as the listener's queue was never full"
        elif run.overflows:
            where = "the listener's queue was full"
        worst = run.summary.latency_us.connect.max or run.summary.latency_us.connect.p999
        again = f"{run.syns_again:,} SYNs were" if run.syns_again and run.syns_again > 1 else "a SYN was"
        yield f"{run.late:,} connections opened late, up to {latency(worst)}, because {again} sent again: {where}."
    elif run.overflows:
        yield f"The listener's queue was full for {run.overflows:,} packets (ListenOverflows {run.where_listener})."


def _few_resets(run: RunFacts) -> Iterator[str]:
    """Yield that a few resets may be the kernel's own doing, where both ends are on a kernel that is known for it."""
    resets = sum(error.count for error in run.summary.errors if error.errno == "ECONNRESET")
    established, cpus = run.summary.outcomes.established, run.host.cpus or 0
    if not resets or resets > _FEW_RESETS * established or cpus < _MANY_CPUS or not run.kernel_of_targets:
        return
    if release.may_miss_sockets(run.kernel_of_targets):
        yield (
            f"{resets:,} of {established:,} connections were reset, which may be the kernel's own doing: on many cores "
            f"Linux {run.kernel_of_targets} can miss a socket that it is just replacing, after accept() or at "
            f"TIME-WAIT (fixed in {release.lookup_fixed_in()}). `perf trace -e tcp:tcp_send_reset` decides: NO_SOCKET "
            "as the reason (Linux 6.10), for a connection that is open."
        )


def _by_search(run: RunFacts) -> str:
    searches = run.plan.strategy.over(run.plan.transport).cliff_at is not None
    return f": strategy {run.plan.strategy} searches for a port" if searches else ""


def _probe_findings(run: RunFacts) -> Iterator[str]:
    for name, probe in run.summary.probes.items():
        if probe.endpoint:
            by = f", which is {probe.holders}" if probe.held_by else ""
            yield f"Probe {name} could not listen on {probe.endpoint}{by}."


def _ordinal(number: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")


# --- Evidence -------------------------------------------------------------------------------------


def evidence(run: RunFacts, reasoned: Reasoned) -> list[str]:
    """Return the facts behind a verdict, with their numbers; [] where no limit was met."""
    limit = reasoned.limit
    if limit == "none":
        return []
    errors = sorted(run.summary.errors, key=lambda error: -error.count)
    facts = [f"{error.syscall} {error.errno} {_times(error.count)}" for error in errors[:_LINES]]
    facts += reasoned.indication.supports
    if limit == "lost":
        ways = {error.errno for error in errors if error.outcome == Outcome.LOST}
        facts += ["EOF is the other side's orderly close"] if "EOF" in ways else []
        facts += ["ECONNRESET is its RST, or one from a box between"] if "ECONNRESET" in ways else []
        facts += ["ECONNREFUSED is an ICMP port unreachable"] if "ECONNREFUSED" in ways else []
        facts += ["ETIMEDOUT is data that was never acknowledged"] if "ETIMEDOUT" in ways else []
    traffic = run.summary.traffic
    if run.wrong and traffic and limit in ("wrong-reply", "lost", "unanswered"):
        facts.append(f"{traffic.wrong:,} replies were wrong")
    if run.missed and limit in ("wrong-reply", "lost", "unanswered"):
        facts.append(f"{run.missed:,} heartbeats were missed")
    if LIMITS[limit].uses_ports:
        facts += _of_ports(run)
    if limit == "descriptors" and (most := run.plan.descriptor_limit or run.host.descriptors):
        facts.append(f"{most:,} descriptors in a worker at most (RLIMIT_NOFILE), workers: {run.plan.workers}")
    for name in LIMITS[limit].counters:
        facts += [f"{name} {value:+,}{where}" for where, value in _moved(run, name)]
    if limit in _OF_SYNS:
        facts += _of_syns(run)
    if run.not_started:
        facts.append(f"{run.not_started:,} connections never started")
    if limit == "paused":
        facts += run.paused
    if limit in ("interrupted", "incomplete"):
        facts.append(run.summary.incomplete_because or "the run left no reason")
    return facts


def _of_syns(run: RunFacts) -> Iterator[str]:
    """Yield when this host sends a SYN again, for a run that waited for answers, and whether its SYNs ask for ECN."""
    if not run.silent and not run.late:
        return
    if times := run.syn_times:
        yield f"this host sends a SYN {times.text}; an attempt had {run.plan.timeout_s:g} s (`timeout`)"
    if run.host.sysctls.get(retransmission.ECN) in retransmission.ASKS_FOR_ECN:
        yield "every SYN of this host asks for ECN (tcp_ecn), and some boxes on the way drop such SYNs"


def _of_ports(run: RunFacts) -> Iterator[str]:
    unit = "four-tuples" if run.plan.shares_ports else "source ports"
    failing = [] if run.plan.churn else [space for space in run.spaces if space.failed]
    for name, opened, capacity, _ in failing[:_LINES]:
        yield f"{name}: {opened:,} of {capacity:,} {unit} in use"
    if len(failing) > _LINES:
        yield f"and {len(failing) - _LINES:,} more like these"
    if ceiling := run.plan.ceiling:
        yield ceiling.because
    if run.time_wait:
        yield f"{run.time_wait:,} sockets in TIME-WAIT while connections were opened"
    if run.waiting:
        yield f"{run.waiting:,} four-tuples held by attempts without an answer"


def _moved(run: RunFacts, name: str) -> Iterator[tuple[str, int]]:
    """Yield the namespace in words and the increase of a counter, for each namespace in which it moved."""
    gateway = run.summary.kernel.gateway
    if gateway and (value := gateway.delta.get(name, 0)):
        yield " at the gateway", value
    if value := run.moved(name):
        yield (" on the whole host" if name.startswith(("softnet.", "neigh")) else ""), value
    if run.summary.kernel.sink and (value := run.summary.kernel.sink.delta.get(name, 0)):
        yield " in the sinks' namespace", value


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
