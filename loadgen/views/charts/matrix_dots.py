"""One chart for each figure of a matrix, drawn as SVG without a script: a row per cell, a dot per run.

Every position is an attribute, because the Content-Security-Policy of the page leaves no room for style="". Across, a
position is a share of the width and down it is in em, which `em` makes of pixels: so text is as large on a phone as on
a wide screen, and the chart grows with the text of a reader who has it enlarged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from loadgen import format as fmt
from loadgen.results.measures import Measure, Unit, figure_text

#: From this ratio of the highest to the lowest value on the axis is logarithmic.
WIDE: Final = 100.0
#: With more cells than this the rows are thin, and only the first of a group has its name beside it.
ROOMY_MAX: Final = 30
#: More groups than this need no line between them, and would be all lines.
GROUPS_RULED_MAX: Final = 16
#: Pixels: a row, all thin rows together, a line of text, above the rows and below them.
_ROW, _THIN_ROWS, _LINE, _TOP, _BOTTOM = 22, 660, 14, 6, 24
#: Pixels of 1 em, unless text is enlarged: the size of the text in matrix.css.
_EM: Final = 12
_THIN_ROW_MIN: Final = 4
#: Per cent of the width of the plot: where zero stands beside a logarithmic axis, and where the axis begins and ends.
_ZERO, _FIRST, _LAST = 3.0, 14.0, 95.0
#: More labels than this touch each other on a phone.
_LABELS_MAX: Final = 4
_CHARACTERS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class CellDots:
    """One figure of one cell; None where there is none.

    name: the settings with their keys. values: without them, which are the same in every row; rows next to each other
    that begin with the same one are a group. runs: the figure of each complete run. predicted: the prediction.
    """

    cell: int
    name: str
    values: Sequence[str]
    runs: Sequence[float]
    median: float | None
    predicted: float | None = None

    @property
    def known(self) -> list[float]:
        """Everything that needs a place on the axis."""
        return [value for value in (*self.runs, self.median, self.predicted) if value is not None]


@dataclass(frozen=True, slots=True)
class Axis:
    """From left to right: decades when the values lie far apart, else round steps from zero."""

    marks: Sequence[float]
    logarithmic: bool
    #: Whether a logarithmic axis has a place for zero before it.
    zero: bool = False

    @classmethod
    def of(cls, values: Sequence[float]) -> Axis:
        """That on which all these have a place; none of them is below 0."""
        positive = [value for value in values if value > 0]
        high = max(positive, default=1.0)
        if high / min(positive, default=1.0) <= WIDE:
            return cls(_steps(high), logarithmic=False)
        return cls(_decades(min(positive), high), logarithmic=True, zero=len(positive) < len(values))

    def place(self, value: float) -> float:
        """Where a value is, in per cent of the width of the plot."""
        left = _FIRST if self.zero else _ZERO
        if not self.logarithmic:
            return left + (_LAST - left) * value / self.marks[-1]
        if value <= 0:
            return _ZERO
        first, last, at = map(math.log10, (self.marks[0], self.marks[-1], value))
        return left + (_LAST - left) * (at - first) / (last - first)

    def labelled(self) -> list[float]:
        """The marks that have their value below them."""
        every = math.ceil(len(self.marks) / _LABELS_MAX)
        return [*([0.0] if self.zero else []), *self.marks[::every]]


def chart(measure: Measure, title: str, rows: Sequence[CellDots]) -> Markup:
    """A dot per run, a bar at the median, an upright line at the prediction.

    measure: whose figures these are. rows: one for each cell, in the order of the matrix.
    """
    axis = Axis.of([value for row in rows for value in row.known])
    roomy = len(rows) <= ROOMY_MAX
    pitch = _ROW if roomy else max(_THIN_ROWS // len(rows), _THIN_ROW_MIN)
    bottom = _TOP + pitch * len(rows)
    named = _named(rows, pitch)
    plot, names, values = [_grid(axis, measure.unit, bottom)], [], []
    rules = [_TOP + pitch * n for n in named] if not roomy and len(named) <= GROUPS_RULED_MAX else []
    for n, row in enumerate(rows):
        y = _TOP + pitch * (n + 0.5)
        plot.append(_marks(axis, row, y, min(pitch, _ROW), _title(row, measure.unit)))
        if n in named:
            name = Markup('<text y="{}">{} <tspan x="{}">{}</tspan></text>')
            names.append(name.format(em(y + 4), row.cell, em(26), named[n]))
        if roomy:
            values.append(
                Markup('<text x="100%" y="{}">{}</text>').format(em(y + 4), figure_text(row.median, measure.unit))
            )
    return Markup(
        '<svg class="dots" height="{0}" role="img" aria-label="{1}">{6}'
        '<svg class="names" width="33%" height="{0}">{2}</svg>'
        '<svg class="plot" x="35%" width="{3}%" height="{0}">{4}</svg>'
        '<svg class="values" x="84%" width="16%" height="{0}">{5}</svg></svg>'
    ).format(
        em(bottom + _BOTTOM),
        _label(title, axis, rows, measure.unit),
        Markup("").join(names),
        49 if roomy else 62,
        Markup("").join(plot),
        Markup("").join(values),
        Markup("").join(Markup('<line class="grid" x2="100%" y1="{0}" y2="{0}"/>').format(em(y)) for y in rules),
    )


def em(pixels: float) -> str:
    """A length as SVG has it, to a hundredth of a pixel."""
    return f"{pixels / _EM:.3f}em"


def tick(value: float, unit: Unit) -> str:
    """A round number, as short as it can be: 10 k/s, 2 ms."""
    sizes = ((1e6, " s"), (1e3, " ms"), (1.0, " µs")) if unit is Unit.US else ((1e6, " M"), (1e3, " k"), (1.0, ""))
    size, name = next((entry for entry in sizes if value >= entry[0]), sizes[-1])
    return f"{value / size:g}{name}" + ("/s" if unit is Unit.PER_S else "")


def _grid(axis: Axis, unit: Unit, bottom: int) -> Markup:
    lines = [
        Markup('<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>').format(x, em(_TOP), em(bottom))
        for x in map(axis.place, [*([0.0] if axis.zero else []), *axis.marks])
    ]
    lines += [
        Markup('<text class="tick" x="{:.2f}%" y="{}">{}</text>').format(
            axis.place(mark), em(bottom + 16), tick(mark, unit)
        )
        for mark in axis.labelled()
    ]
    return Markup("").join(lines)


def _marks(axis: Axis, row: CellDots, y: float, height: int, title: str) -> Markup:
    upright = '<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="{2}" y2="{3}"/>'
    parts = [Markup("<title>{}</title>").format(title)]
    if row.predicted is not None:
        x, half = axis.place(row.predicted), 0.45 * height
        parts.append(Markup(upright).format("predicted", x, em(y - half), em(y + half)))
    if row.median is not None:
        x, half = axis.place(row.median), 0.33 * height
        parts.append(Markup(upright).format("median", x, em(y - half), em(y + half)))
    radius = min(0.4 * height, 4.0)
    parts += [
        Markup('<circle class="run" cx="{:.2f}%" cy="{}" r="{}"/>').format(axis.place(value), em(y), em(radius))
        for value in row.runs
    ]
    return Markup("<g>{}</g>").format(Markup("").join(parts))


def _named(rows: Sequence[CellDots], pitch: int) -> dict[int, str]:
    """The text beside each row: its values, or of thin rows the one that a group has in common."""
    if pitch >= _LINE:
        return {n: _short(", ".join(row.values)) for n, row in enumerate(rows)}
    names: dict[int, str] = {}
    for first, group in itertools.groupby(range(len(rows)), lambda n: rows[n].values[:1]):
        start = next(group)
        if not names or pitch * (start - max(names)) >= _LINE:
            names[start] = _short(", ".join(first))
    return names


def _label(title: str, axis: Axis, rows: Sequence[CellDots], unit: Unit) -> str:
    """The chart as text for a screen reader: every median, or of many cells the lowest and the highest."""
    known = sorted((row.median, row.cell) for row in rows if row.median is not None)
    if len(known) <= ROOMY_MAX:
        medians = "; ".join(
            f"cell {row.cell} {figure_text(row.median, unit, 'µs')}" for row in rows if row.median is not None
        )
    else:
        (low, lowest), (high, highest) = known[0], known[-1]
        medians = (
            f"from {figure_text(low, unit, 'µs')} in cell {lowest} to {figure_text(high, unit, 'µs')} in cell {highest}"
        )
    scale = "a logarithmic axis" if axis.logarithmic else "an axis from zero"
    return f"{title} of each cell, a dot per run on {scale}; medians: {medians or 'none'}"


def _title(row: CellDots, unit: Unit) -> str:
    """A row in full, shown when the pointer is on it."""
    runs = ", ".join(figure_text(value, unit) for value in row.runs) or "no complete run"
    predicted = "" if row.predicted is None else f"; predicted {figure_text(row.predicted, unit, 'µs')}"
    return fmt.visible(f"cell {row.cell} {row.name}: median {figure_text(row.median, unit, 'µs')} of {runs}{predicted}")


def _short(values: str) -> str:
    seen = fmt.visible(values)
    return seen if len(seen) <= _CHARACTERS_MAX else f"{seen[: _CHARACTERS_MAX - 1]}…"


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten from below `low` to above `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _steps(high: float) -> list[float]:
    """Round numbers from 0 to `high` or just above it."""
    size = 10.0 ** math.floor(math.log10(high))
    step = next(size * share for share in (0.2, 0.5, 1.0, 2.0, 5.0) if high / (size * share) <= _LABELS_MAX)
    return [step * n for n in range(math.ceil(high / step - 1e-9) + 1)]
