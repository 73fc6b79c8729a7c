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
from loadgen.cli import completion, dashboard, files, interrupts, options
from loadgen.cli.streams import EPILOG, complain, console, show
from loadgen.errors import ExitCode, OutputError, UsageError

if TYPE_CHECKING:
    from loadgen.cli.agents import AgentOptions
    from loadgen.cluster.coordinator import Coordinator
    from loadgen.control.matrix import Matrix
    from loadgen.control.orchestrator import Orchestrator, Result
    from loadgen.control.prove import Prover
    from loadgen.views.dashboard.dashboard import Dashboard
    from loadgen.views.live.view import RunObserver


@click.command(epilog=EPILOG)
@click.argument("scenario", type=click.Path(path_type=Path), required=False, shell_complete=completion.scenarios)
@options.settings
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Directory in which the run directory is made.",
)
@click.option(
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Continue a matrix that was interrupted or killed; instead of SCENARIO.",
)
@options.as_json("The summary")
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a JUnit report: each expectation is a test case.",
)
@click.option("--quiet", is_flag=True, help="Print no progress on stderr, only errors.")
@dashboard.given
@options.permissions
@click.option(
    "--force",
    is_flag=True,
    help="Run although the plan predicts that four-tuples or the workers' descriptors run out.",
)
@click.option(
    "--prove",
    is_flag=True,
    help="Afterwards try the best three remedies, each in a fresh lab, and print the claimed gain beside the measured.",
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
    quiet: bool,
    dashboard_at: str | None,
    dashboard_public: bool,
    allow: tuple[str, ...],
    authorized: bool,
    port_blocking: bool,
    force: bool,
    prove: bool,
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
      loadgen run scenarios/eaddrinuse.yaml --prove
      loadgen run --resume results/20260131T120000Z-mine-1f3a
      loadgen run mine.yaml --agents 3 --listen 10.0.0.1:9786 --certs certs
    """

    from loadgen import scenario as scenarios
    from loadgen.control import matrix as matrices
    from loadgen.control import prove as prover
    from loadgen.control.orchestrator import Options, Orchestrator
    from loadgen.views.text import matrix as table
    from loadgen.views.text import run as text

    permitted = Options(results=out, allow=allow, authorized=authorized, port_blocking=port_blocking, force=force)
    if resume is not None:
        _alone(context, "scenario", "settings", "out", "prove", "agents")
        served = dashboard.made(dashboard_at, resume.parent, public=dashboard_public)
        resumed = partial(matrices.Matrix, matrices.resume(resume), permitted)
        _run_several(resumed, table.render, served, as_json=as_json, quiet=quiet, junit=junit)
    served = dashboard.made(dashboard_at, out, public=dashboard_public)
    if scenario is None:
        raise click.UsageError("Missing argument 'SCENARIO'; give a scenario file, or --resume RUN.", context)
    data = scenarios.read_bytes(scenario)  # once: it may be a pipe
    if agents is not None:
        if prove:
            raise UsageError("--prove is for a run on one host; leave --agents out, or leave --prove out")
        made = partial(agents.coordinator, data, str(scenario), settings, permitted)
        _run_one(made, served, as_json=as_json, quiet=quiet, junit=junit)
    whole, cells = scenarios.parse_cells(data, str(scenario), settings)
    if prove:
        prover.require_lab(whole, cells)
        proofs = partial(prover.Prover, prover.ProofOrder(whole, data.decode(), str(scenario), settings), permitted)
        _run_several(proofs, text.render, served, as_json=as_json, quiet=quiet, junit=junit)
    if cells:
        of_matrix = partial(matrices.Matrix, matrices.Order(whole, cells, data.decode(), settings), permitted)
        _run_several(of_matrix, table.render, served, as_json=as_json, quiet=quiet, junit=junit)
    given = matrices.with_overrides(settings, data.decode())
    _run_one(partial(Orchestrator, whole, given, permitted), served, as_json=as_json, quiet=quiet, junit=junit)


def _run_one(
    conductor: Callable[..., Orchestrator | Coordinator],
    served: Dashboard | None,
    *,
    as_json: bool,
    quiet: bool,
    junit: Path | None,
) -> NoReturn:
    """Make one run with a view of its own. conductor: is given `observer` and `notice`."""
    from loadgen.views import live
    from loadgen.views.text import run as text

    _ready(junit)
    shown = live.view_for(console(stderr=True), quiet=quiet)
    with dashboard.beside(shown, served) as view:
        made = conductor(observer=view.update, notice=view.notice)
        result = _execute(made, served, shown.notice, shown.hide)
    _conclude(result, text.render, as_json=as_json, junit=junit)


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


def _ready(junit: Path | None) -> None:
    """Check before any load that the JUnit report can be written. Raises: UsageError."""
    if junit is not None:
        files.ready(junit, "--junit")


def _run_several(
    conductor: Callable[..., Matrix | Prover],
    render: Callable[..., None],
    served: Dashboard | None,
    *,
    as_json: bool,
    quiet: bool,
    junit: Path | None,
) -> NoReturn:
    """Make several runs, each with a view of its own. conductor: is given `view` and `say`, see `Matrix`."""
    from loadgen.views import live

    def say(message: str) -> None:
        if served:
            served.say(message)
        if not quiet:
            complain(message)

    shown = live.view_for(console(stderr=True), quiet=quiet)

    def view() -> AbstractContextManager[RunObserver]:
        nonlocal shown
        shown = live.view_for(console(stderr=True), quiet=quiet)
        return dashboard.beside(shown, served)

    _ready(junit)
    result = _execute(conductor(view=view, say=say), served, complain, lambda: shown.hide())
    _conclude(result, render, as_json=as_json, junit=junit)


def _conclude(result: Result, render: Callable[..., None], *, as_json: bool, junit: Path | None) -> NoReturn:
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
    failed = [problem for problem in (result.error, unwritten, unshown) if problem]
    for problem in failed:
        complain(problem)
    sys.exit(result.exit_code or (failed[0].exit_code if failed else ExitCode.FINE))


def _execute(
    conductor: Orchestrator | Coordinator | Matrix | Prover,
    served: Dashboard | None,
    announce: Callable[[str], None],
    hide: Callable[[], None],
) -> Result:
    """Run; signals interrupt the run in order. hide: the view, before Ctrl-Z stops this process."""
    from loadgen import event_loop

    async def main() -> Result:
        interrupt = conductor.interrupt
        with interrupts.delivered_to(lambda: interrupt(), hide):
            async with dashboard.serving(served, conductor.interrupt, announce) as interrupt:
                result = await conductor.execute()
                if served:
                    served.over(result.path, result.record, result.exit_code)
                return result

    return event_loop.run(main)
