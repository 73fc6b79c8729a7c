"""The command line: flags in, exit code out; the only module that prints.

Imports that cost time are made where they are needed, so that `loadgen --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from loadgen.commands.doctor import doctor
from loadgen.commands.plan import plan
from loadgen.commands.watch import watch
from loadgen.errors import ExitCode, LoadgenError

if TYPE_CHECKING:
    from rich.console import Console

    from loadgen.matrix import Matrix, Order
    from loadgen.run import Options, Orchestrator, Result
    from loadgen.rundir import Run

_EPILOG = """\b
Exit codes: 0 fine, 1 a bug of ours, 2 usage or scenario, 3 this host cannot,
4 incomplete, 99 an expectation failed, 130 interrupted.
"""
_TAB = """\b
Tab completion:
  bash   eval "$(_LOADGEN_COMPLETE=bash_source loadgen)"
  zsh    eval "$(_LOADGEN_COMPLETE=zsh_source loadgen)"
  fish   _LOADGEN_COMPLETE=fish_source loadgen | source
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG + "\n" + _TAB,
)
@click.version_option(package_name="loadgen")
def cli() -> None:
    """Open very many outbound TCP connections from this host, and know which limit stops you.

    \b
    loadgen run scenarios/past-64k.yaml        100,000 connections to one destination
    loadgen run hold.yaml --set connections=5000 --json
    loadgen plan scenarios/past-64k.yaml       what it would take, and which limit comes first
    loadgen sink 127.0.0.1:9000                a target of your own, in another terminal
    loadgen report results/RUN                 rebuild summary and report of a run
    loadgen facts                              how this very kernel picks source ports
    loadgen watch                              how full each destination of this host is
    """


@cli.command(epilog=_EPILOG)
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key of the scenario, dotted path; repeatable.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Where the run directory is made.",
)
@click.option(
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Instead of SCENARIO: go on with a matrix that was interrupted or killed.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout, and nothing else there.")
@click.option("--quiet", is_flag=True, help="No progress on stderr, only what went wrong.")
@click.option(
    "--allow",
    metavar="CIDR",
    multiple=True,
    help="Permit targets in this network beyond loopback; repeatable.",
)
@click.option(
    "--i-am-authorized",
    "authorized",
    is_flag=True,
    help="Together with --allow: targets with global addresses are mine to load.",
)
@click.option(
    "--allow-port-blocking",
    "port_blocking",
    is_flag=True,
    help="Permit strategy explicit to close ports of ip_local_port_range to the other processes of this host.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Run although the plan says that four-tuples or the descriptors of workers will run out.",
)
@click.pass_context
def run(
    context: click.Context,
    scenario: Path | None,
    settings: tuple[str, ...],
    out: Path,
    resume: Path | None,
    as_json: bool,
    quiet: bool,
    allow: tuple[str, ...],
    authorized: bool,
    port_blocking: bool,
    force: bool,
) -> None:
    """Run SCENARIO and write a run directory with its report.

    Ctrl-C once closes what is open and reports; twice stops at once. A matrix goes on with --resume.

    \b
    Examples:
      loadgen run scenarios/past-64k.yaml
      loadgen run scenarios/past-64k.yaml --set hold=1m --set sources.strategy=explicit
      loadgen run mine.yaml --allow 10.20.0.0/16 --json > summary.json
      loadgen run --resume results/20260131T120000Z-mine-1f3a
    """

    from loadgen import live
    from loadgen import matrix as matrices
    from loadgen import scenario as scenarios
    from loadgen.report import text
    from loadgen.run import Options, Orchestrator

    options = Options(results=out, allow=allow, authorized=authorized, port_blocking=port_blocking, force=force)
    if resume is not None:
        _alone(context, "scenario", "settings", "out")
        _run_matrix(matrices.resume(resume), options, as_json=as_json, quiet=quiet)
    if scenario is None:
        raise click.UsageError("Missing argument 'SCENARIO'; give a scenario file, or --resume RUN.", context)
    data = scenarios.read_bytes(scenario)  # once: it may be a pipe
    whole, cells = scenarios.parse_cells(data, str(scenario), settings)
    if cells:
        _run_matrix(matrices.Order(whole, cells, data.decode(), settings), options, as_json=as_json, quiet=quiet)
    given = matrices.with_overrides(settings, data.decode())
    view = live.view_for(_console(stderr=True), quiet=quiet)
    with view:
        result = _execute(Orchestrator(whole, given, options, observer=view.update, notice=view.notice))
    with _reader_may_leave():
        if as_json:
            click.echo(json.dumps(result.summary, indent=2))
        else:
            text.render(result.summary, _console(), report=str(result.path / "report.html"))
    if result.error:
        _complain(result.error)
    sys.exit(result.exit_code)


def _alone(context: click.Context, *others: str) -> None:
    """Refuse what cannot stand beside --resume. Raises: click.UsageError."""
    from click.core import ParameterSource

    for name in others:
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None):
            word = {"scenario": "a SCENARIO", "settings": "--set"}.get(name, f"--{name}")
            raise click.UsageError(
                f"--resume goes on with the scenario and in the directory of RUN; leave {word} out, "
                "or leave --resume out to begin anew.",
                context,
            )


