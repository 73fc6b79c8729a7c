"""`loadgen find`: searches for the highest value of a key with which all expectations hold."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.cli import agents as several
from loadgen.cli import completion, dashboard, options, otlp
from loadgen.cli.onlookers import Onlookers
from loadgen.cli.run import alone, run_several
from loadgen.cli.streams import EPILOG
from loadgen.errors import UsageError
from loadgen.views.progress import ProgressStyle

if TYPE_CHECKING:
    from loadgen.cli.agents import AgentOptions

#: Options that stand for keys of `find`.
_KEYS = (
    ("vary", "--vary", "KEY", "Dotted path of the key to vary, for example arrival.rate or connections."),
    ("low", "--from", "VALUE", "Lowest value, tried first, with the unit of the key: 100/s."),
    ("high", "--to", "VALUE", "Highest value that is tried."),
    ("precision", "--precision", "SHARE", "Width of the interval that is good enough, for example 2%."),
    ("at_least", "--at-least", "VALUE", "Exit with 99 if less than this holds."),
)
_NAMES = {"low": "from", "high": "to"}


@click.command(epilog=EPILOG)
@click.argument("scenario", type=click.Path(path_type=Path), required=False, shell_complete=completion.scenarios)
@options.all_of(*(click.option(flag, name, metavar=metavar, help=text) for name, flag, metavar, text in _KEYS))
@options.settings
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Directory in which the directory of the search is made.",
)
@click.option(
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Continue a search that was interrupted or killed; instead of SCENARIO.",
)
@options.as_json("The summary")
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a JUnit report: that the search ended, that a value holds, --at-least and find.expect.",
)
@options.progress
@dashboard.given
@otlp.given
@options.permissions
@several.given
@click.pass_context
def find(
    context: click.Context,
    scenario: Path | None,
    vary: str | None,
    low: str | None,
    high: str | None,
    precision: str | None,
    at_least: str | None,
    settings: tuple[str, ...],
    out: Path,
    resume: Path | None,
    as_json: bool,
    junit: Path | None,
    progress: ProgressStyle,
    dashboard_at: str | None,
    dashboard_public: bool,
    otlp_at: str | None,
    allow: tuple[str, ...],
    authorized: bool,
    port_blocking: bool,
    agents: AgentOptions | None,
) -> None:
    """Find the highest value with which all expectations hold.

    Runs trial after trial: the value doubles until a trial fails, then the interval is halved, and both of its ends
    are repeated until one outcome leads. `find:` in the scenario says the same as the options.

    \b
    Examples:
      loadgen find scenarios/find-churn-ceiling.yaml
      loadgen find mine.yaml --vary arrival.rate --from 100/s --to 20000/s
      loadgen find mine.yaml --vary connections --from 1000 --to 60000 --at-least 28000
      loadgen find mine.yaml --set find.time=10m --json > answer.json
      loadgen find --resume results/20260131T120000Z-mine-1f3a
    """
    from loadgen import scenario as scenarios
    from loadgen.control.find import Finder
    from loadgen.control.find_order import FindOrder
    from loadgen.control.find_order import resume as resumed
    from loadgen.control.orchestrator import Options
    from loadgen.views.text import find as text

    pushed = otlp.made(otlp_at)
    permitted = Options(
        results=out,
        allow=allow,
        authorized=authorized,
        port_blocking=port_blocking,
        opened=otlp.opened(pushed),
    )
    if resume is not None:
        alone(context, "scenario", "settings", "out", "agents", *(name for name, *_ in _KEYS))
        served = dashboard.made(dashboard_at, resume.parent, public=dashboard_public)
        order = resumed(resume)
    else:
        if scenario is None:
            raise click.UsageError("Missing argument 'SCENARIO'; give a scenario file, or --resume RUN.", context)
        served = dashboard.made(dashboard_at, out, public=dashboard_public)
        given = {"vary": vary, "low": low, "high": high, "precision": precision, "at_least": at_least}
        overrides = (
            *settings,
            *(f"find.{_NAMES.get(name, name)}={value}" for name, value in given.items() if value is not None),
        )
        data = scenarios.read_bytes(scenario)  # once: it may be a pipe
        whole, cells = scenarios.parse_cells(data, str(scenario), overrides)
        if whole.find is None:
            raise UsageError(
                f"{scenario} has no `find`; add --vary KEY --from VALUE --to VALUE, for example "
                "--vary arrival.rate --from 100/s --to 20000/s"
            )
        if agents is not None and cells:
            raise UsageError("a search on several hosts takes no matrix; leave `matrix` out, or leave --agents out")
        elsewhere = None if agents is None else agents.conducted(data, str(scenario))
        order = FindOrder(whole, cells, data.decode(), str(scenario), overrides, elsewhere)
    made = partial(Finder, order, permitted)
    run_several(made, text.render, Onlookers(served, pushed), as_json=as_json, progress=progress, junit=junit)
