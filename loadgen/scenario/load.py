"""Scenario text -> ScenarioSpec, and the cells of its matrix.

`loadgen.scenario.yaml_document` reads the text and remembers where everything stands. All mistakes become one
ScenarioError, in the order of the file, each with its line, its column and what to write instead. Two kinds of check
come after the others, because they need them: those of several keys together, and those of the cells of a matrix.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.errors import ScenarioError
from loadgen.scenario import masking, yaml_document
from loadgen.scenario.expect import Expectation
from loadgen.scenario.messages import validated
from loadgen.scenario.scenario import ScenarioSpec
from loadgen.scenario.search import FindSpec
from loadgen.scenario.sections import Fallback
from loadgen.scenario.yaml_document import Document, Step, shown


def load(path: Path, overrides: Sequence[str] = ()) -> ScenarioSpec:
    """Read the scenario in a file. Raises: ScenarioError, also if the file cannot be read."""
    return parse(read_bytes(path), yaml_document.printable(str(path)), overrides)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a scenario file, at most one more than its limit. Raises: ScenarioError."""
    file = yaml_document.printable(str(path))
    try:
        with path.open("rb") as stream:
            return stream.read(yaml_document.TEXT_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ScenarioError("no such file; check the path", file=file) from None
    except IsADirectoryError:
        raise ScenarioError("is a directory; give the YAML file in it", file=file) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ScenarioError(f"cannot be read ({reason}); check path and permissions", file=file) from None


def parse(text: str | bytes, file: str = "scenario", overrides: Sequence[str] = ()) -> ScenarioSpec:
    """Read the scenario in a text, after `overrides` (KEY=VALUE, a dotted path and a YAML value each).

    file: name of the text in messages. Raises: ScenarioError, for a cell of its matrix as well.
    """
    return parse_cells(text, file, overrides)[0]


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of a matrix: the values of its keys, as they may be written, and the scenario with them."""

    settings: dict[str, Any]
    scenario: ScenarioSpec


def parse_cells(
    text: str | bytes, file: str = "scenario", overrides: Sequence[str] = ()
) -> tuple[ScenarioSpec, tuple[Cell, ...]]:
    """Read the scenario in a text as `parse` does, and the cells of its matrix; none if it has no matrix.

    The first key of the matrix changes slowest; a scenario that is only repeated is a matrix of one cell. A cell has
    the expectations that are about one run, not those that begin with "cells.". Raises: ScenarioError; a mistake
    made by a value of the matrix is shown where that value stands.
    """
    document = yaml_document.read(text, file)
    whole = validated(document, overrides)
    mistakes = list(_mistakes_of_matrix(document, whole))
    if mistakes:
        raise ScenarioError.of(mistakes)
    combinations = _combinations(document) or ([()] if whole.repeat > 1 else [])
    mistakes += _mistakes_of_search(document, whole)
    cells = []
    for choice in combinations:
        try:
            cells.append(_cell(document, choice))
        except ScenarioError as error:
            mistakes += error.mistakes
    mistakes += _mistakes_of_expectations(document, whole, len(combinations))
    if mistakes:
        raise ScenarioError.of(sorted(mistakes, key=lambda mistake: (mistake.file, mistake.line, mistake.column)))
    return whole, tuple(cells)


def at_value(
    text: str | bytes, file: str, overrides: Sequence[str], value: int | float | str, cell: int = 0
) -> ScenarioSpec:
    """Read the scenario of one trial of a search: the key that `find` varies has this value.

    cell: number of the cell, of a scenario that has a matrix as well. Raises: ScenarioError.
    """
    document = yaml_document.read(text, file)
    whole = validated(document, overrides)
    assert whole.find
    choices = _combinations(document)
    return _trial(document, choices[cell] if choices else (), whole.find.vary, value, ("find", "vary")).scenario


def _combinations(document: Document) -> list[tuple[tuple[str, int], ...]]:
    """Return the combinations of a matrix: key and index of its value, for each key; empty without a matrix."""
    matrix = document.data.get("matrix", {})
    choices = [[(key, index) for index in range(len(values))] for key, values in matrix.items()]
    return list(itertools.product(*choices)) if choices else []


def _trial(document: Document, choice: Sequence[tuple[str, int]], key: str, value: Any, at: tuple[Step, ...]) -> Cell:
    """Return a cell with another value of one key. at: path of the value in the document. Raises: ScenarioError."""
    changed = document.copy()
    changed.put(key, value, document.place(at), document.place(("find", "vary")))
    return _cell(changed, choice)


def _mistakes_of_search(document: Document, whole: ScenarioSpec) -> Iterator[ScenarioError]:
    """Yield the mistakes of `find`: with the lowest and the highest value every trial has to be a valid run."""
    find = whole.find
    if find is None:
        return
    place = document.key_place(("find",))
    if whole.repeat > 1:
        yield document.key_place(("repeat",)).error("repeat: a search repeats trials by itself; leave it out")
    cells = [index for index, expectation in enumerate(whole.expect) if about_cells(expectation)]
    if len(cells) == len(whole.expect):
        message = "find: nothing says when a value holds; add expect, for example - outcomes.failed == 0"
        yield place.error(message)
        cells = []
    for index in cells:
        message = f"expect.{index}: write conditions on the answer of a cell in find.expect: cells.0.value >= 100"
        yield document.place(("expect", index)).error(message)
    yield from _mistakes_of_answer(document, find, len(_combinations(document)))
    if find.vary in whole.matrix:
        yield document.key_place(("matrix", find.vary)).error(
            f"matrix: {shown(find.vary)} is the key that find varies; delete one of the two"
        )
        return
    seen: set[str] = set()
    for choice in _combinations(document) or [()]:
        for key, bound in (("from", find.start), ("to", find.stop)):
            try:
                _trial(document, choice, find.vary, bound.at(bound.number), ("find", key))
            except ScenarioError as error:
                yield from (mistake for mistake in error.mistakes if str(mistake) not in seen)
                seen |= {str(mistake) for mistake in error.mistakes}


def _mistakes_of_answer(document: Document, find: FindSpec, cells: int) -> Iterator[ScenarioError]:
    """Yield a mistake for each line of `find.expect` about an answer that will not be there."""
    for index, expectation in enumerate(find.expect):
        if (expectation.cell is None) == (cells == 0) and (expectation.cell or 0) < max(cells, 1):
            continue
        valid = f"one answer for each cell, cells.0 to cells.{cells - 1}" if cells else "one answer, without a cell"
        key = expectation.path.rpartition(".")[2]
        example = f"cells.0.{key}" if cells else key
        yield document.place(("find", "expect", index)).error(
            f"find.expect.{index}: there is {valid}; write for example {example}"
        )


def _cell(document: Document, choice: Sequence[tuple[str, int]]) -> Cell:
    """Return the cell with these keys of the matrix, each at this index of its list. Raises: ScenarioError."""
    matrix, changed = document.data["matrix"] if choice else {}, document.copy()
    for key, index in choice:
        place, key_place = document.place(("matrix", key, index)), document.key_place(("matrix", key))
        changed.put(key, matrix[key][index], place, key_place)
    scenario = validated(changed, ())
    plain = tuple(expectation for expectation in scenario.expect if not about_cells(expectation))
    settings = {key: masking.kept_value(key, matrix[key][index]) for key, index in choice}
    return Cell(settings, scenario.model_copy(update={"matrix": {}, "find": None, "expect": plain, "repeat": 1}))


def _mistakes_of_matrix(document: Document, whole: ScenarioSpec) -> Iterator[ScenarioError]:
    """Yield the mistakes of a matrix as a whole, before any cell is made."""
    several = "matrix" if whole.matrix else "repeat" if whole.repeat > 1 else None
    if several and whole.lab is None:
        message = f"{several}: every run has a namespace of its own; add lab: {{}}"
        yield document.key_place((several,)).error(message)
    if several and whole.lab and whole.lab.fallback is not Fallback.NONE:
        message = f"lab.fallback: {several} is not for the host itself, where one run disturbs the next; write none"
        yield document.place(("lab", "fallback")).error(message)
    paths = {key: yaml_document.split_key(key) for key in whole.matrix}
    for outer, inner in itertools.permutations(paths, 2):
        if paths[inner][: len(paths[outer])] == paths[outer]:
            message = f"matrix: {shown(inner)} would be replaced together with {shown(outer)}; delete one of the two"
            yield document.key_place(("matrix", inner)).error(message)


def _mistakes_of_expectations(document: Document, whole: ScenarioSpec, cells: int) -> Iterator[ScenarioError]:
    """Yield a mistake for each expectation about a cell that will not be there."""
    for index, expectation in enumerate(whole.expect):
        number = [*expectation.path.split("."), ""][1]
        if about_cells(expectation) and not (number.isdecimal() and int(number) < cells):
            valid = f"cells.0 to cells.{cells - 1}" if cells else "no cells, because there is no matrix"
            yield document.place(("expect", index)).error(f"expect.{index}: there are {valid}; change the path")


def about_cells(expectation: Expectation) -> bool:
    """Return True if it is about a cell in the summary of a matrix: cells.INDEX.PATH."""
    return expectation.path.split(".")[0] == "cells"