def _run_matrix(order: Order, options: Options, *, as_json: bool, quiet: bool) -> NoReturn:
    from loadgen import live
    from loadgen.matrix import Matrix
    from loadgen.report import matrix_text as table

    def say(message: str) -> None:
        if not quiet:
            _complain(message)

    def view() -> live.Unheard:
        return live.view_for(_console(stderr=True), quiet=quiet)

    result = _execute(Matrix(order, options, view=view, say=say))
    with _reader_may_leave():
        if as_json:
            click.echo(json.dumps(result.summary, indent=2))
        else:
            table.render(result.summary, _console(), report=str(result.path / "report.html"))
    if result.error:
        _complain(result.error)
    sys.exit(result.exit_code)


def _execute(conductor: Orchestrator | Matrix) -> Result:
    """Run on uvloop, with Ctrl-C and SIGTERM turned into an orderly end."""
    import asyncio
    import signal

    import uvloop

    async def main() -> Result:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, conductor.interrupt)
        return await conductor.execute()

    return uvloop.run(main())


#: How a sink treats its clients: the keys of `sink` in a scenario, which has the checks too.
_MANNERS = (
    click.option(
        "--speaks", metavar="echo|http|nothing", help="Send back what comes, answer HTTP/1.1, or never answer."
    ),
    click.option("--tls", is_flag=True, help="Speak TLS, with --certificate and --key or with one made now."),
    click.option("--reset", is_flag=True, help="Reset every connection that was accepted."),
    click.option("--drop", metavar="SHARE", help="Reset this share of the connections, evenly spread: 10%."),
    click.option("--delay", metavar="DURATION", help="Let each answer wait: 50ms."),
    click.option("--close-after", metavar="DURATION", help="Close so long after accept(): 5s."),
    click.option(
        "--close-after-requests", metavar="N", type=int, help="Close after N requests; without HTTP a read is one."
    ),
    click.option("--read", metavar="RATE", help="Bytes to read of each connection: 1000/s; 0/s never reads."),
    click.option("--status", metavar="N", type=int, help="Status of the answers in HTTP: 503."),
    click.option("--body", metavar="BYTES", type=int, help="Size of the answers in HTTP."),
)


def _manners_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_MANNERS):
        command = option(command)
    return command


@cli.command(epilog=_EPILOG)
@click.argument("addresses", metavar="ADDR:PORT...", nargs=-1, required=True)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=None,
    help="Processes that share the port; by default one per core.",
)
@_manners_options
@click.option(
    "--certificate",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --tls: the certificate to show, PEM, and those between it and its authority.",
)
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --certificate: its private key, PEM, not encrypted.",
)
@click.option(
    "--ca-out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --tls: where to write the authority of the certificate that is made; else a file for the time being.",
)
@click.option("--json", "as_json", is_flag=True, help="The final counts as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No line per second on stderr.")
def sink(
    addresses: tuple[str, ...],
    workers: int | None,
    certificate: Path | None,
    key: Path | None,
    ca_out: Path | None,
    as_json: bool,
    quiet: bool,
    **manners: str | int | None,
) -> None:
    """Listen, accept in batches, hold and echo, until Ctrl-C; or misbehave on request.

    \b
    Examples:
      loadgen sink 127.0.0.1:9000
      loadgen sink 127.0.0.1:9000 [::1]:9000 --workers 6
      loadgen sink 127.0.0.1:8443 --speaks http --tls --ca-out ca.pem --body 1024
      loadgen sink 127.0.0.1:9000 --delay 50ms --drop 10%
    """
    import uvloop

    from loadgen import serve
    from loadgen.quantities import endpoint

    try:
        endpoints = tuple(endpoint(address) for address in addresses)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    say: Callable[[str], None] = (lambda _: None) if quiet else lambda text: _complain(text, "")
    told = serve.manners_of({name: value for name, value in manners.items() if value not in (None, False)})
    with serve.certified(endpoints, told, certificate, key, ca_out, lambda text: _complain(text, "")) as certificates:
        counts = uvloop.run(serve.serve(endpoints, workers, say, told, certificates))
    with _reader_may_leave():
        click.echo(json.dumps(counts, indent=2) if as_json else serve.describe(counts))


