"""The summary of a matrix on the terminal: one row per cell, the effect of each setting, the expectations."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.results.block import TENTHS
from loadgen.results.schema.matrix import CellResult, CellStatus, MatrixSummary
from loadgen.results.settings import named, short_keys, value_text
from loadgen.views import summary_rows
from loadgen.views.charts import matrix_cells as matrix
from loadgen.views.text.layout import LABEL_WIDTH, StyledLine, labelled, listed, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

#: Narrower than this, the name of a cell stands on a line of its own.
_ROOM_MIN: Final = 10
_INCOMPLETE, _UNLIKE = "*", "!"


def render(summary: MatrixSummary, console: Console, *, report: str | None = None) -> None:
    """Print the table to a console, as wide as that is but between 40 and 100 columns."""
    show(lines(summary, report, width_of(console)), console, verdict=summary_rows.headline(summary))


def lines(summary: MatrixSummary, report: str | None = None, width: int = 80) -> list[StyledLine]:
    """The matrix in lines of at most `width` columns: one row per cell, then what its settings changed."""
    cells = summary.cells
    text: list[StyledLine] = [("verdict", line) for line in wrapped(summary_rows.headline(summary), "", width)]
    incomplete = summary_rows.incomplete_because(summary)
    if incomplete is not None:
        text += labelled("INCOMPLETE", incomplete, width, "bad")
    head, names = _settings_column(cells)
    text.append(("", ""))
    text += _churn(cells, head, names, width) if matrix.has_churn(cells) else _held(cells, head, names, width)
    costs = matrix.costs_of(cells)
    if costs:
        tenths = range(TENTHS) if width >= 76 else (0, 2, 4, 6, 8, 9)
        rows = [[matrix.cost(costs[index][tenth]) for tenth in tenths] for index in costs]
        heads = [f"{10 * (tenth + 1)} %" for tenth in tenths]
        text += [("", ""), ("head", "CPU microseconds per connection, by tenth of the connections")]
        text += _table(head, heads, rows, [names[index] for index in costs], width, list(costs), least=6)
    text += _effects(summary, width)
    text.append(("", ""))
    for index, result in matrix.expectations(summary):
        if index is None or not result.passed:
            place = "" if index is None else f"cell {index}: "
            tone = "good" if result.passed else "bad"
            text += labelled("expect", place + summary_rows.expectation(result), width, tone)
    if report:
        text.append(("", "report".ljust(LABEL_WIDTH) + fmt.visible(report)))
    return text


def _held(cells: Sequence[CellResult], head: str, names: Sequence[str], width: int) -> list[StyledLine]:
    """The table of cells whose connections were opened and held."""

    def latency(us: float | None) -> str:
        return fmt.latency(us, "us")

    figures: tuple[tuple[str, str, matrix.Show], ...] = (
        ("established", "established", fmt.count),
        ("failed", "failed", fmt.count),
        ("rate", "rate_per_s", fmt.rate),
        ("p50", "connect_p50_us", latency),
        ("p99", "connect_p99_us", latency),
    )
    for with_range in (True, False):  # a narrow terminal has the medians alone
        rows = [
            _no_figures(cell) or [matrix.figure(cell, name, show, with_range=with_range) for _, name, show in figures]
            for cell in cells
        ]
        for cell, row in zip(cells, rows, strict=True):
            if isinstance(row, list) and cell.status is not CellStatus.DONE:
                row[0] += _INCOMPLETE
        table = _table(head, [title for title, _, _ in figures], rows, names, width, least=7)
        if all(len(line) <= width for _, line in table):
            break
    return table


def _churn(cells: Sequence[CellResult], head: str, names: Sequence[str], width: int) -> list[StyledLine]:
    """The table of cells that opened and closed all the time, beside their predictions."""
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
                "predicted/s": matrix.ceiling(cell),
                "established": matrix.established_of(cell),
                "failed": matrix.figure(cell, "failed", fmt.count, with_range=False),
                "recycled": matrix.figure(cell, "recycled", fmt.count, with_range=False),
            }
            marks = _UNLIKE if cell.as_predicted is False else ""
            marks += "" if cell.status is CellStatus.DONE else _INCOMPLETE
            rows.append(_no_figures(cell) or [*(values[column] for column in columns), marks])
        table = _table(head, [*columns, ""], rows, names, width)
        if all(len(line) <= width for _, line in table):
            break
    return table


def _no_figures(cell: CellResult) -> str:
    """The reason why a cell has no figures; empty when it has some."""
    return "" if cell.runs else f"{cell.status}: {cell.reason or 'no reason given'}"


def _effects(summary: MatrixSummary, width: int) -> list[StyledLine]:
    """The changes that each value made, the strongest first; a value that is noise everywhere has one line."""
    text: list[StyledLine] = [("", "")] if summary.effects else []
    for effect in summary.effects:
        sentences = [strongest.text for strongest in effect.strongest]
        rest = [f"and {fmt.count(effect.more)} more"] if effect.more else []
        if effect.noise or rest:
            rest.append(effect.text)
            sentences.append(("" if sentences else f"{effect.name}: ") + "; ".join(rest))
        text += listed("effect", sentences, width)
    return text


def _settings_column(cells: Sequence[CellResult]) -> tuple[str, list[str]]:
    """The head of the column of settings, and its text for each cell: bare values where there is only one key."""
    settings = [cell.settings for cell in cells]
    keys = short_keys(settings)
    if len(keys) == 1:
        return next(iter(keys.values())), [value_text(next(iter(values.values()), None)) for values in settings]
    return "settings", [named(values, keys) for values in settings]


def _table(
    head: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str] | str],
    names: Sequence[str],
    width: int,
    numbers: Sequence[int] | None = None,
    *,
    least: int = 0,
) -> list[StyledLine]:
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
    text: list[StyledLine] = []
    if stacked:
        text.append(("head", first))
    text.append(("head", (" " * 6 if stacked else f"{first:<{6 + room}}") + _right(columns, widths).rstrip()))
    for number, name, row in zip(numbers or range(len(rows)), named, rows, strict=True):
        start = f"{number:>4}  "
        if isinstance(row, str):
            beside = max(sum(widths) - 2, 20)
            words = textwrap.wrap(fmt.visible(" ".join(row.split())), width - 6 if stacked else beside) or [""]
            if stacked:
                text += [("row", f"{start if n == 0 else ' ' * 6}{line}") for n, line in enumerate((*name, *words))]
                continue
            for n in range(max(len(words), len(name))):
                left_side = f"{start if n == 0 else ' ' * 6}{name[n] if n < len(name) else '':<{room}}"
                text.append(("row", f"{left_side}  {words[n] if n < len(words) else ''}".rstrip()))
        elif stacked:
            text += [("row", f"{start if n == 0 else ' ' * 6}{line}".rstrip()) for n, line in enumerate(name)]
            text.append(("row", " " * 6 + _right(row, widths).rstrip()))
        else:
            text.append(("row", f"{start}{name[0]:<{room}}{_right(row, widths)}".rstrip()))
            text += [("row", f"      {line}") for line in name[1:]]
    for mark, meaning in ((_INCOMPLETE, "this cell is incomplete"), (_UNLIKE, "not as predicted")):
        if any(mark in row[0] + row[-1] for row in figures):
            text.append(("row", f"      {mark} {meaning}"))
    return text


def _right(values: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
