"""`loadgen compare`: runs beside other runs, and the differences beyond noise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen import format as fmt
from loadgen.cli import files, options
from loadgen.cli.streams import EPILOG, complain, show
from loadgen.errors import ExitCode, ResultsError

if TYPE_CHECKING:
    from loadgen.compare.regression import CompareCondition


def _conditions(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[CompareCondition]:
    if not texts:
        return []
    from loadgen.compare.regression import CompareCondition

    try:
        return [CompareCondition.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(epilog=EPILOG)
@click.argument("sides", metavar="BASE OTHER...", nargs=-1, required=True, type=click.Path(file_okay=False))
@options.as_json("The comparison")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an HTML page with the charts of all sides overlaid.",
)
@click.option(
    "--fail-if",
    "conditions",
    metavar="CONDITION",
    multiple=True,
    callback=_conditions,
    help="Exit with 99 when a change beyond noise meets the condition: worse, 'worse: rate_per_s', "
    "'connect_p99_us > 10%', 'failed > 0'; repeatable.",
)
@click.option(
    "--anyway", is_flag=True, help="Compare sides that cannot be compared soundly; each judgement is then marked."
)
def compare(
    sides: tuple[str, ...], as_json: bool, html: Path | None, conditions: list[CompareCondition], anyway: bool
) -> None:
    """Compare runs with BASE, and report differences beyond noise.

    Differences of scenario and host are listed too. A side is a run directory, several of them joined with commas
    as repetitions of one scenario, or the directory of a matrix, which is compared cell by cell. With one run on a
    side only a figure that doubled or halved counts as different; repetitions show far smaller differences.

    \b
    Examples:
      loadgen compare results/BEFORE results/AFTER
      loadgen compare results/A1,results/A2,results/A3 results/B1,results/B2,results/B3
      loadgen compare results/BEFORE results/AFTER --html compare.html
      loadgen compare results/BEFORE results/AFTER --fail-if 'rate_per_s < -5%' --fail-if 'failed > 0'
      loadgen compare results/MATRIX-BEFORE results/MATRIX-AFTER --fail-if worse
    """
    from loadgen.compare import load as reading
    from loadgen.compare import regression
    from loadgen.views.text import compare as compare_text

    if html is not None:
        files.ready(html, "--html")
    given = reading.read(sides)
    result = reading.compared(given, anyway=anyway)
    violations = regression.violations(result, conditions)
    unwritten: ResultsError | None = None
    if html is not None:
        from loadgen.views.html import compare as compare_html

        series = {str(run.path): run.series for side in given for run in side.runs}
        try:
            files.write(html, compare_html.page(result, series))
        except ResultsError as error:  # the comparison is printed, and judged, all the same
            unwritten = error
    show(
        result.to_json() if as_json else None,
        lambda console: compare_text.render(result, console),
        as_json=as_json,
    )
    for violation in violations:
        complain(fmt.visible(violation))
    if unwritten:
        raise unwritten
    if violations:
        sys.exit(ExitCode.EXPECTATION)
