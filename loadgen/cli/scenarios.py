"""`loadgen scenarios`: lists, prints and copies the scenarios that come with loadgen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.cli import files
from loadgen.cli.streams import EPILOG, console, reader_may_leave
from loadgen.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    from loadgen.scenario import ready

    return [CompletionItem(name) for name in ready.names() if name.startswith(incomplete)]


@click.command(epilog=EPILOG)
@click.argument("name", required=False, shell_complete=_names)
@click.option(
    "--copy",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Copy the scenario NAME to FILE (default: NAME.yaml in this directory).",
)
@click.option("--force", is_flag=True, help="Let --copy replace a file.")
@click.pass_context
def scenarios(context: click.Context, name: str | None, copy: str | None, force: bool) -> None:
    """List, print or copy the scenarios that come with loadgen.

    The list says what each proves; NAME prints one.

    \b
    Examples:
      loadgen scenarios
      loadgen scenarios wall-28k
      loadgen scenarios wall-28k --copy mine.yaml
    """
    from loadgen.scenario import ready

    if name is None:
        if copy is not None:
            raise click.UsageError("--copy copies one scenario; write its name first: loadgen scenarios NAME", context)
        _list()
        return
    if force and copy is None:
        raise click.UsageError("--force is for --copy; add it, or leave --force out.", context)
    text = ready.text_of(name)
    if copy is None:
        with reader_may_leave():
            click.echo(text, nl=False)
        return
    path = Path(copy or f"{name}.yaml")
    write_new(path, text, "--copy", force=force)
    click.echo(f"{path}: run it with: loadgen run {path}")


def write_new(path: Path, text: str, option: str, *, force: bool) -> None:
    """Write a file that is not there yet, or replaces one with --force. Raises: UsageError, ResultsError."""
    files.ready(path, option, stale=False)
    if path.exists() and not force:
        raise UsageError(f"{option} {path} is there already; name another file, or add --force to replace it")
    files.write(path, text)


def _list() -> None:
    from rich.table import Table

    from loadgen.scenario import ready

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for each in ready.listing():
        table.add_row(each.name, each.description)
    with reader_may_leave():
        screen = console()
        screen.print(table)
        screen.print("\nloadgen scenarios NAME prints one, loadgen scenarios NAME --copy copies it.")
