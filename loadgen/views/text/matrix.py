"""The summary of a matrix on the terminal: one row per cell, what each setting changed, what was expected."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loadgen import format as fmt
from loadgen.results.settings import named, short_keys, value_text
from loadgen.views import summary_rows
from loadgen.views.charts import matrix_cells as matrix
from loadgen.views.charts.matrix_cells import TENTHS
from loadgen.views.text import run

if TYPE_CHECKING:
    from rich.console import Console

Json = Mapping[str, Any]
#: A name of a cell that has less room than this stands on a line of its own.
_ROOM_MIN = 10
_INCOMPLETE, _UNLIKE = "*", "!"


def render(summary: Json, console: Console, *, report: str | None = None) -> None:
    """Print the table to a console, as wide as that is but between 60 and 100 columns."""
    run.show(lines(summary, report, run.width_of(console)), console)


def lines(summary: Json, report: str | None = None, width: int = 80) -> list[run.Line]:
    """The matrix in lines of at most `width` columns: one row per cell, then what its settings changed."""
    cells = fmt.rows(summary, "cells")
    found: list[run.Line] = [("verdict", line) for line in run.wrapped(summary_rows.headline(summary), "", width)]
    incomplete = summary_rows.incomplete_because(summary)
    if incomplete is not None:
        found += run.labelled("INCOMPLETE", incomplete, width, "bad")
    head, names = _settings_column(cells)
    found.append(("", ""))
    found += _churn(cells, head, names, width) if matrix.has_churn(cells) else _held(cells, head, names, width)
    costs = matrix.costs_of(cells)
    if costs:
        shown = range(TENTHS) if width >= 76 else (0, 2, 4, 6, 8, 9)
        rows = [[matrix.cost(costs[index][tenth]) for tenth in shown] for index in costs]
        heads = [f"{10 * (tenth + 1)} %" for tenth in shown]
        found += [("", ""), ("head", "CPU microseconds per connection, by tenth of the connections")]
        found += _table(head, heads, rows, [names[index] for index in costs], width, list(costs), least=6)
    found += _effects(summary, width)
    found.append(("", ""))
    for index, row in matrix.expectations(summary):
        passed = row.get("passed") is True
        said = f"{'pass' if passed else 'FAIL'}  {row.get('expression')}, observed {fmt.scalar(row.get('observed'))}"
        if index is None or not passed:
            place = "" if index is None else f"cell {index}: "
            found += run.labelled("expect", place + said, width, "good" if passed else "bad")
    if report:
        found.append(("", "report".ljust(run.LABEL_WIDTH) + fmt.visible(report)))
    return found


def _held(cells: Sequence[Json], head: str, names: Sequence[str], width: int) -> list[run.Line]:
    """The table of cells whose connections were opened and held."""
    figures = (
        ("established", "established", fmt.count),
        ("failed", "failed", fmt.count),
        ("rate", "rate_per_s", fmt.rate),
        ("p50", "connect_p50_us", lambda value: fmt.latency(value, "us")),
        ("p99", "connect_p99_us", lambda value: fmt.latency(value, "us")),
    )
    for with_range in (True, False):  # a narrow terminal has the medians alone
        rows = [
            _why(cell) or [matrix.figure(cell, name, show, with_range=with_range) for _, name, show in figures]
            for cell in cells
        ]
        for cell, row in zip(cells, rows, strict=True):
            if isinstance(row, list) and cell.get("status") != "done":
                row[0] += _INCOMPLETE
        table = _table(head, [title for title, _, _ in figures], rows, names, width, least=7)
        if all(len(line) <= width for _, line in table):
            break
    return table


def _churn(cells: Sequence[Json], head: str, names: Sequence[str], width: int) -> list[run.Line]:
    """The table of cells that opened and closed all the time, beside what was foretold for them."""
    columns: Sequence[str]
    # With less and less room: without the range, then without what is only about TIME-WAIT.
    for with_range, columns in (
        (True, ("rate/s", "predicted/s", "established", "failed", "recycled")),
        (False, ("rate/s", "predicted/s", "established", "failed", "recycled")),
        (False, ("rate/s", "predicted/s", "established", "failed")),
    ):
        rows: list[list[str] | str] = []
        for cell in cells:
            values = {
                "rate/s": matrix.figure(cell, "rate_per_s", matrix.plain_rate, with_range=with_range),
                "predicted/s": matrix.ceiling(cell, "per_s"),
                "established": matrix.established_of(cell),
                "failed": matrix.figure(cell, "failed", fmt.count, with_range=False),
                "recycled": matrix.figure(cell, "recycled", fmt.count, with_range=False),
            }
            marks = _UNLIKE if cell.get("as_predicted") is False else ""
            marks += "" if cell.get("status") == "done" else _INCOMPLETE
            rows.append(_why(cell) or [*(values[column] for column in columns), marks])
        table = _table(head, [*columns, ""], rows, names, width)
        if all(len(line) <= width for _, line in table):
            break
    return table


def _why(cell: Json) -> str:
    """In words why a cell has no figures; empty when it has some."""
    if matrix.runs_of(cell):
        return ""
    return f"{cell.get('status')}: {cell.get('reason') or 'no reason given'}"


def _effects(summary: Json, width: int) -> list[run.Line]:
    """What each value changed, the strongest first; what is noise everywhere in one line each."""
    found: list[run.Line] = []
    for effect in fmt.rows(summary, "effects"):
        found += [("", "")] if not found else []
        sentences = [str(row.get("text")) for row in fmt.rows(effect, "strongest")]
        for n, sentence in enumerate(sentences):
            found += run.labelled("effect" if n == 0 else "", sentence, width)
        rest = [f"and {fmt.count(effect['more'])} more"] if fmt.number(effect.get("more")) else []
        if fmt.number(effect.get("noise")) or rest:
            rest.append(str(effect.get("text")))
            place = "" if sentences else f"{effect.get('name')}: "
            found += run.labelled("" if sentences else "effect", place + "; ".join(rest), width)
    return found


def _settings_column(cells: Sequence[Json]) -> tuple[str, list[str]]:
    """The head of the column of settings and what stands in it: bare values where there is only one key."""
    settings = [fmt.part(cell, "settings") for cell in cells]
    keys = short_keys(settings)
    if len(keys) == 1:
        return next(iter(keys.values())), [value_text(next(iter(one.values()), None)) for one in settings]
    return "settings", [named(one, keys) for one in settings]


def _table(
    head: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str] | str],
    names: Sequence[str],
    width: int,
    numbers: Sequence[int] | None = None,
    *,
    least: int = 0,
) -> list[run.Line]:
    """Rows under a head; a name too long for what the figures leave goes on in the next line.

    Where the figures leave next to nothing, the names stand above them instead.
    """
    figures = [row for row in rows if not isinstance(row, str)]
    widths = [max(least, *(len(cell) + 2 for cell in column)) for column in zip(columns, *figures, strict=True)]
    left = width - 6 - sum(widths)
    stacked = left < _ROOM_MIN
    room = width - 6 if stacked else min(left, max(len(head), *map(len, names), _ROOM_MIN)) if names else left
    named = [textwrap.wrap(fmt.visible(" ".join(name.split())), room, break_on_hyphens=False) or [""] for name in names]
    first = f"{'cell':>4}  {fmt.visible(head)[:room]}"
    found: list[run.Line] = []
    if stacked:
        found.append(("head", first))
    found.append(("head", (" " * 6 if stacked else f"{first:<{6 + room}}") + _right(columns, widths).rstrip()))
    for number, name, row in zip(numbers or range(len(rows)), named, rows, strict=True):
        start = f"{number:>4}  "
        if isinstance(row, str):
            beside = max(sum(widths) - 2, 20)
            said = textwrap.wrap(fmt.visible(" ".join(row.split())), width - 6 if stacked else beside) or [""]
            if stacked:
                found += [("row", f"{start if n == 0 else ' ' * 6}{line}") for n, line in enumerate((*name, *said))]
                continue
            for n in range(max(len(said), len(name))):
                left_side = f"{start if n == 0 else ' ' * 6}{name[n] if n < len(name) else '':<{room}}"
                found.append(("row", f"{left_side}  {said[n] if n < len(said) else ''}".rstrip()))
        elif stacked:
            found += [("row", f"{start if n == 0 else ' ' * 6}{line}".rstrip()) for n, line in enumerate(name)]
            found.append(("row", " " * 6 + _right(row, widths).rstrip()))
        else:
            found.append(("row", f"{start}{name[0]:<{room}}{_right(row, widths)}".rstrip()))
            found += [("row", f"      {line}") for line in name[1:]]
    for mark, meaning in ((_INCOMPLETE, "this cell is incomplete"), (_UNLIKE, "not as predicted")):
        if any(mark in row[0] + row[-1] for row in figures):
            found.append(("row", f"      {mark} {meaning}"))
    return found


def _right(values: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
