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

from loadgen.capacity.time_wait import came_true
from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.model import Phase, Plan, Transport
from loadgen.outcomes import Outcome
from loadgen.results import histogram, prediction
from loadgen.results.block import Latency
from loadgen.results.run_facts import SYN_AGAIN_S
from loadgen.results.schema import files
from loadgen.results.schema.carried import ChurnResult, HeartbeatResult, TrafficResult
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.kernel import KernelCounts, Sampling, SinkKernelCounts, States
from loadgen.results.schema.line import LatencyNs, Line, SinkKernelLine, SinkLine
from loadgen.results.schema.run import (
    Arrivals,
    ErrorCount,
    ExpectationResult,
    GeneratorResult,
    LatencyUs,
    OpenCounts,
    Outcomes,
    PhaseLengths,
    PredictionResult,
    Quantiles,
    RatePerS,
    RunSummary,
    VerdictResult,
)
from loadgen.results.schema.sides import Datagrams, NotAttributed, PairResult, ProbeResult, SinkResult
from loadgen.results.schema.values import SCHEMA
from loadgen.results.verdict import decide
from loadgen.scenario.expect import SOMETHING_OPENED, Expectation

#: The line before the first, and what a run left that wrote none.
NOTHING: Final = Line(t_s=0.0, phase=Phase.RAMP, pairs=(), latency_ns=LatencyNs(), lag_ns={})
#: What stands in a summary until the rest of it is known.
UNDECIDED: Final = VerdictResult(limit="none", text="", predicted=None, observed=0, evidence=(), remedies=())
UNFORETOLD: Final = PredictionResult(
    limit=None, at_connections=None, at_s=None, possible=None, observed_limit="none", observed_at=0, as_predicted=None
)

#: Events after which a run says less than it should. "ended" must be there, these must not.
CUT_SHORT: Final = frozenset({"interrupted", "worker-lost", "sink-lost", "zygote-lost", "results-lost", "failed"})
#: Events of processes of loadgen that stood still: what it measured, or was measured on, is about itself.
STALLED: Final = frozenset({"worker-stalled", "sink-stalled", "paused"})

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
#: An arrival that is this late no longer belongs to the rate that was asked for: ten ticks of a
#: millisecond timer, and more than a loopback or data-centre round trip that one wants to measure.
LATENESS_LIMIT_MS: Final = 10.0
#: A worker whose loop stands still for so long sees answers and losses late by as much.
LAG_LIMIT_MS: Final = 200.0


def summarise(
    plan: Plan,
    host: Host,
    series: Sequence[Line],
    events: Sequence[Event],
    *,
    run: str,
) -> RunSummary:
    """Return the summary of a run from the contents of its directory.

    series: may be empty or cut off anywhere. run: name of the run directory.
    """
    last = series[-1] if series else NOTHING
    events_seen = {event.event for event in events}
    complete = "ended" in events_seen and not events_seen & CUT_SHORT
    scheduled = plan.scheduled if plan.scheduled is not None else last.started
    latency = _latency(series)
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
            peak=max((line.open_peak or line.open for line in series), default=0),
            end_of_hold=_end_of(series, Phase.HOLD, Phase.RAMP, Phase.CHURN).open,
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
        latency_us=_latency_us(latency),
        sources=_sources(plan, series),
        not_attributed=None if last.not_attributed is UNSET else last.not_attributed,
        sink=_sink(plan, series, events),
        probes=_probes(events),
        kernel=_kernel(series),
        generator=_generator(plan, series, events),
        verdict=UNDECIDED,
        prediction=UNFORETOLD,
        expect=(),
        proof=tuple(event.proof for event in events if event.proof) or None,
    )
    decided = replace(facts, verdict=decide(facts, plan, host))
    foretold = replace(decided, prediction=prediction.held(plan, decided.verdict, churn, complete=complete))
    return replace(foretold, expect=held(_expectations(plan, foretold), foretold))


