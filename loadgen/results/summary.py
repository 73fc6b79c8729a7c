"""The lines of a run folded into one object: summary.json.

A pure function of what is in the run directory, used by the run itself and by `loadgen report`, so
that a run whose orchestrator was killed is summed up by the same code from the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

import numpy as np

from loadgen.capacity.time_wait import came_true
from loadgen.clock import NS_PER_US
from loadgen.model import Phase, Plan, Transport
from loadgen.outcomes import Outcome
from loadgen.results import histogram, prediction
from loadgen.results.block import Latency, PairColumn
from loadgen.results.verdict import decide
from loadgen.scenario.expect import SOMETHING_OPENED, Expectation

SCHEMA: Final = "loadgen.summary/1"

#: Events after which a run says less than it should. "ended" must be there, these must not.
CUT_SHORT: Final = frozenset({"interrupted", "worker-lost", "sink-lost", "zygote-lost", "results-lost"})

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
#: An arrival that is this late no longer belongs to the rate that was asked for: ten ticks of a
#: millisecond timer, and more than a loopback or data-centre round trip that one wants to measure.
LATENESS_LIMIT_MS: Final = 10.0
#: A worker whose loop stands still for so long sees answers and losses late by as much.
LAG_LIMIT_MS: Final = 200.0

#: What every line must have to be summed up.
SERIES_KEYS: Final = frozenset({"t_s", "phase", "established", "open", "pairs", "latency_ns", "lag_ns"})
EVENT_KEYS: Final = frozenset({"event", "text"})

Line = Mapping[str, Any]


def summarise(
    plan_json: Mapping[str, Any],
    host: Mapping[str, Any],
    series: Sequence[Line],
    events: Sequence[Line],
    *,
    run: str,
) -> dict[str, Any]:
    """What a run came to.

    plan_json, host, series, events: the contents of the run directory's files; the series may be
    empty or cut off anywhere. Counts are of connections, times in the unit of the key's name.
    """
    plan = Plan.from_json(dict(plan_json))
    last: Line = series[-1] if series else {}
    happened = {event["event"] for event in events}
    complete = "ended" in happened and not happened & CUT_SHORT
    started = int(last.get("started", 0))
    scheduled = plan.scheduled if plan.scheduled is not None else started
    latency = _latency(series)
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "scenario": plan.name,
        "run": run,
        "started_at": host.get("started_at"),
        "duration_s": last.get("t_s", 0.0),
        "complete": complete,
        "incomplete_because": None if complete else _why_incomplete(events),
        "arrivals": {
            "scheduled": scheduled,
            "started": started,
            # Of a run that was cut off nobody could count what it never started; the rest is that.
            "not_started": last.get("not_started", 0) if complete else scheduled - started,
        },
        "outcomes": {key: last.get(key, 0) for key in ("established", "failed", "in_flight", "retried")},
        "errors": [
            {"syscall": syscall, "errno": number, "outcome": outcome, "count": count}
            for syscall, number, outcome, count in last.get("errors", ())
        ],
        "open": {
            "peak": max((line.get("open_peak", line["open"]) for line in series), default=0),
            "end_of_hold": _end_of(series, Phase.HOLD, Phase.RAMP, Phase.CHURN).get("open", 0),
            "lost": last.get("lost", 0),
        },
        "rate_per_s": _rates(series),
        "traffic": _traffic(plan, last, latency) if plan.traffic or plan.tls else None,
        "heartbeat": _heartbeat(plan, last, latency) if plan.heartbeat else None,
        "churn": _churn(plan, series, complete=complete) if plan.churn else None,
        "tenths_s": [round(later - earlier, 6) for earlier, later in pairwise((0.0, *last.get("tenths_s", ())))],
        "cost_us": list(last.get("cost_us", ())),
        "cost_last_to_first": _last_to_first(last.get("cost_us", ())),
        "phases": _phases(series),
        "latency_us": {
            row.name.lower(): {
                **{
                    name: round(histogram.quantile_ns(latency[row], q) / NS_PER_US, 1) for name, q in _QUANTILES.items()
                },
                "max": round(histogram.max_ns(latency[row]) / NS_PER_US, 1),
                "count": int(latency[row].sum()),
            }
            for row in Latency
            if row in (Latency.LATENESS, Latency.CONNECT, Latency.ARRIVAL) or latency[row].any()
        },
        "sources": _sources(plan, series),
        "sink": _sink(plan, series, events),
        "probes": _probes(events),
        "kernel": _kernel(series),
        "generator": _generator(plan, series, events),
    }
    summary["verdict"] = decide(summary, plan, host)
    summary["prediction"] = prediction.held(plan, summary["verdict"], summary["churn"], complete=complete)
    summary["expect"] = [_held(expectation, summary) for expectation in _expectations(plan, summary)]
    return summary


def broken_invariants(summary: Mapping[str, Any]) -> list[str]:
    """The sums that must always hold and do not; empty unless loadgen has a bug."""
    arrivals, outcomes = summary["arrivals"], summary["outcomes"]
    problems = []
    if arrivals["scheduled"] != arrivals["started"] + arrivals["not_started"]:
        problems.append(f"scheduled is not started + not_started: {arrivals}")
    if arrivals["started"] != outcomes["established"] + outcomes["failed"] + outcomes["in_flight"]:
        problems.append(f"started ({arrivals['started']}) is not established + failed + in_flight: {outcomes}")
    if summary["complete"] and outcomes["in_flight"]:
        problems.append(f"a complete run has {outcomes['in_flight']} attempts in flight")
    return problems


def _expectations(plan: Plan, summary: Mapping[str, Any]) -> list[Expectation]:
    """Return the expectations of the scenario, and where no connection opened that one did, if none allows for it."""
    expectations = [Expectation.parse(text) for text in plan.expect]
    opened_nothing = summary["complete"] and summary["arrivals"]["scheduled"] and not summary["outcomes"]["established"]
    if opened_nothing and not any(expectation.allows_for_no_connection for expectation in expectations):
        expectations.append(SOMETHING_OPENED)
    return expectations


def _held(expectation: Expectation, summary: Mapping[str, Any]) -> dict[str, Any]:
    passed, observed = expectation.check(summary)
    return {"expression": expectation.text, "passed": passed, "observed": observed}


def _why_incomplete(events: Sequence[Line]) -> str:
    reasons = [event["text"] for event in events if event["event"] in CUT_SHORT]
    return "; ".join(reasons) or "the run ended before its summary could be written"


def _last_to_first(cost_us: Sequence[float]) -> float | None:
    """How many times as much a connection of the last tenth cost as one of the first; None if unknown."""
    return round(cost_us[-1] / cost_us[0], 2) if len(cost_us) == 10 and cost_us[0] > 0 else None


def _end_of(series: Sequence[Line], *phases: Phase) -> Line:
    """The last line of the first of these phases that the run came to."""
    for phase in phases:
        for line in reversed(series):
            if line["phase"] == phase.value:
                return line
    return {}


def _phases(series: Sequence[Line]) -> dict[str, float]:
    """How long each phase took, in seconds; its last line stands at its end."""
    begun = 0.0
    lengths = {}
    opening = (Phase.CHURN,) if _end_of(series, Phase.CHURN) else (Phase.RAMP, Phase.HOLD)
    for phase in (*opening, Phase.DRAIN):
        ended = _end_of(series, phase).get("t_s", begun)
        lengths[f"{phase.value}_s"] = round(ended - begun, 6)
        begun = ended
    return lengths


def _rates(series: Sequence[Line]) -> dict[str, float]:
    last: Line = series[-1] if series else {}
    ramp_s = last.get("ramp_s", 0.0)
    mean = last["established"] / ramp_s if ramp_s else 0.0
    per_line = [
        (later["established"] - earlier["established"]) / (later["t_s"] - earlier["t_s"])
        for earlier, later in pairwise(({"t_s": 0.0, "established": 0}, *series))
        if later["phase"] in _OPENING and later["t_s"] - earlier["t_s"] > _SHORT_S
    ]
    # Of a ramp shorter than an interval the mean is all there is to know.
    return {"established_mean": round(mean, 1), "established_peak": round(max([mean, *per_line]), 1)}


#: While connections are being opened.
_OPENING: Final = frozenset({Phase.RAMP.value, Phase.CHURN.value})
#: Two lines closer than this are a change of phase beside an interval: too short to make a rate of.
_SHORT_S: Final = 0.05


def _latency(series: Sequence[Line]) -> Any:
    counts = np.zeros((len(Latency), histogram.BUCKETS), dtype=np.int64)
    for line in series:
        for row in Latency:
            histogram.accumulate(counts[row], line["latency_ns"].get(row.name.lower(), {}))
    return counts


def _churn(plan: Plan, series: Sequence[Line], *, complete: bool) -> dict[str, Any]:
    """How fast connections were opened and closed, and whether that is what the ports were thought to give."""
    assert plan.churn
    last: Line = series[-1] if series else {}
    kernel = _kernel(series)
    lasted_s = _end_of(series, Phase.CHURN).get("t_s", 0.0)
    established = last.get("established", 0)
    return {
        "loop": "closed" if plan.scheduled is None else "open",
        "duration_s": plan.churn.duration_s,
        "lasted_s": lasted_s,
        "concurrency": plan.connections,
        "exchanges": plan.churn.exchanges if plan.traffic else 0,
        "closed": last.get("closed", 0),
        "mean_per_s": round(established / lasted_s, 3) if lasted_s else 0.0,
        "sustained_per_s": _end_of(series, Phase.CHURN).get("sustained_per_s", 0.0),
        "first_denied_s": last.get("first_denied_s"),
        "ceiling": asdict(plan.ceiling) if plan.ceiling else None,
        "as_predicted": _came_true(plan, last) if complete and plan.ceiling else None,
        "recycled": kernel["delta"].get("TcpExt.TWRecycled", 0),
        "time_waits": kernel["delta"].get("TcpExt.TW", 0),
        "overflows": kernel["delta"].get("TcpExt.TCPTimeWaitOverflow", 0),
        "time_wait_peak": kernel["peak"].get("sockstat.tcp_tw", 0),
    }


def _traffic(plan: Plan, last: Line, latency: Any) -> dict[str, Any]:
    """What the connections carried, and how it went."""
    return {
        "transport": plan.transport.value,
        "protocol": plan.traffic.protocol,
        "tls": plan.tls is not None,
        "handshakes": int(latency[Latency.HANDSHAKE].sum()),
        "resumed": last.get("resumed", 0),
        "replies": int(latency[Latency.EXCHANGE].sum()),
        "wrong": last.get("wrong", 0),
        **(_datagrams(last, latency) if plan.transport is Transport.UDP else {}),
    }


def _datagrams(last: Line, latency: Any) -> dict[str, int]:
    """Requests sent over UDP: those answered in time, and those lost. What is on its way at the end is neither."""
    return {
        "sent": last.get("asked", 0),
        "answered": int(latency[Latency.EXCHANGE].sum()),
        "lost": last.get("unanswered", 0),
    }


def _heartbeat(plan: Plan, last: Line, latency: Any) -> dict[str, Any]:
    """Whether those held connections that were asked for a sign of life gave one."""
    assert plan.heartbeat
    return {
        "every_s": plan.heartbeat.every_s,
        "connections": last.get("beating", 0),
        "sent": last.get("beats", 0),
        "answered": int(latency[Latency.EXCHANGE].sum()),
        "missed": last.get("missed", 0),
        "wrong": last.get("wrong", 0),
    }


def _came_true(plan: Plan, last: Line) -> bool:
    none_left = {Outcome.NO_FREE_FOUR_TUPLE.value, Outcome.NO_FREE_PORT.value}
    return came_true(
        plan,
        established=last.get("established", 0),
        denied=sum(count for _, _, outcome, count in last.get("errors", ()) if outcome in none_left),
        first_denied_s=last.get("first_denied_s"),
    )


def _sources(plan: Plan, series: Sequence[Line]) -> list[dict[str, Any]]:
    if not series:
        return []
    peaks = np.max([[pair[PairColumn.OPEN] for pair in line["pairs"]] for line in series], axis=0)
    return [
        {
            "source": source,
            "target": str(target),
            "capacity": plan.capacity_per_pair,
            "peak_open": int(peak),
            "established": counts[PairColumn.ESTABLISHED],
            "failed": counts[PairColumn.FAILED],
        }
        for (source, target), counts, peak in zip(plan.pairs, series[-1]["pairs"], peaks, strict=True)
    ]


def _probes(events: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """What each probe saw; of one that could not run, the reason and no number."""
    return {
        event["name"]: event.get("result") or {"reason": event.get("reason", "")}
        for event in events
        if event["event"] == "probe" and "name" in event
    }


def _sink(plan: Plan, series: Sequence[Line], events: Sequence[Line]) -> dict[str, Any] | None:
    """What the listening side saw, and whether it is what this side saw; None without a sink."""
    seen = [line["sink"] for line in series if line.get("sink")]
    if not seen:
        return None
    last = seen[-1]
    accepted = last["accepted"]
    sunk = {target.endpoint for target in plan.targets if target.sink and target.accept_after_s is not None}
    ours: dict[str, int] = {}
    for (source, target), counts in zip(plan.pairs, series[-1]["pairs"], strict=True):
        if target in sunk and counts[PairColumn.ESTABLISHED]:
            seen_as = source.partition("%")[0]  # the other side knows nothing of our zones
            ours[seen_as] = ours.get(seen_as, 0) + counts[PairColumn.ESTABLISHED]
    named = {str(endpoint) for endpoint in sunk}
    for event in events:
        if event["event"] == "probe" and event.get("target") in named:
            for source, count in event.get("sources", {}).items():
                ours[source] = ours.get(source, 0) + count
    theirs = {row["source"]: row["accepted"] for row in last.get("sources", ())}
    if plan.transport is Transport.UDP:
        return _heard(last, ours, theirs)
    established, early = sum(ours.values()), _reset_early(plan, series[-1])
    agrees = accepted == established + early
    text = f"The sink accepted {accepted:,} connections, this side established {established:,}"
    text += f" and saw {early:,} reset before it knew that they were." if early else "."
    # What a killed worker counted for each pair may be a tenth of a second older than its total.
    whole = series[-1].get("workers", {}).get("alive", plan.workers) == plan.workers
    if agrees and whole and theirs and theirs != ours and not early:
        agrees = False
        other = next(source for source in sorted({*ours, *theirs}) if ours.get(source) != theirs.get(source))
        text = (
            f"The sink accepted {theirs.get(other, 0):,} connections from {other}, "
            f"this side established {ours.get(other, 0):,}."
        )
    elif agrees and theirs == ours:
        text = "Every source address has the same count of connections on both sides."
    cut_off = series[-1]["phase"] != Phase.DONE.value and not agrees
    if cut_off:
        text += " Both were counted while the run was on its way, at moments of their own."
    return {
        "accepted": accepted,
        "open_peak": max(line["open"] for line in seen),
        "end_of_hold": (_end_of(series, Phase.HOLD, Phase.RAMP, Phase.CHURN).get("sink") or last)["open"],
        "agrees": None if cut_off else agrees,
        "text": text,
        "source_ports": sum(row["source_ports"] for row in last.get("sources", ())),
        "sources": list(last.get("sources", ())),
    }


def _reset_early(plan: Plan, last: Line) -> int:
    """Connections that a sink of ours accepted and reset, as its behaviour says, before the attempt was seen to end."""
    if not any(target.sink and (target.behaviour.reset or target.behaviour.drop) for target in plan.targets):
        return 0
    early = ("connect", "ECONNRESET")
    return sum(count for syscall, number, _, count in last.get("errors", ()) if (syscall, number) == early)


def _heard(last: Line, ours: Mapping[str, int], theirs: Mapping[str, int]) -> dict[str, Any]:
    """What a sink of UDP saw: not connections, but endpoints that datagrams came from, each once.

    The two sides agree when no endpoint sent that is not one of ours: of ours some may have sent nothing, or nothing
    that arrived, and in churn one may serve again and again.
    """
    strange = next((source for source in sorted(theirs) if theirs[source] > ours.get(source, 0)), None)
    accepted, established = last["accepted"], sum(ours.values())
    text = f"The sink had datagrams from {accepted:,} endpoints; this side connected {established:,} sockets."
    if strange is not None:
        text = (
            f"The sink had datagrams from {theirs[strange]:,} endpoints of {strange}, "
            f"this side connected {ours.get(strange, 0):,} sockets there."
        )
    return {
        "accepted": accepted,
        "open_peak": 0,
        "end_of_hold": 0,
        "agrees": strange is None and accepted <= established,
        "text": text,
        "source_ports": sum(row["source_ports"] for row in last.get("sources", ())),
        "sources": list(last.get("sources", ())),
        "datagrams": dict(last.get("datagrams", {})),
    }


def _kernel(series: Sequence[Line]) -> dict[str, Any]:
    found: dict[str, Any] = _kernel_of([{**line, "kernel": line.get("kernel", {})} for line in series])
    there = [{**line, "kernel": line["kernel"]["sink"]} for line in series if line.get("kernel", {}).get("sink")]
    if there:  # the sinks live in a namespace of their own
        found["sink"] = {key: value for key, value in _kernel_of(there).items() if key != "ramp_peak"}
    found["sampling"] = _sampling(series)
    return found


def _sampling(series: Sequence[Line]) -> dict[str, Any] | None:
    """What looking cost; None where no line says so."""
    line = next((line for line in reversed(series) if line.get("kernel", {}).get("sampling")), None)
    if line is None:
        return None
    spent: Mapping[str, Any] = line["kernel"]["sampling"]
    run_cpu_s = spent.get("run_cpu_s")  # only the last line has it, which a run that was killed has not
    return {
        **spent,
        "run_cpu_s": run_cpu_s,
        "share": round(spent["cpu_s"] / run_cpu_s, 4) if run_cpu_s else None,
        "share_of_a_core": round(spent["cpu_s"] / line["t_s"], 4) if line["t_s"] else None,
    }


def _fullest(series: Sequence[Line]) -> dict[str, Any] | None:
    """Sockets by state when they were most, and when that was; None where nobody counted them."""
    counted = [line for line in series if line.get("kernel", {}).get("states")]
    if not counted:
        return None
    line = max(counted, key=lambda line: sum(line["kernel"]["states"].values()))  # the first of equals
    kernel = line["kernel"]
    return {"t_s": round(max(line["t_s"] - kernel.get("states_age_s", 0.0), 0.0), 3), "counts": dict(kernel["states"])}


def _kernel_of(series: Sequence[Line]) -> dict[str, Any]:
    peak: dict[str, int] = {}
    # Apart from those of the drain: what the run's own closing left in TIME-WAIT can have stopped nothing.
    ramp_peak: dict[str, int] = {}
    for line in series:
        for name, value in line.get("kernel", {}).get("now", {}).items():
            peak[name] = max(value, peak.get(name, 0))
            if line["phase"] in _OPENING:
                ramp_peak[name] = max(value, ramp_peak.get(name, 0))
    # The last lines may have none: a second Ctrl-C ends the process through which the namespace is read.
    delta: dict[str, int] = next((line["kernel"]["delta"] for line in reversed(series) if line.get("kernel")), {})
    return {"delta": dict(delta), "peak": peak, "ramp_peak": ramp_peak, "states": _fullest(series)}


def _generator(plan: Plan, series: Sequence[Line], events: Sequence[Line]) -> dict[str, Any]:
    """Whether loadgen itself kept up; when it did not, its numbers are about itself."""
    lag = np.zeros(histogram.BUCKETS, dtype=np.int64)
    for line in series:
        histogram.accumulate(lag, line["lag_ns"])
    lag_ms = histogram.quantile_ns(lag, 0.99) / 1e6
    lateness_ms = histogram.quantile_ns(_latency(series)[Latency.LATENESS], 0.99) / 1e6
    reasons = [event["text"] for event in events if event["event"] == "worker-stalled"]
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
    return {
        "trustworthy": not reasons,
        "reasons": reasons,
        "lag_ms_p99": round(lag_ms, 3),
        "workers": plan.workers,
        "cpu_s": series[-1].get("cpu_s", 0.0) if series else 0.0,
    }
