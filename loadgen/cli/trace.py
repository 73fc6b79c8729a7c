"""`loadgen trace`: how a program connects, seen by its system calls."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.cli import files, options
from loadgen.cli.streams import EPILOG, complain, console, reader_may_leave, stderr_reader_may_leave
from loadgen.errors import LoadgenError, ResultsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadgen.trace.account import WayAccount
    from loadgen.trace.run import TraceRecord


@click.command(epilog=EPILOG, context_settings={"allow_interspersed_args": False})
@click.option("--pid", metavar="PID", type=click.IntRange(1), help="Attach to this process until Ctrl-C; it goes on.")
@options.netns("Run COMMAND in, or judge by,")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the ways as JSON on stdout and nothing else there; what COMMAND prints goes to stderr.",
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the report to this file instead.")
@click.option(
    "--scenario",
    "scenario",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a scenario that connects as the program does, until it meets the same limit.",
)
@click.option("--full-size", is_flag=True, help="With --scenario: keep the numbers, where a small one takes seconds.")
@click.argument("command", metavar="[-- COMMAND ...]", nargs=-1, type=click.UNPROCESSED)
def trace(
    pid: int | None,
    netns: int | str | None,
    as_json: bool,
    out: Path | None,
    scenario: Path | None,
    full_size: bool,
    command: tuple[str, ...],
) -> None:
    """Name the way a program connects, by its system calls.

    Runs it under strace, or attaches to it. For each way to connect: the strategy of loadgen's table and the calls
    that show it, how many connections it has ports for here, the error it ends with, how soon a port serves again
    after TIME-WAIT, and what to change. The streams of COMMAND stay its own; the report goes to stderr, with --pid to
    stdout. The exit code is that of COMMAND, 128 + N if signal N ended it; 2 and 3 as below come before it is started.
    strace slows traced calls down.

    \b
    Examples:
      loadgen trace -- curl --interface 10.0.0.5 http://10.0.0.7/
      loadgen trace --json -- python3 client.py | jq '.connects[].strategy'
      loadgen trace --pid 4711 --netns 4711          # a container's process, until Ctrl-C
      loadgen trace --scenario wall.yaml -- ./client && loadgen run wall.yaml
    """
    if (pid is None) == (not command):
        raise click.UsageError("write either --pid PID or a command behind --: loadgen trace -- curl http://...")
    if full_size and not scenario:
        raise click.UsageError("--full-size is about the scenario; add --scenario FILE")
    if out:
        files.ready(out, "--out")
    if scenario:
        files.ready(scenario, "--scenario", stale=False)
    _go_to(netns, pid)  # before there are threads

    from loadgen.trace import account, run

    if pid is not None:
        complain(f"tracing process {pid}; Ctrl-C ends the trace, and the process goes on")
        record = run.of_process(pid)
    else:
        record = run.of_command(command, stdout=sys.stderr.fileno() if as_json and not out else None)
    accounts = account.of_ways(record.follower.ways, record.descriptors)
    failed: list[LoadgenError] = []
    # Files first: a reader of stdout that leaves early takes none away.
    if scenario:
        try:
            _write_scenario(scenario, accounts, full_size=full_size)
        except (ResultsError, UsageError) as error:
            failed.append(error)
    try:
        _report(record, accounts, command, pid, as_json=as_json, out=out)
    except ResultsError as error:  # what was traced cannot be traced again
        failed.append(error)
        _report(record, accounts, command, pid, as_json=as_json, out=None)
    for problem in failed[1:]:
        complain(problem)
    if failed:
        raise failed[0]
    if record.exit_code is not None:
        sys.exit(record.exit_code)


def _go_to(netns: int | str | None, pid: int | None) -> None:
    """Enter the namespace, whose ports are counted. Raises: HostError, UsageError."""
    from loadgen.watch import netns as namespaces

    if netns is not None:
        namespaces.enter(netns)
    if pid is not None and os.path.exists(f"/proc/{pid}") and not namespaces.same(pid):
        raise UsageError(f"process {pid} lives in another network namespace; add --netns {pid}")


def _report(
    record: TraceRecord,
    accounts: Sequence[WayAccount],
    command: Sequence[str],
    pid: int | None,
    *,
    as_json: bool,
    out: Path | None,
) -> None:
    """Write the report. Raises: ResultsError."""
    from loadgen.views.text import trace as view

    if as_json:
        from loadgen.trace import plain

        text = json.dumps(plain.as_json(record, accounts, command, pid), indent=2) + "\n"
        if out:
            files.write(out, text)
            return
        with reader_may_leave():
            click.echo(text, nl=False)
        return
    if out:
        from rich.console import Console

        stream = io.StringIO()
        view.render(record, accounts, Console(file=stream, width=100))
        files.write(out, stream.getvalue())
        return
    with stderr_reader_may_leave() if pid is None else reader_may_leave():
        view.render(record, accounts, console(stderr=pid is None))


def _write_scenario(path: Path, accounts: Sequence[WayAccount], *, full_size: bool) -> None:
    """Write the scenario of the main way. Raises: UsageError, ResultsError."""
    from loadgen.kernel import sysctl
    from loadgen.reproduce import writing
    from loadgen.trace import circumstances

    main = circumstances.main_way(accounts)
    text = writing.write(circumstances.of_way(main, sysctl.read_all()), full_size=full_size)
    files.write(path, text)
    complain(f"wrote {path}: {main.way.strategy}, until {main.ends_with}; run it with: loadgen run {path}")
