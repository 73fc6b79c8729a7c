"""The counters of a line of series.jsonl, of one worker, and of the kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from loadgen.capacity.limits import LIMITS
from loadgen.results.schema.counters import SERIES_COUNTERS, WORKER_COUNTERS, CounterRow
from loadgen.views.text.watch import WORDS
from website.reference.markdown import code, plain, table

_HEAD: Final = """\
# Counters

Made from the tables in the code.

## Of a line of the series

Those of all workers added up; [run-directory.md](../run-directory.md) explains series.jsonl.
"""
_WORKER: Final = """
## Of one worker only
"""
_KERNEL: Final = """
## Of the kernel

`loadgen watch` shows those that move, and a run records many more (`kernel` in series.jsonl). The last column has the
[limits](limits.md) with which the counter moves.
"""


def page() -> str:
    """Return the page."""
    names = {row.name for row in SERIES_COUNTERS}
    own = [row for row in WORKER_COUNTERS if row.name not in names]
    return f"{_HEAD}\n{_table(SERIES_COUNTERS)}{_WORKER}\n{_table(own)}{_KERNEL}\n{_kernel()}"


def _table(rows: Iterable[CounterRow]) -> str:
    cells = ((code(row.name), row.unit.value, plain(row.doc), _metric(row)) for row in rows)
    return table(("counter", "unit", "meaning", "metric"), cells)


def _metric(row: CounterRow) -> str:
    return code(f"loadgen_{row.metric}") if row.metric else ""


def _kernel() -> str:
    """Return the table of the kernel's counters: those that are shown, then those that only limits know."""
    limits: dict[str, list[str]] = {name: [] for name in WORDS}
    for row in LIMITS.values():
        for counter in row.counters:
            limits.setdefault(counter, []).append(f"[{code(row.name)}](limits.md#{row.name})")
    rows = ((code(name), plain(WORDS.get(name, "")), ", ".join(links)) for name, links in limits.items())
    return table(("counter", "meaning", "limits"), rows)
