"""The summary of a matrix for people: a page, a file for spreadsheets, and what both share with the terminal.

The page needs no script at all; its charts are drawn in `matrix_chart`, the terminal's table in `matrix_text`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from loadgen.metrics.settings import named, short_keys, value_text
from loadgen.metrics.spread import NOISE, NOISE_OF_ONE
from loadgen.report import html, words
from loadgen.report.matrix_chart import LINES_MAX, TENTHS, Rates, colour, costs_chart, rates_chart

Json = Mapping[str, Any]

UNLIMITED: Final = "unlimited"


# --- What a cell has, however little that is --------------------------------------------------------


def runs_of(cell: Json) -> list[tuple[int, Json]]:
    """The runs of a cell, each with its round; of a summary that does not name them, in their order."""
    rounds, runs = words.items(cell, "rounds"), words.rows(cell, "runs")
    known = len(rounds) == len(runs) and all(type(one) is int for one in rounds)
    return list(zip(rounds, runs, strict=True)) if known else list(enumerate(runs, 1))


def has_churn(cells: Sequence[Json]) -> bool:
    """Whether the cells opened and closed all the time, instead of holding what they had opened."""
    return any(words.part(run, "churn") for cell in cells for _, run in runs_of(cell))


#: Where a figure stands in the summary of a run; of a cell without a complete one, its first is shown.
_OF_RUN: Final[Mapping[str, Callable[[Json], object]]] = {
    "rate_per_s": lambda run: (
        words.part(run, "churn").get("sustained_per_s")
        if words.part(run, "churn")
        else words.part(run, "rate_per_s").get("established_mean")
    ),
    "established": lambda run: words.part(run, "outcomes").get("established"),
    "failed": lambda run: words.part(run, "outcomes").get("failed"),
    "recycled": lambda run: words.part(run, "churn").get("recycled"),
    "connect_p50_us": lambda run: words.part(words.part(run, "latency_us"), "connect").get("p50"),
    "connect_p99_us": lambda run: words.part(words.part(run, "latency_us"), "connect").get("p99"),
}


def middle(cell: Json, name: str) -> object:
    """The median of a figure over the complete runs of a cell."""
    figures = words.part(cell, "figures")
    if figures:
        return words.part(figures, name).get("median")
    return next((_OF_RUN[name](run) for _, run in runs_of(cell)), None)


def figure(cell: Json, name: str, show: Callable[[object], str], *, with_range: bool = True) -> str:
    """The median of a figure as text, and its range where there are several runs: `99 (98-101)`."""
    said, apart = show(middle(cell, name)), range_of(cell, name, show)
    return f"{said} ({apart})" if with_range and apart else said


def range_of(cell: Json, name: str, show: Callable[[object], str]) -> str:
    """How far the runs of a cell lie apart, `98-101`; empty for a single run and where all read the same."""
    found = words.part(words.part(cell, "figures"), name)
    low, high = show(found.get("low")), show(found.get("high"))
    several = (words.number(found.get("runs")) or 0) > 1 and low != high
    return f"{low.removesuffix('/s')}-{high.removesuffix('/s')}" if several else ""


def plain_rate(value: object) -> str:
    """A number per second under a head that says so."""
    return words.rate(value).removesuffix("/s")


def ceiling(cell: Json, name: str) -> str:
    """What was foretold for a cell: a number, or that nothing limits it."""
    predicted = words.part(cell, "predicted")
    if name not in predicted:
        return words.MISSING
    return UNLIMITED if predicted[name] is None else plain_rate(predicted[name])


def established_of(cell: Json) -> str:
    """How many were established, of how many that could be."""
    said = figure(cell, "established", words.count, with_range=False)
    most = words.number(words.part(cell, "predicted").get("established"))
    return said if most is None else f"{said} of {words.count(most)}"


def expectations(summary: Json) -> list[tuple[int | None, Json]]:
    """Every expectation, with the cell it is about, None for those of the matrix."""
    found: list[tuple[int | None, Json]] = [(None, row) for row in words.rows(summary, "expect")]
    for index, cell in enumerate(words.rows(summary, "cells")):
        found += [(index, row) for _, run in runs_of(cell) for row in words.rows(run, "expect")]
    return found


def costs_of(cells: Sequence[Json]) -> dict[int, list[float | None]]:
    """CPU microseconds per connection by tenth, of each cell that has any; none unless strategies differ.

    Of several runs it is the first one's.
    """
    strategies = {value_text(words.part(cell, "settings").get("sources.strategy")) for cell in cells}
    costs = {}
    for index, cell in enumerate(cells):
        found = [words.number(value) for value in words.items(_first(cell), "cost_us")][:TENTHS]
        if any(value is not None for value in found):
            costs[index] = found + [None] * (TENTHS - len(found))
    return costs if len(strategies) > 1 else {}


def cost(value: float | None) -> str:
    """Microseconds with three digits."""
    return words.MISSING if value is None else f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def _first(cell: Json) -> Json:
    """The cell's first run; empty if it has none."""
    return next((run for _, run in runs_of(cell)), {})


