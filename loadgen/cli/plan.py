"""`loadgen plan`: the resources that a scenario needs of this host, and the limit that it meets first."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from loadgen.cli import agents as several
from loadgen.cli import completion, interrupts, options
from loadgen.cli.streams import EPILOG, complain, show
from loadgen.errors import UsageError

if TYPE_CHECKING:
    from loadgen.cli.agents import AgentOptions
    from loadgen.cluster.coordinator import Coordinator


@click.command(epilog=EPILOG)
@click.argument("scenario", type=click.Path(path_type=Path), shell_complete=completion.scenarios)
@options.settings
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout (loadgen.plan/1).")
@click.option("--cell", metavar="N", type=click.IntRange(min=0), help="Show one cell of a matrix in detail.")
@options.permissions
@several.given
def plan(
    scenario: Path,
    settings: tuple[str, ...],
    as_json: bool,
    cell: int | None,
    allow: tuple[str, ...],
    authorized: bool,
    port_blocking: bool,
    agents: AgentOptions | None,
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
      loadgen plan mine.yaml --agents 3 --listen 10.0.0.1:9786 --certs certs
    """
    from loadgen import event_loop
    from loadgen import scenario as scenarios
    from loadgen.control import dry_run
    from loadgen.control.orchestrator import Options
    from loadgen.views.text import plan as plan_text

    data = scenarios.read_bytes(scenario)
    if agents is not None:
        if cell is not None:
            raise UsageError("--cell is for a matrix, which runs on one host; leave --agents out, or leave --cell out")
        permitted = Options(allow=allow, authorized=authorized, port_blocking=port_blocking)
        _plan_several(partial(agents.coordinator, data, str(scenario), settings, permitted), as_json=as_json)
    whole, cells = scenarios.parse_cells(data, str(scenario), settings)
    planner = dry_run.Planner(whole, cells, dry_run.Permissions(allow, authorized, port_blocking), only=cell)

    async def main() -> dry_run.Report:
        with interrupts.delivered_to(planner.interrupt):
            return await planner.execute()

    report = event_loop.run(main)
    show(report, lambda console: plan_text.render(report, console), as_json=as_json)
    sys.exit(dry_run.exit_code(report))


def _plan_several(coordinator: Callable[..., Coordinator], *, as_json: bool) -> NoReturn:
    """Show the plan of a run on several hosts, and exit. coordinator: is given `observer` and `notice`."""
    from loadgen import event_loop
    from loadgen.control import dry_run
    from loadgen.views.text import plan as plan_text

    async def main() -> dry_run.Report:
        planner = coordinator(observer=lambda _plan, _line: None, notice=complain)
        with interrupts.delivered_to(lambda: planner.interrupt()):
            return await planner.plan()

    report = event_loop.run(main)
    show(report, lambda console: plan_text.render(report, console), as_json=as_json)
    sys.exit(dry_run.exit_code(report))
