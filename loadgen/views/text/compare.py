"""A comparison on a terminal: the verdict, its caveats, then figure by figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.compare.comparison import BEYOND_NOISE, CompareResult, Comparison, Group, Judgement, Row
from loadgen.compare.differences import Difference
from loadgen.results.measures import Unit, figure_text
from loadgen.results.settings import named, short_keys, value_text
from loadgen.results.spread import Spread
from loadgen.views.text.layout import LABEL_WIDTH, StyledLine, labelled, listed, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

#: Maximum rows of one comparison, and of each where there are several; the JSON has all of them.
DIFFERENCES_MAX: Final = 12
DIFFERENCES_OF_MANY_MAX: Final = 3
_VALUE_MAX: Final = 60
#: The mark behind a judgement with caveats.
DOUBT: Final = " (!)"
_GAP: Final = "  "
_TONES: Final = {Judgement.BETTER: "good", Judgement.WORSE: "bad"}


def render(result: CompareResult, console: Console) -> None:
    """Print a comparison to a console, as wide as that is but between 40 and 100 columns."""
    show(lines(result, width_of(console)), console)


def lines(result: CompareResult, width: int) -> list[StyledLine]:
    """The comparison as lines of at most `width` columns."""
    text: list[StyledLine] = [("verdict", line) for line in wrapped(result.verdict, "", width)]
    text.append(("", ""))
    for label, name in result.names.items():
        text += _named(f"{label}{' (base)' if label == 'A' else ''}", name)
    for reason in result.left_out:
        text += labelled("left out", reason, width, "bad")
    short = short_keys([group.settings for group in result.groups])
    for group in result.groups:
        if group.settings:
            text += [("", ""), *(("verdict", line) for line in wrapped(named(group.settings, short), "", width))]
        text += [line for comparison in group.comparisons for line in _comparison(comparison, group, result, width)]
    return text


def _named(label: str, name: str) -> list[StyledLine]:
    """Each directory in one piece however long it is, so that it can be picked up with a double click."""
    parts = fmt.on_one_line(name).split(",")
    return [("", f"{label if n == 0 else '':{LABEL_WIDTH}}{part}") for n, part in enumerate(parts)]


def _comparison(comparison: Comparison, group: Group, result: CompareResult, width: int) -> list[StyledLine]:
    """One table. Of many cells it has only what differs beyond noise, and the rest is counted."""
    many = len(result.groups) > 1
    text: list[StyledLine] = [("", "")]
    if len(group.comparisons) > 1 or many:
        text += [("", line) for line in wrapped(comparison.verdict, "", width)]
    text += listed("caveats", comparison.caveats, width, "bad")
    text += _differences(comparison.differences, width, DIFFERENCES_OF_MANY_MAX if many else DIFFERENCES_MAX)
    rows = [row for row in comparison.rows if row.judgement in BEYOND_NOISE] if many else comparison.rows
    text += _figures(rows, comparison, width)
    if quiet := len(comparison.rows) - len(rows):
        text.append(("row", f"{quiet} {'more figures are' if rows else 'figures are'} the same or within noise"))
    if comparison.caveats:
        text.append(("row", f"{DOUBT.strip():>5} see the caveats above"))
    return text


def _differences(differences: Sequence[Difference], width: int, rows_max: int) -> list[StyledLine]:
    texts = [
        f"{difference.part} {difference.key}: {value_of(difference.base)} -> {value_of(difference.other)}"
        for difference in differences[:rows_max]
    ]
    if len(differences) > rows_max:
        texts.append(f"and {len(differences) - rows_max} more; --json has all of them")
    return listed("differs", texts or ["nothing in scenario, plan and host"], width)


def value_of(value: object) -> str:
    """A value of a scenario, plan or host, cut where it is very long; "not set" for None."""
    if value is None:
        return "not set"
    text = value_text(value)
    return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 1] + "…"


def _figures(rows: Sequence[Row], comparison: Comparison, width: int) -> list[StyledLine]:
    """The table, with ranges where there is room for them; none of no rows."""
    if not rows:
        return []
    for with_range in (True, False):
        lines = [_row(row, comparison, with_range=with_range) for row in rows]
        head = ["figure", comparison.base.label, comparison.other.label, "change", ""]
        widths = [max(len(line[column]) for line in (head, *lines)) for column in range(5)]
        if sum(widths) + 4 * len(_GAP) <= width:
            break
    else:  # the titles are what can be cut
        widths[0] = max(width - sum(widths[1:]) - 4 * len(_GAP), 12)
    table: list[StyledLine] = [("", ""), ("head", _line(head, widths))]
    for row, cells in zip(rows, lines, strict=True):
        table.append((_TONES.get(row.judgement, "row"), _line(cells, widths)))
    return table


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    title = fmt.on_one_line(cells[0])
    title = title if len(title) <= widths[0] else title[: widths[0] - 1] + "…"
    middle = _GAP.join(f"{cell:>{width}}" for cell, width in zip(cells[1:4], widths[1:4], strict=True))
    return f"{title:<{widths[0]}}{_GAP}{middle}{_GAP}{cells[4]}".rstrip()


def _row(row: Row, comparison: Comparison, *, with_range: bool) -> list[str]:
    return [
        row.measure.title,
        figure(row.base, row.measure.unit, with_range=with_range),
        figure(row.other, row.measure.unit, with_range=with_range),
        change(row),
        judged(row, comparison),
    ]


def judged(row: Row, comparison: Comparison) -> str:
    """The judgement, with a mark where there are caveats to it."""
    return row.judgement.value + (DOUBT if row.judgement in BEYOND_NOISE and comparison.caveats else "")


def change(row: Row) -> str:
    """The change in percent of the base; of a base of 0 a dash."""
    if row.share is None:
        return fmt.MISSING
    if row.share == 0:
        return "0 %"
    return f"{100 * row.share:+,.1f} %" if abs(row.share) < 1 else f"{100 * row.share:+,.0f} %"


def figure(spread: Spread | None, unit: Unit, *, with_range: bool = True, micro: str = "us") -> str:
    """The median as text, and its range where there are several runs: `99/s (98/s to 101/s)`."""
    if spread is None:
        return fmt.MISSING
    middle, low, high = (figure_text(value, unit, micro) for value in (spread.median, spread.low, spread.high))
    return f"{middle} ({low} to {high})" if with_range and spread.runs > 1 and low != high else middle
