"""`loadgen doctor`: this host's limits, judged for a number of connections."""

from __future__ import annotations

import sys

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, show
from loadgen.errors import ExitCode


@click.command(epilog=EPILOG)
@click.option(
    "--connections",
    type=click.IntRange(1, 1_000_000_000),
    default=100_000,
    show_default=True,
    help="Target number of concurrent connections.",
)
@click.option(
    "--pairs",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Pairs of source address and destination that share the connections.",
)
@click.option("--commands", is_flag=True, help="Show below each limit the commands that change it.")
@click.option("--fail-if-wall", is_flag=True, help="Exit with 3 when a limit is below that number.")
@options.as_json("The findings")
def doctor(connections: int, pairs: int, commands: bool, fail_if_wall: bool, as_json: bool) -> None:
    """Show this host's limits, what each allows, and how to change it.

    Nothing is changed.

    \b
    Examples:
      loadgen doctor
      loadgen doctor --connections 1000000 --pairs 20 --commands
      loadgen doctor --connections 20000 --fail-if-wall --json
    """
    from loadgen.doctor import checkup
    from loadgen.doctor.finding import Purpose
    from loadgen.views.text import doctor as view

    findings = checkup.take(Purpose(connections, pairs))
    show(findings.to_json(), lambda console: view.render(findings, console, commands=commands), as_json=as_json)
    if fail_if_wall and findings.walls:
        sys.exit(ExitCode.HOST)
