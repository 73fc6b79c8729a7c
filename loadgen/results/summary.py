"""The lines of a run folded into one object: summary.json.

A pure function of what is in the run directory, used by the run itself and by `loadgen report`, so
that a run whose orchestrator was killed is summed up by the same code from the same lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import NDArray

from loadgen import format as fmt
from loadgen.capacity.time_wait import came_true
from loadgen.clock import NS_PER_S
from loadgen.kernel import snmp
from loadgen.model import Phase, Plan, Transport
from loadgen.outcomes import Outcome
from loadgen.results import histogram, prediction, steady
from loadgen.results.block import Latency
from loadgen.results.fold import NOTHING, Fold, KernelFold
from loadgen.results.merging import verdict as of_agents
from loadgen.results.quantiles import quantiles_of
from loadgen.results.run_facts import SYN_AGAIN_S
from loadgen.results.schema import files
from loadgen.results.schema.carried import ChurnResult, HeartbeatResult, TrafficResult
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.kernel import KernelCounts, Sampling, SinkKernelCounts
from loadgen.results.schema.line import Line, SinkLine
from loadgen.results.schema.run import (
    AgentResult,
    Arrivals,
    ErrorCount,
    ExpectationResult,
    GeneratorResult,
    LatencyUs,
    OpenCounts,
    Outcomes,
    PhaseLengths,
    PredictionResult,
    RatePerS,
    RunSummary,
    VerdictResult,
)
from loadgen.results.schema.sides import Datagrams, NotAttributed, PairResult, ProbeResult, SinkResult
from loadgen.results.schema.values import SCHEMA
from loadgen.results.verdict import decide
from loadgen.scenario.expect import SOMETHING_OPENED, Expectation

#: What stands in a summary until the rest of it is known.
UNDECIDED: Final = VerdictResult(limit="none", text="", predicted=None, observed=0, evidence=(), remedies=())
UNFORETOLD: Final = PredictionResult(
    limit=None, at_connections=None, at_s=None, possible=None, observed_limit="none", observed_at=0, as_predicted=None
)

#: Events after which a run says less than it should. "ended" must be there, these must not.
CUT_SHORT: Final = frozenset(
    {"interrupted", "worker-lost", "sink-lost", "zygote-lost", "results-lost", "agent-lost", "failed"}
)
#: Events of processes of loadgen that stood still: what it measured, or was measured on, is about itself.
STALLED: Final = frozenset({"worker-stalled", "sink-stalled", "paused"})

#: What the summary of the whole has of that of an agent.
_OF_AN_AGENT: Final = tuple(
    field for field in AgentResult.__struct_fields__ if field in RunSummary.__struct_fields__ and field != "run"
)
#: An arrival that is this late no longer belongs to the rate that was asked for: ten ticks of a
#: millisecond timer, and more than a loopback or data-centre round trip that one wants to measure.
LATENESS_LIMIT_MS: Final = 10.0
#: A worker whose loop stands still for so long sees answers and losses late by as much.
LAG_LIMIT_MS: Final = 200.0
#: Workers and orchestrator that stood still for this long at once were stopped from outside: a busy machine gives each
#: of them some time, and not at the same moments.
STILL_LIMIT_S: Final = 2.0


def summarise(
    plan: Plan,
    host: Host,
    series: Iterable[Line],
    events: Sequence[Event],
    *,
    run: str,
) -> RunSummary:
    """Return the summary of a run from the contents of its directory.

    series: may be empty or cut off anywhere. run: name of the run directory. Raises: ValueError for lines that are
    not of one plan.
    """
    return of_fold(plan, host, Fold.of(series), events, run=run)


def of_fold(
    plan: Plan,
    host: Host,
    series: Fold,
    events: Sequence[Event],
    *,
    run: str,
    agents: Sequence[AgentResult] = (),
) -> RunSummary:
    """Return the same from a series that was folded as it was read. agents: the share of each, of a run of several."""
    last = series.last or NOTHING
    events_seen = {event.event for event in events}
    complete = "ended" in events_seen and not events_seen & CUT_SHORT
    scheduled = plan.scheduled if plan.scheduled is not None else last.started
    latency = series.latency
    churn = _churn(plan, series, complete=complete) if plan.churn else None
    facts = RunSummary(
        schema=SCHEMA,
        scenario=plan.name,
        run=run,
        started_at=host.started_at,
        duration_s=last.t_s,
        complete=complete,
        incomplete_because=None if complete else _why_incomplete(events),
        arrivals=Arrivals(
            scheduled=scheduled,
            started=last.started,
            # A run that was cut off has no count of what it never started: it is the rest.
            not_started=last.not_started if complete else scheduled - last.started,
        ),
        outcomes=Outcomes(
            established=last.established,
            failed=last.failed,
            in_flight=last.in_flight,
            retried=last.retried,
            overtaken=None if last.overtaken is UNSET else last.overtaken,
            late=histogram.count_from(latency[Latency.CONNECT], SYN_AGAIN_S * NS_PER_S),
        ),
        errors=tuple(
            ErrorCount(syscall=error.syscall, errno=error.errno, outcome=error.outcome, count=error.times)
            for error in last.errors
        ),
        open=OpenCounts(
            peak=series.open_peak,
            end_of_hold=series.end_of(Phase.HOLD, Phase.RAMP, Phase.CHURN).open,
            lost=last.lost,
        ),
        rate_per_s=_rates(series),
        traffic=_traffic(plan, last, latency) if plan.traffic or plan.tls else None,
        heartbeat=_heartbeat(plan, last, latency) if plan.heartbeat else None,
        churn=churn,
        tenths_s=tuple(round(later - earlier, 6) for earlier, later in pairwise((0.0, *last.tenths_s))),
        cost_us=last.cost_us,
        cost_last_to_first=_last_to_first(last.cost_us),
        phases=_phases(series),
        steady=steady.found(plan, series),
        latency_us=_latency_us(latency),
        sources=_sources(plan, series),
        not_attributed=None if last.not_attributed is UNSET else last.not_attributed,
        sink=_of_guests(plan, _sink(plan, series, events)),
        probes=_probes(events),
        kernel=_kernel(series),
        generator=_of_all(_generator(plan, series, events), agents),
        verdict=UNDECIDED,
        prediction=UNFORETOLD,
        expect=(),
        proof=tuple(event.proof for event in events if event.proof) or None,
        agents=tuple(agents) or None,
    )
    verdict = decide(facts, plan, host)
    decided = replace(facts, verdict=of_agents.decide(verdict, facts, agents) if agents else verdict)
    held_up = prediction.held(plan, decided.verdict, churn, complete=complete)
    if plan.only_listens:  # what becomes of the connections of others is not in its own numbers
        held_up = replace(held_up, as_predicted=None)
    # Agents may have run one after the other, so that the sums never were what all have room for.
    if agents and not _foretold_for_all(plan):
        held_up = replace(held_up, as_predicted=_all_as_predicted(plan, agents) if complete else None)
    foretold = replace(decided, prediction=held_up)
    return replace(foretold, expect=held(_expectations(plan, foretold), foretold))


def held(expectations: Iterable[Expectation], summary: RunSummary) -> tuple[ExpectationResult, ...]:
    """Check each expectation on a summary that has everything else."""
    plain = steady.without_unsteady(files.plain(summary))
    checked = ((expectation.text, *expectation.check(plain)) for expectation in expectations)
    return tuple(
        ExpectationResult(expression=text, passed=passed, observed=observed) for text, passed, observed in checked
    )


def _expectations(plan: Plan, summary: RunSummary) -> list[Expectation]:
    """Return the expectations of the scenario, and where no connection opened that one did, if none allows for it."""
    expectations = [Expectation.parse(text) for text in plan.expect]
    opened_nothing = summary.complete and summary.arrivals.scheduled and not summary.outcomes.established
    if opened_nothing and not any(expectation.allows_for_no_connection for expectation in expectations):
        expectations.append(SOMETHING_OPENED)
    return expectations


def broken_invariants(summary: RunSummary) -> list[str]:
    """Return the sums that must always hold and do not; empty unless loadgen has a bug."""
    arrivals, outcomes = summary.arrivals, summary.outcomes
    problems = []
    if arrivals.scheduled != arrivals.started + arrivals.not_started:
        problems.append(f"scheduled is not started + not_started: {arrivals}")
    if arrivals.started != outcomes.established + outcomes.failed + outcomes.in_flight:
        problems.append(f"started ({arrivals.started}) is not established + failed + in_flight: {outcomes}")
    if summary.complete and outcomes.in_flight:
        problems.append(f"a complete run has {outcomes.in_flight} attempts in flight")
    if summary.complete and summary.not_attributed:
        problems.append(f"a complete run has counts that are not attributed: {summary.not_attributed}")
    return problems + _broken_breakdowns(summary) + _broken_shares(summary)


def _broken_breakdowns(summary: RunSummary) -> list[str]:
    """Return the totals that are not the sum of their parts and of what is not attributed."""
    outcomes, rest = summary.outcomes, summary.not_attributed or NotAttributed(established=0, failed=0)
    established = sum(pair.established for pair in summary.sources) + rest.established
    failed = sum(pair.failed for pair in summary.sources) + rest.failed
    timed = summary.latency_us.connect.count + rest.established
    ended = sum(error.count for error in summary.errors)
    sums = (
        ("established", outcomes.established, "those of its sources + not_attributed", established),
        ("established", outcomes.established, "those with a connect time + not_attributed", timed),
        ("failed", outcomes.failed, "those of its sources + not_attributed", failed),
        ("failed + lost", outcomes.failed + summary.open.lost, "its errors", ended),
    )
    return [f"{name} ({total}) is not {parts} ({found})" for name, total, parts, found in sums if total != found]


def _broken_shares(summary: RunSummary) -> list[str]:
    """Return the totals that are not the sum of those of the agents; of a run that came to its end."""
    agents = summary.agents or ()
    if not agents or not summary.complete:
        return []
    sums = (
        ("scheduled", summary.arrivals.scheduled, sum(agent.arrivals.scheduled for agent in agents)),
        ("established", summary.outcomes.established, sum(agent.outcomes.established for agent in agents)),
        ("failed", summary.outcomes.failed, sum(agent.outcomes.failed for agent in agents)),
        ("lost", summary.open.lost, sum(agent.open.lost for agent in agents)),
    )
    return [f"{name} ({total}) is not that of its agents ({found})" for name, total, found in sums if total != found]


def _why_incomplete(events: Sequence[Event]) -> str:
    reasons = [event.text for event in events if event.event in CUT_SHORT]
    return "; ".join(reasons) or "the run ended before its summary could be written"


def _last_to_first(cost_us: Sequence[float]) -> float | None:
    """Return the cost of a connection of the last tenth divided by that of the first; None if unknown."""
    return round(cost_us[-1] / cost_us[0], 2) if len(cost_us) == 10 and cost_us[0] > 0 else None


def _phases(series: Fold) -> PhaseLengths:
    """Return how long each phase took; its last line stands at its end."""
    begun = 0.0
    lengths = {}
    opening = (Phase.CHURN,) if Phase.CHURN in series.ends else (Phase.RAMP, Phase.HOLD)
    for phase in (*opening, Phase.DRAIN):
        ended = series.ends[phase].t_s if phase in series.ends else begun
        lengths[f"{phase.value}_s"] = round(ended - begun, 6)
        begun = ended
    return PhaseLengths(**lengths)


def _rates(series: Fold) -> RatePerS:
    last = series.last or NOTHING
    mean = last.established / last.ramp_s if last.ramp_s else 0.0
    # Of a ramp shorter than an interval the mean is all there is to know.
    return RatePerS(established_mean=round(mean, 1), established_peak=round(max(mean, series.rate_peak), 1))


def _latency_us(latency: NDArray[np.int64]) -> LatencyUs:
    return LatencyUs(
        **{
            row.name.lower(): quantiles_of(latency[row])
            for row in Latency
            if row in (Latency.LATENESS, Latency.CONNECT, Latency.ARRIVAL) or latency[row].any()
        }
    )


def _churn(plan: Plan, series: Fold, *, complete: bool) -> ChurnResult:
    """Return how fast connections were opened and closed, beside what the ports were predicted to allow."""
    assert plan.churn
    last, end, kernel = series.last or NOTHING, series.end_of(Phase.CHURN), _kernel(series)
    return ChurnResult(
        loop="closed" if plan.scheduled is None else "open",
        duration_s=plan.churn.duration_s,
        lasted_s=end.t_s,
        concurrency=plan.connections,
        exchanges=plan.churn.exchanges if plan.traffic else 0,
        closed=last.closed,
        mean_per_s=round(last.established / end.t_s, 3) if end.t_s else 0.0,
        sustained_per_s=end.sustained_per_s,
        first_denied_s=last.first_denied_s,
        ceiling=plan.ceiling,
        as_predicted=_came_true(plan, last) if complete and plan.ceiling else None,
        recycled=kernel.delta.get("TcpExt.TWRecycled", 0),
        time_waits=snmp.entered_time_wait(kernel.delta),
        overflows=kernel.delta.get("TcpExt.TCPTimeWaitOverflow", 0),
        time_wait_peak=kernel.peak.get("sockstat.tcp_tw", 0),
    )


def _traffic(plan: Plan, last: Line, latency: NDArray[np.int64]) -> TrafficResult:
    """Return what the connections carried, and how it went.

    Over UDP a request that is on its way at the end is neither answered nor lost.
    """
    replies = int(latency[Latency.EXCHANGE].sum())
    datagrams = plan.transport is Transport.UDP
    return TrafficResult(
        transport=plan.transport.value,
        protocol=plan.traffic.protocol,
        tls=plan.tls is not None,
        handshakes=int(latency[Latency.HANDSHAKE].sum()),
        resumed=last.resumed,
        replies=replies,
        wrong=last.wrong,
        sent=last.asked if datagrams else None,
        answered=replies if datagrams else None,
        lost=last.unanswered if datagrams else None,
    )


def _heartbeat(plan: Plan, last: Line, latency: NDArray[np.int64]) -> HeartbeatResult:
    """Return how many heartbeats of held connections were answered."""
    assert plan.heartbeat
    return HeartbeatResult(
        every_s=plan.heartbeat.every_s,
        connections=last.beating,
        sent=last.beats,
        answered=int(latency[Latency.EXCHANGE].sum()),
        missed=last.missed,
        wrong=last.wrong,
    )


def _came_true(plan: Plan, last: Line) -> bool:
    none_left = {Outcome.NO_FREE_FOUR_TUPLE.value, Outcome.NO_FREE_PORT.value}
    return came_true(
        plan,
        established=last.established,
        denied=sum(error.times for error in last.errors if error.outcome in none_left),
        first_denied_s=last.first_denied_s,
    )


def _sources(plan: Plan, series: Fold) -> tuple[PairResult, ...]:
    if series.last is None or series.pair_peaks is None:
        return ()
    return tuple(
        PairResult(
            source=source,
            target=str(target),
            capacity=most,
            peak_open=int(peak),
            established=counts.established,
            failed=counts.failed,
            agent=agent,
        )
        for (source, target), (agent, most), counts, peak in zip(
            plan.pairs, plan.owners, series.last.pairs, series.pair_peaks, strict=True
        )
    )


def _probes(events: Sequence[Event]) -> dict[str, ProbeResult]:
    """Return what each probe saw; of one that could not run, the reason and no number."""
    return {
        event.name: event.result or ProbeResult(reason=event.reason or "")
        for event in events
        if event.event == "probe" and event.name is not None
    }


def _sink(plan: Plan, series: Fold, events: Sequence[Event]) -> SinkResult | None:
    """Return what the listening side counted, and whether this side counted the same; None without a sink."""
    last, line = series.sink, series.last
    if last is None or line is None:
        return None
    ours = _established_at_sinks(plan, line, events)
    theirs = {} if plan.nat else {row.source: row.accepted for row in last.sources or ()}  # sinks see the gateway's
    ended_early = _ended_early(events)
    if plan.transport is Transport.UDP:
        return _datagram_sink(line.phase, last, ours, theirs, ended_early)
    early = _reset_early(plan, line, events)
    established = sum(ours.values()) + _not_attributed_at_sinks(plan, line)
    agrees = last.accepted == established + early
    text = f"The sink accepted {last.accepted:,} connections, this side established {established:,}"
    text += f" and saw {early:,} reset before it knew that they were." if early else "."
    if agrees and not ended_early and theirs and theirs != ours and not early:
        agrees = False
        other = next(source for source in sorted({*ours, *theirs}) if ours.get(source) != theirs.get(source))
        text = (
            f"The sink accepted {theirs.get(other, 0):,} connections from {other}, "
            f"this side established {ours.get(other, 0):,}."
        )
    elif agrees and theirs == ours:
        text = "Every source address has the same count of connections on both sides."
    if plan.nat:
        text += " The sink sees addresses of the gateway."
    if last.accepted < established + early and (dropped := _dropped_handshakes(line)):
        text += (
            f" Its queue was full (ListenOverflows +{dropped:,}): the kernel then drops the last packet of a handshake "
            "that this side takes for a connection."
        )
    uncounted = "" if agrees else _uncounted(line.phase, ended_early, more=last.accepted > established + early)
    text += uncounted
    return SinkResult(
        accepted=last.accepted,
        open_peak=series.sink_open_peak,
        end_of_hold=(series.end_of(Phase.HOLD, Phase.RAMP, Phase.CHURN).sink or last).open,
        agrees=None if uncounted else agrees,
        text=text + _survived(last),
        source_ports=sum(row.source_ports for row in last.sources or ()),
        sources=last.sources or (),
        failures=last.failures,
    )


def _of_guests(plan: Plan, sink: SinkResult | None) -> SinkResult | None:
    """Return the counts of sinks that serve other hosts as well: their side is not in this run, but in the whole."""
    if not plan.guests or sink is None:
        return sink
    opened = "opened all of them" if plan.only_listens else "opened some of them"
    text = f"The sink accepted {sink.accepted:,} connections. Other agents {opened}: the summary of the whole compares."
    return replace(sink, agrees=None, text=text + _survived(sink))


def _ended_early(events: Sequence[Event]) -> set[str]:
    """Return what ended processes before they had counted to the end: the names of events, or "stopped" for all.

    And "unwritten" where the events themselves end before the run, as on a full disk.
    """
    names = [event.event for event in events]
    early = {"worker-lost", "sink-lost", "agent-lost"}.intersection(names)
    if "ended" not in names:
        early.add("unwritten")
    return early | {"stopped"} if names.count("interrupted") > 1 else early


def _uncounted(phase: Phase, ended_early: Collection[str], *, more: bool) -> str:
    """Return why one side has not counted to the end, as a sentence; "" where both have.

    ended_early: as of `_ended_early`; more: the sinks counted more than this side.
    """
    if phase is not Phase.DONE:
        return " Both were counted while the run was on its way, at moments of their own."
    if "stopped" in ended_early:
        return " The run was stopped at once, before both had counted their last ones."
    if "agent-lost" in ended_early:
        return " An agent ended before it had counted its last ones."
    if more and "worker-lost" in ended_early:
        return " A worker ended before it had counted its last ones."
    if more and "unwritten" in ended_early:
        return " The events of the run were not written to its end: a probe may have connected, too."
    if not more and "sink-lost" in ended_early:
        return " A sink ended before it had counted its last ones."
    return ""


def _survived(last: SinkLine | SinkResult) -> str:
    """Return the failures that the sinks survived, as a sentence; "" without any."""
    kinds = ", ".join(f"{kind} ({times:,})" for kind, times in last.failures.items())
    return f" The sink survived failures: {kinds}." if kinds else ""


def _dropped_handshakes(last: Line) -> int:
    """Return how often the listeners' queue was full, in the namespace of the sinks."""
    kernel = last.kernel.sink or last.kernel
    return kernel.delta.get("TcpExt.ListenOverflows", 0)


