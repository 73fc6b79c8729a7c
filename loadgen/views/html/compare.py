"""A comparison as one HTML file that loads nothing: the verdict, the figures, and the charts laid over each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from loadgen.compare.comparable import Side
from loadgen.compare.comparison import CompareResult, Comparison, Group, Judgement, Row
from loadgen.compare.differences import Difference
from loadgen.results.measures import Unit, rate_per_s
from loadgen.results.settings import named, short_keys
from loadgen.results.spread import NOISE, Spread
from loadgen.views.charts import compare
from loadgen.views.charts.columns import Series
from loadgen.views.charts.compare import Drawn
from loadgen.views.html import run as html
from loadgen.views.text.compare import change, figure, judged, value_of

#: Of one comparison, on the page.
DIFFERENCES_MAX: Final = 200
_TONES: Final = {Judgement.BETTER: "good", Judgement.WORSE: "bad"}


@dataclass(frozen=True, slots=True)
class _MedianText:
    """A median, and the range of the runs if they differ."""

    text: str
    apart: str


@dataclass(frozen=True, slots=True)
class _FigureRow:
    title: str
    base: _MedianText
    other: _MedianText
    change: str
    judgement: str
    tone: str


@dataclass(frozen=True, slots=True)
class _ComparisonTable:
    """A comparison as the page has it. differences: (part, key, base, other); more: how many are left out."""

    comparison: Comparison
    rows: list[_FigureRow]
    differences: list[tuple[str, str, str, str]]
    more: int


def page(result: CompareResult, series: Mapping[str, Series]) -> str:
    """Return the whole page.

    series: the lines of each run by the name that the run has in the result; cells of a matrix are not drawn.
    """
    drawn = compare.everything(_drawn(result.groups[0], series)) if len(result.groups) == 1 and series else []
    style = "\n".join(map(html.read, ("vendor/uplot/uPlot.min.css", "report.css", "matrix.css")))
    scripts = [html.uplot(), html.read("charts.js"), html.read("report.js")] if drawn else []
    short = short_keys([group.settings for group in result.groups])
    comparisons = [comparison for group in result.groups for comparison in group.comparisons]
    allowed = " ".join(map(html.hash_of, scripts)) or "'none'"
    return (
        html.environment()
        .get_template("compare.html.j2")
        .render(
            policy=f"default-src 'none'; style-src {html.hash_of(style)}; script-src {allowed}; img-src data:;"
            " base-uri 'none'; form-action 'none'",
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            payload=Markup(html.payload({"charts": drawn, "phases": [], "marks": []})),
            charts=drawn,
            headline=result.verdict,
            names=list(result.names.items()),
            left_out=list(result.left_out),
            doubtful=sum(bool(comparison.caveats) for comparison in comparisons),
            several=len(comparisons) > 1,
            repeated=any(len(side.runs) > 1 for group in result.groups for side in group.sides),
            groups=[
                {
                    "name": named(group.settings, short),
                    "comparisons": list(map(_comparison, group.comparisons)),
                }
                for group in result.groups
            ],
            noise=f"{100 * NOISE:g} %",
        )
    )


def _drawn(group: Group, series: Mapping[str, Series]) -> list[Drawn]:
    return [Drawn(side.label, [series[run.name] for run in side.runs], _middle(side)) for side in group.sides]


def _middle(side: Side) -> int:
    """The index of the run with the middle rate; of an even number the slower of the two."""

    def rate(index: int) -> float:
        return rate_per_s(side.runs[index].summary)

    return sorted(range(len(side.runs)), key=rate)[(len(side.runs) - 1) // 2]


def _comparison(comparison: Comparison) -> _ComparisonTable:
    return _ComparisonTable(
        comparison,
        [_row(row, comparison) for row in comparison.rows],
        [_difference(row) for row in comparison.differences[:DIFFERENCES_MAX]],
        max(len(comparison.differences) - DIFFERENCES_MAX, 0),
    )


def _row(row: Row, comparison: Comparison) -> _FigureRow:
    base, other = _figure(row.base, row.measure.unit), _figure(row.other, row.measure.unit)
    tone = _TONES.get(row.judgement, "")
    return _FigureRow(row.measure.title, base, other, change(row), judged(row, comparison), tone)


def _figure(spread: Spread | None, unit: Unit) -> _MedianText:
    middle = figure(spread, unit, with_range=False, micro="µs")
    whole = figure(spread, unit, with_range=True, micro="µs")
    return _MedianText(middle, whole.removeprefix(middle).strip(" ()"))


def _difference(difference: Difference) -> tuple[str, str, str, str]:
    return difference.part, difference.key, value_of(difference.base), value_of(difference.other)
