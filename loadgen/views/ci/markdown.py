"""A run or a matrix as Markdown, as GitHub shows it below a job: the verdict, key figures, expectations, remedies.

Names, settings and reasons come from files and from other hosts, so none of them may become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from loadgen import format as fmt
from loadgen.find import answer
from loadgen.results.schema.files import Summary
from loadgen.results.schema.find import FindSummary
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.run import ExpectationResult, RunSummary
from loadgen.results.settings import named, short_keys
from loadgen.views import summary_rows
from loadgen.views.charts import matrix_cells as matrix

#: A backslash before punctuation makes it text (CommonMark 2.4); "$" begins a formula and "@" a mention on GitHub.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>()#!|~&$@]|^[-+])")

#: GitHub takes no more than a mebibyte.
_EXPECTATIONS_MAX: Final = 100


def render(summary: Summary, *, directory: str) -> str:
    """The summary of a run or of a matrix. directory: path of the run directory."""
    match summary:
        case MatrixSummary():
            table = _cells(summary)
        case FindSummary():
            table = _trials(summary)
        case _:
            table = _figures(summary)
    parts = (*_head(summary), table, _expectations(summary), *_end(summary, directory))
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(value: object) -> str:
    """Any text as text on one line: it begins no markup, ends no cell, and hides nothing."""
    return _MARKUP.sub(r"\\\1", " ".join(fmt.visible(fmt.scalar(value)).split()))


def _head(summary: Summary) -> Iterator[str]:
    yield f"### loadgen: {escaped(summary.scenario)}"
    yield f"**{escaped(summary_rows.headline(summary))}**"
    because = summary_rows.incomplete_because(summary)
    if because is not None:
        yield f"**INCOMPLETE**: {escaped(because)}"
    if isinstance(summary, RunSummary) and (distrust := summary_rows.distrust(summary)):
        yield f"**NOT TRUSTWORTHY**: {escaped('; '.join(distrust))}"


def _figures(summary: RunSummary) -> str:
    """The key figures by name, then the errors."""
    outcomes, pace, connect = summary.outcomes, summary.rate_per_s, summary.latency_us.connect
    planned, how = summary_rows.attempts(summary)
    carried = (
        summary_rows.not_attributed(summary),
        summary_rows.traffic(summary),
        summary_rows.heartbeat(summary),
        summary_rows.prediction(summary),
        summary_rows.steady(summary),
    )
    not_started = summary.arrivals.not_started
    rows: list[tuple[str, str]] = [
        ("established", f"{fmt.count(outcomes.established)} of {fmt.count(planned)} {how}"),
        *([("not started", fmt.count(not_started))] if not_started else []),
        ("failed", fmt.count(outcomes.failed)),
        ("lost while held", fmt.count(summary.open.lost)),
        ("open at most", fmt.count(summary.open.peak)),
        ("rate", f"{fmt.rate(pace.established_mean)} mean, {fmt.rate(pace.established_peak)} peak"),
        ("connect p50, p99, max", ", ".join(map(fmt.latency, (connect.p50, connect.p99, connect.max)))),
        ("duration", fmt.seconds(summary.duration_s)),
        *((row.label, row.text) for row in summary_rows.churn(summary)),
        *((row.label, row.text) for row in carried if row),
        *((f"{error.syscall} {error.errno}", fmt.count(error.count)) for error in summary.errors),
    ]
    return _table(("", ""), rows)


def _cells(summary: MatrixSummary) -> str:
    """A row for each cell, with the medians of its runs."""
    keys = short_keys([cell.settings for cell in summary.cells])
    rows = [
        (
            str(index),
            named(cell.settings, keys),
            f"{cell.status}: {cell.reason}" if cell.reason else cell.status,
            matrix.established_of(cell),
            matrix.figure(cell, "failed", fmt.count),
            matrix.figure(cell, "rate_per_s", fmt.rate),
            matrix.figure(cell, "connect_p50_us", fmt.latency),
            matrix.figure(cell, "connect_p99_us", fmt.latency),
        )
        for index, cell in enumerate(summary.cells)
    ]
    return _table(("cell", "settings", "status", "established", "failed", "rate", "p50", "p99"), rows)


def _trials(summary: FindSummary) -> str:
    """A row for each trial."""
    rows = [
        (
            str(trial.number),
            answer.value_text(summary, trial.value),
            trial.outcome.value,
            fmt.rate(trial.established_per_s),
            fmt.percent(trial.failed_share),
            fmt.latency(trial.connect_p99_us),
            trial.limit or "",
        )
        for trial in summary.trials
    ]
    return _table(("trial", summary.key, "outcome", "rate", "failed", "p99", "limit"), rows)


def _expectations(summary: Summary) -> str:
    """Every one of a run; of a matrix, which may have thousands, its own and those of its runs that do not hold."""
    results: list[tuple[int | None, ExpectationResult]] = [(None, result) for result in summary.expect]
    if isinstance(summary, MatrixSummary):
        results = [(cell, result) for cell, result in matrix.expectations(summary) if cell is None or not result.passed]
    rows = [
        (
            "pass" if result.passed else "FAIL",
            ("" if cell is None else f"cell {cell}: ") + result.expression,
            fmt.scalar(result.observed),
        )
        for cell, result in results[:_EXPECTATIONS_MAX]
    ]
    if len(results) > len(rows):
        rows.append(("", f"and {fmt.count(len(results) - len(rows))} more", ""))
    return _table(("", "expected", "observed"), rows) if rows else ""


def _end(summary: Summary, directory: str) -> Iterator[str]:
    verdict = summary.verdict if isinstance(summary, RunSummary) else None
    if verdict and verdict.decide_by:
        yield "What would decide:"
        yield "\n".join(f"- {escaped(look)}" for look in verdict.decide_by)
    remedies = verdict.remedies if verdict else ()
    if remedies:
        yield "What would help:"
        yield "\n".join(f"{number}. {escaped(text)}" for number, text in enumerate(remedies, 1))
    yield f"Run directory: {escaped(directory)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[escaped(cell) if cell else "" for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
