"""What a cell of a matrix has, however little that is, and in words: what page, table and terminal share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from loadgen import format as fmt
from loadgen.results.measures import measure
from loadgen.results.schema import files
from loadgen.results.schema.run import RunSummary
from loadgen.results.settings import value_text

Json = Mapping[str, Any]

UNLIMITED: Final = "unlimited"
#: A cost is told for each tenth of the connections.
TENTHS: Final = 10


def runs_of(cell: Json) -> list[tuple[int, Json]]:
    """The runs of a cell, each with its round; of a summary that does not name them, in their order."""
    rounds, runs = fmt.items(cell, "rounds"), fmt.rows(cell, "runs")
    known = len(rounds) == len(runs) and all(type(one) is int for one in rounds)
    return list(zip(rounds, runs, strict=True)) if known else list(enumerate(runs, 1))


def has_churn(cells: Sequence[Json]) -> bool:
    """Whether the cells opened and closed all the time, instead of holding what they had opened."""
    return any(fmt.part(run, "churn") for cell in cells for _, run in runs_of(cell))


def values_of(runs: Iterable[Json], name: str) -> list[float]:
    """A figure of `metrics.measures` in each of these runs that has it."""
    found = (measure(name).find(files.convert(run, RunSummary)) for run in runs)
    return [value for value in found if value is not None]


def complete_runs(cell: Json) -> list[Json]:
    """Those runs of a cell whose figures count."""
    return [run for _, run in runs_of(cell) if run.get("complete") is True]


def middle(cell: Json, name: str) -> object:
    """The median of a figure over the complete runs of a cell; without one, what the first run that has it says."""
    figures = fmt.part(cell, "figures")
    if figures:
        return fmt.part(figures, name).get("median")
    return next(iter(values_of((run for _, run in runs_of(cell)), name)), None)


def figure(cell: Json, name: str, show: Callable[[object], str], *, with_range: bool = True) -> str:
    """The median of a figure as text, and its range where there are several runs: `99 (98-101)`."""
    said, apart = show(middle(cell, name)), range_of(cell, name, show)
    return f"{said} ({apart})" if with_range and apart else said


def range_of(cell: Json, name: str, show: Callable[[object], str]) -> str:
    """How far the runs of a cell lie apart, `98-101`; empty for a single run and where all read the same."""
    found = fmt.part(fmt.part(cell, "figures"), name)
    low, high = show(found.get("low")), show(found.get("high"))
    several = (fmt.number(found.get("runs")) or 0) > 1 and low != high
    return f"{low.removesuffix('/s')}-{high.removesuffix('/s')}" if several else ""


def plain_rate(value: object) -> str:
    """A number per second under a head that says so."""
    return fmt.rate(value).removesuffix("/s")


def ceiling(cell: Json, name: str) -> str:
    """What was foretold for a cell: a number, or that nothing limits it."""
    predicted = fmt.part(cell, "predicted")
    if name not in predicted:
        return fmt.MISSING
    return UNLIMITED if predicted[name] is None else plain_rate(predicted[name])


def established_of(cell: Json) -> str:
    """How many were established, of how many that could be."""
    said = figure(cell, "established", fmt.count, with_range=False)
    most = fmt.number(fmt.part(cell, "predicted").get("established"))
    return said if most is None else f"{said} of {fmt.count(most)}"


def expectations(summary: Json) -> list[tuple[int | None, Json]]:
    """Every expectation, with the cell it is about, None for those of the matrix."""
    found: list[tuple[int | None, Json]] = [(None, row) for row in fmt.rows(summary, "expect")]
    for index, cell in enumerate(fmt.rows(summary, "cells")):
        found += [(index, row) for _, run in runs_of(cell) for row in fmt.rows(run, "expect")]
    return found


def costs_of(cells: Sequence[Json]) -> dict[int, list[float | None]]:
    """CPU microseconds per connection by tenth, of each cell that has any; none unless strategies differ.

    Of several runs it is the first one's.
    """
    strategies = {value_text(fmt.part(cell, "settings").get("sources.strategy")) for cell in cells}
    costs = {}
    for index, cell in enumerate(cells):
        found = [fmt.number(value) for value in fmt.items(_first(cell), "cost_us")][:TENTHS]
        if any(value is not None for value in found):
            costs[index] = found + [None] * (TENTHS - len(found))
    return costs if len(strategies) > 1 else {}


def cost(value: float | None) -> str:
    """Microseconds with three digits."""
    return fmt.MISSING if value is None else f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def _first(cell: Json) -> Json:
    """The cell's first run; empty if it has none."""
    return next((run for _, run in runs_of(cell)), {})
