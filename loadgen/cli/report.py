"""`loadgen report`: the report of a run, a matrix or a search, rebuilt from its directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, show
from loadgen.errors import UsageError

if TYPE_CHECKING:
    from loadgen.results.run_directory import Run
    from loadgen.results.schema.run import RunSummary


@click.command(epilog=EPILOG)
@click.argument(
    "run_directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path)
)
@click.option(
    "--merge",
    "out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Make the run directory OUT from several that ran at the same time on several hosts: one summary, one report.",
)
@options.as_json("The summary")
def report(run_directories: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Rebuild the report of RUN, or merge runs of several hosts.

    A summary is made where there is none.

    \b
    Examples:
      loadgen report results/20260131T120000Z-past-64k-1f3a
      loadgen report from-host-a from-host-b --merge results/both
    """

    from loadgen.find import answer
    from loadgen.results import run_directory as rundir
    from loadgen.results import search_directory
    from loadgen.results.schema import files
    from loadgen.views.html import find as find_report
    from loadgen.views.html import matrix as matrix_report
    from loadgen.views.text import find, matrix, matrix_table
    from loadgen.views.text import run as text

    if out is not None:
        from loadgen.results.merging import directories

        run_directories = (directories.merge(run_directories, out),)
    run_directory, *others = run_directories
    if others:
        raise UsageError("these are several run directories; add --merge OUT to make one of them, or give one")
    if rundir.is_matrix(run_directory):
        whole = rundir.read_matrix(run_directory)
        of_matrix = whole.summarised()
        for run in whole.runs.values():
            _renew(run, run.summarised())
        path = rundir.write_matrix_results(
            run_directory,
            summary=of_matrix,
            report=matrix_report.page(of_matrix, whole.scenario_text),
            table=matrix_table.table(of_matrix),
        )
        result = files.plain(of_matrix)
        show(result, lambda console: matrix.render(of_matrix, console, report=str(path)), as_json=as_json)
        return
    if search_directory.is_search(run_directory):
        search = search_directory.read(run_directory)
        for folder in sorted((run_directory / search_directory.RUNS).glob("*")):
            if folder.name.isdecimal() and rundir.is_run(folder):
                trial = rundir.read(folder)
                _renew(trial, trial.summarised())
        found = answer.summarise(search.plan, search.trials, search.events, run=search.path.name)
        path = search_directory.write_results(
            run_directory, summary=found, report=find_report.page(found, search.scenario_text)
        )
        show(files.plain(found), lambda console: find.render(found, console, report=str(path)), as_json=as_json)
        return
    run = rundir.read(run_directory)
    summary = run.summarised()
    path = _renew(run, summary)
    show(files.plain(summary), lambda console: text.render(summary, console, report=str(path)), as_json=as_json)


def _renew(run: Run, summary: RunSummary) -> Path:
    """Write the report of a run, and its summary if it has none; return the path of the report."""
    from loadgen.results import run_directory as rundir
    from loadgen.views.html import run as html

    missing = None if run.summary else summary
    return rundir.replace_derived(run.path, summary=missing, report=html.render(run, summary))
