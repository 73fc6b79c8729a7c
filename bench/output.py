"""What is shown and kept: tables for people, JSON and a chart for later."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.cases import LOADGEN, REFERENCE
from bench.chart import chart
from bench.samples import Result
from bench.summary import LATENCIES

METHOD = """\
Each round runs both programs, one after the other, taking turns at being first; every sample has fresh
sinks and starts when no socket of the sample before is left. Rate: established connections / (last
established - first attempt), over all processes; the sinks accept on the same cores meanwhile. In churn
the C client opens and closes a number of connections and loadgen goes on for a time; its rate is
churn.mean_per_s. "by round" is the median of the ratios inside each round, which the drift of a shared
machine disturbs least."""

LATENCIES_METHOD = """\
Open loop at about half of the rate that the C client reached just before without a schedule (median of three). Connect:
connect() called to known established. Lateness: due to connect() called; both make a socket ready before it is due. The
ratio is that of the connect p50; the goal is how far it may be from 1, either way."""

METRICS_METHOD = """\
The data plane of three workers in one process, 64 connections each in turn (bench/recording.py). Without recording:
latencies are neither copied nor sorted into histograms; counters, hundredths and the two clock readings per connection
stay. Cost: the mean of the two that record less the one that does not, inside each round. Difference of the control:
the two that record, of which nothing should come. The recorder alone: its calls in a loop, no sockets."""

HELD_METHOD = """\
Held for 10 s, the first second left out. CPU of the workers: from series.jsonl; of the sinks: from /proc/<pid>/stat.
Memory: Pss of one worker or sink, each of which has its share of the connections, with what it began with; what the
kernel takes for the sockets is not in it."""

WATCH_METHOD = """\
C clients and C sinks hold the connections, in one namespace: both ends of each are there to read. A round reads all
sockets through INET_DIAG once and groups the outbound ones, in one thread (bench/watching.py). Sockets per second: all
that were read / the time of both. A round that does not find what is held, a group for each source, ends the case."""

NAMES = {REFERENCE: "C reference", LOADGEN: "loadgen"}
RECORDING_NAMES = {
    "recording_us": "with recording",
    "without_us": "without",
    "control_us": "with recording, the control",
    "cost_us": "recording costs",
    "difference_of_control_us": "difference of the control",
}

Summary = Mapping[str, Any]


def spread_text(spread: Mapping[str, float], form: str, unit: float = 1.0) -> str:
    """Median, and least and most where they differ, in multiples of `unit`."""
    median, low, high = (spread[key] / unit for key in ("median", "low", "high"))
    if low == high:  # one round
        return f"{median:{form}}"
    return f"{median:{form}} ({low:{form}} - {high:{form}})"


def verdict_text(summary: Summary) -> str:
    """Whether the goal was met, with the goal."""
    target = summary["case"]["target"]
    if target is None:
        return "-"
    words = {True: "[green]met[/]", False: "[red]missed[/]", None: "not judged"}
    goals = {"latencies": f"1 ± {target:.2f}", "watch": f"{target:,.0f}/s"}
    return f"{words[summary['met']]} ({goals.get(summary['case']['shows'], f'{target:.2f}')})"


def _table(title: str, words: Sequence[str], numbers: Sequence[str], more_words: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in words:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in more_words:
        table.add_column(heading)
    return table


def rates_table(summaries: Sequence[Summary]) -> Table:
    """Rates beside the reference."""
    numbers = ("C reference", "loadgen", "medians' ratio", "by round")
    table = _table("connections opened per second: median (least - most)", ("case",), numbers, ("target",))
    for summary in summaries:
        ours = "ratio_by_round" in summary
        table.add_row(
            f"{summary['title']} ({summary['size']})",
            spread_text(summary[REFERENCE]["rate_per_s"], ",.0f"),
            spread_text(summary[LOADGEN]["rate_per_s"], ",.0f") if ours else "-",
            f"{summary['ratio_of_medians']:.2f}" if ours else "-",
            spread_text(summary["ratio_by_round"], ".2f") if ours else "-",
            verdict_text(summary),
        )
    return table


def latencies_table(summaries: Sequence[Summary]) -> Table:
    """Times to connect and lateness in an open loop, a line for each program and one for the ratio."""
    numbers = ("connect p50", "connect p99", "lateness p50", "lateness p99")
    table = _table("microseconds in an open loop: median (least - most)", ("case", "program"), numbers, ("target",))
    for summary in summaries:
        case = f"{summary['title']} ({summary['size']})"
        for program in (REFERENCE, LOADGEN):
            if part := summary.get(program):
                forms = (",.1f", ",.0f", ",.0f", ",.0f")  # the first is what is judged
                known = [(part.get(key), form) for key, form in zip(LATENCIES, forms, strict=True)]
                texts = [spread_text(spread, form) if spread else "-" for spread, form in known]
                table.add_row(case, NAMES[program], *texts, "")
                case = ""
        if "ratio_by_round" in summary:
            table.add_row("", "medians' ratio", f"{summary['ratio_of_medians']:.2f}", "", "", "", "")
            by_round = spread_text(summary["ratio_by_round"], ".2f")
            table.add_row("", "by round", by_round, "", "", "", verdict_text(summary))
    return table


def quarters_table(summaries: Sequence[Summary]) -> Table:
    """Rates by quarter of the port range, a line for each program."""
    numbers = ("first", "second", "third", "last", "last / first")
    title = "connections per second by quarter of the port range: medians"
    table = _table(title, ("strategy", "program"), numbers, ("target",))
    for summary in summaries:
        for program in (REFERENCE, LOADGEN):
            if "last_to_first" in (part := summary.get(program, {})):
                table.add_row(
                    summary["case"]["strategy"],
                    NAMES[program],
                    *(f"{rate:,.0f}" for rate in part["quarters_per_s"]),
                    spread_text(part["last_to_first"], ".2f"),
                    verdict_text(summary) if program == LOADGEN else "",
                )
    return table


def tenths_table(summaries: Sequence[Summary]) -> Table:
    """Rates by tenth of the connections; below the medians, if there were several rounds, least and most."""
    title = "connections per second by tenth of the connections: median; below it least - most, thousands"
    table = _table(title, ("strategy", "program"), [f"{n}" for n in range(1, 11)])
    for summary in summaries:
        for program in (REFERENCE, LOADGEN):
            spreads = summary.get(program, {}).get("tenths_per_s", [])
            if not spreads:
                continue
            medians = [f"{spread['median']:,.0f}" for spread in spreads]
            table.add_row(summary["case"]["strategy"], NAMES[program], *medians)
            if any(spread["low"] != spread["high"] for spread in spreads):
                ranges = [f"{spread['low'] / 1e3:.0f}-{spread['high'] / 1e3:.0f}" for spread in spreads]
                table.add_row("", "", *ranges, style="dim")
    return table


def metrics_table(summaries: Sequence[Summary]) -> Table:
    """What recording costs: processor time of a worker's data plane for a connection."""
    table = _table("what measuring costs: CPU us of a connection, median (least - most)", ("",), ("us",))
    for summary in summaries:
        for key, name in RECORDING_NAMES.items():
            table.add_row(name, spread_text(summary["recording"][key], ".2f"))
        for key, name in (("recording", "the recorder alone, recording"), ("without", "the recorder alone, not")):
            if alone := summary.get("recorder_us"):
                table.add_row(name, f"{alone[key]:.2f}")
    return table


