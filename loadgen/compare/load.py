"""The sides of a comparison read from their directories: repetitions of one run, or a matrix."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from loadgen.compare import comparable
from loadgen.compare.comparable import Side, Subject
from loadgen.compare.comparison import CompareResult, Comparison, Group, compare
from loadgen.compare.differences import readable_scenario
from loadgen.errors import UsageError
from loadgen.results import run_directory
from loadgen.results.run_directory import MatrixRun, Run
from loadgen.results.schema.values import Settings

#: Maximum number of sides; neither colours nor readers keep more of them apart.
SIDES_MAX: Final = 6
_ANYWAY: Final = "--anyway compares them all the same, with that said beside every judgement"


@dataclass(frozen=True, slots=True)
class Given:
    """One argument of `compare`, read: either `runs` or `matrix`."""

    label: str
    name: str
    runs: tuple[Run, ...] = ()
    matrix: MatrixRun | None = None


def read(arguments: Sequence[str]) -> list[Given]:
    """Read the sides: each argument is a directory, or run directories joined with commas. The first is the base.

    Raises: UsageError when one is no run, there are too few or too many, or runs stand beside matrices.
    """
    if len(arguments) < 2:
        raise UsageError("a comparison has two sides at least; give two run directories")
    if len(arguments) > SIDES_MAX:
        raise UsageError(
            f"a comparison has at most {SIDES_MAX} sides, got {len(arguments)}; join repetitions of one thing "
            "with commas: A1,A2,A3 B1,B2,B3"
        )
    given = [_given(label, argument) for label, argument in zip(ascii_uppercase, arguments, strict=False)]
    matrices = [side for side in given if side.matrix]
    if matrices and len(matrices) < len(given):
        raise UsageError(
            f"{matrices[0].name} is a matrix and cannot stand beside a run; name one of its cells: "
            f"{_cells_of(matrices[0])}"
        )
    return given


def compared(given: Sequence[Given], *, anyway: bool = False) -> CompareResult:
    """Compare every side with the first one; of matrices, the cells that have the same settings.

    Raises: UsageError when they cannot be compared, unless `anyway`, or are not what this version of loadgen writes.
    """
    names = {side.label: side.name for side in given}
    if given[0].matrix is not None:
        return _of_matrices(given, names, anyway=anyway)
    sides = [Side(side.label, tuple(map(subject, side.runs))) for side in given]
    return CompareResult(names, (Group(tuple(_pairs(sides, anyway=anyway))),))


def subject(run: Run) -> Subject:
    """Return the parts of a run that are compared. Raises: UsageError when its lines do not fit its plan."""
    return Subject(
        name=str(run.path),
        summary=run.summarised(),
        plan=run.plan,
        host=run.host,
        scenario=readable_scenario(run.scenario_text),
        time_wait_before=comparable.time_wait_before(run.series[0]) if run.series else 0.0,
    )


def _given(label: str, argument: str) -> Given:
    whole = Path(argument)
    # A directory may have a comma in its name.
    paths = [whole] if whole.is_dir() else [Path(part) for part in argument.split(",")]
    if not all(map(str.strip, argument.split(","))):
        raise UsageError(f"{argument!r}: write run directories joined with single commas, A1,A2,A3")
    if any(map(run_directory.is_matrix, paths)):
        if len(paths) > 1:
            raise UsageError(f"{argument}: a matrix stands alone on its side; repeat: in a scenario repeats its cells")
        return Given(label, argument, matrix=run_directory.read_matrix(paths[0]))
    return Given(label, argument, runs=tuple(map(run_directory.read, paths)))


def _cells_of(given: Given) -> str:
    assert given.matrix
    rounds = [str(run.path) for (cell, _), run in sorted(given.matrix.runs.items()) if cell == 0]
    return ",".join(rounds) or f"{given.name}/cells/0"


def _pairs(sides: Sequence[Side], *, anyway: bool) -> Iterator[Comparison]:
    base = sides[0]
    for other in sides[1:]:
        refused = comparable.refusals(base, other)
        if refused and not anyway:
            raise UsageError(f"{base.label} and {other.label} cannot be compared: {'; '.join(refused)}. {_ANYWAY}")
        yield compare(base, other, anyway=refused)


def _of_matrices(given: Sequence[Given], names: Mapping[str, str], *, anyway: bool) -> CompareResult:
    cells = {side.label: _cells(side) for side in given}
    base = given[0].label
    groups, left_out = [], []
    every = {key: settings for of_side in cells.values() for key, (settings, _) in of_side.items()}
    for key, settings in every.items():
        sides = [Side(label, own[key][1]) for label, own in cells.items() if key in own and own[key][1]]
        cell = ", ".join(f"{name} {value}" for name, value in settings.items()) or "the only cell"
        if len(sides) < 2 or sides[0].label != base:
            left_out.append(f"{cell}: run in {' and '.join(side.label for side in sides) or 'none'} only")
            continue
        try:
            groups.append(Group(tuple(_pairs(sides, anyway=anyway)), settings))
        except UsageError as error:
            left_out.append(f"{cell}: {error}")
    if not groups:
        raise UsageError(f"no cell can be compared: {'; '.join(left_out)}")
    return CompareResult(names, tuple(groups), tuple(left_out))


def _cells(given: Given) -> dict[str, tuple[Settings, tuple[Subject, ...]]]:
    """Return the cells of a matrix by settings, those without a run included."""
    assert given.matrix
    cells = {}
    for index, cell in enumerate(given.matrix.matrix.cells):
        runs = tuple(subject(run) for (of, _), run in sorted(given.matrix.runs.items()) if of == index)
        cells[json.dumps(cell.settings, sort_keys=True)] = (cell.settings, runs)
    return cells
