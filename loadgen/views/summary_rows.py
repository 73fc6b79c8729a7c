"""Sentences and labelled rows about one run, which its text, its page and its CI summary share."""

from __future__ import annotations

from typing import Final, NamedTuple

from loadgen.capacity.limits import LIMITS
from loadgen.format import count, latency, percent, rate, scalar, seconds, signed, visible
from loadgen.kernel import snmp
from loadgen.model import Ceiling
from loadgen.results.proof import gained
from loadgen.results.schema.carried import ChurnResult
from loadgen.results.schema.files import Summary
from loadgen.results.schema.proof import ProofResult
from loadgen.results.schema.run import AgentResult, ExpectationResult, Quantiles, RunSummary

#: Counters of a gateway that a summary shows, and their words.
_AT_GATEWAY: Final = (
    ("insert_failed", "packets without a free port (insert_failed)"),
    ("drop", "dropped (drop)"),
    ("early_drop", "entries evicted (early_drop)"),
    ("found", "ports tried and taken (found)"),
    ("invalid", "packets of no connection (invalid)"),
    ("clash_resolve", "clashes resolved (clash_resolve)"),
    ("search_restart", "searches begun again (search_restart)"),
)
#: Counters of TIME-WAIT in the kernel beside those of entries, in the order in which a row has them.
_TIME_WAIT: Final = ("TcpExt.TWRecycled", "TcpExt.TCPTimeWaitOverflow")
#: The latencies of a run by name, in the order in which every view has them.
LATENCIES: Final = ("lateness", "bind", "connect", "network", "arrival", "handshake", "exchange")
_NO_REASON: Final = "the summary does not say why"


class SummaryRow(NamedTuple):
    """A label and the text beside it. tone: "good", "bad" or ""."""

    label: str
    text: str
    tone: str = ""


def headline(summary: Summary) -> str:
    """Return the verdict in one sentence."""
    return summary.verdict.text.strip()


def limit(summary: RunSummary) -> str:
    """The limit of the verdict, or the limits that are left where it is open, and how sure that is."""
    verdict = summary.verdict
    if verdict.limit == "none":
        return "no limit reached, with findings" if verdict.findings else "no limit reached"
    names = " or ".join(verdict.candidates or (verdict.limit,))
    return f"limit: {names}" + (f" ({verdict.confidence})" if verdict.confidence not in (None, "certain") else "")


def ruled_out(summary: RunSummary) -> list[str]:
    """The limits that have the same symptom, each with the fact that rules it out."""
    return [f"{refuted.limit}: {refuted.because}" for refuted in summary.verdict.refuted or ()]


def attempts(summary: RunSummary) -> tuple[int, str]:
    """Return the number that the established connections are a share of, and its name: (400, "scheduled").

    A closed loop has no schedule, the next connection begins when another ends: its name there is "started".
    """
    if summary.churn and summary.churn.loop == "closed":
        return summary.arrivals.started, "started"
    return summary.arrivals.scheduled, "scheduled"


def incomplete_because(summary: Summary) -> str | None:
    """Return the reason why the run did not come to its planned end; None when it did."""
    return None if summary.complete else summary.incomplete_because or _NO_REASON


def distrust(summary: RunSummary) -> tuple[str, ...] | None:
    """Return the reasons to doubt the generator's own numbers; None when there are none."""
    generator = summary.generator
    return None if generator.trustworthy else generator.reasons or (_NO_REASON,)


class AgentRow(NamedTuple):
    """The share of one agent in words. began: when it started beside the first, with the error; "" where unknown."""

    name: str
    run: str
    scheduled: str
    established: str
    failed: str
    lost: str
    peak: str
    rate: str
    connect_p50: str
    connect_p99: str
    began: str
    limit: str
    complete: bool
    why: str


def agents(summary: RunSummary) -> list[AgentRow]:
    """The shares of several agents; empty for a run of one host."""
    return [
        AgentRow(
            visible(agent.name),
            visible(agent.run),
            count(agent.arrivals.scheduled),
            count(agent.outcomes.established),
            count(agent.outcomes.failed),
            count(agent.open.lost),
            count(agent.open.peak),
            rate(agent.rate_per_s.established_mean),
            latency(agent.latency_us.connect.p50, "us"),
            latency(agent.latency_us.connect.p99, "us"),
            _began(agent),
            agent.verdict.limit,
            agent.complete,
            visible(agent.incomplete_because or ""),
        )
        for agent in summary.agents or ()
    ]


def _began(agent: AgentResult) -> str:
    if agent.started_ms is None:
        return ""
    error = "" if agent.clock_error_ms is None else f" ± {agent.clock_error_ms:.3g} ms"
    return f"+{agent.started_ms:.4g} ms{error}"


def probes(summary: RunSummary) -> list[SummaryRow]:
    """Each probe by name, and its counts: "0 succeeded; connect EADDRNOTAVAIL 20"."""
    rows = []
    for name, result in summary.probes.items():
        if result.reason:
            text = f"could not run: {result.reason}"
        else:
            text = f"{count(result.established)} succeeded"
            for syscall, times in (result.errors or {}).items():
                text += "".join(f"; {syscall} {errno} {count(number)}" for errno, number in times.items())
            text += f"; {result.holders}" if result.holders else ""
        rows.append(SummaryRow(visible(name), visible(text)))
    return rows


