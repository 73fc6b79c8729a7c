"""The failures and their exit codes are those of the module's documentation."""

from __future__ import annotations

import inspect
import re

import pytest

from loadgen import errors
from loadgen.errors import CapacityError, ExitCode, LoadgenError, ScenarioError


def classes() -> dict[str, type[LoadgenError]]:
    return {
        name: found
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, LoadgenError) and found.__module__ == errors.__name__
    }


def test_the_documented_tree_is_the_tree_of_the_classes() -> None:
    """Name, parent and exit code of every failure, and of no other."""
    drawn: dict[str, tuple[str | None, int]] = {}
    above: list[tuple[int, str]] = []
    for row in re.finditer(r"^( {4}[ │├└─]*)(\w+Error) +(\d+) ", errors.__doc__ or "", re.MULTILINE):
        depth = len(row[1])
        above = [(at, name) for at, name in above if at < depth]
        drawn[row[2]] = (above[-1][1] if above else None, int(row[3]))
        above.append((depth, row[2]))
    real = {
        name: (None if found is LoadgenError else found.__bases__[0].__name__, int(found.exit_code))
        for name, found in classes().items()
    }
    assert drawn == real


def test_exit_codes_are_those_of_the_contract() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "FINE": 0,
        "BUG": 1,
        "USAGE": 2,
        "HOST": 3,
        "INCOMPLETE": 4,
        "EXPECTATION": 99,
        "INTERRUPTED": 130,
    }
    assert all(found.exit_code is not ExitCode.FINE for found in classes().values())


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "wrong"),
        ({"file": "s.yaml"}, "s.yaml: wrong"),
        ({"file": "s.yaml", "line": 3, "column": 7}, "s.yaml:3:7: wrong"),
        ({"line": 3, "column": 7}, "scenario:3:7: wrong"),
    ],
)
def test_a_scenario_error_begins_with_its_place(place: dict[str, object], text: str) -> None:
    error = ScenarioError("wrong", **place)  # type: ignore[arg-type]  # keyword by keyword, from the table
    assert str(error) == text
    assert error.message == "wrong"


def test_a_scenario_error_of_several_mistakes_has_a_line_for_each() -> None:
    first, second = (ScenarioError("wrong", file="s.yaml", line=line, column=1) for line in (3, 7))
    error = ScenarioError.of([first, second, first])
    assert str(error) == "s.yaml:3:1: wrong\ns.yaml:7:1: wrong"
    assert (error.message, error.file, error.line, error.column) == ("wrong", "s.yaml", 3, 1)
    assert [str(mistake) for mistake in error.mistakes] == [str(first), str(second)]
    assert str(ScenarioError.of(error.mistakes)) == str(error)
    assert str(ScenarioError.of([first])) == str(first)


def test_a_capacity_error_has_its_numbers_and_its_remedy() -> None:
    error = CapacityError("four-tuples", needed=60_000, available=28_232, remedy="add 2 source addresses")
    assert str(error) == "four-tuples: need 60,000, have 28,232; add 2 source addresses"
    assert (error.resource, error.needed, error.available) == ("four-tuples", 60_000, 28_232)
    assert error.remedy == "add 2 source addresses"
