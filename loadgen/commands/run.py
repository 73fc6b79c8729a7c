"""`loadgen run`: a scenario, or every cell of a matrix, to its run directory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from loadgen.commands import options
from loadgen.commands.streams import EPILOG, complain, console, show

if TYPE_CHECKING:
    from loadgen.matrix import Matrix, Order
    from loadgen.orchestrator import Options, Orchestrator, Result


@click.command(epilog=EPILOG)
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@options.settings
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
@options.as_json("The summary")
@click.option("--quiet", is_flag=True, help="No progress on stderr, only what went wrong.")
@options.permissions
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
    from loadgen.orchestrator import Options, Orchestrator
    from loadgen.report import text

    permitted = Options(results=out, allow=allow, authorized=authorized, port_blocking=port_blocking, force=force)
    if resume is not None:
        _alone(context, "scenario", "settings", "out")
        _run_matrix(matrices.resume(resume), permitted, as_json=as_json, quiet=quiet)
    if scenario is None:
        raise click.UsageError("Missing argument 'SCENARIO'; give a scenario file, or --resume RUN.", context)
    data = scenarios.read_bytes(scenario)  # once: it may be a pipe
    whole, cells = scenarios.parse_cells(data, str(scenario), settings)
    if cells:
        _run_matrix(matrices.Order(whole, cells, data.decode(), settings), permitted, as_json=as_json, quiet=quiet)
    given = matrices.with_overrides(settings, data.decode())
    view = live.view_for(console(stderr=True), quiet=quiet)
    with view:
        result = _execute(Orchestrator(whole, given, permitted, observer=view.update, notice=view.notice))
    _conclude(result, text.render, as_json=as_json)


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


def _run_matrix(order: Order, permitted: Options, *, as_json: bool, quiet: bool) -> NoReturn:
    from loadgen import live
    from loadgen.matrix import Matrix
    from loadgen.report import matrix_text as table

    def say(message: str) -> None:
        if not quiet:
            complain(message)

    def view() -> live.Unheard:
        return live.view_for(console(stderr=True), quiet=quiet)

    result = _execute(Matrix(order, permitted, view=view, say=say))
    _conclude(result, table.render, as_json=as_json)


def _conclude(result: Result, render: Callable[..., None], *, as_json: bool) -> NoReturn:
    """Say what came of it, and exit."""
    report = str(result.path / "report.html")
    show(result.summary, lambda console: render(result.summary, console, report=report), as_json=as_json)
    if result.error:
        complain(result.error)
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
