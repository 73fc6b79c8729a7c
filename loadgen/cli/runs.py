"""`loadgen runs`: the runs there are, newest first."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, show
from loadgen.errors import UsageError


@click.command(epilog=EPILOG)
@click.argument("results", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=Path("results"))
@options.as_json("The list")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="The newest N.")
@click.option("--scenario", metavar="NAME", help="Only runs of this scenario.")
def runs(results: Path, as_json: bool, limit: int | None, scenario: str | None) -> None:
    """List the runs in DIR, by default results/, newest first: what each came to, or why it did not.

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
    found = listing.list_runs(results, limit, scenario=scenario)
    listed = {"schema": listing.SCHEMA, "runs": [one.to_json() for one in found]}
    show(listed, lambda console: view.render(found, results, console, scenario=scenario), as_json=as_json)
