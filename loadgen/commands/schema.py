"""`loadgen schema`: what a scenario file may hold, for editors."""

from __future__ import annotations

import json

import click

from loadgen.commands.streams import EPILOG, reader_may_leave


@click.command(epilog=EPILOG)
def schema() -> None:
    """Print the JSON Schema of a scenario file, for editors.

    \b
    Example:
      loadgen schema > scenario.schema.json
    """
    from loadgen.scenario import json_schema

    with reader_may_leave():
        click.echo(json.dumps(json_schema(), indent=2))
