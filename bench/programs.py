"""The programs that are measured: the C clients and C sinks, and loadgen through its command line."""

from __future__ import annotations

import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cases import CHURN_CONCURRENCY, HEARTBEAT, LOADGEN, REFERENCE, TARGET, Case
from bench.figures import cpu_per_s_while_held, merge_tenths, port_slices, shares
from bench.host import ROOT
from bench.processes import Look, look, memory_of, watched, while_held
from bench.samples import Holding, Sample
from loadgen.errors import HostError, LoadgenError

BUILD = ROOT / "bench" / "build"
#: From "go" to the first attempt of the C clients: about what loadgen needs to start its workers, so
#: that the memory freed by the sample before has had equally long to go cold for both.
START_DELAY_S = 1.0


def build_reference() -> None:
    """Compile client.c and sink.c into bench/build. Raises: HostError without a working C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise HostError("bench compares with a C program and found no C compiler; install gcc or set CC")
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("client", "sink"):
        source = ROOT / "bench" / "reference" / f"{name}.c"
        command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", str(source), "-o", str(BUILD / name)]
        built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if built.returncode:
            raise HostError(f"{compiler} could not build {source.name}: {built.stderr.strip()}")


@contextmanager
def c_programs(name: str, argument_lists: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Run bench/build/NAME once per argument list; whatever still runs at the end is killed.

    Each ends by itself when its standard input is closed, so nothing survives this process either.
    """
    with ExitStack() as stack:
        children = []
        for arguments in argument_lists:
            child = subprocess.Popen(
                [str(BUILD / name), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(child)
            stack.callback(child.kill)  # runs before the wait of Popen.__exit__; no harm when it has ended
            children.append(child)
        yield children


def first_line(child: subprocess.Popen[str], timeout_s: float) -> dict[str, Any]:
    """The JSON that a C program writes when it is ready. Raises: LoadgenError when none comes in time."""
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], timeout_s)[0]:
        raise LoadgenError(f"{child.args!r} said nothing for {timeout_s:g} s")
    line = child.stdout.readline()
    if not line:
        raise LoadgenError(f"{child.args!r} ended at once, with code {child.wait(timeout=10)}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def last_line(child: subprocess.Popen[str], timeout_s: float = 60) -> dict[str, Any]:
    """Close the program's standard input, which ends it; the JSON that it writes then."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(timeout_s)  # the line fits into the pipe, so nobody has to read meanwhile
        # Not communicate(): it reads the pipe itself and would miss a line that readline() has buffered,
        # which happens in churn, where the client writes both lines at once.
        answer: dict[str, Any] = json.loads(child.stdout.read())
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise LoadgenError(f"{child.args!r} did not end as it should: {error}") from error
    return answer


@contextmanager
def c_sinks(case: Case) -> Iterator[list[subprocess.Popen[str]]]:
    """Fresh C sinks that listen on TARGET, sharing its connections by hash."""
    # The hash does not share evenly: a sink's part is binomial, so five standard deviations more.
    part = 1 / case.sinks
    expect = int(case.at_once * part + 5 * (case.at_once * part * (1 - part)) ** 0.5)
    arguments = ["--listen", TARGET, "--backlog", "65535", "--expect", str(expect)]
    with c_programs("sink", [arguments] * case.sinks) as sinks:
        for sink in sinks:
            first_line(sink, 10)
        yield sinks


def median_us(ramps: Sequence[dict[str, Any]], key: str) -> float:
    """The median of what the C clients say in nanoseconds, in microseconds. Raises: KeyError when one does not."""
    return float(statistics.median(ramp[key] for ramp in ramps) / 1e3)


@contextmanager
def c_clients(case: Case) -> Iterator[tuple[list[subprocess.Popen[str]], list[dict[str, Any]]]]:
    """The C clients after their ramps, with what each said of its own; they hold until `last_line` ends them."""
    start_at_ns = time.monotonic_ns() + int(START_DELAY_S * 1e9)
    argument_lists = [
        [
            *("--target", TARGET, "--sources", ",".join(case.sources), "--strategy", case.strategy),
            *("--connections", str(count), "--ports", f"{low}-{high}", "--close", "rst"),
            *("--start-at", str(start_at_ns), "--give-up-ms", str(case.give_up_s * 1000)),
            *(["--churn", "--window", str(CHURN_CONCURRENCY)] if case.churn_s else []),
            *(["--rate", str(case.arrival_per_s)] if case.arrival_per_s else []),
        ]
        for count, (low, high) in zip(
            shares(case.connections, case.processes),
            port_slices(*case.ports, case.processes),
            strict=True,
        )
    ]
    with c_programs("client", argument_lists) as clients:
        ramps = [first_line(client, START_DELAY_S + case.give_up_s + 30) for client in clients]
        # Hold: the sinks take what is still in the accept queues.
        time.sleep(max(0.5, case.at_once / 200_000))
        yield clients, ramps


def run_reference(case: Case) -> Sample:
    """One sample of the C clients against C sinks."""
    with c_sinks(case) as sinks, c_clients(case) as (clients, ramps):
        ends = [last_line(client) for client in clients]
        peak = sum(last_line(sink)["peak"] for sink in sinks)
    first_ns = min(ramp["first_ns"] for ramp in ramps)
    counts = [ramp["established"] for ramp in ramps]
    return Sample(
        program=REFERENCE,
        rate_per_s=sum(counts) / max((max(ramp["last_ns"] for ramp in ramps) - first_ns) / 1e9, 1e-9),
        established=sum(counts),
        failed=sum(ramp["failed"] for ramp in ramps),
        lost=sum(end["lost"] for end in ends),
        tenths_s=merge_tenths(
            [(ramp["first_ns"] - first_ns) / 1e9 for ramp in ramps],
            counts,
            [[tenth / 1e9 for tenth in ramp["tenths_ns"]] for ramp in ramps],
        ),
        cpu_s=sum(ramp["cpu_ns"] for ramp in ramps) / 1e9,
        cost_us=sum(ramp["cpu_ns"] for ramp in ramps) / 1e3 / max(sum(counts), 1),
        connect_p50_us=median_us(ramps, "connect_p50_ns"),
        connect_p99_us=median_us(ramps, "connect_p99_ns"),
        lateness_p50_us=median_us(ramps, "lateness_p50_ns") if case.arrival_per_s else None,
        lateness_p99_us=median_us(ramps, "lateness_p99_ns") if case.arrival_per_s else None,
        peak=peak,
        note=next((ramp["first_error"] for ramp in ramps if ramp["first_error"]), ""),
    )


def scenario(case: Case) -> str:
    """The case as loadgen reads it. No `lab:` section: the harness is in a namespace of its own already."""
    sources = case.sources[0] if len(case.sources) == 1 else f"{case.sources[0]}-{case.sources[-1]}"
    lines = [
        f"name: bench-{case.name}",
        f"sources: {{addresses: [{sources}], strategy: {case.strategy}}}",
        f"targets: [{{address: {TARGET}, sink: {str(case.own_sink).lower()}}}]",
        *(
            [f"churn: {{duration: {case.churn_s:g}s, concurrency: {CHURN_CONCURRENCY}}}"]
            if case.churn_s
            else [f"connections: {case.connections}", f"hold: {case.hold_s:g}s"]
        ),
        *([f"arrival: {{rate: {case.arrival_per_s}/s}}"] if case.arrival_per_s else []),
        *([f"heartbeat: {HEARTBEAT}"] if case.heartbeat else []),
        f"workers: {case.processes}",
        f"engine: {case.engine}",
        *([f"sinks: {case.sinks}"] if case.own_sink else []),
        "close: rst",
    ]
    return "\n".join(lines) + "\n"


def loadgen_command(file: Path, out: Path) -> list[str]:
    """The command line whose standard output is summary.json and nothing else."""
    # The namespace is the harness's own, so `explicit` is in nobody's way.
    flags = ["--json", "--quiet", "--allow-port-blocking"]
    return [sys.executable, "-m", "loadgen", "run", str(file), *flags, "--out", str(out)]


def latencies_of(summary: dict[str, Any], name: str) -> dict[str, float]:
    """One row of latency_us in summary.json; empty when nothing was counted in it."""
    row: dict[str, float] = summary.get("latency_us", {}).get(name, {})
    return row if row.get("count") else {}


def read_summary(summary: dict[str, Any]) -> Sample:
    """A sample from the keys of summary.json that are compared. Raises: KeyError when one is missing."""
    connect, lateness = latencies_of(summary, "connect"), latencies_of(summary, "lateness")
    churn, cost_us = summary.get("churn"), summary.get("cost_us")
    return Sample(
        program=LOADGEN,
        rate_per_s=churn["mean_per_s"] if churn else summary["rate_per_s"]["established_mean"],
        established=summary["outcomes"]["established"],
        failed=summary["outcomes"]["failed"],
        lost=summary["open"]["lost"],
        tenths_s=tuple(summary.get("tenths_s") or ()),
        cpu_s=summary.get("generator", {}).get("cpu_s"),
        cost_us=statistics.fmean(cost_us) if cost_us else None,
        connect_p50_us=connect.get("p50"),
        connect_p99_us=connect.get("p99"),
        lateness_p50_us=lateness.get("p50"),
        lateness_p99_us=lateness.get("p99"),
        note=str(summary.get("verdict", {}).get("text", "")),
    )


def series_of(results: Path) -> list[dict[str, Any]]:
    """The lines of series.jsonl of the only run below `results`. Raises: LoadgenError when it is not there."""
    files = list(results.glob("*/series.jsonl"))
    if len(files) != 1:
        raise LoadgenError(f"loadgen left {len(files)} files series.jsonl where one was expected")
    return [json.loads(line) for line in files[0].read_text().splitlines()]


def holding(case: Case, lines: Sequence[dict[str, Any]], looks: Sequence[Look]) -> Holding:
    """What holding cost: the workers' processor time by their own account, the rest as seen from outside.

    Raises: LoadgenError when the hold was too short or not all processes were seen.
    """
    first, last = while_held(looks, case.connections)
    if (last.workers.count, last.sinks.count) != (case.processes, case.sinks):
        raise LoadgenError(f"saw {last.workers.count} workers and {last.sinks.count} sinks of loadgen, not all")
    return Holding(
        connections=case.connections,
        workers=case.processes,
        sinks=case.sinks,
        workers_cpu_per_s=cpu_per_s_while_held(lines),
        sinks_cpu_per_s=(last.sinks.cpu_s - first.sinks.cpu_s) / (last.at_s - first.at_s),
        worker_bytes=last.workers.bytes / case.processes,
        sink_bytes=last.sinks.bytes / case.sinks,
    )


def run_loadgen(case: Case) -> Sample:
    """One sample of loadgen, through its command line like any user.

    Raises: LoadgenError with what loadgen said, when it failed or its summary is not one.
    """
    with tempfile.TemporaryDirectory(prefix="loadgen-bench-") as folder, ExitStack() as stack:
        file, results = Path(folder, "scenario.yaml"), Path(folder, "results")
        file.write_text(scenario(case))
        sinks = [] if case.own_sink else stack.enter_context(c_sinks(case))
        child = subprocess.Popen(
            loadgen_command(file, results),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.enter_context(child)
        stack.callback(child.kill)  # as in c_programs; its workers and sinks end with it
        sizes = stack.enter_context(watched(lambda: memory_of(child.pid))) if case.memory else []
        looks = stack.enter_context(watched(lambda: look(child.pid))) if case.shows == "held" else []
        try:
            answer, complaint = child.communicate(timeout=case.give_up_s + 60)
        except subprocess.TimeoutExpired as error:
            raise LoadgenError(f"loadgen run did not end within {error.timeout:g} s") from error
        if child.returncode:
            said = " / ".join(complaint.strip().splitlines()[-3:])
            raise LoadgenError(f"loadgen run ended with code {child.returncode}: {said}")
        try:
            sample = read_summary(json.loads(answer))
        except (ValueError, KeyError) as error:
            raise LoadgenError(f"loadgen's summary cannot be compared: {error!r}") from error
        return replace(
            sample,
            peak=sum(last_line(sink)["peak"] for sink in sinks) if sinks else None,
            memory_bytes=max(sizes, default=None),
            holding=holding(case, series_of(results), looks) if case.shows == "held" else None,
        )