def _established_at_sinks(plan: Plan, last: Line, events: Sequence[Event]) -> dict[str, int]:
    """Return the connections to sinks of ours by source address, those of probes included."""
    sunk = {target.endpoint for target in plan.targets if target.sink and target.accept_after_s is not None}
    ours: dict[str, int] = {}
    for (source, target), counts in zip(plan.pairs, last.pairs, strict=True):
        if target in sunk and counts.established:
            seen_as = source.partition("%")[0]  # the other side knows nothing of our zones
            ours[seen_as] = ours.get(seen_as, 0) + counts.established
    named = {str(endpoint) for endpoint in sunk}
    for event in events:
        if event.event == "probe" and event.target in named:
            for source, count in (event.sources or {}).items():
                ours[source] = ours.get(source, 0) + count
    return ours


def _not_attributed_at_sinks(plan: Plan, last: Line) -> int:
    """Return the connections to sinks of ours whose source is not known; 0 where there are other targets as well."""
    if last.not_attributed is UNSET or not all(
        target.sink and target.accept_after_s is not None for target in plan.targets
    ):
        return 0
    return last.not_attributed.established


def _reset_early(plan: Plan, last: Line, events: Sequence[Event]) -> int:
    """Return the connections that a sink of ours accepted and reset on purpose before the attempt was seen to end.

    Those of probes included.
    """
    resetting = {
        str(target.endpoint)
        for target in plan.targets
        if target.sink and (target.behaviour.reset or target.behaviour.drop)
    }
    if not resetting:
        return 0
    count = sum(error.times for error in last.errors if (error.syscall, error.errno) == ("connect", "ECONNRESET"))
    for event in events:
        if event.event == "probe" and event.target in resetting and event.result and event.result.errors:
            count += event.result.errors.get("connect", {}).get("ECONNRESET", 0)
    return count


