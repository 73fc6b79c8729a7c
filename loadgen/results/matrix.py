"""The summaries of the runs of a matrix folded into one object.

Pure, like `summary.py`, and used by the matrix itself and by `loadgen report`: what a matrix that was
cut off anywhere came to is found out by the same code from the same files. A run is known by its cell,
from 0, and its round, from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from statistics import median
from typing import Any, Final

from loadgen.results import effects, spread
from loadgen.results.settings import named, short_keys
from loadgen.results.spread import Spread
from loadgen.results.summary import SCHEMA
from loadgen.scenario.expect import SOMETHING_OPENED, Expectation

Json = Mapping[str, Any]
#: A cell, and one of its rounds.
Place = tuple[int, int]

RESUMED: Final = "resumed"
ROUNDS_MAX: Final = 100
#: Cells of a machine with other work to do differ by as much without any reason of ours.
_NOISE: Final = 1.5


class Status(StrEnum):
    """What became of a cell. Only `done` says anything about its settings."""

    DONE = "done"
    SKIPPED = "skipped"
    INCOMPLETE = "incomplete"


def rounds_of(matrix: Json) -> range:
    """The rounds of a matrix, from 1. Raises: ValueError when matrix.json says something impossible."""
    repeat = matrix.get("repeat", 1)
    if not isinstance(repeat, int) or isinstance(repeat, bool) or not 1 <= repeat <= ROUNDS_MAX:
        raise ValueError(f"repeat is {repeat!r}")
    return range(1, repeat + 1)


def summarise(matrix: Json, events: Sequence[Json], runs: Mapping[Place, Json], *, run: str) -> dict[str, Any]:
    """What a matrix came to.

    matrix: matrix.json. events: the lines of its events.jsonl. runs: the summaries of the runs that
    left something; one that did not was refused, as an event then says, or never ended.
    """
    rounds = rounds_of(matrix)
    last = _last_events(events)
    cells = [_cell(index, cell["settings"], rounds, runs, last) for index, cell in enumerate(matrix["cells"])]
    expectations = [Expectation.parse(text) for text in matrix["expect"]]
    _allow_for_no_connection(cells, expectations)
    _compare(cells)
    left = sum(cell["status"] == Status.INCOMPLETE for cell in cells)
    reasons = [str(event.get("text")) for event in _since(events) if event.get("event") == "interrupted"]
    if left:
        reasons.append(f"{left} of {len(cells)} cells did not come to their end")
    if not has_ended(events):
        reasons.append("the matrix ended before its last cell did")
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "scenario": matrix["scenario"],
        "run": run,
        "started_at": matrix["started_at"],
        "duration_s": max((float(event["t_s"]) for event in events), default=0.0),
        "complete": not reasons,
        "incomplete_because": "; ".join(reasons) or None,
        "repeat": len(rounds),
        "cells": [{key: value for key, value in cell.items() if key != "compared"} for cell in cells],
    }
    settings = [cell["settings"] for cell in cells]
    summary["effects"] = effects.effects(settings, [one for cell in cells for one in cell["compared"]])
    summary["expect"] = [_held(expectation, cells) for expectation in expectations]
    summary["verdict"] = _verdict(cells, summary["effects"])
    return summary


def has_ended(events: Sequence[Json]) -> bool:
    """Whether a matrix came to its end, or to another one since it was resumed."""
    return any(event.get("event") == "ended" for event in _since(events))


def _since(events: Sequence[Json]) -> Sequence[Json]:
    """What happened since it was last resumed; how it had ended before is not held against it."""
    return events[max((n for n, event in enumerate(events) if event.get("event") == RESUMED), default=0) :]


def all_expectations(summary: Json) -> list[Json]:
    """Those of the matrix, and those of each of its runs; of a single run, its own."""
    runs = [run for cell in summary.get("cells", ()) for run in cell["runs"]]
    return [*summary["expect"], *(one for run in runs for one in run["expect"])]


def _last_events(events: Sequence[Json]) -> dict[Place, Json]:
    """The last thing that happened to each run; of a cell that was resumed, what came of it then."""
    return {
        (event["cell"], event.get("round", 1)): event
        for event in events
        if str(event.get("event")).startswith("cell-") and "cell" in event
    }


def _cell(
    index: int, settings: Json, rounds: Sequence[int], runs: Mapping[Place, Json], last: Mapping[Place, Json]
) -> dict[str, Any]:
    cell: dict[str, Any] = {"settings": dict(settings), "status": Status.DONE.value, "reason": None}
    refused = last.get((index, 1), {})
    if refused.get("event") == "cell-skipped":
        status = {"status": Status.SKIPPED.value, "reason": str(refused.get("text"))}
        return cell | status | {"rounds": [], "runs": []} | _figures([])
    missing = [
        (number, reason)
        for number in rounds
        if (reason := _why_missing(runs.get((index, number)), last.get((index, number))))
    ]
    if missing:
        number, reason = missing[0]
        more = f", and {len(missing) - 1} more rounds" if len(missing) > 2 else ", and 1 more round"
        reason = reason if len(rounds) == 1 else f"round {number}: {reason}{more if len(missing) > 1 else ''}"
        cell |= {"status": Status.INCOMPLETE.value, "reason": reason}
    kept = {number: dict(runs[index, number]) for number in rounds if (index, number) in runs}
    return cell | {"rounds": list(kept), "runs": list(kept.values())} | _figures(list(kept.values()))


def _why_missing(run: Json | None, last: Json | None) -> str | None:
    """Why a round is not done; None when it is."""
    if run is not None:
        return None if run["complete"] else str(run["incomplete_because"])
    if last is None:
        return "it never began"
    return "it was cut off" if last.get("event") == "cell-started" else str(last.get("text"))


def _figures(runs: Sequence[Json]) -> dict[str, Any]:
    """The figures of the runs that are complete, and what was foretold for them."""
    whole = [run for run in runs if run["complete"]]
    return {
        "figures": {name: one.to_json() for name, one in spread.figures(whole).items()} or None,
        "predicted": spread.predicted(whole),
        "as_predicted": spread.as_predicted(whole),
    }


def _compare(cells: Sequence[dict[str, Any]]) -> None:
    """Give each cell the changes that its settings make."""
    runs = {index: cell["runs"] for index, cell in enumerate(cells) if cell["status"] == Status.DONE}
    found = effects.changes([cell["settings"] for cell in cells], runs)
    for index, cell in enumerate(cells):
        cell["compared"] = [one for one in found if one.cell == index]
        cell["changes"] = [one.to_json() for one in cell["compared"]]


def _cell_of(expectation: Expectation, cells: Sequence[Json]) -> tuple[Json | None, str]:
    """Return the cell that cells.INDEX.PATH is about, if there is one, and PATH."""
    _, index, path = [*expectation.path.split(".", 2), "", ""][:3]
    return (cells[int(index)] if index.isdecimal() and int(index) < len(cells) else None), path


def _allow_for_no_connection(cells: Sequence[Json], expectations: Sequence[Expectation]) -> None:
    """Take `SOMETHING_OPENED` back from the runs of a cell of which the matrix itself says what is to open."""
    for expectation in expectations:
        cell, path = _cell_of(expectation, cells)
        if cell and replace(expectation, path=path).allows_for_no_connection:
            for run in cell["runs"]:
                run["expect"] = [row for row in run["expect"] if row["expression"] != SOMETHING_OPENED.text]


def _held(expectation: Expectation, cells: Sequence[Json]) -> dict[str, Any]:
    """Return the result of cells.INDEX.PATH OP VALUE: of a number, the median of the cell's runs is compared.

    A name has to be as expected in each of them; observed is the first that is not. All runs have to have a value.
    """
    cell, path = _cell_of(expectation, cells)
    results = [replace(expectation, path=path).check(run) for run in (cell["runs"] if cell else ())]
    numbers = [observed for _, observed in results if isinstance(observed, float)]
    passed, observed = min(results, key=lambda result: result[0], default=(False, None))
    if any(value is None for _, value in results):
        passed, observed = False, None
    elif numbers:
        passed, observed = replace(expectation, path="median").check({"median": median(numbers)})
    return {"expression": expectation.text, "passed": passed, "observed": observed}


def _verdict(cells: Sequence[Json], told: Sequence[Json]) -> dict[str, str]:
    """The limit that all cells met, or "mixed", and what matters most between the cells that are done."""
    done = [cell for cell in cells if cell["status"] == Status.DONE]
    limits = {run["verdict"]["limit"] for cell in done for run in cell["runs"]}
    limit = "none" if not limits else limits.pop() if len(limits) == 1 else "mixed"
    said = "1 cell is" if len(done) == 1 else f"{len(done)} cells are"
    if len(done) < 2:
        text = _of_one(done[0]) if len(cells) == len(done) == 1 else ""
        return {"limit": limit, "text": text or f"{said} done of {len(cells)}, so there is nothing to compare."}
    if any(run.get("churn") for cell in done for run in cell["runs"]):
        return {"limit": limit, "text": _of_churn(done, told)}
    short = short_keys([cell["settings"] for cell in cells])
    best: tuple[float, str] = (_NOISE, "")
    for figure in effects.FIGURES:
        spreads = [(spread.spread_of(cell["runs"], figure.find), cell["settings"]) for cell in done]
        values = [(one, settings) for one, settings in spreads if one is not None]
        if len(values) < len(done):
            continue
        (low, lowest), (high, highest) = min(values, key=_median), max(values, key=_median)
        ratio = high.median / max(low.median, 1e-9 if figure.unit else 1.0)
        if ratio > best[0] and not (min(low.runs, high.runs) > 1 and low.is_noise(high)):
            text = f"{figure.name}: {_figure(low.median)}{figure.unit} with {named(lowest, short)}, "
            best = ratio, text + f"{_figure(high.median)}{figure.unit} with {named(highest, short)}"
    if not best[1]:
        return {"limit": limit, "text": f"The {len(done)} cells that are done do not differ by more than half."}
    return {"limit": limit, "text": f"What differs most between {len(done)} cells is {best[1]}."}


def _of_one(cell: Json) -> str:
    """What the rounds of a scenario without a matrix say together."""
    rate = (cell["figures"] or {}).get("rate_per_s")
    if not rate or rate["runs"] < 2:
        return ""
    low, high = _figure(rate["low"]), _figure(rate["high"])
    return f"{rate['runs']} runs of the same: {_figure(rate['median'])}/s in the median, {low}/s to {high}/s."


def _of_churn(done: Sequence[Json], told: Sequence[Json]) -> str:
    """The strongest effect, then how far the arithmetic can be believed."""
    strongest = [one["text"] for effect in told for one in effect["strongest"]]
    lead = strongest[0] if strongest else f"Nothing makes a difference beyond noise between {len(done)} cells"
    wrong = sum(cell["as_predicted"] is False for cell in done)
    judged = sum(cell["as_predicted"] is not None for cell in done)
    if not judged:
        return f"{lead}."
    if wrong:
        return f"{lead}. {wrong} of {judged} cells {'is' if wrong == 1 else 'are'} not as predicted."
    return f"{lead}. {'1 cell is' if judged == 1 else f'{judged} cells are'} as predicted."


def _median(value: tuple[Spread, Json]) -> float:
    return value[0].median


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"
