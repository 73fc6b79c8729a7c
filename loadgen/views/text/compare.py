"""A comparison on a terminal: the verdict, what has to be said along with it, then figure by figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.compare.comparison import BEYOND_NOISE, CompareResult, Comparison, Group, Judgement, Row
from loadgen.compare.differences import Difference
from loadgen.results.measures import Unit
from loadgen.results.settings import named, short_keys, value_text
from loadgen.results.spread import Spread
from loadgen.views.text import run

if TYPE_CHECKING:
    from rich.console import Console

#: Of one comparison, and of each where there are many; the JSON has all of them.
DIFFERENCES_MAX: Final = 12
DIFFERENCES_OF_MANY_MAX: Final = 3
_VALUE_MAX: Final = 60
#: What stands after a judgement that is not to be taken for granted.
DOUBT: Final = " (!)"
_GAP: Final = "  "
_TONES: Final = {Judgement.BETTER: "good", Judgement.WORSE: "bad"}


def render(result: CompareResult, console: Console) -> None:
    """Print a comparison to a console, as wide as that is but between 60 and 100 columns."""
    run.show(lines(result, run.width_of(console)), console)


def lines(result: CompareResult, width: int) -> list[run.Line]:
    """The comparison as lines of at most `width` columns."""
    found: list[run.Line] = [("verdict", line) for line in run.wrapped(result.verdict, "", width)]
    found.append(("", ""))
    for label, name in result.names.items():
        found += _named(f"{label}{' (base)' if label == 'A' else ''}", name)
    for said in result.left_out:
        found += run.labelled("left out", said, width, "bad")
    short = short_keys([group.settings for group in result.groups])
    for group in result.groups:
        if group.settings:
            found += [("", ""), *(("verdict", one) for one in run.wrapped(named(group.settings, short), "", width))]
        found += [line for one in group.comparisons for line in _comparison(one, group, result, width)]
    return found


def _named(label: str, name: str) -> list[run.Line]:
    """Each directory in one piece however long it is, so that it can be picked up with a double click."""
    parts = fmt.on_one_line(name).split(",")
    return [("", f"{label if n == 0 else '':{run.LABEL_WIDTH}}{part}") for n, part in enumerate(parts)]


def _comparison(one: Comparison, group: Group, result: CompareResult, width: int) -> list[run.Line]:
    """One table. Of many cells it has only what differs beyond noise, and the rest is counted."""
    many = len(result.groups) > 1
    found: list[run.Line] = [("", "")]
    if len(group.comparisons) > 1 or many:
        found += [("", line) for line in run.wrapped(one.verdict, "", width)]
    for index, caveat in enumerate(one.caveats):
        found += run.labelled("caveats" if index == 0 else "", caveat, width, "bad")
    found += _differences(one.differences, width, DIFFERENCES_OF_MANY_MAX if many else DIFFERENCES_MAX)
    rows = [row for row in one.rows if row.judgement in BEYOND_NOISE] if many else one.rows
    found += _figures(rows, one, width)
    if quiet := len(one.rows) - len(rows):
        found.append(("row", f"{quiet} {'more figures are' if rows else 'figures are'} the same or within noise"))
    if one.caveats:
        found.append(("row", f"{DOUBT.strip():>5} see the caveats above"))
    return found


def _differences(found: Sequence[Difference], width: int, most: int) -> list[run.Line]:
    lines: list[run.Line] = []
    for index, one in enumerate(found[:most]):
        said = f"{one.part.value} {one.key}: {value_of(one.base)} -> {value_of(one.other)}"
        lines += run.labelled("differs" if index == 0 else "", said, width)
    if (more := len(found) - most) > 0:
        lines += run.labelled("", f"and {more} more; --json has all of them", width)
    return lines or run.labelled("differs", "nothing in scenario, plan and host", width)


def value_of(value: object) -> str:
    """A value of a scenario, plan or host, cut where it is very long; one that is not there is said to be."""
    if value is None:
        return "not set"
    said = value_text(value)
    return said if len(said) <= _VALUE_MAX else said[: _VALUE_MAX - 1] + "…"


def _figures(rows: Sequence[Row], one: Comparison, width: int) -> list[run.Line]:
    """The table, with ranges where there is room for them; none of no rows."""
    if not rows:
        return []
    for with_range in (True, False):
        lines = [_row(row, one, with_range=with_range) for row in rows]
        head = ["figure", one.base.label, one.other.label, "change", ""]
        widths = [max(len(line[column]) for line in (head, *lines)) for column in range(5)]
        if sum(widths) + 4 * len(_GAP) <= width:
            break
    else:  # the titles are what can be cut
        widths[0] = max(width - sum(widths[1:]) - 4 * len(_GAP), 12)
    table: list[run.Line] = [("", ""), ("head", _line(head, widths))]
    for row, cells in zip(rows, lines, strict=True):
        table.append((_TONES.get(row.judgement, "row"), _line(cells, widths)))
    return table


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    title = fmt.on_one_line(cells[0])
    title = title if len(title) <= widths[0] else title[: widths[0] - 1] + "…"
    middle = _GAP.join(f"{cell:>{width}}" for cell, width in zip(cells[1:4], widths[1:4], strict=True))
    return f"{title:<{widths[0]}}{_GAP}{middle}{_GAP}{cells[4]}".rstrip()


def _row(row: Row, one: Comparison, *, with_range: bool) -> list[str]:
    return [
        row.measure.title,
        figure(row.base, row.measure.unit, with_range=with_range),
        figure(row.other, row.measure.unit, with_range=with_range),
        change(row),
        judged(row, one),
    ]


def judged(row: Row, one: Comparison) -> str:
    """The judgement, with a mark where there are caveats to it."""
    return row.judgement.value + (DOUBT if row.judgement in BEYOND_NOISE and one.caveats else "")


def change(row: Row) -> str:
    """How much more, in percent of the base; of a base of 0 a dash."""
    if row.share is None:
        return fmt.MISSING
    if row.share == 0:
        return "0 %"
    return f"{100 * row.share:+,.1f} %" if abs(row.share) < 1 else f"{100 * row.share:+,.0f} %"


def figure(spread: Spread | None, unit: Unit, *, with_range: bool = True, micro: str = "us") -> str:
    """The median as text, and its range where there are several runs: `99/s (98/s to 101/s)`."""
    if spread is None:
        return fmt.MISSING
    said, low, high = (shown(value, unit, micro) for value in (spread.median, spread.low, spread.high))
    return f"{said} ({low} to {high})" if with_range and spread.runs > 1 and low != high else said


def shown(value: float, unit: Unit, micro: str = "us") -> str:
    """One number with its unit; `micro`: how microseconds are called."""
    if unit is Unit.RATIO:
        return f"{value:.2f}"
    show = {
        Unit.COUNT: fmt.count,
        Unit.PER_S: fmt.rate,
        Unit.US: lambda us: fmt.latency(us, micro),
        Unit.S: fmt.seconds,
        Unit.SHARE: fmt.percent,
    }
    return show[unit](value)
