"""The figures of a cell of a matrix, and their text: shared by page, table, terminal and CI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from loadgen import format as fmt
from loadgen.results.block import TENTHS
from loadgen.results.measures import measure
from loadgen.results.schema.matrix import CellFigure, CellResult, MatrixSummary
from loadgen.results.schema.run import ExpectationResult, RunSummary
from loadgen.results.settings import value_text

UNLIMITED: Final = "unlimited"
Show = Callable[[float | None], str]


def runs_of(cell: CellResult) -> list[tuple[int, RunSummary]]:
    """The runs of a cell, each with its round."""
    return list(zip(cell.rounds, cell.runs, strict=True))


def has_churn(cells: Sequence[CellResult]) -> bool:
    """Return whether the cells opened and closed all the time, instead of holding what they had opened."""
    return any(run.churn for cell in cells for run in cell.runs)


def values_of(runs: Iterable[RunSummary], name: str) -> list[float]:
    """A figure of `results.measures` in each of these runs that has it."""
    values = map(measure(name).find, runs)
    return [value for value in values if value is not None]


def complete_runs(cell: CellResult) -> list[RunSummary]:
    """The runs of a cell whose figures count."""
    return [run for run in cell.runs if run.complete]


def middle(cell: CellResult, name: str) -> float | None:
    """The median of a figure over the complete runs of a cell; without one, the figure of the first run that has it."""
    if cell.figures:
        spread = _spread(cell, name)
        return spread.median if spread else None
    return next(iter(values_of(cell.runs, name)), None)


def figure(cell: CellResult, name: str, show: Show, *, with_range: bool = True) -> str:
    """The median of a figure as text, and its range where there are several runs: `99 (98-101)`."""
    text, extent = show(middle(cell, name)), range_of(cell, name, show)
    return f"{text} ({extent})" if with_range and extent else text


def range_of(cell: CellResult, name: str, show: Show) -> str:
    """The lowest and the highest of the runs of a cell, `98-101`; empty for one run, or where all read the same."""
    spread = _spread(cell, name)
    if spread is None or spread.runs < 2:
        return ""
    low, high = show(spread.low), show(spread.high)
    return f"{low.removesuffix('/s')}-{high.removesuffix('/s')}" if low != high else ""


def _spread(cell: CellResult, name: str) -> CellFigure | None:
    spread: CellFigure | None = getattr(cell.figures, name) if cell.figures else None
    return spread


def plain_rate(per_s: float | None) -> str:
    """A number per second under a head that says so."""
    return fmt.rate(per_s).removesuffix("/s")


def ceiling(cell: CellResult) -> str:
    """The rate that was predicted for a cell: a number, or that nothing limits it."""
    if cell.predicted is None:
        return fmt.MISSING
    return UNLIMITED if cell.predicted.per_s is None else plain_rate(cell.predicted.per_s)


def established_of(cell: CellResult) -> str:
    """The number of connections established, and the most that was predicted."""
    text = figure(cell, "established", fmt.count, with_range=False)
    most = cell.predicted.established if cell.predicted else None
    return text if most is None else f"{text} of {fmt.count(most)}"


def expectations(summary: MatrixSummary) -> list[tuple[int | None, ExpectationResult]]:
    """Every expectation, with the cell it is about, None for those of the matrix."""
    of_cells = [
        (index, expectation)
        for index, cell in enumerate(summary.cells)
        for run in cell.runs
        for expectation in run.expect
    ]
    return [*((None, expectation) for expectation in summary.expect), *of_cells]


def costs_of(cells: Sequence[CellResult]) -> dict[int, list[float | None]]:
    """CPU microseconds per connection by tenth, of each cell that has any; none unless strategies differ.

    Of several runs it is the first one's.
    """
    strategies = {value_text(cell.settings.get("sources.strategy")) for cell in cells}
    if len(strategies) < 2:
        return {}
    costs = {index: cell.runs[0].cost_us for index, cell in enumerate(cells) if cell.runs and cell.runs[0].cost_us}
    return {index: [*values, *[None] * (TENTHS - len(values))] for index, values in costs.items()}


def cost(value: float | None) -> str:
    """Microseconds with three digits."""
    return fmt.MISSING if value is None else f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"
