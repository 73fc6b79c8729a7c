"""The resources that the server serves: the page, the files it asks for, and the list of earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from loadgen import format as fmt
from loadgen.results import listing
from loadgen.views.charts.run import SLOTS
from loadgen.views.html import run as html

HERE: Final = Path(__file__).parent
RUNS_MAX: Final = 50
#: Sections of the page with small charts side by side; the others have one below the other.
_GRIDS: Final[Mapping[str, str]] = {"latency": "duo", "generator": "duo"}
_STYLES: Final = ("uplot.css", "report.css", "dashboard.css")
_SCRIPTS: Final = ("uplot.js", "charts.js", "dashboard.js")
_JAVASCRIPT, _CSS = "text/javascript", "text/css"


@cache
def read(name: str) -> str:
    """A file of this package."""
    return (HERE / name).read_text(encoding="utf-8")


#: Name in the URL -> (media type, what is in it).
FILES: Final[Mapping[str, tuple[str, Callable[[], str]]]] = {
    "uplot.css": (_CSS, lambda: html.read("vendor/uplot/uPlot.min.css")),
    "report.css": (_CSS, lambda: html.read("report.css")),
    "dashboard.css": (_CSS, lambda: read("dashboard.css")),
    "uplot.js": (_JAVASCRIPT, html.uplot),
    "charts.js": (_JAVASCRIPT, lambda: html.read("charts.js")),
    "dashboard.js": (_JAVASCRIPT, lambda: read("dashboard.js")),
}


@cache
def page(results: Path) -> str:
    """The page, with a place for every chart that may come; it is made once, as a template takes much to compile."""
    names: dict[str, list[str]] = {}
    for name, section in SLOTS:
        names.setdefault(section, []).append(name)
    return (
        html.environment()
        .from_string(read("page.html.j2"))
        .render(
            styles=_STYLES,
            scripts=_SCRIPTS,
            sections=[(section, there, _GRIDS.get(section, "")) for section, there in names.items()],
            results=str(results),
        )
    )


def runs(results: Path, href: Callable[[str], str]) -> list[dict[str, Any]]:
    """The runs in a directory, newest first: {began, scenario, said, href}; href is "" where there is no report.

    href: where the report of the run with this name is served. Raises: UsageError when the directory cannot be read.
    """
    return [
        {
            "began": fmt.visible(one.started_at),
            "scenario": fmt.visible(one.scenario or one.name),
            "said": fmt.visible(one.headline or one.problem or one.kind.value),
            "href": href(one.name) if not one.path.is_symlink() and _report_in(one.path) else "",
        }
        for one in listing.list_runs(results, RUNS_MAX)
    ]


def report(results: Path, key: str, cell: str | None, opens: Callable[[str, str], bool]) -> Path | None:
    """The report.html that a key stands for, or that of one cell of it; None when there is none.

    opens: whether the key is that of the run with this name. Nothing of the path comes out of the URL: a directory has
    to be in the list, and the key has to be its own. So a key with dots and slashes in it is the key of nothing.
    """
    for directory in _below(results):
        if opens(directory.name, key):
            return _report_in(directory if cell is None else _named(directory / "cells", cell))
    return None


def _named(parent: Path, name: str) -> Path | None:
    return next((path for path in _below(parent) if path.name == name), None)


def _report_in(directory: Path | None) -> Path | None:
    path = directory / "report.html" if directory else None
    return path if path and path.is_file() and not path.is_symlink() else None


def _below(parent: Path) -> list[Path]:
    """The directories in a directory, without links to others; none if it is not there."""
    try:
        return [path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
