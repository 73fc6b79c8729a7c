"""`loadgen plan`: the resources that a scenario needs of this host, and the limit that it meets first."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli import completion, interrupts, options
from loadgen.cli.streams import EPILOG, show


@click.command(epilog=EPILOG)
@click.argument("scenario", type=click.Path(path_type=Path), shell_complete=completion.scenarios)
@options.settings
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout (loadgen.plan/1).")
@click.option("--cell", metavar="N", type=click.IntRange(min=0), help="Show one cell of a matrix in detail.")
@options.permissions
def plan(
    scenario: Path,
    settings: tuple[str, ...],
    as_json: bool,
    cell: int | None,
    allow: tuple[str, ...],
    authorized: bool,
    port_blocking: bool,
) -> None:
    """Show what SCENARIO needs of this host, and its first limit.

    No connections are opened. A lab is made and removed again, so that its settings count. Exit code 3 when the
    scenario cannot run on this host.

    \b
    Examples:
      loadgen plan scenarios/past-64k.yaml
      loadgen plan scenarios/past-64k.yaml --set connections=300000
      loadgen plan scenarios/tw-reuse.yaml --cell 3
      loadgen plan mine.yaml --allow 10.20.0.0/16 --json
    """
    from loadgen import event_loop
    from loadgen import scenario as scenarios
    from loadgen.control import dry_run
    from loadgen.views.text import plan as plan_text

    whole, cells = scenarios.parse_cells(scenarios.read_bytes(scenario), str(scenario), settings)
    planner = dry_run.Planner(whole, cells, dry_run.Permissions(allow, authorized, port_blocking), only=cell)

    async def main() -> dry_run.Report:
        with interrupts.delivered_to(planner.interrupt):
            return await planner.execute()

    report = event_loop.run(main)
    show(report, lambda console: plan_text.render(report, console), as_json=as_json)
    sys.exit(dry_run.exit_code(report))
