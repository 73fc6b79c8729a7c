"""The summaries of the runs of a matrix folded into one object.

Pure, like `summary.py`, and used by the matrix itself and by `loadgen report`, so that a matrix that was
cut off is summarised by the same code from the same files. A run is known by its cell, from 0, and its
round, from 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from msgspec import structs

from loadgen import format as fmt
from loadgen.results import effects, spread
from loadgen.results.measures import Unit, figure_text
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.matrix import (
    CellFigure,
    CellFigures,
    CellResult,
    CellStatus,
    MatrixSummary,
    MatrixVerdict,
    SettingEffect,
)
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import ExpectationResult, RunSummary
from loadgen.results.schema.values import SCHEMA, Settings
from loadgen.results.settings import named, short_keys
from loadgen.results.spread import Spread
from loadgen.scenario.expect import SOMETHING_OPENED, Expectation

#: A cell, and one of its rounds.
Place = tuple[int, int]

RESUMED: Final = "resumed"
#: A cell that this host refused, and one whose settings this kernel is too old for: nothing was expected of that.
SKIPPED: Final = "cell-skipped"
LACKING: Final = "cell-lacking"
#: Ratio of figures that other work on the machine can cause between cells.
_NOISE: Final = 1.5


def rounds_of(matrix: MatrixPlan) -> range:
    """Return the rounds of a matrix, from 1."""
    return range(1, matrix.repeat + 1)


def summarise(
    matrix: MatrixPlan, events: Sequence[Event], runs: Mapping[Place, RunSummary], *, run: str
) -> MatrixSummary:
    """Return the summary of a matrix.

    matrix: matrix.json. events: the lines of its events.jsonl. runs: the summaries of the runs that
    left something; one that did not was refused, as an event then says, or never ended.
    """
    rounds = rounds_of(matrix)
    last = _last_events(events)
    settings = [cell.settings for cell in matrix.cells]
    lacking = {index for (index, number), event in last.items() if event.event == LACKING and number == 1}
    expectations = [Expectation.parse(text) for text in matrix.expect]
    unjudged = Counter(cell for row in expectations if (cell := _cell_named(row)[0]) in lacking)
    expectations = [row for row in expectations if _cell_named(row)[0] not in lacking]
    lenient = [index for index in range(len(settings)) if _allows_for_no_connection(index, expectations)]
    kept = {place: _without_demand(one) if place[0] in lenient else one for place, one in runs.items()}
    cells = [_cell(index, own, rounds, kept, last, unjudged[index]) for index, own in enumerate(settings)]
    done = {index: cell.runs for index, cell in enumerate(cells) if cell.status is CellStatus.DONE}
    compared = effects.changes(settings, done)
    cells = [
        structs.replace(cell, changes=tuple(row.change for row in compared if row.cell == index))
        for index, cell in enumerate(cells)
    ]
    left = sum(cell.status is CellStatus.INCOMPLETE for cell in cells)
    reasons = [event.text for event in _since(events) if event.event == "interrupted"]
    if left:
        reasons.append(f"{left} of {len(cells)} cells did not come to their end")
    if not has_ended(events):
        reasons.append("the matrix ended before its last cell did")
    strongest = effects.effects(settings, sorted(compared, key=lambda row: row.cell))
    return MatrixSummary(
        schema=SCHEMA,
        scenario=matrix.scenario,
        run=run,
        started_at=matrix.started_at,
        duration_s=max((event.t_s for event in events), default=0.0),
        complete=not reasons,
        incomplete_because="; ".join(reasons) or None,
        repeat=len(rounds),
        cells=tuple(cells),
        effects=strongest,
        expect=tuple(_held(expectation, cells) for expectation in expectations),
        verdict=_verdict(cells, strongest),
    )


def has_ended(events: Sequence[Event]) -> bool:
    """Return whether a matrix came to its end; if it was resumed, to the end of that."""
    return any(event.event == "ended" for event in _since(events))


def _since(events: Sequence[Event]) -> Sequence[Event]:
    """Return the events since the matrix was last resumed; how it ended before that no longer counts."""
    return events[max((n for n, event in enumerate(events) if event.event == RESUMED), default=0) :]


def all_expectations(summary: files.Summary) -> list[ExpectationResult]:
    """Return the expectations of a matrix and of each of its runs; of a single run, its own."""
    cells = summary.cells if isinstance(summary, MatrixSummary) else ()
    return [*summary.expect, *(row for cell in cells for run in cell.runs for row in run.expect)]


def _last_events(events: Sequence[Event]) -> dict[Place, Event]:
    """Return the last event of each run, which of a resumed cell is one since then."""
    return {
        (event.cell, event.round or 1): event
        for event in events
        if event.event.startswith("cell-") and event.cell is not None
    }


def _cell(
    index: int,
    settings: Settings,
    rounds: Sequence[int],
    runs: Mapping[Place, RunSummary],
    last: Mapping[Place, Event],
    unjudged: int,
) -> CellResult:
    """unjudged: expectations about this cell that are left out, because this kernel is too old for its settings."""
    refused = last.get((index, 1))
    if refused and refused.event in (SKIPPED, LACKING):
        them = "expectation about it is" if unjudged == 1 else f"{unjudged} expectations about it are"
        without = f"; the {them} not judged" if unjudged else ""
        return _cell_of(settings, CellStatus.SKIPPED, refused.text + without, {})
    missing = [
        (number, reason)
        for number in rounds
        if (reason := _why_missing(runs.get((index, number)), last.get((index, number))))
    ]
    kept = {number: runs[index, number] for number in rounds if (index, number) in runs}
    if not missing:
        return _cell_of(settings, CellStatus.DONE, None, kept)
    number, reason = missing[0]
    others = f", and {len(missing) - 1} more rounds" if len(missing) > 2 else ", and 1 more round"
    reason = reason if len(rounds) == 1 else f"round {number}: {reason}{others if len(missing) > 1 else ''}"
    return _cell_of(settings, CellStatus.INCOMPLETE, reason, kept)


def _cell_of(settings: Settings, status: CellStatus, reason: str | None, runs: Mapping[int, RunSummary]) -> CellResult:
    """Return a cell with the figures of its complete runs, and the prediction for them."""
    complete = [run for run in runs.values() if run.complete]
    figures = {
        name: CellFigure(median=figure.median, low=figure.low, high=figure.high, runs=figure.runs)
        for name, figure in spread.figures(complete).items()
    }
    return CellResult(
        settings=settings,
        status=status,
        reason=reason,
        rounds=tuple(runs),
        runs=tuple(runs.values()),
        figures=CellFigures(**figures) if figures else None,
        predicted=spread.predicted(complete),
        as_predicted=spread.as_predicted(complete),
        changes=(),
    )


def _why_missing(run: RunSummary | None, last: Event | None) -> str | None:
    """Return the reason for which a round is not done; None when it is."""
    if run is not None:
        return None if run.complete else str(run.incomplete_because)
    if last is None:
        return "it never began"
    return "it was cut off" if last.event == "cell-started" else last.text


def _cell_named(expectation: Expectation) -> tuple[int | None, str]:
    """Return the number of the cell in cells.INDEX.PATH, None where there is none, and the path inside it."""
    _, index, path = [*expectation.path.split(".", 2), "", ""][:3]
    return int(index) if index.isdecimal() else None, path


def _allows_for_no_connection(index: int, expectations: Sequence[Expectation]) -> bool:
    """Return whether the matrix itself expects of this cell that nothing opens."""
    paths = [(expectation, *_cell_named(expectation)) for expectation in expectations]
    return any(
        cell == index and replace(expectation, path=path).allows_for_no_connection for expectation, cell, path in paths
    )


def _without_demand(run: RunSummary) -> RunSummary:
    """Take back `SOMETHING_OPENED`, which a run of its own would be held to."""
    return structs.replace(run, expect=tuple(row for row in run.expect if row.expression != SOMETHING_OPENED.text))


def _held(expectation: Expectation, cells: Sequence[CellResult]) -> ExpectationResult:
    """Return the result of cells.INDEX.PATH OP VALUE: of a number, the median of the cell's runs is compared.

    A name has to be as expected in each of them; observed is the first that is not. All runs have to have a value.
    """
    index, path = _cell_named(expectation)
    runs = cells[index].runs if index is not None and index < len(cells) else ()
    results = [replace(expectation, path=path).check(files.plain(run)) for run in runs]
    numbers = [observed for _, observed in results if isinstance(observed, float)]
    passed, observed = min(results, key=lambda result: result[0], default=(False, None))
    if any(value is None for _, value in results):
        passed, observed = False, None
    elif numbers:
        passed, observed = replace(expectation, path="median").check({"median": median(numbers)})
    return ExpectationResult(expression=expectation.text, passed=passed, observed=observed)


def _verdict(cells: Sequence[CellResult], strongest: Sequence[SettingEffect]) -> MatrixVerdict:
    """Return the limit that all cells met, or "mixed", and the largest difference between the cells that are done."""
    done = [cell for cell in cells if cell.status is CellStatus.DONE]
    limits = {run.verdict.limit for cell in done for run in cell.runs}
    limit = "none" if not limits else limits.pop() if len(limits) == 1 else "mixed"
    count = "1 cell is" if len(done) == 1 else f"{len(done)} cells are"
    if len(done) < 2:
        text = _of_one(done[0]) if len(cells) == len(done) == 1 else ""
        return MatrixVerdict(limit=limit, text=text or f"{count} done of {len(cells)}, so there is nothing to compare.")
    if any(run.churn for cell in done for run in cell.runs):
        return MatrixVerdict(limit=limit, text=_of_churn(done, strongest))
    short = short_keys([cell.settings for cell in cells])
    best: tuple[float, str] = (_NOISE, "")
    for figure in effects.FIGURES:
        spreads = [(spread.spread_of(cell.runs, figure.find), cell.settings) for cell in done]
        values = [(figures, settings) for figures, settings in spreads if figures is not None]
        if len(values) < len(done):
            continue
        (low, lowest), (high, highest) = min(values, key=_median), max(values, key=_median)
        ratio = high.median / max(low.median, 1.0 if figure.unit is Unit.COUNT else 1e-9)
        if ratio > best[0] and not (min(low.runs, high.runs) > 1 and low.is_noise(high)):
            text = f"{figure.name}: {figure_text(low.median, figure.unit, 'us')} with {named(lowest, short)}, "
            best = ratio, text + f"{figure_text(high.median, figure.unit, 'us')} with {named(highest, short)}"
    if not best[1]:
        return MatrixVerdict(limit=limit, text=f"The {len(done)} cells that are done do not differ by more than half.")
    return MatrixVerdict(limit=limit, text=f"What differs most between {len(done)} cells is {best[1]}.")


def _of_one(cell: CellResult) -> str:
    """Return the sentence about the rounds of a scenario without a matrix."""
    rate = cell.figures.rate_per_s if cell.figures else None
    if not rate or rate.runs < 2:
        return ""
    middle, low, high = map(fmt.rate, (rate.median, rate.low, rate.high))
    return f"{rate.runs} runs of the same: {middle} in the median, {low} to {high}."


def _of_churn(done: Sequence[CellResult], effects_found: Sequence[SettingEffect]) -> str:
    """Return a sentence on the strongest effect, and one on the cells that were as predicted."""
    strongest = [change.text for effect in effects_found for change in effect.strongest]
    lead = strongest[0] if strongest else f"Nothing makes a difference beyond noise between {len(done)} cells"
    wrong = sum(cell.as_predicted is False for cell in done)
    judged = sum(cell.as_predicted is not None for cell in done)
    if not judged:
        return f"{lead}."
    if wrong:
        return f"{lead}. {wrong} of {judged} cells {'is' if wrong == 1 else 'are'} not as predicted."
    return f"{lead}. {'1 cell is' if judged == 1 else f'{judged} cells are'} as predicted."


def _median(value: tuple[Spread, Settings]) -> float:
    return value[0].median