def held_table(summaries: Sequence[Summary]) -> Table:
    """What held connections cost, workers and sinks apart."""
    numbers = ("workers, CPU s/s", "sinks, CPU s/s", "worker, MiB", "sink, MiB")
    table = _table("what 10,000 held connections cost: median (least - most)", ("case",), numbers)
    for summary in summaries:
        if held := summary.get(LOADGEN, {}).get("held"):
            processes = f"{summary['case']['processes']} and {summary['case']['sinks']}"
            table.add_row(
                f"{summary['title']} ({summary['size']} on {processes})",
                spread_text(held["workers_cpu_per_s"], ".4f"),
                spread_text(held["sinks_cpu_per_s"], ".4f"),
                spread_text(held["worker_bytes"], ".1f", 2**20),
                spread_text(held["sink_bytes"], ".1f", 2**20),
            )
    return table


def watch_table(summaries: Sequence[Summary]) -> Table:
    """How fast sockets are read and grouped."""
    numbers = ("sockets", "groups", "dump, ms", "grouping, ms", "sockets/s")
    table = _table("sockets read and grouped: median (least - most)", ("case",), numbers, ("target",))
    for summary in summaries:
        watching = summary["watching"]
        table.add_row(
            f"{summary['title']} ({summary['size']} held)",
            f"{watching['sockets']:,}",
            f"{watching['groups']:,}",
            spread_text(watching["dump_s"], ".1f", 1e-3),
            spread_text(watching["group_s"], ".1f", 1e-3),
            spread_text(watching["sockets_per_s"], ",.0f"),
            verdict_text(summary),
        )
    return table


