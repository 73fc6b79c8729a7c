"""Render findings and facts as tables for a terminal."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from loadgen import styles
from loadgen.facts.base import Fact, FactFinding, FactVerdict
from loadgen.facts.document import counts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH_MIN, WIDTH_MAX = 40, 100
#: Minimum width for columns; below it each fact becomes a small paragraph.
_COLUMNS_FROM: Final = 80
_STYLES: Final = {FactVerdict.HOLDS: "", FactVerdict.DIFFERS: styles.BAD, FactVerdict.NOT_RUN: styles.TIGHT}


def cost_line(finding: FactFinding) -> str:
    """Return the cost, "38.1 ns for each taken port; 1,000 make it 24.1 times as long"; "" if none was measured."""
    cost = finding.cost
    if cost is None:
        return ""
    return (
        f"{cost.each_ns:,.1f} ns for each {finding.fact.cost_what}; "
        f"{cost.count:,} make it {cost.ratio:.1f} times as long"
    )


def render(findings: Sequence[FactFinding], console: Console) -> None:
    """Print the table, as wide as the console but between 40 and 100 columns, and one line of summary."""
    from rich.text import Text

    width = max(WIDTH_MIN, min(console.width, WIDTH_MAX))
    body = _columns(findings) if width >= _COLUMNS_FROM else _paragraphs(findings)
    console.print(body, width=width)
    tone = next(
        (_STYLES[v] for v in (FactVerdict.NOT_RUN, FactVerdict.DIFFERS) if any(f.verdict is v for f in findings)), ""
    )
    console.print(Text(summary_line(findings), style=tone or styles.STRONG), width=width)


def summary_line(findings: Sequence[FactFinding]) -> str:
    """Return one line, "Linux 6.18.44: of 60 facts 58 hold, 2 differ"."""
    number = counts(findings)
    line = f"Linux {platform.release()}: of {len(findings)} facts {number.holds} hold, {number.differs} differ"
    return line + (f", {number.not_run} could not be run" if number.not_run else "")


def _columns(findings: Sequence[FactFinding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style=styles.STRONG, expand=True, highlight=False)
    table.add_column("", no_wrap=True)
    table.add_column("fact", ratio=9, overflow="fold")
    table.add_column("expected", ratio=8, overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column("since", no_wrap=True)
    for finding in findings:
        style = _STYLES[finding.verdict]
        table.add_row(
            finding.fact.number,
            _with_cost(finding.fact.title, finding),
            _expected_and_seen(finding),
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
        text = Text.assemble(f"{finding.fact.title}{since}: ", _expected_and_seen(finding))
        text = _with_cost(text, finding)
        table.add_row(finding.fact.number, Text(str(finding.verdict), style=style), text)
    return table


def _with_cost(text: str | Text, finding: FactFinding) -> Text:
    from rich.text import Text

    cost = cost_line(finding)
    return Text.assemble(text, f"\n{cost}") if cost else Text.assemble(text)


def _expected_and_seen(finding: FactFinding) -> Text:
    """Put what was seen below, where it is another: the same sentence twice would hide the lines that differ."""
    from rich.text import Text

    text = Text(finding.fact.expected)
    if finding.verdict is not FactVerdict.HOLDS:
        text.append(f"\nseen: {_seen(finding)}", style=_STYLES[finding.verdict])
    return text


def _seen(finding: FactFinding) -> str:
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