# --- For spreadsheets -------------------------------------------------------------------------------

_FIGURES: Final = ("complete", "established", "failed", "lost", "rate_per_s", "connect_p50_us", "connect_p99_us")
_OF_CHURN: Final = ("sustained_per_s", "ceiling_per_s", "predicted_established", "as_predicted")


def table(summary: Json) -> str:
    """All runs as CSV (RFC 4180), a row each: the settings first, then figures without units in them.

    A cell without a run has a row of its own all the same. What is unlimited is left empty.
    """
    cells = words.rows(summary, "cells")
    keys = list(short_keys([words.part(cell, "settings") for cell in cells]))
    out = io.StringIO()
    writer = csv.writer(out)
    tenths = [f"cost_us_{10 * (tenth + 1)}" for tenth in range(TENTHS)]
    columns = (*_FIGURES, *tenths, "round", *_OF_CHURN, "recycled", "time_wait_peak")
    writer.writerow(["cell", *map(_inert, keys), "status", "reason", *columns])
    for index, cell in enumerate(cells):
        settings = words.part(cell, "settings")
        said = [value_text(settings[key]) if key in settings else "" for key in keys]
        texts = [_inert(str(one)) for one in (*said, cell.get("status"), cell.get("reason") or "")]
        for number, run in runs_of(cell):
            writer.writerow([index, *texts, *_csv_row(number, run)])
        if not runs_of(cell):
            writer.writerow([index, *texts, *_csv_row(None, {})])
    return out.getvalue()


def _csv_row(number: int | None, run: Json) -> list[str]:
    outcomes, connect = words.part(run, "outcomes"), words.part(words.part(run, "latency_us"), "connect")
    churn, kernel = words.part(run, "churn"), words.part(run, "kernel")
    foretold = words.part(churn, "ceiling")
    before = (
        *(outcomes.get("established"), outcomes.get("failed"), words.part(run, "open").get("lost")),
        words.part(run, "rate_per_s").get("established_mean"),
        *(connect.get("p50"), connect.get("p99")),
        *(words.items(run, "cost_us") + [None] * TENTHS)[:TENTHS],
        number,
        *(churn.get("sustained_per_s"), foretold.get("per_s"), foretold.get("established")),
    )
    after = (
        words.part(kernel, "delta").get("TcpExt.TWRecycled", 0 if kernel else None),
        words.part(kernel, "peak").get("sockstat.tcp_tw", 0 if kernel else None),
    )
    return [
        _yes_or_no(run.get("complete") is True if run else None),
        *("" if words.number(value) is None else str(value) for value in before),
        _yes_or_no(churn.get("as_predicted")),
        *("" if words.number(value) is None else str(value) for value in after),
    ]


