"""`loadgen churn`: opens and closes connections to one target for a time, without a scenario file."""

from __future__ import annotations

from functools import partial

import click

from loadgen.cli import brief
from loadgen.cli.streams import EPILOG


@click.command(epilog=EPILOG)
@brief.target
@click.option(
    "--for", "duration", metavar="DURATION", required=True, help="Time in which connections are opened, as 30s."
)
@click.option(
    "-c", "--concurrency", metavar="N", type=int, default=64, show_default=True, help="Most connections open at a time."
)
@brief.given
def churn(target: str, duration: str, concurrency: int, shared: brief.BriefOptions) -> None:
    """Open and close connections to HOST:PORT for a time.

    Each connection is closed as soon as it is open, by loadgen, so that its four-tuple stays in TIME-WAIT. The same run
    as that of the scenario which --print-scenario prints: plan, verdict, report and exit code.

    \b
    Examples:
      loadgen churn 127.0.0.1:9000 --for 10s --lab
      loadgen churn 10.20.0.7:443 --for 30s --rate 400/s --allow 10.20.0.0/16
      loadgen churn 10.20.0.7:443 --for 30s --print-scenario > mine.yaml
    """
    from loadgen.scenario.brief import Brief

    shared.run(partial(Brief, name="churn", duration=duration, concurrency=concurrency), target)