def held(expectations: Iterable[Expectation], summary: RunSummary) -> tuple[ExpectationResult, ...]:
    """Check each expectation on a summary that has everything else."""
    plain = files.plain(summary)
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
    return problems + _broken_breakdowns(summary)


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


def _why_incomplete(events: Sequence[Event]) -> str:
    reasons = [event.text for event in events if event.event in CUT_SHORT]
    return "; ".join(reasons) or "the run ended before its summary could be written"


def _last_to_first(cost_us: Sequence[float]) -> float | None:
    """Return the cost of a connection of the last tenth divided by that of the first; None if unknown."""
    return round(cost_us[-1] / cost_us[0], 2) if len(cost_us) == 10 and cost_us[0] > 0 else None


def _last_of(series: Sequence[Line], *phases: Phase) -> Line | None:
    """Return the last line of the first of these phases that the run came to."""
    for phase in phases:
        for line in reversed(series):
            if line.phase is phase:
                return line
    return None


def _end_of(series: Sequence[Line], *phases: Phase) -> Line:
    """Return the same, and a line without any count where the run came to none of them."""
    return _last_of(series, *phases) or NOTHING


def _phases(series: Sequence[Line]) -> PhaseLengths:
    """Return how long each phase took; its last line stands at its end."""
    begun = 0.0
    lengths = {}
    opening = (Phase.CHURN,) if _last_of(series, Phase.CHURN) else (Phase.RAMP, Phase.HOLD)
    for phase in (*opening, Phase.DRAIN):
        line = _last_of(series, phase)
        ended = line.t_s if line else begun
        lengths[f"{phase.value}_s"] = round(ended - begun, 6)
        begun = ended
    return PhaseLengths(**lengths)


def _rates(series: Sequence[Line]) -> RatePerS:
    last = series[-1] if series else NOTHING
    mean = last.established / last.ramp_s if last.ramp_s else 0.0
    per_line = [
        (later.established - earlier.established) / (later.t_s - earlier.t_s)
        for earlier, later in pairwise((NOTHING, *series))
        if later.phase in _OPENING and later.t_s - earlier.t_s > _SHORT_S
    ]
    # Of a ramp shorter than an interval the mean is all there is to know.
    return RatePerS(established_mean=round(mean, 1), established_peak=round(max([mean, *per_line]), 1))


#: While connections are being opened.
_OPENING: Final = frozenset({Phase.RAMP, Phase.CHURN})
#: Two lines closer than this are a change of phase beside an interval: too short to make a rate of.
_SHORT_S: Final = 0.05


def _latency(series: Sequence[Line]) -> NDArray[np.int64]:
    """Return the whole histogram of each latency: int64 (len(Latency), BUCKETS)."""
    counts = np.zeros((len(Latency), histogram.BUCKETS), dtype=np.int64)
    for line in series:
        for row in Latency:
            histogram.accumulate(counts[row], line.latency_ns.of(row.name.lower()))
    return counts


def _latency_us(latency: NDArray[np.int64]) -> LatencyUs:
    return LatencyUs(
        **{
            row.name.lower(): Quantiles(
                **{
                    name: round(histogram.quantile_ns(latency[row], q) / NS_PER_US, 1) for name, q in _QUANTILES.items()
                },
                max=round(histogram.max_ns(latency[row]) / NS_PER_US, 1),
                count=int(latency[row].sum()),
            )
            for row in Latency
            if row in (Latency.LATENESS, Latency.CONNECT, Latency.ARRIVAL) or latency[row].any()
        }
    )


def _churn(plan: Plan, series: Sequence[Line], *, complete: bool) -> ChurnResult:
    """Return how fast connections were opened and closed, beside what the ports were predicted to allow."""
    assert plan.churn
    last = series[-1] if series else NOTHING
    kernel = _kernel(series)
    end = _end_of(series, Phase.CHURN)
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
        time_waits=kernel.delta.get("TcpExt.TW", 0),
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


