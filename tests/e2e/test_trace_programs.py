"""The strategy of programs that people use, and the table of docs/programs.md, which these tests compare and write.

To write its rows anew: LOADGEN_GOLDEN=write pytest -n 0 tests/e2e/test_trace_programs.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import CHECKOUT, Loadgen, Namespace
from .peers import Server, program
from .traced import PROGRAMS, SERVER, TracedProgram, calls_in_short, trace, version_of

PAGE: Final = CHECKOUT / "docs" / "programs.md"
_HEAD: Final = "| program | version | how it is set | calls | strategy | capacity here | ends with |\n"
_RULE: Final = "|---|---|---|---|---|---|---|\n"


@pytest.fixture
def server(namespace: Namespace, tmp_path: Path) -> Iterator[Server]:
    """What the programs connect to."""
    home = tmp_path / "server"
    home.mkdir()
    with Server(namespace, home, (sys.executable, "-c", SERVER), ports=[8080]) as one:
        yield one


def columns(one: TracedProgram, way: dict[str, Any]) -> list[str]:
    """A row: program, version, setting, calls, strategy, capacity, end."""
    strategy = " + ".join(filter(None, [f"`{way['strategy']}`", *way["beside"]]))
    capacity = (
        "as many as it names" if way["capacity"] is None else f"{way['capacity']:,} for each {way['capacity_per']}"
    )
    setting = f"`{one.setting}`" if one.setting else ""
    return [one.name, version_of(one), setting, calls_in_short(way), strategy, capacity, way["ends_with"]]


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def documented() -> dict[tuple[str, str], list[str]]:
    """The rows of the page, by program and setting."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line.count("|") == 8]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {(cells[0], cells[2]): cells for cells in rows}


def write(cells: list[str]) -> None:
    """Put a row into the page, in the order of PROGRAMS."""
    rows = documented()
    rows[cells[0], cells[2]] = cells
    order = [(one.name, f"`{one.setting}`" if one.setting else "") for one in PROGRAMS]
    table = _HEAD + _RULE + "".join(row(rows[key]) for key in order if key in rows)
    before, _, rest = PAGE.read_text().partition(_HEAD)
    after = "".join(line for line in rest.splitlines(keepends=True) if not line.startswith("|"))
    PAGE.write_text(before + table + after)


@pytest.mark.usefixtures("_strace", "server")
@pytest.mark.parametrize("one", PROGRAMS, ids=[one.id for one in PROGRAMS])
def test_a_program_connects_as_the_page_says(
    one: TracedProgram, loadgen: Loadgen, namespace: Namespace, tmp_path: Path
) -> None:
    if "/" not in one.needs:
        program(one.needs)
    home = tmp_path / "program"
    home.mkdir()
    report = trace(loadgen, namespace, home, one)
    ways = [way for way in report["connects"] if way["transport"] == "tcp" and way["target_port"] == 8080]
    assert len(ways) == 1, report
    assert ways[0]["failed"] == []
    cells = columns(one, ways[0])
    if os.environ.get("LOADGEN_GOLDEN") == "write":
        write(cells)
    known = documented()[cells[0], cells[2]]
    if known[1] == cells[1]:
        assert cells == known
    else:  # another version may make other calls; the strategy is to be looked at then
        assert cells[4:] == known[4:], f"version {cells[1]} differs from {known[1]} in {PAGE.name}"


def test_the_page_has_a_row_for_each_program() -> None:
    assert list(documented()) == [(one.name, f"`{one.setting}`" if one.setting else "") for one in PROGRAMS]
