"""The one limit that stopped a run: its name, the numbers behind it, and the changes that would move it.

Pure: a summary, its plan and the facts of the host in, a verdict out. docs/verdict.md has the limits for readers.

Which limit, when several left a trace:

- The cause that cost the most connections wins, because removing it gains the most. Each cause is counted
  in connections that did not open, or did not stay open; of two causes with the same count the one nearer
  to loadgen wins, since a plan is easier to change than a network.
- An arrival that never started has no errno. In a run that was cut off, the cut is its cause. In a run
  that came to its end it waited for room, and the cause is the limit on that room: a resource that ran
  out, else a target that left attempts waiting, else the window itself.
- An errno says that a port is not free, not why. So a space of four-tuples that was (nearly) full is
  the wall, and one that was not has its ports elsewhere: in TIME-WAIT if there were enough of those,
  else with other processes.
- Time-outs are the accept queue when the kernel counted an overflow or connects came in at the times of
  repeated SYNs; the tracking table when that was near its end; else silence is all that is known.
- Where nothing failed, what cut the run off comes first, then doubts about the generator (its numbers
  are about itself, so nothing can be told about others), then connects that a repeated SYN made late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from loadgen.capacity.limits import LIMIT_OF_OUTCOME, LIMITS
from loadgen.capacity.remedies import Situation
from loadgen.format import rate
from loadgen.model import Plan, Transport
from loadgen.outcomes import Outcome
from loadgen.results.schema import files
from loadgen.results.schema.host import Host
from loadgen.results.schema.run import ErrorCount, RemedyResult, RunSummary, VerdictResult
from loadgen.strategies import PortScope

#: System calls on open connections: a failure in them is a lost connection, not a failed attempt.
_ON_OPEN: Final = frozenset({"recv", "send", "tls"})

#: Limits that an errno of an attempt without a port points at.
_WALLS: Final = frozenset({LIMIT_OF_OUTCOME[Outcome.NO_FREE_FOUR_TUPLE], LIMIT_OF_OUTCOME[Outcome.NO_FREE_PORT]})
#: A space of four-tuples this full is the wall; a note says where the other ports are.
_NEARLY_FULL: Final = 0.9
#: Share of heartbeats without an answer in time that is more than a passing delay.
_MISSED_SHARE: Final = 0.01
#: When the kernel sends a SYN again: once a second with tcp_syn_linear_timeouts (Linux 6.5), doubling without.
_SYN_RETRIES_S: Final = (1, 2, 3, 4, 5, 7, 11, 15)
_LINES: Final = 3


def decide(summary: RunSummary, plan: Plan, host: Host) -> VerdictResult:
    """Return the verdict of a summary that has everything but its verdict."""
    run = _RunFacts(summary, plan, host)
    limit = _limit(run)
    remedies = LIMITS[limit].remedies(run.situation)
    return VerdictResult(
        limit=limit,
        text=_text(run, limit),
        predicted=run.predicted,
        observed=run.observed,
        evidence=tuple(_evidence(run, limit)),
        remedies=tuple(remedy.sentence for remedy in remedies),
        remedies_detail=tuple(files.convert(remedy.to_json(), RemedyResult) for remedy in remedies),
    )


@dataclass(frozen=True)
class _RunFacts:
    """The figures of a run that the rules read, each computed once."""

    summary: RunSummary
    plan: Plan
    host: Host

    @property
    def predicted(self) -> int | None:
        if self.plan.churn:
            return self.plan.ceiling.established if self.plan.ceiling else None
        return min(self.plan.capacity, self.plan.connections)

    @property
    def observed(self) -> int:
        if self.plan.churn:
            return self.summary.outcomes.established
        return self.summary.open.peak

    @property
    def not_started(self) -> int:
        return self.summary.arrivals.not_started

    @property
    def delta(self) -> Mapping[str, int]:
        return self.summary.kernel.delta

    @cached_property
    def counts(self) -> Counter[str]:
        """Connections by the limit that their (system call, errno) points at."""
        counts: Counter[str] = Counter()
        for error in self.summary.errors:
            counts[_pointed_at(error)] += error.count
        # A time-out may end an attempt, or an open connection that waits for an answer.
        lost = sum(error.count for error in self.summary.errors if error.syscall in _ON_OPEN)
        unanswered = min(max(self.summary.open.lost - lost, 0), counts["blackhole"])
        counts["unanswered"] += unanswered
        counts["blackhole"] -= unanswered
        counts["wrong-reply"] += self.wrong
        return +counts

    @property
    def wrong(self) -> int:
        """Wrong replies; with heartbeats, of which a connection makes many, at most one for each connection."""
        if self.plan.transport is Transport.UDP:  # where a late reply counts as wrong, and any may get lost
            return 0
        heartbeat, traffic = self.summary.heartbeat, self.summary.traffic
        wrong = traffic.wrong if traffic else 0
        return min(wrong, heartbeat.connections) if heartbeat else wrong

    @property
    def missed(self) -> int:
        """Heartbeats that had no answer when the next was due; 0 below the share of a passing delay."""
        if self.plan.transport is Transport.UDP:
            return 0
        heartbeat = self.summary.heartbeat
        if heartbeat is None:
            return 0
        return heartbeat.missed if heartbeat.missed > _MISSED_SHARE * (heartbeat.missed + heartbeat.sent) else 0

    @cached_property
    def spaces(self) -> list[tuple[str, int, int, int]]:
        """(name, open at most, capacity, failed) of each space of ports: a pair, or a source that shares none."""
        spaces: dict[str, tuple[int, int, int]] = {}
        scope = self.plan.strategy.over(self.plan.transport).scope
        names = {PortScope.PAIR: "{source} -> {target}", PortScope.SOURCE: "{source}", PortScope.HOST: "this host"}
        for row in self.summary.sources:
            name = names[scope].format(source=row.source, target=row.target)
            opened, _, failed = spaces.get(name, (0, 0, 0))
            spaces[name] = (opened + row.peak_open, row.capacity, failed + row.failed)
        return [(name, *numbers) for name, numbers in spaces.items()]

    @cached_property
    def time_wait(self) -> int:
        """The most sockets in TIME-WAIT while connections were opened: those of the drain came too late."""
        return self.summary.kernel.ramp_peak.get("sockstat.tcp_tw", 0)

    @property
    def waiting(self) -> int:
        """Attempts that held a four-tuple without being open: SYN-SENT does."""
        return self.counts["blackhole"] + self.summary.outcomes.in_flight

    @cached_property
    def tracked(self) -> tuple[int, int]:
        """(entries of the connection tracking table with this run's in it, its size); (0, 0) without table or size.

        As sampled; of a run without samples as the host had it before, and one more for each connection.
        """
        peak = self.summary.kernel.peak
        if "conntrack.max" in peak:
            entries, size = peak.get("conntrack.count", 0), peak["conntrack.max"]
            return (entries, size) if entries and size else (0, 0)
        settings = (self.host.sysctls.get(f"net.netfilter.nf_conntrack_{key}", "") for key in ("count", "max"))
        count, size = (int(text) if text.isdecimal() else 0 for text in settings)
        return (count + self.observed, size) if count and size else (0, 0)

    @property
    def table_full(self) -> bool:
        """True when the tracking table explains silence: nearly full, or a packet dropped for each silent attempt.

        Some packets are dropped because two made the same entry, so a single one shows nothing.
        """
        entries, size = self.tracked
        dropped = self.delta.get("conntrack.drop", 0)
        return (size > 0 and entries >= 0.95 * size) or 0 < self.counts["blackhole"] <= dropped

    @property
    def overflowed(self) -> bool:
        return any(self.delta.get(f"TcpExt.{name}", 0) > 0 for name in ("ListenOverflows", "ListenDrops"))

    @cached_property
    def late_s(self) -> float:
        """The 99th percentile of connect, when it stands where a repeated SYN puts it; else 0."""
        connect = self.summary.latency_us.connect
        p50, p99 = connect.p50 / 1e6, connect.p99 / 1e6
        return p99 if p50 < 0.5 and any(n <= p99 <= 1.05 * n + 0.02 for n in _SYN_RETRIES_S) else 0.0

    @cached_property
    def target(self) -> str:
        """The target to name: the one that failed, or "the targets"."""
        failing = {row.target for row in self.summary.sources if row.failed}
        names = failing or {str(target.endpoint) for target in self.plan.targets}
        return names.pop() if len(names) == 1 else "the targets"

    @property
    def situation(self) -> Situation:
        """The facts that remedies are computed from."""
        return Situation(
            self.plan,
            self.host.facts(self.plan.ports),
            short=max((self.plan.scheduled or 0) - self.observed, 0),
            errnos=frozenset(error.errno for error in self.summary.errors),
            target=self.target,
            time_wait=self.time_wait,
        )


def _pointed_at(error: ErrorCount) -> str:
    """Return the limit that the outcome of an error points at, before the rules look closer."""
    try:
        return LIMIT_OF_OUTCOME[Outcome(error.outcome)]
    except ValueError:  # of a newer version
        return "other"


def _limit(run: _RunFacts) -> str:
    counts = Counter(run.counts)
    churn = run.summary.churn
    if churn and churn.as_predicted and run.plan.ceiling and not run.plan.ceiling.per_s:
        for name in _WALLS:  # every port was in use for a moment; that is no limit
            counts.pop(name, None)
    if counts["self-connect"]:
        # The same closed port, met by connects that did not happen to be given its number.
        counts["self-connect"] += counts.pop("refused", 0)
    if not run.summary.complete:
        cut = "interrupted" if "interrupt" in (run.summary.incomplete_because or "") else "incomplete"
        counts[cut] += run.not_started + run.summary.outcomes.in_flight
    elif run.not_started:
        used_up = [name for name, row in LIMITS.items() if row.of_this_host and counts[name]]
        cause = (
            max(used_up, key=lambda name: counts[name])
            if used_up
            else "blackhole"
            if counts["blackhole"]
            else "in-flight"
        )
        counts[cause] += run.not_started
    order = [name for name in LIMITS if name in counts]
    worst = max(order, key=lambda name: counts[name], default="none")  # the first of equals
    match worst:
        case wall if wall in _WALLS:
            return _why_no_port(run, wall)
        case "blackhole":
            return _why_silent(run)
        case "forbidden":
            return "conntrack" if run.table_full else "forbidden"
        case "none" if not run.summary.generator.trustworthy:
            return "generator"
        case "none" if run.late_s:
            return "backlog"
        case "none" if run.missed:
            return "unanswered"
    return worst


def _why_no_port(run: _RunFacts, wall: str) -> str:
    failing = [(opened, capacity) for _, opened, capacity, failed in run.spaces if failed and capacity]
    if not failing:
        return wall
    opened, capacity = max(failing, key=lambda space: space[0] / space[1])
    waiting = run.waiting // len(failing)
    # loadgen names each port once, so one that is in use before all of them are belongs to another process.
    full = 1.0 if wall == LIMIT_OF_OUTCOME[Outcome.NO_FREE_PORT] and run.plan.strategy.row.names_ports else _NEARLY_FULL
    if opened + waiting >= full * capacity:
        return _why_silent(run) if waiting > opened else wall
    missing = capacity - opened - waiting
    if run.plan.transport is Transport.UDP:  # which has no TIME-WAIT; that of others is of TCP's ports
        return "port-held"
    return "time-wait" if 2 * run.time_wait >= missing else "port-held"


def _why_silent(run: _RunFacts) -> str:
    if run.overflowed or run.late_s:
        return "backlog"
    return "conntrack" if run.table_full else "blackhole"


def _text(run: _RunFacts, limit: str) -> str:
    doubts = run.summary.generator.reasons or ("it did not keep up",)
    reason = LIMITS[limit].sentence.format(
        target=run.target,
        not_started=run.not_started,
        window=run.plan.in_flight_max,
        not_started_too=f" with {run.not_started:,} connections not started" if run.not_started else "",
        because=run.summary.incomplete_because or "the reason is unknown",
        doubt=doubts[0],
    )
    if limit == "backlog" and not run.counts["blackhole"]:
        reason = (
            f"{run.target} took 1 % of the connections only after {run.late_s:.1f} s, when their SYN was sent again"
        )
    if limit == "in-flight" and run.plan.churn:
        reason = f"{run.not_started:,} connections never started: {run.plan.connections:,} were open, as many as may be"
    traffic, heartbeat = run.summary.traffic, run.summary.heartbeat
    if limit == "wrong-reply" and traffic:
        reason += f" ({traffic.wrong:,} wrong, {traffic.replies:,} right)"
    if limit == "unanswered" and heartbeat and not run.counts["unanswered"]:
        reason += f" ({run.missed:,} heartbeats were missed, {heartbeat.answered:,} answered)"
    own = [error for error in run.summary.errors if _pointed_at(error) in LIMITS[limit].explains]
    if own:
        worst = max(own, key=lambda error: error.count)
        reason += f" ({worst.syscall} {worst.errno} {_times(worst.count)})"
    if own and run.not_started:
        reason += f", and {run.not_started:,} connections never started"
    return f"{_head(run)}: {reason}.{_churn_note(run) if run.plan.churn else _note(run, limit)}"


def _head(run: _RunFacts) -> str:
    """Return the first half of the sentence, which says what the run did; the reason follows."""
    established, lost = run.summary.outcomes.established, run.summary.open.lost
    if churn := run.summary.churn:
        ended = f", of which {lost:,} were lost" if lost else ""
        head = f"{established:,} connections opened and closed in {churn.lasted_s:.1f} s{ended}"
        return f"{head}, {rate(churn.sustained_per_s)} sustained"
    hold_s = run.summary.phases.hold_s or 0.0
    held = f", held {hold_s:.0f} s" if hold_s >= 1 else ""
    kept = f"of which {lost:,} were lost" if lost else "with none lost"
    pace = f"{run.summary.rate_per_s.established_mean:,.0f}/s"
    head = f"{established:,} of {run.plan.connections:,} connections opened at {pace}{held} {kept}"
    if not established:
        head = f"None of {run.plan.connections:,} connections opened"
    return head


def _churn_note(run: _RunFacts) -> str:
    """Return the ceiling that was predicted for churn, and whether it came true."""
    ceiling, churn = run.plan.ceiling, run.summary.churn
    if ceiling is None or churn is None or churn.as_predicted is None:
        return ""
    came_true = churn.as_predicted
    if ceiling.per_s is None:
        return "" if came_true else f" No ceiling was predicted ({ceiling.because})."
    at_most = f"at most {rate(ceiling.per_s)} for long ({ceiling.because})"
    return f" As predicted, {at_most}." if came_true else f" Predicted was otherwise: {at_most}."


def _note(run: _RunFacts, limit: str) -> str:
    """Return a sentence on the ports that a run without a free port was predicted to have and did not."""
    short = (run.predicted or 0) - run.observed - run.waiting
    if not LIMITS[limit].uses_ports or short <= 0 or run.summary.open.lost:
        return ""
    where = "in TIME-WAIT" if limit == "time-wait" else "held by others"
    ports = "port is" if short == 1 else "ports are"
    return f" {run.predicted:,} predicted, {run.observed:,} observed: {short:,} {ports} {where}."


def _evidence(run: _RunFacts, limit: str) -> list[str]:
    if limit == "none":
        return []
    errors = sorted(run.summary.errors, key=lambda error: -error.count)
    facts = [f"{error.syscall} {error.errno} {_times(error.count)}" for error in errors[:_LINES]]
    if limit == "lost":
        ways = {error.errno for error in errors if error.outcome == Outcome.LOST}
        facts += ["EOF is the other side's orderly close"] if "EOF" in ways else []
        facts += ["ECONNRESET is its RST, or one from a box between"] if "ECONNRESET" in ways else []
        facts += ["ECONNREFUSED is an ICMP port unreachable"] if "ECONNREFUSED" in ways else []
    traffic = run.summary.traffic
    if run.wrong and traffic and limit in ("wrong-reply", "lost", "unanswered"):
        facts.append(f"{traffic.wrong:,} replies were wrong")
    if run.missed and limit in ("wrong-reply", "lost", "unanswered"):
        facts.append(f"{run.missed:,} heartbeats were missed")
    if LIMITS[limit].uses_ports:
        unit = "four-tuples" if run.plan.shares_ports else "source ports"
        failing = [] if run.plan.churn else [space for space in run.spaces if space[3]]
        facts += [f"{name}: {opened:,} of {capacity:,} {unit} in use" for name, opened, capacity, _ in failing[:_LINES]]
        facts += [f"and {len(failing) - _LINES:,} more like these"] if len(failing) > _LINES else []
        if ceiling := run.plan.ceiling:
            facts.append(ceiling.because)
        if run.time_wait:
            facts.append(f"{run.time_wait:,} sockets in TIME-WAIT while connections were opened")
        if run.waiting:
            facts.append(f"{run.waiting:,} four-tuples held by attempts without an answer")
    if limit == "descriptors" and (most := run.plan.descriptor_limit or run.host.descriptors):
        facts.append(f"{most:,} descriptors in a worker at most (RLIMIT_NOFILE), workers: {run.plan.workers}")
    if limit == "conntrack" and run.tracked[1]:
        facts.append(f"about {run.tracked[0]:,} of {run.tracked[1]:,} entries of nf_conntrack in use")
    if limit == "backlog" and run.late_s:
        facts.append(f"connect took {run.late_s:.2f} s at the 99th percentile, where a repeated SYN puts it")
    for name in LIMITS[limit].counters:
        if run.delta.get(name):
            facts.append(f"{name} {run.delta[name]:+,}{' on the whole host' if name.startswith('softnet.') else ''}")
    if run.not_started:
        facts.append(f"{run.not_started:,} connections never started")
    if limit in ("interrupted", "incomplete"):
        facts.append(run.summary.incomplete_because or "the run left no reason")
    if limit == "generator":
        facts += run.summary.generator.reasons
    return facts


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
