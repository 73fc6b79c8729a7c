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
    help="What to judge for: so many, open at once.",
)
@click.option(
    "--pairs",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Pairs of source address and destination that share them.",
)
@click.option("--commands", is_flag=True, help="Below every limit the commands that change it.")
@click.option("--fail-if-wall", is_flag=True, help="Exit with 3 when a limit is a wall for that many.")
@options.as_json("The findings")
def doctor(connections: int, pairs: int, commands: bool, fail_if_wall: bool, as_json: bool) -> None:
    """Show the limits of this host, what each allows, and how to change it; it changes nothing itself.

    \b
    Examples:
      loadgen doctor
      loadgen doctor --connections 1000000 --pairs 20 --commands
      loadgen doctor --connections 20000 --fail-if-wall --json
    """
    from loadgen.doctor import checkup
    from loadgen.doctor.finding import Purpose
    from loadgen.views.text import doctor as view

    found = checkup.take(Purpose(connections, pairs))
    show(found.to_json(), lambda console: view.render(found, console, commands=commands), as_json=as_json)
    if fail_if_wall and found.walls:
        sys.exit(ExitCode.HOST)