def _datagram_sink(
    phase: Phase, last: SinkLine, ours: Mapping[str, int], theirs: Mapping[str, int], ended_early: Collection[str]
) -> SinkResult:
    """Return what a sink of UDP counted: not connections, but endpoints that datagrams came from, each once.

    The two sides agree when no endpoint sent that is not one of ours: of ours some may have sent nothing, or nothing
    that arrived, and in churn one may serve again and again.
    """
    strange = next((source for source in sorted(theirs) if theirs[source] > ours.get(source, 0)), None)
    established = sum(ours.values())
    text = f"The sink had datagrams from {last.accepted:,} endpoints; this side connected {established:,} sockets."
    if strange is not None:
        text = (
            f"The sink had datagrams from {theirs[strange]:,} endpoints of {strange}, "
            f"this side connected {ours.get(strange, 0):,} sockets there."
        )
    agrees = strange is None and last.accepted <= established
    uncounted = "" if agrees else _uncounted(phase, ended_early, more=True)
    return SinkResult(
        accepted=last.accepted,
        open_peak=0,
        end_of_hold=0,
        agrees=None if uncounted else agrees,
        text=text + uncounted + _survived(last),
        source_ports=sum(row.source_ports for row in last.sources or ()),
        sources=last.sources or (),
        failures=last.failures,
        datagrams=last.datagrams or Datagrams(received=0, answered=0, dropped=0),
    )