def traffic(summary: RunSummary) -> SummaryRow | None:
    """The traffic of the connections; bad when a reply was wrong, None when they carried nothing."""
    carried = summary.traffic
    if not carried:
        return None
    exchanges, udp = carried.protocol != "tcp", carried.transport == "udp"
    layers = ((carried.protocol, exchanges), ("TLS", carried.tls), ("UDP", udp))
    text = " over ".join(layer for layer, used in layers if used)
    if carried.tls:
        text += f": {count(carried.handshakes)} handshakes, {count(carried.resumed)} of them resumed"
    if exchanges:
        text += f"; {count(carried.replies)} right replies, {count(carried.wrong)} wrong"
    if udp:
        text += f", {count(carried.lost)} of {count(carried.sent)} lost"
    return SummaryRow("traffic", text, "bad" if carried.wrong else "")


def heartbeat(summary: RunSummary) -> SummaryRow | None:
    """The heartbeats of held connections; bad when one was missed or wrong, None without heartbeats."""
    beats = summary.heartbeat
    if not beats:
        return None
    text = (
        f"{count(beats.sent)} sent by {count(beats.connections)} connections, "
        f"{count(beats.answered)} answered, {count(beats.missed)} missed, {count(beats.wrong)} wrong"
    )
    return SummaryRow("heartbeat", text, "bad" if beats.missed or beats.wrong else "")


def not_attributed(summary: RunSummary) -> SummaryRow | None:
    """The counts of which source and target are not known, and why; None where everything is broken down."""
    rest = summary.not_attributed
    if not rest:
        return None
    counts = (("established", rest.established), ("failed", rest.failed))
    text = ", ".join(f"{count(number)} {name}" for name, number in counts if number)
    return SummaryRow("not attributed", f"{text}: a worker ended before it had told their source and target", "bad")


def phases(summary: RunSummary) -> list[tuple[str, float]]:
    """The phases that the run had, with their seconds."""
    phases = summary.phases
    named = (("ramp", phases.ramp_s), ("hold", phases.hold_s), ("churn", phases.churn_s), ("drain", phases.drain_s))
    return [(name, value) for name, value in named if value is not None]


def expectation(result: ExpectationResult) -> str:
    """An expectation in one line: "FAIL  open.lost == 0, observed 3"."""
    return f"{'pass' if result.passed else 'FAIL'}  {result.expression}, observed {scalar(result.observed)}"


def latencies(summary: RunSummary) -> list[tuple[str, Quantiles]]:
    """Each latency that was measured, by name."""
    measured = [(name, getattr(summary.latency_us, name)) for name in LATENCIES]
    return [(name, quantiles) for name, quantiles in measured if quantiles and quantiles.count]


class ProofRow(NamedTuple):
    """A remedy that was tried: its number, the gains, the limit that the trial met, and what that shows in words."""

    number: int
    remedy: str
    claimed: str
    measured: str
    limit: str
    shows: str
    ok: bool
    note: str


def proofs(summary: RunSummary) -> list[ProofRow]:
    """The remedies that were tried, each with the gain it claims beside the gain that was measured."""
    return [
        ProofRow(
            number,
            visible(proof.remedy),
            _gain(proof, proof.claimed),
            _gain(proof, proof.measured),
            proof.limit or scalar(None),
            "comes true" if gained(proof) else "limit gone" if proof.ok else "DOES NOT",
            proof.ok,
            visible(f"could not run: {proof.reason}") if proof.reason else "",
        )
        for number, proof in enumerate(summary.proof or (), 1)
    ]


def _gain(proof: ProofResult, value: float | None) -> str:
    """A figure of a trial as a difference to the run before it: "+1,800"; a share of the ports or a cost itself."""
    if proof.quantity == "occupancy":
        return percent(value)
    if proof.quantity == "cost_us":
        return latency(value, "us")
    unit = " req." if proof.quantity == "requests" else ""
    return scalar(None) if value is None else f"{signed(round(value - proof.before))}{unit}"


def steady(summary: RunSummary) -> SummaryRow | None:
    """The part of the run in which nothing changes, or why there is none; None of a run that was too short to tell."""
    part = summary.steady
    if not part:
        return None
    if not part.reached:
        return SummaryRow("steady", f"no steady state: {part.reason or _NO_REASON}")
    span = f"{seconds(part.from_s)} to {seconds(part.to_s)}"
    if not summary.churn:
        low = "" if part.open_low == part.open_high else f"{count(part.open_low)} to "
        return SummaryRow("steady", f"{span}: {low}{count(part.open_high)} open, {count(part.lost)} lost")
    ended = part.established + part.failed
    failed = f"{count(part.failed)} of {count(ended)} failed" + (f" ({percent(part.failed_share)})" * bool(part.failed))
    return SummaryRow("steady", f"{span}: {rate(part.established_per_s)}, {failed}")


