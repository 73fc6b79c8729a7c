"""`loadgen man`: the manual pages of loadgen itself."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli.streams import EPILOG, reader_may_leave
from loadgen.errors import UsageError


@click.command(epilog=EPILOG)
@click.argument("command", required=False)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write all pages to this directory.",
)
@click.pass_context
def man(context: click.Context, command: str | None, out: Path | None) -> None:
    """Print the manual page of COMMAND, or write all pages.

    Without COMMAND it is the page of loadgen itself. Pages are in roff, for man(1).

    \b
    Examples:
      loadgen man run | man -l -
      loadgen man --out ~/.local/share/man/man1
    """
    from importlib.metadata import version

    from loadgen.cli import files, manual

    root = context.find_root()
    pages = manual.pages(root.command, "loadgen", version("loadgen"))
    if out is not None and command is not None:
        raise click.UsageError("--out writes every page; leave COMMAND out.", context)
    if out is None:
        name = f"loadgen-{command}.1" if command else "loadgen.1"
        if name not in pages:
            raise UsageError(f"there is no command {command!r}; loadgen --help lists them")
        with reader_may_leave():
            click.echo(pages[name], nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {out} ({error.strerror}); choose another directory with --out") from error
    for name, page in pages.items():
        files.write(out / name, page)
