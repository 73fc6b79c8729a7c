"""Every counter has its row, and counters of the kernel lead to their limits."""

from __future__ import annotations

from loadgen.capacity.limits import LIMITS
from loadgen.results.schema.counters import WORKER_COUNTERS
from website.reference import counters

PAGE = counters.page()


def test_every_counter_has_its_row() -> None:
    assert all(PAGE.count(f"\n| `{row.name}` | {row.unit.value} | {row.doc} | ") == 1 for row in WORKER_COUNTERS)
    assert "| `open` | count | connections that are open | `loadgen_connections_open` |" in PAGE


def test_every_counter_of_a_limit_leads_to_it() -> None:
    for row in LIMITS.values():
        for counter in row.counters:
            (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{counter}` |")]
            assert f"[`{row.name}`](limits.md#{row.name})" in line
