"""Render findings and facts: as JSON, as a table for a terminal, and as the table of docs/facts.md."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from loadgen.facts.base import Fact, FactFinding, FactVerdict

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA: Final = "loadgen.facts/1"
WIDTH_MIN, WIDTH_MAX = 60, 100
#: Minimum width for columns; below it each fact becomes a small paragraph.
_COLUMNS_FROM: Final = 80
_STYLES: Final = {FactVerdict.HOLDS: "green", FactVerdict.DIFFERS: "bold red", FactVerdict.NOT_RUN: "bold yellow"}


def summary(findings: Iterable[FactFinding]) -> dict[str, int]:
    """Return the number of findings with each verdict."""
    count = Counter(finding.verdict for finding in findings)
    return {
        "holds": count[FactVerdict.HOLDS],
        "differs": count[FactVerdict.DIFFERS],
        "not_run": count[FactVerdict.NOT_RUN],
    }


def to_json(findings: Sequence[FactFinding], *, started_at: datetime) -> dict[str, Any]:
    """Return the findings as plain values: {"schema", "kernel", "started_at", "facts", "summary"}."""
    return {
        "schema": SCHEMA,
        "kernel": platform.release(),
        "started_at": started_at.isoformat(timespec="seconds"),
        "facts": [
            {
                "number": finding.fact.number,
                "title": finding.fact.title,
                "expected": finding.fact.expected,
                "seen": finding.seen,
                "verdict": str(finding.verdict),
                "since": finding.fact.since,
                "seconds": round(finding.seconds, 3),
                "reason": finding.reason,
            }
            for finding in findings
        ],
        "summary": summary(findings),
    }


def render(findings: Sequence[FactFinding], console: Console) -> None:
    """Print the table, as wide as the console but between 60 and 100 columns, and one line of summary."""
    from rich.text import Text

    width = max(WIDTH_MIN, min(console.width, WIDTH_MAX))
    body = _columns(findings) if width >= _COLUMNS_FROM else _paragraphs(findings)
    console.print(body, width=width)
    tone = next(
        (_STYLES[v] for v in (FactVerdict.NOT_RUN, FactVerdict.DIFFERS) if any(f.verdict is v for f in findings)), ""
    )
    console.print(Text(summary_line(findings), style=tone or "bold"), width=width)


def summary_line(findings: Sequence[FactFinding]) -> str:
    """Return one line, "Linux 6.18.44: of 60 facts 58 hold, 2 differ"."""
    counts = summary(findings)
    line = f"Linux {platform.release()}: of {len(findings)} facts {counts['holds']} hold, {counts['differs']} differ"
    return line + (f", {counts['not_run']} could not be run" if counts["not_run"] else "")


def _columns(findings: Sequence[FactFinding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=True, highlight=False)
    table.add_column("", no_wrap=True)
    table.add_column("fact", ratio=9, overflow="fold")
    table.add_column("expected", ratio=8, overflow="fold")
    if all(finding.verdict is FactVerdict.HOLDS for finding in findings):
        table.add_column("seen", no_wrap=True)
    else:
        table.add_column("seen", ratio=8, overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column("since", no_wrap=True)
    for finding in findings:
        style = _STYLES[finding.verdict]
        table.add_row(
            finding.fact.number,
            Text(finding.fact.title),
            Text(finding.fact.expected),
            Text(_seen(finding), style="dim" if finding.verdict is FactVerdict.HOLDS else style),
            Text(str(finding.verdict), style=style),
            finding.fact.since or "any",
        )
    return table


def _paragraphs(findings: Sequence[FactFinding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=True, highlight=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for finding in findings:
        style = _STYLES[finding.verdict]
        since = f" (since {finding.fact.since})" if finding.fact.since else ""
        text = Text(f"{finding.fact.title}{since}: {finding.fact.expected}")
        if finding.verdict is not FactVerdict.HOLDS:
            text.append(f"\nseen: {_seen(finding)}", style=style)
        table.add_row(finding.fact.number, Text(str(finding.verdict), style=style), text)
    return table


def _seen(finding: FactFinding) -> str:
    if finding.verdict is FactVerdict.HOLDS:
        return "the same"  # the same sentence twice on a line would hide the lines that differ
    if not finding.seen:
        return finding.reason
    return f"{finding.seen} ({finding.reason})" if finding.reason else finding.seen


def render_list(facts: Sequence[Fact], console: Console) -> None:
    """Print the facts without running them: number, title, and the first kernel."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, highlight=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(no_wrap=True)
    for fact in facts:
        table.add_row(fact.number, Text(fact.title), f"since {fact.since}" if fact.since else "")
    console.print(table, width=max(WIDTH_MIN, min(console.width, WIDTH_MAX)))


def markdown_row(fact: Fact) -> str:
    """Return the row of docs/facts.md for one fact."""
    cells = (fact.number, fact.title, fact.expected, fact.since or "any", fact.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
