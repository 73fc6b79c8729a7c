"""`loadgen schema`: the JSON Schema of a scenario, for editors, and of a summary or of facts, for programs."""

from __future__ import annotations

import json
from typing import Any

import click

from loadgen.cli.streams import EPILOG, reader_may_leave


@click.command(epilog=EPILOG)
@click.argument("what", type=click.Choice(["scenario", "summary", "facts"]), default="scenario")
def schema(what: str) -> None:
    """Print the JSON Schema of a scenario, a summary, or facts.

    That of a scenario is for editors. A summary is summary.json, which `loadgen run --json` prints too; facts are
    what `loadgen facts --json` prints.

    \b
    Examples:
      loadgen schema > scenario.schema.json
      loadgen schema summary > summary.schema.json
    """
    with reader_may_leave():
        click.echo(json.dumps(_made(what), indent=2))


def _made(what: str) -> dict[str, Any]:
    if what == "summary":
        from loadgen.results.schema.json_schema import summary_schema

        return summary_schema()
    if what == "facts":
        from loadgen.facts.document import facts_schema

        return facts_schema()
    from loadgen.scenario import json_schema as of_scenario

    return of_scenario()
