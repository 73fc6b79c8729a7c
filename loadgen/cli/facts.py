"""`loadgen facts`: experiments that show how this kernel picks source ports."""

from __future__ import annotations

import sys

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, complain, console, reader_may_leave, show
from loadgen.errors import ExitCode


@click.command(epilog=EPILOG)
@options.as_json("The findings")
@click.option("--only", metavar="NUMBER", multiple=True, help="Run only this fact (5.6) or section (5); repeatable.")
@click.option("--list", "as_list", is_flag=True, help="List the facts without running them.")
def facts(as_json: bool, only: tuple[str, ...], as_list: bool) -> None:
    """Show by experiment how this kernel picks source ports.

    The experiments take ten seconds, in throwaway network namespaces.

    \b
    Examples:
      loadgen facts
      loadgen facts --only 5 --json
    """
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
