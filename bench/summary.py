"""One case as plain values: every spread, ratio and verdict that tables, chart and JSON show."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.cases import LOADGEN
from bench.figures import Spread, quarter_rates, ratio_by_round, tenth_rates
from bench.samples import Holding, Recording, Result, Sample, Watching

#: Percentiles that a program may know.
LATENCIES = ("connect_p50_us", "connect_p99_us", "lateness_p50_us", "lateness_p99_us")
#: What holding costs is told for so many connections.
PER_CONNECTIONS = 10_000


def quarters(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Median rate of each quarter, conn/s, and last / first quarter of each sample that knows its tenths."""
    rates = [quarter_rates(s.tenths_s, s.established) for s in samples if s.established and len(s.tenths_s) == 10]
    medians = [statistics.median(column) for column in zip(*rates, strict=True)]
    return medians, [rate[3] / rate[0] for rate in rates]


def tenths(samples: Sequence[Sample]) -> list[dict[str, float]]:
    """Rate in each tenth, conn/s, as spreads; empty if no sample knows its tenths."""
    rates = [tenth_rates(s.tenths_s, s.established) for s in samples if s.established and len(s.tenths_s) == 10]
    return [asdict(Spread.of(column)) for column in zip(*rates, strict=True)]


def held(holdings: Sequence[Holding]) -> dict[str, Any]:
    """What holding cost on either side, as spreads.

    CPU seconds per second for PER_CONNECTIONS; bytes of one process, as they are: most of them are its own, and
    do not grow with what it holds.
    """

    def spread(values: list[float]) -> dict[str, float]:
        return asdict(Spread.of(values))

    return {
        "per_connections": PER_CONNECTIONS,
        "workers_cpu_per_s": spread([h.workers_cpu_per_s * PER_CONNECTIONS / h.connections for h in holdings]),
        "sinks_cpu_per_s": spread([h.sinks_cpu_per_s * PER_CONNECTIONS / h.connections for h in holdings]),
        "worker_bytes": spread([h.worker_bytes for h in holdings]),
        "sink_bytes": spread([h.sink_bytes for h in holdings]),
    }


def recording(rounds: Sequence[Recording]) -> dict[str, Any]:
    """What a connection cost with recording, without and with it again, and what came of it, as spreads.

    The cost of recording is the mean of the two that record less the one that does not; the control, the difference
    of the two, is what the method makes of nothing.
    """
    return {
        **{name: asdict(Spread.of([getattr(r, name) for r in rounds])) for name in asdict(rounds[0])},
        "cost_us": asdict(Spread.of([(r.recording_us + r.control_us) / 2 - r.without_us for r in rounds])),
        "difference_of_control_us": asdict(Spread.of([r.control_us - r.recording_us for r in rounds])),
    }


def watching(rounds: Sequence[Watching]) -> dict[str, Any]:
    """How many sockets there were, the same in every round, and how fast they were watched, as spreads."""
    return {
        "sockets": rounds[0].sockets,
        "groups": rounds[0].groups,
        **{
            name: asdict(Spread.of([getattr(r, name) for r in rounds]))
            for name in ("dump_s", "group_s", "sockets_per_s")
        },
    }


def of_program(samples: Sequence[Sample]) -> dict[str, Any]:
    """What one program did in all rounds together."""
    summary: dict[str, Any] = {"rate_per_s": asdict(Spread.of([s.rate_per_s for s in samples]))}
    by_quarter, ratios = quarters(samples)
    if ratios:
        summary |= {
            "quarters_per_s": by_quarter,
            "tenths_per_s": tenths(samples),
            "last_to_first": asdict(Spread.of(ratios)),
        }
    if costs := [s.cost_us for s in samples if s.cost_us is not None]:
        summary["cost_us"] = asdict(Spread.of(costs))
    for key in LATENCIES:
        if known := [value for s in samples if (value := getattr(s, key)) is not None]:
            summary[key] = asdict(Spread.of(known))
    if looks := [s.memory_bytes for s in samples if s.memory_bytes is not None]:
        summary["memory_bytes"] = asdict(Spread.of(looks))
    if holdings := [s.holding for s in samples if s.holding is not None]:
        summary["held"] = held(holdings)
    return summary


def summarise(result: Result) -> dict[str, Any]:
    """One case, with a part for each program that has samples, by its name.

    `met` is None when there is nothing to judge or a sample is not what the case asked for.
    """
    case = result.case
    troubles = [
        f"{sample.program}: {trouble}"
        for sample in result.baseline + result.loadgen
        if (trouble := sample.trouble(case))
    ]
    summary: dict[str, Any] = {
        "case": asdict(case),
        "title": case.title,
        "label": case.label,
        "size": case.size,
        "met": None,
        "troubles": troubles,
    }
    for program, samples in ((case.baseline, result.baseline), (LOADGEN, result.loadgen)):
        if program and samples:
            summary[program] = of_program(samples)
    if result.recording:
        summary["recording"] = recording(result.recording)
    if result.watching:
        summary["watching"] = watching(result.watching)
        if case.target is not None:
            summary["met"] = bool(summary["watching"]["sockets_per_s"]["median"] >= case.target)
    rounds = list(zip(result.loadgen, result.baseline, strict=False))  # a failure may have cut the last short
    of_what = "connect_p50_us" if case.shows == "latencies" else "rate_per_s"
    compared = [(a, b) for pair in rounds if (a := getattr(pair[0], of_what)) and (b := getattr(pair[1], of_what))]
    if not compared:
        return summary
    ours, theirs = [a for a, _ in compared], [b for _, b in compared]
    summary["ratio_of_medians"] = statistics.median(ours) / statistics.median(theirs)
    summary["ratio_by_round"] = asdict(ratio_by_round(ours, theirs))
    costs = [(ours.cost_us, theirs.cost_us) for ours, theirs in rounds if ours.cost_us and theirs.cost_us]
    if costs:
        summary["cost_ratio_by_round"] = asdict(Spread.of([ours / theirs for ours, theirs in costs]))
    judged = (
        summary[LOADGEN].get("last_to_first", {}).get("median")
        if case.shows == "quarters"
        else summary["ratio_by_round"]["median"]
    )
    if case.target is not None and not troubles and judged is not None:
        summary["met"] = abs(judged - 1) <= case.target if case.shows == "latencies" else bool(judged >= case.target)
    return summary
