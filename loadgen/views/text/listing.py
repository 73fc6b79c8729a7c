"""The list of runs on a terminal: a line of figures for each, and below it what it came to."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.results.listing import ListedRun, RunKind
from loadgen.views.text import run

if TYPE_CHECKING:
    from rich.console import Console

#: 2026-11-22 13:13
_TIME_WIDTH: Final = 16
_BAD: Final = (RunKind.UNFINISHED, RunKind.BROKEN)
_INDENT: Final = " " * (_TIME_WIDTH + 2)


def render(runs: Sequence[ListedRun], results: Path, console: Console, *, scenario: str | None = None) -> None:
    """Print the list to a console, as wide as that is but between 60 and 100 columns."""
    run.show(lines(runs, results, run.width_of(console), scenario=scenario), console)


def lines(runs: Sequence[ListedRun], results: Path, width: int, *, scenario: str | None = None) -> list[run.Line]:
    """The list as lines; names of directories stay in one piece, however long they are."""
    if not runs:
        of = "" if scenario is None else f" of scenario {fmt.on_one_line(scenario)}"
        return [("row", f"no runs{of} in {fmt.on_one_line(str(results))}")]
    return [line for one in runs for line in _entry(one, width)]


def _entry(one: ListedRun, width: int) -> list[run.Line]:
    time = one.started_at[:_TIME_WIDTH].replace("T", " ")
    found: list[run.Line] = [("verdict", _head(one, time))]
    if (figures := _figures(one)) is not None:
        found += [("row", line) for line in run.wrapped(figures, _INDENT, width)]
    said = one.problem or one.headline
    if said:
        tone = "bad" if one.problem else "row"
        short = textwrap.shorten(fmt.visible(said), 2 * (width - len(_INDENT)), placeholder=" …")
        found += [(tone, line) for line in run.wrapped(short, _INDENT, width)]
    return found


def _head(one: ListedRun, time: str) -> str:
    kind = "" if one.kind is RunKind.RUN else f"  {one.kind.value.upper() if one.kind in _BAD else one.kind.value}"
    return f"{time:<{_TIME_WIDTH}}  {fmt.on_one_line(str(one.path))}{kind}"


def _figures(one: ListedRun) -> str | None:
    """Established, rate, limit and expectations, as far as they are known."""
    said = []
    if one.established is not None:
        said.append(f"{fmt.count(one.established)} established")
    if one.rate_per_s is not None:
        said.append(fmt.rate(one.rate_per_s))
    if one.limit is not None:
        said.append("no limit" if one.limit == "none" else f"limit {fmt.visible(one.limit)}")
    if one.expect_passed is not None:
        said.append("expectations met" if one.expect_passed else "EXPECTATIONS FAILED")
    return ", ".join(said) or None
