"""The list of runs on a terminal: a line of figures for each, and below it the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.results.listing import ListedRun, RunKind
from loadgen.views.text.layout import StyledLine, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

#: 2026-11-22 13:13
_TIME_WIDTH: Final = 16
_BAD: Final = (RunKind.UNFINISHED, RunKind.BROKEN)
_INDENT: Final = " " * (_TIME_WIDTH + 2)


def render(runs: Sequence[ListedRun], results: Path, console: Console, *, scenario: str | None = None) -> None:
    """Print the list to a console, as wide as that is but between 40 and 100 columns."""
    show(lines(runs, results, width_of(console), scenario=scenario), console)


def lines(runs: Sequence[ListedRun], results: Path, width: int, *, scenario: str | None = None) -> list[StyledLine]:
    """The list as lines; names of directories stay in one piece, however long they are."""
    if not runs:
        of = "" if scenario is None else f" of scenario {fmt.on_one_line(scenario)}"
        return [("row", f"no runs{of} in {fmt.on_one_line(str(results))}")]
    return [line for run in runs for line in _entry(run, width)]


def _entry(run: ListedRun, width: int) -> list[StyledLine]:
    time = run.started_at[:_TIME_WIDTH].replace("T", " ")
    text: list[StyledLine] = [("verdict", _head(run, time))]
    if (figures := _figures(run)) is not None:
        text += [("row", line) for line in wrapped(figures, _INDENT, width)]
    if sentence := run.problem or run.headline:
        tone = "bad" if run.problem else "row"
        short = textwrap.shorten(fmt.visible(sentence), 2 * (width - len(_INDENT)), placeholder=" …")
        text += [(tone, line) for line in wrapped(short, _INDENT, width)]
    return text


def _head(run: ListedRun, time: str) -> str:
    kind = "" if run.kind is RunKind.RUN else f"  {run.kind.value.upper() if run.kind in _BAD else run.kind.value}"
    return f"{time:<{_TIME_WIDTH}}  {fmt.on_one_line(str(run.path))}{kind}"


def _figures(run: ListedRun) -> str | None:
    """Established, rate, limit and expectations, as far as they are known."""
    figures = []
    if run.established is not None:
        figures.append(f"{fmt.count(run.established)} established")
    if run.rate_per_s is not None:
        figures.append(fmt.rate(run.rate_per_s))
    if run.limit is not None:
        figures.append("no limit" if run.limit == "none" else f"limit {fmt.visible(run.limit)}")
    if run.expect_passed is not None:
        figures.append("expectations met" if run.expect_passed else "EXPECTATIONS FAILED")
    return ", ".join(figures) or None
