"""The summary of a matrix for people: a table on the terminal, a page, and a file for spreadsheets.

The page needs no script at all. Its one chart is drawn here, as SVG whose every position is an attribute,
because the Content-Security-Policy leaves no room for style="" and needs none.
"""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from loadgen.metrics.settings import named, short_keys, value_text
from loadgen.report import html, text, words

if TYPE_CHECKING:
    from rich.console import Console

TENTHS: Final = 10
#: More lines than this cannot be told apart.
LINES_MAX: Final = 24
COLOURS: Final = 6
_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 12, 12, 40

Json = Mapping[str, Any]


def render(summary: Json, console: Console, *, report: str | None = None) -> None:
    """Print the table to a console, as wide as that is but between 60 and 100 columns."""
    text.show(lines(summary, report, text.width_of(console)), console)


def lines(summary: Json, report: str | None = None, width: int = 80) -> list[text.Line]:
    """The matrix in lines of at most `width` columns: one row per cell, then what a connection cost."""
    cells = words.rows(summary, "cells")
    found: list[text.Line] = [("verdict", line) for line in text.wrapped(words.headline(summary), "", width)]
    incomplete = words.incomplete_because(summary)
    if incomplete is not None:
        found += text.labelled("INCOMPLETE", incomplete, width, "bad")
    head, named_cells = _settings_column(cells)
    figures = ("established", "failed", "rate", "p50", "p99")
    found += [("", ""), *_table(head, figures, (12, 8, 12, 9, 9), [_row(cell) for cell in cells], named_cells, width)]
    costs = costs_of(cells)
    if costs:
        rows = [[_cost(one) for one in costs[index]] for index in costs]
        tenths = [f"{10 * (tenth + 1)} %" for tenth in range(TENTHS)]
        found += [("", ""), ("head", "CPU microseconds per connection, by tenth of the connections")]
        found += _table(head, tenths, (6,) * TENTHS, rows, [named_cells[index] for index in costs], width, list(costs))
    found.append(("", ""))
    for index, row in expectations(summary):
        passed = row.get("passed") is True
        said = f"{'pass' if passed else 'FAIL'}  {row.get('expression')}, observed {words.scalar(row.get('observed'))}"
        if index is None or not passed:
            place = "" if index is None else f"cell {index}: "
            found += text.labelled("expect", place + said, width, "good" if passed else "bad")
    if report:
        found.append(("", "report".ljust(text.LABEL_WIDTH) + words.visible(report)))
    return found


def expectations(summary: Json) -> list[tuple[int | None, Json]]:
    """Every expectation, with the cell it is about, None for those of the matrix."""
    found: list[tuple[int | None, Json]] = [(None, row) for row in words.rows(summary, "expect")]
    for index, cell in enumerate(words.rows(summary, "cells")):
        found += [(index, row) for run in words.rows(cell, "runs") for row in words.rows(run, "expect")]
    return found


def costs_of(cells: Sequence[Json]) -> dict[int, list[float | None]]:
    """CPU microseconds per connection by tenth, of each cell that has any; none unless strategies differ."""
    strategies = {value_text(words.part(cell, "settings").get("sources.strategy")) for cell in cells}
    costs = {}
    for index, cell in enumerate(cells):
        found = [words.number(value) for value in words.items(_run(cell), "cost_us")][:TENTHS]
        if any(value is not None for value in found):
            costs[index] = found + [None] * (TENTHS - len(found))
    return costs if len(strategies) > 1 else {}


def table(summary: Json) -> str:
    """All cells as CSV (RFC 4180): the settings first, then figures without units in them."""
    cells = words.rows(summary, "cells")
    keys = list(short_keys([words.part(cell, "settings") for cell in cells]))
    figures = ("complete", "established", "failed", "lost", "rate_per_s", "connect_p50_us", "connect_p99_us")
    out = io.StringIO()
    writer = csv.writer(out)
    tenths = [f"cost_us_{10 * (tenth + 1)}" for tenth in range(TENTHS)]
    writer.writerow(["cell", *map(_inert, keys), "status", "reason", *figures, *tenths])
    for index, cell in enumerate(cells):
        settings, run = words.part(cell, "settings"), _run(cell)
        outcomes, connect = words.part(run, "outcomes"), words.part(words.part(run, "latency_us"), "connect")
        numbers = (
            *(outcomes.get("established"), outcomes.get("failed"), words.part(run, "open").get("lost")),
            words.part(run, "rate_per_s").get("established_mean"),
            *(connect.get("p50"), connect.get("p99")),
            *(words.items(run, "cost_us") + [None] * TENTHS)[:TENTHS],
        )
        said = (value_text(settings[key]) if key in settings else "" for key in keys)
        shown = ["" if words.number(value) is None else str(value) for value in numbers]
        complete = "" if not run else "yes" if run.get("complete") is True else "no"
        texts = (*said, cell.get("status"), cell.get("reason") or "")
        writer.writerow([index, *(_inert(str(one)) for one in texts), complete, *shown])
    return out.getvalue()


def _inert(value: str) -> str:
    """Text that no spreadsheet takes for a formula, in one line."""
    seen = words.visible(value.replace("\n", " ").replace("\t", " "))
    return f"'{seen}" if seen[:1] in ("=", "+", "-", "@") and words.number(_as_number(seen)) is None else seen


