"""`loadgen open`: opens connections to one target and holds them, without a scenario file."""

from __future__ import annotations

from functools import partial

import click

from loadgen.cli import brief
from loadgen.cli.streams import EPILOG


@click.command("open", epilog=EPILOG)
@brief.target
@click.option(
    "-c", "--connections", metavar="N", type=int, required=True, help="Connections to open, all sources together."
)
@click.option(
    "--hold", metavar="DURATION", default="", help="Time all stay open after the last was due, as 30s; left out: 0s."
)
@brief.given
def open_(target: str, connections: int, hold: str, shared: brief.BriefOptions) -> None:
    """Open connections to HOST:PORT, and hold them.

    The same run as that of the scenario which --print-scenario prints: plan, verdict, report and exit code.

    \b
    Examples:
      loadgen open 127.0.0.1:9000 -c 50000 --from 127.0.0.2-3 --lab
      loadgen open 10.20.0.7:443 -c 5000 --rate 500/s --hold 30s --allow 10.20.0.0/16
      loadgen open 10.20.0.7:443 -c 5000 --print-scenario > mine.yaml
    """
    from loadgen.scenario.brief import Brief

    shared.run(partial(Brief, name="open", connections=connections, hold=hold), target)