@cli.command(epilog=_EPILOG)
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout, and nothing else there.")
def report(run_directory: Path, as_json: bool) -> None:
    """Rebuild the report of RUN, and its summary if the run never came to write one.

    \b
    Example:
      loadgen report results/20260131T120000Z-past-64k-1f3a
    """

    from loadgen import rundir
    from loadgen.report import matrix as matrix_report
    from loadgen.report import matrix_text, text

    if rundir.is_matrix(run_directory):
        whole = rundir.read_matrix(run_directory)
        summary = whole.summarised()
        for run in whole.runs.values():
            rundir.replace_derived(run.path, summary=None if run.summary else run.summarised(), report=_page_of(run))
        path = rundir.write_matrix_results(
            run_directory,
            summary=summary,
            report=matrix_report.page(summary, whole.scenario_text),
            table=matrix_report.table(summary),
        )
        with _reader_may_leave():
            if as_json:
                click.echo(json.dumps(summary, indent=2))
            else:
                matrix_text.render(summary, _console(), report=str(path))
        return
    found = rundir.read(run_directory)
    summary = found.summarised()
    path = rundir.replace_derived(run_directory, summary=None if found.summary else summary, report=_page_of(found))
    with _reader_may_leave():
        if as_json:
            click.echo(json.dumps(summary, indent=2))
        else:
            text.render(summary, _console(), report=str(path))


def _page_of(run: Run) -> str:
    from loadgen.report import html

    return html.render(run.summarised(), run.series, run.events, run.plan, run.host, run.scenario_text)


@cli.command(epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON on stdout, and nothing else there.")
@click.option("--only", metavar="NUMBER", multiple=True, help="A fact (5.6) or a section (5); repeatable.")
@click.option("--list", "as_list", is_flag=True, help="Name the facts without running them.")
def facts(as_json: bool, only: tuple[str, ...], as_list: bool) -> None:
    """Try out, in ten seconds and throwaway namespaces, how this kernel picks source ports.

    \b
    Examples:
      loadgen facts
      loadgen facts --only 5 --json
    """
    from loadgen import clock
    from loadgen import facts as kernel_facts

    if as_list:
        with _reader_may_leave():
            kernel_facts.render_list(kernel_facts.all_facts(only), _console())
        return
    started_at = clock.wall_clock()
    findings = kernel_facts.run_all(only)
    with _reader_may_leave():
        if as_json:
            click.echo(json.dumps(kernel_facts.to_json(findings, started_at=started_at), indent=2))
        else:
            kernel_facts.render(findings, _console())
    missed = [finding for finding in findings if finding.verdict is kernel_facts.Verdict.NOT_RUN]
    for finding in missed:
        _complain(f"fact {finding.fact.number} could not be run: {finding.reason}")
    if missed:
        sys.exit(ExitCode.INCOMPLETE)


@cli.command(epilog=_EPILOG)
def schema() -> None:
    """Print the JSON Schema of a scenario file, for editors.

    \b
    Example:
      loadgen schema > scenario.schema.json
    """
    from loadgen.scenario import json_schema

    with _reader_may_leave():
        click.echo(json.dumps(json_schema(), indent=2))


cli.add_command(doctor)
cli.add_command(plan)
cli.add_command(watch)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """`| head` has seen enough: that changes nothing about the result, nor about the exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit


def _console(*, stderr: bool = False) -> Console:
    """A console that leaves a closed pipe to whoever prints; rich's own answer is exit code 1."""
    from rich.console import Console

    class Leaving(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Leaving(stderr=stderr)


def _complain(problem: object, head: str = "loadgen: ") -> None:
    """A line on stderr, if anybody is there to read it."""
    with suppress(OSError):
        click.echo(f"{head}{problem}", err=True)


def _open_standard_streams() -> None:
    """Give every closed standard stream (`2>&-`) to /dev/null, before a socket or file takes its number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    # Python gave up on those that were closed when it started.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def main() -> None:
    """Entry point: every failure we know becomes one message and its exit code, never a traceback."""
    _open_standard_streams()
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except LoadgenError as error:
        _complain(error)
        sys.exit(error.exit_code)
