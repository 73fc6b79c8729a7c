"""loadgen beside a C client: both open and hold the same connections, in the same run, in turn.

    python -m bench.run [--rounds N] [--quick] [--only CASE] [--all] [--reference-only] [--slow] [--million]

A speed in connections per second says little about a program and much about the machine, so nearly every
claim here is a ratio to `bench/reference/client.c`, measured seconds apart. The harness moves itself
into a network namespace of its own first: it changes no setting of the host, and no packet leaves.

Exit code 0 when everything was measured, even below target; 1 when a program failed; 3 when this host
has no C compiler or allows no network namespace.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from bench.cases import ALL_CASES, MILLION, MORE_CASES, REFERENCE, SLOW_CASES, Case
from bench.host import ROOT, enter_namespace, machine, set_up_namespace, wait_until_quiet, write_sysctl
from bench.output import METHOD, machine_text, print_tables, write_results
from bench.programs import build_reference, run_loadgen, run_reference
from bench.recording import Bare, recorder_us, run_recording
from bench.samples import Result, Sample
from bench.summary import summarise
from bench.watching import held, watch
from loadgen.errors import ExitCode, HostError, LoadgenError
from loadgen.worker.recorder import Recorder

#: One alone moves by a third, and latencies go with the rate.
TRIES_WITHOUT_SCHEDULE = 3

HELP = """\
cases, and how long five rounds of each take on two cores:

  without flags, six minutes together
    open-hold     2 C clients against loadgen with 2 workers, both with the same C sinks; once with each
                  of loadgen's engines, epoll and io_uring
    whole         the same, but loadgen brings its own sink
    last-quarter  64,000 connections from one source address: is the last quarter of the port
                  range as fast as the first?
    churn         a C client and a loadgen worker, each against one C sink, close every connection
                  with RST as soon as it is open
    churn-whole   the same, but loadgen brings its own sink
    half-rate     open loop, 1 C client and 1 worker, each against one C sink, at half of the rate that
                  the C client reaches when it is not held back: do both measure the same time to connect?
  by --only or --all, which takes a quarter of an hour
    metrics       the data plane with its latencies recorded, not recorded, and recorded again as a
                  control, batch by batch in turn in one process; fifteen rounds, half a minute
    strategies    late-range, late, explicit with 1 and with 2 processes; three minutes
    by-tenth      64,000 of 64,512 ports of one source, tenth by tenth; two minutes
    held          CPU time and memory for 10,000 held connections, silent and beating; three minutes
    watch         2 C clients and 2 C sinks hold 30,000 connections: how many sockets per second are read
                  through INET_DIAG and grouped? nine rounds, ten seconds
  by --slow, one round
    last-quarter with the kernel's own choice (C only), by-tenth with late: up to a quarter of an hour
  by --million, one round
    million       1,000,000 connections by 53 processes to 56 sinks, loadgen with its own; how much
                  longer does it take than C, and how much memory? three minutes and 11 GB free
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags; argparse ends the program with code 2 by itself when they make no sense."""
    parser = argparse.ArgumentParser(
        prog="bench.run",
        description="loadgen beside a C client, in the same run",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="rounds of each case (default 5; 15 of metrics, 9 of watch, 1 of slow ones)",
    )
    parser.add_argument("--quick", action="store_true", help="one round of an eighth of the size: a look, no claim")
    parser.add_argument("--only", choices=sorted({case.name for case in ALL_CASES}), help="this case alone")
    parser.add_argument("--all", action="store_true", help="all cases but those of --slow and --million")
    parser.add_argument("--reference-only", action="store_true", help="only the C programs: what can this host do?")
    parser.add_argument("--slow", action="store_true", help="also what slows down past half of a range (minutes)")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 connections (minutes, and 11 GB free)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rounds is not None and not 1 <= options.rounds <= 1000:
        parser.error("--rounds must be 1 to 1000")
    if options.only == MILLION.name and not options.million:
        parser.error("--only million needs --million, too: it takes minutes and much memory")
    if not cases_of(options):
        parser.error(f"--only {options.only} has no part for the reference")
    return options


def cases_of(options: argparse.Namespace) -> list[tuple[Case, int]]:
    """What to measure, and in how many rounds each."""
    chosen = []
    for case in ALL_CASES:
        if (case in SLOW_CASES and not options.slow) or (case == MILLION and not options.million):
            continue
        if case in MORE_CASES and not (options.all or options.only):
            continue
        if options.reference_only and case.baseline != REFERENCE:  # nothing would be left of it
            continue
        # Without loadgen, these cases are the same as open-hold and churn.
        doubled = options.reference_only and case.own_sink and case != MILLION
        if options.only == case.name or (options.only is None and not doubled):
            rounds = 1 if options.quick or case in SLOW_CASES else options.rounds or case.rounds
            chosen.append((case.small() if options.quick else case, rounds))
    return chosen


def turns(result: Result, *, reference_only: bool) -> list[tuple[Callable[[Case], Sample], list[Sample]]]:
    """Which programs a round runs, and where their samples go."""
    case = result.case
    chosen: list[tuple[Callable[[Case], Sample], list[Sample]]] = []
    if case.baseline == REFERENCE:
        chosen.append((run_reference, result.baseline))
    if not (reference_only or case.reference_only):
        chosen.append((run_loadgen, result.loadgen))
    return chosen


def measure(result: Result, rounds: int, *, reference_only: bool, log: Console) -> None:
    """All rounds of one case, added to `result` one by one, so that a failure keeps what was measured.

    Raises: LoadgenError when a program fails, HostError when the host refuses.
    """
    case = result.case
    write_sysctl("ipv4/ip_local_port_range", f"{case.ports[0]} {case.ports[1]}")
    if case.shows == "metrics":
        measure_recording(result, rounds, log)
        return
    if case.shows == "watch":
        measure_watching(result, rounds, log)
        return
    if case.shows == "latencies":
        case = result.case = at_half_rate(case, log)
    programs = turns(result, reference_only=reference_only)
    for number in range(rounds):
        for run_once, samples in programs if number % 2 == 0 else reversed(programs):
            if left := wait_until_quiet():
                log.print(f"[yellow]{left:,} sockets of the sample before are still there[/]")
            sample = run_once(case)
            samples.append(sample)
            trouble = sample.trouble(case)
            log.print(
                f"{case.label}: round {number + 1} of {rounds}, {sample.program}: {sample.rate_per_s:,.0f}/s"
                + (f", {sample.memory_bytes / 2**30:.2f} GiB" if sample.memory_bytes else "")
                + (f" [yellow]({trouble})[/]" if trouble else ""),
                highlight=False,
            )


def at_half_rate(case: Case, log: Console) -> Case:
    """The case with its rate, half of the median that the reference reaches now without a schedule."""
    rates = []
    for _ in range(TRIES_WITHOUT_SCHEDULE):
        wait_until_quiet()
        rates.append(run_reference(case).rate_per_s)
    open_loop = case.at_half_of(statistics.median(rates))
    told = ", ".join(f"{rate:,.0f}/s" for rate in rates)
    log.print(
        f"{case.label}: the reference reaches {told} without a schedule, so both get {open_loop.arrival_per_s:,}/s",
        highlight=False,
    )
    return open_loop


def measure_recording(result: Result, rounds: int, log: Console) -> None:
    """All rounds with recording, without and with it again. Raises: LoadgenError when a connection failed."""
    for number in range(rounds):
        wait_until_quiet()
        result.recording.append(took := run_recording(result.case))
        log.print(
            f"{result.case.label}: round {number + 1} of {rounds}: {took.recording_us:.1f} us, "
            f"without recording {took.without_us:.1f} us, control {took.control_us:.1f} us",
            highlight=False,
        )


def measure_watching(result: Result, rounds: int, log: Console) -> None:
    """All rounds, one after the other while the same connections are held.

    Raises: LoadgenError when a program fails or not all sockets were seen, HostError when the kernel lists none.
    """
    wait_until_quiet()
    with held(result.case) as reader:
        for number in range(rounds):
            result.watching.append(took := watch(reader, result.case))
            log.print(
                f"{result.case.label}: round {number + 1} of {rounds}: {took.sockets:,} sockets read in "
                f"{took.dump_s * 1e3:.1f} ms, grouped in {took.group_s * 1e3:.1f} ms: {took.sockets_per_s:,.0f}/s",
                highlight=False,
            )


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; the exit code. Runs inside the namespace."""
    out = Console(width=None if sys.stdout.isatty() else 150)
    log = Console(stderr=True, soft_wrap=True)
    build_reference()
    set_up_namespace()
    host, failure = machine(), ""
    results: list[Result] = []
    for case, rounds in cases_of(options):
        try:
            results.append(Result(case))
            measure(results[-1], rounds, reference_only=options.reference_only, log=log)
        except HostError:
            raise
        except LoadgenError as error:  # the other cases may still say something
            failure = f"{case.label}: {error}"
            log.print(failure, style="red", markup=False, highlight=False)
    summaries = [summarise(result) for result in results]
    for summary in summaries:
        if summary["case"]["shows"] == "metrics":
            summary["recorder_us"] = {"recording": recorder_us(Recorder), "without": recorder_us(Bare)}
    print_tables(summaries, out)
    out.print(machine_text(host), highlight=False)
    out.print(METHOD, highlight=False)
    if options.quick:
        out.print("--quick: one small round says that it works, not how fast it is.", style="yellow")
    for file in write_results(ROOT / "results" / "bench", results, summaries, host):
        out.print(f"Written to {file.relative_to(ROOT)}", highlight=False, soft_wrap=True)
    return ExitCode.BUG if failure else ExitCode.FINE


def main(arguments: Sequence[str]) -> int:
    """Parse, move into a namespace, measure; every failure is one sentence on stderr and an exit code."""
    options = parse(arguments)
    try:
        if not options.inside:
            enter_namespace(arguments)
        return run(options)
    except LoadgenError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
