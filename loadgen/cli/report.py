"""`loadgen report`: the report of a run or of a matrix, rebuilt from its directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, show

if TYPE_CHECKING:
    from loadgen.results.run_directory import Run


@click.command(epilog=EPILOG)
@click.argument("run_directory", metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@options.as_json("The summary")
def report(run_directory: Path, as_json: bool) -> None:
    """Rebuild the report of RUN, and its summary if it has none.

    \b
    Example:
      loadgen report results/20260131T120000Z-past-64k-1f3a
    """

    from loadgen.results import run_directory as rundir
    from loadgen.results.schema import files
    from loadgen.views.html import matrix as matrix_report
    from loadgen.views.text import matrix, matrix_table
    from loadgen.views.text import run as text

    if rundir.is_matrix(run_directory):
        whole = rundir.read_matrix(run_directory)
        summary = whole.summarised()
        for run in whole.runs.values():
            rundir.replace_derived(run.path, summary=None if run.summary else run.summarised(), report=_page_of(run))
        path = rundir.write_matrix_results(
            run_directory,
            summary=summary,
            report=matrix_report.page(files.plain(summary), whole.scenario_text),
            table=matrix_table.table(files.plain(summary)),
        )
        plain = files.plain(summary)
        show(plain, lambda console: matrix.render(plain, console, report=str(path)), as_json=as_json)
        return
    run = rundir.read(run_directory)
    of_run = run.summarised()
    path = rundir.replace_derived(run_directory, summary=None if run.summary else of_run, report=_page_of(run))
    plain = files.plain(of_run)
    show(plain, lambda console: text.render(plain, console, report=str(path)), as_json=as_json)


def _page_of(run: Run) -> str:
    from loadgen.results.schema import files
    from loadgen.views.html import run as html

    return html.render(
        files.plain(run.summarised()),
        files.plain(run.series),
        files.plain(run.events),
        files.plain(run.plan),
        files.plain(run.host),
        run.scenario_text,
    )