def _kernel(series: Fold) -> KernelCounts:
    here = series.kernel
    return KernelCounts(
        delta=dict(here.delta),
        opening=dict(here.opening),
        peak=here.peak,
        ramp_peak=here.ramp_peak,
        states=here.states,
        sampling=_sampling(series),
        sink=_elsewhere(series.kernel_at_sinks),
        gateway=_elsewhere(series.kernel_at_gateway),
    )


def _elsewhere(fold: KernelFold) -> SinkKernelCounts | None:
    """Return the counts of another namespace of the run; None where it has none."""
    if not fold.seen:
        return None
    return SinkKernelCounts(delta=dict(fold.delta), opening=dict(fold.opening), peak=fold.peak, states=fold.states)


def _sampling(series: Fold) -> Sampling | None:
    """Return what sampling the kernel cost; None where no line says so."""
    if series.sampling is None:
        return None
    cost, t_s = series.sampling
    run_cpu_s = cost.run_cpu_s  # only the last line has it, which a run that was killed lacks
    return Sampling(
        samples=cost.samples,
        listings=cost.listings,
        cpu_s=cost.cpu_s,
        run_cpu_s=run_cpu_s,
        share=round(cost.cpu_s / run_cpu_s, 4) if run_cpu_s else None,
        share_of_a_core=round(cost.cpu_s / t_s, 4) if t_s else None,
    )


