"""The outcome of a smoke test on a terminal: the pairs of source and target that fail, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.results.schema.run import RunSummary

if TYPE_CHECKING:
    from rich.console import Console

PAIRS_MAX: Final = 20


def render(summary: RunSummary, console: Console, *, report: str | None = None) -> None:
    """Print the smoke test. report: path of the HTML page, if any."""
    for line in lines(summary, report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines(summary: RunSummary, report: str | None = None) -> Iterator[str]:
    """Yield the lines: how many pairs open, each that does not, up to PAIRS_MAX, and the reasons.

    The summary counts errors of all pairs together: one kind is the reason of each pair that failed, of several kinds
    it is not known which pair has which.
    """
    pairs = summary.sources
    failed = [pair for pair in pairs if not pair.established]
    yield f"{len(pairs) - len(failed):,} of {len(pairs):,} pairs of source and target open"
    reasons = [f"{error.syscall} {error.errno} ({error.outcome})" for error in summary.errors]
    for pair in failed[:PAIRS_MAX]:
        if not pair.failed:
            reason = "not tried" if summary.complete else f"not tried: {summary.incomplete_because}"
        else:
            reason = reasons[0] if len(reasons) == 1 else "one of the errors below"
        yield fmt.on_one_line(f"  {pair.source} -> {pair.target}: {reason}")
    if len(failed) > PAIRS_MAX:
        yield f"  and {len(failed) - PAIRS_MAX:,} more"
    if len(reasons) > 1:
        for reason, error in zip(reasons, summary.errors, strict=True):
            yield f"errors: {error.count:,} of {reason}"
    if report:
        yield f"report: {fmt.on_one_line(report)}"
