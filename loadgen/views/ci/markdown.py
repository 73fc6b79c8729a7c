"""A run or a matrix as Markdown, as GitHub shows it below a job: the verdict, key figures, expectations, remedies.

Names, settings and reasons come from files and from other hosts, so none of them may become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from loadgen import format as fmt
from loadgen.results.settings import named, short_keys
from loadgen.views import summary_rows
from loadgen.views.charts import matrix_cells as matrix

Json = Mapping[str, Any]

#: A backslash before punctuation makes it text (CommonMark 2.4); "$" begins a formula and "@" a mention on GitHub.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>()#!|~&$@]|^[-+])")

#: GitHub takes no more than a mebibyte.
_EXPECTATIONS_MAX: Final = 100


def render(summary: Json, *, directory: str) -> str:
    """The summary of a run or of a matrix. directory: path of the run directory."""
    table = _cells(summary) if "cells" in summary else _figures(summary)
    return (
        "\n\n".join(part for part in (_head(summary), table, _expectations(summary), *_end(summary, directory)) if part)
        + "\n"
    )


def escaped(value: object) -> str:
    """Any text as text on one line: it begins no markup, ends no cell, and hides nothing."""
    return _MARKUP.sub(r"\\\1", " ".join(fmt.visible(fmt.scalar(value)).split()))


def _head(summary: Json) -> str:
    said = [f"### loadgen: {escaped(summary.get('scenario'))}", f"**{escaped(summary_rows.headline(summary))}**"]
    because = summary_rows.incomplete_because(summary)
    distrust = summary_rows.distrust(summary)
    said += [f"**INCOMPLETE**: {escaped(because)}"] if because is not None else []
    said += [f"**NOT TRUSTWORTHY**: {escaped('; '.join(distrust))}"] if distrust else []
    return "\n\n".join(said)


def _figures(summary: Json) -> str:
    """What a reader looks for first, by name."""
    arrivals, outcomes, opened = (fmt.part(summary, key) for key in ("arrivals", "outcomes", "open"))
    pace, connect = fmt.part(summary, "rate_per_s"), fmt.part(fmt.part(summary, "latency_us"), "connect")
    planned, how = summary_rows.attempts(summary)
    rows: list[tuple[str, str]] = [
        ("established", f"{fmt.count(outcomes.get('established'))} of {fmt.count(planned)} {how}"),
        ("failed", fmt.count(outcomes.get("failed"))),
        ("lost while held", fmt.count(opened.get("lost"))),
        ("open at most", fmt.count(opened.get("peak"))),
        ("rate", f"{fmt.rate(pace.get('established_mean'))} mean, {fmt.rate(pace.get('established_peak'))} peak"),
        ("connect p50, p99, max", ", ".join(fmt.latency(connect.get(key)) for key in ("p50", "p99", "max"))),
        ("duration", fmt.seconds(summary.get("duration_s"))),
    ]
    if fmt.number(arrivals.get("not_started")):
        rows.insert(1, ("not started", fmt.count(arrivals.get("not_started"))))
    rows += [(label, said) for label, said, _ in summary_rows.churn(summary)]
    rows += [(name, found[0]) for name, found in _told(summary) if found]
    rows += [
        (f"{error.get('syscall')} {error.get('errno')}", fmt.count(error.get("count")))
        for error in fmt.rows(summary, "errors")
    ]
    return _table(("", ""), rows)


def _told(summary: Json) -> list[tuple[str, tuple[str, object] | None]]:
    return [
        ("traffic", summary_rows.traffic(summary)),
        ("heartbeat", summary_rows.heartbeat(summary)),
        ("planned", summary_rows.prediction(summary)),
    ]


def _cells(summary: Json) -> str:
    """A row for each cell, with the medians of its runs."""
    cells = fmt.rows(summary, "cells")
    keys = short_keys([fmt.part(cell, "settings") for cell in cells])
    rows = [
        (
            str(index),
            named(fmt.part(cell, "settings"), keys),
            str(cell.get("status")) + (f": {cell['reason']}" if cell.get("reason") else ""),
            matrix.established_of(cell),
            matrix.figure(cell, "failed", fmt.count),
            matrix.figure(cell, "rate_per_s", fmt.rate),
            matrix.figure(cell, "connect_p50_us", fmt.latency),
            matrix.figure(cell, "connect_p99_us", fmt.latency),
        )
        for index, cell in enumerate(cells)
    ]
    return _table(("cell", "settings", "status", "established", "failed", "rate", "p50", "p99"), rows)


def _expectations(summary: Json) -> str:
    """Every one of a run; of a matrix, which may have thousands, its own and those of its runs that do not hold."""
    if "cells" in summary:
        found = [(index, row) for index, row in matrix.expectations(summary) if index is None or not _holds(row)]
    else:
        found = [(None, row) for row in fmt.rows(summary, "expect")]
    rows = [
        (
            "pass" if _holds(row) else "FAIL",
            ("" if index is None else f"cell {index}: ") + fmt.scalar(row.get("expression")),
            fmt.scalar(row.get("observed")),
        )
        for index, row in found[:_EXPECTATIONS_MAX]
    ]
    more = len(found) - len(rows)
    if more:
        rows.append(("", f"and {fmt.count(more)} more", ""))
    return _table(("", "expected", "observed"), rows) if rows else ""


def _holds(row: Json) -> bool:
    return row.get("passed") is True


def _end(summary: Json, directory: str) -> Iterable[str]:
    remedies = fmt.items(fmt.part(summary, "verdict"), "remedies")
    if remedies:
        yield "What would help:"
        yield "\n".join(f"{number}. {escaped(text)}" for number, text in enumerate(remedies, 1))
    yield f"Run directory: {escaped(directory)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[escaped(cell) if cell else "" for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
