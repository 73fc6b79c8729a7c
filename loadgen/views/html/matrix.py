"""The page of a matrix: the result of each cell, figure by figure, and the effect of each setting.

It needs no script at all. The figures of a cell are in `charts.matrix_cells`; the charts are drawn in
`charts.matrix_dots` and `charts.matrix`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from markupsafe import Markup

from loadgen import format as fmt
from loadgen.results.block import TENTHS
from loadgen.results.measures import Measure, figure_text, measure
from loadgen.results.schema.matrix import CellResult, CellStatus, MatrixSummary
from loadgen.results.settings import named, short_keys, value_text
from loadgen.results.spread import NOISE, NOISE_OF_ONE
from loadgen.scenario import shown_text
from loadgen.views import summary_rows
from loadgen.views.charts import matrix_dots
from loadgen.views.charts.matrix import LINES_MAX, colour, costs_chart
from loadgen.views.charts.matrix_cells import (
    Show,
    ceiling,
    complete_runs,
    cost,
    costs_of,
    established_of,
    expectations,
    figure,
    has_churn,
    middle,
    plain_rate,
    range_of,
    runs_of,
    values_of,
)
from loadgen.views.html import run as html

#: The figures that have a chart, where they are measured and not the same everywhere.
_DRAWN: Final = (
    *("rate_per_s", "established", "failed", "lost", "connect_p50_us", "connect_p99_us", "handshake_p99_us"),
    *("exchange_p99_us", "beats_missed", "recycled", "time_wait_peak", "cost_us"),
)


@dataclass(frozen=True, slots=True)
class _Value:
    """One figure of a cell in the table. apart: the range of its runs if they differ."""

    title: str
    text: str
    apart: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class _Chart:
    """A chart, and what it shows of each cell as text."""

    title: str
    svg: Markup
    values: Sequence[_Value]


@dataclass(frozen=True, slots=True)
class _RunLink:
    """A run of a cell. place: its directory, relative to the page."""

    round: int
    place: str
    headline: str


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell as the page has it. settings: its values by column, None where it has none. figures: see `_values`."""

    index: int
    result: CellResult
    settings: Sequence[str | None]
    figures: Sequence[_Value]
    runs: Sequence[_RunLink]


def page(summary: MatrixSummary, scenario_text: str) -> str:
    """Return the whole page."""
    cells = summary.cells
    keys = short_keys([cell.settings for cell in cells])
    style = html.read("report.css") + "\n" + html.read("matrix.css")
    costs = costs_of(cells)
    drawn = dict(list(costs.items())[:LINES_MAX])
    names = [named(cell.settings, keys) for cell in cells]
    expected = expectations(summary)
    statuses = [cell.status for cell in cells]
    churn = has_churn(cells)
    charts, same = _figures(cells, list(keys), names)
    return (
        html.environment()
        .get_template("matrix.html.j2")
        .render(
            policy=f"default-src 'none'; style-src {html.hash_of(style)}; img-src data:; base-uri 'none';"
            " form-action 'none'",
            style=Markup(style),
            summary=summary,
            headline=summary_rows.headline(summary),
            incomplete=summary_rows.incomplete_because(summary),
            statuses=[(status, statuses.count(status)) for status in dict.fromkeys(statuses)],
            failed=sum(not expectation.passed for _, expectation in expected),
            expect=expected,
            keys=list(keys.values()),
            heads=[_breakable(key) for key in keys.values()],
            with_status=any(cell.status is not CellStatus.DONE or cell.reason is not None for cell in cells),
            cells=[_cell(index, cell, list(keys), churn=churn) for index, cell in enumerate(cells)],
            columns=_CHURN_COLUMNS if churn else _HELD_COLUMNS,
            churn=churn,
            repeated=any(len(cell.runs) > 1 for cell in cells),
            charts=charts,
            names=names,
            same=same,
            noise=f"{100 * NOISE:g} %",
            noise_of_one=f"{100 * NOISE_OF_ONE:g} %",
            costs_chart=costs_chart(drawn) if drawn else None,
            legend=[(colour(place), names[index]) for place, index in enumerate(drawn)],
            undrawn=len(costs) - len(drawn),
            costs=[(index, names[index], list(map(cost, values))) for index, values in costs.items()],
            tenths=[10 * (tenth + 1) for tenth in range(TENTHS)],
            scenario=shown_text(scenario_text)[: html.SCENARIO_CHARACTERS_MAX],
        )
    )


