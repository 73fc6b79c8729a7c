"""The summaries of the cells of a matrix folded into one object.

Pure, like `summary.py`, and used by the matrix itself and by `loadgen report`: what a matrix that was
cut off anywhere came to is found out by the same code from the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from loadgen.expectation import Expectation
from loadgen.metrics.settings import named, short_keys
from loadgen.metrics.summary import SCHEMA

Json = Mapping[str, Any]


class Status(StrEnum):
    """What became of a cell. Only `done` says anything about its settings."""

    DONE = "done"
    SKIPPED = "skipped"
    INCOMPLETE = "incomplete"


#: Figures that may tell cells apart: name, how to find it in a summary, unit.
_FIGURES: Final[Sequence[tuple[str, Callable[[Json], Any], str]]] = (
    ("connections established", lambda run: run["outcomes"]["established"], ""),
    ("the cost of a connection in the last tenth", lambda run: run["cost_us"][9], " us"),
    ("the median time to connect", lambda run: run["latency_us"]["connect"]["p50"], " us"),
    ("the rate", lambda run: run["rate_per_s"]["established_mean"], "/s"),
)
#: Cells of a machine with other work to do differ by as much without any reason of ours.
_NOISE: Final = 1.5


def summarise(matrix: Json, events: Sequence[Json], runs: Mapping[int, Json], *, run: str) -> dict[str, Any]:
    """What a matrix came to.

    matrix: matrix.json. events: the lines of its events.jsonl. runs: the summaries of the cells that
    left something, by index; a cell without one was skipped, as an event then says, or never ended.
    """
    happened = {str(event.get("event")) for event in events}
    skipped = {event.get("cell"): str(event.get("text")) for event in events if event.get("event") == "cell-skipped"}
    broken = {event.get("cell"): "it was cut off" for event in events if event.get("event") == "cell-started"}
    broken |= {event.get("cell"): str(event.get("text")) for event in events if event.get("event") == "cell-incomplete"}
    cells = [
        _cell(cell["settings"], runs.get(index), skipped.get(index), broken.get(index))
        for index, cell in enumerate(matrix["cells"])
    ]
    left = sum(cell["status"] == Status.INCOMPLETE for cell in cells)
    reasons = [str(event.get("text")) for event in events if event.get("event") == "interrupted"]
    if left:
        reasons.append(f"{left} of {len(cells)} cells did not come to their end")
    if "ended" not in happened:
        reasons.append("the matrix ended before its last cell did")
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "scenario": matrix["scenario"],
        "run": run,
        "started_at": matrix["started_at"],
        "duration_s": max((float(event["t_s"]) for event in events), default=0.0),
        "complete": not reasons,
        "incomplete_because": "; ".join(reasons) or None,
        "cells": cells,
    }
    summary["expect"] = [_held(Expectation.parse(text), cells) for text in matrix["expect"]]
    summary["verdict"] = _verdict(cells)
    return summary


def all_expectations(summary: Json) -> list[Json]:
    """Those of the matrix, and those of each of its runs."""
    return [*summary["expect"], *(one for cell in summary["cells"] for run in cell["runs"] for one in run["expect"])]


def _cell(settings: Json, run: Json | None, skipped: str | None, broken: str | None) -> dict[str, Any]:
    if skipped is not None:
        return {"settings": dict(settings), "status": Status.SKIPPED.value, "reason": skipped, "runs": []}
    if run is None:
        reason = broken or "it never began"
        return {"settings": dict(settings), "status": Status.INCOMPLETE.value, "reason": reason, "runs": []}
    status = Status.DONE if run["complete"] else Status.INCOMPLETE
    reason = run["incomplete_because"]
    return {"settings": dict(settings), "status": status.value, "reason": reason, "runs": [dict(run)]}


def _held(expectation: Expectation, cells: Sequence[Json]) -> dict[str, Any]:
    """cells.INDEX.PATH OP NUMBER, held against the cell's first run; one that has none does not pass."""
    _, index, path = [*expectation.path.split(".", 2), "", ""][:3]
    cell = cells[int(index)] if index.isdecimal() and int(index) < len(cells) else None
    run = cell["runs"][0] if cell and cell["runs"] else {}
    passed, observed = replace(expectation, path=path).check(run)
    return {"expression": expectation.text, "passed": passed, "observed": observed}


def _verdict(cells: Sequence[Json]) -> dict[str, str]:
    """The limit that all cells met, or "mixed", and what differs most between the cells that are done."""
    done = [(cell["settings"], cell["runs"][0]) for cell in cells if cell["status"] == Status.DONE]
    limits = {run["verdict"]["limit"] for _, run in done}
    limit = "none" if not limits else limits.pop() if len(limits) == 1 else "mixed"
    said = "1 cell is" if len(done) == 1 else f"{len(done)} cells are"
    if len(done) < 2:
        return {"limit": limit, "text": f"{said} done of {len(cells)}, so there is nothing to compare."}
    short = short_keys([cell["settings"] for cell in cells])
    best: tuple[float, str] = (_NOISE, "")
    for name, find, unit in _FIGURES:
        try:
            values = [(float(find(run)), settings) for settings, run in done]
        except (LookupError, TypeError):
            continue
        (low, lowest), (high, highest) = min(values, key=lambda v: v[0]), max(values, key=lambda v: v[0])
        if high / max(low, 1e-9 if unit else 1.0) > best[0]:
            text = f"{name}: {_figure(low)}{unit} with {named(lowest, short)}, {_figure(high)}{unit} with "
            best = high / max(low, 1e-9 if unit else 1.0), text + named(highest, short)
    if not best[1]:
        return {"limit": limit, "text": f"The {len(done)} cells that are done do not differ by more than half."}
    return {"limit": limit, "text": f"What differs most between {len(done)} cells is {best[1]}."}


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"