def _as_number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


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
            cells=[_page_row(index, cell, list(keys)) for index, cell in enumerate(cells)],
            chart=chart(drawn) if drawn else None,
            legend=[{"index": index, "colour": _colour(n), "name": names[index]} for n, index in enumerate(drawn)],
            undrawn=len(costs) - len(drawn),
            costs=[{"index": i, "name": names[i], "values": [_cost(one) for one in costs[i]]} for i in costs],
            tenths=[10 * (tenth + 1) for tenth in range(TENTHS)],
            scenario=scenario_text[: html.SCENARIO_CHARACTERS_MAX],
        )
    )


def chart(costs: Mapping[int, Sequence[float | None]]) -> Markup:
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
        add('<polyline class="line {}" points="{}"><title>cell {}</title></polyline>', _colour(n), drawn, index)
        for x, y in points:
            add('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>', _colour(n), x, y)
    return Markup(
        '<svg class="lines" viewBox="0 0 {} {}" role="img" aria-label="CPU microseconds per connection by tenth'
        ' of the connections, logarithmic; the same numbers are in the table below">{}</svg>'
    ).format(_WIDTH, _HEIGHT, Markup("").join(parts))


def _colour(n: int) -> str:
    """The classes of the n-th line: six colours, then the same dashed, and so on."""
    return f"c{n % COLOURS} d{min(n // COLOURS, 3)}"


def _filled(row: Json) -> dict[str, Any]:
    return {key: row.get(key) for key in ("passed", "expression", "observed")}


def _page_row(index: int, cell: Json, keys: Sequence[str]) -> dict[str, Any]:
    settings, run = words.part(cell, "settings"), _run(cell)
    connect = words.part(words.part(run, "latency_us"), "connect")
    return {
        "index": index,
        "settings": [value_text(settings[key]) if key in settings else None for key in keys],
        "status": cell.get("status"),
        "reason": cell.get("reason"),
        "ran": bool(run),
        "established": words.part(run, "outcomes").get("established"),
        "failed": words.part(run, "outcomes").get("failed"),
        "rate": words.part(run, "rate_per_s").get("established_mean"),
        "p50": connect.get("p50"),
        "p99": connect.get("p99"),
        "said": words.headline(run) if run else None,
    }


def _run(cell: Json) -> Json:
    """The cell's first run; empty if it has none."""
    return next(iter(words.rows(cell, "runs")), {})


def _settings_column(cells: Sequence[Json]) -> tuple[str, list[str]]:
    """The head of the column of settings and what stands in it: bare values where there is only one key."""
    settings = [words.part(cell, "settings") for cell in cells]
    keys = short_keys(settings)
    if len(keys) == 1:
        return next(iter(keys.values())), [value_text(next(iter(one.values()), None)) for one in settings]
    return "settings", [named(one, keys) for one in settings]


def _row(cell: Json) -> list[str] | str:
    """The figures of a cell, or in words why there are none."""
    run = _run(cell)
    if not run:
        return f"{cell.get('status')}: {cell.get('reason') or 'no reason given'}"
    outcomes, connect = words.part(run, "outcomes"), words.part(words.part(run, "latency_us"), "connect")
    return [
        words.count(outcomes.get("established")) + ("" if cell.get("status") == "done" else "*"),
        words.count(outcomes.get("failed")),
        words.rate(words.part(run, "rate_per_s").get("established_mean")),
        words.latency(connect.get("p50"), "us"),
        words.latency(connect.get("p99"), "us"),
    ]


def _cost(value: float | None) -> str:
    return words.MISSING if value is None else f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def _table(
    head: str,
    columns: Sequence[str],
    widths: Sequence[int],
    rows: Sequence[Sequence[str] | str],
    names: Sequence[str],
    width: int,
    numbers: Sequence[int] | None = None,
) -> list[text.Line]:
    """Rows under a head; a name too long for what the figures leave goes on in the next line."""
    room = max(width - 6 - sum(widths), 10)
    room = min(room, max(len(head), *map(len, names), 10) if names else room)
    found: list[text.Line] = [
        ("head", f"{'cell':>4}  {words.visible(head)[:room]:<{room}}" + _right(columns, widths)),
    ]
    for number, name, row in zip(numbers or range(len(rows)), names, rows, strict=True):
        name_lines = textwrap.wrap(words.visible(" ".join(name.split())), room, break_on_hyphens=False) or [""]
        if isinstance(row, str):
            said = textwrap.wrap(words.visible(" ".join(row.split())), max(sum(widths) - 2, 20)) or [""]
            for n in range(max(len(said), len(name_lines))):
                left = f"{number if n == 0 else '':>4}  {name_lines[n] if n < len(name_lines) else '':<{room}}"
                found.append(("row", f"{left}  {said[n] if n < len(said) else ''}".rstrip()))
            continue
        found.append(("row", f"{number:>4}  {name_lines[0]:<{room}}" + _right(row, widths)))
        found += [("row", f"      {line}") for line in name_lines[1:]]
    if any(isinstance(row, list) and row[0].endswith("*") for row in rows):
        found.append(("row", "      * the run of this cell is incomplete"))
    return found


def _right(values: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
