"""The page of a matrix: what each cell came to, figure by figure, and what each setting changed.

It needs no script at all. What a cell has is in `matrix_cells`, its charts are drawn in `matrix_dots` and
`matrix_costs`, the file for spreadsheets is made in `matrix_table`, the terminal's table in `matrix_text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from markupsafe import Markup

from loadgen import format as fmt
from loadgen.results import measures
from loadgen.results.settings import named, short_keys, value_text
from loadgen.results.spread import NOISE, NOISE_OF_ONE
from loadgen.views import summary_rows
from loadgen.views.charts import matrix_dots
from loadgen.views.charts.matrix import LINES_MAX, colour, costs_chart
from loadgen.views.charts.matrix_cells import (
    TENTHS,
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

Json = Mapping[str, Any]

#: The figures that have a chart, where they are measured and not the same everywhere.
_DRAWN: Final = (
    *("rate_per_s", "established", "failed", "lost", "connect_p50_us", "connect_p99_us", "handshake_p99_us"),
    *("exchange_p99_us", "beats_missed", "recycled", "time_wait_peak", "cost_us"),
)
#: Where the prediction of a cell has one of them.
_PREDICTED: Final = {"rate_per_s": "per_s", "established": "established"}


def page(summary: Json, scenario_text: str) -> str:
    """The whole page; what is missing in the summary is missing on the page."""
    cells = fmt.rows(summary, "cells")
    keys = short_keys([fmt.part(cell, "settings") for cell in cells])
    style = html.read("report.css") + "\n" + html.read("matrix.css")
    costs = costs_of(cells)
    drawn = dict(list(costs.items())[:LINES_MAX])
    names = [named(fmt.part(cell, "settings"), keys) for cell in cells]
    failed = sum(row.get("passed") is not True for _, row in expectations(summary))
    states = [cell.get("status") for cell in cells]
    churn = has_churn(cells)
    repeated = any(len(runs_of(cell)) > 1 for cell in cells)
    charts, same = _figures(cells, list(keys), names)
    return (
        html.environment()
        .get_template("matrix.html.j2")
        .render(
            policy=f"default-src 'none'; style-src {html.hash_of(style)}; img-src data:; base-uri 'none';"
            " form-action 'none'",
            style=Markup(style),
            title=summary.get("scenario") or "unnamed scenario",
            headline=summary_rows.headline(summary),
            incomplete=summary_rows.incomplete_because(summary),
            started_at=summary.get("started_at"),
            run=summary.get("run"),
            duration=fmt.seconds(summary.get("duration_s")),
            states=[(state, states.count(state)) for state in dict.fromkeys(states)],
            expected=len(expectations(summary)),
            failed=failed,
            expect=[{"cell": index, **_filled(row)} for index, row in expectations(summary)],
            keys=list(keys.values()),
            heads=[_breakable(key) for key in keys.values()],
            with_status=any(cell.get("status") != "done" or cell.get("reason") is not None for cell in cells),
            cells=[_page_row(index, cell, list(keys), churn=churn) for index, cell in enumerate(cells)],
            columns=[column.title for column in _values({}, churn=churn)],
            churn=churn,
            repeated=repeated,
            charts=charts,
            same=same,
            effects=[_effect(row) for row in fmt.rows(summary, "effects")],
            noise=f"{100 * NOISE:g} %",
            noise_of_one=f"{100 * NOISE_OF_ONE:g} %",
            costs_chart=costs_chart(drawn) if drawn else None,
            legend=[{"index": index, "colour": colour(n), "name": names[index]} for n, index in enumerate(drawn)],
            undrawn=len(costs) - len(drawn),
            costs=[{"index": i, "name": names[i], "values": [cost(one) for one in costs[i]]} for i in costs],
            tenths=[10 * (tenth + 1) for tenth in range(TENTHS)],
            scenario=scenario_text[: html.SCENARIO_CHARACTERS_MAX],
        )
    )


def _breakable(key: str) -> Markup:
    """A name as the head of a column, which may go on in the next line after `_` and `.` but not inside a word."""
    return Markup("<wbr>").join(re.split(r"(?<=[_.])(?=.)", fmt.visible(key)))


def _figures(cells: Sequence[Json], keys: Sequence[str], names: Sequence[str]) -> tuple[list[Json], list[str]]:
    """A chart for each figure that is not the same everywhere, and in words those that are."""
    drawn: list[Json] = []
    same: list[str] = []
    churn = has_churn(cells)
    for measure in map(measures.measure, _DRAWN):
        rows = [_row(index, cell, measure.name, keys, names[index]) for index, cell in enumerate(cells)]
        values = {value for row in rows for value in row.runs}
        title = "sustained rate" if churn and measure.name == "rate_per_s" else measure.title
        if len(values) > 1 or (values and any(row.predicted is not None for row in rows)):
            drawn.append({"title": title, "svg": matrix_dots.chart(measure, title, rows)})
        elif values:
            same.append(f"{title} {matrix_dots.shown(values.pop(), measure.unit)}")
    return drawn, same


def _row(index: int, cell: Json, name: str, keys: Sequence[str], named: str) -> matrix_dots.Row:
    settings = fmt.part(cell, "settings")
    runs = values_of(complete_runs(cell), name)
    return matrix_dots.Row(
        cell=index,
        name=named,
        values=[value_text(settings[key]) if key in settings else fmt.MISSING for key in keys],
        runs=runs,
        median=median(runs) if runs else None,
        predicted=fmt.number(fmt.part(cell, "predicted").get(_PREDICTED.get(name, ""))),
    )


def _filled(row: Json) -> dict[str, Any]:
    return {key: row.get(key) for key in ("passed", "expression", "observed")}


def _effect(row: Json) -> dict[str, Any]:
    return {
        "name": row.get("name"),
        "text": row.get("text"),
        "more": fmt.number(row.get("more")) or 0,
        "strongest": [one.get("text") for one in fmt.rows(row, "strongest")],
    }


@dataclass(frozen=True, slots=True)
class _Value:
    """What stands in one cell of the table: under which head, the range of the runs if they differ."""

    title: str
    text: str
    apart: str = ""
    bad: bool = False


def _values(cell: Json, *, churn: bool) -> list[_Value]:
    """The columns of figures."""

    def of(title: str, name: str, show: Callable[[object], str], *, bad: bool = False) -> _Value:
        return _Value(title, figure(cell, name, show, with_range=False), range_of(cell, name, show), bad)

    failed = of("failed", "failed", fmt.count, bad=bool(fmt.number(middle(cell, "failed"))))
    rate = of("rate/s", "rate_per_s", plain_rate)
    if churn:
        alike = cell.get("as_predicted")
        said = "yes" if alike is True else "NO" if alike is False else fmt.MISSING
        return [
            rate,
            _Value("predicted/s", ceiling(cell, "per_s")),
            _Value("established", established_of(cell)),
            failed,
            of("recycled", "recycled", fmt.count),
            _Value("as predicted", said, bad=alike is False),
        ]
    return [
        of("established", "established", fmt.count),
        failed,
        rate,
        of("connect p50", "connect_p50_us", fmt.latency),
        of("connect p99", "connect_p99_us", fmt.latency),
    ]


def _page_row(index: int, cell: Json, keys: Sequence[str], *, churn: bool) -> dict[str, Any]:
    settings, runs = fmt.part(cell, "settings"), runs_of(cell)
    return {
        "index": index,
        "settings": [value_text(settings[key]) if key in settings else None for key in keys],
        "status": cell.get("status"),
        "reason": cell.get("reason"),
        "values": _values(cell, churn=churn),
        "because": fmt.part(cell, "predicted").get("because"),
        "changes": [one.get("text") for one in fmt.rows(cell, "changes")],
        "runs": [
            {"round": number, "place": _place(index, number), "said": summary_rows.headline(run)}
            for number, run in runs
        ],
    }


def _place(index: int, number: int) -> str:
    """Where a run's directory is, beside the page."""
    return f"cells/{index}" if number == 1 else f"cells/{index}-{number}"
