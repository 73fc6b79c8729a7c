"""`loadgen facts`: experiments that show how this kernel picks source ports."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, complain, console, reader_may_leave, show
from loadgen.errors import ExitCode


@click.command(epilog=EPILOG)
@options.as_json("The findings")
@click.option("--only", metavar="NUMBER", multiple=True, help="Run only this fact (5.6) or section (5); repeatable.")
@click.option("--list", "as_list", is_flag=True, help="List the facts without running them.")
@click.option(
    "--compare",
    metavar="A.json B.json",
    nargs=2,
    type=click.Path(path_type=Path),
    help="Run nothing; say which facts of two files of `facts --json` differ.",
)
@click.pass_context
def facts(
    context: click.Context, as_json: bool, only: tuple[str, ...], as_list: bool, compare: tuple[Path, Path] | None
) -> None:
    """Show by experiment how this kernel picks source ports.

    The experiments take ten seconds, in throwaway network namespaces. --compare puts two kernels side by side; its
    exit code is 0 whatever differs.

    \b
    Examples:
      loadgen facts
      loadgen facts --only 5 --json
      loadgen facts --json > here.json
      loadgen facts --compare there.json here.json
    """
    if compare:
        if as_list or only:
            raise click.UsageError("--compare reads two files and runs nothing; leave --list and --only out.", context)
        _compare(*compare, as_json=as_json)
        return
    from loadgen import clock
    from loadgen import facts as kernel_facts

    if as_list:
        with reader_may_leave():
            kernel_facts.render_list(kernel_facts.all_facts(only), console())
        return
    started_at = clock.wall_clock()
    findings = kernel_facts.run_all(only)
    result = kernel_facts.to_json(findings, started_at=started_at)
    show(result, lambda console: kernel_facts.render(findings, console), as_json=as_json)
    missed = [finding for finding in findings if finding.verdict is kernel_facts.FactVerdict.NOT_RUN]
    for finding in missed:
        complain(f"fact {finding.fact.number} could not be run: {finding.reason}")
    if missed:
        sys.exit(ExitCode.INCOMPLETE)


def _compare(a: Path, b: Path, *, as_json: bool) -> None:
    from loadgen.facts import comparison
    from loadgen.views.text import facts as facts_text

    result = comparison.compare(a, b)
    show(result.to_json() if as_json else None, lambda console: facts_text.render(result, console), as_json=as_json)