def _breakable(key: str) -> Markup:
    """A name as the head of a column, which may go on in the next line after `_` and `.` but not inside a word."""
    return Markup("<wbr>").join(re.split(r"(?<=[_.])(?=.)", fmt.visible(key)))


def _figures(cells: Sequence[CellResult], keys: Sequence[str], names: Sequence[str]) -> tuple[list[_Chart], list[str]]:
    """A chart for each figure that is not the same everywhere, and in words those that are."""
    drawn: list[_Chart] = []
    same: list[str] = []
    churn = has_churn(cells)
    for each in map(measure, _DRAWN):
        rows = [_dots(index, cell, each.name, keys, names[index]) for index, cell in enumerate(cells)]
        values = {value for row in rows for value in row.runs}
        title = "sustained rate" if churn and each.name == "rate_per_s" else each.title
        if len(values) > 1 or (values and any(row.predicted is not None for row in rows)):
            values_shown = [_shown(row, each, title) for row in rows]
            drawn.append(_Chart(title, matrix_dots.chart(each, title, rows), values_shown))
        elif values:
            same.append(f"{title} {figure_text(values.pop(), each.unit)}")
    return drawn, same


def _shown(row: matrix_dots.CellDots, each: Measure, title: str) -> _Value:
    """A row of a chart as text: its median, and apart from it the runs and the prediction."""
    runs = [figure_text(value, each.unit) for value in row.runs]
    predicted = [] if row.predicted is None else [f"predicted {figure_text(row.predicted, each.unit)}"]
    return _Value(title, figure_text(row.median, each.unit), ", ".join([*(runs if len(runs) > 1 else []), *predicted]))


def _dots(index: int, cell: CellResult, name: str, keys: Sequence[str], title: str) -> matrix_dots.CellDots:
    runs = values_of(complete_runs(cell), name)
    return matrix_dots.CellDots(
        cell=index,
        name=title,
        values=[value_text(cell.settings[key]) if key in cell.settings else fmt.MISSING for key in keys],
        runs=runs,
        median=median(runs) if runs else None,
        predicted=_predicted(cell, name),
    )


def _predicted(cell: CellResult, name: str) -> float | None:
    """The prediction for a figure, of those two that have one."""
    if cell.predicted is None:
        return None
    return {"rate_per_s": cell.predicted.per_s, "established": cell.predicted.established}.get(name)


_CHURN_COLUMNS: Final = ("rate/s", "predicted/s", "established", "failed", "recycled", "as predicted")
_HELD_COLUMNS: Final = ("established", "failed", "rate/s", "connect p50", "connect p99")


def _values(cell: CellResult, *, churn: bool) -> list[_Value]:
    """The figures of a cell, one for each column."""

    def of(title: str, name: str, show: Show, *, bad: bool = False) -> _Value:
        return _Value(title, figure(cell, name, show, with_range=False), range_of(cell, name, show), bad)

    failed = of("failed", "failed", fmt.count, bad=bool(middle(cell, "failed")))
    rate = of("rate/s", "rate_per_s", plain_rate)
    if churn:
        judged = {True: "yes", False: "NO", None: fmt.MISSING}[cell.as_predicted]
        return [
            rate,
            _Value("predicted/s", ceiling(cell)),
            _Value("established", established_of(cell)),
            failed,
            of("recycled", "recycled", fmt.count),
            _Value("as predicted", judged, bad=cell.as_predicted is False),
        ]
    return [
        of("established", "established", fmt.count),
        failed,
        rate,
        of("connect p50", "connect_p50_us", fmt.latency),
        of("connect p99", "connect_p99_us", fmt.latency),
    ]


def _cell(index: int, cell: CellResult, keys: Sequence[str], *, churn: bool) -> _Cell:
    settings = [value_text(cell.settings[key]) if key in cell.settings else None for key in keys]
    runs = [_RunLink(number, _place(index, number), summary_rows.headline(run)) for number, run in runs_of(cell)]
    return _Cell(index, cell, settings, _values(cell, churn=churn), runs)


def _place(index: int, number: int) -> str:
    return f"cells/{index}" if number == 1 else f"cells/{index}-{number}"