def _sources(plan: Plan, series: Sequence[Line]) -> tuple[PairResult, ...]:
    if not series:
        return ()
    peaks = np.max([[pair.open for pair in line.pairs] for line in series], axis=0)
    return tuple(
        PairResult(
            source=source,
            target=str(target),
            capacity=plan.capacity_per_pair,
            peak_open=int(peak),
            established=counts.established,
            failed=counts.failed,
        )
        for (source, target), counts, peak in zip(plan.pairs, series[-1].pairs, peaks, strict=True)
    )


def _probes(events: Sequence[Event]) -> dict[str, ProbeResult]:
    """Return what each probe saw; of one that could not run, the reason and no number."""
    return {
        event.name: event.result or ProbeResult(reason=event.reason or "")
        for event in events
        if event.event == "probe" and event.name is not None
    }


def _sink(plan: Plan, series: Sequence[Line], events: Sequence[Event]) -> SinkResult | None:
    """Return what the listening side counted, and whether this side counted the same; None without a sink."""
    lines = [line.sink for line in series if line.sink]
    if not lines:
        return None
    last = lines[-1]
    ours = _established_at_sinks(plan, series[-1], events)
    theirs = {row.source: row.accepted for row in last.sources or ()}
    lost = {event.event for event in events} & {"worker-lost", "sink-lost"}
    if plan.transport is Transport.UDP:
        return _datagram_sink(series[-1].phase, last, ours, theirs, lost)
    early = _reset_early(plan, series[-1])
    established = sum(ours.values()) + _not_attributed_at_sinks(plan, series[-1])
    agrees = last.accepted == established + early
    text = f"The sink accepted {last.accepted:,} connections, this side established {established:,}"
    text += f" and saw {early:,} reset before it knew that they were." if early else "."
    if agrees and not lost and theirs and theirs != ours and not early:
        agrees = False
        other = next(source for source in sorted({*ours, *theirs}) if ours.get(source) != theirs.get(source))
        text = (
            f"The sink accepted {theirs.get(other, 0):,} connections from {other}, "
            f"this side established {ours.get(other, 0):,}."
        )
    elif agrees and theirs == ours:
        text = "Every source address has the same count of connections on both sides."
    if last.accepted < established + early and (dropped := _dropped_handshakes(series[-1])):
        text += (
            f" Its queue was full (ListenOverflows +{dropped:,}): the kernel then drops the last packet of a handshake "
            "that this side takes for a connection."
        )
    uncounted = "" if agrees else _uncounted(series[-1].phase, lost, more=last.accepted > established + early)
    text += uncounted
    return SinkResult(
        accepted=last.accepted,
        open_peak=max(line.open for line in lines),
        end_of_hold=(_end_of(series, Phase.HOLD, Phase.RAMP, Phase.CHURN).sink or last).open,
        agrees=None if uncounted else agrees,
        text=text + _survived(last),
        source_ports=sum(row.source_ports for row in last.sources or ()),
        sources=last.sources or (),
        failures=last.failures,
    )


def _uncounted(phase: Phase, lost: Collection[str], *, more: bool) -> str:
    """Return why one side has not counted to the end, as a sentence; "" where both have.

    lost: events of processes that were lost; more: the sinks counted more than this side.
    """
    if phase is not Phase.DONE:
        return " Both were counted while the run was on its way, at moments of their own."
    if more and "worker-lost" in lost:
        return " A worker ended before it had counted its last ones."
    if not more and "sink-lost" in lost:
        return " A sink ended before it had counted its last ones."
    return ""


def _survived(last: SinkLine) -> str:
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


def _reset_early(plan: Plan, last: Line) -> int:
    """Return the connections that a sink of ours accepted and reset on purpose before the attempt was seen to end."""
    if not any(target.sink and (target.behaviour.reset or target.behaviour.drop) for target in plan.targets):
        return 0
    return sum(error.times for error in last.errors if (error.syscall, error.errno) == ("connect", "ECONNRESET"))