def churn(summary: RunSummary) -> list[SummaryRow]:
    """The rows of a run that opened and closed connections all the time; empty for others."""
    result = summary.churn
    if not result:
        return []
    loop = f"{result.loop} loop, at most {count(result.concurrency)} at a time"
    if result.exchanges:
        loop += f", {count(result.exchanges)} {'exchange' if result.exchanges == 1 else 'exchanges'} on each"
    established = f"{count(summary.outcomes.established)}, of these {count(result.closed)} closed again"
    pace = f"{rate(result.mean_per_s)} mean, {rate(result.sustained_per_s)} sustained"
    denied_s = result.first_denied_s
    return [
        SummaryRow("churn", loop),
        SummaryRow("duration", f"{seconds(result.lasted_s)} of {seconds(result.duration_s)} planned"),
        SummaryRow("established", f"{established}; {pace}"),
        *_ceiling(summary, result),
        SummaryRow("first denial", "none" if denied_s is None else f"{latency(denied_s * 1e6, 'us')} after the start"),
        SummaryRow(
            "TIME-WAIT",
            _time_wait(result.time_wait_peak, result.time_waits, result.recycled, result.overflows),
        ),
    ]


def _ceiling(summary: RunSummary, result: ChurnResult) -> list[SummaryRow]:
    """The predicted ceiling with its reason, and whether the run confirmed it."""
    ceiling = result.ceiling
    rows = [SummaryRow("predicted", most(ceiling))] if ceiling else []
    if result.as_predicted:
        rows.append(SummaryRow("observed", "as predicted", "good"))
    elif result.as_predicted is False:
        established = summary.outcomes.established
        text = f"NOT as predicted: {count(established)} established"
        if ceiling is None or ceiling.per_s is None:
            text += f", {count(summary.outcomes.failed)} failed, no limit predicted"
        elif ceiling.established is not None:
            bound = "at most " if established > ceiling.established else ""
            text += f", {bound}{count(ceiling.established)} predicted"
        rows.append(SummaryRow("observed", text, "bad"))
    return rows


def most(ceiling: Ceiling) -> str:
    """A predicted ceiling: "at most 100/s, 500 in all: 100 ports / 1 s: ...", or that there is none and why."""
    # Without a limit on the rate what is left as "established" is the schedule, which predicts nothing.
    text = "no limit"
    if ceiling.per_s is not None:
        text = f"at most {rate(ceiling.per_s)}"
        if ceiling.established is not None:
            text += f", {count(ceiling.established)} in all"
    return f"{text}: {ceiling.because}" if ceiling.because else text


def prediction(summary: RunSummary) -> SummaryRow | None:
    """The limit that the plan predicted beside the one observed; None of a plan that predicted nothing."""
    planned = summary.prediction
    if planned.limit is None:
        return None
    limit = planned.observed_limit
    # In churn a limit is a ceiling, which a run that is possible may well meet.
    met = planned.as_predicted and limit == planned.limit
    text = "no limit, the first would be " if planned.possible and not met else ""
    text += f"{planned.limit} at {count(planned.at_connections)} connections"
    if planned.at_s is not None:
        text += f", {seconds(planned.at_s)} after the start"
    reached = count(planned.observed_at)
    outcomes = {"none": f"no limit, {reached} connections", "incomplete": f"the run cut off at {reached}"}
    text += f"; observed {outcomes.get(limit, f'{limit} at {reached}')}"
    if planned.as_predicted is None:
        return SummaryRow("planned", text)
    if not planned.as_predicted:
        return SummaryRow("planned", f"{text}: NOT as predicted", "bad")
    # A plan without a limit holds also where something limited the run that no plan can know.
    beyond = planned.possible and limit not in ("none", planned.limit) and not summary.churn
    beyond = beyond and not LIMITS[limit].only_slows
    text += ", which no plan foretells: otherwise" if beyond else ":"
    return SummaryRow("planned", f"{text} as predicted", "good")


def other_side(summary: RunSummary) -> str | None:
    """TIME-WAIT at the sinks; None where they share a namespace with the load, or where there was none."""
    sink = summary.kernel.sink
    if not sink:
        return None
    others = [sink.delta.get(name, 0) for name in _TIME_WAIT]
    peak, moved = sink.peak.get("sockstat.tcp_tw", 0), [snmp.entered_time_wait(sink.delta), *others]
    return _time_wait(peak, *moved) if summary.churn or peak or any(moved) else None


def gateway(summary: RunSummary) -> SummaryRow | None:
    """The connection tracking of a lab's gateway; None without one."""
    side = summary.kernel.gateway
    if side is None:
        return None
    entries, size = side.peak.get("conntrack.count", 0), side.peak.get("conntrack.max", 0)
    parts = [f"at most {count(entries)} of {count(size)} entries"]
    for name, words in _AT_GATEWAY:
        if moved := side.delta.get(f"conntrack.{name}", 0):
            parts.append(f"{count(moved)} {words}")
    return SummaryRow("gateway", ", ".join(parts))


def _time_wait(peak: int, entered: int, recycled: int, overflows: int) -> str:
    return (
        f"{count(peak)} at once at most, {count(entered)} entered, "
        f"{count(recycled)} recycled, {count(overflows)} overflows"
    )
