"""`python -m website`: write the sources of the site to build/docs; `--check`: look at what was rendered of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from website import check, collect

_ROOT: Final = Path(__file__).resolve().parents[1]
_SOURCES: Final = _ROOT / "build" / "docs"
_SITE: Final = _ROOT / "build" / "site"


@click.command()
@click.option("--check", "rendered", is_flag=True, help="Look at the rendered pages in build/site.")
def main(rendered: bool) -> None:
    """Write the sources of the site, or check the rendered pages."""
    if rendered:
        mistakes = check.mistakes(_SOURCES, _SITE)
        if mistakes:
            sys.exit("\n".join(mistakes))
        return
    try:
        made = collect.sources(_ROOT)
    except collect.SiteError as error:
        sys.exit(str(error))
    written, removed = collect.write(made, _SOURCES)
    click.echo(f"{len(made)} sources of the site in build/docs, {written} written, {removed} removed")


if __name__ == "__main__":
    main()
