"""Every limit has a section with what the table has of it."""

from __future__ import annotations

import pytest

from loadgen.capacity.limits import EVERY_LIMIT
from website.reference import limits

PAGE = limits.page()


@pytest.mark.parametrize("name", EVERY_LIMIT)
def test_a_limit_has_its_row_and_its_section(name: str) -> None:
    row = EVERY_LIMIT[name]
    assert f"| [`{name}`](#{name}) | " in PAGE
    section = PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert "- **the verdict says**: " in section
    assert all(f"`{counter}`" in section for counter in row.counters)
    assert all(f"`{outcome.value}`" in section for outcome in row.outcomes)


def test_remedies_are_what_their_functions_do() -> None:
    section = PAGE.partition("\n## time-wait\n")[2].partition("\n## ")[0]
    assert "- **remedies**: leave nothing in TIME-WAIT, take ports out of it, or wait for its end\n" in section
    assert "- **named by**: a plan only\n" in PAGE.partition("\n## processes\n")[2]
    assert "remedies" not in PAGE.partition("\n## forbidden\n")[2].partition("\n## ")[0]
