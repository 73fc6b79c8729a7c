"""The cost of a connection in each cell as the cell fills up, drawn as SVG without a script.

Positions are attributes as in `matrix_dots`, and here too a share of the width across and pixels down. The same numbers
stand in a table below it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from loadgen.results.block import TENTHS
from loadgen.results.measures import Unit
from loadgen.views.charts.matrix_dots import em, tick

#: More lines than this cannot be told apart.
LINES_MAX: Final = 24
COLOURS: Final = 6
DASHES: Final = 4
#: Pixels: the plot, above it and below it.
_HEIGHT, _TOP, _BOTTOM = 288, 12, 40
#: Where the plot begins, in per cent of the width: beside it stands "100 µs", on a phone too.
_LEFT: Final = 12

_LINE: Final = (
    '<polyline class="line {}" vector-effect="non-scaling-stroke" points="{}"><title>cell {}</title></polyline>'
)
_DOT: Final = '<circle class="dot {}" cx="{:g}%" cy="{}" r="{}"/>'
_TENTH: Final = '<text class="tick" x="{:g}%" y="{}">{} %</text>'
_DECADE: Final = '<line class="grid" x1="{0}%" x2="100%" y1="{1}" y2="{1}"/><text class="y" x="{2}%" y="{3}">{4}</text>'


def costs_chart(costs: Mapping[int, Sequence[float | None]]) -> Markup:
    """Lines of cost by tenth, one per cell, over a logarithmic axis in whole decades."""
    known = [value for line in costs.values() for value in line if value is not None and value > 0]
    low = math.floor(math.log10(min(known, default=1.0)))
    high = max(math.ceil(math.log10(max(known, default=10.0))), low + 1)

    def y_of(value: float) -> float:
        return _TOP + _HEIGHT * (high - math.log10(value)) / (high - low)

    decades = [_decade(10.0**power, y_of(10.0**power)) for power in range(low, high + 1)]
    tenths = [  # every second one: all ten would touch each other on a phone
        Markup(_TENTH).format(_x_of(tenth), em(_TOP + _HEIGHT + 20), 10 * (tenth + 1)) for tenth in range(1, TENTHS, 2)
    ]
    lines, dots = [], []
    for n, (index, line) in enumerate(costs.items()):
        points = [(_x_of(tenth), y_of(value)) for tenth, value in enumerate(line) if value is not None and value > 0]
        drawn = " ".join(f"{x:g},{y:.1f}" for x, y in points)
        lines.append(Markup(_LINE).format(colour(n), drawn, index))
        dots += [Markup(_DOT).format(colour(n), x, em(y), em(3)) for x, y in points]
    # The lines alone are stretched to the width, because points="" knows no per cent.
    return Markup(
        '<svg class="lines" height="{6}" role="img" aria-label="CPU microseconds per connection by tenth of the'
        ' connections, logarithmic; the same numbers are in the table below">{1}'
        '<svg x="{2}%" width="{3}%" height="{6}" viewBox="0 0 100 {0}" preserveAspectRatio="none">{4}</svg>'
        '<svg x="{2}%" width="{3}%" height="{6}">{5}</svg></svg>'
    ).format(
        _TOP + _HEIGHT + _BOTTOM,
        Markup("").join(decades),
        _LEFT,
        100 - _LEFT,
        Markup("").join(lines),
        Markup("").join(tenths + dots),
        em(_TOP + _HEIGHT + _BOTTOM),
    )


def colour(n: int) -> str:
    """The classes of the n-th line, no other's: six colours, and neighbours differ in their dashes too."""
    return f"c{n % COLOURS} d{(n + n // COLOURS) % DASHES}"


def _x_of(tenth: int) -> float:
    """Where a tenth is, in per cent of the width of the plot."""
    return 100 * (tenth + 0.5) / TENTHS


def _decade(value: float, y: float) -> Markup:
    return Markup(_DECADE).format(_LEFT, em(y), _LEFT - 1, em(y + 4), tick(value, Unit.US))