TABLES = {
    "rates": rates_table,
    "latencies": latencies_table,
    "quarters": quarters_table,
    "tenths": tenths_table,
    "metrics": metrics_table,
    "held": held_table,
    "watch": watch_table,
}
METHODS = {"latencies": LATENCIES_METHOD, "metrics": METRICS_METHOD, "held": HELD_METHOD, "watch": WATCH_METHOD}
#: The parts of a summary that a table shows; a case in which nothing was measured has none of them.
PARTS = {REFERENCE, LOADGEN, "recording", "watching"}


def print_tables(summaries: Sequence[Summary], out: Console) -> None:
    """The result for people: a table for each way of showing, with what has to be known to read it."""
    for shows, make in TABLES.items():
        mine = [s for s in summaries if s["case"]["shows"] == shows and PARTS & s.keys()]
        if shows == "rates":
            mine = [s for s in mine if REFERENCE in s]
        if mine:
            out.print(make(mine))
            if shows in METHODS:
                out.print(METHODS[shows], highlight=False, markup=False)
    for summary in summaries:
        if memory := summary.get(LOADGEN, {}).get("memory_bytes"):
            gib = spread_text(memory, ".2f", 2**30)
            told = f"loadgen's processes together took {gib} GiB at most (Pss, without the kernel's sockets)"
            out.print(f"{summary['title']}: {told}", markup=False, highlight=False)
        for trouble in summary["troubles"]:
            out.print(f"{summary['label']}, not judged, {trouble}", markup=False, highlight=False)


def machine_text(host: Mapping[str, Any]) -> str:
    """What the numbers were measured on, in a line."""
    return (
        f"Linux {host['kernel']}, {host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, Python "
        f"{host['python']}, load average {host['load_average']:.1f} before the run"
    )


def write_results(
    folder: Path, results: Sequence[Result], summaries: Sequence[Summary], host: Mapping[str, Any]
) -> list[Path]:
    """Everything that was measured, as <UTC>.json, and the ratios as <UTC>.svg; returns what was written."""
    now = datetime.now(UTC)
    file = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "schema": "loadgen.bench/3",
        "finished_at": now.isoformat(timespec="seconds"),
        "machine": host,
        "method": METHOD,
        "summaries": summaries,
        "samples": [
            {"case": result.case.label, "round": number + 1, **asdict(sample)}
            for result in results
            for samples in result.measured
            for number, sample in enumerate(samples)
        ],
    }
    file.write_text(json.dumps(content, indent=1) + "\n")
    written = [file]
    if svg := chart(summaries, f"{now:%Y-%m-%d}, {machine_text(host)}"):
        picture = file.with_suffix(".svg")
        picture.write_text(svg)
        written.append(picture)
    return written