def _yes_or_no(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else ""


def _inert(value: str) -> str:
    """Text that no spreadsheet takes for a formula, in one line."""
    seen = words.visible(value.replace("\n", " ").replace("\t", " "))
    return f"'{seen}" if seen[:1] in ("=", "+", "-", "@") and words.number(_as_number(seen)) is None else seen


def _as_number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


# --- The page ---------------------------------------------------------------------------------------


def page(summary: Json, scenario_text: str) -> str:
    """The whole page; what is missing in the summary is missing on the page."""
    cells = words.rows(summary, "cells")
    keys = short_keys([words.part(cell, "settings") for cell in cells])
    style = html.read("report.css") + "\n" + html.read("matrix.css")
    costs = costs_of(cells)
    drawn = dict(list(costs.items())[:LINES_MAX])
    names = [named(words.part(cell, "settings"), keys) for cell in cells]
    failed = sum(row.get("passed") is not True for _, row in expectations(summary))
    states = [cell.get("status") for cell in cells]
    churn = has_churn(cells)
    repeated = any(len(runs_of(cell)) > 1 for cell in cells)
    return (
        html.environment()
        .from_string(html.read("matrix.html.j2"))
        .render(
            policy=f"default-src 'none'; style-src {html.hash_of(style)}; img-src data:; base-uri 'none';"
            " form-action 'none'",
            style=Markup(style),
            title=summary.get("scenario") or "unnamed scenario",
            headline=words.headline(summary),
            incomplete=words.incomplete_because(summary),
            started_at=summary.get("started_at"),
            run=summary.get("run"),
            duration=words.seconds(summary.get("duration_s")),
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
            rates=rates_chart(_rates(cells, list(keys), names)) if churn or repeated else None,
            effects=[_effect(row) for row in words.rows(summary, "effects")],
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
    return Markup("<wbr>").join(re.split(r"(?<=[_.])(?=.)", words.visible(key)))


def _rates(cells: Sequence[Json], keys: Sequence[str], names: Sequence[str]) -> list[Rates]:
    found = []
    for index, cell in enumerate(cells):
        complete = [run for _, run in runs_of(cell) if run.get("complete") is True]
        rates = [rate for run in complete if (rate := words.number(_OF_RUN["rate_per_s"](run))) is not None]
        foretold = words.number(words.part(cell, "predicted").get("per_s"))
        median = words.number(words.part(words.part(cell, "figures"), "rate_per_s").get("median"))
        settings = words.part(cell, "settings")
        values = ", ".join(value_text(settings[key]) if key in settings else words.MISSING for key in keys)
        found.append(Rates(index, names[index], values, rates, median, foretold))
    return found


def _filled(row: Json) -> dict[str, Any]:
    return {key: row.get(key) for key in ("passed", "expression", "observed")}


def _effect(row: Json) -> dict[str, Any]:
    return {
        "name": row.get("name"),
        "text": row.get("text"),
        "more": words.number(row.get("more")) or 0,
        "strongest": [one.get("text") for one in words.rows(row, "strongest")],
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

    failed = of("failed", "failed", words.count, bad=bool(words.number(middle(cell, "failed"))))
    rate = of("rate/s", "rate_per_s", plain_rate)
    if churn:
        alike = cell.get("as_predicted")
        said = "yes" if alike is True else "NO" if alike is False else words.MISSING
        return [
            rate,
            _Value("predicted/s", ceiling(cell, "per_s")),
            _Value("established", established_of(cell)),
            failed,
            of("recycled", "recycled", words.count),
            _Value("as predicted", said, bad=alike is False),
        ]
    return [
        of("established", "established", words.count),
        failed,
        rate,
        of("connect p50", "connect_p50_us", words.latency),
        of("connect p99", "connect_p99_us", words.latency),
    ]


def _page_row(index: int, cell: Json, keys: Sequence[str], *, churn: bool) -> dict[str, Any]:
    settings, runs = words.part(cell, "settings"), runs_of(cell)
    return {
        "index": index,
        "settings": [value_text(settings[key]) if key in settings else None for key in keys],
        "status": cell.get("status"),
        "reason": cell.get("reason"),
        "values": _values(cell, churn=churn),
        "because": words.part(cell, "predicted").get("because"),
        "changes": [one.get("text") for one in words.rows(cell, "changes")],
        "runs": [
            {"round": number, "place": _place(index, number), "said": words.headline(run)} for number, run in runs
        ],
    }


def _place(index: int, number: int) -> str:
    """Where a run's directory is, beside the page."""
    return f"cells/{index}" if number == 1 else f"cells/{index}-{number}"
