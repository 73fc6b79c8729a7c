"""Findings and facts as JSON, as a table for a terminal, and as the table of docs/facts.md."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from loadgen.facts.base import Fact, Finding, Verdict

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA: Final = "loadgen.facts/1"
WIDTH_MIN, WIDTH_MAX = 60, 100
#: Below this there is no room for columns, and each fact becomes a small paragraph.
_COLUMNS_FROM: Final = 80
_STYLES: Final = {Verdict.HOLDS: "green", Verdict.DIFFERS: "bold red", Verdict.NOT_RUN: "bold yellow"}


def summary(findings: Iterable[Finding]) -> dict[str, int]:
    """How many of each verdict."""
    count = Counter(finding.verdict for finding in findings)
    return {
        "holds": count[Verdict.HOLDS],
        "differs": count[Verdict.DIFFERS],
        "not_run": count[Verdict.NOT_RUN],
    }


def to_json(findings: Sequence[Finding], *, started_at: datetime) -> dict[str, Any]:
    """The findings as plain values: {"schema": "loadgen.facts/1", "kernel", "started_at", "facts", "summary"}."""
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


def render(findings: Sequence[Finding], console: Console) -> None:
    """Print the table, as wide as the console is but between 60 and 100 columns, and one line of summary."""
    from rich.text import Text

    width = max(WIDTH_MIN, min(console.width, WIDTH_MAX))
    body = _columns(findings) if width >= _COLUMNS_FROM else _paragraphs(findings)
    console.print(body, width=width)
    tone = next((_STYLES[v] for v in (Verdict.NOT_RUN, Verdict.DIFFERS) if any(f.verdict is v for f in findings)), "")
    console.print(Text(summary_line(findings), style=tone or "bold"), width=width)


def summary_line(findings: Sequence[Finding]) -> str:
    """ "Linux 6.18.44: of 60 facts 58 hold, 2 differ"."""
    counts = summary(findings)
    line = f"Linux {platform.release()}: of {len(findings)} facts {counts['holds']} hold, {counts['differs']} differ"
    return line + (f", {counts['not_run']} could not be run" if counts["not_run"] else "")


def _columns(findings: Sequence[Finding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=True, highlight=False)
    table.add_column("", no_wrap=True)
    table.add_column("fact", ratio=9, overflow="fold")
    table.add_column("expected", ratio=8, overflow="fold")
    if all(finding.verdict is Verdict.HOLDS for finding in findings):
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
            Text(_seen(finding), style="dim" if finding.verdict is Verdict.HOLDS else style),
            Text(str(finding.verdict), style=style),
            finding.fact.since or "any",
        )
    return table


def _paragraphs(findings: Sequence[Finding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=True, highlight=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for finding in findings:
        style = _STYLES[finding.verdict]
        since = f" (since {finding.fact.since})" if finding.fact.since else ""
        said = Text(f"{finding.fact.title}{since}: {finding.fact.expected}")
        if finding.verdict is not Verdict.HOLDS:
            said.append(f"\nseen: {_seen(finding)}", style=style)
        table.add_row(finding.fact.number, Text(str(finding.verdict), style=style), said)
    return table


def _seen(finding: Finding) -> str:
    if finding.verdict is Verdict.HOLDS:
        return "the same"  # twice the same sentence on a line hides the one that is different
    if not finding.seen:
        return finding.reason
    return f"{finding.seen} ({finding.reason})" if finding.reason else finding.seen


def render_list(facts: Sequence[Fact], console: Console) -> None:
    """Print the facts without running them: number, title, and since which kernel."""
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
    """The row of docs/facts.md for one fact."""
    cells = (fact.number, fact.title, fact.expected, fact.since or "any", fact.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
