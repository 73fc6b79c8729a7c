"""Pages of the reference that are made from the code when the site is made, and checked in nowhere.

markdown   tables and escapes
keys       keys of a JSON Schema, object by object
commands   commands and options, from click
limits     the table of limits, and what changes each
errors     exit codes, and the meaning of (system call, errno)
metrics    metrics for Prometheus
counters   counters of a line of the series, and of the kernel
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from website.reference import commands, counters, errors, keys, limits, metrics


class ReferencePage(NamedTuple):
    """A page made from the code. place: in the sources of the site. line: what it is about. text: makes it."""

    place: str
    line: str
    text: Callable[[], str]


PAGES: Final = (
    ReferencePage("reference/scenario-keys.md", "every key of a scenario: type, default, meaning", keys.of_scenario),
    ReferencePage("reference/summary-keys.md", "every key of summary.json: type, unit, meaning", keys.of_summary),
    ReferencePage(commands.INDEX, "all commands; each has a page with its options", commands.index),
    ReferencePage(
        "reference/limits.md", "every limit: what it means, what shows it, what helps, its remedies", limits.page
    ),
    ReferencePage("reference/errors.md", "exit codes, and what each errno of each system call means", errors.page),
    ReferencePage("reference/metrics.md", "metrics for Prometheus, with labels", metrics.page),
    ReferencePage("reference/counters.md", "counters of loadgen and of the kernel", counters.page),
)


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its place in the sources of the site, a page for each command included."""
    return {page.place: page.text() for page in PAGES} | commands.pages()
