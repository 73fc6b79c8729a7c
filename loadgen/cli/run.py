"""`loadgen run`: runs a scenario, or every cell of a matrix, and writes the run directory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from loadgen.cli import agents as several
from loadgen.cli import completion, dashboard, files, interrupts, options, otlp
from loadgen.cli.onlookers import Onlookers
from loadgen.cli.streams import EPILOG, complain, console, show
from loadgen.errors import ExitCode, OutputError, UsageError
from loadgen.views.progress import ProgressStyle

if TYPE_CHECKING:
    from loadgen.cli.agents import AgentOptions
    from loadgen.cluster.coordinator import Coordinator
    from loadgen.control.find import Finder
    from loadgen.control.matrix import Matrix
    from loadgen.control.orchestrator import Options, Orchestrator, Result
    from loadgen.control.prove import Prover
    from loadgen.views.live.view import RunObserver


@click.command(epilog=EPILOG)
@click.argument("scenario", type=click.Path(path_type=Path), required=False, shell_complete=completion.scenarios)
@options.settings
@options.out
@click.option(
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Continue a matrix that was interrupted or killed; instead of SCENARIO.",
)
@options.as_json("The summary")
@options.junit
@options.progress
@dashboard.given
@otlp.given
@options.permissions
@options.force
@click.option(
    "--prove",
    is_flag=True,
    help="Afterwards try the best three remedies, each in a fresh lab, and print the claimed gain beside the measured.",
)
@click.option(
    "--once",
    is_flag=True,
    help="Smoke test: open one connection from each source to each target; exit code 99 if one fails.",
)
@several.given
@click.pass_context
def run(
    context: click.Context,
    scenario: Path | None,
    settings: tuple[str, ...],
    out: Path,
    resume: Path | None,
    as_json: bool,
    junit: Path | None,
    progress: ProgressStyle,
    dashboard_at: str | None,
    dashboard_public: bool,
    otlp_at: str | None,
    allow: tuple[str, ...],
    authorized: bool,
    port_blocking: bool,
    force: bool,
    prove: bool,
    once: bool,
    agents: AgentOptions | None,
) -> None:
    """Run SCENARIO and write a run directory with its report.

    Ctrl-C once closes all connections and reports; twice stops at once. A matrix can be continued with --resume.

    \b
    Examples:
      loadgen run scenarios/past-64k.yaml
      loadgen run scenarios/past-64k.yaml --set hold=1m --set sources.strategy=explicit
      loadgen run mine.yaml --allow 10.20.0.0/16 --json > summary.json
      loadgen run mine.yaml --quiet --junit junit.xml
      loadgen run mine.yaml --dashboard
      loadgen run mine.yaml --otlp http://127.0.0.1:4318
      loadgen run scenarios/eaddrinuse.yaml --prove
      loadgen run mine.yaml --once
      loadgen run --resume results/20260131T120000Z-mine-1f3a
      loadgen run mine.yaml --agents 3 --listen 10.0.0.1:9786 --certs certs
    """

    from loadgen import scenario as scenarios
    from loadgen.control import matrix as matrices
    from loadgen.control import prove as prover
    from loadgen.control.orchestrator import Options
    from loadgen.views.text import matrix as table
    from loadgen.views.text import run as text

    pushed = otlp.made(otlp_at)
    permitted = Options(
        results=out,
        allow=allow,
        authorized=authorized,
        port_blocking=port_blocking,
        force=force,
        once=once,
        opened=otlp.opened(pushed),
    )
    if resume is not None:
        alone(context, "scenario", "settings", "out", "prove", "once", "agents")
        onlookers = Onlookers(dashboard.made(dashboard_at, resume.parent, public=dashboard_public), pushed)
        resumed = partial(matrices.Matrix, matrices.resume(resume), permitted)
        run_several(resumed, table.render, onlookers, as_json=as_json, progress=progress, junit=junit)
    onlookers = Onlookers(dashboard.made(dashboard_at, out, public=dashboard_public), pushed)
    if scenario is None:
        raise click.UsageError("Missing argument 'SCENARIO'; give a scenario file, or --resume RUN.", context)
    data = scenarios.read_bytes(scenario)  # once: it may be a pipe
    if scenarios.parse_cells(data, str(scenario), settings)[0].find:
        raise UsageError(
            f"{scenario} searches for the highest value that holds: loadgen find {scenario}; for one run of it add "
            "--set find=null"
        )
    if once and (prove or agents is not None):
        raise UsageError("--once is for a run on one host, without --prove; leave one out")
    if agents is not None:
        if prove:
            raise UsageError("--prove is for a run on one host; leave --agents out, or leave --prove out")
        made = partial(agents.coordinator, data, str(scenario), settings, permitted)
        _run_one(made, onlookers, as_json=as_json, progress=progress, junit=junit)
    if prove:
        whole, cells = scenarios.parse_cells(data, str(scenario), settings)
        prover.require_lab(whole, cells)
        proofs = partial(prover.Prover, prover.ProofOrder(whole, data.decode(), str(scenario), settings), permitted)
        run_several(proofs, text.render, onlookers, as_json=as_json, progress=progress, junit=junit)
    run_text(data, str(scenario), settings, permitted, onlookers, as_json=as_json, progress=progress, junit=junit)


def run_text(
    data: bytes,
    origin: str,
    settings: tuple[str, ...],
    permitted: Options,
    onlookers: Onlookers,
    *,
    as_json: bool,
    progress: ProgressStyle,
    junit: Path | None,
) -> NoReturn:
    """Run a scenario on this host, or every cell of its matrix. origin: its name in messages."""
    from loadgen import scenario as scenarios
    from loadgen.control import matrix as matrices
    from loadgen.control.orchestrator import Orchestrator
    from loadgen.views.text import matrix as table

    whole, cells = scenarios.parse_cells(data, origin, settings)
    if cells and permitted.once:
        raise UsageError("--once is for a scenario of one run, without matrix and repeat; leave --once out")
    if cells:
        of_matrix = partial(matrices.Matrix, matrices.Order(whole, cells, data.decode(), settings), permitted)
        run_several(of_matrix, table.render, onlookers, as_json=as_json, progress=progress, junit=junit)
    given = matrices.with_overrides(settings, data.decode())
    made = partial(Orchestrator, whole, given, permitted)
    _run_one(made, onlookers, as_json=as_json, progress=progress, junit=junit, made_once=permitted.once)


def _run_one(
    conductor: Callable[..., Orchestrator | Coordinator],
    onlookers: Onlookers,
    *,
    as_json: bool,
    progress: ProgressStyle,
    junit: Path | None,
    made_once: bool = False,
) -> NoReturn:
    """Make one run with a view of its own. conductor: is given `observer` and `notice`. made_once: a smoke test."""
    from loadgen.views import live
    from loadgen.views.text import once
    from loadgen.views.text import run as text

    _ready(junit)
    shown = live.view_for(console(stderr=True, style=progress), progress)
    with onlookers.beside(shown) as view:
        made = conductor(observer=view.update, notice=view.notice)
        result = _execute(made, onlookers, shown.notice, shown.hide)
    render = once.render if made_once else text.render
    _conclude(result, render, onlookers, as_json=as_json, progress=progress, junit=junit)


def alone(context: click.Context, *others: str) -> None:
    """Refuse what cannot stand beside --resume. others: names of parameters. Raises: click.UsageError."""
    from click.core import ParameterSource

    for name in others:
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None):
            words = {"scenario": "a SCENARIO", "settings": "--set", "low": "--from", "high": "--to"}
            word = words.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(
                f"--resume goes on with the scenario and in the directory of RUN; leave {word} out, "
                "or leave --resume out to begin anew.",
                context,
            )


def _ready(junit: Path | None) -> None:
    """Check before any load that the JUnit report can be written. Raises: UsageError."""
    if junit is not None:
        files.ready(junit, "--junit")


def run_several(
    conductor: Callable[..., Matrix | Prover | Finder],
    render: Callable[..., None],
    onlookers: Onlookers,
    *,
    as_json: bool,
    progress: ProgressStyle,
    junit: Path | None,
) -> NoReturn:
    """Make several runs, each with a view of its own. conductor: is given `view` and `say`, see `Matrix`."""
    from loadgen.views import live

    def say(message: str) -> None:
        onlookers.say(message)
        if progress is not ProgressStyle.NONE:
            complain(message)

    pace = live.LinePace()
    shown = live.view_for(console(stderr=True, style=progress), progress, pace)

    def view() -> AbstractContextManager[RunObserver]:
        nonlocal shown
        shown = live.view_for(console(stderr=True, style=progress), progress, pace)
        return onlookers.beside(shown)

    _ready(junit)
    result = _execute(conductor(view=view, say=say), onlookers, complain, lambda: shown.hide())
    _conclude(result, render, onlookers, as_json=as_json, progress=progress, junit=junit)


def _conclude(
    result: Result,
    render: Callable[..., None],
    onlookers: Onlookers,
    *,
    as_json: bool,
    progress: ProgressStyle,
    junit: Path | None,
) -> NoReturn:
    """Print the summary, publish it for CI, and exit."""
    from loadgen.cli import ci

    report = str(result.path / "report.html")
    unshown: OutputError | None = None
    try:
        show(result.summary, lambda console: render(result.record, console, report=report), as_json=as_json)
    except OutputError as error:  # CI gets its report all the same
        unshown = error
    unwritten = ci.publish(result.record, result.path, junit)
    if result.exit_code is ExitCode.INTERRUPTED and result.record.complete:
        complain("interrupted when the load was over; the results are complete")
    onlookers.conclude(quiet=progress is ProgressStyle.NONE)
    failed = [problem for problem in (result.error, unwritten, unshown) if problem]
    for problem in failed:
        complain(problem)
    sys.exit(result.exit_code or (failed[0].exit_code if failed else ExitCode.FINE))


def _execute(
    conductor: Orchestrator | Coordinator | Matrix | Prover | Finder,
    onlookers: Onlookers,
    announce: Callable[[str], None],
    hide: Callable[[], None],
) -> Result:
    """Run; signals interrupt the run in order. hide: the view, before Ctrl-Z stops this process."""
    from loadgen import event_loop

    async def main() -> Result:
        interrupt = conductor.interrupt
        with interrupts.delivered_to(lambda: interrupt(), hide):
            async with onlookers.attending(conductor.interrupt, announce) as interrupt:
                result = await conductor.execute()
                onlookers.over(result)
                return result

    return event_loop.run(main)
