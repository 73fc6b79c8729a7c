"""`loadgen runs`: the runs in a directory, newest first."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, complain, show
from loadgen.errors import UsageError


@click.command(epilog=EPILOG)
@click.argument("results", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=Path("results"))
@options.as_json("The list")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="List the newest N only; default: 1,000.")
@click.option("--scenario", metavar="NAME", help="List runs of this scenario only.")
def runs(results: Path, as_json: bool, limit: int | None, scenario: str | None) -> None:
    """List the runs in DIR (default: results), newest first.

    Each with its result, or the reason why it has none.

    \b
    Examples:
      loadgen runs
      loadgen runs --limit 5 --scenario past-64k
      loadgen runs /mnt/results --json | jq -r '.runs[0].path'
    """
    from loadgen.results import listing
    from loadgen.views.text import listing as view

    if not results.is_dir():
        raise UsageError(f"there is no directory {results}; give the one that `loadgen run --out` was given")
    found = listing.list_runs(results, limit or listing.RUNS_MAX + 1, scenario=scenario)
    listed = found if limit else found[: listing.RUNS_MAX]
    result = {"schema": listing.SCHEMA, "runs": [run.to_json() for run in listed]}
    show(result, lambda console: view.render(listed, results, console, scenario=scenario), as_json=as_json)
    if len(found) > len(listed):
        complain(f"there are older runs; --limit {10 * listing.RUNS_MAX} lists more of them")