def _datagram_sink(
    phase: Phase, last: SinkLine, ours: Mapping[str, int], theirs: Mapping[str, int], lost: Collection[str]
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
    uncounted = "" if agrees else _uncounted(phase, lost, more=True)
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


def _kernel(series: Sequence[Line]) -> KernelCounts:
    delta, peak, ramp_peak, states = _counted([(line, line.kernel) for line in series if line.kernel])
    at_sinks = [(line, line.kernel.sink) for line in series if line.kernel.sink]
    sink = None
    if at_sinks:  # they live in a namespace of their own
        sink_delta, sink_peak, _, sink_states = _counted(at_sinks)
        sink = SinkKernelCounts(delta=sink_delta, peak=sink_peak, states=sink_states)
    return KernelCounts(
        delta=delta, peak=peak, ramp_peak=ramp_peak, states=states, sampling=_sampling(series), sink=sink
    )


def _sampling(series: Sequence[Line]) -> Sampling | None:
    """Return what sampling the kernel cost; None where no line says so."""
    for line in reversed(series):
        if cost := line.kernel.sampling:
            run_cpu_s = cost.run_cpu_s  # only the last line has it, which a run that was killed lacks
            return Sampling(
                samples=cost.samples,
                listings=cost.listings,
                cpu_s=cost.cpu_s,
                run_cpu_s=run_cpu_s,
                share=round(cost.cpu_s / run_cpu_s, 4) if run_cpu_s else None,
                share_of_a_core=round(cost.cpu_s / line.t_s, 4) if line.t_s else None,
            )
    return None


def _fullest(samples: Collection[tuple[Line, SinkKernelLine]]) -> States | None:
    """Return sockets by state when they were most, and when that was; None where they were never counted."""
    listed = [(line, kernel, kernel.states) for line, kernel in samples if kernel.states]
    if not listed:
        return None
    line, kernel, states = max(listed, key=lambda sample: sum(sample[2].values()))  # the first of equals
    return States(t_s=round(max(line.t_s - (kernel.states_age_s or 0.0), 0.0), 3), counts=dict(states))


def _counted(
    samples: Collection[tuple[Line, SinkKernelLine]],
) -> tuple[dict[str, int], dict[str, int], dict[str, int], States | None]:
    """Return what was added to each counter, the peaks of the gauges, those of the ramp, and sockets by state.

    The peaks of the ramp leave out those of the drain: what the run's own closing left in TIME-WAIT stopped nothing.
    """
    peak: dict[str, int] = {}
    ramp_peak: dict[str, int] = {}
    for line, kernel in samples:
        for name, value in kernel.now.items():
            peak[name] = max(value, peak.get(name, 0))
            if line.phase in _OPENING:
                ramp_peak[name] = max(value, ramp_peak.get(name, 0))
    # The last lines may have none: a second Ctrl-C ends the process through which the namespace is read.
    delta = next((dict(kernel.delta) for _, kernel in reversed(tuple(samples))), {})
    return delta, peak, ramp_peak, _fullest(samples)


def _generator(plan: Plan, series: Sequence[Line], events: Sequence[Event]) -> GeneratorResult:
    """Return whether loadgen itself kept up; where it did not, its figures are about itself."""
    lag = np.zeros(histogram.BUCKETS, dtype=np.int64)
    for line in series:
        histogram.accumulate(lag, line.lag_ns)
    lag_ms = histogram.quantile_ns(lag, 0.99) / 1e6
    lateness_ms = histogram.quantile_ns(_latency(series)[Latency.LATENESS], 0.99) / 1e6
    reasons = [event.text for event in events if event.event in STALLED]
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
        lag_ms_p99=round(lag_ms, 3),
        workers=plan.workers,
        cpu_s=series[-1].cpu_s if series else 0.0,
        user_cpu_s=None if not series or series[-1].user_cpu_s is UNSET else series[-1].user_cpu_s,
    )
