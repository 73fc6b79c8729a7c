"""The two charts of a matrix, drawn as SVG without a script.

Every position is an attribute, because the Content-Security-Policy of the page leaves no room for
style="" and needs none. The same numbers stand in tables beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from loadgen.report import words

TENTHS: Final = 10
#: More lines than this cannot be told apart.
LINES_MAX: Final = 24
COLOURS: Final = 6
_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 12, 12, 40

#: Of the rates: height of a row, where a zero stands beside a logarithmic axis, and where the values begin.
_ROW, _ZERO, _VALUES = 24, 34, 38
#: A character of 12 px is seldom wider than this, and more of them leave the rates too little room.
_CHARACTER, _CHARACTERS_MAX = 6.8, 44
#: From this ratio of the highest to the lowest rate on the axis is logarithmic.
_WIDE: Final = 20.0


def costs_chart(costs: Mapping[int, Sequence[float | None]]) -> Markup:
    """Lines of cost by tenth, one per cell, over a logarithmic axis in whole decades."""
    known = [value for line in costs.values() for value in line if value is not None and value > 0]
    low = math.floor(math.log10(min(known, default=1.0)))
    high = max(math.ceil(math.log10(max(known, default=10.0))), low + 1)

    def x_of(tenth: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (tenth + 0.5) / TENTHS

    def y_of(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - math.log10(value)) / (high - low)

    parts: list[Markup] = []

    def add(element: str, *values: object) -> None:
        parts.append(Markup(element).format(*values))

    for decade in range(low, high + 1):
        y = y_of(10.0**decade)
        add('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>', _LEFT, _WIDTH - _RIGHT, y, y)
        add('<text class="tick y" x="{}" y="{:.1f}">{:,g} µs</text>', _LEFT - 8, y + 4, 10.0**decade)
    for tenth in range(TENTHS):
        x, percent = x_of(tenth), 10 * (tenth + 1)
        add('<text class="tick x" x="{:.1f}" y="{}">{} %</text>', x, _HEIGHT - _BOTTOM + 20, percent)
    for n, (index, line) in enumerate(costs.items()):
        points = [(x_of(tenth), y_of(value)) for tenth, value in enumerate(line) if value is not None and value > 0]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        add('<polyline class="line {}" points="{}"><title>cell {}</title></polyline>', colour(n), drawn, index)
        for x, y in points:
            add('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>', colour(n), x, y)
    return Markup(
        '<svg class="lines" viewBox="0 0 {} {}" role="img" aria-label="CPU microseconds per connection by tenth'
        ' of the connections, logarithmic; the same numbers are in the table below">{}</svg>'
    ).format(_WIDTH, _HEIGHT, Markup("").join(parts))


def colour(n: int) -> str:
    """The classes of the n-th line: six colours, then the same dashed, and so on."""
    return f"c{n % COLOURS} d{min(n // COLOURS, 3)}"


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of one cell: of each run, the median, and what was foretold; None where there is none."""

    cell: int
    name: str
    #: The name without its keys, which are the same in every row.
    values: str
    runs: Sequence[float]
    median: float | None
    ceiling: float | None


def rates_chart(cells: Sequence[Rates]) -> Markup:
    """A row per cell: a dot per run, a bar at the median, a tick at the predicted ceiling."""
    known = [rate for cell in cells for rate in (*cell.runs, cell.median, cell.ceiling) if rate is not None]
    positive = [rate for rate in known if rate > 0]
    top = max(positive, default=1.0)
    wide = top / min(positive, default=1.0) >= _WIDE
    axis = _decades(min(positive), top) if wide else _steps(top)
    zero = _ZERO if wide and len(positive) < len(known) else 0
    height = _TOP + _ROW * len(cells) + _BOTTOM
    labels = [_short(cell.values) for cell in cells]
    start = _VALUES + _CHARACTER * max(map(len, labels), default=0) + 20
    parts: list[Markup] = []

    def add(element: str, *values: object) -> None:
        parts.append(Markup(element).format(*values))

    def x_of(rate: float) -> float:
        left, right = start + zero, _WIDTH - _RIGHT - 30
        if not wide:
            return left + (right - left) * rate / axis[-1]
        if rate <= 0:
            return start
        return left + (right - left) * math.log10(rate / axis[0]) / math.log10(axis[-1] / axis[0])

    for mark in [0.0, *axis] if zero else axis:
        x = x_of(mark)
        add('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>', x, x, _TOP, height - _BOTTOM)
        add('<text class="tick x" x="{:.1f}" y="{}">{}</text>', x, height - _BOTTOM + 20, words.rate(mark))
    for row, cell in enumerate(cells):
        y = _TOP + _ROW * (row + 0.5)
        add("<g><title>{}</title>", _said(cell))
        add('<text class="tick y" x="{}" y="{:.1f}">{}</text>', _VALUES - 12, y + 4, cell.cell)
        add('<text class="tick" x="{}" y="{:.1f}">{}</text>', _VALUES, y + 4, labels[row])
        if cell.ceiling is not None:
            x = x_of(cell.ceiling)
            add('<line class="ceiling" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>', x, x, y - 10, y + 10)
        if cell.median is not None:
            add('<rect class="median" x="{:.1f}" y="{:.1f}" width="4" height="14"/>', x_of(cell.median) - 2, y - 7)
        for rate in cell.runs:
            add('<circle class="dot c0" cx="{:.1f}" cy="{:.1f}" r="4"/>', x_of(rate), y)
        add("</g>")
    return Markup(
        '<svg class="lines rates" viewBox="0 0 {} {}" role="img" aria-label="Connections per second of each cell, {};'
        ' a dot per run, a bar at the median, a tick at the prediction; the same numbers are in the table">{}</svg>'
    ).format(_WIDTH, height, "logarithmic" if wide else "from zero", Markup("").join(parts))


def _said(cell: Rates) -> str:
    """A row for whoever cannot see it, or points at it."""
    runs = ", ".join(words.rate(rate) for rate in cell.runs) or "no complete run"
    ceiling = "" if cell.ceiling is None else f"; predicted {words.rate(cell.ceiling)}"
    return words.visible(f"cell {cell.cell} {cell.name}: median {words.rate(cell.median)} of {runs}{ceiling}")


def _short(values: str) -> str:
    seen = words.visible(values)
    return seen if len(seen) <= _CHARACTERS_MAX else f"{seen[: _CHARACTERS_MAX - 1]}…"


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten from below `low` to above `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _steps(high: float) -> list[float]:
    """Round numbers from 0 to `high` or just above it."""
    size = 10.0 ** math.floor(math.log10(high))
    step = next(size * share for share in (0.2, 0.5, 1.0, 2.0) if high / (size * share) <= 6)
    return [step * n for n in range(math.ceil(high / step - 1e-9) + 1)]