def _of_all(of_sums: GeneratorResult, agents: Sequence[AgentResult]) -> GeneratorResult:
    """Return the figures of loadgen on all hosts: it kept up if it did so on each of them."""
    if not agents:
        return of_sums
    reasons = [(agent.name, reason) for agent in agents for reason in agent.generator.reasons]
    paused = [(agent.name, reason) for agent in agents for reason in agent.generator.paused]
    return replace(
        of_sums,
        trustworthy=not reasons,
        reasons=tuple(f"{name}: {reason}" for name, reason in reasons),
        paused=tuple(f"{name}: {reason}" for name, reason in paused),
    )


def _foretold_for_all(plan: Plan) -> bool:
    """Return True if the limit of the whole is foretold by an agent that only listens, which is of no agent's share."""
    foretold = (agent.plan.prediction for agent in plan.agents if agent.plan.only_listens)
    return any(prediction and not prediction.possible for prediction in foretold)


def _all_as_predicted(plan: Plan, agents: Sequence[AgentResult]) -> bool | None:
    """Return whether the prediction of every agent that opens connections came true; None where one has none."""
    listening = {agent.name for agent in plan.agents if agent.plan.only_listens}
    each = [agent.prediction.as_predicted for agent in agents if agent.name not in listening]
    return None if None in each else all(each)


def share_of(
    name: str, run: str, summary: RunSummary, *, host: str = "", started_ms: float | None = None, error_ms: float | None
) -> AgentResult:
    """Return the summary of an agent's own run as a part of that of the whole."""
    common = {field: getattr(summary, field) for field in _OF_AN_AGENT}
    return AgentResult(name=name, run=run, host=host, started_ms=started_ms, clock_error_ms=error_ms, **common)


def _generator(plan: Plan, series: Fold, events: Sequence[Event]) -> GeneratorResult:
    """Return whether loadgen itself kept up; where it did not, its figures are about itself."""
    last = series.last or NOTHING
    lag_ms = histogram.quantile_ns(series.lag, 0.99) / 1e6
    lateness_ms = histogram.quantile_ns(series.latency[Latency.LATENESS], 0.99) / 1e6
    paused = [event.text for event in events if event.event == "paused" or event.stopped]
    reasons = [event.text for event in events if event.event in STALLED]
    # No process was left to see it: not the orchestrator, which writes the lines, and not the workers.
    still_s = min(series.gap_s - plan.interval_s, histogram.max_ns(series.lag) / NS_PER_S)
    if not reasons and still_s >= STILL_LIMIT_S:
        paused.append(
            f"all of loadgen stood still for {fmt.seconds(still_s)}, as on a machine that is suspended or in a "
            "container that is paused"
        )
        reasons += paused
    if plan.stages and lateness_ms > LATENESS_LIMIT_MS:
        reasons.append(
            f"1 % of the arrivals started {lateness_ms:.0f} ms late or more (limit {LATENESS_LIMIT_MS:.0f} ms): "
            "loadgen could not keep the rate"
        )
    if lag_ms > LAG_LIMIT_MS:
        reasons.append(
            f"a worker's event loop stood still for {lag_ms:.0f} ms at the 99th percentile "
            f"(limit {LAG_LIMIT_MS:.0f} ms)"
        )
    return GeneratorResult(
        trustworthy=not reasons,
        reasons=tuple(reasons),
        paused=tuple(paused),
        lag_ms_p99=round(lag_ms, 3),
        workers=plan.workers,
        cpu_s=last.cpu_s,
        user_cpu_s=None if last.user_cpu_s is UNSET else last.user_cpu_s,
    )
